//! A small symmetric picture that belongs to a word.

use sha2::{Digest, Sha256};

/// Cells on a side; the right half mirrors the left one.
const CELLS: usize = 8;
/// Pixels of a cell.
const CELL: usize = 32;
const SIDE: usize = CELLS * CELL;

/// The picture as a PNG of 256 by 256 pixels.
pub(super) fn draw(word: &str) -> Result<Vec<u8>, png::EncodingError> {
    let digest = Sha256::digest(word.as_bytes());
    let ink = [digest[0] / 2 + 40, digest[1] / 2 + 40, digest[2] / 2 + 40];
    let is_inked = |column: usize, row: usize| {
        let column = column.min(CELLS - 1 - column);
        let bit = row * CELLS / 2 + column;
        digest[3 + bit / 8] >> (bit % 8) & 1 == 1
    };
    let mut pixels = Vec::with_capacity(SIDE * SIDE * 3);
    for y in 0..SIDE {
        for x in 0..SIDE {
            if is_inked(x / CELL, y / CELL) {
                // A little lighter from top to bottom.
                #[allow(clippy::cast_possible_truncation, reason = "at most 64")]
                let light = (y * 64 / SIDE) as u8;
                pixels.extend(ink.map(|part| part.saturating_add(light)));
            } else {
                pixels.extend([245, 243, 238]);
            }
        }
    }
    let mut bytes = Vec::new();
    #[allow(clippy::cast_possible_truncation, reason = "256")]
    let mut encoder = png::Encoder::new(&mut bytes, SIDE as u32, SIDE as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_picture() {
        let (one, two) = (draw("one").unwrap(), draw("two").unwrap());
        assert!(one.starts_with(b"\x89PNG\r\n\x1a\n") && one != two);
        assert_eq!(one, draw("one").unwrap());
    }
}
