//! Loops over f32 in the registers of the machine, inlined into whoever calls them from within a [`pulp::WithSimd`]; [`dot`] and [`axpy`]
//! dispatch for one pair of slices. A sum has one order on one machine.

use pulp::{Arch, Simd, WithSimd};

/// a·b, inlined.
#[inline(always)]
pub(crate) fn dot_in<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(&a[..len]), S::as_simd_f32s(&b[..len]));
    let ((a, a_last), (b, b_last)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [simd.splat_f32s(0.0); 4];
    for (a, b) in a.iter().zip(b) {
        for i in 0..4 {
            sums[i] = simd.mul_add_e_f32s(a[i], b[i], sums[i]);
        }
    }
    for (a, b) in a_last.iter().zip(b_last) {
        sums[0] = simd.mul_add_e_f32s(*a, *b, sums[0]);
    }
    let (even, odd) = (simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>();
    simd.reduce_sum_f32s(simd.add_f32s(even, odd)) + rest
}

/// to ← to + a·from, inlined.
#[inline(always)]
pub(crate) fn axpy_in<S: Simd>(simd: S, to: &mut [f32], a: f32, from: &[f32]) {
    let len = to.len().min(from.len());
    let ((to, to_rest), (from, from_rest)) = (S::as_mut_simd_f32s(&mut to[..len]), S::as_simd_f32s(&from[..len]));
    let by = simd.splat_f32s(a);
    for (to, from) in to.iter_mut().zip(from) {
        *to = simd.mul_add_e_f32s(by, *from, *to);
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to += a * from;
    }
}

/// to ← to + Σ aᵢ·fromᵢ of four slices as long as `to`, one after the other as [`axpy_in`] has them, inlined.
#[inline(always)]
pub(crate) fn axpy4_in<S: Simd>(simd: S, to: &mut [f32], a: [f32; 4], from: [&[f32]; 4]) {
    let len = to.len();
    let (to, to_rest) = S::as_mut_simd_f32s(to);
    let from = from.map(|f| S::as_simd_f32s(&f[..len]));
    let by = a.map(|a| simd.splat_f32s(a));
    let [(p, _), (q, _), (r, _), (s, _)] = from;
    for (to, ((p, q), (r, s))) in to.iter_mut().zip(p.iter().zip(q).zip(r.iter().zip(s))) {
        let sum = simd.mul_add_e_f32s(by[1], *q, simd.mul_add_e_f32s(by[0], *p, *to));
        *to = simd.mul_add_e_f32s(by[3], *s, simd.mul_add_e_f32s(by[2], *r, sum));
    }
    for (i, to) in to_rest.iter_mut().enumerate() {
        for (a, (_, rest)) in a.iter().zip(from) {
            *to += a * rest[i];
        }
    }
}

/// a·b of two slices of one length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    struct Dot<'a>(&'a [f32], &'a [f32]);
    impl WithSimd for Dot<'_> {
        type Output = f32;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            dot_in(simd, self.0, self.1)
        }
    }
    Arch::new().dispatch(Dot(a, b))
}

/// to ← to + a·from.
pub(crate) fn axpy(to: &mut [f32], a: f32, from: &[f32]) {
    struct Axpy<'a>(&'a mut [f32], f32, &'a [f32]);
    impl WithSimd for Axpy<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            axpy_in(simd, self.0, self.1, self.2);
        }
    }
    Arch::new().dispatch(Axpy(to, a, from));
}
