//! Sparse autoencoders in files that are damaged or made to do damage: cut at every length, changed at random, and built by hand. They
//! must give an error or an autoencoder that is whole; never a panic, and never more memory than a bound.
//!
//! `MEREO_FUZZ_SECONDS=600 cargo test -p mereo --test formats_damage` changes the files of each kind for longer than the usual time.

use mereo::bundle::{About, Bundle};
use mereo::fold::{Shape, Stop};
use mereo::formats::{self, Found, Read, SaeFormat};
use mereo::rng::{Rng, rng};
use mereo::{Mat, Model, Pipeline, SaeGate, SaeModel};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Cursor, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes that reading may hold, beside 64 times the file at hand. A pickle as long as is read takes 30 MB.
const BOUND: isize = 48 << 20;

/// Counts what each thread allocates, now and at its highest.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static HIGHEST: Cell<isize> = const { Cell::new(0) };
}

fn add(bytes: isize) {
    // A thread that ends has none any more.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = HIGHEST.try_with(|highest| highest.set(highest.get().max(now.get())));
    });
}

/// What `f` gives, which must not hold more than the bound while it reads files of this length.
fn bounded<T>(length: usize, f: impl FnOnce() -> T) -> T {
    let before = NOW.get();
    HIGHEST.set(before);
    let out = f();
    let held = HIGHEST.get() - before;
    assert!(held < BOUND + 64 * length.cast_signed(), "{} MB were held", held >> 20);
    MOST.fetch_max(held, Ordering::Relaxed);
    out
}

/// The most that was held while a file was read.
static MOST: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it came; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size().cast_signed());
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size().cast_signed());
        // SAFETY: the caller's own promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        add(-layout.size().cast_signed());
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size.cast_signed());
        add(-layout.size().cast_signed());
        // SAFETY: the caller's own promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads what lies at a path. What is read must be whole, and encode.
fn read(path: &Path, length: usize) -> Option<SaeModel> {
    let model = bounded(length, || {
        if path.extension().is_some_and(|e| e == "mereo") {
            let mut bag = mereo::store::Bag::default();
            Bundle::load(path).ok()?.model.save(&mut bag);
            SaeModel::load(&bag).ok()
        } else {
            formats::read(path, &Read::default()).ok().map(|found: Found| found.model)
        }
    })?;
    model.check().expect("whole");
    let row = Mat::zeros(1, model.atoms.cols);
    model.encode(&row.view()).expect("codes");
    Some(model)
}

/// An autoencoder of one kind: where it lies, and the files that it is made of.
struct Sample {
    path: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Keeps the files.
    _folder: tempfile::TempDir,
}

impl Sample {
    /// A copy of a golden one.
    fn golden(name: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sae").join(name);
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join(name);
        let mut files = Vec::new();
        if from.is_dir() {
            std::fs::create_dir(&path).expect("folder");
            for entry in std::fs::read_dir(&from).expect("folder") {
                let entry = entry.expect("entry");
                files.push((path.join(entry.file_name()), std::fs::read(entry.path()).expect("file")));
            }
            files.sort();
        } else {
            files.push((path.clone(), std::fs::read(from).expect("file")));
        }
        Self { path, files, _folder: folder }.restored()
    }

    /// A model of mereo.
    fn ours() -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("a.mereo");
        let gate = SaeGate::Gated { gate: vec![0.5; 8], scale: vec![0.25; 8], magnitude: vec![-0.5; 8] };
        let w = Mat { rows: 8, cols: 5, data: (0..40).map(|i| (i % 7) as f32 - 3.0).collect() };
        let model = SaeModel {
            encoder: w.clone(),
            encoder_bias: vec![0.5; 8],
            atoms: w,
            bias: vec![1.0; 5],
            subtracts: true,
            gate,
            layer_norm: true,
            prefixes: vec![2, 8],
            density: vec![0.5; 8],
        };
        let about = About {
            data: "none".into(),
            shape: Shape { rows: 1, cols: 5 },
            columns: None,
            image: None,
            params: serde_json::Value::Null,
            curve: vec![1.0],
            gradients: Vec::new(),
            stop: Stop::Limit,
            version: "0".into(),
        };
        Bundle { pipeline: Pipeline::raw(5), model: Box::new(model), about }.save(&path).expect("saved");
        let files = vec![(path.clone(), std::fs::read(&path).expect("read"))];
        Self { path, files, _folder: folder }
    }

    fn restored(self) -> Self {
        self.files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).expect("written"));
        assert!(read(&self.path, 0).is_some(), "{} is whole", self.path.display());
        self
    }

    fn length(&self) -> usize {
        self.files.iter().map(|f| f.1.len()).sum()
    }
}

