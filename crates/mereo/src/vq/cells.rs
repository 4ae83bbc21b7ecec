//! Which cell each row belongs to, and what it leaves behind there.
//!
//! The nearest centre is exact: a score that rounding could have decided is decided again in f64. So bounds may skip rows
//! and the answer stays the same to the last row.
//!
//! Bounds (Hamerly 2010; in groups, Ding et al. 2015, "Yinyang k-means"): the memo of a row holds its cell, a distance
//! that its own centre is not beyond, and for each group of centres a distance that no other centre of the group is within.
//! Centres that move by m widen them by m. A row whose bounds still hold is not even read; of the others only the groups in
//! doubt are looked at.

use super::tiles::{Out, Scan, Tiles, Top, WIDE, Waiting, distance, square};
use crate::mat::{DenseRows, Mat, Rows, Weights};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Numbers of rows that wait for the kernel, so that they stay in a core's own cache with the tile.
const WAITING: usize = 1 << 16;
/// Most groups of centres with a bound of their own.
const GROUPS: usize = 64;

/// The centres of a group, a whole number of tiles.
pub(super) fn group_size(k: usize) -> usize {
    k.div_ceil(WIDE).div_ceil(GROUPS) * WIDE
}

/// Numbers a row needs in the memo for k centres: its cell, one upper and several lower bounds.
pub(super) fn memo_width(k: usize) -> usize {
    2 + k.div_ceil(group_size(k))
}

/// How rows are seen: scaled to unit length if `unit`, then less the shift (d numbers, or none).
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub unit: bool,
    pub shift: &'a [f32],
}

impl Frame<'_> {
    /// What a row is multiplied with; 0 for a row of zeros that has no direction.
    #[inline(always)]
    pub fn scale(self, values: &[f32]) -> f32 {
        if !self.unit {
            return 1.0;
        }
        let norm = square(values).sqrt();
        if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 }
    }

    /// Entry `j` with value `v` of a dense row.
    #[inline(always)]
    pub fn see(self, v: f32, scale: f32, shift: f32) -> f32 {
        if self.unit { v * scale - shift } else { v - shift }
    }

    /// Appends the row as seen.
    #[inline(always)]
    pub fn push(self, values: &[f32], scale: f32, out: &mut Vec<f32>) {
        if self.shift.is_empty() {
            out.extend(values.iter().map(|&v| self.see(v, scale, 0.0)));
        } else {
            out.extend(values.iter().zip(self.shift).map(|(&v, &s)| self.see(v, scale, s)));
        }
    }

    /// Sparse rows less a shift are dense.
    pub fn fit<'a>(self, x: &'a Rows) -> std::borrow::Cow<'a, Rows<'a>> {
        match x {
            Rows::Sparse(_) if !self.shift.is_empty() => {
                let m = x.to_mat();
                let weights = x.row_weights().map(|w| Weights::Rows(w.into()));
                std::borrow::Cow::Owned(Rows::Dense(DenseRows { cols: m.cols, data: m.data.into(), weights }))
            }
            _ => std::borrow::Cow::Borrowed(x),
        }
    }
}

/// Where a row was and where it is now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Its cell in the pass before; [`NOWHERE`] if that is not known.
    pub from: u32,
    /// Its cell now.
    pub to: u32,
    /// What its values are multiplied with.
    pub scale: f32,
    /// Square of its norm, as seen; 0 if it stayed where it was.
    pub square: f64,
}

/// No cell yet.
pub(super) const NOWHERE: u32 = u32::MAX;

/// The centres of one pass.
pub(super) struct Cells<'a> {
    frame: Frame<'a>,
    centres: &'a Mat,
    tiles: Tiles,
    /// Centres of a group.
    group: usize,
    moved: &'a [f32],
    moved_group: Vec<f32>,
}

impl<'a> Cells<'a> {
    /// Centres (k×d) as seen through the frame, and how far each moved since the memo was written (k, or none).
    pub fn new(frame: Frame<'a>, centres: &'a Mat, moved: &'a [f32]) -> Self {
        let far = |c: &[f32]| c.iter().fold(0f32, |m, v| m.max(*v));
        let group = group_size(centres.rows);
        let moved_group = moved.chunks(group).map(far).collect();
        Self { frame, centres, tiles: Tiles::new(centres), group, moved, moved_group }
    }

    /// The cell of every row. `memo` is empty, or holds [`memo_width`] numbers a row, zeros at first.
    pub fn settle(&self, x: &Rows, memo: &mut [f32]) -> Vec<Seen> {
        let n = x.rows();
        let width = memo.len().checked_div(n).unwrap_or(0);
        let step = (n / (8 * rayon::current_num_threads())).clamp(64, 4096);
        let mut seen = vec![Seen { from: NOWHERE, to: 0, scale: 1.0, square: 0.0 }; n];
        let memos: Vec<&mut [f32]> = if width == 0 {
            (0..n.div_ceil(step)).map(|_| <&mut [f32]>::default()).collect()
        } else {
            memo.chunks_mut(step * width).collect()
        };
        seen.par_chunks_mut(step).zip(memos).enumerate().for_each(|(i, (seen, memo))| {
            let x = x.slice(i * step, i * step + seen.len());
            let lists = vec![Vec::new(); self.centres.rows.div_ceil(self.group)];
            let panel = Panel { cells: self, x: &x, memo, width, seen, values: Vec::new(), slots: Vec::new(), lists };
            pulp::Arch::new().dispatch(panel);
        });
        seen
    }

