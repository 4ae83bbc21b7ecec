//! Pickles as `torch.save` writes them, read as data and never run: of the opcodes those that build plain values, of the functions
//! that a pickle may call those that make tensors.
//!
//! Values lie in one list and name each other by number, so what is deep, shared or endless costs no more than it takes in the file.

use crate::source::number::Number;
use std::collections::HashMap;

/// Pickles of autoencoders take a few thousand bytes: their numbers lie beside them.
const LONGEST: usize = 1 << 18;

/// A value; what holds others is an object, by its number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Where it lies in the pickle.
    Text(u32, u32),
    Object(u32),
}

#[derive(Debug)]
enum Object {
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Function(Function),
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
}

/// What a pickle may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    /// `collections.OrderedDict()`.
    Dict,
    /// `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, …)`.
    Tensor,
    /// `torch._utils._rebuild_parameter(tensor, …)`.
    Parameter,
    /// `torch.Size((…))`.
    Size,
    /// `torch.FloatStorage` and the like, which is only ever named.
    Storage(Number),
}

impl Function {
    fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::Dict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("torch", "Size") => Self::Size,
            ("torch", "FloatStorage") => Self::Storage(Number::F32),
            ("torch", "HalfStorage") => Self::Storage(Number::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Number::Bf16),
            ("torch", "DoubleStorage") => Self::Storage(Number::F64),
            ("torch", "LongStorage") => Self::Storage(Number::I64),
            ("torch", "IntStorage") => Self::Storage(Number::I32),
            ("torch", "ShortStorage") => Self::Storage(Number::I16),
            ("torch", "CharStorage") => Self::Storage(Number::I8),
            ("torch", "ByteStorage") => Self::Storage(Number::U8),
            ("torch", "BoolStorage") => Self::Storage(Number::Bool),
            _ => return None,
        })
    }
}

/// Numbers that lie in a file of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    /// The name of that file.
    pub(super) key: String,
    pub(super) number: Number,
    /// How many they are.
    pub(super) len: u64,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) storage: Storage,
    /// Its first number.
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    /// How far apart neighbours along each axis are.
    pub(super) strides: Vec<u64>,
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle {
    bytes: Vec<u8>,
    objects: Vec<Object>,
    root: Value,
}

impl Pickle {
    /// Reads a pickle; an error says what is wrong with it.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.len() > LONGEST {
            return Err(format!("its pickle takes {} bytes, {LONGEST} at most are read; save the state dict alone", bytes.len()));
        }
        let mut machine =
            Machine { bytes: &bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), objects: Vec::new() };
        let root = machine.run()?;
        let objects = machine.objects;
        Ok(Self { bytes, objects, root })
    }

    /// The value that the pickle holds.
    pub(super) fn root(&self) -> Value {
        self.root
    }

    fn object(&self, value: Value) -> Option<&Object> {
        let Value::Object(i) = value else { return None };
        self.objects.get(i as usize)
    }

    /// The entries of a dict that are named by text, in their order; `None` if it is no dict.
    pub(super) fn entries(&self, dict: Value) -> Option<impl Iterator<Item = (&str, Value)>> {
        let Some(Object::Dict(entries)) = self.object(dict) else { return None };
        Some(entries.iter().filter_map(|(key, value)| Some((self.text(*key)?, *value))))
    }

    /// An entry of a dict.
    pub(super) fn get(&self, dict: Value, key: &str) -> Option<Value> {
        Some(self.entries(dict)?.filter(|e| e.0 == key).last()?.1)
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        let Value::Text(at, len) = value else { return None };
        std::str::from_utf8(&self.bytes[at as usize..(at + len) as usize]).ok()
    }

    pub(super) fn tensor(&self, value: Value) -> Option<&Tensor> {
        match self.object(value) {
            Some(Object::Tensor(t)) => Some(t),
            _ => None,
        }
    }

    /// Whole numbers from 0 of a list or a tuple.
    pub(super) fn counts(&self, value: Value) -> Option<Vec<u64>> {
        match self.object(value) {
            Some(Object::List(all) | Object::Tuple(all)) => counts(all),
            _ => None,
        }
    }
}

fn counts(all: &[Value]) -> Option<Vec<u64>> {
    all.iter().map(|v| if let Value::Int(i) = v { u64::try_from(*i).ok() } else { None }).collect()
}

