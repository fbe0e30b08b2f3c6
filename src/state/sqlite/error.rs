//! What SQLite reports, as a [`StoreError`].

use sqlx::error::DatabaseError;

use super::StoreError;
pub(super) use crate::state::error::damaged;

/// `SQLITE_FULL`: the disk, a quota of the file or a limit of the database.
const FULL: &str = "13";
/// `SQLITE_IOERR_SHMSIZE`: no room to grow the file beside the log.
const NO_ROOM_BESIDE: &str = "4874";
/// `SQLITE_IOERR_WRITE`. SQLite says `FULL` for a full disk only, so that this
/// is a quota or a limit of file size just as well as a broken disk.
const WRITE_FAILED: &str = "778";
/// `SQLITE_BUSY`.
const BUSY: &str = "5";
/// `SQLITE_CONSTRAINT_UNIQUE`.
const UNIQUE: &str = "2067";

/// What SQLite's own errors mean.
pub(in crate::state) fn fault(database: &dyn DatabaseError) -> StoreError {
    let message = database.message();
    match database.code().as_deref() {
        Some(FULL | NO_ROOM_BESIDE) => StoreError::Full(message.to_owned()),
        Some(WRITE_FAILED) => StoreError::Full(format!("{message} (a full quota, or a broken disk)")),
        Some(BUSY) => StoreError::Held(format!("it has been writing for too long ({message})")),
        _ => StoreError::Broken(message.to_owned()),
    }
}

/// Whether a row was refused because another one has its key.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|database| database.code().as_deref() == Some(UNIQUE))
}