    /// Widens the bounds of a row by what the centres moved; the least distance that another centre can have.
    #[inline(always)]
    fn widen(&self, bounds: &mut [f32], own: u32) -> f32 {
        // Beyond the rounding of the sums. A bound below 0 says nothing, and still does when it is nearer to 0.
        const UP: f32 = 1.0 + 1.0 / (1 << 21) as f32;
        const DOWN: f32 = 1.0 - 1.0 / (1 << 21) as f32;
        bounds[1] = (bounds[1] + self.moved[own as usize]) * UP;
        for (low, moved) in bounds[2..].iter_mut().zip(&self.moved_group) {
            *low = (*low - moved) * DOWN;
        }
        least(&bounds[2..])
    }

    /// A distance that is not below the root of `apart`, which sums of squares as large as `square` have gone into.
    #[inline(always)]
    fn above(&self, apart: f64, square: f64) -> f32 {
        ((apart + 1e-13 * (square + self.tiles.reach * self.tiles.reach)).sqrt() as f32).next_up()
    }

    /// A distance that is not above.
    #[inline(always)]
    fn below(&self, apart: f64, square: f64) -> f32 {
        ((apart - 1e-13 * (square + self.tiles.reach * self.tiles.reach)).max(0.0).sqrt() as f32).next_down()
    }
}

/// A run of rows on one thread. A struct and no closure, for only what is inlined is compiled for the vectors at hand.
struct Panel<'a> {
    cells: &'a Cells<'a>,
    x: &'a Rows<'a>,
    memo: &'a mut [f32],
    /// Numbers of the memo for each row.
    width: usize,
    seen: &'a mut [Seen],
    /// Rows that wait for their scores: the values as seen,
    values: Vec<f32>,
    /// what else is known of each,
    slots: Vec<Slot>,
    /// and which of them are in doubt about each group.
    lists: Vec<Vec<u32>>,
}

/// A row that waits for its scores.
struct Slot {
    row: usize,
    own: u32,
    /// Distance² to its own centre.
    apart: f64,
    scale: f32,
    square: f64,
    /// Where its values start and end.
    span: (usize, usize),
}

impl WithSimd for Panel<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for row in 0..self.seen.len() {
            self.visit(row);
            if self.values.len() >= WAITING {
                self.flush(simd);
            }
        }
        self.flush(simd);
    }
}

impl Panel<'_> {
    /// Leaves a row where it is if its bounds hold; lets it wait for its scores if not.
    #[inline(always)]
    fn visit(&mut self, row: usize) {
        let cells = self.cells;
        let bounds = &mut self.memo[row * self.width..(row + 1) * self.width];
        let own = bounds.first().map_or(NOWHERE, |own| (*own as u32).wrapping_sub(1));
        let mut others = 0.0;
        if own != NOWHERE {
            (self.seen[row].from, self.seen[row].to) = (own, own);
            others = cells.widen(bounds, own);
            if bounds[1] < others {
                return;
            }
        }
        let stored = match self.x {
            Rows::Dense(x) => x.row(row),
            Rows::Sparse(x) => x.row(row).1,
        };
        let from = self.values.len();
        let scale = cells.frame.scale(stored);
        cells.frame.push(stored, scale, &mut self.values);
        let square = square(&self.values[from..]);
        let mut slot = Slot { row, own, apart: 0.0, scale, square, span: (from, self.values.len()) };
        if own != NOWHERE {
            slot.apart = exact(cells, self.x, &slot, &self.values, own);
            bounds[1] = cells.above(slot.apart, square);
            if bounds[1] < others {
                self.values.truncate(from);
                return;
            }
        }
        for (g, list) in self.lists.iter_mut().enumerate() {
            if own == NOWHERE || bounds[2 + g] <= bounds[1] {
                list.push(self.slots.len() as u32);
            }
        }
        self.slots.push(slot);
    }

    /// Scores the rows that wait, and settles them.
    #[inline(always)]
    fn flush<S: Simd>(&mut self, simd: S) {
        let cells = self.cells;
        let groups = self.lists.len();
        let rows = match self.x {
            Rows::Dense(_) => Waiting::Dense(&self.values),
            Rows::Sparse(x) => {
                Waiting::Sparse(self.slots.iter().map(|s| (x.row(s.row).0, &self.values[s.span.0..s.span.1])).collect())
            }
        };
        let mut tops = vec![Top::NONE; self.slots.len() * groups];
        let mut found = vec![Top::NONE; self.slots.len()];
        for (g, list) in self.lists.iter_mut().enumerate().filter(|(_, list)| !list.is_empty()) {
            let found = &mut found[..list.len()];
            found.fill(Top::NONE);
            let tiles = g * cells.group / WIDE..((g + 1) * cells.group).min(cells.centres.rows).div_ceil(WIDE);
            simd.vectorize(Scan { centres: &cells.tiles, tiles, rows: &rows, list, out: Out::Tops(found) });
            for (&i, top) in list.iter().zip(&*found) {
                tops[i as usize * groups + g] = *top;
            }
            list.clear();
        }
        for (slot, tops) in self.slots.iter().zip(tops.chunks_exact(groups)) {
            let bounds = &mut self.memo[slot.row * self.width..(slot.row + 1) * self.width];
            let to = judge(cells, self.x, slot, &self.values, tops, bounds);
            self.seen[slot.row] = Seen { from: slot.own, to, scale: slot.scale, square: slot.square };
        }
        self.slots.clear();
        self.values.clear();
    }
}