/// What runs through a pickle.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
}

type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<Value> {
        loop {
            let at = self.at;
            let op = self.byte()?;
            if op == b'.' {
                return self.pop();
            }
            self.step(op).map_err(|e| format!("{e} (byte {at} of its pickle)"))?;
        }
    }

    fn step(&mut self, op: u8) -> Step<()> {
        match op {
            // PROTO, FRAME: how it was written.
            0x80 => self.take(1).map(drop)?,
            0x95 => self.take(8).map(drop)?,
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => {
                let v = self.byte()?;
                self.push(Value::Int(v.into()));
            }
            b'M' => {
                let v = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(v.into()));
            }
            b'J' => {
                let v = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(v.into()));
            }
            0x8a => {
                let v = self.long()?;
                self.push(Value::Int(v));
            }
            b'G' => {
                let v = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(v));
            }
            b'X' => {
                let n = u32::from_le_bytes(self.array()?) as usize;
                self.push_text(n)?;
            }
            0x8c => {
                let n = self.byte()?.into();
                self.push_text(n)?;
            }
            b']' => self.make(Object::List(Vec::new())),
            b')' => self.make(Object::Tuple(Vec::new())),
            b'}' => self.make(Object::Dict(Vec::new())),
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let all = self.marked()?;
                self.make(Object::Tuple(all));
            }
            0x85..=0x87 => {
                let from = self.stack.len().checked_sub(usize::from(op - 0x84)).ok_or_else(short)?;
                let all = self.stack.split_off(from);
                self.make(Object::Tuple(all));
            }
            b'a' | b'e' => {
                let mut all = if op == b'a' { vec![self.pop()?] } else { self.marked()? };
                match self.top()? {
                    Object::List(list) => list.append(&mut all),
                    _ => return Err("adds to what is no list".into()),
                }
            }
            b's' | b'u' => {
                let all = if op == b's' {
                    let value = self.pop()?;
                    vec![self.pop()?, value]
                } else {
                    self.marked()?
                };
                let (pairs, rest) = all.as_chunks::<2>();
                match self.top()? {
                    Object::Dict(dict) if rest.is_empty() => dict.extend(pairs.iter().map(|[k, v]| (*k, *v))),
                    _ => return Err("sets an entry of what is no dict".into()),
                }
            }
            b'q' | b'r' | 0x94 => {
                let i = match op {
                    b'q' => self.byte()?.into(),
                    b'r' => u32::from_le_bytes(self.array()?),
                    _ => self.memo.len() as u32,
                };
                let top = *self.stack.last().ok_or_else(short)?;
                self.memo.insert(i, top);
            }
            b'h' | b'j' => {
                let i = if op == b'h' { self.byte()?.into() } else { u32::from_le_bytes(self.array()?) };
                let value = *self.memo.get(&i).ok_or_else(|| format!("recalls {i}, which was never stored"))?;
                self.push(value);
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.function(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (span(module)?, span(name)?);
                self.function(module, name)?;
            }
            b'Q' => self.persistent()?,
            b'R' => self.call()?,
            // State that is put into a dict or a tensor by attributes, such as the versions of modules.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            _ => return Err(format!("has the instruction {op:#04x}, which no state dict needs; save the state dict alone")),
        }
        Ok(())
    }

    fn byte(&mut self) -> Step<u8> {
        self.take(1).map(|b| b[0])
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len()).ok_or("its pickle is cut short")?;
        let out = &self.bytes[self.at..end];
        self.at = end;
        Ok(out)
    }

    /// A whole number of up to eight bytes, its sign in the last.
    fn long(&mut self) -> Step<i64> {
        let n = self.byte()?;
        let bytes = self.take(n.into())?;
        let mut all = [if bytes.last().is_some_and(|b| *b > 127) { 0xff } else { 0 }; 8];
        all.get_mut(..bytes.len()).ok_or("has a whole number of more than eight bytes")?.copy_from_slice(bytes);
        Ok(i64::from_le_bytes(all))
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn push_text(&mut self, n: usize) -> Step<()> {
        let at = self.at;
        std::str::from_utf8(self.take(n)?).map_err(|_| "has text that is no UTF-8")?;
        self.push(Value::Text(at as u32, n as u32));
        Ok(())
    }

    fn make(&mut self, object: Object) {
        self.push(Value::Object(self.objects.len() as u32));
        self.objects.push(object);
    }

    fn pop(&mut self) -> Step<Value> {
        // Below a mark lies what is not yet whole.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(short());
        }
        self.stack.pop().ok_or_else(short)
    }

    fn marked(&mut self) -> Step<Vec<Value>> {
        let from = self.marks.pop().ok_or("ends what was never begun")?;
        if from > self.stack.len() {
            return Err(short());
        }
        Ok(self.stack.split_off(from))
    }

    fn top(&mut self) -> Step<&mut Object> {
        match self.stack.last() {
            Some(Value::Object(i)) => self.objects.get_mut(*i as usize).ok_or_else(short),
            _ => Err("changes what is no object".into()),
        }
    }

    /// The objects of a tuple that was just popped.
    fn tuple(&self, value: Value) -> Step<&[Value]> {
        match value {
            Value::Object(i) => match &self.objects[i as usize] {
                Object::Tuple(all) => Ok(all),
                _ => Err("calls with what is no tuple".into()),
            },
            _ => Err("calls with what is no tuple".into()),
        }
    }

    fn line(&mut self) -> Step<(usize, usize)> {
        let at = self.at;
        let n = self.bytes[at..].iter().position(|b| *b == b'\n').ok_or("its pickle is cut short")?;
        self.at += n + 1;
        Ok((at, n))
    }

    fn function(&mut self, module: (usize, usize), name: (usize, usize)) -> Step<()> {
        let text = |(at, n): (usize, usize)| String::from_utf8_lossy(&self.bytes[at..at + n.min(100)]).into_owned();
        let (module, name) = (text(module), text(name));
        let Some(function) = Function::named(&module, &name) else {
            return Err(format!(
                "calls for `{module}.{name}`, which is not among what makes tensors, and nothing in a pickle is run here; load it in \
                 Python and save the state dict alone"
            ));
        };
        self.make(Object::Function(function));
        Ok(())
    }

    /// `('storage', type, key, device, len)`.
    fn persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        let storage = match self.tuple(id)? {
            &[_, Value::Object(kind), Value::Text(at, n), _, Value::Int(len)] => match self.objects[kind as usize] {
                Object::Function(Function::Storage(number)) => {
                    let key = String::from_utf8_lossy(&self.bytes[at as usize..(at + n) as usize]).into_owned();
                    u64::try_from(len).ok().map(|len| Storage { key, number, len })
                }
                _ => None,
            },
            _ => None,
        };
        self.make(Object::Storage(Box::new(storage.ok_or("names a storage in a way that isn't known")?)));
        Ok(())
    }

    fn call(&mut self) -> Step<()> {
        let (args, function) = (self.pop()?, self.pop()?);
        let Value::Object(function) = function else { return Err("calls what is no function".into()) };
        let Object::Function(function) = self.objects[function as usize] else { return Err("calls what is no function".into()) };
        // The longest that is known has seven.
        let args: Vec<Value> = self.tuple(args)?.iter().take(8).copied().collect();
        match (function, &args[..]) {
            (Function::Dict, []) => self.make(Object::Dict(Vec::new())),
            (Function::Tensor, &[Value::Object(storage), Value::Int(offset), shape, strides, ..]) => {
                let tensor = self.view(storage, offset, shape, strides).ok_or("builds a tensor in a way that isn't known")?;
                self.make(Object::Tensor(Box::new(tensor)));
            }
            (Function::Parameter, &[tensor, ..]) => self.push(tensor),
            (Function::Size, &[shape]) => self.push(shape),
            _ => return Err(format!("calls {function:?} with arguments that aren't known")),
        }
        Ok(())
    }

    fn view(&self, storage: u32, offset: i64, shape: Value, strides: Value) -> Option<Tensor> {
        let Object::Storage(storage) = &self.objects[storage as usize] else { return None };
        let (shape, strides) = (self.tuple(shape).ok()?, self.tuple(strides).ok()?);
        (shape.len() == strides.len() && shape.len() <= 8).then_some(())?;
        let (shape, strides) = (counts(shape)?, counts(strides)?);
        Some(Tensor { storage: (**storage).clone(), offset: u64::try_from(offset).ok()?, shape, strides })
    }
}

