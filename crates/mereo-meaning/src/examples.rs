//! Which rows show what a latent means: rows on which it is active, and rows that lack it.
//!
//! A label is made from one set of rows and tested on another; no row is in both. Active rows come by falling code (ties by row):
//!
//! - **top**: the first ones for the label, the next ones for the test;
//! - **stratified**: one row drawn from each of so many equal shares of what is left, from strong to weak;
//! - **random**: drawn from what is then left.
//!
//! Rows that lack the latent are the **hard** ones where embeddings are given, those of the highest cosine to the mean embedding of the
//! top rows of the label; else random ones. Hard ones tell a label that is right from one that names the whole field.
//!
//! A row is active where its code is above 0; where it is below, the row neither is nor lacks anything. A latent with fewer active
//! rows than asked for has them split in the same proportion, at least one for the test if there are two.
//!
//! Cost: one sort of the codes, and for hard rows 2·n·d·k flops, in blocks.

use crate::codes::Both;
use crate::texts::Texts;
use mereo::rng::{Rng, rng};
use mereo::{Error, Result, Rows};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

mod hard;

/// Streams of random numbers, apart from those of other modules.
const STRATA: u64 = 0x6c61_0001;
const LACKING: u64 = 0x6c61_0002;
const FAMILY: u64 = 0x6c61_0003;

/// How many rows of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Of the largest codes.
    pub top: usize,
    /// One from each of so many shares of the others.
    pub stratified: usize,
    /// Active ones, drawn at random.
    pub random: usize,
    /// That lack the latent.
    pub lacking: usize,
}

impl Counts {
    /// Rows on which the latent is active.
    fn active(&self) -> usize {
        self.top + self.stratified + self.random
    }
}

/// How rows are chosen. By itself as O'Neill et al. (2024) do: ranks 1–5 and five hard ones for the label, the next three of each for the
/// test, from texts of more than 100 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choice {
    /// Rows that a label is made from.
    pub label: Counts,
    /// Rows that it is tested on.
    pub test: Counts,
    /// A text must have more characters than this.
    pub longer_than: usize,
    /// Seed of what is drawn.
    pub seed: u64,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            label: Counts { top: 5, stratified: 0, random: 0, lacking: 5 },
            test: Counts { top: 3, stratified: 0, random: 0, lacking: 3 },
            longer_than: 100,
            seed: 0,
        }
    }
}

impl Choice {
    /// For labels of terms ([`crate::terms`]), which count and so gain from more rows: 20 top and 10 stratified ones against 20 hard ones.
    #[must_use]
    pub fn terms() -> Self {
        Self { label: Counts { top: 20, stratified: 10, random: 0, lacking: 20 }, ..Self::default() }
    }
}

/// A row on which a latent is active.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Example {
    /// The row.
    pub row: usize,
    /// Its code.
    pub value: f32,
}

/// Rows of one purpose.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Set {
    /// Active rows: top ones by falling code, then stratified ones from strong to weak, then random ones by row.
    pub active: Vec<Example>,
    /// How many of them are top ones.
    pub top: usize,
    /// Rows that lack the latent; hard ones by falling cosine.
    pub lacking: Vec<usize>,
}

/// The rows of one latent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Examples {
    /// The latent.
    pub latent: usize,
    /// Those that a label is made from.
    pub label: Set,
    /// Those that it is tested on.
    pub test: Set,
}

/// Rows of each of some latents; hard ones lack a latent if `rows` (n × d) has the embeddings, else random ones.
///
/// # Errors
/// Not as many texts or embeddings as rows with codes; no such latent.
pub fn choose(codes: &Both, texts: &dyn Texts, rows: Option<&Rows>, latents: &[usize], how: &Choice) -> Result<Vec<Examples>> {
    let n = codes.rows();
    if texts.count() != n {
        return Err(Error::data(format!(
            "{} texts for {n} rows of codes; give the texts that the codes were made from",
            texts.count()
        )));
    }
    if let Some(rows) = rows.filter(|rows| rows.rows() != n) {
        let said = format!("{} embeddings for {n} rows of codes; give those that the codes were made from", rows.rows());
        return Err(Error::data(said));
    }
    if let Some(bad) = latents.iter().find(|&&j| j >= codes.latents()) {
        return Err(Error::parameter(format!("latent {bad} of {}; they count from 0", codes.latents())));
    }
    let long: Vec<bool> = (0..n).into_par_iter().map(|i| longer(texts.text(i), how.longer_than)).collect();
    let mut out: Vec<Examples> = latents.par_iter().map(|&j| active(codes, j, &long, how)).collect();
    let lacking: Vec<Vec<usize>> = match rows {
        Some(rows) => hard::nearest(codes, rows, &out, &long, how.label.lacking + how.test.lacking),
        None => latents.par_iter().map(|&j| random(codes, j, &long, how.label.lacking + how.test.lacking, how.seed)).collect(),
    };
    for (of, mut all) in out.iter_mut().zip(lacking) {
        let (label, _) = shares(all.len(), how.label.lacking, how.test.lacking);
        of.test.lacking = all.split_off(label);
        of.label.lacking = all;
    }
    Ok(out)
}

