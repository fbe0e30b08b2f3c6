//! SQLite's catalog: tables, views, and what their columns hold.

use std::path::Path;

use chrono_tz::Tz;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Row, ValueRef};

use super::super::describe::{ObjectName, Pick, pick, written};
use super::super::statement::{quote, safe};
use super::stamp::{self, Stamp};
use super::value::{Column, kind};
use crate::connector::{Description, ObjectSummary};
use crate::record::{Field, Kind, Shape};

/// Rows looked at to learn the form of the times in a table.
const SAMPLE: u32 = 100;

/// A table or view, as the catalog tells it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The primary key's columns.
    pub(super) key: Vec<usize>,
    pub(super) unique: Vec<Vec<usize>>,
    /// The columns that an index begins with.
    indexed: Vec<usize>,
    /// The column that is the row's number (`INTEGER PRIMARY KEY`): SQLite
    /// fills it in.
    pub(super) row_number: Option<usize>,
    /// The default expression of each column.
    pub(super) defaults: Vec<Option<String>>,
    is_view: bool,
    pub(super) has_triggers: bool,
    /// Foreign keys of it are checked only when a transaction commits, and
    /// its rows have the numbers SQLite names the broken ones by.
    pub(super) defers_references: bool,
    can_create: bool,
    can_update: bool,
    can_delete: bool,
}

/// Every table and view.
pub(super) async fn list(connection: &mut SqliteConnection) -> Result<Vec<ObjectSummary>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         ORDER BY name",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok(ObjectSummary { name: written([row.try_get::<&str, _>(0)?]), kind: row.try_get(1)? }))
        .collect()
}

/// The table a name leads to; `Err` holds the names it might have meant.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    object: &str,
    zone: Tz,
) -> Result<Result<Table, Vec<String>>, sqlx::Error> {
    let Some(name) = ObjectName::parse(object) else { return Ok(Err(Vec::new())) };
    let name = match name.parts.as_slice() {
        [name] => name,
        [schema, name] if schema.eq_ignore_ascii_case("main") => name,
        _ => return Ok(Err(Vec::new())),
    };
    let rows = sqlx::query("SELECT name, type, sql FROM sqlite_schema WHERE type IN ('table', 'view')")
        .fetch_all(&mut *connection)
        .await?;
    let names: Vec<&str> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let row = match pick(name, names.iter().copied()) {
        Pick::One(index) => &rows[index],
        Pick::None => return Ok(Err(Vec::new())),
        Pick::Several(which) => return Ok(Err(which.into_iter().map(|index| written([names[index]])).collect())),
    };
    let is_view = row.try_get::<&str, _>(1)? == "view";
    table(connection, row.try_get(0)?, is_view, zone).await.map(Ok)
}