/// The kinds of file, each with its own parser.
fn kinds() -> [(&'static str, Vec<Sample>); 4] {
    let golden = |names: &[&str]| names.iter().map(|name| Sample::golden(name)).collect::<Vec<_>>();
    let torch = [
        "openai_topk.pt",
        "openai_relu.pt",
        "4_16_8_auxk_epoch_1.pth",
        "hypothesaes_topk.pt",
        "hypothesaes_batch.pt",
        "dictionary_AutoEncoderTopK",
        "dictionary_MatryoshkaBatchTopKSAE",
        "dictionary_GatedAutoEncoder",
        "dictionary_JumpReluAutoEncoder",
    ];
    let safetensors = [
        "saelens_standard",
        "saelens_topk",
        "saelens_jumprelu",
        "saelens_gated",
        "saelens_matryoshka",
        "saelens5_topk",
        "sparsify_topk",
        "sparsify_groupmax",
    ];
    [
        ("torch", golden(&torch)),
        ("safetensors", golden(&safetensors)),
        ("npz", golden(&["gemma_params.npz"])),
        ("mereo", vec![Sample::ours()]),
    ]
}

#[test]
fn every_cut() {
    for (kind, samples) in kinds() {
        // Others of a kind are read by the same code.
        for sample in samples.into_iter().take(2) {
            for (path, whole) in &sample.files {
                let mut passed = 0;
                for cut in 0..whole.len() {
                    std::fs::write(path, &whole[..cut]).expect("written");
                    passed += usize::from(read(&sample.path, sample.length()).is_some());
                }
                // The end of some JSON is white space; nothing else can be left out.
                assert!(passed == 0, "{kind}: {} of {} cuts of {} are read", passed, whole.len(), path.display());
                std::fs::write(path, whole).expect("written");
            }
        }
    }
}

/// Bytes changed in one of the ways in which files break, or are broken.
fn changed(whole: &[u8], others: &[u8], r: &mut Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=r.below(3) {
        if bytes.is_empty() {
            break;
        }
        // Headers and pickles come first, and are what is believed.
        let end = if r.below(2) == 0 { bytes.len().min(1600) } else { bytes.len() };
        let at = r.below(end);
        match r.below(9) {
            0 => bytes[at] ^= 1 << r.below(8),
            1 => bytes[at] = r.bits() as u8,
            2 => bytes.truncate(at),
            // A length, or an offset, of two, four or eight bytes.
            3 => {
                let value = [0, 1, 0xff, 0x7fff_ffff, 0xffff_ffff, u64::MAX, u64::MAX >> 1, r.bits() >> r.below(64)][r.below(8)];
                let n = [2, 4, 8][r.below(3)].min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&value.to_le_bytes()[..n]);
            }
            // A number in text.
            4 => {
                if let Some(from) = (at..bytes.len()).find(|i| bytes[*i].is_ascii_digit()) {
                    let to = (from..bytes.len()).find(|i| !bytes[*i].is_ascii_digit()).unwrap_or(bytes.len());
                    let number = ["0", "1", "-1", "4294967296", "18446744073709551615", "1e308", "99", "null", "[]"][r.below(9)];
                    bytes.splice(from..to, number.bytes());
                }
            }
            // A part again, elsewhere.
            5 => {
                let to = (at + 1 + r.below(64)).min(bytes.len());
                let part = bytes[at..to].to_vec();
                let into = r.below(bytes.len());
                bytes.splice(into..into, part);
            }
            // A part over another.
            6 => {
                let n = 1 + r.below(64).min(bytes.len() - at - 1);
                let into = r.below(bytes.len() - n + 1);
                bytes.copy_within(at..at + n, into);
            }
            // A part of another file.
            7 => {
                let from = r.below(others.len());
                let to = (from + 1 + r.below(256)).min(others.len());
                let end = (at + r.below(256)).min(bytes.len());
                bytes.splice(at..end, others[from..to].iter().copied());
            }
            _ => {
                let to = (at + 1 + r.below(32)).min(bytes.len());
                bytes.drain(at..to);
            }
        }
    }
    bytes
}

