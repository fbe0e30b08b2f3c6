//! Spooled deletes, runs, events, and what a sweep has seen.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};

use super::codec::{named, parse_time, side, signed, time_text, unsigned};
use super::damaged;
use super::links::{bounds, page, texts};
use super::mappings::MappingRow;
use super::{
    EventRecord, Made, OwedCounts, RunRecord, RunStatus, Spooled, StoreError, insert_event, padding_range,
    same_but_for_padding,
};
use crate::plan::{Link, LinkId};
use crate::record::{Both, Key, Side};

const SPOOL: &str = "INSERT INTO spooled (link, source_key, target_key, side, since) \
    SELECT n.* FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) AS n \
    ON CONFLICT (link) DO UPDATE SET source_key = excluded.source_key, target_key = excluded.target_key, \
    side = excluded.side";

const EVENTS: &str = "INSERT INTO events (mapping, at, run, source_key, target_key, kind, detail) \
    SELECT $7, n.at, n.run, n.source_key, n.target_key, n.kind, n.detail \
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) \
    WITH ORDINALITY AS n (at, run, source_key, target_key, kind, detail, position) ORDER BY n.position";

/// The events of one key, oldest first.
pub(super) const BY_SOURCE_KEY: &str = "SELECT at, run, source_key, target_key, kind, detail FROM events \
    WHERE mapping = $1 AND source_key = $2 ORDER BY event";
pub(super) const BY_TARGET_KEY: &str = "SELECT at, run, source_key, target_key, kind, detail FROM events \
    WHERE mapping = $1 AND target_key = $2 ORDER BY event";

/// Who made the link of one key.
pub(super) const MADE_OF_SOURCE_KEY: &str = "SELECT m.side, m.run, m.at, l.source_key, l.target_key FROM links l \
    JOIN made m ON m.first = (SELECT max(first) FROM made WHERE first <= l.link) AND m.last >= l.link \
    WHERE l.mapping = $1 AND l.source_key = $2";
pub(super) const MADE_OF_TARGET_KEY: &str = "SELECT m.side, m.run, m.at, l.source_key, l.target_key FROM links l \
    JOIN made m ON m.first = (SELECT max(first) FROM made WHERE first <= l.link) AND m.last >= l.link \
    WHERE l.mapping = $1 AND l.target_key = $2";

/// The keys of a side in a range, those of links and of events.
pub(super) const KEYS_OF_SOURCE: &str = "SELECT source_key FROM links \
    WHERE mapping = $1 AND source_key >= $2 AND source_key < $3 UNION SELECT source_key FROM events \
    WHERE mapping = $1 AND source_key IS NOT NULL AND source_key >= $2 AND source_key < $3";
pub(super) const KEYS_OF_TARGET: &str = "SELECT target_key FROM links \
    WHERE mapping = $1 AND target_key >= $2 AND target_key < $3 UNION SELECT target_key FROM events \
    WHERE mapping = $1 AND target_key IS NOT NULL AND target_key >= $2 AND target_key < $3";

pub(super) const DELETED_SINCE: &str =
    "SELECT count(*) FROM events WHERE mapping = $1 AND kind = 'deleted' AND at >= $2";

/// Marks the links of keys of a side as seen.
pub(super) const SEEN_SOURCE: &str = "INSERT INTO swept (side, link) SELECT 'source', l.link FROM links l \
    WHERE l.mapping = $2 AND l.source_key = ANY($1) ON CONFLICT DO NOTHING";
pub(super) const SEEN_TARGET: &str = "INSERT INTO swept (side, link) SELECT 'target', l.link FROM links l \
    WHERE l.mapping = $2 AND l.target_key = ANY($1) ON CONFLICT DO NOTHING";

pub(super) async fn unspool(connection: &mut PgConnection, links: &[LinkId]) -> Result<(), StoreError> {
    if !links.is_empty() {
        sqlx::query("DELETE FROM spooled WHERE link = ANY($1)").bind(links).execute(connection).await?;
    }
    Ok(())
}

