//! Writes atoms and codes for others to read: npy, csv, tsv, parquet, and npz for sparse codes, told by the ending of the name.
//!
//! | ending | what is written | reads in |
//! |---|---|---|
//! | `.npy` | f32, row after row | `numpy.load` |
//! | `.csv`, `.tsv` | a line for each row, the shortest digits that give the same f32 back | `numpy.loadtxt`, pandas |
//! | `.parquet` | one column `values` of lists of f32 (or a column for each name), zstd | pyarrow, polars |
//! | `.npz` | CSR, zeros left out (codes only) | `scipy.sparse.load_npz` |
//!
//! [`write_top`] writes the few largest codes of each row alone, as those who work on sparse codes keep them.
//!
//! Files are written beside their name and renamed, so a full disk leaves no half of one. Rows are written as they come:
//! [`write_blocks`] needs no more memory than a block.

mod top;

pub use top::{check_top, write_top};

use crate::error::{Error, Result};
use crate::mat::{Mat, Rows};
use crate::model::Codes;
use crate::store::write_whole;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

/// Bytes of an output buffer, and of numbers that are converted at a time.
const BUFFER: usize = 1 << 20;
/// Sparse codes up to this many bytes are gathered in memory, larger ones in a temporary file.
const SPOOL: usize = 64 << 20;

/// Refuses an ending that [`write_codes`] and [`write_blocks`] don't know, so that it is found before the work begins.
pub fn check_codes(path: &Path) -> Result<()> {
    kind(path).map(drop)
}

/// Refuses an ending that [`write_mat`] doesn't know, so that it is found before the work begins.
pub fn check_mat(path: &Path) -> Result<()> {
    if kind(path)? == Kind::Npz {
        return Err(Error::format(path, "npz holds sparse codes; write a matrix as npy, csv, tsv or parquet"));
    }
    Ok(())
}

/// Writes a matrix as npy, csv, tsv or parquet.
///
/// # Errors
/// Another ending; a matrix without rows or columns; a file that can't be written.
pub fn write_mat(path: &Path, m: &Mat) -> Result<()> {
    check_mat(path)?;
    write(path, (m.rows, m.cols), None, |put| put(&m.view()))
}

/// Writes a matrix with a name for each column, as csv, tsv or parquet.
///
/// # Errors
/// As [`write_mat`]; other than one name for each column; an ending that has no room for names.
pub fn write_table(path: &Path, m: &Mat, names: &[String]) -> Result<()> {
    if names.len() != m.cols {
        return Err(Error::parameter(format!("{} names for {} columns; give one for each", names.len(), m.cols)));
    }
    if !matches!(kind(path)?, Kind::Text(_) | Kind::Parquet) {
        return Err(Error::format(path, "has no room for names of columns; write it as csv, tsv or parquet"));
    }
    write(path, (m.rows, m.cols), Some(names), |put| put(&m.view()))
}

/// Writes codes as npy, csv, tsv or parquet, every number, or as npz, those that differ from zero.
///
/// # Errors
/// Another ending; codes without rows or columns; a file that can't be written.
pub fn write_codes(path: &Path, z: &Codes) -> Result<()> {
    write_blocks(path, (z.rows(), z.cols()), |put| put(&z.view()))
}

/// Writes the rows that `each` hands over block by block, `shape.0` rows of `shape.1` columns in all. For codes that are larger than memory.
///
/// # Errors
/// As [`write_codes`]; other than the announced rows; any error of `each`, which leaves no file.
pub fn write_blocks(
    path: &Path,
    shape: (usize, usize),
    each: impl FnOnce(&mut dyn FnMut(&Rows) -> Result<()>) -> Result<()>,
) -> Result<()> {
    write(path, shape, None, each)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Npy,
    Npz,
    Text(u8),
    Parquet,
}

fn kind(path: &Path) -> Result<Kind> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    match ending.as_str() {
        "npy" => Ok(Kind::Npy),
        "npz" => Ok(Kind::Npz),
        "csv" => Ok(Kind::Text(b',')),
        "tsv" => Ok(Kind::Text(b'\t')),
        #[cfg(feature = "parquet")]
        "parquet" => Ok(Kind::Parquet),
        _ => {
            let what = if ending.is_empty() { "a name without an ending".into() } else { format!("the ending .{ending}") };
            Err(Error::format(
                path,
                format!("{what} isn't known; what can be written are npy, npz (codes), csv, tsv and parquet"),
            ))
        }
    }
}

