//! The few largest codes of each row, as those keep them who work on sparse codes.
//!
//! | path | what is written |
//! |---|---|
//! | a folder, or a name without an ending | `topk_indices.npy` (i64, n×k) and `topk_values.npy` (f32, n×k), as saerch and latent-scope have them |
//! | `.parquet` | two columns of lists, `indices` (i32) and `values` (f32), of no more than k |
//! | `.npz` | CSR of no more than k a row, `scipy.sparse.load_npz` |
//!
//! Codes of a row come by falling magnitude, those of one magnitude by latent. Where a row has fewer than k, an n×k array is filled up
//! with zeros at latents that it doesn't have, so that no latent is named twice.

use super::{BUFFER, Kind, Npz, Sink, kind, npy_header, put_f32, write_into};
use crate::error::{Error, Result};
use crate::mat::{Csr, Rows};
use crate::store::write_whole;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

const INDICES: &str = "topk_indices.npy";
const VALUES: &str = "topk_values.npy";

/// Refuses what [`write_top`] can't write, so that it is found before the work begins.
///
/// # Errors
/// Another ending; k = 0 or more than there are atoms.
pub fn check_top(path: &Path, k: usize, atoms: usize) -> Result<()> {
    if k == 0 || k > atoms {
        return Err(Error::parameter(format!("the {k} largest of {atoms} codes can't be written; take 1 to {atoms}")));
    }
    if is_folder(path) || matches!(kind(path)?, Kind::Npz | Kind::Parquet) {
        return Ok(());
    }
    Err(Error::format(
        path,
        "has room for every code only; write the largest to a folder (two npy), or as parquet (lists) or npz (CSR)",
    ))
}

/// Writes the `k` largest codes of each row that `each` hands over block by block, `shape.0` rows of `shape.1` columns in all.
///
/// # Errors
/// As [`check_top`] and [`write_blocks`](super::write_blocks).
pub fn write_top(
    path: &Path,
    shape: (usize, usize),
    k: usize,
    each: impl FnOnce(&mut dyn FnMut(&Rows) -> Result<()>) -> Result<()>,
) -> Result<()> {
    check_top(path, k, shape.1)?;
    if is_folder(path) {
        return pair(path, shape, k, each);
    }
    let kind = kind(path)?;
    write_into(
        path,
        shape,
        |file| {
            Ok(match kind {
                #[cfg(feature = "parquet")]
                Kind::Parquet => Box::new(lists::Lists::new(file, k)?),
                _ => Box::new(Fewer { into: Npz::new(file, shape.1), k }),
            })
        },
        each,
    )
}

fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.extension().is_none()
}

/// The two arrays of a folder.
fn pair(
    folder: &Path,
    shape: (usize, usize),
    k: usize,
    each: impl FnOnce(&mut dyn FnMut(&Rows) -> Result<()>) -> Result<()>,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let mut other = None;
    let done = write_whole(&folder.join(VALUES), |values| {
        let values = values.try_clone()?;
        write_into(&folder.join(INDICES), shape, |file| Ok(Box::new(Pair::new(file, values, shape.0, k)?)), each).map_err(|e| {
            other = Some(e);
            io::Error::other("the rows to write failed")
        })
    });
    other.map_or(done, Err)
}

/// The codes of a row that aren't 0, no more than k, by falling magnitude.
fn largest(x: &Rows, row: usize, k: usize, into: &mut Vec<(u32, f32)>) {
    into.clear();
    match x {
        Rows::Dense(x) => into.extend((0u32..).zip(x.row(row).iter().copied())),
        Rows::Sparse(x) => {
            let (columns, values) = x.row(row);
            into.extend(columns.iter().copied().zip(values.iter().copied()));
        }
    }
    into.retain(|e| e.1 != 0.0);
    let falling = |a: &(u32, f32), b: &(u32, f32)| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0));
    if into.len() > k {
        into.select_nth_unstable_by(k - 1, falling);
        into.truncate(k);
    }
    into.sort_unstable_by(falling);
}

