//! Listings as statements, the same in every dialect.

use super::statement::{all_of, condition, quote};
use crate::connector::{Access, Listing};
use crate::record::{Kind, Value};

/// An opened object as SQL text.
pub(super) struct Selection {
    /// The table as `FROM` takes it.
    pub(super) table: String,
    /// Its last part, quoted: what its columns are qualified with. The table
    /// gets no alias, so that a `where` may name it too.
    pub(super) qualifier: String,
    /// The column of each slot, as it is compared and ordered.
    pub(super) columns: Vec<String>,
    /// The column of each slot, as it is selected (a type that travels as
    /// text is cast).
    pub(super) selected: Vec<String>,
    pub(super) key: Vec<usize>,
    pub(super) cursor: Option<usize>,
    /// Rows may have no cursor value.
    pub(super) cursor_is_nullable: bool,
    /// `where` and `start` as one condition.
    pub(super) within: String,
}

/// One statement of a listing.
pub(super) struct Statement {
    pub(super) sql: String,
    /// The slots it selects, in order.
    pub(super) slots: Vec<usize>,
    /// Whether its rows carry a cursor value that counts for `reached`.
    pub(super) moves_cursor: bool,
}

/// Whether a value can be where a cursor stands. In a column of times, what is
/// no time (`infinity`, a text where SQLite lets one in) is not; nor is a
/// number without end (`NaN`, `Infinity`), which nothing is beyond.
pub(super) fn is_position(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::Date | Kind::LocalTime { .. } | Kind::Instant { .. } => {
            matches!(value, Value::Date(_) | Value::LocalTime(_) | Value::Instant(_))
        }
        _ => match value {
            Value::Float(float) => float.is_finite(),
            Value::WideDecimal(number) => !number.ends_with(['N', 'y']),
            value => !value.is_null(),
        },
    }
}

impl Selection {
    /// Of the table that `FROM` takes as `table`, with columns called `names`
    /// in the slots of `access`; `nullable` where a cursor may be missing.
    pub(super) fn new(table: String, name: &str, access: &Access, names: &[&str], nullable: bool) -> Selection {
        let mut selection = Selection {
            table,
            qualifier: quote(name),
            columns: Vec::new(),
            selected: Vec::new(),
            key: access.key.clone(),
            cursor: access.cursor,
            cursor_is_nullable: nullable,
            within: String::new(),
        };
        selection.columns = names.iter().map(|name| selection.qualified(name)).collect();
        selection.selected.clone_from(&selection.columns);
        selection
    }

    /// Keeps to the records of `where`, and to those that are not before
    /// `start`, or have no stamp: the slot, and its condition.
    pub(super) fn keep_within(&mut self, filter: Option<&str>, start: Option<(usize, String)>) {
        let filter = filter.map(condition);
        let start = start.map(|(slot, since)| format!("({} IS NULL OR {since})", self.columns[slot]));
        self.within = all_of(filter.as_deref().into_iter().chain(start.as_deref()));
    }

    /// `"table"."column"`.
    pub(super) fn qualified(&self, name: &str) -> String {
        format!("{}.{}", self.qualifier, quote(name))
    }

    /// A statement that says how a full listing would be read, for which the
    /// server has to understand `where`.
    pub(super) fn explained(&self) -> String {
        let listing = self.listing(&Listing::Full, None);
        listing.first().map(|statement| format!("EXPLAIN {}", statement.sql)).unwrap_or_default()
    }

    /// The statements of a listing, one after the other. `from` is the
    /// condition on the cursor, where the listing has one.
    pub(super) fn listing(&self, listing: &Listing, from: Option<&str>) -> Vec<Statement> {
        let everything: Vec<usize> = (0..self.columns.len()).collect();
        let key = || self.key.iter().map(|slot| self.columns[*slot].as_str());
        match (listing, self.cursor) {
            (Listing::Keys, _) => vec![self.statement(self.key.clone(), &[], key(), false)],
            (Listing::Changes { .. }, Some(cursor)) => {
                let column = &self.columns[cursor];
                let there = format!("{column} IS NOT NULL");
                let conditions = [self.within.as_str(), from.unwrap_or(&there)];
                let order = std::iter::once(column.as_str()).chain(key());
                let mut statements = vec![self.statement(everything.clone(), &conditions, order, true)];
                // Without an index a table is read from end to end for rows that cannot be there.
                if self.cursor_is_nullable {
                    let nulls = format!("{column} IS NULL");
                    statements.push(self.statement(everything, &[self.within.as_str(), &nulls], key(), false));
                }
                statements
            }
            (Listing::Full | Listing::Changes { .. }, _) => {
                vec![self.statement(everything, &[self.within.as_str()], key(), false)]
            }
        }
    }

    fn statement<'a>(
        &self,
        slots: Vec<usize>,
        conditions: &[&str],
        order: impl Iterator<Item = &'a str>,
        moves_cursor: bool,
    ) -> Statement {
        let selected: Vec<&str> = slots.iter().map(|slot| self.selected[*slot].as_str()).collect();
        let order = order.collect::<Vec<_>>().join(", ");
        let order = if order.is_empty() { order } else { format!(" ORDER BY {order}") };
        let sql = format!(
            "SELECT {} FROM {} WHERE {}{order}",
            selected.join(", "),
            self.table,
            all_of(conditions.iter().copied()),
        );
        Statement { sql, slots, moves_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_asked_for_where_there_can_be_any() {
        for (cursor_is_nullable, statements) in [(true, 2), (false, 1)] {
            let selection = Selection {
                table: "t".into(),
                qualifier: "t".into(),
                columns: vec!["id".into(), "n".into()],
                selected: vec!["id".into(), "n".into()],
                key: vec![0],
                cursor: Some(1),
                cursor_is_nullable,
                within: "TRUE".into(),
            };
            let listing = Listing::changes(None);
            let made = selection.listing(&listing, None);
            assert_eq!(made.len(), statements);
            assert!(made[0].moves_cursor && made[0].sql.contains("n IS NOT NULL"), "{}", made[0].sql);
        }
    }
}
