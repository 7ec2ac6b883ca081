//! How the activations of images lie in a memory: which channels of a pixel lie side by side.
//!
//! One formula serves all layouts. Pixels are numbered through the batch, image after image, row after row; channel `c` of pixel `i` lies at
//! `(c / block) * plane + i * block + c % block`, a plane being the pixels of one block of channels: those of the whole batch, or of the ring of
//! rows that is on the chip. The last block is as wide as the others, and what it has too much is never moved.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// How an image's activations lie. A vector by itself (an image of one pixel) lies channel by channel in every layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Layout {
    /// All channels of a pixel side by side (NHWC).
    #[default]
    ChannelInnermost,
    /// A plane of pixels for each channel (NCHW).
    RowMajor,
    /// So many channels of a pixel side by side, and a plane for each block of channels (NC/nHWn).
    BlockedByC(NonZeroU64),
}

impl Layout {
    /// Channels that lie side by side in a pixel of `channels`: no more than there are.
    pub fn block(self, channels: u64) -> u64 {
        match self {
            Self::ChannelInnermost => channels,
            Self::RowMajor => channels.min(1),
            Self::BlockedByC(block) => block.get().min(channels),
        }
    }

    /// Blocks of channels, each a plane.
    pub fn blocks(self, channels: u64) -> u64 {
        channels.div_ceil(self.block(channels).max(1))
    }

    /// Bytes that `pixels` pixels take, an element being a byte.
    pub fn bytes(self, pixels: u64, channels: u64) -> u64 {
        self.blocks(channels) * pixels * self.block(channels)
    }

    /// Whether all channels lie side by side.
    pub fn is_one_plane(self, channels: u64) -> bool {
        self.blocks(channels) <= 1
    }

    /// Elements that lie channel-innermost, a byte each, laid out so; 0 where a block has fewer channels than it is wide.
    ///
    /// # Panics
    /// If they are not whole pixels.
    pub fn lay_out(self, elements: &[u8], channels: u64) -> Vec<u8> {
        let size = |count: u64| usize::try_from(count).expect("bug: what lies in memory has a size that fits it");
        let pixels = elements.len() as u64 / channels.max(1);
        assert_eq!(pixels * channels, elements.len() as u64, "{} elements are no pixels of {channels} channels", elements.len());
        let block = self.block(channels);
        let mut bytes = vec![0; size(self.bytes(pixels, channels))];
        for (pixel, element) in (0..pixels).zip(elements.chunks_exact(size(channels).max(1))) {
            for (first, run) in (0..).step_by(size(block)).zip(element.chunks(size(block))) {
                let at = size(first / block * pixels * block + pixel * block);
                bytes[at..at + run.len()].copy_from_slice(run);
            }
        }
        bytes
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChannelInnermost => f.write_str("nhwc"),
            Self::RowMajor => f.write_str("nchw"),
            Self::BlockedByC(block) => write!(f, "nc{block}hw{block}"),
        }
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let blocked = || {
            let (outer, inner) = text.strip_prefix("nc")?.split_once("hw")?;
            let is_number = outer == inner && inner.bytes().all(|digit| digit.is_ascii_digit());
            is_number.then(|| inner.parse().ok()).flatten().map(Self::BlockedByC)
        };
        match text {
            "nhwc" => Ok(Self::ChannelInnermost),
            "nchw" => Ok(Self::RowMajor),
            _ => blocked().ok_or_else(|| {
                format!("`{text}` is no layout: write nhwc (channels innermost), nchw (row-major), or nc16hw16 (blocks of 16 channels)")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_read_as_it_is_written_and_lays_pixels_out_by_its_formula() {
        for text in ["nhwc", "nchw", "nc1hw1", "nc16hw16"] {
            assert_eq!(text.parse::<Layout>().unwrap().to_string(), text);
        }
        for text in ["", "nc0hw0", "nc4hw8", "nc4hw", "NCHW", "nc+4hw+4"] {
            assert!(text.parse::<Layout>().unwrap_err().contains("nc16hw16"), "{text}");
        }
        // Two pixels of three channels.
        let lay_out = |text: &str| text.parse::<Layout>().unwrap().lay_out(&[1, 2, 3, 4, 5, 6], 3);
        assert_eq!(lay_out("nhwc"), [1, 2, 3, 4, 5, 6]);
        assert_eq!(lay_out("nchw"), [1, 4, 2, 5, 3, 6]);
        assert_eq!(lay_out("nc2hw2"), [1, 2, 4, 5, 3, 0, 6, 0]);
        assert_eq!(lay_out("nc8hw8"), [1, 2, 3, 4, 5, 6]);
    }
}
