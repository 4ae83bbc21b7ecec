//! `.npz`: a zip of `.npy` members. One dense array, or the sparse matrix that `scipy.sparse.save_npz` writes (CSR or CSC).

use super::Source;
use super::budget::Budget;
use super::dense;
use super::input::{Input, Section};
use super::npy::Header;
use super::open::{Open, Opened, pick};
use super::sparse::{self, Column};
use crate::error::{Error, Result};
use crate::mat::Csr;
use std::io::Read;
use std::sync::Arc;
use zip::{CompressionMethod, ZipArchive};

/// No deflated byte stands for more than this many.
const RATIO: u64 = 1100;

/// One array of the archive.
#[derive(Debug)]
pub(crate) struct Member {
    index: usize,
    pub(crate) name: String,
    pub(crate) header: Header,
    /// Bytes of the whole member, unpacked.
    pub(crate) size: u64,
    /// Where it lies in the file, if it isn't compressed.
    stored: Option<u64>,
}

/// Opens a file whose name ends in `.npz`.
pub(super) fn open(input: Input, how: &Open) -> Result<Opened> {
    let members = members(&input)?;
    let budget = Budget::new(how.memory);
    let found = |name: &str| members.iter().find(|m| m.name == name);
    if how.variable.is_none()
        && let (Some(format), Some(_)) = (found("format"), found("shape"))
    {
        let kind = unpacked(&input, format, |from| text(&input, from))?;
        let by_rows = match kind.as_str() {
            "csr" => true,
            "csc" => false,
            _ => {
                return Err(
                    input.error(format!("holds a sparse matrix in the format `{kind}`; save it as save_npz(file, x.tocsr())"))
                );
            }
        };
        let part = |name: &str| {
            found(name).ok_or_else(|| {
                input.error(format!("lacks the part `{name}` of a sparse matrix; save it with scipy.sparse.save_npz"))
            })
        };
        let parts = Parts { shape: part("shape")?, indptr: part("indptr")?, indices: part("indices")?, data: part("data")? };
        return open_sparse(input, by_rows, &parts, budget);
    }
    let shown: Vec<(&str, String)> =
        members.iter().map(|m| (m.name.as_str(), format!("{} {:?}", m.header.descr, m.header.shape))).collect();
    let member = &members[pick(&input, "array", &shown, how.variable.as_deref(), None)?];
    let mut array = member.header.array(input.path())?;
    if array.offset + array.bytes() != member.size {
        return Err(input.error(format!(
            "array `{}` claims {} bytes, its part of the file has {}; the file is damaged: save it again",
            member.name,
            array.offset + array.bytes(),
            member.size
        )));
    }
    let image = array.image;
    let source = if budget.holds(array.held()) {
        dense::memory(unpacked(&input, member, |from| array.load(input.path(), from))?)
    } else if let Some(at) = member.stored {
        array.offset += at;
        dense::stream(input, array, budget)
    } else {
        dense::stream(spilled(&input, member)?, array, budget)
    };
    Ok(Opened { source, image, columns: None, kind: "npz" })
}

fn broken(input: &Input, e: &dyn std::fmt::Display) -> Error {
    input.error(format!("not a whole npz file ({e}); copy it again or save it with numpy.savez"))
}

fn archive(input: &Input) -> Result<ZipArchive<Section<'_>>> {
    ZipArchive::new(input.section(0, input.len())).map_err(|e| broken(input, &e))
}

/// All arrays of the archive, with their headers read.
pub(crate) fn members(input: &Input) -> Result<Vec<Member>> {
    let mut zip = archive(input)?;
    let mut members = Vec::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).map_err(|e| broken(input, &e))?;
        let name = file.name().map_err(|e| broken(input, &e))?.into_owned();
        let Some(name) = name.strip_suffix(".npy") else { continue };
        let (size, packed) = (file.size(), file.compressed_size());
        let start = file.data_start().unwrap_or(0);
        input.holds(start, packed, &format!("array `{name}`"))?;
        let plain = file.compression() == CompressionMethod::Stored;
        if (plain && size != packed) || size / RATIO > packed {
            return Err(broken(input, &format!("array `{name}` claims {size} bytes in {packed}")));
        }
        let header = Header::read(input.path(), &mut file)?;
        members.push(Member { index, name: name.into(), header, size, stored: plain.then_some(start) });
    }
    if members.is_empty() {
        return Err(input.error("holds no arrays; save it with numpy.savez or scipy.sparse.save_npz"));
    }
    Ok(members)
}

/// What `take` makes of the numbers of a member, which must then be at its end, where its checksum is compared.
pub(crate) fn unpacked<T>(input: &Input, member: &Member, take: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
    let mut zip = archive(input)?;
    let mut file = zip.by_index(member.index).map_err(|e| broken(input, &e))?;
    Header::read(input.path(), &mut file)?;
    let taken = take(&mut file)?;
    match file.read(&mut [0]) {
        Ok(0) => Ok(taken),
        Ok(_) => Err(broken(input, &format!("array `{}` is longer than it claims", member.name))),
        Err(e) => Err(broken(input, &e)),
    }
}

/// A member unpacked into a temporary file.
fn spilled(input: &Input, member: &Member) -> Result<Input> {
    let mut zip = archive(input)?;
    let mut file = zip.by_index(member.index).map_err(|e| broken(input, &e))?;
    let spilled = Input::spill(input.path(), &mut file, member.size + 1)?;
    if spilled.len() != member.size {
        return Err(broken(input, &format!("array `{}` is not as long as it claims", member.name)));
    }
    Ok(spilled)
}