fn fuzz(kind: &str) {
    let seconds = std::env::var("MEREO_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(15.0);
    let (i, (_, samples)) = kinds().into_iter().enumerate().find(|(_, k)| k.0 == kind).expect("kind");
    let others: Vec<u8> = samples.iter().flat_map(|s| s.files.iter().flat_map(|f| f.1.iter().copied())).collect();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (mut tried, mut passed) = (0u64, 0);
    while Instant::now() < end {
        let mut r = rng(1, i as u64, tried);
        let sample = &samples[r.below(samples.len())];
        let (path, whole) = &sample.files[r.below(sample.files.len())];
        let bytes = changed(whole, &others, &mut r);
        std::fs::write(path, &bytes).expect("written");
        // A panic says which change it was.
        let read = std::panic::catch_unwind(|| read(&sample.path, sample.length()).is_some());
        let Ok(read) = read else { panic!("{kind}: change {tried}, of {}", path.display()) };
        passed += u64::from(read);
        std::fs::write(path, whole).expect("written");
        tried += 1;
    }
    println!(
        "{kind}: {tried} changes, {passed} of which left an autoencoder; at most {} KB held",
        MOST.load(Ordering::Relaxed) >> 10
    );
}

#[test]
fn changes_of_torch_files() {
    fuzz("torch");
}

#[test]
fn changes_of_safetensors_and_their_configurations() {
    fuzz("safetensors");
}

#[test]
fn changes_of_npz_files() {
    fuzz("npz");
}

#[test]
fn changes_of_our_models() {
    fuzz("mereo");
}

/// What reading a golden one says once one of its files is replaced.
fn said(name: &str, file: Option<&str>, bytes: &[u8]) -> String {
    let sample = Sample::golden(name);
    let path = file.map_or(sample.path.clone(), |file| sample.path.join(file));
    std::fs::write(&path, bytes).expect("written");
    bounded(bytes.len(), || formats::read(&sample.path, &Read::default())).expect_err("refused").to_string()
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sae").join(name)).expect("golden file")
}

/// A zip with its parts changed, stored or packed.
fn zipped(whole: &[u8], packed: bool, mut change: impl FnMut(&str, &mut Vec<u8>)) -> Vec<u8> {
    let mut from = zip::ZipArchive::new(Cursor::new(whole)).expect("zip");
    let mut to = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let method = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    for i in 0..from.len() {
        let mut part = from.by_index(i).expect("part");
        let name = part.name().expect("name").into_owned();
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).expect("bytes");
        change(&name, &mut bytes);
        to.start_file(name, zip::write::SimpleFileOptions::default().compression_method(method)).expect("started");
        to.write_all(&bytes).expect("packed");
    }
    to.finish().expect("whole").into_inner()
}

/// A safetensors file with a header by hand.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn zips_that_are_made_to_burst_are_refused() {
    let npz = file("gemma_params.npz");
    let bomb = zipped(&npz, true, |name, bytes| {
        if name.starts_with("W_enc") {
            // 64 MB of zeros, with a header that is true.
            let mut header = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
            let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (4096, 4096), }";
            header.extend(format!("{text:117}\n").as_bytes());
            *bytes = [header, vec![0; 1 << 26]].concat();
        }
    });
    assert!(bomb.len() < 1 << 18);
    let text = said("gemma_params.npz", None, &bomb);
    assert!(text.contains("more than 16 times") && text.contains("numpy.savez"), "{text}");
    let text = said("openai_topk.pt", None, &zipped(&file("openai_topk.pt"), true, |_, _| {}));
    assert!(text.contains("is packed, which torch.save never does"), "{text}");
    // The same zip, not packed, is fine.
    let sample = Sample::golden("openai_topk.pt");
    std::fs::write(&sample.path, zipped(&sample.files[0].1, false, |_, _| {})).expect("written");
    assert!(read(&sample.path, 0).is_some());
}

