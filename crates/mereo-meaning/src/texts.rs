//! The texts of a corpus, row for row.

/// The texts of a corpus: text i belongs to row i of its codes.
pub trait Texts: Sync {
    /// Number of texts.
    fn count(&self) -> usize;

    /// Text `i`.
    ///
    /// # Panics
    /// There is no such text.
    fn text(&self, i: usize) -> &str;
}

impl<T: Texts + ?Sized> Texts for &T {
    fn count(&self) -> usize {
        (**self).count()
    }

    fn text(&self, i: usize) -> &str {
        (**self).text(i)
    }
}

impl<T: AsRef<str> + Sync> Texts for [T] {
    fn count(&self) -> usize {
        self.len()
    }

    fn text(&self, i: usize) -> &str {
        self[i].as_ref()
    }
}

impl<T: AsRef<str> + Sync> Texts for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }

    fn text(&self, i: usize) -> &str {
        self[i].as_ref()
    }
}

impl<T: AsRef<str> + Sync, const N: usize> Texts for [T; N] {
    fn count(&self) -> usize {
        N
    }

    fn text(&self, i: usize) -> &str {
        self[i].as_ref()
    }
}