fn write(
    path: &Path,
    (rows, cols): (usize, usize),
    names: Option<&[String]>,
    each: impl FnOnce(&mut dyn FnMut(&Rows) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let kind = kind(path)?;
    write_into(
        path,
        (rows, cols),
        |file| {
            Ok(match kind {
                Kind::Npy => Box::new(Npy::new(file, rows, cols)?),
                Kind::Npz => Box::new(Npz::new(file, cols)),
                Kind::Text(separator) => Box::new(Text::new(file, separator, names)?),
                #[cfg(feature = "parquet")]
                Kind::Parquet => Box::new(columns::Parquet::new(file, cols, names)?),
                #[cfg(not(feature = "parquet"))]
                Kind::Parquet => return Err(io::ErrorKind::Unsupported.into()),
            })
        },
        each,
    )
}

/// Writes what `each` hands over into what `sink` makes of the file.
fn write_into(
    path: &Path,
    (rows, cols): (usize, usize),
    sink: impl for<'f> FnOnce(&'f mut File) -> io::Result<Box<dyn Sink + 'f>>,
    each: impl FnOnce(&mut dyn FnMut(&Rows) -> Result<()>) -> Result<()>,
) -> Result<()> {
    if rows == 0 || cols == 0 {
        return Err(Error::format(path, format!("{rows} rows of {cols} columns are nothing to write")));
    }
    // `write_whole` carries errors of the file; one of the caller is kept aside.
    let mut other = None;
    let done = write_whole(path, |file| {
        let mut sink = sink(file)?;
        let mut seen = 0;
        let all = each(&mut |x: &Rows| {
            if x.cols() != cols {
                return Err(Error::data(format!("a block of {} columns where {cols} were announced", x.cols())));
            }
            seen += x.rows();
            // Whole rows, a buffer at a time.
            let step = (BUFFER / 4 / cols).max(1);
            for from in (0..x.rows()).step_by(step) {
                sink.put(&x.slice(from, (from + step).min(x.rows()))).map_err(|e| Error::io(path, e))?;
            }
            Ok(())
        });
        let all = all.and_then(|()| {
            if seen == rows { Ok(()) } else { Err(Error::data(format!("{seen} rows came where {rows} were announced"))) }
        });
        match all {
            Ok(()) => sink.end(),
            Err(e) => {
                other = Some(e);
                Err(io::Error::other("the rows to write failed"))
            }
        }
    });
    other.map_or(done, Err)
}

/// Where rows go, a few at a time.
trait Sink {
    fn put(&mut self, x: &Rows) -> io::Result<()>;
    fn end(self: Box<Self>) -> io::Result<()>;
}

/// The header of an npy file, padded so that numbers begin at a multiple of 64 bytes.
pub(crate) fn npy_header(descr: &str, shape: &str) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    text.push_str(&" ".repeat(63 - (10 + text.len()) % 64));
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out
}

pub(crate) fn put_f32(out: &mut impl Write, values: &[f32]) -> io::Result<()> {
    if cfg!(target_endian = "little") {
        return out.write_all(bytemuck::cast_slice(values));
    }
    values.iter().try_for_each(|v| out.write_all(&v.to_le_bytes()))
}

struct Npy<'a> {
    out: BufWriter<&'a mut File>,
}

impl<'a> Npy<'a> {
    fn new(file: &'a mut File, rows: usize, cols: usize) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(BUFFER, file);
        out.write_all(&npy_header("<f4", &format!("({rows}, {cols})")))?;
        Ok(Self { out })
    }
}

impl Sink for Npy<'_> {
    fn put(&mut self, x: &Rows) -> io::Result<()> {
        match x {
            Rows::Dense(x) => put_f32(&mut self.out, &x.data),
            Rows::Sparse(_) => put_f32(&mut self.out, &x.to_mat().data),
        }
    }
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

struct Text<'a> {
    out: BufWriter<&'a mut File>,
    separator: u8,
}

