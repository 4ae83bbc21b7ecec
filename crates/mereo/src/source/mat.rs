//! `.mat`: variables of Matlab as `save -v6` and `save -v7` write them (MAT-file format 5), plain or compressed, dense or sparse.
//!
//! `MathWorks`, "MAT-File Format". Version 7.3 is HDF5 and isn't read.

use super::Source;
use super::budget::Budget;
use super::dense::{self, Array, Order};
use super::input::Input;
use super::number::{Form, Number};
use super::open::{Open, Opened, pick};
use super::sparse::{self, Column, unreadable};
use crate::error::{Error, Result};
use flate2::read::ZlibDecoder;
use std::io::Read;
use std::sync::Arc;

/// Bytes before the first variable.
const HEADER: u64 = 128;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const SPARSE: u8 = 5;
/// No deflated byte stands for more than this many.
const RATIO: u64 = 1100;

/// Opens a file whose name ends in `.mat`.
pub(super) fn open(input: Input, how: &Open) -> Result<Opened> {
    let budget = Budget::new(how.memory);
    let input = Arc::new(input);
    let (variables, big) = variables(&input)?;
    let shown: Vec<(&str, String)> = variables.iter().map(|v| (v.name.as_str(), v.about())).collect();
    // Scalars and vectors are matrices too; the one real matrix is meant, or else the one that can be read at all.
    let sole =
        |good: &dyn Fn(&Variable) -> bool| match (0..variables.len()).filter(|&i| good(&variables[i])).collect::<Vec<_>>()[..] {
            [i] => Some(i),
            _ => None,
        };
    let usual = sole(&|v| v.is_matrix() && v.dims.iter().all(|&n| n > 1)).or_else(|| sole(&Variable::is_matrix));
    let v = &variables[pick(&input, "variable", &shown, how.variable.as_deref(), usual)?];
    v.usable().map_err(|e| input.error(format!("variable `{}` {e}", v.name)))?;
    let mut body = Body { from: v.body(&input), big, at: 0 };
    body.skip(v.header).map_err(|e| unreadable(input.path(), &e))?;
    let source = if v.class == SPARSE { v.open_sparse(&input, body, budget)? } else { v.open_dense(&input, body, budget)? };
    Ok(Opened { source, image: None, columns: None, kind: "mat" })
}

/// A variable of the file.
#[derive(Debug)]
struct Variable {
    name: String,
    class: u8,
    complex: bool,
    dims: Vec<u64>,
    /// Where its bytes lie, and how many they are.
    at: u64,
    size: u64,
    compressed: bool,
    /// Bytes of its body (unpacked) before its numbers.
    header: u64,
}

/// All variables, and whether numbers begin with their most significant byte.
fn variables(input: &Input) -> Result<(Vec<Variable>, bool)> {
    let head = input.head(HEADER)?;
    let hdf5 = |at| input.bytes(at, 8).is_ok_and(|b| b.starts_with(b"\x89HDF"));
    if head.starts_with(b"MATLAB 7.3") || hdf5(0) || hdf5(512) {
        return Err(input.error(
            "saved by `save -v7.3`, which is HDF5; save it in Matlab with `save -v7`, or as npy with h5py and numpy.save",
        ));
    }
    let broken =
        |what: &str| input.error(format!("not a whole MAT file of version 5 ({what}); copy it again or save it with `save -v7`"));
    if head.len() < HEADER as usize {
        return Err(broken("its header is cut short"));
    }
    let big = match &head[126..128] {
        b"IM" => false,
        b"MI" => true,
        _ => return Err(broken("it doesn't begin as one; version 4 isn't read")),
    };
    let mut all = Vec::new();
    let mut at = HEADER;
    while at < input.len() {
        let tag = input.bytes(at, 8).map_err(|_| broken("it ends within a variable"))?;
        let (kind, size) = (word(&tag, big), u64::from(word(&tag[4..], big)));
        at += 8;
        input.holds(at, size, "a variable")?;
        if matches!(kind, MATRIX | COMPRESSED) && size > 0 {
            let mut v = Variable {
                name: String::new(),
                class: 0,
                complex: false,
                dims: Vec::new(),
                at,
                size,
                compressed: kind == COMPRESSED,
                header: 0,
            };
            v.read_header(input, big).map_err(|e| broken(&e.to_string()))?;
            all.push(v);
        }
        at += size;
    }
    Ok((all, big))
}

fn word(bytes: &[u8], big: bool) -> u32 {
    let b = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
}

/// The parts of a variable, one after the other.
struct Body<'a> {
    from: Box<dyn Read + 'a>,
    big: bool,
    /// Bytes taken so far.
    at: u64,
}

