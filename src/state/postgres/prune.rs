//! What happened long ago is forgotten, a page at a time, so that nobody waits
//! for it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::codec::{signed, time_text};
use super::{RUNS_KEPT, StoreError};

/// So many rows are looked at in one transaction.
const PAGE: i64 = 10_000;

/// Forgets the oldest events; answers with how many those were, and whether
/// there may be more.
pub(super) async fn events(connection: &mut PgConnection, before: DateTime<Utc>) -> Result<(u64, bool), StoreError> {
    let (last, newest): (Option<i64>, Option<String>) = sqlx::query_as(
        "SELECT max(event), max(at) FROM (SELECT event, at FROM events ORDER BY event LIMIT $1) AS page",
    )
    .bind(PAGE)
    .fetch_one(&mut *connection)
    .await?;
    let (Some(last), Some(newest)) = (last, newest) else { return Ok((0, false)) };
    let before = time_text(before);
    let sql = "DELETE FROM events WHERE event <= $1 AND at < $2";
    let forgotten = sqlx::query(sql).bind(last).bind(&before).execute(connection).await?.rows_affected();
    Ok((forgotten, newest < before && forgotten > 0))
}

/// Forgets the conflicts that came to their end, and the runs.
pub(super) async fn conflicts_and_runs(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let before = time_text(before);
    let conflicts = "DELETE FROM conflicts WHERE status <> 'open' AND at < $1";
    let mut forgotten = sqlx::query(conflicts).bind(&before).execute(&mut *connection).await?.rows_affected();
    let runs = "DELETE FROM runs r USING mappings m WHERE r.mapping = m.mapping AND r.started_at < $1 AND r.run < \
        (SELECT k.run FROM runs k WHERE k.mapping = m.mapping ORDER BY k.run DESC LIMIT 1 OFFSET $2)";
    let kept = signed(RUNS_KEPT as u64 - 1);
    forgotten += sqlx::query(runs).bind(&before).bind(kept).execute(connection).await?.rows_affected();
    Ok(forgotten)
}
