//! The data that every copy of mereo carries or makes, so that the first fit needs no download.
//!
//! ```
//! let (faces, about) = mereo::data::load("faces")?;
//! assert_eq!((faces.rows, faces.cols), (400, 4096));
//! assert_eq!(about.image, Some((64, 64)));
//! # Ok::<(), mereo::Error>(())
//! ```
//!
//! Pictures are kept as grey PNG montages (feature `images`, on by default), made by `scripts/make_assets.py`. Texts, and the rows that
//! an encoder made of them, are `glosses`, made by `scripts/make_glosses.py`.

mod glosses;

pub use glosses::Texts;

use crate::error::{Error, Result};
use crate::mat::Mat;
use crate::synth::{self, Synth};

/// What is known of one embedded or generated set of rows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Dataset {
    /// What [`load`] calls it.
    pub name: &'static str,
    /// One sentence: what the rows are, in which order, and the range of the values.
    pub about: &'static str,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Height and width, where a row is a picture stored row by row.
    pub image: Option<(usize, usize)>,
    /// The terms under which it may be used.
    pub licence: &'static str,
    /// Whom to name when it is used.
    pub credit: &'static str,
}

const SETS: &[Dataset] = &[
    Dataset {
        name: "faces",
        about: "the 400 ORL faces, 40 people with 10 pictures each, ordered by person; grey, 0 to 1; \
                cut to a square (92 of the 112 rows, hair to chin) and reduced to 64×64",
        rows: 400,
        cols: 4096,
        image: Some((64, 64)),
        licence: "free to use with credit",
        credit: "AT&T Laboratories Cambridge",
    },
    Dataset {
        name: "digits",
        about: "1,797 handwritten digits, 8×8; ink from 0 to 1 in steps of 1/16; in the order of the source",
        rows: 1797,
        cols: 64,
        image: Some((8, 8)),
        licence: "CC BY 4.0",
        credit: "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998",
    },
    Dataset {
        name: "glosses",
        about: "3,000 words with their definitions, 100 of each of 30 classes of nouns and verbs, the commonest first, as rows that the \
                encoder all-MiniLM-L6-v2 made of them, of length 1, rounded to 8 bits; texts and classes come along",
        rows: 3000,
        cols: 384,
        image: None,
        licence: "WordNet licence",
        credit: "Princeton University, WordNet 3.1; all-MiniLM-L6-v2",
    },
    Dataset {
        name: "swimmer",
        about: "generated: 256 images of 32×32, 0 or 1: a torso and four limbs, each in one of four positions, all 4⁴ combinations; \
                17 parts",
        rows: 256,
        cols: 1024,
        image: Some((32, 32)),
        licence: "free: generated",
        credit: "after Donoho & Stodden, NIPS 2003",
    },
    Dataset {
        name: "parts",
        about: "generated: 1,000 images of 24×24, each the sum of one to five of 16 local bumps, and a little noise; 0 and above",
        rows: 1000,
        cols: 576,
        image: Some((24, 24)),
        licence: "free: generated",
        credit: "mereo",
    },
    Dataset {
        name: "clusters",
        about: "generated: 2,000 points in 20 dimensions around 10 centres",
        rows: 2000,
        cols: 20,
        image: None,
        licence: "free: generated",
        credit: "mereo",
    },
    Dataset {
        name: "spiked",
        about: "generated: 2,000 rows of 100 columns, white noise with two strong directions",
        rows: 2000,
        cols: 100,
        image: None,
        licence: "free: generated",
        credit: "after Refinetti & Goldt, ICML 2022",
    },
];

/// The seed of the generated sets: the same rows in every copy.
const SEED: u64 = 1;

/// A generated set with all that was planted in it (atoms, codes, labels); `None` for the sets that are not generated.
pub fn planted(name: &str) -> Result<Option<Synth>> {
    Ok(Some(match name {
        "swimmer" => synth::swimmer(),
        "parts" => synth::parts(1000, 16, 24, SEED)?,
        "clusters" => synth::clusters(2000, 10, 20, 0.5, SEED)?,
        "spiked" => synth::spiked(2000, 100, 2, SEED)?,
        _ => return Ok(None),
    }))
}

/// All sets, in the order in which they are worth trying.
pub fn list() -> &'static [Dataset] {
    SETS
}

/// The set of that name.
pub fn find(name: &str) -> Option<&'static Dataset> {
    SETS.iter().find(|set| set.name == name)
}

/// The rows of a set (rows × cols) and what is known of them; an unknown name is an error that lists the known ones.
pub fn load(name: &str) -> Result<(Mat, &'static Dataset)> {
    let set = known(name)?;
    if let Some(made) = planted(set.name)? {
        return Ok((made.data, set));
    }
    let mat = match set.name {
        "faces" => pictures(set, include_bytes!("../assets/faces.png"), 255.0)?,
        "glosses" => glosses::rows(set.rows, set.cols)?,
        // A value v of 0..=16 is stored as the grey 15v, so that the montage can be looked at.
        _ => pictures(set, include_bytes!("../assets/digits.png"), 240.0)?,
    };
    Ok((mat, set))
}