/// The tag of a part: its type, its length, and its bytes where they are within the tag.
struct Tag {
    kind: u32,
    size: u64,
    small: Option<[u8; 4]>,
}

impl Tag {
    /// How the numbers of the part are stored.
    fn form(&self, big: bool) -> Option<Form> {
        let number = match self.kind {
            1 => Number::I8,
            2 => Number::U8,
            3 => Number::I16,
            4 => Number::U16,
            5 => Number::I32,
            6 => Number::U32,
            7 => Number::F32,
            9 => Number::F64,
            12 => Number::I64,
            13 => Number::U64,
            _ => return None,
        };
        Some(Form { number, big })
    }
}

impl Body<'_> {
    fn take<const N: usize>(&mut self) -> std::io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn skip(&mut self, n: u64) -> std::io::Result<()> {
        if std::io::copy(&mut self.from.by_ref().take(n), &mut std::io::sink())? < n {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n;
        Ok(())
    }

    fn tag(&mut self) -> std::io::Result<Tag> {
        let bytes = self.take::<8>()?;
        let (first, second) = (word(&bytes, self.big), word(&bytes[4..], self.big));
        if first >> 16 == 0 {
            return Ok(Tag { kind: first, size: second.into(), small: None });
        }
        let size = u64::from(first >> 16);
        if size > 4 {
            return Err(std::io::Error::other("a short part is too long"));
        }
        Ok(Tag { kind: first & 0xffff, size, small: Some([bytes[4], bytes[5], bytes[6], bytes[7]]) })
    }

    /// A whole part of at most `most` bytes.
    fn part(&mut self, most: u64) -> std::io::Result<Vec<u8>> {
        let tag = self.tag()?;
        if tag.size > most {
            return Err(std::io::Error::other("a part of a header is too long"));
        }
        if let Some(small) = tag.small {
            return Ok(small[..tag.size as usize].to_vec());
        }
        let mut bytes = vec![0; tag.size as usize];
        self.from.read_exact(&mut bytes)?;
        self.at += tag.size;
        self.skip(padding(tag.size))?;
        Ok(bytes)
    }
}

/// Parts begin at multiples of eight bytes.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % 8
}

