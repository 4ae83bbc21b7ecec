//! Self-contained HTML reports of mereo models.
