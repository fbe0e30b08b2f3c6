//! One change by a statement of its own.

use sqlx::sqlite::SqliteArguments;

use super::super::statement::quote;
use super::super::write::Form;
use super::write::Batch;
use crate::connector::{Action, Change, Outcome, Refusal};
use crate::record::Value;

impl Batch<'_> {
    /// Makes one change by a statement of its own.
    pub(super) async fn change(&mut self, change: &Change, form: &Form) -> Result<Outcome, sqlx::Error> {
        let object = self.object;
        let mut arguments = SqliteArguments::default();
        let key_slots = &object.access.key;
        let stored_key = |arguments: &mut SqliteArguments| {
            for (slot, value) in key_slots.iter().zip(&change.key) {
                object.columns[*slot].store(value).bind(arguments);
            }
        };
        let by_key = || {
            key_slots
                .iter()
                .map(|slot| format!("{} = ?", object.selection.columns[*slot]))
                .collect::<Vec<_>>()
                .join(" AND ")
                + &object.lives()
        };
        let table = &object.selection.table;
        let bind_set = |arguments: &mut SqliteArguments| {
            for (slot, value) in &change.set {
                object.columns[*slot].store(value).bind(arguments);
            }
        };
        let sql = match change.action {
            Action::Delete => {
                stored_key(&mut arguments);
                format!("DELETE FROM {table} WHERE {}", by_key())
            }
            // Nothing to write: the conditions held, and that is all.
            Action::Update if form.set.is_empty() => {
                return Ok(Outcome::Done { key: change.key.clone(), stored: None });
            }
            Action::Update => {
                bind_set(&mut arguments);
                stored_key(&mut arguments);
                let set: Vec<String> =
                    form.set.iter().map(|slot| format!("{} = ?", quote(&object.columns[*slot].field.name))).collect();
                format!("UPDATE OR ABORT {table} SET {} WHERE {}", set.join(", "), by_key())
            }
            Action::Create => {
                let given: Vec<usize> =
                    key_slots.iter().zip(&form.key).filter(|(_, there)| **there).map(|(slot, _)| *slot).collect();
                for (slot, value) in
                    key_slots.iter().zip(&change.key).filter(|(_, value)| !matches!(value, Value::Missing))
                {
                    object.columns[*slot].store(value).bind(&mut arguments);
                }
                bind_set(&mut arguments);
                let slots: Vec<usize> = given.iter().chain(&form.set).copied().collect();
                let returned: Vec<String> =
                    key_slots.iter().map(|slot| quote(&object.columns[*slot].field.name)).collect();
                let values = if slots.is_empty() {
                    "DEFAULT VALUES".into()
                } else {
                    format!("({}) VALUES ({})", self.object.names(&slots), vec!["?"; slots.len()].join(", "))
                };
                format!("INSERT OR ABORT INTO {table} {values} RETURNING {}", returned.join(", "))
            }
        };
        Ok(match self.attempt(sql, arguments).await? {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(row) => {
                let key = match (change.action, row) {
                    (Action::Create, Some(row)) => {
                        let (_, values) = object.decode(&row, 0, key_slots)?;
                        key_slots.iter().map(|slot| values[*slot].clone()).collect()
                    }
                    (Action::Create, None) => {
                        return Ok(Outcome::Refused(Refusal {
                            native: String::new(),
                            message: "the database did not keep the record (a trigger)".into(),
                            slot: None,
                        }));
                    }
                    (Action::Update, _) => new_key(change, key_slots),
                    _ => change.key.clone(),
                };
                Outcome::Done { key, stored: None }
            }
        })
    }
}

/// The key a record has after an update.
fn new_key(change: &Change, key_slots: &[usize]) -> Vec<Value> {
    let value = |(slot, old): (&usize, &Value)| {
        change.set.iter().find(|(set, _)| set == slot).map_or_else(|| old.clone(), |(_, new)| new.clone())
    };
    key_slots.iter().zip(&change.key).map(value).collect()
}
