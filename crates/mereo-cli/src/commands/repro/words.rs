//! Figure 4: features of word counts, the encoding of one document, and a word with two meanings.

use super::lee_seung::Args;
use super::{find, is};
use crate::failure::{Failure, Result};
use crate::methods::Runner;
use crate::show;
use crate::subject::cells;
use mereo::mat::{Csr, Rows};
use mereo::source::{self, Memory, Open};
use mereo::{Mat, Model, Nmf, NmfSolver, fold, linalg, measure};
use mereo_report::{Block, Section, Table};

/// Words that a feature, or a document, is told by.
const TOP: usize = 8;
/// Features that are shown.
const SHOWN: usize = 8;
/// Features of a document that are shown.
const USED: usize = 4;

/// The section, or why there is none.
pub fn figure(args: &Args, runner: &Runner) -> Result<std::result::Result<Section, String>> {
    let path = match (&args.counts, &args.data) {
        (Some(path), _) => Some(path.clone()),
        (None, Some(folder)) => find(folder, &|name| is(name, "npz"))?,
        (None, None) => None,
    };
    let Some(path) = path else {
        return Ok(Err(
            "Figure 4 is left out: no word counts are embedded; give a matrix of documents × words by --counts FILE.".into(),
        ));
    };
    let opened = source::open(&path, &Open::default())?;
    let all = fold::draw(opened.source.as_ref(), source::count(opened.source.as_ref()), 0)?;
    let (counts, columns) = frequent(&all, args.common, args.words)?;
    let names = match &args.vocabulary {
        Some(file) => Some(vocabulary(file, all.cols())?),
        None => opened.columns.clone(),
    };
    let name = |j: usize| names.as_ref().map_or_else(|| format!("#{}", columns[j]), |n| n[columns[j]].clone());
    let how = Nmf {
        k: args.features,
        solver: NmfSolver::LeeSeung,
        max_passes: args.text_passes,
        tol: 0.0,
        seed: args.seed,
        ..Nmf::default()
    };
    let (model, facts) = runner.fit("figure 4", &how, &Memory::new(counts.view()))?;
    let atoms = model.atoms();
    let words = |row: &[f32], most: usize| -> Vec<(usize, f32)> {
        let mut order: Vec<usize> = (0..row.len()).filter(|&j| row[j] > 0.0).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        order.into_iter().take(most).map(|j| (j, row[j])).collect()
    };
    let line = |a: usize| words(atoms.row(a), TOP).iter().map(|(j, _)| name(*j)).collect::<Vec<_>>().join(", ");
    let features = Table {
        header: cells(&["feature", "its most frequent words"]),
        rows: (0..SHOWN.min(atoms.rows)).map(|a| vec![a.to_string(), line(a)]).collect(),
        words: vec![1],
        ..Table::default()
    };
    let document = longest(&counts.view());
    let row = counts.view().slice(document, document + 1).to_mat();
    let weights = model.encode(&row.view())?.to_mat();
    let told: Vec<String> = words(row.row(0), TOP).iter().map(|(j, n)| format!("{} {n}", name(*j))).collect();
    let used = words(weights.row(0), atoms.rows);
    let encoding = Table {
        header: cells(&["feature", "weight", "its most frequent words"]),
        rows: used.iter().take(USED).map(|(a, w)| vec![a.to_string(), show::number(f64::from(*w)), line(*a)]).collect(),
        words: vec![2],
        ..Table::default()
    };
    let two = match polysemous(atoms, &words) {
        Some((j, a, b)) => vec![
            Block::Text(format!("A word of two meanings, {}: strong in two features that share little else.", name(j))),
            Block::Table(Table {
                header: cells(&["feature", "share of the word", "its most frequent words"]),
                rows: [a, b].iter().map(|&f| vec![f.to_string(), format!("{:.1} %", 100.0 * atoms.row(f)[j]), line(f)]).collect(),
                words: vec![2],
                ..Table::default()
            }),
        ],
        None => vec![Block::Text("No word is among the strongest of two features that differ otherwise.".into())],
    };
    let zeros = measure::codes(&model.encode(&counts.view().every(counts.rows.div_ceil(2048)))?).small.mean;
    let mut blocks = vec![
        Block::Table(features),
        Block::Text(format!(
            "The longest document, number {document}: {}. It uses {} of {} features; the {} strongest are these.",
            told.join(", "),
            used.len(),
            atoms.rows,
            USED.min(used.len())
        )),
        Block::Table(encoding),
    ];
    blocks.extend(two);
    let words_are = if names.is_some() {
        ""
    } else {
        " The counts come without their words, so a word is told by its column; --vocabulary FILE names them."
    };
    let at = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    Ok(Ok(Section {
        title: "Figure 4".into(),
        note: format!(
            "{at}: {} documents of {} words, {} iterations of the 1999 rules, {} features, {}; {:.0} % of codes below 1 % of their feature's largest.{words_are}",
            show::count(counts.rows),
            show::count(counts.cols),
            facts.curve.len(),
            atoms.rows,
            show::seconds(facts.seconds),
            zeros * 100.0
        ),
        blocks,
    }))
}

