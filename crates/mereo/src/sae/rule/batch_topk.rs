//! BatchTopK: the B·k largest z of a batch of B rows are alive, so that a row may have more of them or fewer (Bussmann et al. 2024, arXiv
//! 2412.06410). At inference a latent is alive above a threshold: the running mean (.999) of the least code that was kept. Several workers each
//! choose among their own rows of a batch.

use super::Alive;

pub(super) fn alive(rows: &[Vec<(u32, f32)>], k: usize) -> Vec<Vec<Alive>> {
    let mut all: Vec<f32> = rows.iter().flatten().map(|(_, z)| *z).filter(|z| *z > 0.0).collect();
    let most = rows.len() * k;
    let mut left = usize::MAX;
    let mut least = f32::MIN_POSITIVE;
    if all.len() > most {
        let (above, kth, _) = all.select_nth_unstable_by(most - 1, |a, b| b.total_cmp(a));
        least = *kth;
        // Of those that are just as large as the last one, the first in order are kept.
        left = most - above.iter().filter(|z| **z > least).count();
    }
    rows.iter()
        .map(|row| {
            let kept = row.iter().filter(|(_, z)| {
                let tie = *z == least && left < usize::MAX;
                let keep = *z > least || (*z == least && left > 0);
                left -= usize::from(tie && keep);
                keep
            });
            kept.map(|(latent, z)| Alive { latent: *latent, z: *z, h: *z }).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_batch_may_have_and_no_more() {
        let rows = [vec![(0, 3.0), (1, 1.0), (4, 2.0)], vec![(2, 1.0), (3, 1.0)], vec![(1, -1.0)]];
        let of = |k| alive(&rows, k).iter().map(|r| r.iter().map(|a| a.latent).collect()).collect::<Vec<Vec<u32>>>();
        assert_eq!(of(1), [vec![0, 1, 4], vec![], vec![]]);
        assert_eq!(of(2), [vec![0, 1, 4], vec![2, 3], vec![]]);
    }
}
