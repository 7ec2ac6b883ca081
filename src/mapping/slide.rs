//! Where a filter is at each vector, and what it reaches: im2col without the matrix.
//!
//! Pixels are numbered through the batch: image after image, row after row. A vector is a pixel of the output, in the same order; its K runs
//! over filter rows, filter columns and channels, channels innermost.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A filter that slides over images. A matrix product is one of a pixel over images of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slide {
    /// Channels of a pixel.
    pub channels: u64,
    /// Rows and columns of an image.
    pub input: [u64; 2],
    /// Rows and columns of the output of an image.
    pub output: [u64; 2],
    /// Rows and columns of the filter.
    pub filter: [u64; 2],
    /// Pixels from one place of the filter to the next, down and to the right.
    pub stride: [u64; 2],
    /// Pixels from one element of the filter to the next, down and to the right.
    pub dilation: [u64; 2],
    /// Rows and columns of padding above and to the left of an image. What lies below and to the right of it follows from the other fields.
    pub padding: [u64; 2],
}

/// Elements of one vector that lie side by side: channels of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The pixel.
    pub pixel: u64,
    /// The first channel.
    pub channel: u64,
    /// Its place in what was asked for.
    pub at: u64,
    /// Channels.
    pub count: u64,
}

impl Slide {
    /// Vectors of an image.
    pub fn vectors_of_image(&self) -> u64 {
        self.output[0] * self.output[1]
    }

    /// Elements of a vector.
    pub fn reduction(&self) -> u64 {
        self.channels * self.filter[0] * self.filter[1]
    }

    /// The rows of the batch's images that the filter reaches at these vectors, from the first to the last: what lies between counts, padding
    /// does not. Empty where it reaches padding alone.
    pub fn rows_of(&self, vectors: Range<u64>) -> Range<u64> {
        let height = self.input[0];
        let place = |vector: u64| {
            let (image, row) = (vector / self.vectors_of_image(), vector / self.output[1] % self.output[0]);
            (image * height, row * self.stride[0])
        };
        let ((first_image, first), (last_image, last)) = (place(vectors.start), place(vectors.end.saturating_sub(1).max(vectors.start)));
        let start = first_image + first.saturating_sub(self.padding[0]).min(height);
        let end = last_image + (last + (self.filter[0] - 1) * self.dilation[0] + 1).saturating_sub(self.padding[0]).min(height);
        start..end.max(start)
    }

    /// Shows elements `inner` of K of a vector, piece by piece, without those that are padding.
    #[inline]
    pub fn pieces(&self, vector: u64, inner: Range<u64>, mut see: impl FnMut(Piece)) {
        let of_image = self.vectors_of_image();
        let (image, place) = (vector / of_image, vector % of_image);
        let corner = [place / self.output[1] * self.stride[0], place % self.output[1] * self.stride[1]];
        let (mut position, mut channel) = (inner.start / self.channels, inner.start % self.channels);
        let mut k = inner.start;
        while k < inner.end {
            let count = (self.channels - channel).min(inner.end - k);
            let of_filter = [position / self.filter[1], position % self.filter[1]];
            let at = |axis: usize| {
                (corner[axis] + of_filter[axis] * self.dilation[axis]).checked_sub(self.padding[axis]).filter(|at| *at < self.input[axis])
            };
            if let (Some(row), Some(column)) = (at(0), at(1)) {
                let pixel = (image * self.input[0] + row) * self.input[1] + column;
                see(Piece { pixel, channel, at: k - inner.start, count });
            }
            (position, channel, k) = (position + 1, 0, k + count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of 5 x 5, a 3 x 3 filter, stride 2, padding 1: 3 x 3 outputs each.
    const SLIDE: Slide =
        Slide { channels: 4, input: [5, 5], output: [3, 3], filter: [3, 3], stride: [2, 2], dilation: [1, 1], padding: [1, 1] };

    #[test]
    fn the_rows_of_vectors_are_those_that_the_filter_reaches() {
        assert_eq!(SLIDE.rows_of(0..3), 0..2, "padding above");
        assert_eq!(SLIDE.rows_of(3..4), 1..4);
        assert_eq!(SLIDE.rows_of(6..9), 3..5, "padding below");
        assert_eq!(SLIDE.rows_of(8..10), 3..7, "from one image into the next");
        assert_eq!(SLIDE.rows_of(0..18), 0..10);
        let far = Slide { input: [1, 1], output: [3, 1], padding: [3, 0], filter: [1, 1], ..SLIDE };
        assert_eq!(far.rows_of(0..1), 0..0, "padding alone");
    }

    #[test]
    fn pieces_are_channels_of_pixels_without_the_padding() {
        let pieces = |vector, inner| {
            let mut all = Vec::new();
            SLIDE.pieces(vector, inner, |piece| all.push((piece.pixel, piece.channel, piece.at, piece.count)));
            all
        };
        assert_eq!(pieces(0, 0..36), [(0, 0, 16, 4), (1, 0, 20, 4), (5, 0, 28, 4), (6, 0, 32, 4)], "the corner");
        assert_eq!(pieces(13, 18..26), [(37, 2, 0, 2), (38, 0, 2, 4), (41, 0, 6, 2)], "from within a pixel to within another");
    }
}
