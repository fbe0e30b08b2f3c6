//! Conflicts, the open ones and what became of the others.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use super::codec::{both, decision, decision_columns, encode_all, named, parse_time, time_text};
use super::links::texts;
use super::{Conflict, ConflictBefore as Before, ConflictFilter, ConflictStatus, StoreError, storable};
use crate::compile::Policy;
use crate::plan::{LinkId, Resolution};
use crate::record::{Both, Key};

const STORE: &str = "INSERT INTO conflicts (id, mapping, link, source_key, target_key, field, bases, sides, policy, \
    status, at, take, take_value) \
    SELECT n.id, $1, n.link, n.source_key, n.target_key, n.field, n.bases, n.sides, n.policy, n.status, n.at, n.take, \
    n.take_value FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], \
    $9::text[], $10::text[], $11::text[], $12::text[], $13::bytea[]) \
    AS n (id, link, source_key, target_key, field, bases, sides, policy, status, at, take, take_value) \
    ON CONFLICT (id) DO UPDATE SET mapping = excluded.mapping, link = excluded.link, source_key = excluded.source_key, \
    target_key = excluded.target_key, field = excluded.field, bases = excluded.bases, sides = excluded.sides, \
    policy = excluded.policy, status = excluded.status, at = excluded.at, take = excluded.take, \
    take_value = excluded.take_value";

/// Finds what the batch replaces, and keeps a person's decision from coming in
/// between.
pub(super) const BEFORE: &str = "SELECT id, link, field, sides, take, take_value, status FROM conflicts \
    WHERE (status = 'open' AND link = ANY($1)) OR id = ANY($2) FOR UPDATE";

pub(super) async fn store(
    connection: &mut PgConnection,
    mapping: i64,
    conflicts: &[Conflict],
) -> Result<(), StoreError> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let mut conflicts = conflicts.to_vec();
    name_links(connection, mapping, &mut conflicts).await?;
    let (mut open, mut by_id) = (BTreeMap::new(), BTreeMap::new());
    let rows = sqlx::query(BEFORE)
        .bind(conflicts.iter().map(|conflict| conflict.link).collect::<Vec<_>>())
        .bind(conflicts.iter().map(|conflict| conflict.id).filter(|id| *id != 0).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
    for row in &rows {
        let id: i64 = row.try_get(0)?;
        if row.try_get::<&str, _>(6)? == ConflictStatus::Open.name() {
            open.insert((row.try_get::<LinkId, _>(1)?, row.try_get::<String, _>(2)?), id);
        }
        by_id.insert(
            id,
            Before { values: both(row.try_get(3)?)?, decision: decision(row.try_get(4)?, row.try_get(5)?)? },
        );
    }
    let numbers: Vec<i64> =
        sqlx::query_scalar("SELECT nextval('conflict_numbers') FROM generate_series(1, $1::bigint)")
            .bind(i64::try_from(conflicts.len()).expect("a batch has fewer conflicts"))
            .fetch_all(&mut *connection)
            .await?;
    let mut numbers = numbers.into_iter();
    let next = || numbers.next().expect("there is a number for each conflict");
    let rows = Before::number(conflicts, open, by_id, next)?;
    let decisions: (Vec<_>, Vec<_>) = rows.iter().map(|row| decision_columns(row.resolution.as_ref())).unzip();
    let bases = |row: &Conflict| row.bases.as_ref().map(|bases| encode_all([&bases.source, &bases.target]));
    sqlx::query(STORE)
        .bind(mapping)
        .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.link).collect::<Vec<_>>())
        .bind(texts(rows.iter().map(|row| &row.keys.source)))
        .bind(texts(rows.iter().map(|row| &row.keys.target)))
        .bind(rows.iter().map(|row| storable(&row.field)).collect::<Vec<_>>())
        .bind(rows.iter().map(bases).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| encode_all([&row.values.source, &row.values.target])).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.policy.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.status.name()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| time_text(row.at)).collect::<Vec<_>>())
        .bind(decisions.0)
        .bind(decisions.1)
        .execute(connection)
        .await?;
    Ok(())
}

/// Finds the links that this very commit made.
async fn name_links(connection: &mut PgConnection, mapping: i64, conflicts: &mut [Conflict]) -> Result<(), StoreError> {
    if conflicts.iter().all(|conflict| conflict.link != 0) {
        return Ok(());
    }
    let links: Vec<(String, LinkId)> = sqlx::query_as(
        "SELECT l.source_key, l.link FROM links l WHERE l.mapping = $2 AND l.source_key = ANY($1) \
         AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.mapping = $2 AND l.link BETWEEN i.first_create AND i.last_create)",
    )
    .bind(texts(conflicts.iter().map(|conflict| &conflict.keys.source)))
    .bind(mapping)
    .fetch_all(connection)
    .await?;
    let links: BTreeMap<_, _> = links.into_iter().collect();
    for conflict in conflicts.iter_mut().filter(|conflict| conflict.link == 0) {
        let link = links.get(conflict.keys.source.as_str());
        conflict.link = *link.ok_or_else(|| StoreError::no_link_for_conflict(conflict))?;
    }
    Ok(())
}

pub(super) async fn find(connection: &mut PgConnection, filter: &ConflictFilter) -> Result<Vec<Conflict>, StoreError> {
    let mut query = QueryBuilder::<Postgres>::new(
        "SELECT c.id, m.name, c.link, c.source_key, c.target_key, c.field, c.bases, c.sides, c.policy, c.status, c.at, \
         c.take, c.take_value FROM conflicts c JOIN mappings m ON m.mapping = c.mapping WHERE true",
    );
    if filter.open || filter.decided {
        query.push(" AND c.status = 'open'");
    }
    if filter.decided {
        query.push(" AND (c.take IS NOT NULL OR c.take_value IS NOT NULL)");
    }
    if let Some(mapping) = &filter.mapping {
        query.push(" AND m.name = ").push_bind(mapping.clone());
    }
    if let Some(field) = &filter.field {
        query.push(" AND c.field = ").push_bind(field.clone());
    }
    for (column, numbers) in [("c.id", &filter.ids), ("c.link", &filter.links)] {
        if !numbers.is_empty() {
            query.push(format_args!(" AND {column} = ANY(")).push_bind(numbers.clone()).push(")");
        }
    }
    query.push(" ORDER BY c.at DESC, c.id DESC");
    let rows = query.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(Conflict {
                id: row.try_get(0)?,
                mapping: row.try_get(1)?,
                link: row.try_get(2)?,
                keys: Both::new(row.try_get(3)?, row.try_get(4)?).map(Key::from_canonical),
                field: row.try_get(5)?,
                bases: row.try_get::<Option<&[u8]>, _>(6)?.map(both).transpose()?,
                values: both(row.try_get(7)?)?,
                policy: named(&Policy::ALL, Policy::as_str, row.try_get(8)?)?,
                status: named(&ConflictStatus::ALL, ConflictStatus::name, row.try_get(9)?)?,
                at: parse_time(row.try_get(10)?)?,
                resolution: decision(row.try_get(11)?, row.try_get(12)?)?,
            })
        })
        .collect()
}

pub(super) async fn resolve(
    connection: &mut PgConnection,
    ids: &[i64],
    resolution: Option<&Resolution>,
) -> Result<u64, StoreError> {
    let (take, value) = decision_columns(resolution);
    let done = sqlx::query("UPDATE conflicts SET take = $1, take_value = $2 WHERE status = 'open' AND id = ANY($3)")
        .bind(take)
        .bind(value)
        .bind(ids)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}