impl<'a> Text<'a> {
    fn new(file: &'a mut File, separator: u8, names: Option<&[String]>) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(BUFFER, file);
        for (i, name) in names.unwrap_or_default().iter().enumerate() {
            if i > 0 {
                out.write_all(&[separator])?;
            }
            // Names are text, so they are quoted where they would end a cell or a line.
            if name.contains([separator as char, '"', '\n', '\r']) {
                write!(out, "\"{}\"", name.replace('"', "\"\""))?;
            } else {
                out.write_all(name.as_bytes())?;
            }
        }
        if names.is_some() {
            out.write_all(b"\n")?;
        }
        Ok(Self { out, separator })
    }
}

impl Sink for Text<'_> {
    fn put(&mut self, x: &Rows) -> io::Result<()> {
        let m = x.to_mat();
        for r in 0..m.rows {
            for (i, v) in m.row(r).iter().enumerate() {
                if i > 0 {
                    self.out.write_all(&[self.separator])?;
                }
                // Exponents where they are shorter: 1e-30.
                write!(self.out, "{v:?}")?;
            }
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// CSR as `scipy.sparse.save_npz` writes it. Columns and values wait in temporary files, as a zip takes one array after the other.
struct Npz<'a> {
    file: &'a mut File,
    cols: usize,
    indptr: Vec<u64>,
    indices: tempfile::SpooledTempFile,
    values: tempfile::SpooledTempFile,
}

impl<'a> Npz<'a> {
    fn new(file: &'a mut File, cols: usize) -> Self {
        Self {
            file,
            cols,
            indptr: vec![0],
            indices: tempfile::spooled_tempfile(SPOOL),
            values: tempfile::spooled_tempfile(SPOOL),
        }
    }

    fn add(&mut self, row: &mut Vec<(u32, f32)>) -> io::Result<()> {
        row.retain(|e| e.1 != 0.0);
        let indices: Vec<u8> = row.iter().flat_map(|e| e.0.to_le_bytes()).collect();
        let values: Vec<u8> = row.iter().flat_map(|e| e.1.to_le_bytes()).collect();
        self.indices.write_all(&indices)?;
        self.values.write_all(&values)?;
        self.indptr.push(self.indptr[self.indptr.len() - 1] + row.len() as u64);
        row.clear();
        Ok(())
    }
}

impl Sink for Npz<'_> {
    fn put(&mut self, x: &Rows) -> io::Result<()> {
        let mut row = Vec::new();
        for r in 0..x.rows() {
            match x {
                Rows::Dense(x) => row.extend((0u32..).zip(x.row(r).iter().copied())),
                Rows::Sparse(x) => {
                    let (columns, values) = x.row(r);
                    row.extend(columns.iter().copied().zip(values.iter().copied()));
                }
            }
            self.add(&mut row)?;
        }
        Ok(())
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        let file = self.file.try_clone()?;
        let mut zip = zip::ZipWriter::new(BufWriter::with_capacity(BUFFER, file));
        match self.pack(&mut zip) {
            Ok(()) => zip.finish().map_err(io::Error::other)?.flush(),
            Err(e) => {
                // Dropped, it would try again to write, and print that it can't.
                std::mem::forget(zip);
                Err(e)
            }
        }
    }
}

impl Npz<'_> {
    fn pack(&mut self, zip: &mut zip::ZipWriter<BufWriter<File>>) -> io::Result<()> {
        let rows = self.indptr.len() - 1;
        let entries = self.indptr[rows];
        // scipy wants indices and pointers of one type: the smaller one where everything fits it.
        let wide = entries.max(self.cols as u64) > i32::MAX as u64;
        let index = if wide { "<i8" } else { "<i4" };
        let integer = |v: u64| if wide { v.to_le_bytes().to_vec() } else { (v as u32).to_le_bytes().to_vec() };
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .large_file(entries.max(rows as u64) >= (1 << 32) / 8 - 1024);
        let start = |zip: &mut zip::ZipWriter<_>, name: &str, descr: &str, shape: &str| -> io::Result<()> {
            zip.start_file(name, options).map_err(io::Error::other)?;
            zip.write_all(&npy_header(descr, shape))
        };
        start(zip, "indices.npy", index, &format!("({entries},)"))?;
        self.indices.rewind()?;
        if wide {
            let mut from = io::BufReader::with_capacity(BUFFER, &mut self.indices);
            let mut four = [0; 4];
            for _ in 0..entries {
                from.read_exact(&mut four)?;
                zip.write_all(&u64::from(u32::from_le_bytes(four)).to_le_bytes())?;
            }
        } else {
            io::copy(&mut self.indices, zip)?;
        }
        start(zip, "indptr.npy", index, &format!("({},)", rows + 1))?;
        for part in self.indptr.chunks(BUFFER / 8) {
            zip.write_all(&part.iter().flat_map(|&p| integer(p)).collect::<Vec<u8>>())?;
        }
        start(zip, "format.npy", "|S3", "()")?;
        zip.write_all(b"csr")?;
        start(zip, "shape.npy", "<i8", "(2,)")?;
        zip.write_all(&[(rows as u64).to_le_bytes(), (self.cols as u64).to_le_bytes()].concat())?;
        start(zip, "data.npy", "<f4", &format!("({entries},)"))?;
        self.values.rewind()?;
        io::copy(&mut self.values, zip)?;
        Ok(())
    }
}