/// Where a text lies.
fn span(value: Value) -> Step<(usize, usize)> {
    match value {
        Value::Text(at, n) => Ok((at as usize, n as usize)),
        _ => Err("names a function by what is no text".into()),
    }
}

fn short() -> String {
    "takes from an empty stack".into()
}

/// What [`write`] says.
#[derive(Debug)]
pub(super) enum Item<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Counts(Vec<usize>),
    Dict(Vec<(&'a str, Item<'a>)>),
    Tensor(Saved<'a>),
}

/// A tensor that is written.
#[derive(Debug)]
pub(super) struct Saved<'a> {
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Numbers<'a>,
}

/// Its numbers, row after row.
#[derive(Debug)]
pub(super) enum Numbers<'a> {
    F32(std::borrow::Cow<'a, [f32]>),
    I32(i32),
    I64(Vec<i64>),
}

impl<'a> Item<'a> {
    /// Numbers of one axis.
    pub(super) fn vector(v: &'a [f32]) -> Self {
        Self::Tensor(Saved { shape: vec![v.len()], numbers: Numbers::F32(v.into()) })
    }
    /// A matrix as it is.
    pub(super) fn mat(m: &'a crate::mat::Mat) -> Self {
        Self::Tensor(Saved { shape: vec![m.rows, m.cols], numbers: Numbers::F32((&m.data[..]).into()) })
    }
    /// The transpose of a matrix.
    pub(super) fn turned(m: &crate::mat::Mat) -> Self {
        Self::Tensor(Saved { shape: vec![m.cols, m.rows], numbers: Numbers::F32(m.transpose().data.into()) })
    }
    /// One number.
    pub(super) fn scalar(v: f32) -> Self {
        Self::Tensor(Saved { shape: Vec::new(), numbers: Numbers::F32(vec![v].into()) })
    }
    /// A whole number that is no tensor.
    pub(super) fn number(v: usize) -> Self {
        Self::Int(long(v))
    }
    /// One whole number.
    pub(super) fn count(v: usize) -> Self {
        Self::Tensor(Saved { shape: Vec::new(), numbers: Numbers::I32(i32::try_from(v).unwrap_or(i32::MAX)) })
    }
    /// Whole numbers of one axis.
    pub(super) fn whole(v: impl IntoIterator<Item = usize>) -> Self {
        let v: Vec<i64> = v.into_iter().map(long).collect();
        Self::Tensor(Saved { shape: vec![v.len()], numbers: Numbers::I64(v) })
    }
}

