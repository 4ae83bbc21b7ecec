//! Texts of a corpus, wherever they are kept.

/// One text for each row.
pub trait Texts: Sync {
    /// Number of texts.
    fn count(&self) -> usize;
    /// Text `i`.
    ///
    /// # Panics
    /// There is no such text.
    fn text(&self, i: usize) -> &str;
}

impl<S: AsRef<str> + Sync> Texts for Vec<S> {
    fn count(&self) -> usize {
        self.len()
    }
    fn text(&self, i: usize) -> &str {
        self[i].as_ref()
    }
}
