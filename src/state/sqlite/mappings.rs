//! A mapping's own row: its fence, its counters, its cursors.

use sqlx::{Row, SqliteConnection};

use super::codec::{decode_exactly, encode_all, parse_time, side, signed, time_text, unsigned};
use super::error::damaged;
use super::layout::LINKS_EACH;
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
    /// Reads the row, and refuses a fence that is not the newest.
    pub(super) async fn fenced(connection: &mut SqliteConnection, fence: &Fence) -> Result<MappingRow, StoreError> {
        let row: Option<(i64, i64, i64)> =
            sqlx::query_as("SELECT mapping, links, last_link FROM mappings WHERE name = ? AND fence = ?")
                .bind(&fence.mapping)
                .bind(signed(fence.number))
                .fetch_optional(connection)
                .await?;
        let (mapping, links, last_link) = row.ok_or(StoreError::Fenced)?;
        Ok(MappingRow { mapping, links, last_link: last_link.max(mapping * LINKS_EACH) })
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
    pub(super) async fn save(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query("UPDATE mappings SET links = ?, last_link = ? WHERE mapping = ?")
            .bind(self.links)
            .bind(self.last_link)
            .bind(self.mapping)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Takes a mapping's work: the next fence.
pub(super) async fn acquire(connection: &mut SqliteConnection, mapping: &str) -> Result<Fence, StoreError> {
    let (mapping_number, number): (i64, i64) = sqlx::query_as(
        "INSERT INTO mappings (name, fence) VALUES (?, 1) \
         ON CONFLICT (name) DO UPDATE SET fence = fence + 1 RETURNING mapping, fence",
    )
    .bind(mapping)
    .fetch_one(&mut *connection)
    .await?;
    // Only the newest run of a mapping can be without an end.
    sqlx::query("UPDATE runs SET status = ? WHERE status = ? AND run = (SELECT max(run) FROM runs WHERE mapping = ?)")
        .bind(RunStatus::Interrupted.name())
        .bind(RunStatus::Running.name())
        .bind(mapping_number)
        .execute(connection)
        .await?;
    Ok(Fence { mapping: mapping.to_owned(), number: unsigned(number)? })
}

pub(super) async fn load(connection: &mut SqliteConnection, mapping: &str) -> Result<Option<MappingState>, StoreError> {
    // One statement, so that state and cursors are of one moment.
    let rows = sqlx::query(
        "SELECT m.runs, m.source_fingerprint, m.target_fingerprint, m.layouts, m.source_swept, m.target_swept, \
         m.first_sync_begun, m.first_sync_done, c.side, c.low, c.timeline, c.filter, k.ahead, k.open, k.receded, \
         k.known, k.restored \
         FROM mappings m LEFT JOIN cursors c ON c.mapping = m.mapping \
         LEFT JOIN marks k ON k.mapping = c.mapping AND k.side = c.side WHERE m.name = ? AND m.runs IS NOT NULL",
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
                restored: row.try_get::<Option<bool>, _>(16)?.unwrap_or_default(),
            });
        }
    }
    Ok(Some(state))
}

