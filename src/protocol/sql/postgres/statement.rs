//! The statements that make changes of one form.

use super::super::statement::quote;
use super::super::write::Form;
use super::read::Opened;
use crate::connector::Action;

impl Opened {
    /// The statement for changes of one form. Its parameters are arrays, one
    /// for each of `slots`: the key's, those to set, those expected.
    pub(super) fn statement(&self, form: &Form, slots: &[usize]) -> String {
        let selection = &self.selection;
        let (table, qualifier) = (&selection.table, &selection.qualifier);
        let keys = self.access.key.len();
        let names: Vec<String> = (0..slots.len()).map(|position| format!("engine_{position}")).collect();
        let arrays: Vec<String> = (1..=slots.len()).map(|number| format!("${number}::text[]")).collect();
        let cast: Vec<String> = names
            .iter()
            .zip(slots)
            .map(|(name, slot)| format!("{name}::{} AS {name}", self.columns[*slot].native.cast))
            .collect();
        let list = format!(
            "(SELECT engine_index, {} FROM unnest({}) WITH ORDINALITY AS engine_raw({}, engine_index))",
            cast.join(", "),
            arrays.join(", "),
            names.join(", ")
        );
        let by_key: Vec<String> = (0..keys)
            .map(|position| format!("{} = engine_change.{}", selection.columns[slots[position]], names[position]))
            .collect();
        let by_key = by_key.join(" AND ");
        let lives = self.lives();
        let expected = |position: usize| {
            let slot = slots[position];
            let expected = format!("engine_change.{}", names[position]);
            format!(" AND {}", self.columns[slot].native.unchanged(&selection.columns[slot], &expected))
        };
        let unchanged: String = (keys + form.set.len()..slots.len()).map(expected).collect();
        let returned = selection.selected.join(", ");
        match form.action {
            Action::Update if form.set.is_empty() => format!(
                "SELECT engine_change.engine_index, {returned} FROM {table} JOIN {list} AS engine_change ON {by_key}{unchanged}{lives}"
            ),
            Action::Update => {
                let set: Vec<String> = (keys..keys + form.set.len())
                    .map(|position| {
                        format!(
                            "{} = engine_change.{}",
                            quote(&self.columns[slots[position]].field.name),
                            names[position]
                        )
                    })
                    .collect();
                format!(
                    "UPDATE {table} SET {} FROM {list} AS engine_change WHERE {by_key}{unchanged}{lives} \
                     RETURNING engine_change.engine_index, {returned}",
                    set.join(", ")
                )
            }
            Action::Delete => format!(
                "DELETE FROM {table} USING {list} AS engine_change WHERE {by_key}{unchanged}{lives} RETURNING engine_change.engine_index"
            ),
            // The rows that went in take the table's name, so that they are
            // read like the table's own.
            Action::Create => format!(
                "WITH engine_change AS {list}, {qualifier} AS (INSERT INTO {table} ({}) OVERRIDING SYSTEM VALUE SELECT {} \
                 FROM engine_change WHERE NOT EXISTS (SELECT FROM {table} WHERE {by_key}) ORDER BY engine_index{} RETURNING *) \
                 SELECT engine_change.engine_index, {returned} FROM {qualifier} LEFT JOIN engine_change ON {by_key}",
                self.names(slots),
                names.join(", "),
                self.on_conflict(),
            ),
        }
    }

    /// The condition that a row is not marked as deleted.
    fn lives(&self) -> String {
        let Some((slot, value)) = &self.access.marked else { return String::new() };
        let marked = self.compared(*slot, value);
        marked.map_or_else(String::new, |marked| {
            format!(" AND {} IS DISTINCT FROM {marked}", self.selection.columns[*slot])
        })
    }

    /// A key that another writer takes at this moment is there already, too:
    /// where the key is unique, the insert steps back instead of failing.
    pub(super) fn on_conflict(&self) -> String {
        let name = |slot: usize| self.table.columns[slot].field.name.as_str();
        let key: Vec<&str> = self.access.key.iter().map(|slot| self.columns[*slot].field.name.as_str()).collect();
        let is_key =
            |unique: &&Vec<usize>| unique.len() == key.len() && unique.iter().all(|slot| key.contains(&name(*slot)));
        match self.table.arbiters.iter().find(is_key) {
            Some(_) => format!(" ON CONFLICT ({}) DO NOTHING", self.names(&self.access.key)),
            None => String::new(),
        }
    }

    pub(super) fn names(&self, slots: &[usize]) -> String {
        slots.iter().map(|slot| quote(&self.columns[*slot].field.name)).collect::<Vec<_>>().join(", ")
    }
}