/// A pickle (protocol 2), and the storages that its tensors are views of, in the order of their keys 0, 1, …
pub(super) fn write<'a>(item: &'a Item<'a>) -> (Vec<u8>, Vec<&'a Numbers<'a>>) {
    let mut out = vec![0x80, 2];
    let mut storages = Vec::new();
    put(item, &mut out, &mut storages);
    out.push(b'.');
    (out, storages)
}

fn put<'a>(item: &'a Item<'a>, out: &mut Vec<u8>, storages: &mut Vec<&'a Numbers<'a>>) {
    match item {
        Item::None => out.push(b'N'),
        Item::Bool(v) => out.push(if *v { 0x88 } else { 0x89 }),
        Item::Int(v) => int(*v, out),
        Item::Text(v) => text(v, out),
        Item::Counts(all) => {
            out.extend(b"](");
            all.iter().for_each(|v| int(long(*v), out));
            out.push(b'e');
        }
        Item::Dict(entries) => {
            out.extend(b"}(");
            for (key, value) in entries {
                text(key, out);
                put(value, out, storages);
            }
            out.push(b'u');
        }
        Item::Tensor(t) => {
            let (kind, len) = match &t.numbers {
                Numbers::F32(v) => ("Float", v.len()),
                Numbers::I32(_) => ("Int", 1),
                Numbers::I64(v) => ("Long", v.len()),
            };
            out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            text("storage", out);
            out.extend(format!("ctorch\n{kind}Storage\n").as_bytes());
            text(&storages.len().to_string(), out);
            text("cpu", out);
            int(long(len), out);
            out.extend(b"tQK\0(");
            t.shape.iter().for_each(|v| int(long(*v), out));
            out.extend(b"t(");
            for axis in 0..t.shape.len() {
                int(long(t.shape[axis + 1..].iter().product()), out);
            }
            out.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
            storages.push(&t.numbers);
        }
    }
}

/// A length, none of which comes near the end of i64.
fn long(v: usize) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}

