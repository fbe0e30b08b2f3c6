//! Looking for the rows of a batch by their values.

use futures::StreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, Row};

use super::super::statement::safe;
use super::read::Opened;
use super::value::Stored;
use crate::connector::{Found, Scope};
use crate::record::{Batch, Value};

/// The probes, one row each: a list of values as JSON.
const PROBES: &str = "(SELECT key AS engine_index, value AS engine_value FROM json_each(?1)) AS engine_probe";

impl Opened {
    /// Rows whose slots `by` equal a probe, with the probe's index and whether
    /// the row is within `where` and `start`.
    pub(super) async fn find(
        &self,
        connection: &mut SqliteConnection,
        by: &[usize],
        probes: &[Vec<Value>],
        scope: Scope,
    ) -> Result<Found, sqlx::Error> {
        let mut found = Found { batch: Batch::new(self.access.shape.clone()), probes: Vec::new(), within: Vec::new() };
        let stored: Vec<(usize, Vec<Stored>)> = probes
            .iter()
            .enumerate()
            .filter(|(_, probe)| !probe.iter().any(Value::is_null))
            .map(|(index, probe)| {
                (index, by.iter().zip(probe).map(|(slot, value)| self.columns[*slot].store(value)).collect())
            })
            .collect();
        if stored.is_empty() || by.is_empty() {
            return Ok(found);
        }
        let everything: Vec<usize> = (0..self.columns.len()).collect();
        let question = Question::new(by, &stored, scope);
        let mut sql = self.by_index(&question);
        if !self.has_index(connection, &sql).await? {
            sql = self.by_reading_once(&question);
        }
        let items = stored.iter().map(|(_, probe)| match probe.as_slice() {
            [only] => only.json(),
            several => several.iter().map(Stored::json).collect(),
        });
        let mut arguments = SqliteArguments::default();
        let list: serde_json::Value = items.collect();
        arguments.add(list.to_string()).map_err(sqlx::Error::Encode)?;
        let mut rows = sqlx::query_with(safe(sql), arguments).fetch(connection);
        while let Some(row) = rows.next().await {
            let row = row?;
            let position: i64 = row.try_get(0)?;
            let position = usize::try_from(position).ok().and_then(|position| stored.get(position));
            let (index, _) = position.ok_or_else(|| sqlx::Error::Protocol("an answer to no probe".into()))?;
            let (mark, values) = self.decode(&row, 2, &everything)?;
            found.batch.push(mark, values);
            found.probes.push(*index);
            found.within.push(row.try_get::<i64, _>(1)? != 0);
        }
        Ok(found)
    }

    /// Whether a statement of probes looks into indexes alone, by SQLite's own
    /// plan for it: an index may be partial, of another collation, or behind a
    /// view. Asked once of each statement.
    async fn has_index(&self, connection: &mut SqliteConnection, sql: &str) -> Result<bool, sqlx::Error> {
        if let Some(known) = self.probing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(sql) {
            return Ok(*known);
        }
        let plan = sqlx::query(safe(format!("EXPLAIN QUERY PLAN {sql}"))).persistent(false);
        let mut has_index = true;
        for step in plan.bind("[]").fetch_all(connection).await? {
            let step: &str = step.try_get(3)?;
            has_index &= !step.starts_with("SCAN ") || step.starts_with("SCAN json_each");
        }
        self.probing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(sql.to_owned(), has_index);
        Ok(has_index)
    }

    /// CROSS JOIN keeps the order: each probe looks into the table's index,
    /// instead of each row looking into the list.
    fn by_index(&self, question: &Question<'_>) -> String {
        let columns: Vec<&str> = question.by.iter().map(|slot| self.selection.columns[*slot].as_str()).collect();
        format!(
            "SELECT engine_probe.engine_index, ({}) IS TRUE, {} FROM {PROBES} CROSS JOIN {} WHERE {} AND {}",
            self.selection.within,
            self.selection.selected.join(", "),
            self.selection.table,
            question.meets(columns.into_iter(), "engine_probe.engine_value"),
            self.scoped(question),
        )
    }

    /// Without an index each probe would read the whole table. So it is read
    /// once, for the rows that some probe may mean; the probes then look among
    /// those, for which SQLite makes an index of its own. A column keeps its
    /// affinity and its collation on the way.
    fn by_reading_once(&self, question: &Question<'_>) -> String {
        let named = self.selection.selected.iter().enumerate();
        let named: Vec<String> = named.map(|(slot, column)| format!("{column} AS engine_{slot}")).collect();
        let near = question.by.iter().enumerate().map(|(position, slot)| {
            let item = question.item(position, "value");
            format!("{} IN (SELECT {item} FROM json_each(?1))", self.selection.columns[*slot])
        });
        let near: Vec<String> = near.collect();
        let names: Vec<String> = (0..named.len()).map(|slot| format!("engine_near.engine_{slot}")).collect();
        format!(
            "WITH engine_near AS MATERIALIZED (SELECT ({}) IS TRUE AS engine_within, {} FROM {} WHERE {} AND {}) \
             SELECT engine_probe.engine_index, engine_near.engine_within, {} FROM {PROBES} CROSS JOIN engine_near WHERE {}",
            self.selection.within,
            named.join(", "),
            self.selection.table,
            near.join(" AND "),
            self.scoped(question),
            names.join(", "),
            question.meets(question.by.iter().map(|slot| names[*slot].as_str()), "engine_probe.engine_value"),
        )
    }

    fn scoped(&self, question: &Question<'_>) -> &str {
        match question.scope {
            Scope::Filtered => self.selection.within.as_str(),
            Scope::Everything => "TRUE",
        }
    }
}

