//! What PostgreSQL reports, as a [`StoreError`]. The codes are those of
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::StoreError;

const UNIQUE: &str = "23505";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const QUERY_CANCELED: &str = "57014";
const IDLE_IN_TRANSACTION: &str = "25P03";

/// What the server's own errors mean.
pub(in crate::state) fn fault(database: &PgDatabaseError) -> StoreError {
    let message = DatabaseError::message(database).to_owned();
    match database.code() {
        LOCK_NOT_AVAILABLE => StoreError::Held(format!("it has been writing for too long ({message})")),
        QUERY_CANCELED => StoreError::Unreachable(message),
        // This engine stood still for so long that the server undid its step.
        IDLE_IN_TRANSACTION => StoreError::Unreachable(message),
        code => match &code[..2] {
            // Connections, a server that starts or ends, too many clients.
            "08" | "57" => StoreError::Unreachable(message),
            // A way in that is refused: the user's to mend, and nothing is damaged.
            "28" | "3D" => StoreError::Unreachable(message),
            "53" if code == "53300" => StoreError::Unreachable(message),
            "53" => StoreError::Full(message),
            _ => StoreError::Broken(message),
        },
    }
}

/// Whether a row was refused because another one has its key.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|database| database.code().as_deref() == Some(UNIQUE))
}
