//! Embeddings (`/v1/embeddings`).

use super::cost::tokens;
use super::flow::{Bad, Failed, Manner, Task};
use super::reply::Said;
use super::{Client, Estimate, Key, Report, Run, Store, Usage};
use mereo::mat::Mat;
use mereo::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::OnceLock;

/// Gets the rows of a batch and their embeddings.
type Take<'a> = &'a mut dyn FnMut(Vec<(usize, Box<[f32]>)>) -> Result<()>;

/// Embeddings of texts, as far as they came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Embedded {
    /// The embedding of each text (d numbers each); `None` where it failed or wasn't asked for.
    pub rows: Vec<Option<Box<[f32]>>>,
    /// Their length (d); `None` before the first.
    pub dimension: Option<usize>,
    /// What became of the last run.
    pub report: Report,
}

impl Embedded {
    /// Rows without an embedding, in order.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.rows.len()).filter(|&row| self.rows[row].is_none()).collect()
    }

    /// The numbers of the rows that have an embedding, and those (m×d).
    pub fn matrix(&self) -> Result<(Vec<usize>, Mat)> {
        let present: Vec<usize> = (0..self.rows.len()).filter(|&row| self.rows[row].is_some()).collect();
        let data: Vec<f32> = self.rows.iter().flatten().flatten().copied().collect();
        let mat = Mat::new(present.len(), self.dimension.unwrap_or(0), data)?;
        Ok((present, mat))
    }
}

impl Client {
    /// Embeds texts in batches. A batch that fails for good is cut in halves until the texts at fault are alone.
    ///
    /// What fails is in [`Embedded::report`], not an error: what came before it stays. [`Client::refill`] asks again.
    pub fn embeddings(&self, texts: &[&str], run: &Run) -> Result<Embedded> {
        let mut embedded = Embedded { rows: vec![None; texts.len()], ..Embedded::default() };
        self.refill(texts, &mut embedded, run)?;
        Ok(embedded)
    }

    /// Asks again for the rows of `embedded` that are missing. Errors: other texts than it was made of, by their number.
    pub fn refill(&self, texts: &[&str], embedded: &mut Embedded, run: &Run) -> Result<()> {
        if texts.len() != embedded.rows.len() {
            let (have, given) = (embedded.rows.len(), texts.len());
            return Err(Error::data(format!("{given} texts for {have} rows; give the texts that the rows were made of")));
        }
        let missing = embedded.missing();
        let Embedded { rows, dimension, report } = embedded;
        let known = rows.iter().flatten().next().map(|row| row.len());
        (*report, *dimension) = self.embed(texts, missing, known, run, &mut |batch| {
            batch.into_iter().for_each(|(row, vector)| rows[row] = Some(vector));
            Ok(())
        })?;
        Ok(())
    }

    /// [`Client::embeddings`] of what `store` doesn't hold yet; each batch is on the disk before the next is looked at, so that after a
    /// crash the same call asks only for the rest. Equal texts are sent once.
    ///
    /// Errors: the store can't be written, or holds embeddings of several lengths.
    pub fn embeddings_stored(&self, texts: &[&str], store: &mut Store<Vec<f32>>, run: &Run) -> Result<Embedded> {
        let keys: Vec<Key> = texts.iter().map(|text| self.text_key(text)).collect();
        let mut known = None;
        for vector in keys.iter().filter_map(|key| store.get(key)) {
            let first = *known.get_or_insert(vector.len());
            if vector.len() != first {
                let path = store.path().display();
                return Err(Error::data(format!(
                    "{path} holds embeddings of {first} and of {} numbers; start a new file",
                    vector.len()
                )));
            }
        }
        let missing = store.missing(&keys);
        let (report, dimension) = self.embed(texts, missing, known, run, &mut |batch| {
            store.put_all(batch.into_iter().map(|(row, vector)| (keys[row], vector.into_vec())))
        })?;
        let rows = keys.iter().map(|key| store.get(key).map(|vector| vector.clone().into_boxed_slice())).collect();
        Ok(Embedded { rows, dimension, report })
    }

    /// What the embeddings of `texts` are estimated to take.
    pub fn estimate_embeddings(&self, texts: &[&str]) -> Estimate {
        let rows = (0..texts.len()).filter(|&row| !texts[row].is_empty());
        let usage = Usage { prompt: rows.clone().map(|row| tokens([texts[row]].into_iter())).sum(), completion: 0 };
        Estimate { requests: self.batches(texts, rows).len(), usage, cost: self.endpoint.prices.map(|p| p.of(usage)) }
    }

    /// Under what a store keeps the embedding of a text: a hash of the model, the text and the parameters that shape it.
    pub fn text_key(&self, text: &str) -> Key {
        let own = &self.endpoint;
        Key::of(&json!(["embedding", own.model, text, own.dimensions, own.extra]))
    }

