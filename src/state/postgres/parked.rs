//! Parked records and fields: everything still owed.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use super::codec::{decode_bases, encode_bases, named, parse_time, side, time_text};
use super::damaged;
use super::links::texts;
use super::{Agreed, Parked, ParkedFilter, Reason, StoreError, storable};
use crate::record::{Both, Key, Side};

const STORE: &str = "INSERT INTO parked AS p (mapping, side, source_key, target_key, field, reason, value, code, message, \
    file, line, attempts, since, next_try, sent, layout, bases, certain) \
    SELECT $1, n.* FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
    $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::bigint[], \
    $17::bytea[], $18::boolean[]) AS n \
    ON CONFLICT (mapping, source_key, target_key, side, field) DO UPDATE SET reason = excluded.reason, \
    value = excluded.value, code = excluded.code, message = excluded.message, file = excluded.file, \
    line = excluded.line, attempts = greatest(p.attempts, excluded.attempts), next_try = excluded.next_try, \
    sent = excluded.sent, layout = excluded.layout, bases = excluded.bases, certain = excluded.certain";

/// Everything parked under keys of a side.
pub(super) const BY_SOURCE_KEYS: &str =
    "SELECT id, side, source_key, target_key, field FROM parked WHERE mapping = $2 AND source_key = ANY($1)";
pub(super) const BY_TARGET_KEYS: &str =
    "SELECT id, side, source_key, target_key, field FROM parked WHERE mapping = $2 AND target_key = ANY($1)";

pub(super) async fn park(connection: &mut PgConnection, mapping: i64, parked: &[Parked]) -> Result<(), StoreError> {
    if parked.is_empty() {
        return Ok(());
    }
    // One statement takes a place once: of several the last stands, with the
    // most attempts and the time of the first.
    let mut places: BTreeMap<_, usize> = BTreeMap::new();
    let mut rows: Vec<Parked> = Vec::with_capacity(parked.len());
    for one in parked {
        let mut one = one.clone();
        if let Some(before) = places.get(&place_of(&one)).map(|place| &mut rows[*place]) {
            one.attempts = one.attempts.max(before.attempts);
            one.since = before.since;
            *before = one;
        } else {
            places.insert(place_of(&one), rows.len());
            rows.push(one);
        }
    }
    let key = |key: Option<&Key>| key.map_or(String::new(), |key| key.as_str().to_owned());
    let text = |text: &Option<String>| text.as_deref().map(storable);
    sqlx::query(STORE)
        .bind(mapping)
        .bind(rows.iter().map(|row| row.side.name()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| key(row.keys.source.as_ref())).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| key(row.keys.target.as_ref())).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| storable(field_of(row))).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.reason.name()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| text(&row.value)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| text(&row.code)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| storable(&row.message)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| text(&row.file)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.line.map(i64::from)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| i64::from(row.attempts)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| time_text(row.since)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.next_try.map(time_text)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| text(&row.sent)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.agreed.as_ref().map(|agreed| agreed.layout)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.agreed.as_ref().map(|agreed| encode_bases(&agreed.bases))).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.agreed.as_ref().map(|agreed| agreed.certain)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

fn field_of(parked: &Parked) -> &str {
    parked.row.as_deref().or(parked.field.as_deref()).unwrap_or_default()
}

fn place_of(parked: &Parked) -> (Side, Option<Key>, Option<Key>, String) {
    (parked.side, parked.keys.source.clone(), parked.keys.target.clone(), field_of(parked).to_owned())
}

/// Forgets what is parked under these keys, but for what `again` parks anew.
pub(super) async fn unpark(
    connection: &mut PgConnection,
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
            sqlx::query_as(sql).bind(texts(keys)).bind(mapping).fetch_all(&mut *connection).await?;
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

pub(super) async fn drop_ids(connection: &mut PgConnection, ids: &[i64]) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query("DELETE FROM parked WHERE id = ANY($1)").bind(ids).execute(connection).await?;
    Ok(done.rows_affected())
}

/// A try that was due when the record was first parked is due at any time.
pub(super) async fn retry(connection: &mut PgConnection, ids: &[i64]) -> Result<u64, StoreError> {
    let sql = "UPDATE parked SET next_try = since WHERE id = ANY($1)";
    Ok(sqlx::query(sql).bind(ids).execute(connection).await?.rows_affected())
}

pub(super) async fn find(connection: &mut PgConnection, filter: &ParkedFilter) -> Result<Vec<Parked>, StoreError> {
    let mut query = QueryBuilder::<Postgres>::new(
        "SELECT p.id, m.name, p.source_key, p.target_key, p.side, p.reason, p.field, p.value, p.code, p.message, \
         p.file, p.line, p.attempts, p.since, p.next_try, p.sent, p.layout, \
         p.bases, p.certain FROM parked p JOIN mappings m ON m.mapping = p.mapping WHERE p.id > ",
    );
    query.push_bind(filter.after);
    if let Some(mapping) = &filter.mapping {
        query.push(" AND m.name = ").push_bind(mapping.clone());
    }
    if !filter.ids.is_empty() {
        query.push(" AND p.id = ANY(").push_bind(filter.ids.clone()).push(")");
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
    let small = |number: i64| u32::try_from(number).map_err(|_| damaged("a count"));
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
                line: row.try_get::<Option<i64>, _>(11)?.map(small).transpose()?,
                attempts: small(row.try_get(12)?)?,
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
