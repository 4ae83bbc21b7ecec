//! What `torch.save` writes: a zip, nothing in it packed, of a pickle and of the numbers that its tensors are views of.
//!
//! The zip is that of torch 1.6 and later; older files begin with a pickle and are refused. `torch.load` takes what is written here
//! with `weights_only=True` and with `mmap=True`.

use super::pickle::{self, Item, Numbers, Pickle, Value};
use super::tensors::{Part, Tensors};
use crate::error::Result;
use crate::source::input::{Input, Section};
use crate::store::write_whole;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Numbers in a zip begin at a multiple of this, so that they can be used where they lie.
const ALIGNMENT: u16 = 64;

/// A file of torch, its pickle read and its tensors left where they lie.
#[derive(Debug)]
pub(super) struct Torch {
    input: Input,
    pickle: Pickle,
    storages: BTreeMap<String, Part>,
    big: bool,
}

impl Torch {
    /// Opens a file.
    ///
    /// # Errors
    /// No zip, or one that is cut short, packed or lacks its pickle; a pickle that does more than to build dicts of tensors.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let input = Input::open(path)?;
        let head = input.head(4)?;
        if head.starts_with(&[0x80]) {
            return Err(input.error("was saved by torch before 1.6; load it in Python and save it again with torch.save"));
        }
        if !head.starts_with(b"PK") {
            return Err(input.error("doesn't begin as a file of torch.save (a zip) does; copy it again, or say what it is"));
        }
        let broken = |e: &dyn std::fmt::Display| input.error(format!("not a whole file of torch.save ({e}); copy it again"));
        let mut zip: ZipArchive<Section> = ZipArchive::new(input.section(0, input.len())).map_err(|e| broken(&e))?;
        let mut parts = BTreeMap::new();
        for index in 0..zip.len() {
            let file = zip.by_index(index).map_err(|e| broken(&e))?;
            let name = file.name().map_err(|e| broken(&e))?.into_owned();
            let part = Part { at: file.data_start().unwrap_or(u64::MAX), bytes: file.compressed_size(), crc: file.crc32() };
            if file.compression() != CompressionMethod::Stored || file.size() != part.bytes {
                return Err(input.error(format!("its part `{name}` is packed, which torch.save never does; save it again")));
            }
            input.holds(part.at, part.bytes, &format!("its part `{name}`"))?;
            parts.insert(name, part);
        }
        let mut pickles =
            parts.keys().filter_map(|name| name.strip_suffix("data.pkl")).filter(|p| p.is_empty() || p.ends_with('/'));
        let (Some(folder), None) = (pickles.next().map(str::to_string), pickles.next()) else {
            return Err(broken(&"it has no `data.pkl`, or several"));
        };
        let of = |name: &str| -> Result<Option<Vec<u8>>> {
            parts.get(&format!("{folder}{name}")).map(|p| input.bytes(p.at, p.bytes)).transpose()
        };
        let big = of("byteorder")?.is_some_and(|order| order == b"big");
        let pickle = Pickle::read(of("data.pkl")?.unwrap_or_default()).map_err(|e| input.error(e))?;
        let prefix = format!("{folder}data/");
        let storages = parts.iter().filter_map(|(name, p)| Some((name.strip_prefix(&prefix)?.to_string(), *p))).collect();
        drop(zip);
        Ok(Self { input, pickle, storages, big })
    }

    /// The pickle.
    pub(super) fn pickle(&self) -> &Pickle {
        &self.pickle
    }

    /// An error about the file.
    pub(super) fn error(&self, message: impl Into<String>) -> crate::Error {
        self.input.error(message)
    }

    /// The names of the entries of the dict that the file holds.
    pub(super) fn names(&self) -> Result<Vec<&str>> {
        let entries = self.pickle.entries(self.pickle.root());
        Ok(entries.ok_or_else(|| self.input.error("holds no dict; save the state dict of a model"))?.map(|e| e.0).collect())
    }

    /// An entry of that dict.
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        self.pickle.get(self.pickle.root(), name)
    }

    /// The tensors among the entries of a dict; entries of other kinds are left out.
    pub(super) fn tensors(self, dict: Value) -> Result<Tensors> {
        let Self { input, pickle, storages, big } = self;
        let entries = pickle.entries(dict).ok_or_else(|| input.error("holds no state dict; save that of a model"))?;
        let mut tensors = Tensors::views(input);
        for (name, value) in entries {
            let Some(view) = pickle.tensor(value) else { continue };
            let part = storages.get(&view.storage.key).ok_or_else(|| {
                tensors.error(format!("lacks the numbers of tensor `{name}` (data/{}); copy it again", view.storage.key))
            })?;
            tensors.add(name, view, *part, big)?;
        }
        Ok(tensors)
    }
}

/// Writes what `torch.load` reads.
pub(super) fn write(path: &Path, item: &Item) -> Result<()> {
    let (pickle, storages) = pickle::write(item);
    write_whole(path, |file| {
        let mut zip = ZipWriter::new(BufWriter::new(file));
        match pack(&mut zip, &pickle, &storages) {
            Ok(()) => zip.finish().map_err(io::Error::other)?.flush(),
            Err(e) => {
                // Dropped, it would try again to write, and print that it can't.
                std::mem::forget(zip);
                Err(e)
            }
        }
    })
}