async fn table(connection: &mut SqliteConnection, name: String, is_view: bool, zone: Tz) -> Result<Table, sqlx::Error> {
    let rows = sqlx::query("SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)")
        .bind(&name)
        .fetch_all(&mut *connection)
        .await?;
    let mut columns = Vec::new();
    let mut defaults = Vec::new();
    let mut numbered_key = Vec::new();
    for row in &rows {
        let hidden: i64 = row.try_get(5)?;
        if hidden == 1 {
            continue;
        }
        let declared: String = row.try_get(1)?;
        let key: i64 = row.try_get(4)?;
        let default: Option<String> = row.try_get(3)?;
        let mut field = Field::new(row.try_get(0)?, kind(&declared));
        field.nullable = row.try_get::<i64, _>(2)? == 0;
        field.generated = default.is_some() || hidden > 1;
        field.has_default = default.is_some() && hidden <= 1;
        field.read_only = hidden > 1;
        field.native = declared.into();
        if key > 0 {
            numbered_key.push((key, columns.len()));
        }
        columns.push(Column { field, stamp: stamp::PLAIN, zone });
        defaults.push(default);
    }
    numbered_key.sort_unstable();
    let key: Vec<usize> = numbered_key.into_iter().map(|(_, slot)| slot).collect();
    let slot = |name: &str| columns.iter().position(|column| column.field.name.eq_ignore_ascii_case(name));

    let mut unique = if key.is_empty() { Vec::new() } else { vec![key.clone()] };
    let mut indexed: Vec<usize> = key.first().copied().into_iter().collect();
    let mut key_has_index = false;
    let indexes = sqlx::query("SELECT name, origin, \"unique\" = 1 AND partial = 0 FROM pragma_index_list(?1)")
        .bind(&name)
        .fetch_all(&mut *connection)
        .await?;
    for index in &indexes {
        let tells_apart = index.try_get::<bool, _>(2)?;
        key_has_index |= tells_apart && index.try_get::<&str, _>(1)? == "pk";
        let members = sqlx::query("SELECT name FROM pragma_index_info(?1) ORDER BY seqno")
            .bind(index.try_get::<&str, _>(0)?)
            .fetch_all(&mut *connection)
            .await?;
        // An index over an expression has no name there and says nothing about columns.
        let slots: Option<Vec<usize>> =
            members.iter().map(|member| member.try_get::<Option<&str>, _>(0).ok()?.and_then(slot)).collect();
        indexed.extend(members.first().and_then(|first| first.try_get::<Option<&str>, _>(0).ok()?.and_then(slot)));
        unique.extend(slots.filter(|slots| tells_apart && !unique.contains(slots)));
    }
    let without_rowid: i64 = sqlx::query("SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1")
        .bind(&name)
        .fetch_optional(&mut *connection)
        .await?
        .map_or(Ok(0), |row| row.try_get(0))?;
    let row_number = match key.as_slice() {
        [only]
            if without_rowid == 0 && !key_has_index && columns[*only].field.native.eq_ignore_ascii_case("integer") =>
        {
            Some(*only)
        }
        _ => None,
    };
    if let Some(slot) = row_number {
        columns[slot].field.generated = true;
        columns[slot].field.has_default = false;
        columns[slot].field.nullable = false;
    }
    let triggers = sqlx::query("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE")
        .bind(&name)
        .fetch_all(&mut *connection)
        .await?;
    let triggers: Vec<String> =
        triggers.iter().map(|row| row.try_get::<String, _>(0).map(|sql| one_line(&sql))).collect::<Result<_, _>>()?;
    let definition: Option<String> =
        sqlx::query_scalar("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1")
            .bind(&name)
            .fetch_optional(&mut *connection)
            .await?;
    // The catalog's pragmas do not tell; only the text does.
    let definition = definition.map(|sql| one_line(&sql)).unwrap_or_default();
    let (defers_references, names_collation) =
        (definition.contains("INITIALLY DEFERRED"), definition.contains("COLLATE"));
    let writable = |event: &str| !is_view || triggers.iter().any(|sql| sql.contains(event));
    let mut table = Table {
        name,
        columns,
        key,
        unique,
        indexed,
        row_number,
        defaults,
        is_view,
        has_triggers: !triggers.is_empty(),
        defers_references: defers_references && without_rowid == 0,
        can_create: writable("INSTEAD OF INSERT"),
        can_update: writable("INSTEAD OF UPDATE"),
        can_delete: writable("INSTEAD OF DELETE"),
    };
    table.learn_stamps(connection, without_rowid == 0 && !is_view).await?;
    if is_view || names_collation {
        table.learn_collations(connection).await?;
    }
    Ok(table)
}

/// Stamps of a column closer than this many nanoseconds may be the same
/// moment: `CURRENT_TIMESTAMP` counts seconds.
fn grain(column: &Column) -> u64 {
    let digits = match (&column.field.kind, column.stamp) {
        (Kind::Date, _) => return 86_400_000_000_000,
        (_, Stamp::Text { digits, .. }) => u32::try_from(digits.min(9)).unwrap_or(9),
        (_, Stamp::Seconds) => 0,
        (_, Stamp::Milliseconds) => 3,
    };
    10u64.pow(9 - digits)
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase()
}