/// Stores what a commit says of the mapping as a whole.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    mapping: &MappingRow,
    commit: &Commit,
) -> Result<(), StoreError> {
    if let Some(state) = &commit.mapping {
        sqlx::query(
            "UPDATE mappings SET runs = ?, source_fingerprint = ?, target_fingerprint = ?, layouts = ?, \
             source_swept = ?, target_swept = ?, first_sync_begun = ?, first_sync_done = ? WHERE mapping = ?",
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
        sqlx::query("UPDATE mappings SET runs = 0 WHERE mapping = ? AND runs IS NULL")
            .bind(mapping.mapping)
            .execute(&mut *connection)
            .await?;
    }
    for side in Side::BOTH {
        let kept = commit.mapping.as_ref().and_then(|state| state.cursors[side].as_ref());
        if let Some(cursor) = commit.cursors[side].as_ref().or(kept) {
            sqlx::query("INSERT OR REPLACE INTO cursors (mapping, side, low, timeline, filter) VALUES (?, ?, ?, ?, ?)")
                .bind(mapping.mapping)
                .bind(side.name())
                .bind(cursor.low.as_ref().map(|low| encode_all([low])))
                .bind(&cursor.timeline)
                .bind(&cursor.filter)
                .execute(&mut *connection)
                .await?;
            store_marks(connection, mapping.mapping, side, cursor).await?;
        }
    }
    Ok(())
}

async fn store_marks(
    connection: &mut SqliteConnection,
    mapping: i64,
    side: Side,
    cursor: &Cursor,
) -> Result<(), StoreError> {
    if cursor.ahead.is_none() && cursor.receded.is_none() && cursor.known.is_none() && !cursor.restored {
        sqlx::query("DELETE FROM marks WHERE mapping = ? AND side = ?")
            .bind(mapping)
            .bind(side.name())
            .execute(connection)
            .await?;
        return Ok(());
    }
    let open = cursor.ahead.as_ref().map(|ahead| serde_json::to_string(&ahead.open).expect("names are JSON"));
    sqlx::query(
        "INSERT OR REPLACE INTO marks (mapping, side, ahead, open, receded, known, restored) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(mapping)
    .bind(side.name())
    .bind(cursor.ahead.as_ref().map(|ahead| encode_all([&ahead.mark])))
    .bind(open)
    .bind(cursor.receded.as_ref().map(|receded| encode_all([receded])))
    .bind(&cursor.known)
    .bind(cursor.restored)
    .execute(connection)
    .await?;
    Ok(())
}

async fn forget_cursors(connection: &mut SqliteConnection, mapping: i64) -> Result<(), StoreError> {
    for sql in ["DELETE FROM cursors WHERE mapping = ?", "DELETE FROM marks WHERE mapping = ?"] {
        sqlx::query(sql).bind(mapping).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn reset(connection: &mut SqliteConnection, mapping: &str, links: bool) -> Result<(), StoreError> {
    let number: Option<i64> =
        sqlx::query_scalar("UPDATE mappings SET fence = fence + 1 WHERE name = ? RETURNING mapping")
            .bind(mapping)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(number) = number else { return Ok(()) };
    forget_cursors(connection, number).await?;
    if !links {
        return Ok(());
    }
    for sql in [
        "DELETE FROM links AS l WHERE link BETWEEN ?1 * ?2 AND (?1 + 1) * ?2 - 1 AND NOT EXISTS \
         (SELECT 1 FROM intents i WHERE l.link BETWEEN i.first_create AND i.last_create)",
        "DELETE FROM spooled WHERE link BETWEEN ?1 * ?2 AND (?1 + 1) * ?2 - 1",
        "DELETE FROM made WHERE first BETWEEN ?1 * ?2 AND (?1 + 1) * ?2 - 1",
        "DELETE FROM conflicts WHERE mapping = ?1",
        "DELETE FROM parked WHERE mapping = ?1",
        "DELETE FROM written WHERE mapping = ?1",
        "UPDATE mappings SET links = 0, source_fingerprint = '', target_fingerprint = '', source_swept = NULL, \
         target_swept = NULL, first_sync_begun = 0, first_sync_done = 0 WHERE mapping = ?1",
    ] {
        sqlx::query(sql).bind(number).bind(LINKS_EACH).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn rename(connection: &mut SqliteConnection, former: &str, name: &str) -> Result<(), StoreError> {
    let find = "SELECT m.mapping, m.links > 0 OR EXISTS (SELECT 1 FROM intents i WHERE i.mapping = m.mapping) \
        FROM mappings m WHERE m.name = ?";
    let found: Option<(i64, bool)> = sqlx::query_as(find).bind(former).fetch_optional(&mut *connection).await?;
    let Some((number, _)) = found else { return Ok(()) };
    let there: Option<(i64, bool)> = sqlx::query_as(find).bind(name).fetch_optional(&mut *connection).await?;
    if let Some((empty, in_use)) = there {
        if in_use {
            return Err(StoreError::name_in_use(name));
        }
        forget_cursors(connection, empty).await?;
        for sql in [
            "UPDATE runs SET mapping = ?2 WHERE mapping = ?1",
            "UPDATE events SET mapping = ?2 WHERE mapping = ?1",
            "DELETE FROM parked WHERE mapping = ?1 AND ?2",
            "DELETE FROM written WHERE mapping = ?1 AND ?2",
            "DELETE FROM conflicts WHERE mapping = ?1 AND ?2",
            "DELETE FROM mappings WHERE mapping = ?1 AND ?2",
        ] {
            sqlx::query(sql).bind(empty).bind(number).execute(&mut *connection).await?;
        }
    }
    sqlx::query("UPDATE mappings SET name = ?, fence = fence + 1 WHERE mapping = ?")
        .bind(name)
        .bind(number)
        .execute(connection)
        .await?;
    Ok(())
}
