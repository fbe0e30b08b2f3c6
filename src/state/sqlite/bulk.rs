//! Many rows in few statements: a statement of its own for each row costs ten
//! times as much.

use std::fmt::Write;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, Sqlite, SqliteConnection, Type};

/// Rows in a full statement. The rest goes in smaller powers of two, so that
/// few statements are ever prepared.
const ROWS: usize = 256;

/// A statement over many rows: `head`, then `VALUES` with the rows, then
/// `tail`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bulk {
    pub head: &'static str,
    pub columns: usize,
    pub tail: &'static str,
}

/// One row being bound.
pub(super) struct RowBinder<'a>(&'a mut SqliteArguments);

impl RowBinder<'_> {
    pub(super) fn bind<'t>(&mut self, value: impl Encode<'t, Sqlite> + Type<Sqlite>) -> &mut Self {
        self.0.add(value).expect("numbers, texts and blobs can always be bound");
        self
    }
}

impl Bulk {
    /// Runs the statement for all rows; says how many it affected.
    pub(super) async fn run<T>(
        self,
        connection: &mut SqliteConnection,
        rows: &[T],
        bind: impl Fn(&mut RowBinder, &T),
    ) -> Result<u64, sqlx::Error> {
        let mut affected = 0;
        let mut left = rows;
        while !left.is_empty() {
            let count = if left.len() >= ROWS { ROWS } else { 1 << left.len().ilog2() };
            let (chunk, rest) = left.split_at(count);
            let mut arguments = SqliteArguments::default();
            arguments.reserve(count * self.columns, 0);
            for row in chunk {
                bind(&mut RowBinder(&mut arguments), row);
            }
            assert_eq!(arguments.len(), count * self.columns, "a row binds each of its columns");
            let sql = AssertSqlSafe(self.statement(count));
            affected += sqlx::query_with(sql, arguments).execute(&mut *connection).await?.rows_affected();
            left = rest;
        }
        Ok(affected)
    }

    fn statement(self, rows: usize) -> String {
        let mut sql = String::with_capacity(self.head.len() + self.tail.len() + rows * (self.columns + 1) * 2 + 16);
        let _ = write!(sql, "{} VALUES ", self.head);
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ",(" });
            for column in 0..self.columns {
                sql.push_str(if column == 0 { "?" } else { ",?" });
            }
            sql.push(')');
        }
        let _ = write!(sql, " {}", self.tail);
        sql
    }
}
