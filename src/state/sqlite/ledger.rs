//! Spooled deletes, runs, events, and what a sweep has seen.

use chrono::{DateTime, Utc};
use sqlx::{Row, SqliteConnection};

use super::bulk::Bulk;
use super::codec::{named, parse_time, side, signed, time_text, unsigned};
use super::error::damaged;
use super::links::{bounds, json_keys, json_numbers, page};
use super::mappings::MappingRow;
use super::{
    EventRecord, Made, OwedCounts, RunRecord, RunStatus, Spooled, StoreError, insert_event, padding_range,
    same_but_for_padding,
};
use crate::plan::{Link, LinkId};
use crate::record::{Both, Key, Side};

const SPOOL: Bulk = Bulk {
    head: "INSERT INTO spooled (link, source_key, target_key, side, since)",
    columns: 5,
    tail: "ON CONFLICT (link) DO UPDATE SET source_key = excluded.source_key, target_key = excluded.target_key, \
           side = excluded.side",
};

const EVENTS: Bulk =
    Bulk { head: "INSERT INTO events (mapping, at, run, source_key, target_key, kind, detail)", columns: 7, tail: "" };

/// The events of one key, oldest first.
pub(super) const BY_SOURCE_KEY: &str = "SELECT at, run, source_key, target_key, kind, detail FROM events \
    WHERE mapping = ?1 AND source_key = ?2 ORDER BY event";
pub(super) const BY_TARGET_KEY: &str = "SELECT at, run, source_key, target_key, kind, detail FROM events \
    WHERE mapping = ?1 AND target_key = ?2 ORDER BY event";

/// Who made the link of one key.
pub(super) const MADE_OF_SOURCE_KEY: &str = "SELECT m.side, m.run, m.at, l.source_key, l.target_key FROM links l \
    JOIN made m ON m.first = (SELECT max(first) FROM made WHERE first <= l.link) AND m.last >= l.link \
    WHERE l.mapping = ?1 AND l.source_key = ?2";
pub(super) const MADE_OF_TARGET_KEY: &str = "SELECT m.side, m.run, m.at, l.source_key, l.target_key FROM links l \
    JOIN made m ON m.first = (SELECT max(first) FROM made WHERE first <= l.link) AND m.last >= l.link \
    WHERE l.mapping = ?1 AND l.target_key = ?2";

/// The keys of a side in a range, those of links and of events.
pub(super) const KEYS_OF_SOURCE: &str = "SELECT source_key FROM links \
    WHERE mapping = ?1 AND source_key >= ?2 AND source_key < ?3 UNION SELECT source_key FROM events \
    WHERE mapping = ?1 AND source_key IS NOT NULL AND source_key >= ?2 AND source_key < ?3";
pub(super) const KEYS_OF_TARGET: &str = "SELECT target_key FROM links \
    WHERE mapping = ?1 AND target_key >= ?2 AND target_key < ?3 UNION SELECT target_key FROM events \
    WHERE mapping = ?1 AND target_key IS NOT NULL AND target_key >= ?2 AND target_key < ?3";

pub(super) const DELETED_SINCE: &str =
    "SELECT count(*) FROM events WHERE mapping = ?1 AND kind = 'deleted' AND at >= ?2";

/// Marks the links of keys of a side as seen.
pub(super) const SEEN_SOURCE: &str = "INSERT OR IGNORE INTO swept (side, link) SELECT 'source', l.link \
    FROM json_each(?1) j CROSS JOIN links l ON l.mapping = ?2 AND l.source_key = j.value";
pub(super) const SEEN_TARGET: &str = "INSERT OR IGNORE INTO swept (side, link) SELECT 'target', l.link \
    FROM json_each(?1) j CROSS JOIN links l ON l.mapping = ?2 AND l.target_key = j.value";

