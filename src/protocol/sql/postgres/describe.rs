//! PostgreSQL's catalog: tables, views, types, rights.

use chrono_tz::Tz;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::super::describe::{ObjectName, Pick, pick, written};
use super::super::statement::{quote, safe};
use super::connection::SERVER_ZONE;
use super::types::{Entry, Native, resolve};
use crate::connector::{Description, ObjectSummary};
use crate::record::{Field, Kind, Shape};

/// A table or view, as the catalog tells it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    /// As a user would write it: without the schema where that is on the
    /// search path and the name leads here.
    shown: String,
    pub(super) columns: Vec<Column>,
    pub(super) key: Vec<usize>,
    unique: Vec<Vec<usize>>,
    /// The columns that an index begins with; `None` where that is not known.
    indexed: Option<Vec<usize>>,
    /// Those that are checked at once, so that `ON CONFLICT` takes them.
    pub(super) arbiters: Vec<Vec<usize>>,
    /// Its rows lie in it, and tell which transaction made them.
    pub(super) tells_xmin: bool,
    /// COPY can write into it and nothing alters the rows on their way.
    pub(super) takes_copy: bool,
    pub(super) has_triggers: bool,
    /// What becomes of a new row hangs on no other of the table, but for its key.
    pub(super) rows_stand_alone: bool,
    /// A view, which may not show what is written through it.
    pub(super) is_view: bool,
    pub(super) has_policies: bool,
    can_read: bool,
    can_create: bool,
    can_update: bool,
    can_delete: bool,
    sees_transactions: bool,
    identity: String,
    /// The zone in which the server gives times to whoever names none.
    zone: String,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) native: Native,
    /// What the column holds in a row that comes without it, as an expression.
    pub(super) default: Option<String>,
    /// No row holds null there: said of a table of the server's own, where it
    /// is held to; of a foreign one it is only claimed.
    pub(super) never_null: bool,
    /// The sequence that gives its values, where the role may not use it.
    ungranted: Option<String>,
}

/// Every table and view outside the system's schemas.
pub(super) async fn list(connection: &mut PgConnection) -> Result<Vec<ObjectSummary>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT n.nspname, c.relname, CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END, \
         n.nspname = ANY(current_schemas(false)) AND pg_table_is_visible(c.oid) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND NOT c.relispartition \
         AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 4 DESC, 1, 2",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let (schema, name): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let name = if row.try_get(3)? { written([name]) } else { written([schema, name]) };
            Ok(ObjectSummary { name, kind: row.try_get(2)? })
        })
        .collect()
}

/// The table a name leads to; `Err` holds the names it might have meant.
pub(super) async fn find(
    connection: &mut PgConnection,
    object: &str,
) -> Result<Result<Table, Vec<String>>, sqlx::Error> {
    let Some(name) = ObjectName::parse(object) else { return Ok(Err(Vec::new())) };
    let (schema, name) = match name.parts.as_slice() {
        [name] => (None, name),
        [schema, name] => (Some(schema), name),
        _ => return Ok(Err(Vec::new())),
    };
    // The schemas to look in, in their order.
    let path: Vec<String> = match schema {
        None => sqlx::query_scalar("SELECT current_schemas(false)::text[]").fetch_one(&mut *connection).await?,
        Some(schema) => {
            let all: Vec<String> =
                sqlx::query_scalar("SELECT nspname::text FROM pg_namespace").fetch_all(&mut *connection).await?;
            match pick(schema, all.iter().map(String::as_str)) {
                Pick::One(index) => vec![all[index].clone()],
                Pick::None => return Ok(Err(Vec::new())),
                Pick::Several(which) => {
                    return Ok(Err(which.into_iter().map(|index| written([all[index].as_str(), name])).collect()));
                }
            }
        }
    };
    let rows = sqlx::query(
        "SELECT n.nspname::text, c.relname::text, c.oid::int8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'f', 'v', 'm') \
         ORDER BY array_position($1, n.nspname::text), c.relname",
    )
    .bind(&path)
    .fetch_all(&mut *connection)
    .await?;
    let names: Vec<&str> = rows.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
    let schema_of = |index: usize| rows[index].try_get::<&str, _>(0);
    match pick(name, names.iter().copied()) {
        Pick::One(index) => {
            let shown =
                if schema.is_none() { written([names[index]]) } else { written([schema_of(index)?, names[index]]) };
            table(connection, rows[index].try_get(2)?, shown).await.map(Ok)
        }
        Pick::None => Ok(Err(Vec::new())),
        Pick::Several(which) => which
            .into_iter()
            .map(|index| Ok(written([schema_of(index)?, names[index]])))
            .collect::<Result<_, _>>()
            .map(Err),
    }
}