fn pack<W: Write + io::Seek>(zip: &mut ZipWriter<W>, pickle: &[u8], storages: &[&Numbers]) -> io::Result<()> {
    let mut part = |name: &str, bytes: &[u8]| {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment(ALIGNMENT)
            .large_file(bytes.len() >= u32::MAX as usize);
        zip.start_file(format!("archive/{name}"), options).map_err(io::Error::other)?;
        zip.write_all(bytes)
    };
    part("data.pkl", pickle)?;
    part(".storage_alignment", ALIGNMENT.to_string().as_bytes())?;
    part("byteorder", b"little")?;
    for (i, numbers) in storages.iter().enumerate() {
        let name = format!("data/{i}");
        match numbers {
            Numbers::F32(v) if cfg!(target_endian = "little") => part(&name, bytemuck::cast_slice(v))?,
            Numbers::F32(v) => part(&name, &v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?,
            Numbers::I32(v) => part(&name, &v.to_le_bytes())?,
            Numbers::I64(v) => part(&name, &v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?,
        }
    }
    part("version", b"3\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("a.pt");
        (folder, path)
    }

    fn open(path: &Path) -> Result<Tensors> {
        let file = Torch::open(path)?;
        let root = file.pickle().root();
        file.tensors(root)
    }

    #[test]
    fn tensors_come_back() {
        let (_folder, path) = place();
        let m = crate::mat::Mat { rows: 2, cols: 3, data: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let item = Item::Dict(vec![
            ("m", Item::mat(&m)),
            ("t", Item::turned(&m)),
            ("v", Item::vector(&m.data)),
            ("s", Item::scalar(0.5)),
            ("k", Item::count(7)),
            ("g", Item::whole([3, 1 << 40])),
            ("text", Item::Text("none")),
        ]);
        write(&path, &item).expect("written");
        let read = open(&path).expect("read");
        assert_eq!(read.names().collect::<Vec<_>>(), ["g", "k", "m", "s", "t", "v"]);
        assert_eq!(read.mat("m", 2, 3).expect("m"), m);
        assert_eq!(read.turned("t", 2, 3).expect("t"), m);
        assert_eq!(read.vector("v", 6).expect("v"), m.data);
        assert_eq!(read.scalar("s").expect("s"), 0.5);
        assert_eq!((read.counts("k").expect("k"), read.counts("g").expect("g")), (vec![7], vec![3, 1 << 40]));
        for (done, what) in [
            (read.vector("v", 5).err(), "[6] where the others ask for [5]"),
            (read.vector("g", 2).err(), "holds I64; weights are 16, 32 or 64-bit floats"),
            (read.vector("w", 2).err(), "lacks the tensor `w`; it has g, k, m"),
            (read.matrix("v").err(), "where a matrix is needed"),
            (read.scalar("v").map(drop).err(), "where one number is needed"),
            (read.only("it", &["g", "k", "m", "s", "t"]).err(), "has the tensor `v` [6]"),
        ] {
            let said = done.expect(what).to_string();
            assert!(said.contains(what), "{said}");
        }
        // Numbers lie where they can be used as they are.
        let mut zip = ZipArchive::new(std::fs::File::open(&path).expect("file")).expect("zip");
        for i in 0..zip.len() {
            assert_eq!(zip.by_index(i).expect("part").data_start().map(|at| at % 64), Some(0));
        }
    }

    #[test]
    fn views_are_followed_and_none_is_larger_than_its_numbers() {
        let (_folder, path) = place();
        let item = Item::Dict(vec![("v", Item::vector(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))]);
        write(&path, &item).expect("written");
        let file = Torch::open(&path).expect("open");
        let (part, whole) = (file.storages["0"], file.pickle.tensor(file.get("v").expect("v")).expect("tensor").clone());
        let root = file.pickle.root();
        let mut tensors = file.tensors(root).expect("tensors");
        let mut add = |offset, shape: &[u64], strides: &[u64]| {
            let view = pickle::Tensor { offset, shape: shape.to_vec(), strides: strides.to_vec(), ..whole.clone() };
            tensors.add("w", &view, part, false)?;
            let shape: Vec<usize> = shape.iter().map(|n| *n as usize).collect();
            Ok::<_, crate::Error>(tensors.mat("w", shape[0], shape[1])?.data)
        };
        assert_eq!(add(0, &[3, 2], &[1, 3]).expect("turned"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(add(1, &[2, 2], &[2, 1]).expect("part"), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(add(1, &[2, 2], &[3, 1]).expect("columns"), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(add(5, &[1, 1], &[9, 9]).expect("last"), [5.0]);
        for (offset, shape, strides) in [
            (0, [1000, 1000], [0, 0]),
            (1, [3, 2], [2, 1]),
            (6, [1, 1], [1, 1]),
            (0, [u64::MAX, 2], [1, 1]),
            (0, [2, 2], [u64::MAX, u64::MAX]),
        ] {
            let said = add(offset, &shape, &strides).expect_err("beyond").to_string();
            assert!(said.contains("is no part of its 6 numbers; save it as x.clone()"), "{said}");
        }
        let short = Part { bytes: part.bytes - 4, ..part };
        assert!(tensors.add("w", &whole, short, false).expect_err("short").to_string().contains("claims 6 numbers"));
        tensors.add("big", &whole, part, true).expect("big");
        assert_eq!(tensors.vector("big", 6).expect("big")[1], f32::from_bits(1f32.to_bits().swap_bytes()));
    }
}