    fn embed(
        &self,
        texts: &[&str],
        missing: Vec<usize>,
        known: Option<usize>,
        run: &Run,
        take: Take<'_>,
    ) -> Result<(Report, Option<usize>)> {
        let (rows, empty): (Vec<_>, Vec<_>) = missing.into_iter().partition(|&row| !texts[row].is_empty());
        let task = Embed { client: self, texts, dimension: OnceLock::new() };
        if let Some(d) = known.or(self.endpoint.dimensions) {
            task.dimension.get_or_init(|| d);
        }
        let jobs = self.batches(texts, rows.into_iter());
        let mut report = self.flow(&task, jobs, run, &mut |rows, vectors| take(rows.iter().copied().zip(vectors).collect()))?;
        let why = "the text is empty, so it has no embedding; leave it out";
        report.failed.extend(empty.into_iter().map(|row| Failed { row, why: why.into() }));
        report.failed.sort_by_key(|f| f.row);
        Ok((report, task.dimension.into_inner()))
    }

    fn batches(&self, texts: &[&str], rows: impl Iterator<Item = usize>) -> VecDeque<Vec<usize>> {
        let own = &self.endpoint;
        let mut jobs: VecDeque<Vec<usize>> = VecDeque::new();
        let mut sum = 0;
        for row in rows {
            let chars = texts[row].chars().count();
            if let Some(last) = jobs.back_mut().filter(|last| last.len() < own.batch && sum + chars <= own.batch_chars) {
                last.push(row);
            } else {
                jobs.push_back(vec![row]);
                sum = 0;
            }
            sum += chars;
        }
        jobs
    }
}

struct Embed<'a> {
    client: &'a Client,
    texts: &'a [&'a str],
    /// That of the first embedding that came.
    dimension: OnceLock<usize>,
}

#[derive(Deserialize)]
struct Reply {
    data: Vec<One>,
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vec<f32>,
}

impl Task for Embed<'_> {
    /// A vector for each row of the job, in order.
    type Out = Vec<Box<[f32]>>;
    const PATH: &'static str = "/embeddings";

    fn body(&self, rows: &[usize], _manner: Manner) -> Value {
        let own = &self.client.endpoint;
        let mut body = own.extra.clone();
        body.insert("model".into(), own.model.clone().into());
        body.insert("input".into(), rows.iter().map(|&row| self.texts[row]).collect::<Vec<_>>().into());
        if let Some(d) = own.dimensions {
            body.insert("dimensions".into(), d.into());
        }
        body.into()
    }

    fn estimate(&self, rows: &[usize]) -> Usage {
        Usage { prompt: rows.iter().map(|&row| tokens([self.texts[row]].into_iter())).sum(), completion: 0 }
    }

    fn read(&self, rows: &[usize], body: &[u8]) -> (std::result::Result<Self::Out, Bad>, Option<Usage>) {
        let reply: Reply = match serde_json::from_slice(body) {
            Ok(reply) => reply,
            Err(e) => return (Err(Bad::Again(format!("no embeddings of the protocol ({e})"))), None),
        };
        let usage = Usage::counted(&reply.usage);
        (self.order(rows, reply.data).map_err(Bad::Again), usage)
    }

    fn adapt(&self, _manner: Manner, _said: &Said) -> bool {
        false
    }
}

impl Embed<'_> {
    /// Vectors in the order of the rows, once nothing speaks against them.
    fn order(&self, rows: &[usize], data: Vec<One>) -> std::result::Result<Vec<Box<[f32]>>, String> {
        if data.len() != rows.len() {
            return Err(format!("{} embeddings for {} texts", data.len(), rows.len()));
        }
        // Some leave `index` out; then the order is that of the texts. A mixture is neither.
        let numbered = data.iter().any(|one| one.index.is_some());
        let mut out: Vec<Option<Box<[f32]>>> = vec![None; rows.len()];
        for (place, one) in data.into_iter().enumerate() {
            let index = if numbered { one.index.ok_or("embeddings of which some have no index")? } else { place };
            let slot = out.get_mut(index).ok_or_else(|| format!("index {index} for {} texts", rows.len()))?;
            if slot.is_some() {
                return Err(format!("two embeddings with index {index}"));
            }
            if one.embedding.is_empty() {
                return Err("an embedding without numbers".into());
            }
            if one.embedding.iter().any(|x| !x.is_finite()) {
                return Err("an embedding with a number beyond those of 32 bits".into());
            }
            if one.embedding.iter().all(|&x| x == 0.0) {
                return Err("an embedding of zeros alone, which means nothing".into());
            }
            *slot = Some(one.embedding.into_boxed_slice());
        }
        let out: Vec<_> = out.into_iter().flatten().collect();
        let first = out.first().map_or(0, |v| v.len());
        // Only a batch that agrees with itself may say what the others have.
        for d in [first, if out.iter().all(|v| v.len() == first) { *self.dimension.get_or_init(|| first) } else { first }] {
            if let Some(other) = out.iter().find(|v| v.len() != d) {
                return Err(format!("an embedding of {} numbers where others have {d}", other.len()));
            }
        }
        Ok(out)
    }
}
