//! What can go wrong with the state itself.

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::postgres::PgDatabaseError;

use super::{Answered, Conflict, IntentsId, postgres, sqlite};
use crate::plan::{Link, LinkId};
use crate::record::{Both, Key, Side};

/// The state could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Another engine works on this state; the text says which.
    Held(String),
    /// Another living engine has the mapping's lease.
    Leased(Box<Leased>),
    /// The server of the state does not answer, or the connection to it broke.
    /// Nothing was changed.
    Unreachable(String),
    /// The connection broke while a change was made to last: it may stand or
    /// not. What is stored tells.
    Unanswered(String),
    /// The fence is not the newest: another engine took the mapping over.
    Fenced,
    /// The disk is full, or its limit reached. Nothing was changed.
    Full(String),
    /// Another file has taken the place of the state while it was open.
    Replaced(String),
    /// The state was written by a newer engine.
    Newer { found: i64, known: i64 },
    /// A key has a link already, and links are one to one. Nothing was changed.
    LinkedTwice { side: Side, key: String },
    /// It cannot be opened, or is damaged.
    Broken(String),
    /// A copy of it cannot be written.
    Unwritten(String),
}

/// Who works on a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    pub mapping: String,
    /// The engine, in words.
    pub by: String,
    /// Until this time at least, by the clock of the state's server.
    pub until: DateTime<Utc>,
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Held(by) => write!(f, "another engine works on this state: {by}"),
            StoreError::Leased(leased) => {
                let Leased { mapping, by, until } = &**leased;
                let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
                write!(f, "another engine works on `{mapping}`: {by}, until {until} at least")
            }
            StoreError::Unreachable(detail) => write!(f, "the state cannot be reached: {detail}"),
            StoreError::Unanswered(detail) => {
                write!(f, "the state did not say whether it has stored the last step, and the next run looks: {detail}")
            }
            StoreError::Fenced => f.write_str("another engine has taken this mapping over"),
            StoreError::Full(detail) => write!(f, "no room left for the state: {detail}"),
            StoreError::Replaced(path) => write!(
                f,
                "another file has taken the place of `{path}` while it was open, or it was removed: stop the engine, \
                 look that the right state is there, and start it again"
            ),
            StoreError::Newer { found, known } => {
                write!(f, "the state has layout {found}, and this engine knows {known}: use a newer engine")
            }
            StoreError::LinkedTwice { side, key } => {
                write!(f, "two records claim the {side} key {key}, and links are one to one")
            }
            StoreError::Broken(detail) => write!(f, "the state cannot be used: {detail}"),
            StoreError::Unwritten(detail) => write!(f, "the copy cannot be written: {detail}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What a run must never ask for. The words are the same in every store.
impl StoreError {
    pub(super) fn linked_twice(side: Side, key: &str) -> StoreError {
        StoreError::LinkedTwice { side, key: key.to_owned() }
    }

    pub(super) fn name_in_use(name: &str) -> StoreError {
        StoreError::Broken(format!("`{name}` has links of its own, and cannot take over those of its former name"))
    }

    pub(super) fn no_link(id: LinkId) -> StoreError {
        StoreError::Broken(format!("there is no link {id}"))
    }

    pub(super) fn no_link_for_conflict(conflict: &Conflict) -> StoreError {
        let key = conflict.keys.source.as_str();
        StoreError::Broken(format!("a conflict is of no link: there is none for the source key {key}"))
    }

    pub(super) fn no_conflict(id: i64) -> StoreError {
        StoreError::Broken(format!("there is no conflict {id}"))
    }

    pub(super) fn no_sweep(side: Side) -> StoreError {
        StoreError::Broken(format!("no sweep of the {side} was begun by this engine"))
    }

    pub(super) fn not_open(intents: IntentsId) -> StoreError {
        StoreError::Broken(format!("intents {intents} are not open"))
    }

    pub(super) fn no_create(answered: &Answered) -> StoreError {
        let Answered { intents, not_made } = answered;
        StoreError::Broken(format!("intents {intents} have fewer creates than the answer speaks of: {not_made:?}"))
    }

    pub(super) fn keyless(link: &Link) -> StoreError {
        let Both { source, target } = link.keys.as_ref().map(Key::as_str);
        StoreError::Broken(format!("a link needs a key on both sides: {source} and {target}"))
    }

    pub(super) fn without_key(intents: IntentsId) -> StoreError {
        StoreError::Broken(format!("a create of intents {intents} cannot become a link as recorded: it has no key yet"))
    }
}

/// The stored bytes or words are none that this engine writes.
pub(in crate::state) fn damaged(what: &str) -> StoreError {
    StoreError::Broken(format!("{what} of the state cannot be read: it is damaged or was changed by hand"))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        match error.as_database_error() {
            Some(database) => match database.try_downcast_ref::<PgDatabaseError>() {
                Some(database) => postgres::fault(database),
                None => sqlite::fault(database),
            },
            None if is_of_the_way(&error) => StoreError::Unreachable(error.to_string()),
            None => StoreError::Broken(error.to_string()),
        }
    }
}

/// The way to a server failed, not what was asked of it.
pub(super) fn is_of_the_way(error: &sqlx::Error) -> bool {
    use sqlx::Error;
    matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::PoolTimedOut | Error::PoolClosed)
}
