//! Parked records and fields: everything still owed.

use std::collections::BTreeSet;

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::bulk::Bulk;
use super::codec::{decode_bases, encode_bases, named, parse_time, side, time_text};
use super::links::{json_keys, json_numbers};
use super::{Agreed, Parked, ParkedFilter, Reason, StoreError};
use crate::record::{Both, Key, Side};

const STORE: Bulk = Bulk {
    head: "INSERT INTO parked (mapping, side, source_key, target_key, field, reason, value, code, message, file, line, \
           attempts, since, next_try, sent, layout, bases, certain)",
    columns: 18,
    tail: "ON CONFLICT (mapping, source_key, target_key, side, field) DO UPDATE SET reason = excluded.reason, \
           value = excluded.value, code = excluded.code, message = excluded.message, file = excluded.file, \
           line = excluded.line, attempts = max(attempts, excluded.attempts), next_try = excluded.next_try, \
           sent = excluded.sent, layout = excluded.layout, bases = excluded.bases, \
           certain = excluded.certain",
};

/// Everything parked under keys of a side.
pub(super) const BY_SOURCE_KEYS: &str = "SELECT p.id, p.side, p.source_key, p.target_key, p.field \
    FROM json_each(?1) j CROSS JOIN parked p ON p.mapping = ?2 AND p.source_key = j.value";
pub(super) const BY_TARGET_KEYS: &str = "SELECT p.id, p.side, p.source_key, p.target_key, p.field \
    FROM json_each(?1) j CROSS JOIN parked p ON p.mapping = ?2 AND p.target_key = j.value";

pub(super) async fn park(connection: &mut SqliteConnection, mapping: i64, parked: &[Parked]) -> Result<(), StoreError> {
    STORE
        .run(connection, parked, |row, parked| {
            row.bind(mapping)
                .bind(parked.side.name())
                .bind(parked.keys.source.as_ref().map_or("", Key::as_str))
                .bind(parked.keys.target.as_ref().map_or("", Key::as_str))
                .bind(parked.row.as_deref().or(parked.field.as_deref()).unwrap_or_default())
                .bind(parked.reason.name())
                .bind(parked.value.as_deref())
                .bind(parked.code.as_deref())
                .bind(parked.message.as_str())
                .bind(parked.file.as_deref())
                .bind(parked.line)
                .bind(parked.attempts)
                .bind(time_text(parked.since))
                .bind(parked.next_try.map(time_text))
                .bind(parked.sent.as_deref())
                .bind(parked.agreed.as_ref().map(|agreed| agreed.layout))
                .bind(parked.agreed.as_ref().map(|agreed| encode_bases(&agreed.bases)))
                .bind(parked.agreed.as_ref().map(|agreed| agreed.certain));
        })
        .await?;
    Ok(())
}

/// Forgets what is parked under these keys, but for what `again` parks anew.
pub(super) async fn unpark(
    connection: &mut SqliteConnection,
    mapping: i64,
    keys: &[(Side, Key)],
    again: &[Parked],
) -> Result<(), StoreError> {
    let again: BTreeSet<_> = again.iter().map(Parked::place).collect();
    for of in Side::BOTH {
        let keys: Vec<_> = keys.iter().filter(|(side, _)| *side == of).map(|(_, key)| key).collect();
        if keys.is_empty() {
            continue;
        }
        let sql = match of {
            Side::Source => BY_SOURCE_KEYS,
            Side::Target => BY_TARGET_KEYS,
        };
        let rows: Vec<(i64, String, String, String, String)> =
            sqlx::query_as(sql).bind(json_keys(keys)).bind(mapping).fetch_all(&mut *connection).await?;
        let mut ids = Vec::new();
        for (id, word, source, target, field) in rows {
            let keys = Both::new(key(&source), key(&target));
            let place = (side(&word)?, keys.source.as_ref(), keys.target.as_ref(), some(&field));
            if !again.contains(&place) {
                ids.push(id);
            }
        }
        drop_ids(connection, &ids).await?;
    }
    Ok(())
}

pub(super) async fn drop_ids(connection: &mut SqliteConnection, ids: &[i64]) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query("DELETE FROM parked WHERE id IN (SELECT value FROM json_each(?))")
        .bind(json_numbers(ids.iter().copied()))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// A try that was due when the record was first parked is due at any time.
pub(super) async fn retry(connection: &mut SqliteConnection, ids: &[i64]) -> Result<u64, StoreError> {
    let done = sqlx::query("UPDATE parked SET next_try = since WHERE id IN (SELECT value FROM json_each(?))")
        .bind(json_numbers(ids.iter().copied()))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

pub(super) async fn find(connection: &mut SqliteConnection, filter: &ParkedFilter) -> Result<Vec<Parked>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT p.id, m.name, p.source_key, p.target_key, p.side, p.reason, p.field, p.value, p.code, p.message, \
         p.file, p.line, p.attempts, p.since, p.next_try, p.sent, p.layout, \
         p.bases, p.certain FROM parked p JOIN mappings m ON m.mapping = p.mapping \
         WHERE p.id > ",
    );
    query.push_bind(filter.after);
    if let Some(mapping) = &filter.mapping {
        query.push(" AND m.name = ").push_bind(mapping.clone());
    }
    if !filter.ids.is_empty() {
        let ids = json_numbers(filter.ids.iter().copied());
        query.push(" AND p.id IN (SELECT value FROM json_each(").push_bind(ids).push("))");
    }
    if let Some(reason) = filter.reason {
        query.push(" AND p.reason = ").push_bind(reason.name());
    }
    if let Some(due) = filter.due {
        query.push(" AND p.next_try <= ").push_bind(time_text(due));
    }
    query.push(" ORDER BY p.id");
    if filter.limit > 0 {
        query.push(" LIMIT ").push_bind(i64::try_from(filter.limit).unwrap_or(i64::MAX));
    }
    let rows = query.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let keys = Both::new(key(row.try_get(2)?), key(row.try_get(3)?));
            let field = some(row.try_get(6)?).map(str::to_owned);
            let keyless = keys.source.is_none() && keys.target.is_none();
            let (layout, bases): (Option<i64>, Option<&[u8]>) = (row.try_get(16)?, row.try_get(17)?);
            let bases = bases.map(decode_bases).transpose()?;
            let certain = row.try_get::<Option<bool>, _>(18)?.unwrap_or_default();
            let (of_row, field) = if keyless { (field, None) } else { (None, field) };
            Ok(Parked {
                id: row.try_get(0)?,
                mapping: row.try_get(1)?,
                keys,
                row: of_row,
                side: side(row.try_get(4)?)?,
                reason: named(&Reason::ALL, Reason::name, row.try_get(5)?)?,
                field,
                value: row.try_get(7)?,
                code: row.try_get(8)?,
                message: row.try_get(9)?,
                file: row.try_get(10)?,
                line: row.try_get(11)?,
                attempts: row.try_get(12)?,
                since: parse_time(row.try_get(13)?)?,
                next_try: row.try_get::<Option<&str>, _>(14)?.map(parse_time).transpose()?,
                sent: row.try_get(15)?,
                agreed: layout.zip(bases).map(|(layout, bases)| Agreed { layout, bases, certain }),
            })
        })
        .collect()
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn key(text: &str) -> Option<Key> {
    some(text).map(Key::from_canonical)
}
