//! Intents: creates stand in `links` already, so that their answer costs one
//! deleted row; changes are packed per batch.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::changes::{pack, unpack};
use super::codec::{parse_time, side, time_text};
use super::links;
use super::mappings::MappingRow;
use super::{Answered, Intents, IntentsId, StoreError};
use crate::plan::{Link, LinkId};

pub(super) async fn store(
    connection: &mut PgConnection,
    mapping: &mut MappingRow,
    intents: &Intents,
) -> Result<IntentsId, StoreError> {
    let first = mapping.last_link() + 1;
    let creates: Vec<_> = intents.creates.iter().map(|link| (mapping.next_link(), link)).collect();
    links::insert(connection, mapping.mapping, &creates).await?;
    let (changes, values) = pack(&intents.changes);
    let query = sqlx::query_scalar(
        "INSERT INTO intents (mapping, side, token, at, layout, first_create, last_create, keyless, changes, change_values) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING intents",
    )
    .bind(mapping.mapping)
    .bind(intents.side.name())
    .bind(&intents.token)
    .bind(time_text(intents.at))
    .bind(intents.layout)
    .bind(first)
    .bind(mapping.last_link())
    .bind(intents.creates.iter().any(|link| link.keys.source.is_empty() || link.keys.target.is_empty()))
    .bind(changes)
    .bind(values);
    Ok(query.fetch_one(connection).await?)
}

pub(super) async fn open(
    connection: &mut PgConnection,
    mapping: &str,
) -> Result<Vec<(IntentsId, Intents)>, StoreError> {
    type Row = (IntentsId, String, Option<String>, String, i64, LinkId, LinkId, String, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT intents, side, token, at, layout, first_create, last_create, changes, change_values FROM intents \
         WHERE mapping = (SELECT mapping FROM mappings WHERE name = $1) ORDER BY intents",
    )
    .bind(mapping)
    .fetch_all(&mut *connection)
    .await?;
    let mut open = Vec::with_capacity(rows.len());
    for (id, word, token, at, layout, first, last, changes, values) in rows {
        let links = links::range(connection, first, last).await?;
        let intents = Intents {
            side: side(&word)?,
            token,
            at: parse_time(&at)?,
            layout,
            creates: links.into_iter().map(|link| Link { id: 0, ..link }).collect(),
            changes: unpack(&changes, &values)?,
        };
        open.push((id, intents));
    }
    Ok(open)
}

/// Closes intents: creates become links as they stand but for those that were
/// not made. Answers with the first and the last number among them.
pub(super) async fn answer(
    connection: &mut PgConnection,
    mapping: &mut MappingRow,
    answered: &Answered,
) -> Result<(LinkId, LinkId), StoreError> {
    let row: Option<(LinkId, LinkId, bool)> = sqlx::query_as(
        "DELETE FROM intents WHERE intents = $1 AND mapping = $2 RETURNING first_create, last_create, keyless",
    )
    .bind(answered.intents)
    .bind(mapping.mapping)
    .fetch_optional(&mut *connection)
    .await?;
    let (first, last, keyless) = row.ok_or_else(|| StoreError::not_open(answered.intents))?;
    let not_made: BTreeSet<LinkId> =
        answered.not_made.iter().map(|position| first + position_number(*position)).collect();
    if not_made.last().is_some_and(|newest| *newest > last) {
        return Err(StoreError::no_create(answered));
    }
    if !not_made.is_empty() {
        sqlx::query("DELETE FROM links WHERE link = ANY($1)")
            .bind(not_made.iter().copied().collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    mapping.links += last - first + 1 - position_number(not_made.len());
    if keyless {
        let without: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM links WHERE link BETWEEN $1 AND $2 \
             AND (source_key IS NULL OR target_key IS NULL))",
        )
        .bind(first)
        .bind(last)
        .fetch_one(connection)
        .await?;
        if without {
            return Err(StoreError::without_key(answered.intents));
        }
    }
    Ok((first, last))
}

fn position_number(position: usize) -> i64 {
    i64::try_from(position).expect("a batch has fewer creates than that")
}
