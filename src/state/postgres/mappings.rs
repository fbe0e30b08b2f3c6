//! A mapping's own row: its fence, its counters, its cursors.

use std::time::Duration;

use sqlx::{PgConnection, Row};

use super::codec::{decode_exactly, encode_all, parse_time, side, signed, time_text, unsigned};
use super::damaged;
use super::layout::{LINKS_EACH, STEPS, newest};
use super::lease::{millis, refuse_leased};
use super::{Ahead, Commit, Cursor, Fence, MappingState, RunStatus, StoreError};
use crate::plan::LinkId;
use crate::record::{Both, Side, Value};

/// What every change of a mapping needs of its row.
#[derive(Debug)]
pub(super) struct MappingRow {
    pub mapping: i64,
    pub links: i64,
    last_link: LinkId,
}

impl MappingRow {
    /// Locks the row, extends its lease, and refuses a fence that is not the
    /// newest. Answers also with what the server calls this transaction.
    pub(super) async fn fenced(
        connection: &mut PgConnection,
        fence: &Fence,
        lease: Duration,
    ) -> Result<(MappingRow, String), StoreError> {
        let row: Option<(i64, i64, i64, String)> = sqlx::query_as(
            "UPDATE mappings SET leased_until = clock_timestamp() + $3 * interval '1 millisecond' \
             WHERE name = $1 AND fence = $2 RETURNING mapping, links, last_link, \
             pg_current_xact_id()::text",
        )
        .bind(&fence.mapping)
        .bind(signed(fence.number))
        .bind(millis(lease))
        .fetch_optional(connection)
        .await?;
        let (mapping, links, last_link, number) = row.ok_or(StoreError::Fenced)?;
        Ok((MappingRow { mapping, links, last_link: last_link.max(mapping * LINKS_EACH) }, number))
    }

    /// The newest number given to a link.
    pub(super) fn last_link(&self) -> LinkId {
        self.last_link
    }

    pub(super) fn next_link(&mut self) -> LinkId {
        self.last_link += 1;
        self.last_link
    }

    /// Whether a link of this number can be the mapping's.
    pub(super) fn owns(&self, link: LinkId) -> bool {
        link > self.mapping * LINKS_EACH && link <= self.last_link
    }

