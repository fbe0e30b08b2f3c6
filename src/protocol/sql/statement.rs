//! The text of SQL statements: the one place where names are quoted, values
//! are written as literals, and a text put together at run time is vouched
//! for to the driver.
//!
//! What may stand in a statement: names out of the database's own catalog,
//! through [`quote`]; values through [`literal`] or as parameters; the user's
//! own `where`, as a condition in brackets through [`condition`].

use sqlx::AssertSqlSafe;

/// A statement put together out of the parts this module makes.
pub(in crate::protocol) fn safe(sql: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql)
}

/// A name as SQL takes it whatever it holds.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL takes it whatever it holds (backslashes are plain: the
/// PostgreSQL connector switches `standard_conforming_strings` on).
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A condition somebody else wrote. The closing bracket stands on a line of
/// its own, out of the reach of a trailing comment.
pub(super) fn condition(text: &str) -> String {
    format!("({text}\n)")
}

/// `a AND b`; `TRUE` for none.
pub(super) fn all_of<'a>(conditions: impl IntoIterator<Item = &'a str>) -> String {
    let joined = conditions.into_iter().collect::<Vec<_>>().join(" AND ");
    if joined.is_empty() { "TRUE".into() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_name_or_a_literal() {
        assert_eq!(quote("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(condition("a = 1 -- why"), "(a = 1 -- why\n)");
    }
}