pub(super) async fn unspool(connection: &mut SqliteConnection, links: &[LinkId]) -> Result<(), StoreError> {
    if !links.is_empty() {
        sqlx::query("DELETE FROM spooled WHERE link IN (SELECT value FROM json_each(?))")
            .bind(json_numbers(links.iter().copied()))
            .execute(connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn spool(
    connection: &mut SqliteConnection,
    mapping: &MappingRow,
    spooled: &[Spooled],
) -> Result<(), StoreError> {
    if let Some(foreign) = spooled.iter().find(|spooled| !mapping.owns(spooled.link)) {
        return Err(StoreError::no_link(foreign.link));
    }
    SPOOL
        .run(connection, spooled, |row, spooled| {
            row.bind(spooled.link)
                .bind(spooled.keys.source.as_str())
                .bind(spooled.keys.target.as_str())
                .bind(spooled.on.name())
                .bind(time_text(spooled.since));
        })
        .await?;
    Ok(())
}

pub(super) async fn spooled(
    connection: &mut SqliteConnection,
    mapping: i64,
    after: LinkId,
    limit: usize,
) -> Result<Vec<Spooled>, StoreError> {
    let (first, last) = bounds(mapping);
    let rows: Vec<(LinkId, String, String, String, String)> = sqlx::query_as(
        "SELECT link, source_key, target_key, side, since FROM spooled WHERE link > ? AND link <= ? \
         ORDER BY link LIMIT ?",
    )
    .bind(after.max(first))
    .bind(last)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(link, source, target, on, since)| {
            let keys = Both::new(source, target).map(|text| Key::from_canonical(&text));
            Ok(Spooled { link, keys, on: side(&on)?, since: parse_time(&since)? })
        })
        .collect()
}

pub(super) async fn count_owed(connection: &mut SqliteConnection, mapping: i64) -> Result<OwedCounts, StoreError> {
    let (first, last) = bounds(mapping);
    let counts = sqlx::query_as(
        "SELECT (SELECT count(*) FROM parked WHERE mapping = ?1), \
         (SELECT count(*) FROM conflicts WHERE mapping = ?1 AND status = 'open'), \
         (SELECT count(*) FROM spooled WHERE link BETWEEN ?2 AND ?3)",
    );
    let (parked, conflicts, held) = counts.bind(mapping).bind(first).bind(last).fetch_one(connection).await?;
    Ok(OwedCounts { parked: unsigned(parked)?, conflicts: unsigned(conflicts)?, held: unsigned(held)? })
}

pub(super) async fn store_run(
    connection: &mut SqliteConnection,
    mapping: i64,
    run: &RunRecord,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO runs (run, mapping, number, status, started_at, duration_ms, counts, errors) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&run.run)
    .bind(mapping)
    .bind(signed(run.number))
    .bind(run.status.name())
    .bind(time_text(run.started_at))
    .bind(signed(run.duration_ms))
    .bind(serde_json::to_string(&run.counts).expect("counts are JSON"))
    .bind(serde_json::to_string(&run.errors).expect("texts are JSON"))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn runs(
    connection: &mut SqliteConnection,
    mapping: Option<i64>,
    limit: usize,
) -> Result<Vec<RunRecord>, StoreError> {
    let sql = if mapping.is_some() {
        "SELECT r.run, m.name, r.number, r.status, r.started_at, r.duration_ms, r.counts, r.errors \
         FROM runs r JOIN mappings m ON m.mapping = r.mapping WHERE r.mapping = ?2 ORDER BY r.run DESC LIMIT ?1"
    } else {
        "SELECT r.run, m.name, r.number, r.status, r.started_at, r.duration_ms, r.counts, r.errors \
         FROM runs r JOIN mappings m ON m.mapping = r.mapping ORDER BY r.run DESC LIMIT ?1"
    };
    let query = sqlx::query(sql).bind(i64::try_from(limit).unwrap_or(i64::MAX)).bind(mapping);
    let rows = query.fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(RunRecord {
                run: row.try_get(0)?,
                mapping: row.try_get(1)?,
                number: unsigned(row.try_get(2)?)?,
                status: named(&RunStatus::ALL, RunStatus::name, row.try_get(3)?)?,
                started_at: parse_time(row.try_get(4)?)?,
                duration_ms: unsigned(row.try_get(5)?)?,
                counts: serde_json::from_str(row.try_get(6)?).map_err(|_| damaged("a run"))?,
                errors: serde_json::from_str(row.try_get(7)?).map_err(|_| damaged("a run"))?,
            })
        })
        .collect()
}

pub(super) async fn store_events(
    connection: &mut SqliteConnection,
    mapping: i64,
    events: &[EventRecord],
) -> Result<(), StoreError> {
    EVENTS
        .run(connection, events, |row, event| {
            row.bind(mapping)
                .bind(time_text(event.at))
                .bind(event.run.as_str())
                .bind(event.keys.source.as_ref().map(Key::as_str))
                .bind(event.keys.target.as_ref().map(Key::as_str))
                .bind(event.kind.as_str())
                .bind(event.detail.to_string());
        })
        .await?;
    Ok(())
}

