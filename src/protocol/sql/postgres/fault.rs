//! What PostgreSQL's SQLSTATEs mean to us
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use std::time::Duration;

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use super::tls;
use crate::connector::{Fault, Refusal, Retry};

/// What a server that is full or starting needs at least.
const RECOVERY_WAIT: Duration = Duration::from_secs(1);

/// A statement that took longer than it may, or was canceled by somebody.
const CANCELED: &str = "57014";
/// A lock that another held for longer than we wait.
const LOCKED: &str = "55P03";
/// We lack a right.
const DENIED: &str = "42501";
const LIMIT: &str = "; `timeout` of the connection says how long it may take";

/// Nothing came in time.
pub(super) fn late(doing: &str, timeout: Duration) -> Fault {
    Fault::external(doing, "", format!("no answer within {} s{LIMIT}", timeout.as_secs_f64()))
}

/// The same, as an error of the driver's.
pub(super) fn silence(patience: Duration) -> sqlx::Error {
    let words = format!("no answer within {} s{LIMIT}", patience.as_secs_f64());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, words))
}

/// Maps an error of the driver. `doing` says what we were about.
pub(super) fn fault(doing: &str, error: &sqlx::Error) -> Fault {
    if let Some(fault) = tls::fault(doing, error) {
        return fault;
    }
    match error {
        sqlx::Error::Database(database) => {
            let native = database.code().unwrap_or_default().into_owned();
            let mut message = words(error);
            if native == CANCELED || native == LOCKED {
                message.push_str(LIMIT);
            }
            let class = native.get(..2).unwrap_or_default();
            let mut fault = match class {
                // feature not supported, values, constraints, read-only, authorization, no such database or
                // schema, rights and names, limits
                "0A" | "22" | "23" | "25" | "28" | "3D" | "3F" | "42" | "44" | "54" | "P0" => {
                    Fault::user(doing, native.clone(), message)
                }
                _ => Fault::external(doing, native.clone(), message),
            };
            // out of resources, operator intervention (shutdown, starting up)
            if class == "53" || (class == "57" && native != CANCELED) {
                fault.retry = Retry::Later(RECOVERY_WAIT);
            }
            fault
        }
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Fault::external(doing, "", error.to_string()),
        sqlx::Error::Configuration(_) => Fault::user(doing, "", error.to_string()),
        _ => Fault::internal(doing, "", error.to_string()),
    }
}

/// Maps an error of what takes these rights (`SELECT`) on a table.
pub(super) fn fault_on(doing: &str, rights: &str, table: &str, error: &sqlx::Error) -> Fault {
    let fault = fault(doing, error);
    let lacks = (fault.native == DENIED).then(|| format!("{rights} ON {table}"));
    Fault { lacks, ..fault }
}

/// The refusal in an error that concerns single records: values, constraints,
/// what a trigger raised, a view's or a policy's check.
pub(super) fn refusal(error: &sqlx::Error, has_policies: bool) -> Option<Refusal> {
    let database = error.as_database_error()?;
    let native = database.code().unwrap_or_default().into_owned();
    let of_the_record = match native.get(..2)? {
        "22" | "23" | "44" | "P0" | "54" => true,
        "42" => has_policies && native == DENIED,
        _ => false,
    };
    of_the_record.then(|| Refusal { native, message: words(error), slot: None })
}

/// The column an error names.
pub(super) fn column(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.column().map(str::to_owned)
}

/// Whether an answer to COMMIT says that nothing is in effect: a constraint, a
/// conflict of transactions. Any other answer leaves it open (a server that
/// shuts down while it waits for its standby has committed all the same).
pub(super) fn was_rolled_back(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["23", "25", "40", "44"].contains(&code.get(..2).unwrap_or_default()) && code != "40003")
}

/// The database's words: message, detail and hint.
fn words(error: &sqlx::Error) -> String {
    let Some(database) = error.as_database_error() else { return error.to_string() };
    let mut words = database.message().to_owned();
    if let Some(more) = database.try_downcast_ref::<PgDatabaseError>() {
        for part in [more.detail(), more.hint()].into_iter().flatten() {
            words.push_str("; ");
            words.push_str(part);
        }
        if let Some(PgErrorPosition::Internal { query, .. }) = more.position() {
            words.push_str(" in ");
            words.push_str(query);
        }
    }
    words
}
