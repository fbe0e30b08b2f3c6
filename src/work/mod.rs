//! When and where runs happen.
//!
//! Owns the running of many mappings in one process: once, or whenever they
//! are due, each on a task of its own, so that one that panics does not end the
//! others. Knows nothing of records. Start reading at [`serve`].

mod board;
mod once;
mod service;
mod timetable;

pub use board::{Job, Place, idle};
pub use once::{broke_off, run_once};
pub use service::{Runner, serve};
pub use timetable::{History, REMEMBERED, Timetable};

#[cfg(test)]
mod tests;