struct Pair<'a> {
    indices: BufWriter<&'a mut File>,
    values: BufWriter<File>,
    k: usize,
}

impl<'a> Pair<'a> {
    fn new(indices: &'a mut File, values: File, rows: usize, k: usize) -> io::Result<Self> {
        let (mut indices, mut values) = (BufWriter::with_capacity(BUFFER, indices), BufWriter::with_capacity(BUFFER, values));
        let shape = format!("({rows}, {k})");
        indices.write_all(&npy_header("<i8", &shape))?;
        values.write_all(&npy_header("<f4", &shape))?;
        Ok(Self { indices, values, k })
    }
}

impl Sink for Pair<'_> {
    fn put(&mut self, x: &Rows) -> io::Result<()> {
        let mut row = Vec::new();
        for r in 0..x.rows() {
            largest(x, r, self.k, &mut row);
            let had: std::collections::BTreeSet<u32> = row.iter().map(|e| e.0).collect();
            let missing = self.k - row.len();
            row.extend((0u32..).filter(|j| !had.contains(j)).take(missing).map(|j| (j, 0.0)));
            let indices: Vec<u8> = row.iter().flat_map(|e| u64::from(e.0).to_le_bytes()).collect();
            self.indices.write_all(&indices)?;
            put_f32(&mut self.values, &row.iter().map(|e| e.1).collect::<Vec<f32>>())?;
        }
        Ok(())
    }
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.values.flush()?;
        self.indices.flush()
    }
}

/// Hands on no more than k codes of each row.
struct Fewer<'a> {
    into: Npz<'a>,
    k: usize,
}

impl Sink for Fewer<'_> {
    fn put(&mut self, x: &Rows) -> io::Result<()> {
        let mut few = Csr { rows: x.rows(), cols: x.cols(), indptr: vec![0], indices: Vec::new(), values: Vec::new() };
        let mut row = Vec::new();
        for r in 0..x.rows() {
            largest(x, r, self.k, &mut row);
            row.sort_unstable_by_key(|e| e.0);
            few.indices.extend(row.iter().map(|e| e.0));
            few.values.extend(row.iter().map(|e| e.1));
            few.indptr.push(few.indices.len() as u64);
        }
        self.into.put(&few.view())
    }
    fn end(self: Box<Self>) -> io::Result<()> {
        Box::new(self.into).end()
    }
}