async fn table(connection: &mut PgConnection, oid: i64, shown: String) -> Result<Table, sqlx::Error> {
    let about = sqlx::query(
        "SELECT n.nspname::text, c.relname::text, c.relkind::text, row_security_active(c.oid), \
         EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'), \
         EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1'), \
         pg_relation_is_updatable(c.oid, true), \
         has_table_privilege(c.oid, 'INSERT') OR has_any_column_privilege(c.oid, 'INSERT'), \
         has_table_privilege(c.oid, 'UPDATE') OR has_any_column_privilege(c.oid, 'UPDATE'), \
         has_table_privilege(c.oid, 'DELETE'), \
         pg_has_role('pg_read_all_stats', 'USAGE'), \
         (SELECT d.oid::int8 FROM pg_database d WHERE d.datname = current_database()), \
         EXISTS (SELECT FROM pg_partition_tree(c.oid) part JOIN pg_trigger t ON t.tgrelid = part.relid \
                 WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'), \
         has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'), \
         EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND (k.confrelid = c.oid OR k.contype = 'x')) \
         OR (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique) > 1 \
         OR EXISTS (SELECT FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid JOIN pg_language l ON l.oid = p.prolang \
                    WHERE d.refclassid = 'pg_proc'::regclass AND l.lanname NOT IN ('internal', 'c') \
                    AND (d.classid = 'pg_attrdef'::regclass \
                         AND d.objid IN (SELECT f.oid FROM pg_attrdef f WHERE f.adrelid = c.oid) \
                         OR d.classid = 'pg_constraint'::regclass \
                         AND d.objid IN (SELECT k.oid FROM pg_constraint k WHERE k.conrelid = c.oid OR k.contypid IN \
                                         (SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = c.oid)))) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::int8::oid",
    )
    .bind(oid)
    .fetch_one(&mut *connection)
    .await?;
    let columns = columns(connection, oid).await?;
    let slot = |number: i16| columns.iter().position(|(own, _)| *own == number);
    let indexes = sqlx::query(
        "SELECT i.indisprimary, (SELECT array_agg(k.n ORDER BY k.o) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(n, o) \
         WHERE k.o <= i.indnkeyatts), i.indimmediate, i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL \
         FROM pg_index i WHERE i.indrelid = $1::int8::oid AND i.indisvalid ORDER BY i.indisprimary DESC, i.indexrelid",
    )
    .bind(oid)
    .fetch_all(&mut *connection)
    .await?;
    let (mut key, mut unique, mut arbiters, mut indexed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for index in &indexes {
        let numbers: Vec<i16> = index.try_get(1)?;
        // An expression has the number 0, and no slot.
        indexed.extend(numbers.first().copied().and_then(slot));
        if !index.try_get::<bool, _>(3)? {
            continue;
        }
        let Some(slots) = numbers.into_iter().map(slot).collect::<Option<Vec<usize>>>() else { continue };
        if index.try_get(0)? {
            key.clone_from(&slots);
        }
        if index.try_get(2)? {
            arbiters.push(slots.clone());
        }
        if !unique.contains(&slots) {
            unique.push(slots);
        }
    }
    let relation: String = about.try_get(2)?;
    // Whoever serves a view or a foreign table may well have one.
    let indexed = matches!(relation.as_str(), "r" | "p" | "m").then_some(indexed);
    let has_triggers = about.try_get::<bool, _>(4)? || about.try_get::<bool, _>(12)?;
    let (has_rules, has_policies): (bool, bool) = (about.try_get(5)?, about.try_get(3)?);
    // Bits by the command's number: 4 update, 8 insert, 16 delete.
    let events: i32 = about.try_get(6)?;
    let can = |bit: i32, right: usize| Ok::<_, sqlx::Error>(events & bit != 0 && about.try_get::<bool, _>(right)?);
    let takes_copy = matches!(relation.as_str(), "r" | "p") && !has_triggers && !has_rules && !has_policies;
    Ok(Table {
        schema: about.try_get(0)?,
        name: about.try_get(1)?,
        shown,
        key,
        unique,
        arbiters,
        indexed,
        tells_xmin: relation == "r",
        is_view: relation == "v",
        takes_copy,
        rows_stand_alone: takes_copy && relation == "r" && !about.try_get::<bool, _>(14)?,
        has_triggers: has_triggers || has_rules,
        has_policies,
        can_read: about.try_get(13)?,
        can_create: can(8, 7)?,
        can_update: can(4, 8)?,
        can_delete: can(16, 9)?,
        sees_transactions: about.try_get(10)?,
        identity: identity(connection, about.try_get(11)?).await?,
        zone: sqlx::query_scalar(safe(format!("SELECT {SERVER_ZONE}"))).fetch_one(&mut *connection).await?,
        columns: columns.into_iter().map(|(_, column)| column).collect(),
    })
}

/// The one name of the zones that are UTC.
fn universal(zone: &str) -> &str {
    let names =
        ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Etc/UCT", "Universal", "Etc/Universal", "Zulu", "Etc/Zulu"];
    if names.contains(&zone) { "UTC" } else { zone }
}

/// The cluster's own number and the database's in it. Where we may not ask for
/// the cluster's, the database's name stands for it: the same on every way
/// there, though another server may have the like.
async fn identity(connection: &mut PgConnection, database: i64) -> Result<String, sqlx::Error> {
    let cluster = sqlx::query_scalar::<_, String>("SELECT system_identifier::text FROM pg_control_system()")
        .fetch_one(&mut *connection)
        .await;
    match cluster {
        Ok(cluster) => Ok(format!("postgres:{cluster}:{database}")),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
            let name: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(connection).await?;
            Ok(format!("postgres:{name}:{database}"))
        }
        Err(error) => Err(error),
    }
}

