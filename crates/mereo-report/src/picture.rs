//! Pictures of numbers: atoms as montages (positive black, negative red, as in figure 1 of Lee & Seung 1999), rows as
//! photographs, and both as PNG.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use mereo::Mat;

/// Between the tiles of a montage: one pixel of light grey.
const GAP: Rgb<u8> = Rgb([205, 209, 215]);
/// Where a montage has no tile.
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);

/// The atoms (k × d) as tiles of `(height, width)` pixels, `per_row` to a row (a square of them if `None`), read row by row
/// with one grey pixel between them. Each is scaled by its own largest |value|: positive numbers go from white to black,
/// negative ones from white to red. What is not a number is white, and so are the pixels that a tile has beyond d.
pub fn montage(atoms: &Mat, (height, width): (usize, usize), per_row: Option<usize>) -> RgbImage {
    let k = atoms.rows;
    let across = per_row.unwrap_or_else(|| square(k)).clamp(1, k.max(1));
    let down = k.div_ceil(across).max(1);
    let side = |tiles: usize, pixels: usize| (tiles * (pixels + 1) + 1) as u32;
    let mut out = RgbImage::from_pixel(side(across, width), side(down, height), GAP);
    for slot in 0..across * down {
        let (top, left) = (1 + slot / across * (height + 1), 1 + slot % across * (width + 1));
        let atom = if slot < k { atoms.row(slot) } else { &[] };
        let scale = largest(atom);
        for i in 0..height {
            for j in 0..width {
                let v = atom.get(i * width + j).copied().unwrap_or(0.0);
                out.put_pixel((left + j) as u32, (top + i) as u32, signed(v, scale));
            }
        }
    }
    out
}

/// A row as a grey photograph: `low` black, `high` white, beyond them clipped.
pub fn photograph(row: &[f32], (height, width): (usize, usize), (low, high): (f32, f32)) -> RgbImage {
    let span = if high > low { high - low } else { 1.0 };
    RgbImage::from_fn(width.max(1) as u32, height.max(1) as u32, |x, y| {
        let v = row.get(y as usize * width + x as usize).copied().filter(|v| v.is_finite()).unwrap_or(low);
        let grey = (255.0 * ((v - low) / span).clamp(0.0, 1.0)).round() as u8;
        Rgb([grey; 3])
    })
}

/// An image as the bytes of a PNG file.
pub fn png(image: &RgbImage) -> Vec<u8> {
    let mut out = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut out, CompressionType::Best, FilterType::NoFilter);
    let (width, height) = image.dimensions();
    // Writing to memory fails only for an image without pixels, which has no file.
    match encoder.write_image(image.as_raw(), width, height, ExtendedColorType::Rgb8) {
        Ok(()) => out,
        Err(_) => Vec::new(),
    }
}

/// Tiles to a row of a montage of `k` tiles that is about as wide as high.
pub(crate) fn square(k: usize) -> usize {
    (k.max(1) as f64).sqrt().ceil() as usize
}

/// White for 0, black for `scale`, red for `-scale`.
pub(crate) fn signed(v: f32, scale: f32) -> Rgb<u8> {
    if !v.is_finite() || scale <= 0.0 {
        return PAPER;
    }
    let share = (v.abs() / scale).min(1.0);
    let fade = |to: f32| (255.0 + (to - 255.0) * share).round() as u8;
    if v >= 0.0 { Rgb([fade(0.0); 3]) } else { Rgb([fade(204.0), fade(0.0), fade(0.0)]) }
}

/// The largest |value| that is a number; 0 if there is none.
pub(crate) fn largest(values: &[f32]) -> f32 {
    values.iter().filter(|v| v.is_finite()).fold(0.0, |m: f32, v| m.max(v.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_is_black_negative_is_red_each_atom_on_its_own_scale() {
        let atoms = Mat::new(3, 2, vec![2.0, -2.0, 0.0, 10.0, f32::NAN, -5.0]).expect("atoms");
        let m = montage(&atoms, (1, 2), Some(2));
        assert_eq!(m.dimensions(), (7, 5), "two tiles of two pixels and three lines; two rows of one pixel and three lines");
        let at = |x, y| m.get_pixel(x, y).0;
        assert_eq!((at(1, 1), at(2, 1)), ([0, 0, 0], [204, 0, 0]));
        assert_eq!((at(4, 1), at(5, 1)), ([255, 255, 255], [0, 0, 0]));
        assert_eq!((at(1, 3), at(2, 3)), ([255, 255, 255], [204, 0, 0]));
        assert_eq!(at(4, 3), PAPER.0, "no tile");
        assert_eq!((at(0, 0), at(3, 1), at(6, 4)), (GAP.0, GAP.0, GAP.0));
    }

    #[test]
    fn half_is_grey_and_dead_atoms_are_white() {
        let atoms = Mat::new(2, 2, vec![1.0, 0.5, 0.0, 0.0]).expect("atoms");
        let m = montage(&atoms, (1, 2), None);
        assert_eq!(m.get_pixel(2, 1).0, [128; 3]);
        assert_eq!(m.get_pixel(4, 1).0, [255; 3]);
    }

    #[test]
    fn odd_shapes_draw_something() {
        assert_eq!(montage(&Mat::zeros(0, 4), (2, 2), None).dimensions(), (4, 4));
        assert_eq!(montage(&Mat::zeros(1, 3), (2, 2), Some(9)).dimensions(), (4, 4), "one pixel short");
        assert_eq!(photograph(&[], (0, 0), (0.0, 0.0)).dimensions(), (1, 1));
    }

    #[test]
    fn a_photograph_is_bright_where_values_are_large_and_clips() {
        let p = photograph(&[0.0, 1.0, 2.0, f32::NAN], (2, 2), (0.0, 1.0));
        let grey: Vec<u8> = p.pixels().map(|p| p.0[0]).collect();
        assert_eq!(grey, [0, 255, 255, 0]);
    }

    #[test]
    fn a_png_comes_back_pixel_by_pixel() {
        let m = montage(&Mat::new(1, 4, vec![1.0, -1.0, 0.2, 0.0]).expect("atom"), (2, 2), None);
        let back = image::load_from_memory(&png(&m)).expect("png").to_rgb8();
        assert_eq!(back, m);
    }
}
