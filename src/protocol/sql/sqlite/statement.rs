//! The statements that make many changes of one form.

use super::super::statement::quote;
use super::super::write::Form;
use super::read::Opened;
use crate::connector::Action;
use crate::record::{Value, same};

impl Opened {
    /// Whether one statement makes many changes of a form: creates under known
    /// keys, and updates of what is no key.
    pub(super) fn goes_together(&self, form: &Form) -> bool {
        match form.action {
            Action::Create => form.keyed,
            Action::Update => !form.set.is_empty() && !form.set.iter().any(|slot| self.access.key.contains(slot)),
            Action::Delete => false,
        }
    }

    /// The statement that makes so many changes of a form. Each row of its
    /// values is a key and what is set.
    pub(super) fn statement(&self, form: &Form, count: usize) -> String {
        let key = &self.access.key;
        let table = &self.selection.table;
        let row = format!("({})", vec!["?"; key.len() + form.set.len()].join(", "));
        let values = vec![row; count].join(", ");
        if form.action == Action::Create {
            let slots: Vec<usize> = key.iter().chain(&form.set).copied().collect();
            return format!("INSERT OR ABORT INTO {table} ({}) VALUES {values}", self.names(&slots));
        }
        let keys = (0..key.len()).map(|number| format!("engine_key_{number}"));
        let set = (0..form.set.len()).map(|number| format!("engine_value_{number}"));
        let names: Vec<String> = keys.clone().chain(set.clone()).collect();
        // The bare `+` takes no affinity along: the column's own applies.
        let by_key: Vec<String> =
            key.iter().zip(keys).map(|(slot, name)| format!("{} = +{name}", self.selection.columns[*slot])).collect();
        let set = form.set.iter().zip(set);
        let set: Vec<String> =
            set.map(|(slot, name)| format!("{} = {name}", quote(&self.columns[*slot].field.name))).collect();
        format!(
            "WITH engine_new({}) AS (VALUES {values}) UPDATE OR ABORT {table} SET {} FROM engine_new WHERE {}{}",
            names.join(", "),
            set.join(", "),
            by_key.join(" AND "),
            self.lives()
        )
    }

    /// The condition that a row is not marked as deleted.
    pub(super) fn lives(&self) -> String {
        self.access.marked.as_ref().map_or_else(String::new, |(slot, value)| {
            let marked = self.columns[*slot].store(value).literal();
            format!(" AND {} IS NOT {marked}", self.selection.columns[*slot])
        })
    }

    /// Whether a row is marked as deleted.
    pub(super) fn is_marked(&self, row: &[Value]) -> bool {
        self.access.marked.as_ref().is_some_and(|(slot, value)| same(&row[*slot], value))
    }

    pub(super) fn names(&self, slots: &[usize]) -> String {
        slots.iter().map(|slot| quote(&self.columns[*slot].field.name)).collect::<Vec<_>>().join(", ")
    }
}