/// The texts of a set's rows, and columns of what else is known of them; `None` for a set whose rows are no texts.
///
/// Those of `glosses` are "lemma, lemma: definition", with the columns `lexname` (WordNet's lexicographer file: 30 classes), `synset`
/// (a name for each row, such as `dog.n.01`) and `hypernym` (the synset above it, where that is a row too).
///
/// # Errors
/// An unknown name.
pub fn texts(name: &str) -> Result<Option<Texts>> {
    let set = known(name)?;
    Ok(if set.name == "glosses" { Some(glosses::texts(set.rows)?) } else { None })
}

/// The notice that must go with every copy of a set, where its terms ask for one.
pub fn notice(name: &str) -> Option<&'static str> {
    (name == "glosses").then_some(glosses::NOTICE)
}

fn known(name: &str) -> Result<&'static Dataset> {
    find(name).ok_or_else(|| {
        let names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
        let guess = closest(name, &names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Error::data(format!("there is no embedded data set `{name}`; there are {}{guess}", names.join(", ")))
    })
}

/// Images (rows of height × width pixels, both even) of half the height and width, two by two pixels averaged.
///
/// # Errors
/// A height or a width that is odd, or other pixels than columns.
pub fn halved(x: &Mat, (height, width): (usize, usize)) -> Result<Mat> {
    if height % 2 + width % 2 > 0 || height * width != x.cols {
        return Err(Error::data(format!("rows of {} columns can't be halved as images of {height}×{width}", x.cols)));
    }
    let mut out = Mat::zeros(x.rows, x.cols / 4);
    for i in 0..x.rows {
        let (from, to) = (x.row(i), out.row_mut(i));
        for (j, to) in to.iter_mut().enumerate() {
            let at = (j / (width / 2)) * 2 * width + (j % (width / 2)) * 2;
            *to = (from[at] + from[at + 1] + from[at + width] + from[at + width + 1]) / 4.0;
        }
    }
    Ok(out)
}

/// The class of each row, where a set has classes: the person of a face (0..40), the digit shown (0..10), the lexicographer
/// file of a gloss (0..30), the cluster (0..10).
pub fn labels(name: &str) -> Option<Vec<usize>> {
    match name {
        "faces" => Some((0..400).map(|row| row / 10).collect()),
        "digits" => Some(include_str!("../assets/digits.txt").bytes().map(|digit| usize::from(digit - b'0')).collect()),
        "glosses" => glosses::classes(find(name)?.rows).ok(),
        _ => planted(name).ok()??.labels,
    }
}

/// The candidate that is a slip of the keyboard away from `name` (at most a third of its letters changed), if any.
pub fn closest<'a>(name: &str, among: &[&'a str]) -> Option<&'a str> {
    let limit = name.chars().count().div_ceil(3);
    among.iter().map(|&other| (distance(name, other), other)).filter(|&(d, _)| d <= limit).min().map(|(_, other)| other)
}