async fn columns(connection: &mut PgConnection, oid: i64) -> Result<Vec<(i16, Column)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT a.attnum, a.attname::text, a.attnotnull OR (t.typtype = 'd' AND t.typnotnull), a.attidentity::text, \
         a.attgenerated::text, pg_get_expr(d.adbin, d.adrelid), a.atttypid::int8, a.atttypmod, \
         format_type(a.atttypid, a.atttypmod), \
         CASE WHEN a.attidentity <> '' THEN pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) END, \
         c.relkind = 'v' AND NOT pg_column_is_updatable(c.oid, a.attnum, true), \
         EXISTS (SELECT FROM pg_collation l WHERE l.oid = a.attcollation AND NOT l.collisdeterministic), \
         a.attnotnull AND c.relkind IN ('r', 'p'), a.attndims > 1, \
         c.relkind = 'v' AND EXISTS (SELECT FROM pg_rewrite r JOIN pg_depend u ON u.classid = 'pg_rewrite'::regclass \
           AND u.objid = r.oid AND u.refclassid = 'pg_class'::regclass AND u.refobjsubid > 0 \
           JOIN pg_attribute b ON b.attrelid = u.refobjid AND b.attnum = u.refobjsubid \
           WHERE r.ev_class = c.oid AND b.attname = a.attname AND (b.attidentity <> '' OR b.atthasdef)), \
         CASE WHEN c.relkind IN ('r', 'p') AND (a.attidentity <> '' OR d.adbin IS NOT NULL) AND NOT \
           has_sequence_privilege(pg_get_serial_sequence(a.attrelid::regclass::text, a.attname), 'USAGE, UPDATE') \
           THEN pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) END \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         JOIN pg_class c ON c.oid = a.attrelid \
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .bind(oid)
    .fetch_all(&mut *connection)
    .await?;
    let types = types(connection, oid).await?;
    rows.iter().map(|row| column(row, &types)).collect()
}

fn column(row: &PgRow, types: &[Entry]) -> Result<(i16, Column), sqlx::Error> {
    let mut native = resolve(types, row.try_get(6)?, row.try_get(7)?)
        .ok_or_else(|| sqlx::Error::Protocol("a column's type is not in the catalog".into()))?;
    if row.try_get(13)? {
        native = native.printed();
    }
    let (identity, computed): (String, String) = (row.try_get(3)?, row.try_get(4)?);
    let expression: Option<String> = row.try_get(5)?;
    let sequence: Option<String> = row.try_get(9)?;
    let next = |sequence: String| format!("nextval({}::regclass)", super::super::statement::literal(&sequence));
    let computed = !computed.is_empty();
    let mut field = Field::new(row.try_get(1)?, native.kind.clone());
    field.nullable = !row.try_get::<bool, _>(2)?;
    let ungranted: Option<String> = row.try_get(15)?;
    // A view gives what the table beneath it gives.
    let given = computed || !identity.is_empty() || expression.is_some() || row.try_get::<bool, _>(14)?;
    field.generated = ungranted.is_none() && given;
    // A sequence counts on, whether the column is called serial or has its default.
    let counts = expression.as_ref().is_some_and(|expression| expression.starts_with("nextval("));
    field.has_default = !computed && identity.is_empty() && expression.is_some() && !counts;
    field.read_only = computed || row.try_get::<bool, _>(10)?;
    field.loose = native.is_citext() || row.try_get::<bool, _>(11)?;
    field.native = row.try_get::<String, _>(8)?.into();
    let default = if computed { None } else { sequence.map(next).or(expression) };
    Ok((row.try_get(0)?, Column { field, native, default, never_null: row.try_get(12)?, ungranted }))
}

