//! SQL as another writer would write it: put together without the engine's
//! own code.

use engine::connector::conformance::{Column, Edit};
use engine::record::Value;

pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::Missing | Value::Null => "NULL".into(),
        Value::Integer(_) | Value::Decimal(_) | Value::Float(_) => value.to_string(),
        Value::LocalTime(time) => format!("'{}'", time.format("%Y-%m-%d %H:%M:%S%.f")),
        other => format!("'{}'", other.to_string().replace('\'', "''")),
    }
}

/// `CREATE TABLE`, with the dialect's words for each column's type.
pub(crate) fn create_table(object: &str, columns: &[Column], native: impl Fn(&Column) -> String) -> String {
    let key: Vec<String> = columns.iter().filter(|column| column.key).map(|column| quote(column.name)).collect();
    let columns: Vec<String> = columns
        .iter()
        .map(|column| {
            let required = if column.required { " NOT NULL" } else { "" };
            let unique = if column.unique { " UNIQUE" } else { "" };
            format!("{} {}{required}{unique}", quote(column.name), native(column))
        })
        .collect();
    let key = if columns.iter().any(|column| column.contains("PRIMARY KEY")) {
        String::new()
    } else {
        format!(", PRIMARY KEY ({})", key.join(", "))
    };
    format!("CREATE TABLE {} ({}{key})", quote(object), columns.join(", "))
}

/// The statements of some edits, in their order.
pub(crate) fn script(object: &str, columns: &[Column], edits: &[Edit]) -> String {
    edits.iter().map(|edit| statement(object, columns, edit)).collect::<Vec<_>>().join(";\n")
}

fn statement(object: &str, columns: &[Column], edit: &Edit) -> String {
    let table = quote(object);
    let named = |slot: usize| quote(columns[slot].name);
    let by_key = |key: &[Value]| {
        let slots = (0..columns.len()).filter(|slot| columns[*slot].key);
        slots
            .zip(key)
            .map(|(slot, value)| format!("{} = {}", named(slot), literal(value)))
            .collect::<Vec<_>>()
            .join(" AND ")
    };
    match edit {
        Edit::Insert(row) => {
            let given: Vec<usize> = (0..row.len()).filter(|slot| !matches!(row[*slot], Value::Missing)).collect();
            let names: Vec<String> = given.iter().map(|slot| named(*slot)).collect();
            let values: Vec<String> = given.iter().map(|slot| literal(&row[*slot])).collect();
            format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))
        }
        Edit::Update { key, set } => {
            let set: Vec<String> =
                set.iter().map(|(slot, value)| format!("{} = {}", named(*slot), literal(value))).collect();
            format!("UPDATE {table} SET {} WHERE {}", set.join(", "), by_key(key))
        }
        Edit::Delete { key } => format!("DELETE FROM {table} WHERE {}", by_key(key)),
    }
}