/// Levenshtein's distance: letters inserted, deleted or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for j in 0..b.len() {
            let replaced = diagonal + usize::from(letter != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The tiles of a montage, one a row, each value divided by `full`.
#[cfg(feature = "images")]
fn pictures(set: &Dataset, png: &[u8], full: f32) -> Result<Mat> {
    let broken = |why: String| Error::data(format!("the embedded `{}` can't be decoded ({why}); rebuild mereo", set.name));
    let sheet =
        image::load_from_memory_with_format(png, image::ImageFormat::Png).map_err(|e| broken(e.to_string()))?.into_luma8();
    let (height, width) = set.image.unwrap_or((1, set.cols));
    let (across, down) = (sheet.width() as usize / width, sheet.height() as usize / height);
    if across * down < set.rows {
        return Err(broken(format!("{across} × {down} tiles for {} rows", set.rows)));
    }
    let (stride, pixels) = (sheet.width() as usize, sheet.as_raw());
    let mut data = Vec::with_capacity(set.rows * set.cols);
    for tile in 0..set.rows {
        for y in 0..height {
            let at = (tile / across * height + y) * stride + tile % across * width;
            data.extend(pixels[at..at + width].iter().map(|&grey| f32::from(grey) / full));
        }
    }
    Mat::new(set.rows, set.cols, data)
}

#[cfg(not(feature = "images"))]
fn pictures(set: &Dataset, _: &[u8], _: f32) -> Result<Mat> {
    Err(Error::data(format!("`{}` is kept as pictures; build mereo with the feature `images`", set.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_forgives_slips_and_no_more() {
        assert_eq!(closest("facse", &["faces", "digits"]), Some("faces"));
        assert_eq!(closest("dgits", &["faces", "digits"]), Some("digits"));
        assert_eq!(closest("spreadsheet", &["faces", "digits"]), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "")), (3, 3, 3));
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        let said = load("digit").expect_err("unknown").to_string();
        assert!(said.contains("faces, digits, glosses, swimmer") && said.contains("did you mean `digits`?"), "{said}");
        let said = load("zzz").expect_err("unknown").to_string();
        assert!(!said.contains("did you mean"), "{said}");
    }

    #[test]
    fn all_assets_stay_small() {
        let bytes = include_bytes!("../assets/faces.png").len()
            + include_bytes!("../assets/digits.png").len()
            + include_bytes!("../assets/digits.txt").len();
        assert!(bytes < 1_500_000, "{bytes} bytes of pictures");
        let bytes = include_bytes!("../assets/glosses.i8.zlib").len()
            + include_bytes!("../assets/glosses.tsv.zlib").len()
            + include_bytes!("../assets/glosses.licence.txt").len();
        assert!(bytes < 1_500_000, "{bytes} bytes of glosses");
    }

    #[test]
    fn every_set_names_its_terms_and_labels_every_row() {
        for set in list() {
            assert!(!set.about.is_empty() && !set.licence.is_empty() && !set.credit.is_empty(), "{}", set.name);
            assert_eq!(set.image.map_or(set.cols, |(h, w)| h * w), set.cols, "{}", set.name);
            if let Some(labels) = labels(set.name) {
                assert_eq!(labels.len(), set.rows, "{}", set.name);
            }
        }
        let digits = labels("digits").expect("labels");
        assert_eq!(digits[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        // Counts of the ten digits, as scikit-learn's `load_digits` has them.
        let counts: Vec<usize> = (0..10).map(|d| digits.iter().filter(|&&label| label == d).count()).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(labels("faces").expect("labels")[389..391], [38, 39]);
    }
}

#[cfg(all(test, feature = "images"))]
mod picture_tests {
    use super::*;

    /// FNV-1a of the values as whole steps of 1/`steps`, so that one moved pixel is seen.
    fn fingerprint(mat: &Mat, steps: f32) -> u64 {
        mat.data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &v| {
            let level = (v * steps).round();
            assert!((v * steps - level).abs() < 1e-4 && (0.0..=1.0).contains(&v), "{v}");
            (hash ^ level as u64).wrapping_mul(0x100_0000_01b3)
        })
    }

    #[test]
    fn generated_sets_are_the_same_in_every_copy() {
        // A changed generator must be seen: results that others published with these rows would no longer come out.
        for (name, expected) in [("swimmer", 9216.0), ("parts", 131_497.147), ("clusters", 53_558.333), ("spiked", 201_624.140)] {
            let made = planted(name).expect("made").expect("generated");
            let (rows, set) = load(name).expect("data");
            assert_eq!((&made.data, made.image), (&rows, set.image), "{name}");
            // Logarithms and cosines may differ in the last bit between systems.
            let sum: f64 = rows.data.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            assert!((sum - expected).abs() < 0.01, "{name}: {sum}");
        }
        assert_eq!(labels("clusters").map(|l| (l.len(), l.iter().max().copied())), Some((2000, Some(9))));
        assert!(labels("spiked").is_none() && planted("faces").expect("no error").is_none());
    }

    #[test]
    fn every_set_has_the_shape_that_it_claims() {
        for set in list() {
            let (mat, about) = load(set.name).expect("data");
            assert_eq!((mat.rows, mat.cols, mat.data.len()), (set.rows, set.cols, set.rows * set.cols), "{}", set.name);
            assert_eq!(about, set);
        }
    }

    #[test]
    fn faces_are_the_pixels_of_the_source() {
        // Numbers from Pillow and NumPy on the montage of scripts/make_assets.py.
        let (faces, _) = load("faces").expect("faces");
        let level = |v: f32| (v * 255.0).round() as u64;
        assert_eq!(faces.row(0)[..4].iter().map(|&v| level(v)).collect::<Vec<_>>(), [53, 62, 68, 71]);
        assert_eq!(faces.row(399)[4092..].iter().map(|&v| level(v)).collect::<Vec<_>>(), [35, 35, 36, 34]);
        assert_eq!(faces.row(123).iter().map(|&v| level(v)).sum::<u64>(), 519_751);
        assert_eq!(faces.data.iter().map(|&v| level(v)).sum::<u64>(), 194_040_122);
        assert_eq!(fingerprint(&faces, 255.0), FACES);
    }

    #[test]
    fn digits_are_the_values_of_the_source() {
        // The first picture and the sum of all, from scikit-learn's `load_digits`.
        let (digits, _) = load("digits").expect("digits");
        assert_eq!(digits.row(0)[..8], [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0].map(|v: f32| v / 16.0));
        assert_eq!(digits.data.iter().map(|&v| (v * 16.0).round() as u64).sum::<u64>(), 561_718);
        assert_eq!(fingerprint(&digits, 16.0), DIGITS);
    }

    const FACES: u64 = 0xee10_2e1c_684d_dc0b;
    const DIGITS: u64 = 0x493f_a2f6_7df5_50a1;
}