/// Distance² of a waiting row to a centre, in f64.
#[inline(always)]
fn exact(cells: &Cells, x: &Rows, slot: &Slot, values: &[f32], centre: u32) -> f64 {
    let (values, c) = (&values[slot.span.0..slot.span.1], cells.centres.row(centre as usize));
    match x {
        Rows::Dense(_) => distance(values, c),
        Rows::Sparse(x) => {
            let columns = x.row(slot.row).0;
            let product: f64 = columns.iter().zip(values).map(|(&j, &v)| f64::from(v) * f64::from(c[j as usize])).sum();
            (slot.square - 2.0 * product + square(c)).max(0.0)
        }
    }
}

/// The nearest centre from the scores of the groups that were looked at; renews the bounds.
#[inline(always)]
fn judge(cells: &Cells, x: &Rows, slot: &Slot, values: &[f32], tops: &[Top], bounds: &mut [f32]) -> u32 {
    // A score s is off by at most e, so a distance² of |x|² - 2s by 2e, and the difference of two of them by 4e.
    let e = cells.tiles.rounding(slot.square.sqrt(), slot.span.1 - slot.span.0);
    let far = |score: f32| slot.square - 2.0 * f64::from(score);
    let looked = |t: &&Top| t.at != Top::NONE.at;
    let own_group = slot.own as usize / cells.group;
    let stays = slot.own != NOWHERE && tops[own_group].at == Top::NONE.at;
    let start = if stays { (slot.own, slot.apart) } else { (NOWHERE, f64::INFINITY) };
    let (mut to, mut apart) = start;
    let mut rival = f64::INFINITY;
    for t in tops.iter().filter(looked) {
        let (first, second) = (far(t.best), far(t.second));
        if first < apart {
            rival = apart.min(second);
            (to, apart) = (t.at, first);
        } else {
            rival = rival.min(first);
        }
    }
    let nearest = |from: usize, to: usize, start: (u32, f64)| {
        (from as u32..to as u32).fold(start, |near, c| {
            let d = exact(cells, x, slot, values, c);
            if d < near.1 || (d == near.1 && c < near.0) { (c, d) } else { near }
        })
    };
    if !apart.is_finite() {
        // Beyond the range of f32 (a fit refuses such rows): every centre, in f64.
        return nearest(0, cells.centres.rows, (0, f64::INFINITY)).0;
    }
    let mut high = apart + 2.0 * e;
    if rival <= apart + 4.0 * e {
        let limit = apart + 4.0 * e;
        (to, high) = tops.iter().filter(looked).filter(|t| far(t.best) <= limit).fold(start, |near, t| {
            let first = t.at as usize / cells.group * cells.group;
            nearest(first, (first + cells.group).min(cells.centres.rows), near)
        });
    }
    if bounds.is_empty() {
        return to;
    }
    bounds[0] = (to + 1) as f32;
    bounds[1] = cells.above(high, slot.square);
    for (low, t) in bounds[2..].iter_mut().zip(tops).filter(|(_, t)| looked(t)) {
        let other = if t.at == to { t.second } else { t.best };
        *low = cells.below(far(other) - 2.0 * e, slot.square);
    }
    if stays && to != slot.own {
        // The centre it left is now one of the others of its group.
        bounds[2 + own_group] = bounds[2 + own_group].min(cells.below(slot.apart, slot.square));
    }
    to
}

/// The lowest of some numbers, in lanes that become vectors.
#[inline(always)]
fn least(x: &[f32]) -> f32 {
    let (whole, rest) = x.as_chunks::<WIDE>();
    let mut lanes = [f32::INFINITY; WIDE];
    for x in whole {
        for l in 0..WIDE {
            lanes[l] = if x[l] < lanes[l] { x[l] } else { lanes[l] };
        }
    }
    lanes.iter().chain(rest).fold(f32::INFINITY, |m, v| if *v < m { *v } else { m })
}
