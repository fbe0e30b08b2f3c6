//! SQL databases: tables and views as objects, in batches.
//!
//! Owns one connector for each dialect. What they share lies here: the
//! settings (`config`), how names are written and found (`describe`), the
//! text of statements (`statement`, the only place where SQL is put together
//! and vouched for), listings (`read`) and the grouping of changes (`write`).
//! A dialect's folder holds what differs: types, catalogs, locks, errors.
//! Start reading at [`SqlSettings`], then at a dialect's `mod.rs`.

mod config;
mod describe;
mod postgres;
mod read;
mod sqlite;
mod statement;
mod write;

pub use config::SqlSettings;
pub use postgres::{connect_postgres, settle_tls};
pub(super) use sqlite::read_values;
pub use sqlite::{connect_sqlite, sqlite_file};
pub(super) use statement::safe;