pub(super) async fn spool(
    connection: &mut PgConnection,
    mapping: &MappingRow,
    spooled: &[Spooled],
) -> Result<(), StoreError> {
    if let Some(foreign) = spooled.iter().find(|spooled| !mapping.owns(spooled.link)) {
        return Err(StoreError::no_link(foreign.link));
    }
    if spooled.is_empty() {
        return Ok(());
    }
    // Of several for one link the last stands, with the time of the first.
    let mut rows: BTreeMap<LinkId, Spooled> = BTreeMap::new();
    for one in spooled {
        let since = rows.get(&one.link).map_or(one.since, |before| before.since);
        rows.insert(one.link, Spooled { since, ..one.clone() });
    }
    sqlx::query(SPOOL)
        .bind(rows.keys().copied().collect::<Vec<_>>())
        .bind(texts(rows.values().map(|row| &row.keys.source)))
        .bind(texts(rows.values().map(|row| &row.keys.target)))
        .bind(rows.values().map(|row| row.on.name()).collect::<Vec<_>>())
        .bind(rows.values().map(|row| time_text(row.since)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn spooled(
    connection: &mut PgConnection,
    mapping: i64,
    after: LinkId,
    limit: usize,
) -> Result<Vec<Spooled>, StoreError> {
    let (first, last) = bounds(mapping);
    let rows: Vec<(LinkId, String, String, String, String)> = sqlx::query_as(
        "SELECT link, source_key, target_key, side, since FROM spooled WHERE link > $1 AND link <= $2 \
         ORDER BY link LIMIT $3",
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

pub(super) async fn count_owed(connection: &mut PgConnection, mapping: i64) -> Result<OwedCounts, StoreError> {
    let (first, last) = bounds(mapping);
    let counts = sqlx::query_as(
        "SELECT (SELECT count(*) FROM parked WHERE mapping = $1), \
         (SELECT count(*) FROM conflicts WHERE mapping = $1 AND status = 'open'), \
         (SELECT count(*) FROM spooled WHERE link BETWEEN $2 AND $3)",
    );
    let (parked, conflicts, held) = counts.bind(mapping).bind(first).bind(last).fetch_one(connection).await?;
    Ok(OwedCounts { parked: unsigned(parked)?, conflicts: unsigned(conflicts)?, held: unsigned(held)? })
}

pub(super) async fn store_run(connection: &mut PgConnection, mapping: i64, run: &RunRecord) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO runs (run, mapping, number, status, started_at, duration_ms, counts, errors) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (run) DO UPDATE SET mapping = excluded.mapping, \
         number = excluded.number, status = excluded.status, started_at = excluded.started_at, \
         duration_ms = excluded.duration_ms, counts = excluded.counts, errors = excluded.errors",
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
    connection: &mut PgConnection,
    mapping: Option<i64>,
    limit: usize,
) -> Result<Vec<RunRecord>, StoreError> {
    let sql = if mapping.is_some() {
        "SELECT r.run, m.name, r.number, r.status, r.started_at, r.duration_ms, r.counts, r.errors \
         FROM runs r JOIN mappings m ON m.mapping = r.mapping WHERE r.mapping = $2 ORDER BY r.run DESC LIMIT $1"
    } else {
        "SELECT r.run, m.name, r.number, r.status, r.started_at, r.duration_ms, r.counts, r.errors \
         FROM runs r JOIN mappings m ON m.mapping = r.mapping ORDER BY r.run DESC LIMIT $1"
    };
    let query = sqlx::query(sql).bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let query = if let Some(mapping) = mapping { query.bind(mapping) } else { query };
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
    connection: &mut PgConnection,
    mapping: i64,
    events: &[EventRecord],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let key = |key: &Option<Key>| key.as_ref().map(|key| key.as_str().to_owned());
    sqlx::query(EVENTS)
        .bind(events.iter().map(|event| time_text(event.at)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.run.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| key(&event.keys.source)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| key(&event.keys.target)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.detail.to_string()).collect::<Vec<_>>())
        .bind(mapping)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn events(
    connection: &mut PgConnection,
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
    connection: &mut PgConnection,
    by: &Made,
    ranges: &[(LinkId, LinkId)],
) -> Result<(), StoreError> {
    let (first, last): (Vec<LinkId>, Vec<LinkId>) =
        ranges.iter().filter(|(first, last)| first <= last).copied().unzip();
    if first.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO made (first, last, side, run, at) \
         SELECT n.first, n.last, $3, $4, $5 FROM unnest($1::bigint[], $2::bigint[]) AS n (first, last) \
         ON CONFLICT (first) DO UPDATE SET last = excluded.last, side = excluded.side, run = excluded.run, at = excluded.at",
    )
    .bind(first)
    .bind(last)
    .bind(by.side.name())
    .bind(&by.run)
    .bind(time_text(by.at))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn padded_keys(
    connection: &mut PgConnection,
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
    connection: &mut PgConnection,
    mapping: i64,
    since: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let query = sqlx::query_scalar(DELETED_SINCE).bind(mapping).bind(time_text(since));
    unsigned(query.fetch_one(connection).await?)
}

pub(super) async fn sweep_begin(
    connection: &mut PgConnection,
    engine: &str,
    mapping: &MappingRow,
    side: Side,
) -> Result<(), StoreError> {
    let (first, last) = bounds(mapping.mapping);
    sqlx::query("DELETE FROM swept WHERE side = $1 AND link BETWEEN $2 AND $3")
        .bind(side.name())
        .bind(first)
        .bind(last)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO sweeps (mapping, side, engine, until) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (mapping, side) DO UPDATE SET engine = excluded.engine, until = excluded.until",
    )
    .bind(mapping.mapping)
    .bind(side.name())
    .bind(engine)
    .bind(mapping.last_link())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn sweep_seen(
    connection: &mut PgConnection,
    engine: &str,
    mapping: &MappingRow,
    side: Side,
    keys: &[Key],
) -> Result<(), StoreError> {
    until(connection, engine, mapping, side).await?;
    let sql = match side {
        Side::Source => SEEN_SOURCE,
        Side::Target => SEEN_TARGET,
    };
    sqlx::query(sql).bind(texts(keys)).bind(mapping.mapping).execute(connection).await?;
    Ok(())
}

pub(super) async fn sweep_absent(
    connection: &mut PgConnection,
    engine: &str,
    mapping: &MappingRow,
    side: Side,
    after: LinkId,
    limit: usize,
) -> Result<Vec<Link>, StoreError> {
    let until = until(connection, engine, mapping, side).await?;
    page(connection, after.max(bounds(mapping.mapping).0), until, limit, Some(side)).await
}

/// The newest link that a sweep of this engine's is about.
async fn until(
    connection: &mut PgConnection,
    engine: &str,
    mapping: &MappingRow,
    side: Side,
) -> Result<LinkId, StoreError> {
    let until: Option<LinkId> =
        sqlx::query_scalar("SELECT until FROM sweeps WHERE mapping = $1 AND side = $2 AND engine = $3")
            .bind(mapping.mapping)
            .bind(side.name())
            .bind(engine)
            .fetch_optional(connection)
            .await?;
    until.ok_or_else(|| StoreError::no_sweep(side))
}