/// Rows that test the label of a family of latents (O'Neill et al. 2024): of the strongest tenth of each member's active rows, all
/// together, `count` are drawn; and as many rows that lack all members. The value of a row is its largest code on a member.
///
/// # Errors
/// Not as many texts as rows with codes; no such latent.
pub fn family(codes: &Both, texts: &dyn Texts, members: &[usize], count: usize, longer_than: usize, seed: u64) -> Result<Set> {
    let n = codes.rows();
    if texts.count() != n {
        return Err(Error::data(format!(
            "{} texts for {n} rows of codes; give the texts that the codes were made from",
            texts.count()
        )));
    }
    if let Some(bad) = members.iter().find(|&&j| j >= codes.latents()) {
        return Err(Error::parameter(format!("latent {bad} of {}; they count from 0", codes.latents())));
    }
    let mut pool = std::collections::BTreeMap::<usize, f32>::new();
    for &j in members {
        let ranked = ranked(codes, j);
        for e in &ranked[..ranked.len().div_ceil(10)] {
            if longer(texts.text(e.row), longer_than) {
                let value = pool.entry(e.row).or_insert(e.value);
                *value = value.max(e.value);
            }
        }
    }
    let pool: Vec<Example> = pool.into_iter().map(|(row, value)| Example { row, value }).collect();
    let first = members.first().map_or(0, |&j| j as u64);
    let mut r = rng(seed, FAMILY, first);
    let active: Vec<Example> = r.choose(pool.len(), count).into_iter().map(|i| pool[i]).collect();
    let lacks = |i: usize| longer(texts.text(i), longer_than) && members.iter().all(|&j| codes.by_row.value(i, j as u32) == 0.0);
    Ok(Set { top: 0, active, lacking: drawn(&mut r, n, count, lacks) })
}

/// Whether a text has more characters than that.
fn longer(text: &str, than: usize) -> bool {
    text.len() > than && (text.len() > 4 * than || text.chars().nth(than).is_some())
}

/// The rows on which latent `j` is active, by falling code.
fn ranked(codes: &Both, j: usize) -> Vec<Example> {
    let (at, values) = codes.by_latent.get(j);
    let some = at.iter().zip(values).filter(|&(_, &v)| v > 0.0);
    let mut out: Vec<Example> = some.map(|(&row, &value)| Example { row: row as usize, value }).collect();
    out.sort_by(|a, b| b.value.total_cmp(&a.value).then(a.row.cmp(&b.row)));
    out
}

/// How many of `n` go to the label and to the test, that would like so many.
fn shares(n: usize, label: usize, test: usize) -> (usize, usize) {
    if n >= label + test {
        return (label, test);
    }
    let least = usize::from(n >= 2 && test > 0);
    let test = (n * test / (label + test)).max(least);
    (n - test, test)
}

/// The active rows of latent `j`.
fn active(codes: &Both, j: usize, long: &[bool], how: &Choice) -> Examples {
    let mut all = ranked(codes, j);
    all.retain(|e| long[e.row]);
    let (for_label, for_test) = shares(all.len(), how.label.active(), how.test.active());
    let mut out = Examples { latent: j, ..Examples::default() };
    (out.label.top, out.test.top) = (for_label.min(how.label.top), for_test.min(how.test.top));
    let mut rest = all.split_off(out.label.top + out.test.top);
    out.test.active = all.split_off(out.label.top);
    out.label.active = all;
    let mut r = rng(how.seed, STRATA, j as u64);
    let sides = [(&how.label, for_label), (&how.test, for_test)];
    for (set, (counts, most)) in [&mut out.label, &mut out.test].into_iter().zip(sides) {
        let bins = counts.stratified.min(most - set.active.len());
        let picked: Vec<usize> = (0..bins)
            .map(|b| {
                let (from, to) = (b * rest.len() / bins, (b + 1) * rest.len() / bins);
                from + r.below(to - from)
            })
            .collect();
        take(&mut rest, &picked, &mut set.active);
    }
    for (set, (counts, most)) in [&mut out.label, &mut out.test].into_iter().zip(sides) {
        let picked = r.choose(rest.len(), counts.random.min(most - set.active.len()));
        let from = set.active.len();
        take(&mut rest, &picked, &mut set.active);
        set.active[from..].sort_by_key(|e| e.row);
    }
    out
}

/// Moves those of rising places from one list to the end of another.
fn take(from: &mut Vec<Example>, picked: &[usize], to: &mut Vec<Example>) {
    to.extend(picked.iter().map(|&i| from[i]));
    let mut at = 0;
    let mut next = picked.iter().copied().peekable();
    from.retain(|_| {
        let gone = next.next_if_eq(&at).is_some();
        at += 1;
        !gone
    });
}

/// Random rows that lack latent `j`.
fn random(codes: &Both, j: usize, long: &[bool], count: usize, seed: u64) -> Vec<usize> {
    let mut r = rng(seed, LACKING, j as u64);
    drawn(&mut r, codes.rows(), count, |i| long[i] && codes.by_latent.value(j, i as u32) == 0.0)
}

/// Up to `count` different ones of `n` rows that will do, in the order of the draw.
fn drawn(r: &mut Rng, n: usize, count: usize, good: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut out = Vec::with_capacity(count);
    for _ in 0..32 * count {
        if out.len() == count || n == 0 {
            break;
        }
        let i = r.below(n);
        if !out.contains(&i) && good(i) {
            out.push(i);
        }
    }
    if out.len() < count {
        // Few of them will do: all of those, in a random order.
        let mut left: Vec<usize> = (0..n).filter(|&i| !out.contains(&i) && good(i)).collect();
        r.shuffle(&mut left);
        left.truncate(count - out.len());
        out.append(&mut left);
    }
    out
}

#[cfg(test)]
mod tests;
