//! Loops over f32 in lanes of a fixed number, without fused operations, so that a sum has the same bits whatever the machine. They are inlined into whoever calls
//! them and compiled for its vectors: call them from within a [`pulp::WithSimd`], or by [`dot`] and [`axpy`] for one pair of slices.

use pulp::{Arch, Simd, WithSimd};

/// Sums in flight.
const LANES: usize = 32;

/// a·b, inlined.
#[inline(always)]
pub(crate) fn dot_in(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((s, a), b) in sums.iter_mut().zip(a).zip(b) {
            *s += a * b;
        }
    }
    for ((s, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *s += a * b;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            sums[i] += sums[i + width];
        }
    }
    sums[0]
}

/// to ← to + a·from, inlined.
#[inline(always)]
pub(crate) fn axpy_in(to: &mut [f32], a: f32, from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += a * from;
    }
}

/// a·b of two slices of one length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    struct Dot<'a>(&'a [f32], &'a [f32]);
    impl WithSimd for Dot<'_> {
        type Output = f32;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> f32 {
            dot_in(self.0, self.1)
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
        fn with_simd<S: Simd>(self, _: S) {
            axpy_in(self.0, self.1, self.2);
        }
    }
    Arch::new().dispatch(Axpy(to, a, from));
}
