//! What everything after the fit needs of a fitted model: [`Model`], the [`Codes`] it writes and what it has [`Known`].

use crate::error::{Error, Result};
use crate::linalg;
use crate::mat::{Csr, Mat, Rows};
use crate::missing::Missing;
use crate::store::Bag;

/// A fitted model: k atoms in d dimensions, a way in (encode) and a way back (decode).
pub trait Model: Send + Sync {
    /// The short name of the method that made it, as on the command line: `pca`, `vq`, `nmf`.
    fn method(&self) -> &'static str;
    /// The atoms (k × d): axes, codewords, parts.
    fn atoms(&self) -> &Mat;
    /// Weights of each row of `x` on the atoms (n × k). An error if `x` has other than d columns.
    fn encode(&self, x: &Rows) -> Result<Codes>;
    /// Rows rebuilt from codes (n × d).
    fn decode(&self, z: &Codes) -> Result<Mat>;
    /// Rows rebuilt from the codes of the rows `x`, in their units (n × d): as [`Model::decode`], but for a model that takes off each row what
    /// only that row knows, and puts it back here.
    ///
    /// # Errors
    /// Codes of another width; where rows are needed, another number of them.
    fn decode_like(&self, z: &Codes, x: &Rows) -> Result<Mat> {
        let _ = x;
        self.decode(z)
    }
    /// Codes with k atoms alive on a row at most, instead of as many as the model was fitted with; `None` if it chooses them by no such number.
    fn encode_at(&self, _x: &Rows, _k: usize) -> Result<Option<Codes>> {
        Ok(None)
    }
    /// What rows are multiplied by to encode them (k × d), if that is how.
    fn encoder(&self) -> Option<&Mat> {
        None
    }
    /// Ends of the nested prefixes of atoms that rebuild a row each (Matryoshka), the last of which is k; empty if there are none.
    fn prefixes(&self) -> &[usize] {
        &[]
    }
    /// Which entries of rows it takes for unknown: [`Model::encode`] looks at the others alone.
    fn missing(&self) -> Missing {
        Missing::None
    }
    /// What each atom was to the rows of the fit, if the model remembers that.
    fn known(&self) -> Option<Known> {
        None
    }
    /// Writes all that is needed to load the model again.
    fn save(&self, bag: &mut Bag);
}

/// What each atom was to the rows of the fit.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// Share of the rows' variance that it explains (k); of their mean square, where no mean was taken off.
    Variance(Vec<f64>),
    /// Share of the rows that were its own (k).
    Rows(Vec<f64>),
}

/// Codes of n rows on k atoms.
#[derive(Debug, Clone, PartialEq)]
pub enum Codes {
    /// Every weight is written down (n × k).
    Dense(Mat),
    /// Only a few weights of a row differ from zero (n × k).
    Sparse(Csr),
}

impl Codes {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense(z) => z.rows,
            Self::Sparse(z) => z.rows,
        }
    }
    /// Number of atoms.
    pub fn cols(&self) -> usize {
        match self {
            Self::Dense(z) => z.cols,
            Self::Sparse(z) => z.cols,
        }
    }
    /// Number of codes that differ from 0, of all rows together.
    pub fn alive(&self) -> usize {
        let values = match self {
            Self::Dense(z) => &z.data,
            Self::Sparse(z) => &z.values,
        };
        values.iter().filter(|v| **v != 0.0).count()
    }
    /// The codes as rows of k columns.
    pub fn view(&self) -> Rows<'_> {
        match self {
            Self::Dense(z) => z.view(),
            Self::Sparse(z) => z.view(),
        }
    }
    /// The codes as a dense matrix (n × k), copied.
    pub fn to_mat(&self) -> Mat {
        self.view().to_mat()
    }
    /// codes · atoms (n × d): the superposition that every linear decoder starts from.
    pub fn times(&self, atoms: &Mat) -> Result<Mat> {
        if self.cols() != atoms.rows {
            return Err(Error::data(format!("codes of {} columns don't fit a model of {} atoms", self.cols(), atoms.rows)));
        }
        Ok(linalg::rows_times(&self.view(), atoms))
    }
}

/// An error that says both widths unless `x` has `cols` columns.
pub fn check_width(x: &Rows, cols: usize) -> Result<()> {
    if x.cols() == cols {
        return Ok(());
    }
    Err(Error::data(format!(
        "the data has {} columns, the model was fitted on {cols}; give it the same columns in the same order",
        x.cols()
    )))
}