/// One word a line, one for each column.
fn vocabulary(file: &std::path::Path, columns: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|e| Failure::other(format!("{} can't be read: {e}", file.display())))?;
    let words: Vec<String> = text.lines().map(|l| l.trim().to_string()).collect();
    if words.len() != columns {
        return Err(Failure::other(format!(
            "{} has {} lines for {columns} columns; give one word a line",
            file.display(),
            words.len()
        )));
    }
    Ok(words)
}

/// The most frequent columns, without the very first, as sparse rows; and their numbers. Rows that have none of them are dropped.
fn frequent(all: &Rows, common: usize, words: usize) -> Result<(Csr, Vec<usize>)> {
    let (n, d) = (all.rows(), all.cols());
    let mut sums = vec![0f64; d];
    each(all, |_, j, v| sums[j] += f64::from(v));
    let mut order: Vec<usize> = (0..d).filter(|&j| sums[j] > 0.0).collect();
    order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]).then(a.cmp(&b)));
    let mut kept: Vec<usize> = order.into_iter().skip(common).take(words).collect();
    kept.sort_unstable();
    if kept.is_empty() {
        return Err(Failure::usage(format!("--common {common} leaves no word of {d}; lower it")));
    }
    let mut place = vec![None; d];
    kept.iter().enumerate().for_each(|(to, &from)| place[from] = Some(to as u32));
    let mut lists: Vec<Vec<(u32, f32)>> = vec![Vec::new(); n];
    each(all, |i, j, v| lists[i].extend(place[j].filter(|_| v != 0.0).map(|to| (to, v))));
    lists.retain(|l| !l.is_empty());
    let mut indptr = vec![0u64];
    for list in &lists {
        indptr.push(indptr[indptr.len() - 1] + list.len() as u64);
    }
    let (indices, values) = lists.iter().flatten().copied().unzip();
    Ok((Csr::new(lists.len(), kept.len(), indptr, indices, values)?, kept))
}

/// Every stored number, with its row and column.
fn each(rows: &Rows, mut see: impl FnMut(usize, usize, f32)) {
    for i in 0..rows.rows() {
        match rows {
            Rows::Dense(x) => x.row(i).iter().enumerate().for_each(|(j, &v)| see(i, j, v)),
            Rows::Sparse(x) => {
                let (columns, values) = x.row(i);
                columns.iter().zip(values).for_each(|(&j, &v)| see(i, j as usize, v));
            }
        }
    }
}

/// The row of the largest sum.
fn longest(rows: &Rows) -> usize {
    let mut sums = vec![0f64; rows.rows()];
    each(rows, |i, _, v| sums[i] += f64::from(v));
    (0..sums.len()).fold(0, |best, i| if sums[i] > sums[best] { i } else { best })
}

/// The strongest columns of a row, at most so many, with their numbers.
type Strongest<'a> = &'a dyn Fn(&[f32], usize) -> Vec<(usize, f32)>;

/// The word that is strongest, by its weaker side, in two features of which the other words differ; with the features.
fn polysemous(atoms: &Mat, words: Strongest) -> Option<(usize, usize, usize)> {
    const ALIKE: f64 = 0.25;
    let top: Vec<Vec<(usize, f32)>> = (0..atoms.rows).map(|a| words(atoms.row(a), TOP)).collect();
    let norm = |a: usize| linalg::dot(atoms.row(a), atoms.row(a)).sqrt();
    let mut best: Option<(f32, usize, usize, usize)> = None;
    for a in 0..atoms.rows {
        for b in 0..a {
            for (j, v) in &top[a] {
                let Some((_, u)) = top[b].iter().find(|(i, _)| i == j) else { continue };
                let score = (v / top[a][0].1).min(u / top[b][0].1);
                let better = best.is_none_or(|(s, ..)| score > s);
                if better && linalg::dot(atoms.row(a), atoms.row(b)) < ALIKE * norm(a) * norm(b) {
                    best = Some((score, *j, b, a));
                }
            }
        }
    }
    best.map(|(_, j, a, b)| (j, a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_words_keep_their_columns() {
        let x = Mat::new(3, 4, vec![9.0, 1.0, 0.0, 0.0, 9.0, 0.0, 2.0, 0.0, 9.0, 0.0, 0.0, 0.0]).expect("mat");
        let (kept, columns) = frequent(&x.view(), 1, 5).expect("kept");
        assert_eq!((kept.rows, columns), (2, vec![1, 2]), "column 0 is too common, column 3 never used, row 2 empty without it");
        assert_eq!(kept.view().to_mat().data, [1.0, 0.0, 0.0, 2.0]);
        assert_eq!(longest(&kept.view()), 1);
        assert!(frequent(&x.view(), 3, 5).is_err());
    }

    #[test]
    fn a_word_of_two_meanings_is_in_two_features_that_differ() {
        let atoms = Mat::new(3, 5, vec![0.2, 0.8, 0.0, 0.0, 0.0, 0.2, 0.0, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]).expect("mat");
        let words = |row: &[f32], most: usize| -> Vec<(usize, f32)> {
            let mut all: Vec<(usize, f32)> = row.iter().copied().enumerate().filter(|(_, v)| *v > 0.0).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            all.truncate(most);
            all
        };
        assert_eq!(polysemous(&atoms, &words), Some((0, 0, 1)));
    }
}
