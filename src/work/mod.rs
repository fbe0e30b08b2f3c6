//! When and where runs happen.
//!
//! Owns the running of a mapping on a task of its own, so that one that panics
//! does not end the others. Knows nothing of records.

mod once;

pub use once::run_once;