#[test]
fn pickles_that_are_made_to_run_or_to_grow_are_refused() {
    let with = |pickle: &[u8]| {
        let bytes = zipped(&file("openai_topk.pt"), false, |name, bytes| {
            if name.ends_with("data.pkl") {
                *bytes = pickle.to_vec();
            }
        });
        said("openai_topk.pt", None, &bytes)
    };
    let text = with(b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.");
    assert!(text.contains("`posix.system`") && text.contains("nothing in a pickle is run"), "{text}");
    let deep = [vec![b']'; 120_000], vec![b'a'; 119_999], vec![b'.']].concat();
    assert!(with(&deep).contains("holds no dict"));
    let text = with(&vec![b']'; 1 << 20]);
    assert!(text.contains("1048576 bytes") && text.contains("save the state dict alone"), "{text}");
    let mut memo = b"]".to_vec();
    (0..40_000u32).for_each(|i| memo.extend([&b"r"[..], &(u32::MAX - i).to_le_bytes()].concat()));
    memo.push(b'.');
    assert!(with(&memo).contains("holds no dict"));
    assert!(with(b"}q\0X\x01\0\0\0ah\0s.").contains("holds a, by which no sparse autoencoder is told"));
    assert!(said("openai_topk.pt", None, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").contains("torch before 1.6"));
}

#[test]
fn sizes_that_are_not_there_are_refused() {
    let sae = |header: &str, data: &[u8]| said("sparsify_groupmax", Some("sae.safetensors"), &safetensors(header, data));
    let tensor =
        |shape: &str, from: u64, to: u64| format!("{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}");
    let huge = tensor("[1099511627776,1024]", 0, 4_503_599_627_370_496);
    assert!(sae(&format!("{{\"W_dec\":{huge}}}"), &[0; 64]).contains("its tensors take 4503599627370496 bytes, 64 are there"));
    let overlap = format!("{{\"a\":{},\"b\":{}}}", tensor("[8]", 0, 32), tensor("[8]", 16, 48));
    assert!(sae(&overlap, &[0; 48]).contains("not a whole safetensors file"));
    let gap = format!("{{\"a\":{},\"b\":{}}}", tensor("[2]", 0, 8), tensor("[2]", 16, 24));
    assert!(sae(&gap, &[0; 24]).contains("not a whole safetensors file"));
    let wraps = format!("{{\"a\":{}}}", tensor("[4294967296,4294967296,4294967296]", 0, 0));
    assert!(sae(&wraps, &[]).contains("not a whole safetensors file"));
    let header = u64::MAX.to_le_bytes();
    assert!(said("sparsify_groupmax", Some("sae.safetensors"), &header).contains("header claims"));
    let none = format!("{{\"encoder.weight\":{}}}", tensor("[0,4611686018427387904]", 0, 0));
    assert!(sae(&none, &[]).contains("where a matrix is needed"));
    let deep = "[".repeat(100_000);
    assert!(said("sparsify_groupmax", Some("cfg.json"), deep.as_bytes()).contains("no whole JSON"));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    assert!(said("sparsify_groupmax", Some("cfg.json"), long.as_bytes()).contains("has 1048576 at most"));
    // An npz that claims more numbers than its part has.
    let npz = zipped(&file("gemma_params.npz"), false, |name, bytes| {
        if name.starts_with("b_dec") {
            let at = bytes.windows(4).position(|w| w == b"(6,)").expect("shape");
            bytes.splice(at..at + 8, *b"(9**99,)");
        }
    });
    assert!(said("gemma_params.npz", None, &npz).contains("b_dec") || said("gemma_params.npz", None, &npz).contains("npy"));
}

#[test]
fn numbers_that_are_none_are_refused() {
    let mut bytes = file("sparsify_groupmax/sae.safetensors");
    let from = bytes.len() - 100;
    bytes[from..].fill(0xff);
    let text = said("sparsify_groupmax", Some("sae.safetensors"), &bytes);
    assert!(text.contains("is NaN; the file is damaged"), "{text}");
    let nan = zipped(&file("openai_topk.pt"), false, |name, bytes| {
        if name.contains("/data/") {
            bytes.fill(0xff);
        }
    });
    assert!(said("openai_topk.pt", None, &nan).contains("NaN"));
    // Numbers that aren't those that were saved are found by their checksum.
    let mut bytes = file("openai_topk.pt");
    let at = {
        let mut zip = zip::ZipArchive::new(Cursor::new(&bytes[..])).expect("zip");
        let part = zip.by_name("openai_topk/data/0").expect("part");
        part.data_start().expect("stored") as usize
    };
    bytes[at] ^= 1;
    let text = said("openai_topk.pt", None, &bytes);
    assert!(text.contains("checksum"), "{text}");
    // 1e300 is no f32.
    let wide = zipped(&file("dictionary_GatedAutoEncoder/ae.pt"), false, |name, bytes| {
        if name.ends_with("/data/0") {
            bytes[..8].copy_from_slice(&1e300f64.to_le_bytes());
        }
    });
    let text = said("dictionary_GatedAutoEncoder", Some("ae.pt"), &wide);
    assert!(text.contains("1e300") && text.contains("32-bit floats"), "{text}");
}

#[test]
fn a_format_is_not_tried_but_told() {
    // What is called by one name and holds another is refused, whatever it could be.
    let text = said("sparsify_groupmax", Some("sae.safetensors"), &file("saelens_standard/sae_weights.safetensors"));
    assert!(text.contains("W_enc") && text.contains("encoder.weight"), "{text}");
    let text = said("openai_topk.pt", None, &file("gemma_params.npz"));
    assert!(text.contains("data.pkl"), "{text}");
    let sample = Sample::golden("openai_topk.pt");
    let how = Read { format: Some(SaeFormat::GemmaScope), k: None };
    assert!(formats::read(&sample.path, &how).is_err());
}