impl Table {
    /// Looks at some rows for the form of the times in them.
    async fn learn_stamps(&mut self, connection: &mut SqliteConnection, numbered: bool) -> Result<(), sqlx::Error> {
        let slots: Vec<usize> = (0..self.columns.len())
            .filter(|slot| matches!(self.columns[*slot].field.kind, Kind::LocalTime { .. } | Kind::Instant { .. }))
            .collect();
        if slots.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = slots.iter().map(|slot| quote(&self.columns[*slot].field.name)).collect();
        let order = if numbered { "ORDER BY rowid DESC" } else { "" };
        let sql = format!("SELECT {} FROM {} {order} LIMIT {SAMPLE}", names.join(", "), quote(&self.name));
        let rows = sqlx::query(safe(sql)).persistent(false).fetch_all(connection).await?;
        for (index, slot) in slots.into_iter().enumerate() {
            let mut learnt: Option<Stamp> = None;
            for row in &rows {
                let raw = row.try_get_raw(index)?;
                if raw.is_null() {
                    continue;
                }
                let seen = if let Ok(text) = row.try_get::<&str, _>(index) {
                    stamp::parse(text).map(|parsed| parsed.form)
                } else {
                    row.try_get::<i64, _>(index).ok().and_then(stamp::from_count).map(|(_, form)| form)
                };
                learnt = match (learnt, seen) {
                    (Some(Stamp::Text { separator, digits, zone }), Some(Stamp::Text { digits: more, .. })) => {
                        Some(Stamp::Text { separator, digits: digits.max(more), zone })
                    }
                    (learnt, seen) => learnt.or(seen),
                };
            }
            let column = &mut self.columns[slot];
            let has_zone_type = matches!(column.field.kind, Kind::Instant { .. });
            column.stamp = match learnt {
                Some(stamp) => stamp,
                None if has_zone_type => Stamp::Text { separator: ' ', digits: 0, zone: stamp::Zone::Z },
                None => stamp::PLAIN,
            };
            if column.stamp.has_zone() || has_zone_type {
                let digits = match column.stamp {
                    Stamp::Text { .. } => 9,
                    Stamp::Seconds => 0,
                    Stamp::Milliseconds => 3,
                };
                column.field.kind = Kind::Instant { digits };
            }
        }
        Ok(())
    }

    /// The catalog does not tell collations: the column is asked whether it
    /// takes some texts for one.
    async fn learn_collations(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let table = quote(&self.name);
        let texts = self.columns.iter().map(|column| {
            let name = quote(&column.field.name);
            format!(
                "(SELECT count(*) < 3 FROM (SELECT {name} FROM {table} WHERE FALSE UNION SELECT 'a' UNION SELECT 'A' UNION SELECT 'a '))"
            )
        });
        let sql = format!("SELECT {}", texts.collect::<Vec<_>>().join(", "));
        let row = sqlx::query(safe(sql)).persistent(false).fetch_one(connection).await?;
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.field.loose = row.try_get(index)?;
        }
        Ok(())
    }

    pub(super) fn description(&self, path: &Path, timezone: Tz) -> Description {
        let names = |slots: &[usize]| slots.iter().map(|slot| self.columns[*slot].field.name.to_string()).collect();
        let mut notes = Vec::new();
        if self.has_triggers && !self.is_view {
            notes.push("a trigger may change what is written".to_owned());
        }
        for column in &self.columns {
            if matches!(column.field.kind, Kind::Decimal { precision, .. } if precision.is_none_or(|digits| digits > 15))
            {
                notes.push(format!(
                    "`{}` is declared `{}`: SQLite keeps 15 digits of such a number (declare it TEXT to keep all)",
                    column.field.name, column.field.native
                ));
            }
        }
        Description {
            name: written([self.name.as_str()]),
            identity: format!("sqlite:{}", path.display()),
            shape: Shape { fields: self.columns.iter().map(|column| column.field.clone()).collect() },
            key: names(&self.key),
            unique: self.unique.iter().map(|slots| names(slots)).collect(),
            indexed: (!self.is_view).then(|| names(&self.indexed)),
            can_read: true,
            can_create: self.can_create,
            can_update: self.can_update,
            can_delete: self.can_delete,
            // The horizon is taken while nobody writes.
            sees_open_transactions: true,
            grains_nanos: self.columns.iter().map(grain).collect(),
            timezone,
            notes,
        }
    }
}
