//! Keys for new rows, before they are written.

use std::sync::atomic::Ordering;

use sqlx::{Row, Sqlite, Transaction};

use super::super::statement::safe;
use super::read::Opened;
use crate::record::Value;

/// Keys as SQLite itself would give them: the next row numbers, or what the
/// key columns' defaults come to. Empty where a key slot has neither.
pub(super) async fn allot_keys(
    object: &Opened,
    transaction: &mut Transaction<'static, Sqlite>,
    count: usize,
) -> Result<Vec<Vec<Value>>, sqlx::Error> {
    let table = &object.table;
    let place =
        |slot: &usize| table.columns.iter().position(|column| column.field.name == object.columns[*slot].field.name);
    let places: Option<Vec<usize>> = object.access.key.iter().map(place).collect();
    let Some(places) = places.filter(|places| !places.is_empty()) else { return Ok(Vec::new()) };
    if let ([place], Some(number)) = (places.as_slice(), table.row_number)
        && *place == number
    {
        let sql = format!(
            "SELECT coalesce(max({}), 0) FROM {}",
            object.selection.columns[object.access.key[0]], object.selection.table
        );
        let largest: i64 = sqlx::query_scalar(safe(sql)).fetch_one(&mut **transaction).await?;
        // AUTOINCREMENT never gives a number again, not even a deleted row's.
        let counted: bool = sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'sqlite_sequence'")
            .fetch_one(&mut **transaction)
            .await?;
        let given: i64 = if counted {
            sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1")
                .bind(&table.name)
                .fetch_one(&mut **transaction)
                .await?
        } else {
            0
        };
        let first = largest.max(given).max(object.highest.load(Ordering::Relaxed));
        return Ok((1..)
            .map_while(|step: i64| first.checked_add(step))
            .take(count)
            .map(|key| vec![Value::Integer(key)])
            .collect());
    }
    let defaults: Option<Vec<&str>> = places.iter().map(|place| table.defaults[*place].as_deref()).collect();
    let Some(defaults) = defaults else { return Ok(Vec::new()) };
    let defaults: Vec<String> = defaults.iter().map(|default| format!("({default})")).collect();
    let sql = format!(
        "WITH RECURSIVE engine_count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM engine_count WHERE n < {count}) \
         SELECT {} FROM engine_count",
        defaults.join(", ")
    );
    let rows = sqlx::query(safe(sql)).persistent(false).fetch_all(&mut **transaction).await?;
    rows.iter()
        .map(|row| {
            object
                .access
                .key
                .iter()
                .enumerate()
                .map(|(index, slot)| {
                    object.columns[*slot].read(row.try_get_raw(index)?).map_err(|why| sqlx::Error::Decode(why.into()))
                })
                .collect()
        })
        .collect()
}