/// A short text, as numpy stores it: bytes or UTF-32.
fn text(input: &Input, from: &mut dyn Read) -> Result<String> {
    let mut text = Vec::new();
    from.take(64).read_to_end(&mut text).map_err(|e| sparse::unreadable(input.path(), &e))?;
    text.retain(u8::is_ascii_graphic);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct Parts<'a> {
    shape: &'a Member,
    indptr: &'a Member,
    indices: &'a Member,
    data: &'a Member,
}

fn open_sparse(input: Input, by_rows: bool, parts: &Parts, budget: Budget) -> Result<Opened> {
    let counts = |m: &Member| -> Result<Vec<u64>> {
        let form = m.header.form(input.path())?;
        let n = length(&input, m)?;
        unpacked(&input, m, |from| sparse::counts(input.path(), from, form, n))
    };
    let shape = if length(&input, parts.shape)? == 2 { counts(parts.shape)? } else { Vec::new() };
    let [rows, cols] = shape[..] else {
        return Err(input.error("has no shape of two numbers; save it with scipy.sparse.save_npz"));
    };
    let entries = length(&input, parts.data)?;
    let (rows, cols) = sparse::check_shape(input.path(), rows, cols, input.len(), budget)?;
    let major = if by_rows { rows } else { cols };
    if length(&input, parts.indptr)? != major + 1 || length(&input, parts.indices)? != entries {
        return Err(input.error("the parts of its sparse matrix don't fit together; save it again"));
    }
    let indptr = counts(parts.indptr)?;
    if indptr[0] != 0 || indptr.windows(2).any(|w| w[0] > w[1]) || indptr[major] != entries as u64 {
        return Err(input
            .error(format!("its row pointers don't rise from 0 to its {entries} entries; the file is damaged: save it again")));
    }
    let what = Entries { parts, indptr, rows, cols, n: entries };
    let held = entries as u64 * sparse::ENTRY + rows as u64 * 8;
    let source = match (by_rows, budget.holds(held)) {
        (true, true) => sparse::memory(what.csr(&input)?),
        (true, false) => what.stream(input, budget)?,
        (false, true) => sparse::memory(what.turned(&input)?),
        (false, false) => what.scattered(input, budget)?,
    };
    Ok(Opened { source, image: None, columns: None, kind: "npz" })
}

/// Length of a member with one axis, checked against the bytes that are there.
fn length(input: &Input, m: &Member) -> Result<usize> {
    let size = m.header.form(input.path())?.size() as u64;
    let [n] = m.header.shape[..] else { return Err(broken(input, &format!("array `{}` has other than one axis", m.name))) };
    if n.checked_mul(size).and_then(|b| b.checked_add(m.header.length)) != Some(m.size) {
        return Err(broken(input, &format!("array `{}` claims {n} numbers, its part of the file has {} bytes", m.name, m.size)));
    }
    Ok(n as usize)
}

/// The entries of a sparse matrix, `indptr` being checked.
struct Entries<'a> {
    parts: &'a Parts<'a>,
    indptr: Vec<u64>,
    rows: usize,
    cols: usize,
    n: usize,
}

impl Entries<'_> {
    /// Indices (below `bound`) and values.
    fn load(&self, input: &Input, bound: usize) -> Result<(Vec<u32>, Vec<f32>)> {
        let (path, n) = (input.path(), self.n);
        let form = self.parts.indices.header.form(path)?;
        let indices = unpacked(input, self.parts.indices, |from| sparse::indices(path, from, form, n, bound))?;
        let form = self.parts.data.header.form(path)?;
        Ok((indices, unpacked(input, self.parts.data, |from| sparse::values(path, from, form, n))?))
    }

    fn csr(self, input: &Input) -> Result<Csr> {
        let (indices, values) = self.load(input, self.cols)?;
        Ok(Csr { rows: self.rows, cols: self.cols, indptr: self.indptr, indices, values }.canonical())
    }

    /// Compressed columns turned into compressed rows.
    fn turned(self, input: &Input) -> Result<Csr> {
        let (rows, values) = self.load(input, self.rows)?;
        Ok(sparse::from_columns((self.rows, self.cols), &self.indptr, &rows, &values))
    }

    /// The columns and values of the entries, in the file or unpacked beside it.
    fn columns(&self, input: Input) -> Result<[Column; 2]> {
        let input = Arc::new(input);
        let column = |m: &Member| -> Result<Column> {
            let form = m.header.form(input.path())?;
            Ok(match m.stored {
                Some(at) => Column { input: input.clone(), form, offset: at + m.header.length },
                None => Column { input: Arc::new(spilled(&input, m)?), form, offset: m.header.length },
            })
        };
        Ok([column(self.parts.indices)?, column(self.parts.data)?])
    }

    fn stream(self, input: Input, budget: Budget) -> Result<Box<dyn Source + Send>> {
        let [indices, values] = self.columns(input)?;
        Ok(Box::new(sparse::Stream::new(self.cols, self.indptr, indices, values, budget)))
    }

    /// Compressed columns turned into rows through a temporary file.
    fn scattered(self, input: Input, budget: Budget) -> Result<Box<dyn Source + Send>> {
        let [indices, values] = self.columns(input)?;
        sparse::stream_columns((self.rows, self.cols), &self.indptr, &indices, &values, budget)
    }
}