impl Variable {
    /// Its bytes, unpacked.
    fn body<'a>(&self, input: &'a Input) -> Box<dyn Read + 'a> {
        let section = input.section(self.at, self.size);
        if self.compressed { Box::new(ZlibDecoder::new(std::io::BufReader::new(section))) } else { Box::new(section) }
    }

    fn read_header(&mut self, input: &Input, big: bool) -> std::io::Result<()> {
        let mut body = Body { from: self.body(input), big, at: 0 };
        if self.compressed && body.tag()?.kind != MATRIX {
            return Err(std::io::Error::other("a compressed part is no variable"));
        }
        let flags = body.part(8)?;
        let dims = body.part(4 * 64)?;
        let name = body.part(4096)?;
        let header = body.at;
        drop(body);
        let [class, ..] = (if flags.len() == 8 { word(&flags, big) } else { 0 }).to_le_bytes();
        self.complex = flags.len() == 8 && word(&flags, big) & 0x800 != 0;
        self.class = class;
        // Negative lengths become too large ones.
        self.dims = dims.chunks_exact(4).map(|d| u64::from(word(d, big))).collect();
        self.name = String::from_utf8_lossy(&name).into_owned();
        self.header = header;
        Ok(())
    }

    fn kind(&self) -> &'static str {
        match self.class {
            1 => "cell",
            2 => "struct",
            3 => "object",
            4 => "char",
            SPARSE => "sparse",
            6 => "double",
            7 => "single",
            8 => "int8",
            9 => "uint8",
            10 => "int16",
            11 => "uint16",
            12 => "int32",
            13 => "uint32",
            14 => "int64",
            15 => "uint64",
            _ => "other",
        }
    }

    fn about(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(u64::to_string).collect();
        format!("{} {}", dims.join("×"), self.kind())
    }

    fn is_matrix(&self) -> bool {
        (SPARSE..=15).contains(&self.class) && self.dims.len() == 2 && !self.complex
    }

    fn usable(&self) -> std::result::Result<(), String> {
        if self.is_matrix() {
            return Ok(());
        }
        Err(if self.complex {
            "is complex; save real(x), imag(x) or abs(x)".into()
        } else if (SPARSE..=15).contains(&self.class) {
            format!(
                "has {} axes ({}); save it as rows × columns, such as reshape(x, size(x, 1), [])",
                self.dims.len(),
                self.about()
            )
        } else {
            format!("is a {}, not a matrix of numbers; save the matrix itself", self.kind())
        })
    }

    /// Refuses a part that claims more bytes than the file can hold.
    fn plausible(&self, input: &Input, tag: &Tag, wanted: u64) -> Result<()> {
        let most = if self.compressed { self.size.saturating_mul(RATIO) } else { self.size };
        if tag.size == wanted && wanted <= most {
            return Ok(());
        }
        Err(input.error(format!(
            "variable `{}` claims {wanted} bytes for {}, {} are there; the file is damaged: save it again",
            self.name,
            self.about(),
            tag.size.min(most)
        )))
    }

    fn open_dense(&self, input: &Arc<Input>, mut body: Body, budget: Budget) -> Result<Box<dyn Source + Send>> {
        let path = input.path();
        let tag = body.tag().map_err(|e| unreadable(path, &e))?;
        let form = self.form(input, &tag, body.big)?;
        let array = Array::new(form, self.at + body.at, &self.dims, Order::Columns);
        let mut array = array.map_err(|e| input.error(format!("variable `{}` {e}", self.name)))?;
        self.plausible(input, &tag, array.bytes())?;
        if budget.holds(array.held()) {
            let m = match tag.small {
                Some(bytes) => array.load(path, &mut &bytes[..])?,
                None => array.load(path, &mut body.from)?,
            };
            // To the end, where the checksum of a compressed variable is compared.
            std::io::copy(&mut body.from, &mut std::io::sink()).map_err(|e| unreadable(path, &e))?;
            return Ok(dense::memory(m));
        }
        if let Some(small) = tag.small {
            array.offset = 0;
            let spilled = Input::spill(path, &mut &small[..], 4)?;
            return Ok(dense::stream(spilled, array, budget));
        }
        if self.compressed {
            array.offset = 0;
            let spilled = Input::spill(path, &mut body.from, array.bytes())?;
            spilled.holds(0, array.bytes(), "its array")?;
            return Ok(dense::stream(spilled, array, budget));
        }
        Ok(dense::stream(input.clone(), array, budget))
    }

    fn form(&self, input: &Input, tag: &Tag, big: bool) -> Result<Form> {
        tag.form(big).ok_or_else(|| {
            input.error(format!("variable `{}` has numbers of the unknown type {}; save it again", self.name, tag.kind))
        })
    }

    fn open_sparse(&self, input: &Arc<Input>, mut body: Body, budget: Budget) -> Result<Box<dyn Source + Send>> {
        let path = input.path();
        let (rows, cols) = sparse::check_shape(path, self.dims[0], self.dims[1], input.len(), budget)?;
        let (unpacked, from) = if self.compressed {
            (Arc::new(Input::spill(path, &mut body.from, self.size.saturating_mul(RATIO))?), 0)
        } else {
            (input.clone(), self.at + body.at)
        };
        let end = if self.compressed { unpacked.len() } else { self.at + self.size };
        // Rows, column starts and values; `at` counts from the start of the unpacked file.
        let section = unpacked.section(from, end.saturating_sub(from));
        let mut body = Body { from: Box::new(section), big: body.big, at: from };
        let big = body.big;
        let mut part = || -> Result<(Column, u64)> {
            let tag = body.tag().map_err(|e| unreadable(path, &e))?;
            let form = self.form(input, &tag, big)?;
            let offset = if tag.small.is_some() { body.at - 4 } else { body.at };
            unpacked.holds(offset, tag.size, "a part of its sparse matrix")?;
            if tag.small.is_none() {
                body.skip((tag.size + padding(tag.size)).min(end.saturating_sub(body.at))).map_err(|e| unreadable(path, &e))?;
            }
            Ok((Column { input: unpacked.clone(), form, offset }, tag.size / form.size() as u64))
        };
        let ((indices, n), (starts, pointers), (values, m)) = (part()?, part()?, part()?);
        let starts = starts.bytes(0, pointers).ok().and_then(|b| starts.form.counts(&b)).unwrap_or_default();
        let stored = starts.last().copied().unwrap_or(0);
        if starts.len() != cols + 1 || starts[0] != 0 || starts.windows(2).any(|w| w[0] > w[1]) || stored > n || stored > m {
            return Err(damaged(input, &self.name));
        }
        if budget.holds(stored * sparse::ENTRY + rows as u64 * 8) {
            let (indices, values) = sparse::load(&indices, &values, stored, rows)?;
            return Ok(sparse::memory(sparse::from_columns((rows, cols), &starts, &indices, &values)));
        }
        sparse::stream_columns((rows, cols), &starts, &indices, &values, budget)
    }
}

fn damaged(input: &Input, name: &str) -> Error {
    input.error(format!("the parts of the sparse variable `{name}` don't fit together; the file is damaged: save it again"))
}
