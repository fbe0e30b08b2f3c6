//! What the engine wrote, field by field, found by object, key and field.

use sqlx::SqliteConnection;

use super::bulk::Bulk;
use super::codec::{cells_json, parse_cells};
use super::error::damaged;
use super::{Cell, StoreError, Written};

/// Fields looked up in one statement.
const AT_ONCE: usize = 1000;

pub(super) const BY_CELLS: &str = "SELECT j.key, w.digest, w.origins FROM json_each(?) j CROSS JOIN written w \
     ON w.object = j.value ->> 0 AND w.key = j.value ->> 1 AND w.field = j.value ->> 2";

pub(super) const FORGET: &str = "DELETE FROM written WHERE (object, key, field) IN \
     (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))";

const STORE: Bulk = Bulk {
    head: "INSERT INTO written (object, key, field, mapping, digest, origins)",
    columns: 6,
    tail: "ON CONFLICT (object, key, field) DO UPDATE SET mapping = excluded.mapping, digest = excluded.digest, \
           origins = excluded.origins",
};

/// What was written to these fields, in their order.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    cells: &[Cell],
) -> Result<Vec<Option<Written>>, StoreError> {
    let mut found = Vec::with_capacity(cells.len());
    for cells in cells.chunks(AT_ONCE) {
        let first = found.len();
        found.resize(first + cells.len(), None);
        let rows: Vec<(i64, i64, String)> =
            sqlx::query_as(BY_CELLS).bind(cells_json(cells)).fetch_all(&mut *connection).await?;
        for (position, digest, origins) in rows {
            let position = usize::try_from(position).map_err(|_| damaged("a position"))?;
            let cell = cells[position].clone();
            found[first + position] =
                Some(Written { cell, digest: digest.cast_unsigned(), origins: parse_cells(&origins)? });
        }
    }
    Ok(found)
}

pub(super) async fn store(
    connection: &mut SqliteConnection,
    mapping: i64,
    overtaken: &[Cell],
    written: &[Written],
) -> Result<(), StoreError> {
    for cells in overtaken.chunks(AT_ONCE) {
        sqlx::query(FORGET).bind(cells_json(cells)).execute(&mut *connection).await?;
    }
    STORE
        .run(connection, written, |row, written| {
            row.bind(&*written.cell.object)
                .bind(written.cell.key.as_str())
                .bind(written.cell.field.as_str())
                .bind(mapping)
                .bind(written.digest.cast_signed())
                .bind(cells_json(&written.origins));
        })
        .await?;
    Ok(())
}
