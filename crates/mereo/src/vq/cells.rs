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
use crate::mat::{Mat, Rows};
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
    fn see(self, v: f32, scale: f32, shift: f32) -> f32 {
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
                std::borrow::Cow::Owned(Rows::Dense(crate::mat::DenseRows { cols: m.cols, data: m.data.into() }))
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
    moved: &'a [f32],
    moved_group: Vec<f32>,
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

impl<'a> Cells<'a> {
    /// Centres (k×d) as seen through the frame, and how far each moved since the memo was written (k, or none).
    pub fn new(frame: Frame<'a>, centres: &'a Mat, moved: &'a [f32]) -> Self {
        let far = |c: &[f32]| c.iter().fold(0f32, |m, v| m.max(*v));
        let moved_group = moved.chunks(group_size(centres.rows)).map(far).collect();
        Self { frame, centres, tiles: Tiles::new(centres), moved, moved_group }
    }

    /// The cell of every row. `memo` is empty, or holds [`memo_width`] numbers a row, zeros at first.
    pub fn settle(&self, x: &Rows, memo: &mut [f32]) -> Vec<Seen> {
        let n = x.rows();
        let width = memo.len().checked_div(n).unwrap_or(0);
        let panel = (n / (8 * rayon::current_num_threads())).clamp(64, 4096);
        let mut seen = vec![Seen { from: NOWHERE, to: 0, scale: 1.0, square: 0.0 }; n];
        let mut memos: Vec<&mut [f32]> = if width == 0 {
            (0..n.div_ceil(panel)).map(|_| <&mut [f32]>::default()).collect()
        } else {
            memo.chunks_mut(panel * width).collect()
        };
        seen.par_chunks_mut(panel).zip(&mut memos).enumerate().for_each(|(i, (seen, memo))| {
            let x = x.slice(i * panel, i * panel + seen.len());
            pulp::Arch::new().dispatch(|| self.settle_panel(&x, memo, width, seen));
        });
        seen
    }

    #[inline(always)]
    fn settle_panel(&self, x: &Rows, memo: &mut [f32], width: usize, seen: &mut [Seen]) {
        let mut values: Vec<f32> = Vec::new();
        let mut slots: Vec<Slot> = Vec::new();
        for row in 0..seen.len() {
            let bounds = &mut memo[row * width..(row + 1) * width];
            let own = bounds.first().map_or(NOWHERE, |own| (*own as u32).wrapping_sub(1));
            let mut others = 0.0;
            if own != NOWHERE {
                others = self.widen(bounds, own);
                if bounds[1] < others {
                    (seen[row].from, seen[row].to) = (own, own);
                    continue;
                }
            }
            let from = values.len();
            let stored = match x {
                Rows::Dense(x) => x.row(row),
                Rows::Sparse(x) => x.row(row).1,
            };
            let scale = self.frame.scale(stored);
            self.frame.push(stored, scale, &mut values);
            let mut slot = Slot { row, own, apart: 0.0, scale, square: square(&values[from..]), span: (from, values.len()) };
            if own != NOWHERE {
                slot.apart = self.exact(x, &slot, &values, own);
                bounds[1] = self.above(slot.apart, slot.square);
                if bounds[1] < others {
                    values.truncate(from);
                    (seen[row].from, seen[row].to) = (own, own);
                    continue;
                }
            }
            slots.push(slot);
            if values.len() >= WAITING {
                self.flush(x, &slots, &values, memo, width, seen);
                slots.clear();
                values.clear();
            }
        }
        self.flush(x, &slots, &values, memo, width, seen);
    }

    /// Widens the bounds of a row by what the centres moved; the least distance that another centre can have.
    #[inline(always)]
    fn widen(&self, bounds: &mut [f32], own: u32) -> f32 {
        bounds[1] = (bounds[1] + self.moved[own as usize]).next_up();
        let mut others = f32::INFINITY;
        for (low, moved) in bounds[2..].iter_mut().zip(&self.moved_group) {
            *low = (*low - moved).next_down();
            others = others.min(*low);
        }
        others
    }

    /// Distance² of a waiting row to a centre, in f64.
    #[inline(always)]
    fn exact(&self, x: &Rows, slot: &Slot, values: &[f32], centre: u32) -> f64 {
        let (values, c) = (&values[slot.span.0..slot.span.1], self.centres.row(centre as usize));
        match x {
            Rows::Dense(_) => distance(values, c),
            Rows::Sparse(x) => {
                let columns = x.row(slot.row).0;
                let product: f64 = columns.iter().zip(values).map(|(&j, &v)| f64::from(v) * f64::from(c[j as usize])).sum();
                (slot.square - 2.0 * product + square(c)).max(0.0)
            }
        }
    }

    /// A distance that is not below the one whose square this is; `square` is the row's own, for the rounding of sums in f64.
    fn above(&self, apart: f64, square: f64) -> f32 {
        ((apart + 1e-13 * (square + self.tiles.reach * self.tiles.reach)).sqrt() as f32).next_up()
    }

    /// A distance that is not above.
    fn below(&self, apart: f64, square: f64) -> f32 {
        ((apart - 1e-13 * (square + self.tiles.reach * self.tiles.reach)).max(0.0).sqrt() as f32).next_down()
    }

    /// Scores the rows that wait, and settles them.
    #[inline(always)]
    fn flush(&self, x: &Rows, slots: &[Slot], values: &[f32], memo: &mut [f32], width: usize, seen: &mut [Seen]) {
        let k = self.centres.rows;
        let size = group_size(k);
        let groups = k.div_ceil(size);
        let rows = match x {
            Rows::Dense(_) => Waiting::Dense(values),
            Rows::Sparse(x) => Waiting::Sparse(slots.iter().map(|s| (x.row(s.row).0, &values[s.span.0..s.span.1])).collect()),
        };
        let mut tops = vec![Top::NONE; slots.len() * groups];
        let mut found = vec![Top::NONE; slots.len()];
        for g in 0..groups {
            let doubted = |s: &Slot| s.own == NOWHERE || memo[s.row * width + 2 + g] <= memo[s.row * width + 1];
            let list: Vec<u32> = (0..slots.len() as u32).filter(|i| doubted(&slots[*i as usize])).collect();
            if list.is_empty() {
                continue;
            }
            let found = &mut found[..list.len()];
            found.fill(Top::NONE);
            let tiles = g * size / WIDE..((g + 1) * size).min(k).div_ceil(WIDE);
            pulp::Arch::new().dispatch(Scan { centres: &self.tiles, tiles, rows: &rows, list: &list, out: Out::Tops(found) });
            for (&i, top) in list.iter().zip(found) {
                tops[i as usize * groups + g] = *top;
            }
        }
        for (slot, tops) in slots.iter().zip(tops.chunks_exact(groups)) {
            let bounds = &mut memo[slot.row * width..(slot.row + 1) * width];
            let to = self.judge(x, slot, values, tops, size, bounds);
            seen[slot.row] = Seen { from: slot.own, to, scale: slot.scale, square: slot.square };
        }
    }

    /// The nearest centre from the scores of the groups that were looked at; renews the bounds.
    #[inline(always)]
    fn judge(&self, x: &Rows, slot: &Slot, values: &[f32], tops: &[Top], size: usize, bounds: &mut [f32]) -> u32 {
        // A score s is off by at most e, so a distance² of |x|² - 2s by 2e, and the difference of two of them by 4e.
        let e = self.tiles.rounding(slot.square.sqrt(), slot.span.1 - slot.span.0);
        let far = |score: f32| slot.square - 2.0 * f64::from(score);
        let looked = |t: &&Top| t.at != Top::NONE.at;
        let stays = slot.own != NOWHERE && tops[slot.own as usize / size].at == Top::NONE.at;
        let (mut to, mut apart) = if stays { (slot.own, slot.apart) } else { (NOWHERE, f64::INFINITY) };
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
        let mut high = apart + 2.0 * e;
        if !apart.is_finite() {
            // Beyond the range of f32 (the fit refuses such rows): every centre, in f64.
            return (0..self.centres.rows as u32)
                .fold((0, f64::INFINITY), |near, c| {
                    let d = self.exact(x, slot, values, c);
                    if d < near.1 { (c, d) } else { near }
                })
                .0;
        }
        if rival <= apart + 4.0 * e {
            let limit = apart + 4.0 * e;
            (to, apart) = if stays { (slot.own, slot.apart) } else { (NOWHERE, f64::INFINITY) };
            for t in tops.iter().filter(looked).filter(|t| far(t.best) <= limit) {
                let first = t.at as usize / size * size;
                for c in first as u32..(first + size).min(self.centres.rows) as u32 {
                    let d = self.exact(x, slot, values, c);
                    if d < apart || (d == apart && c < to) {
                        (to, apart) = (c, d);
                    }
                }
            }
            high = apart;
        }
        if bounds.is_empty() {
            return to;
        }
        bounds[0] = (to + 1) as f32;
        bounds[1] = self.above(high, slot.square);
        for (low, t) in bounds[2..].iter_mut().zip(tops).filter(|(_, t)| t.at != Top::NONE.at) {
            let other = if t.at == to { t.second } else { t.best };
            *low = self.below(far(other) - 2.0 * e, slot.square);
        }
        if stays && to != slot.own {
            let low = &mut bounds[2 + slot.own as usize / size];
            *low = low.min(self.below(slot.apart, slot.square));
        }
        to
    }
}

/// What rows leave behind in each cell; all of it about the shift.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// Sum of the rows of each cell (k×d).
    pub rows: Vec<f64>,
    /// Rows of each cell.
    pub counts: Vec<f64>,
    /// Sum of the rows' squares in each cell.
    pub squares: Vec<f64>,
}

