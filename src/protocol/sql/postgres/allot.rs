//! Keys for new rows, before they are written.

use std::collections::HashSet;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::statement::safe;
use super::connection::Lease;
use super::decode;
use super::read::Opened;
use crate::record::{Key, Value};

/// Keys as the database itself would give them: what the key columns'
/// defaults come to. Empty where a key column has none, or one that is no key.
pub(super) async fn allot_keys(
    object: &Opened,
    lease: &mut Lease,
    count: usize,
) -> Result<Vec<Vec<Value>>, sqlx::Error> {
    let key: Vec<_> = object.access.key.iter().map(|slot| &object.columns[*slot]).collect();
    let given = |column: &&super::describe::Column| {
        let default = column.default.as_ref()?;
        Some(column.native.selected(&format!("({default})::{}", column.native.cast)))
    };
    let Some(defaults) = key.iter().map(given).collect::<Option<Vec<String>>>().filter(|key| !key.is_empty()) else {
        return Ok(Vec::new());
    };
    let sql = format!("SELECT {} FROM generate_series(1, $1::int8)", defaults.join(", "));
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let rows = object.connections.answer(sqlx::query(safe(sql)).bind(count).fetch_all(&mut **lease)).await?;
    let value = |row: &PgRow, index: usize| -> Result<Value, sqlx::Error> {
        let bytes = row.try_get_raw(index)?.as_bytes().map_err(sqlx::Error::Decode)?;
        decode::decode(&key[index].native.base, bytes).map_err(|why| sqlx::Error::Decode(why.into()))
    };
    let keys: Vec<Vec<Value>> =
        rows.iter().map(|row| (0..key.len()).map(|index| value(row, index)).collect()).collect::<Result<_, _>>()?;
    // A default that comes to the same twice is none that gives keys: the database says so of each record.
    let distinct: HashSet<Option<Key>> = keys.iter().map(Key::new).collect();
    Ok(if distinct.len() == keys.len() { keys } else { Vec::new() })
}