#[cfg(feature = "parquet")]
mod lists {
    use super::super::columns::{into_io, writer};
    use super::{File, Rows, Sink, io, largest};
    use arrow_array::builder::{Float32Builder, Int32Builder, ListBuilder};
    use arrow_array::{ArrayRef, RecordBatch};
    use arrow_schema::{DataType, Field, Schema, SchemaRef};
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    pub(super) struct Lists<'a> {
        out: ArrowWriter<&'a mut File>,
        schema: SchemaRef,
        k: usize,
    }

    fn element(kind: DataType) -> Arc<Field> {
        Arc::new(Field::new("element", kind, false))
    }

    impl<'a> Lists<'a> {
        pub(super) fn new(file: &'a mut File, k: usize) -> io::Result<Self> {
            let list = |name: &str, kind| Field::new(name, DataType::List(element(kind)), false);
            let fields = vec![list("indices", DataType::Int32), list("values", DataType::Float32)];
            let schema: SchemaRef = Arc::new(Schema::new(fields));
            Ok(Self { out: writer(file, schema.clone(), 2 * k)?, schema, k })
        }
    }

    impl Sink for Lists<'_> {
        fn put(&mut self, x: &Rows) -> io::Result<()> {
            let mut indices = ListBuilder::new(Int32Builder::new()).with_field(element(DataType::Int32));
            let mut values = ListBuilder::new(Float32Builder::new()).with_field(element(DataType::Float32));
            let mut row = Vec::new();
            for r in 0..x.rows() {
                largest(x, r, self.k, &mut row);
                for (j, v) in &row {
                    indices.values().append_value(i32::try_from(*j).map_err(io::Error::other)?);
                    values.values().append_value(*v);
                }
                indices.append(true);
                values.append(true);
            }
            let arrays: Vec<ArrayRef> = vec![Arc::new(indices.finish()), Arc::new(values.finish())];
            let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(io::Error::other)?;
            self.out.write(&batch).map_err(into_io)
        }
        fn end(self: Box<Self>) -> io::Result<()> {
            self.out.close().map(drop).map_err(into_io)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold;
    use crate::mat::Mat;
    use crate::source::{self, Open};

    fn sample() -> Csr {
        Csr::new(3, 5, vec![0, 4, 4, 5], vec![0, 1, 3, 4, 2], vec![1.0, -3.0, 2.0, 1.0, 0.5]).expect("csr")
    }

    fn write(path: &Path, k: usize, x: &Rows) {
        write_top(path, (x.rows(), x.cols()), k, |put| (0..x.rows()).try_for_each(|r| put(&x.slice(r, r + 1)))).expect("written");
    }

    fn read(path: &Path, column: Option<&str>) -> Mat {
        let how = Open { column: column.map(String::from), ..Open::default() };
        fold::collect(&*source::open(path, &how).expect("opened").source).expect("read")
    }

    #[test]
    fn the_largest_come_first_and_no_latent_twice() {
        let folder = tempfile::tempdir().expect("tempdir");
        for x in [sample().view(), sample().view().to_mat().view()] {
            let path = folder.path().join("codes");
            write(&path, 3, &x);
            assert_eq!(read(&path.join(INDICES), None).data, [1.0, 3.0, 0.0, 0.0, 1.0, 2.0, 2.0, 0.0, 1.0]);
            assert_eq!(read(&path.join(VALUES), None).data, [-3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0]);
            // Overwritten as a folder that is there.
            write(&path, 1, &x);
            assert_eq!(read(&path.join(INDICES), None).data, [1.0, 0.0, 2.0]);
            let path = folder.path().join("codes.npz");
            write(&path, 2, &x);
            let wanted = [0.0, -3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0];
            assert_eq!(read(&path, None).data, wanted);
        }
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn lists_are_as_long_as_they_need_to_be() {
        use arrow_array::cast::AsArray;
        use arrow_array::types::{Float32Type, Int32Type};
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("codes.parquet");
        write(&path, 3, &sample().view());
        let file = File::open(&path).expect("file");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet");
        let batch = reader.build().expect("reader").next().expect("one").expect("batch");
        let (indices, values) = (batch.column(0).as_list::<i32>(), batch.column(1).as_list::<i32>());
        let lists: Vec<(Vec<i32>, Vec<f32>)> = (0..3)
            .map(|r| {
                let (i, v) = (indices.value(r), values.value(r));
                (i.as_primitive::<Int32Type>().values().to_vec(), v.as_primitive::<Float32Type>().values().to_vec())
            })
            .collect();
        assert_eq!(lists, [(vec![1, 3, 0], vec![-3.0, 2.0, 1.0]), (vec![], vec![]), (vec![2], vec![0.5])]);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let said = |path: &str, k| check_top(Path::new(path), k, 5).expect_err("refused").to_string();
        assert!(said("a.npy", 3).contains("a folder (two npy), or as parquet"));
        assert!(said("a.npz", 6).contains("6 largest of 5") && said("a", 0).contains("1 to 5"));
        assert!(said("a.xyz", 3).contains("isn't known"));
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("codes");
        let failed = write_top(&path, (2, 5), 3, |_| Err(Error::data("stopped"))).expect_err("stopped").to_string();
        assert_eq!(failed, "stopped");
        assert_eq!(std::fs::read_dir(&path).expect("dir").count(), 0);
    }
}