fn int(v: i64, out: &mut Vec<u8>) {
    if let Ok(v) = i32::try_from(v) {
        out.push(b'J');
        out.extend(v.to_le_bytes());
    } else {
        out.extend([0x8a, 8]);
        out.extend(v.to_le_bytes());
    }
}

fn text(v: &str, out: &mut Vec<u8>) {
    out.push(b'X');
    out.extend((v.len() as u32).to_le_bytes());
    out.extend(v.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Pickle, String> {
        Pickle::read(bytes.to_vec())
    }

    #[test]
    fn what_is_written_is_read() {
        let item = Item::Dict(vec![
            ("k", Item::Int(-3)),
            ("big", Item::Int(1 << 40)),
            ("activation", Item::Text("TopK")),
            ("flag", Item::Bool(true)),
            ("none", Item::None),
            ("sizes", Item::Counts(vec![2, 70_000])),
            ("w", Item::Tensor(Saved { shape: vec![2, 3], numbers: Numbers::F32(vec![0.5; 6].into()) })),
            ("inner", Item::Dict(vec![("t", Item::scalar(1.0)), ("g", Item::whole([4, 5]))])),
        ]);
        let (bytes, storages) = write(&item);
        assert_eq!(storages.len(), 3);
        let p = read(&bytes).expect("read");
        let root = p.root();
        let names: Vec<&str> = p.entries(root).expect("dict").map(|e| e.0).collect();
        assert_eq!(names, ["k", "big", "activation", "flag", "none", "sizes", "w", "inner"]);
        assert_eq!(p.get(root, "k"), Some(Value::Int(-3)));
        assert_eq!(p.get(root, "big"), Some(Value::Int(1 << 40)));
        assert_eq!(p.text(p.get(root, "activation").expect("text")), Some("TopK"));
        assert_eq!(p.get(root, "flag"), Some(Value::Bool(true)));
        assert_eq!(p.counts(p.get(root, "sizes").expect("list")), Some(vec![2, 70_000]));
        let w = p.tensor(p.get(root, "w").expect("w")).expect("tensor");
        assert_eq!((&w.shape[..], &w.strides[..], w.storage.len, &w.storage.key[..]), (&[2, 3][..], &[3, 1][..], 6, "0"));
        let inner = p.get(root, "inner").expect("inner");
        assert_eq!(p.tensor(p.get(inner, "g").expect("g")).expect("tensor").storage.number, Number::I64);
    }

    #[test]
    fn nothing_is_run_and_the_function_is_named() {
        let said = read(b"\x80\x02cos\nsystem\n(X\x02\0\0\0lstR.").expect_err("refused");
        assert!(said.contains("`os.system`") && said.contains("save the state dict alone"), "{said}");
        let said = read(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").expect_err("refused");
        assert!(said.contains("`builtins.eval`"), "{said}");
    }

    #[test]
    fn damage_is_an_error() {
        let item = Item::Dict(vec![("w", Item::scalar(1.0)), ("k", Item::Int(1 << 40))]);
        let (whole, _) = write(&item);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        let bad: [&[u8]; 9] = [b".", b"t.", b"a.", b"N(.", b"(N(tR.", b"h\x05.", b"K\x01Q.", b"\x8a\x09123456789.", b"](NNu."];
        for bytes in bad {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn deep_shared_and_endless_values_cost_what_they_take() {
        // A list in a list in a list …
        let mut deep = vec![b']'; 100_000];
        deep.extend(vec![b'a'; 99_999]);
        deep.push(b'.');
        assert!(read(&deep).is_ok());
        // A list of two lists of two lists of …, each the same one: 2^1000 if it were written out.
        let mut shared = b"]q\0".to_vec();
        for _ in 0..1000 {
            shared.extend(b"](h\0h\0eq\0");
        }
        shared.push(b'.');
        assert!(read(&shared).is_ok());
        // A dict that holds itself.
        let endless = read(b"}q\0X\x01\0\0\0ah\0s.").expect("read");
        assert_eq!(endless.get(endless.root(), "a"), Some(endless.root()));
        // A memo of one entry with a huge number, and a pickle that is too long.
        assert!(read(b"]r\xff\xff\xff\xff.").is_ok());
        assert!(read(&vec![b']'; LONGEST + 1]).expect_err("long").contains("262145 bytes"));
    }
}
