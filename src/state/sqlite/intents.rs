//! Intents: creates stand in `links` already, so that their answer costs one
//! deleted row; changes are packed per batch.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::codec::{encode_all, parse_time, side, time_text};
use super::error::damaged;
use super::links;
use super::mappings::MappingRow;
use super::{Answered, Before, Intent, IntentField, Intents, IntentsId, StoreError};
use crate::connector::Action;
use crate::plan::{Link, LinkId};
use crate::record::{Both, Key, Value, decode_values};

/// A change as people may read it. Its values stand apart, exactly: for each
/// field the value, what is expected (where anything is), both bases; after
/// those of all changes, what is set beside fields.
#[derive(Serialize, Deserialize)]
struct Change {
    link: LinkId,
    keys: Both<Key>,
    revision: u64,
    action: Action,
    fields: Vec<(usize, Expects)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    set: Vec<String>,
    /// When people last changed the record, and what it showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<(DateTime<Utc>, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expects {
    Something,
    Nothing,
}

pub(super) async fn store(
    connection: &mut SqliteConnection,
    mapping: &mut MappingRow,
    intents: &Intents,
) -> Result<IntentsId, StoreError> {
    let first = mapping.last_link() + 1;
    let creates: Vec<_> = intents.creates.iter().map(|link| (mapping.next_link(), link)).collect();
    links::insert(connection, mapping.mapping, &creates).await?;
    let changes: Vec<_> = intents.changes.iter().map(change).collect();
    let fields = intents.changes.iter().flat_map(|change| &change.fields);
    let values = fields.flat_map(|field| {
        [Some(&field.value), field.expect.as_ref(), Some(&field.bases.source), Some(&field.bases.target)]
    });
    let set = intents.changes.iter().flat_map(|change| change.set.iter().map(|(_, value)| value));
    let done = sqlx::query(
        "INSERT INTO intents (mapping, side, token, at, layout, first_create, last_create, keyless, changes, change_values) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(mapping.mapping)
    .bind(intents.side.name())
    .bind(&intents.token)
    .bind(time_text(intents.at))
    .bind(intents.layout)
    .bind(first)
    .bind(mapping.last_link())
    .bind(intents.creates.iter().any(|link| link.keys.source.is_empty() || link.keys.target.is_empty()))
    .bind(serde_json::to_string(&changes).expect("changes are JSON"))
    .bind(encode_all(values.flatten().chain(set)))
    .execute(connection)
    .await?;
    Ok(done.last_insert_rowid())
}

fn change(intent: &Intent) -> Change {
    let expects =
        |field: &IntentField| (field.field, if field.expect.is_some() { Expects::Something } else { Expects::Nothing });
    Change {
        link: intent.link,
        keys: intent.keys.clone(),
        revision: intent.revision,
        action: intent.action,
        fields: intent.fields.iter().map(expects).collect(),
        set: intent.set.iter().map(|(name, _)| name.clone()).collect(),
        before: intent.before.map(|before| (before.people, before.beside)),
    }
}

pub(super) async fn open(
    connection: &mut SqliteConnection,
    mapping: &str,
) -> Result<Vec<(IntentsId, Intents)>, StoreError> {
    type Row = (IntentsId, String, Option<String>, String, i64, LinkId, LinkId, String, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT intents, side, token, at, layout, first_create, last_create, changes, change_values FROM intents \
         WHERE mapping = (SELECT mapping FROM mappings WHERE name = ?) ORDER BY intents",
    )
    .bind(mapping)
    .fetch_all(&mut *connection)
    .await?;
    let mut open = Vec::with_capacity(rows.len());
    for (id, word, token, at, layout, first, last, changes, values) in rows {
        let links = links::range(connection, first, last).await?;
        let changes: Vec<Change> = serde_json::from_str(&changes).map_err(|_| damaged("an intent"))?;
        let mut values = decode_values(&values).map_err(|_| damaged("an intent"))?.into_iter();
        let mut names: Vec<Vec<String>> = Vec::with_capacity(changes.len());
        let mut intents = Vec::with_capacity(changes.len());
        for mut change in changes {
            names.push(std::mem::take(&mut change.set));
            intents.push(intent(change, &mut values)?);
        }
        for (intent, names) in intents.iter_mut().zip(names) {
            for name in names {
                intent.set.push((name, values.next().ok_or_else(|| damaged("an intent"))?));
            }
        }
        let intents = Intents {
            side: side(&word)?,
            token,
            at: parse_time(&at)?,
            layout,
            creates: links.into_iter().map(|link| Link { id: 0, ..link }).collect(),
            changes: intents,
        };
        open.push((id, intents));
    }
    Ok(open)
}

fn intent(change: Change, values: &mut impl Iterator<Item = Value>) -> Result<Intent, StoreError> {
    let mut next = || values.next().ok_or_else(|| damaged("an intent"));
    let mut fields = Vec::with_capacity(change.fields.len());
    for (field, expects) in change.fields {
        let value = next()?;
        let expect = match expects {
            Expects::Something => Some(next()?),
            Expects::Nothing => None,
        };
        fields.push(IntentField { field, value, expect, bases: Both::new(next()?, next()?) });
    }
    let Change { link, keys, revision, action, before, .. } = change;
    let before = before.map(|(people, beside)| Before { people, beside });
    Ok(Intent { link, keys, revision, action, fields, set: Vec::new(), before })
}

/// Closes intents: creates become links as they stand but for those that were
/// not made. Answers with the first and the last number among them.
pub(super) async fn answer(
    connection: &mut SqliteConnection,
    mapping: &mut MappingRow,
    answered: &Answered,
) -> Result<(LinkId, LinkId), StoreError> {
    let row: Option<(LinkId, LinkId, bool)> = sqlx::query_as(
        "DELETE FROM intents WHERE intents = ? AND mapping = ? RETURNING first_create, last_create, keyless",
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
        sqlx::query("DELETE FROM links WHERE link IN (SELECT value FROM json_each(?))")
            .bind(links::json_numbers(not_made.iter().copied()))
            .execute(&mut *connection)
            .await?;
    }
    mapping.links += last - first + 1 - position_number(not_made.len());
    if keyless {
        let without: Option<LinkId> = sqlx::query_scalar(
            "SELECT link FROM links WHERE link BETWEEN ? AND ? AND (source_key IS NULL OR target_key IS NULL) LIMIT 1",
        )
        .bind(first)
        .bind(last)
        .fetch_optional(connection)
        .await?;
        if without.is_some() {
            return Err(StoreError::without_key(answered.intents));
        }
    }
    Ok((first, last))
}

fn position_number(position: usize) -> i64 {
    i64::try_from(position).expect("a batch has fewer creates than that")
}
