//! What happened long ago is forgotten, a page at a time, so that nobody waits
//! for it.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::codec::{signed, time_text};
use super::{RUNS_KEPT, StoreError};

/// So many rows are looked at in one transaction.
const PAGE: i64 = 10_000;

/// The last event of the first page, and when that was.
pub(super) const FIRST_EVENTS: &str =
    "SELECT max(event), max(at) FROM (SELECT event, at FROM events ORDER BY event LIMIT ?1)";
pub(super) const EVENTS: &str = "DELETE FROM events WHERE event <= ?1 AND at < ?2";

pub(super) const CONFLICTS: &str = "DELETE FROM conflicts WHERE status <> 'open' AND at < ?1";

/// Runs that are older than a time, and than the newest so many of their
/// mapping.
pub(super) const RUNS: &str = "DELETE FROM runs WHERE mapping = ?1 AND started_at < ?2 AND run < \
    (SELECT run FROM runs WHERE mapping = ?1 ORDER BY run DESC LIMIT 1 OFFSET ?3)";

/// Forgets the oldest events; answers with how many those were, and whether
/// there may be more.
pub(super) async fn events(
    connection: &mut SqliteConnection,
    before: DateTime<Utc>,
) -> Result<(u64, bool), StoreError> {
    let (last, newest): (Option<i64>, Option<String>) =
        sqlx::query_as(FIRST_EVENTS).bind(PAGE).fetch_one(&mut *connection).await?;
    let (Some(last), Some(newest)) = (last, newest) else { return Ok((0, false)) };
    let before = time_text(before);
    let forgotten = sqlx::query(EVENTS).bind(last).bind(&before).execute(connection).await?.rows_affected();
    Ok((forgotten, newest < before && forgotten > 0))
}

/// Forgets the conflicts that came to their end, and the runs.
pub(super) async fn conflicts_and_runs(
    connection: &mut SqliteConnection,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let before = time_text(before);
    let mut forgotten = sqlx::query(CONFLICTS).bind(&before).execute(&mut *connection).await?.rows_affected();
    let mappings: Vec<i64> = sqlx::query_scalar("SELECT mapping FROM mappings").fetch_all(&mut *connection).await?;
    let kept = signed(RUNS_KEPT as u64 - 1);
    for mapping in mappings {
        let runs = sqlx::query(RUNS).bind(mapping).bind(&before).bind(kept).execute(&mut *connection).await?;
        forgotten += runs.rows_affected();
    }
    Ok(forgotten)
}