/// What a statement of probes depends on.
struct Question<'a> {
    by: &'a [usize],
    /// Whether a blob is among the probes' values, per slot of `by`.
    blobs: Vec<bool>,
    scope: Scope,
}

impl<'a> Question<'a> {
    fn new(by: &'a [usize], probes: &[(usize, Vec<Stored>)], scope: Scope) -> Question<'a> {
        let is_blob = |position: usize| probes.iter().any(|(_, probe)| matches!(probe[position], Stored::Blob(_)));
        Question { by, blobs: (0..by.len()).map(is_blob).collect(), scope }
    }

    /// A probe's value, in the JSON item that SQL calls `item`. The bare `+`
    /// takes no affinity along: the column's own applies.
    fn item(&self, position: usize, item: &str) -> String {
        let item = if self.by.len() == 1 { item.to_owned() } else { format!("({item} ->> {position})") };
        if self.blobs[position] { format!("+unhex({item})") } else { format!("+{item}") }
    }

    /// The condition that the columns are what a probe asks for.
    fn meets<'c>(&self, columns: impl Iterator<Item = &'c str>, probe: &str) -> String {
        let equal = columns.enumerate().map(|(position, column)| format!("{column} = {}", self.item(position, probe)));
        equal.collect::<Vec<_>>().join(" AND ")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono_tz::Tz;
    use sqlx::Connection;

    use super::super::super::SqlSettings;
    use super::super::{Inner, describe};
    use super::*;
    use crate::connector::Access;
    use crate::record::Shape;

    async fn opened(connection: &mut SqliteConnection, table: &str) -> Opened {
        let table = describe::find(connection, table, Tz::UTC).await.unwrap().unwrap();
        let shape = Shape { fields: table.columns.iter().map(|column| column.field.clone()).collect() };
        let access = Access {
            object: "t".into(),
            shape: Arc::new(shape),
            key: vec![0],
            cursor: None,
            filter: None,
            start: None,
            marked: None,
            batch: 10,
        };
        let settings = SqlSettings::default();
        let inner = Inner { settings, path: "t".into(), read_only: false, pool: tokio::sync::OnceCell::new() };
        Opened::new(Arc::new(inner), table, access).unwrap()
    }

    async fn steps(connection: &mut SqliteConnection, sql: String) -> Vec<String> {
        let plan = sqlx::query(safe(format!("EXPLAIN QUERY PLAN {sql}"))).bind("[1]").fetch_all(connection).await;
        plan.unwrap().iter().map(|row| row.try_get(3).unwrap()).collect()
    }

    #[tokio::test]
    async fn probes_look_into_the_index() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, company TEXT, code TEXT, price DECIMAL(10,2), UNIQUE (company, code)); \
             CREATE INDEX by_price ON t (price); ",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        let opened = opened(&mut connection, "t").await;
        for by in [&[0][..], &[1, 2], &[3]] {
            let probe = (0, vec![Stored::Text("1".into()); by.len()]);
            let sql = opened.by_index(&Question::new(by, &[probe], Scope::Everything));
            assert!(opened.has_index(&mut connection, &sql).await.unwrap(), "{by:?}");
            let steps = steps(&mut connection, sql).await;
            assert!(steps[0].starts_with("SCAN json_each") && steps[1].starts_with("SEARCH t "), "{by:?}: {steps:?}");
        }
    }

    #[tokio::test]
    async fn without_an_index_the_table_is_read_once_for_all_probes() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, price DECIMAL(10,2), raw BLOB, gone INTEGER); \
             CREATE INDEX live ON t (price) WHERE gone = 0; \
             CREATE INDEX to_the_letter ON t (name COLLATE BINARY); \
             INSERT INTO t VALUES (1, 'Ana', 1.5, x'00ff', 0), (2, 'ANA', 2, x'01', 1), (3, 'Bo', 2, NULL, 1);",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        let opened = opened(&mut connection, "t").await;
        let probes = |probes: &[&[&str]]| -> Vec<Vec<Value>> {
            probes.iter().map(|probe| probe.iter().map(|value| Value::text(*value)).collect()).collect()
        };
        let cases = [
            (&[1][..], probes(&[&["ana"], &["x"], &["bo"]]), vec![(0, 1), (0, 2), (2, 3)]),
            (&[2], probes(&[&["2.00"], &["1.50"]]), vec![(0, 2), (0, 3), (1, 1)]),
            (&[3], vec![vec![Value::Bytes([0, 255].into())]], vec![(0, 1)]),
            (&[1, 2], probes(&[&["ANA", "2"], &["bo", "1.5"]]), vec![(0, 2)]),
        ];
        for (by, probes, expected) in cases {
            let stored: Vec<(usize, Vec<Stored>)> = probes
                .iter()
                .map(|probe| {
                    (0, by.iter().zip(probe).map(|(slot, value)| opened.columns[*slot].store(value)).collect())
                })
                .collect();
            let question = Question::new(by, &stored, Scope::Everything);
            assert!(!opened.has_index(&mut connection, &opened.by_index(&question)).await.unwrap(), "{by:?}");
            let steps = steps(&mut connection, opened.by_reading_once(&question)).await;
            let reads = steps.iter().filter(|step| step.starts_with("SCAN t")).count();
            assert!(reads == 1 && steps.last().unwrap().contains("AUTOMATIC"), "{by:?}: {steps:?}");
            let found = opened.find(&mut connection, by, &probes, Scope::Everything).await.unwrap();
            let ids = found.batch.rows().map(|(_, row)| row[0].to_string().parse().unwrap());
            let mut pairs: Vec<(usize, i64)> = found.probes.iter().copied().zip(ids).collect();
            pairs.sort_unstable();
            assert_eq!(pairs, expected, "{by:?}");
        }
    }
}