    /// Writes the counters back.
    pub(super) async fn save(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query("UPDATE mappings SET links = $1, last_link = $2 WHERE mapping = $3")
            .bind(self.links)
            .bind(self.last_link)
            .bind(self.mapping)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Takes a mapping's work where no other living engine has it: the next fence,
/// and the lease.
pub(super) async fn acquire(
    connection: &mut PgConnection,
    engine: &str,
    holder: &str,
    mapping: &str,
    lease: Duration,
) -> Result<Fence, StoreError> {
    let found: i64 = sqlx::query_scalar("SELECT version FROM layout").fetch_one(&mut *connection).await?;
    let known = newest(&STEPS);
    if found != known {
        return Err(StoreError::Newer { found, known });
    }
    // Asked first, since the row of an engine at work is locked.
    refuse_leased(connection, engine, mapping).await?;
    // A fence of a name that was another mapping's before is void for good.
    let row: Option<(i64, i64)> = sqlx::query_as(
        "INSERT INTO mappings AS m (name, fence, engine, holder, leased_until) \
         VALUES ($1, (SELECT coalesce(max(fence), 0) + 1 FROM mappings), $2, $3, \
         clock_timestamp() + $4 * interval '1 millisecond') \
         ON CONFLICT (name) DO UPDATE SET fence = m.fence + 1, engine = excluded.engine, holder = excluded.holder, \
         leased_until = excluded.leased_until \
         WHERE m.engine IS NULL OR m.engine = excluded.engine OR m.leased_until <= clock_timestamp() \
         RETURNING m.mapping, m.fence",
    )
    .bind(mapping)
    .bind(engine)
    .bind(holder)
    .bind(millis(lease))
    .fetch_optional(&mut *connection)
    .await?;
    let Some((number, fence)) = row else {
        refuse_leased(connection, engine, mapping).await?;
        return Err(StoreError::Held("another process".into()));
    };
    // Only the newest run of a mapping can be without an end.
    sqlx::query(
        "UPDATE runs SET status = $1 WHERE status = $2 AND run = (SELECT max(run) FROM runs WHERE mapping = $3)",
    )
    .bind(RunStatus::Interrupted.name())
    .bind(RunStatus::Running.name())
    .bind(number)
    .execute(connection)
    .await?;
    Ok(Fence { mapping: mapping.to_owned(), number: unsigned(fence)? })
}

pub(super) async fn load(connection: &mut PgConnection, mapping: &str) -> Result<Option<MappingState>, StoreError> {
    // One statement, so that state and cursors are of one moment.
    let rows = sqlx::query(
        "SELECT m.runs, m.source_fingerprint, m.target_fingerprint, m.layouts, m.source_swept, m.target_swept, \
         m.first_sync_begun, m.first_sync_done, c.side, c.low, c.timeline, c.filter, c.ahead, c.open, c.receded, \
         c.known, c.restored \
         FROM mappings m LEFT JOIN cursors c ON c.mapping = m.mapping WHERE m.name = $1 AND m.runs IS NOT NULL",
    )
    .bind(mapping)
    .fetch_all(connection)
    .await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let swept = |text: Option<&str>| text.map(parse_time).transpose();
    let mut state = MappingState {
        runs: unsigned(row.try_get(0)?)?,
        fingerprints: Both::new(row.try_get(1)?, row.try_get(2)?),
        layouts: serde_json::from_str(row.try_get(3)?).map_err(|_| damaged("a field layout"))?,
        cursors: Both::default(),
        swept: Both::new(swept(row.try_get(4)?)?, swept(row.try_get(5)?)?),
        first_sync_begun: row.try_get(6)?,
        first_sync_done: row.try_get(7)?,
    };
    for row in &rows {
        if let Some(word) = row.try_get::<Option<&str>, _>(8)? {
            let mark = |column: usize| -> Result<Option<Value>, StoreError> {
                let bytes: Option<&[u8]> = row.try_get(column)?;
                bytes.map(|bytes| decode_exactly(bytes, "a cursor").map(|[mark]| mark)).transpose()
            };
            let open: Option<&str> = row.try_get(13)?;
            let open = open.map(serde_json::from_str).transpose().map_err(|_| damaged("a cursor"))?;
            state.cursors[side(word)?] = Some(Cursor {
                low: mark(9)?,
                known: row.try_get(15)?,
                timeline: row.try_get(10)?,
                filter: row.try_get(11)?,
                ahead: mark(12)?.zip(open).map(|(mark, open)| Ahead { mark, open }),
                receded: mark(14)?,
                restored: row.try_get(16)?,
            });
        }
    }
    Ok(Some(state))
}

/// Stores what a commit says of the mapping as a whole.
pub(super) async fn store(
    connection: &mut PgConnection,
    mapping: &MappingRow,
    commit: &Commit,
) -> Result<(), StoreError> {
    if let Some(state) = &commit.mapping {
        sqlx::query(
            "UPDATE mappings SET runs = $1, source_fingerprint = $2, target_fingerprint = $3, layouts = $4, \
             source_swept = $5, target_swept = $6, first_sync_begun = $7, first_sync_done = $8 WHERE mapping = $9",
        )
        .bind(signed(state.runs))
        .bind(&state.fingerprints.source)
        .bind(&state.fingerprints.target)
        .bind(serde_json::to_string(&state.layouts).expect("layouts are JSON"))
        .bind(state.swept.source.map(time_text))
        .bind(state.swept.target.map(time_text))
        .bind(state.first_sync_begun)
        .bind(state.first_sync_done)
        .bind(mapping.mapping)
        .execute(&mut *connection)
        .await?;
        forget_cursors(connection, mapping.mapping).await?;
    } else {
        sqlx::query("UPDATE mappings SET runs = 0 WHERE mapping = $1 AND runs IS NULL")
            .bind(mapping.mapping)
            .execute(&mut *connection)
            .await?;
    }
    for side in Side::BOTH {
        let kept = commit.mapping.as_ref().and_then(|state| state.cursors[side].as_ref());
        let Some(cursor) = commit.cursors[side].as_ref().or(kept) else { continue };
        let open = cursor.ahead.as_ref().map(|ahead| serde_json::to_string(&ahead.open).expect("names are JSON"));
        sqlx::query(
            "INSERT INTO cursors (mapping, side, low, known, timeline, filter, ahead, open, receded, restored) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (mapping, side) DO UPDATE SET \
             low = excluded.low, known = excluded.known, timeline = excluded.timeline, filter = excluded.filter, \
             ahead = excluded.ahead, open = excluded.open, receded = excluded.receded, restored = excluded.restored",
        )
        .bind(mapping.mapping)
        .bind(side.name())
        .bind(cursor.low.as_ref().map(|low| encode_all([low])))
        .bind(&cursor.known)
        .bind(&cursor.timeline)
        .bind(&cursor.filter)
        .bind(cursor.ahead.as_ref().map(|ahead| encode_all([&ahead.mark])))
        .bind(open)
        .bind(cursor.receded.as_ref().map(|receded| encode_all([receded])))
        .bind(cursor.restored)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn forget_cursors(connection: &mut PgConnection, mapping: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM cursors WHERE mapping = $1").bind(mapping).execute(connection).await?;
    Ok(())
}

pub(super) async fn reset(
    connection: &mut PgConnection,
    engine: &str,
    mapping: &str,
    links: bool,
) -> Result<(), StoreError> {
    refuse_leased(connection, engine, mapping).await?;
    let number: Option<i64> = sqlx::query_scalar(
        "UPDATE mappings SET fence = fence + 1, engine = NULL, holder = NULL, leased_until = NULL \
         WHERE name = $1 RETURNING mapping",
    )
    .bind(mapping)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(number) = number else { return Ok(()) };
    forget_cursors(connection, number).await?;
    if !links {
        return Ok(());
    }
    for sql in [
        "DELETE FROM links AS l WHERE link BETWEEN $1::bigint * $2::bigint AND ($1::bigint + 1) * $2::bigint - 1 AND NOT EXISTS \
         (SELECT 1 FROM intents i WHERE i.mapping = $1 AND l.link BETWEEN i.first_create AND i.last_create)",
        "DELETE FROM spooled WHERE link BETWEEN $1::bigint * $2::bigint AND ($1::bigint + 1) * $2::bigint - 1",
        "DELETE FROM made WHERE first BETWEEN $1::bigint * $2::bigint AND ($1::bigint + 1) * $2::bigint - 1",
        "DELETE FROM conflicts WHERE mapping = $1::bigint AND $2::bigint > 0",
        "DELETE FROM parked WHERE mapping = $1::bigint AND $2::bigint > 0",
        "DELETE FROM written WHERE mapping = $1::bigint AND $2::bigint > 0",
        "UPDATE mappings SET links = 0, source_fingerprint = '', target_fingerprint = '', source_swept = NULL, \
         target_swept = NULL, first_sync_begun = false, first_sync_done = false \
         WHERE mapping = $1::bigint AND $2::bigint > 0",
    ] {
        sqlx::query(sql).bind(number).bind(LINKS_EACH).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn rename(
    connection: &mut PgConnection,
    engine: &str,
    former: &str,
    name: &str,
) -> Result<(), StoreError> {
    let find = "SELECT m.mapping, m.links > 0 OR EXISTS (SELECT 1 FROM intents i WHERE i.mapping = m.mapping) \
        FROM mappings m WHERE m.name = $1 FOR UPDATE";
    refuse_leased(connection, engine, former).await?;
    refuse_leased(connection, engine, name).await?;
    let found: Option<(i64, bool)> = sqlx::query_as(find).bind(former).fetch_optional(&mut *connection).await?;
    let Some((number, _)) = found else { return Ok(()) };
    let there: Option<(i64, bool)> = sqlx::query_as(find).bind(name).fetch_optional(&mut *connection).await?;
    if let Some((empty, in_use)) = there {
        if in_use {
            return Err(StoreError::name_in_use(name));
        }
        forget_cursors(connection, empty).await?;
        for sql in [
            "UPDATE runs SET mapping = $2 WHERE mapping = $1",
            "UPDATE events SET mapping = $2 WHERE mapping = $1",
            "DELETE FROM parked WHERE mapping = $1::bigint AND $2::bigint > 0",
            "DELETE FROM written WHERE mapping = $1::bigint AND $2::bigint > 0",
            "DELETE FROM conflicts WHERE mapping = $1::bigint AND $2::bigint > 0",
            "DELETE FROM mappings WHERE mapping = $1::bigint AND $2::bigint > 0",
        ] {
            sqlx::query(sql).bind(empty).bind(number).execute(&mut *connection).await?;
        }
    }
    sqlx::query(
        "UPDATE mappings SET name = $1, fence = fence + 1, engine = NULL, holder = NULL, leased_until = NULL \
         WHERE mapping = $2",
    )
    .bind(name)
    .bind(number)
    .execute(connection)
    .await?;
    Ok(())
}