/// The types of a table's columns, and those they are made of.
async fn types(connection: &mut PgConnection, oid: i64) -> Result<Vec<Entry>, sqlx::Error> {
    let rows = sqlx::query(
        "WITH RECURSIVE used(oid) AS ( \
           SELECT atttypid FROM pg_attribute WHERE attrelid = $1::int8::oid AND attnum > 0 AND NOT attisdropped \
           UNION SELECT unnest(ARRAY[t.typbasetype, t.typelem]) FROM pg_type t JOIN used u ON u.oid = t.oid) \
         SELECT t.oid::int8, t.typname::text, t.typtype::text, t.typbasetype::int8, t.typtypmod, t.typelem::int8, \
           t.typcategory = 'A' AND t.typelem <> 0, format_type(t.oid, -1), \
           ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) \
         FROM pg_type t JOIN used u ON u.oid = t.oid",
    )
    .bind(oid)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Entry {
                oid: row.try_get(0)?,
                name: row.try_get(1)?,
                class: row.try_get(2)?,
                base: row.try_get(3)?,
                base_modifier: row.try_get(4)?,
                element: row.try_get(5)?,
                is_array: row.try_get(6)?,
                cast: row.try_get(7)?,
                labels: row.try_get(8)?,
            })
        })
        .collect()
}

/// The server counts microseconds, a column as few digits as it was declared
/// with, and a date days.
fn grain(kind: &Kind) -> u64 {
    match kind {
        Kind::Date => 86_400_000_000_000,
        Kind::LocalTime { digits } | Kind::Instant { digits } => 10u64.pow(9 - u32::from(*digits).min(6)),
        _ => 1000,
    }
}

impl Table {
    /// As `FROM` takes it.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    pub(super) fn description(&self, timezone: Tz) -> Description {
        let names = |slots: &[usize]| slots.iter().map(|slot| self.columns[*slot].field.name.to_string()).collect();
        let mut notes = Vec::new();
        for column in &self.columns {
            if matches!(column.field.kind, Kind::Other(_)) {
                notes.push(format!(
                    "`{}` is of type `{}`: carried as text, and what is written has to be as the server prints it",
                    column.field.name, column.field.native
                ));
            }
        }
        for (column, sequence) in self.columns.iter().filter_map(|column| Some((column, column.ungranted.as_ref()?))) {
            notes.push(format!(
                "`{}` gets its values from the sequence `{sequence}`, which the connection's role may not use: \
                 `GRANT USAGE ON SEQUENCE {sequence} TO` that role, or new records get no value there",
                column.field.name
            ));
        }
        let has_local_times = self.columns.iter().any(|column| matches!(column.field.kind, Kind::LocalTime { .. }));
        if has_local_times && universal(&self.zone) != universal(timezone.name()) {
            notes.push(format!(
                "its times without a zone are taken as {}, and the server gives them in {}: is the connection's \
                 `timezone: {}` missing?",
                timezone.name(),
                self.zone,
                self.zone
            ));
        }
        if self.has_triggers {
            notes.push("a trigger or rule may change what is written".into());
        }
        if self.has_policies {
            notes.push("row security decides which rows the role sees: deletes cannot be found by a sweep".into());
        }
        if !self.sees_transactions {
            notes.push(
                "the role cannot see when other roles' transactions began (grant it `pg_read_all_stats`): a late commit \
                 is only caught by the cursor's overlap"
                    .into(),
            );
        }
        Description {
            name: self.shown.clone(),
            identity: self.identity.clone(),
            shape: Shape { fields: self.columns.iter().map(|column| column.field.clone()).collect() },
            key: names(&self.key),
            unique: self.unique.iter().map(|slots| names(slots)).collect(),
            indexed: self.indexed.as_deref().map(names),
            can_read: self.can_read,
            can_create: self.can_create,
            can_update: self.can_update,
            can_delete: self.can_delete,
            sees_open_transactions: self.sees_transactions,
            grains_nanos: self.columns.iter().map(|column| grain(&column.field.kind)).collect(),
            timezone,
            notes,
        }
    }
}