#[cfg(feature = "parquet")]
mod columns {
    use super::{File, Rows, Sink, io};
    use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema, SchemaRef};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::properties::WriterProperties;
    use std::sync::Arc;

    /// Numbers of a row group, which is in memory until it is whole.
    const GROUP: usize = 16 << 20;

    pub(super) struct Parquet<'a> {
        out: ArrowWriter<&'a mut File>,
        schema: SchemaRef,
        width: i32,
        /// One column of lists, or a column for each number of a row.
        list: bool,
    }

    impl<'a> Parquet<'a> {
        pub(super) fn new(file: &'a mut File, cols: usize, names: Option<&[String]>) -> io::Result<Self> {
            let width = i32::try_from(cols).map_err(io::Error::other)?;
            let fields = match names {
                Some(names) => names.iter().map(|n| Field::new(n, DataType::Float32, false)).collect(),
                None => vec![Field::new("values", DataType::FixedSizeList(element(), width), false)],
            };
            let schema: SchemaRef = Arc::new(Schema::new(fields));
            let out = writer(file, schema.clone(), cols)?;
            Ok(Self { out, schema, width, list: names.is_none() })
        }
    }

    /// A file whose rows have about so many numbers each.
    pub(super) fn writer(file: &mut File, schema: SchemaRef, numbers: usize) -> io::Result<ArrowWriter<&mut File>> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(io::Error::other)?))
            .set_max_row_group_row_count(Some((GROUP / numbers).clamp(1, 1 << 20)))
            .build();
        ArrowWriter::try_new(file, schema, Some(properties)).map_err(io::Error::other)
    }

    fn element() -> Arc<Field> {
        Arc::new(Field::new("element", DataType::Float32, false))
    }

    impl Sink for Parquet<'_> {
        fn put(&mut self, x: &Rows) -> io::Result<()> {
            let m = x.to_mat();
            let arrays: Vec<ArrayRef> = if self.list {
                let values = Arc::new(Float32Array::from(m.data));
                let lists = FixedSizeListArray::try_new(element(), self.width, values, None).map_err(io::Error::other)?;
                vec![Arc::new(lists)]
            } else {
                let columns = m.transpose();
                (0..columns.rows).map(|c| Arc::new(Float32Array::from(columns.row(c).to_vec())) as ArrayRef).collect()
            };
            let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(io::Error::other)?;
            self.out.write(&batch).map_err(into_io)
        }
        fn end(self: Box<Self>) -> io::Result<()> {
            self.out.close().map(drop).map_err(into_io)
        }
    }

    /// A full disk stays a full disk.
    pub(super) fn into_io(e: parquet::errors::ParquetError) -> io::Error {
        match e {
            parquet::errors::ParquetError::External(e) => match e.downcast::<io::Error>() {
                Ok(e) => *e,
                Err(e) => io::Error::other(e),
            },
            e => io::Error::other(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold;
    use crate::mat::Csr;
    use crate::source::{self, Open};

    fn sample() -> Mat {
        let odd = [0.0, -0.0, 1.0, 0.1, -2.5e-30, 3.0e30, f32::MIN_POSITIVE, 16_777_217.0];
        Mat { rows: 300, cols: 5, data: (0..1500).map(|i| odd[i % 8] * (1 + i / 8 % 7) as f32).collect() }
    }

    fn sparse() -> Csr {
        Csr::new(3, 4, vec![0, 2, 2, 3], vec![0, 3, 1], vec![1.5, -2.0, 0.1]).expect("csr")
    }

    fn read(path: &Path) -> Mat {
        let opened = source::open(path, &Open::default()).expect("opened");
        fold::collect(&*opened.source).expect("read")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("tempdir");
        for ending in ["npy", "csv", "TSV", "parquet"] {
            let path = folder.path().join(format!("m.{ending}"));
            write_mat(&path, &sample()).expect("written");
            assert_eq!(read(&path), sample(), "{ending}");
        }
        for ending in ["npy", "csv", "tsv", "parquet", "npz"] {
            let path = folder.path().join(format!("z.{ending}"));
            write_codes(&path, &Codes::Sparse(sparse())).expect("written");
            assert_eq!(read(&path), sparse().view().to_mat(), "{ending}, sparse");
            write_codes(&path, &Codes::Dense(sample())).expect("written");
            assert_eq!(read(&path), sample(), "{ending}, dense");
        }
        let stored = source::open(&folder.path().join("z.npz"), &Open::default()).expect("opened");
        let entries = sample().data.iter().filter(|v| **v != 0.0).count();
        assert_eq!(stored.source.block(0).expect("block").values().len(), entries, "zeros are left out");
        assert_eq!(std::fs::read_dir(folder.path()).expect("dir").count(), 9, "no part file is left");
    }

    #[test]
    fn blocks_and_names() {
        let folder = tempfile::tempdir().expect("tempdir");
        let m = sample();
        for ending in ["npy", "csv", "parquet", "npz"] {
            let path = folder.path().join(format!("b.{ending}"));
            write_blocks(&path, (300, 5), |put| {
                (0..300).step_by(70).try_for_each(|r| put(&m.view().slice(r, (r + 70).min(300))))
            })
            .expect("written");
            assert_eq!(read(&path), m, "{ending}");
        }
        let names: Vec<String> = ["a", "b, c", "d \"e\"", "4", "f"].map(String::from).to_vec();
        for ending in ["csv", "tsv", "parquet"] {
            let path = folder.path().join(format!("t.{ending}"));
            write_table(&path, &m, &names).expect("written");
            assert_eq!(read(&path), m, "{ending}");
            assert_eq!(source::open(&path, &Open::default()).expect("opened").columns, Some(names.clone()), "{ending}");
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().expect("tempdir");
        let at = |name: &str| folder.path().join(name);
        let refused = |done: Result<()>, what: &str| {
            let error = done.expect_err("refused").to_string();
            assert!(error.contains(what), "`{error}` says `{what}`");
        };
        refused(write_mat(&at("a.xls"), &sample()), "the ending .xls isn't known; what can be written are npy");
        refused(write_mat(&at("a"), &sample()), "without an ending");
        refused(write_mat(&at("a.npz"), &sample()), "npz holds sparse codes");
        refused(write_mat(&at("a.npy"), &Mat::zeros(0, 3)), "nothing to write");
        refused(write_mat(&at("nowhere/a.npy"), &sample()), "nowhere");
        refused(write_table(&at("a.csv"), &sample(), &[]), "0 names for 5 columns");
        refused(write_table(&at("a.npy"), &sample(), &vec![String::new(); 5]), "no room for names");
        refused(write_blocks(&at("a.npy"), (2, 5), |put| put(&sample().view())), "300 rows came where 2 were announced");
        refused(write_blocks(&at("a.npy"), (2, 4), |put| put(&sample().view())), "5 columns where 4 were announced");
        refused(write_blocks(&at("a.npz"), (2, 5), |_| Err(Error::data("stopped"))), "stopped");
        assert_eq!(std::fs::read_dir(folder.path()).expect("dir").count(), 0);
        if Path::new("/dev/full").exists() {
            for ending in ["npy", "csv", "parquet", "npz"] {
                let path = at(&format!("full.{ending}"));
                std::os::unix::fs::symlink("/dev/full", &path).expect("link");
                refused(write_codes(&path, &Codes::Dense(sample())), "No space left");
            }
        }
    }
}