pub(super) async fn events(
    connection: &mut SqliteConnection,
    mapping: i64,
    of: Side,
    key: &Key,
) -> Result<Vec<EventRecord>, StoreError> {
    let sql = match of {
        Side::Source => BY_SOURCE_KEY,
        Side::Target => BY_TARGET_KEY,
    };
    let rows = sqlx::query(sql).bind(mapping).bind(key.as_str()).fetch_all(&mut *connection).await?;
    let mut events = rows
        .iter()
        .map(|row| {
            let keys: Both<Option<&str>> = Both::new(row.try_get(2)?, row.try_get(3)?);
            Ok(EventRecord {
                at: parse_time(row.try_get(0)?)?,
                run: row.try_get(1)?,
                keys: keys.map(|key| key.map(Key::from_canonical)),
                kind: row.try_get(4)?,
                detail: serde_json::from_str(row.try_get(5)?).map_err(|_| damaged("an event"))?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let sql = match of {
        Side::Source => MADE_OF_SOURCE_KEY,
        Side::Target => MADE_OF_TARGET_KEY,
    };
    let made = sqlx::query(sql).bind(mapping).bind(key.as_str()).fetch_optional(connection).await?;
    if let Some(row) = made {
        let made = Made { side: side(row.try_get(0)?)?, run: row.try_get(1)?, at: parse_time(row.try_get(2)?)? };
        let keys = Both::new(row.try_get(3)?, row.try_get(4)?).map(Key::from_canonical);
        insert_event(&mut events, made.event(&keys));
    }
    Ok(events)
}

/// Notes who made the links of these numbers, each from the first to the last.
pub(super) async fn store_made(
    connection: &mut SqliteConnection,
    by: &Made,
    ranges: &[(LinkId, LinkId)],
) -> Result<(), StoreError> {
    for (first, last) in ranges.iter().filter(|(first, last)| first <= last) {
        sqlx::query("INSERT OR REPLACE INTO made (first, last, side, run, at) VALUES (?, ?, ?, ?, ?)")
            .bind(first)
            .bind(last)
            .bind(by.side.name())
            .bind(&by.run)
            .bind(time_text(by.at))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn padded_keys(
    connection: &mut SqliteConnection,
    mapping: i64,
    of: Side,
    key: &Key,
) -> Result<Vec<Key>, StoreError> {
    let Some((first, last)) = padding_range(key) else { return Ok(Vec::new()) };
    let sql = match of {
        Side::Source => KEYS_OF_SOURCE,
        Side::Target => KEYS_OF_TARGET,
    };
    let rows: Vec<String> = sqlx::query_scalar(sql).bind(mapping).bind(first).bind(last).fetch_all(connection).await?;
    let known = rows.iter().map(|text| Key::from_canonical(text));
    Ok(known.filter(|known| same_but_for_padding(known, key)).collect())
}

pub(super) async fn deleted_since(
    connection: &mut SqliteConnection,
    mapping: i64,
    since: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let query = sqlx::query_scalar(DELETED_SINCE).bind(mapping).bind(time_text(since));
    unsigned(query.fetch_one(connection).await?)
}

pub(super) async fn sweep_begin(
    connection: &mut SqliteConnection,
    mapping: &MappingRow,
    side: Side,
) -> Result<(), StoreError> {
    let (first, last) = bounds(mapping.mapping);
    sqlx::query("DELETE FROM swept WHERE side = ? AND link BETWEEN ? AND ?")
        .bind(side.name())
        .bind(first)
        .bind(last)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT OR REPLACE INTO sweeps (mapping, side, until) VALUES (?, ?, ?)")
        .bind(mapping.mapping)
        .bind(side.name())
        .bind(mapping.last_link())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn sweep_seen(
    connection: &mut SqliteConnection,
    mapping: &MappingRow,
    side: Side,
    keys: &[Key],
) -> Result<(), StoreError> {
    until(connection, mapping, side).await?;
    let sql = match side {
        Side::Source => SEEN_SOURCE,
        Side::Target => SEEN_TARGET,
    };
    sqlx::query(sql).bind(json_keys(keys)).bind(mapping.mapping).execute(connection).await?;
    Ok(())
}

pub(super) async fn sweep_absent(
    connection: &mut SqliteConnection,
    mapping: &MappingRow,
    side: Side,
    after: LinkId,
    limit: usize,
) -> Result<Vec<Link>, StoreError> {
    let until = until(connection, mapping, side).await?;
    page(connection, after.max(bounds(mapping.mapping).0), until, limit, Some(side)).await
}

/// The newest link that a sweep is about.
async fn until(connection: &mut SqliteConnection, mapping: &MappingRow, side: Side) -> Result<LinkId, StoreError> {
    let until: Option<LinkId> = sqlx::query_scalar("SELECT until FROM sweeps WHERE mapping = ? AND side = ?")
        .bind(mapping.mapping)
        .bind(side.name())
        .fetch_optional(connection)
        .await?;
    until.ok_or_else(|| StoreError::no_sweep(side))
}