impl Sums {
    /// Sums of no rows, for k cells.
    pub fn zero(k: usize, d: usize) -> Self {
        Self { rows: vec![0.0; k * d], counts: vec![0.0; k], squares: vec![0.0; k] }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        let pairs = [(&mut self.rows, &other.rows), (&mut self.counts, &other.counts), (&mut self.squares, &other.squares)];
        for (a, b) in pairs {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
    }

    /// Moves every row that changed its cell: out of where it was, if anywhere, and into where it is. Each number is added
    /// in the order of the rows, so neither threads nor blocks matter.
    pub fn take(&mut self, frame: Frame, x: &Rows, seen: &[Seen]) {
        let (k, d) = (self.counts.len(), x.cols());
        let events = |s: &Seen| [(s.to, 1.0), (s.from, -1.0)].into_iter().take(if s.from == NOWHERE { 1 } else { 2 });
        let changed = || seen.iter().enumerate().filter(|(_, s)| s.from != s.to);
        let mut starts = vec![0usize; k + 1];
        for (_, s) in changed() {
            for (cell, sign) in events(s) {
                starts[cell as usize + 1] += 1;
                self.counts[cell as usize] += sign;
                self.squares[cell as usize] += sign * s.square;
            }
        }
        for c in 0..k {
            starts[c + 1] += starts[c];
        }
        let mut rows = vec![(0usize, 0f64); starts[k]];
        let mut next = starts.clone();
        for (i, s) in changed() {
            for (cell, sign) in events(s) {
                rows[next[cell as usize]] = (i, sign);
                next[cell as usize] += 1;
            }
        }
        let few = k < 4 * rayon::current_num_threads() && matches!(x, Rows::Dense(_));
        let slab = if few { 128 } else { d };
        self.rows.par_chunks_mut(d).zip(starts.par_windows(2)).for_each(|(sums, span)| {
            let rows = &rows[span[0]..span[1]];
            sums.par_chunks_mut(slab).enumerate().for_each(|(i, sums)| {
                pulp::Arch::new().dispatch(|| add_rows(sums, i * slab, frame, x, seen, rows));
            });
        });
    }
}

/// sums (columns `from..`) += ± rows, as seen.
#[inline(always)]
fn add_rows(sums: &mut [f64], from: usize, frame: Frame, x: &Rows, seen: &[Seen], rows: &[(usize, f64)]) {
    for &(i, sign) in rows {
        let scale = seen[i].scale;
        match x {
            Rows::Dense(x) if frame.shift.is_empty() => {
                for (sum, &v) in sums.iter_mut().zip(&x.row(i)[from..]) {
                    *sum += sign * f64::from(frame.see(v, scale, 0.0));
                }
            }
            Rows::Dense(x) => {
                for ((sum, &v), &s) in sums.iter_mut().zip(&x.row(i)[from..]).zip(&frame.shift[from..]) {
                    *sum += sign * f64::from(frame.see(v, scale, s));
                }
            }
            Rows::Sparse(x) => {
                let (columns, values) = x.row(i);
                for (&j, &v) in columns.iter().zip(values) {
                    sums[j as usize] += sign * f64::from(frame.see(v, scale, 0.0));
                }
            }
        }
    }
}
