//! PNG: eight bits a channel, without alpha, from pixels in memory (W3C, "Portable Network Graphics", second edition).
//!
//! Not here: drawing.

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use std::io::Write;

/// Pixels a metre of a picture that is printed at 200 pixels an inch.
const PIXELS_A_METRE: u32 = 7874;

/// The file of a picture of `width` x `height` pixels, three bytes each, rows from the top.
pub(super) fn encode(width: u32, height: u32, rgb: &[u8]) -> std::io::Result<Vec<u8>> {
    let row_bytes = rgb.len().checked_div(height as usize).unwrap_or(0);
    // Filter 2: each byte less the one above. Most rows of a chart are like the one above, so that little is left to compress: what works
    // hardest at it would only be slower.
    let mut filtered = Vec::with_capacity(rgb.len() + height as usize);
    let blank = vec![0; row_bytes];
    let mut above = &blank[..];
    for row in rgb.chunks_exact(row_bytes.max(1)) {
        filtered.push(2);
        filtered.extend(row.iter().zip(above).map(|(byte, above)| byte.wrapping_sub(*above)));
        above = row;
    }
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(&filtered)?;
    let mut header = Vec::with_capacity(13);
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    // Bit depth 8, colour type 2 (RGB), and the only compression, filter and interlace methods that there are.
    header.extend([8, 2, 0, 0, 0]);
    let mut density = Vec::with_capacity(9);
    density.extend(PIXELS_A_METRE.to_be_bytes());
    density.extend(PIXELS_A_METRE.to_be_bytes());
    density.push(1);

    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"pHYs", density), (b"IDAT", zlib.finish()?), (b"IEND", Vec::new())] {
        chunk(&mut file, *kind, &data);
    }
    Ok(file)
}

/// Length, kind, data, and the checksum of kind and data.
fn chunk(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).expect("bug: a picture of 4 GiB; please report it");
    let mut checksum = Crc::new();
    checksum.update(&kind);
    checksum.update(data);
    file.extend(length.to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(checksum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_red_dot_is_the_file_that_the_standard_says() {
        let file = encode(1, 1, &[255, 0, 0]).unwrap();
        assert_eq!(&file[..24], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01");
        assert_eq!(&file[file.len() - 12..], b"\0\0\0\0IEND\xaeB`\x82");
    }
}
