//! What SQLite's result codes mean to us.
//!
//! The codes are SQLite's extended result codes; the primary code is the low
//! byte (<https://www.sqlite.org/rescode.html>).

use std::time::Duration;

use crate::connector::{Fault, Refusal, Retry};

/// Another process writes: worth a moment's patience.
const BUSY_WAIT: Duration = Duration::from_millis(250);

/// Maps an error of the driver. `doing` says what we were about.
pub(super) fn fault(doing: &str, error: &sqlx::Error) -> Fault {
    let later = |mut fault: Fault, wait| {
        fault.retry = Retry::Later(wait);
        fault
    };
    match error {
        sqlx::Error::Database(database) => {
            let (native, message) = (database.code().unwrap_or_default().into_owned(), database.message());
            match primary(&native) {
                // BUSY, LOCKED
                5 | 6 => later(Fault::external(doing, native, message), BUSY_WAIT),
                // ERROR (a missing table or column), PERM, READONLY, CANTOPEN, SCHEMA, CONSTRAINT, AUTH, RANGE, NOTADB
                1 | 3 | 8 | 14 | 17 | 19 | 23 | 25 | 26 => Fault::user(doing, native, message),
                _ => Fault::external(doing, native, message),
            }
        }
        sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => {
            Fault::external(doing, "", error.to_string())
        }
        _ => Fault::internal(doing, "", error.to_string()),
    }
}

/// The refusal in an error that concerns the record alone: a broken
/// constraint, a value of the wrong type or too big.
pub(super) fn refusal(error: &sqlx::Error) -> Option<Refusal> {
    let database = error.as_database_error()?;
    let native = database.code().unwrap_or_default().into_owned();
    // TOOBIG, CONSTRAINT, MISMATCH
    matches!(primary(&native), 18..=20).then(|| Refusal { native, message: database.message().into(), slot: None })
}

/// Whether another held a lock for longer than we wait.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| matches!(primary(&code), 5 | 6))
}

fn primary(code: &str) -> u32 {
    code.parse::<u32>().unwrap_or(0) & 0xff
}
