//! Conflicts, the open ones and what became of the others.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::bulk::Bulk;
use super::codec::{both, decision, decision_columns, encode_all, named, parse_time, time_text};
use super::links::{json_keys, json_numbers};
use super::{Conflict, ConflictBefore as Before, ConflictFilter, ConflictStatus, StoreError};
use crate::compile::Policy;
use crate::plan::{LinkId, Resolution};
use crate::record::{Both, Key};

const STORE: Bulk = Bulk {
    head: "INSERT OR REPLACE INTO conflicts (id, mapping, link, source_key, target_key, field, bases, sides, policy, \
           status, at, take, take_value)",
    columns: 13,
    tail: "",
};

/// Finds what the batch replaces.
pub(super) const BEFORE: &str = "SELECT c.id, c.link, c.field, c.sides, c.take, c.take_value, c.status \
    FROM json_each(?1) j CROSS JOIN conflicts c ON c.link = j.value AND c.status = 'open' \
    UNION SELECT c.id, c.link, c.field, c.sides, c.take, c.take_value, c.status \
    FROM json_each(?2) j CROSS JOIN conflicts c ON c.id = j.value";

pub(super) async fn store(
    connection: &mut SqliteConnection,
    mapping: i64,
    conflicts: &[Conflict],
) -> Result<(), StoreError> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let mut conflicts = conflicts.to_vec();
    name_links(connection, mapping, &mut conflicts).await?;
    let mut open = BTreeMap::new();
    let mut by_id = BTreeMap::new();
    let rows = sqlx::query(BEFORE)
        .bind(json_numbers(conflicts.iter().map(|conflict| conflict.link)))
        .bind(json_numbers(conflicts.iter().map(|conflict| conflict.id).filter(|id| *id != 0)))
        .fetch_all(&mut *connection)
        .await?;
    for row in &rows {
        let id: i64 = row.try_get(0)?;
        if row.try_get::<&str, _>(6)? == ConflictStatus::Open.name() {
            open.insert((row.try_get::<LinkId, _>(1)?, row.try_get::<String, _>(2)?), id);
        }
        let values = both(row.try_get(3)?)?;
        by_id.insert(id, Before { values, decision: decision(row.try_get(4)?, row.try_get(5)?)? });
    }
    let mut next: i64 = sqlx::query_scalar("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'conflicts'")
        .fetch_one(&mut *connection)
        .await?;
    let next = || {
        next += 1;
        next
    };
    let rows = Before::number(conflicts, open, by_id, next)?;
    STORE
        .run(connection, &rows, |row, conflict| {
            let (take, value) = decision_columns(conflict.resolution.as_ref());
            row.bind(conflict.id)
                .bind(mapping)
                .bind(conflict.link)
                .bind(conflict.keys.source.as_str())
                .bind(conflict.keys.target.as_str())
                .bind(conflict.field.as_str())
                .bind(conflict.bases.as_ref().map(|bases| encode_all([&bases.source, &bases.target])))
                .bind(encode_all([&conflict.values.source, &conflict.values.target]))
                .bind(conflict.policy.as_str())
                .bind(conflict.status.name())
                .bind(time_text(conflict.at))
                .bind(take)
                .bind(value);
        })
        .await?;
    Ok(())
}

/// Finds the links that this very commit made.
async fn name_links(
    connection: &mut SqliteConnection,
    mapping: i64,
    conflicts: &mut [Conflict],
) -> Result<(), StoreError> {
    if conflicts.iter().all(|conflict| conflict.link != 0) {
        return Ok(());
    }
    let keys = json_keys(conflicts.iter().map(|conflict| &conflict.keys.source));
    let links: Vec<(String, LinkId)> = sqlx::query_as(
        "SELECT l.source_key, l.link FROM json_each(?1) j \
         CROSS JOIN links l ON l.mapping = ?2 AND l.source_key = j.value \
         WHERE NOT EXISTS (SELECT 1 FROM intents i WHERE l.link BETWEEN i.first_create AND i.last_create)",
    )
    .bind(keys)
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

pub(super) async fn find(
    connection: &mut SqliteConnection,
    filter: &ConflictFilter,
) -> Result<Vec<Conflict>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT c.id, m.name, c.link, c.source_key, c.target_key, c.field, c.bases, c.sides, c.policy, c.status, c.at, \
         c.take, c.take_value FROM conflicts c JOIN mappings m ON m.mapping = c.mapping WHERE 1",
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
            let numbers = json_numbers(numbers.iter().copied());
            query.push(format_args!(" AND {column} IN (SELECT value FROM json_each(")).push_bind(numbers).push("))");
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
    connection: &mut SqliteConnection,
    ids: &[i64],
    resolution: Option<&Resolution>,
) -> Result<u64, StoreError> {
    let (take, value) = decision_columns(resolution);
    let done = sqlx::query(
        "UPDATE conflicts SET take = ?, take_value = ? \
         WHERE status = 'open' AND id IN (SELECT value FROM json_each(?))",
    )
    .bind(take)
    .bind(value)
    .bind(json_numbers(ids.iter().copied()))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
