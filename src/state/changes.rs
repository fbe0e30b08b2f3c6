//! The changes of intents as the tables hold them: what people may read as
//! JSON, the values beside it, exactly.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::codec::encode_all;
use super::error::damaged;
use super::{Before, Intent, IntentField, StoreError};
use crate::connector::Action;
use crate::plan::LinkId;
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

/// The JSON and the values of changes.
pub(super) fn pack(intents: &[Intent]) -> (String, Vec<u8>) {
    let changes: Vec<_> = intents.iter().map(change).collect();
    let fields = intents.iter().flat_map(|change| &change.fields);
    let values = fields.flat_map(|field| {
        [Some(&field.value), field.expect.as_ref(), Some(&field.bases.source), Some(&field.bases.target)]
    });
    let set = intents.iter().flat_map(|change| change.set.iter().map(|(_, value)| value));
    let text = serde_json::to_string(&changes).expect("changes are JSON");
    (text, encode_all(values.flatten().chain(set)))
}

/// What `pack` packed.
pub(super) fn unpack(changes: &str, values: &[u8]) -> Result<Vec<Intent>, StoreError> {
    let changes: Vec<Change> = serde_json::from_str(changes).map_err(|_| damaged("an intent"))?;
    let mut values = decode_values(values).map_err(|_| damaged("an intent"))?.into_iter();
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
    Ok(intents)
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
