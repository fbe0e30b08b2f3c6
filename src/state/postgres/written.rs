//! What the engine wrote, field by field, found by object, key and field.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::codec::{cells_json, parse_cells};
use super::damaged;
use super::{Cell, StoreError, Written};

/// Fields in one statement.
const AT_ONCE: usize = 5000;

pub(super) const BY_CELLS: &str = "SELECT j.position, w.digest, w.origins \
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS j (object, key, field, position) \
    JOIN written w ON w.object = j.object AND w.key = j.key AND w.field = j.field";

const FORGET: &str = "DELETE FROM written w USING unnest($1::text[], $2::text[], $3::text[]) AS j (object, key, field) \
    WHERE w.object = j.object AND w.key = j.key AND w.field = j.field";

const STORE: &str = "INSERT INTO written (object, key, field, mapping, digest, origins) \
    SELECT n.object, n.key, n.field, $6, n.digest, n.origins \
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) AS n (object, key, field, digest, origins) \
    ON CONFLICT (object, key, field) DO UPDATE SET mapping = excluded.mapping, digest = excluded.digest, \
    origins = excluded.origins";

/// What was written to these fields, in their order.
pub(super) async fn find(connection: &mut PgConnection, cells: &[Cell]) -> Result<Vec<Option<Written>>, StoreError> {
    let mut found = Vec::with_capacity(cells.len());
    for cells in cells.chunks(AT_ONCE) {
        let first = found.len();
        found.resize(first + cells.len(), None);
        let (objects, keys, fields) = columns(cells);
        let rows: Vec<(i64, i64, String)> =
            sqlx::query_as(BY_CELLS).bind(objects).bind(keys).bind(fields).fetch_all(&mut *connection).await?;
        for (position, digest, origins) in rows {
            let position = usize::try_from(position - 1).map_err(|_| damaged("a position"))?;
            let cell = cells[position].clone();
            let origins = parse_cells(&origins)?;
            found[first + position] = Some(Written { cell, digest: digest.cast_unsigned(), origins });
        }
    }
    Ok(found)
}

pub(super) async fn store(
    connection: &mut PgConnection,
    mapping: i64,
    overtaken: &[Cell],
    written: &[Written],
) -> Result<(), StoreError> {
    if overtaken.is_empty() && written.is_empty() {
        return Ok(());
    }
    // The only rows that two mappings may change at once, each in an order of
    // its own: they wait for each other here, not in a circle.
    sqlx::raw_sql("LOCK TABLE written IN SHARE ROW EXCLUSIVE MODE").execute(&mut *connection).await?;
    for cells in overtaken.chunks(AT_ONCE) {
        let (objects, keys, fields) = columns(cells);
        sqlx::query(FORGET).bind(objects).bind(keys).bind(fields).execute(&mut *connection).await?;
    }
    let newest: BTreeMap<&Cell, &Written> = written.iter().map(|written| (&written.cell, written)).collect();
    let newest: Vec<&Written> = newest.into_values().collect();
    for rows in newest.chunks(AT_ONCE) {
        let (objects, keys, fields) = columns(rows.iter().map(|row| &row.cell));
        sqlx::query(STORE)
            .bind(objects)
            .bind(keys)
            .bind(fields)
            .bind(rows.iter().map(|row| row.digest.cast_signed()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| cells_json(&row.origins)).collect::<Vec<_>>())
            .bind(mapping)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn columns<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> (Vec<&'a str>, Vec<&'a str>, Vec<&'a str>) {
    let (mut objects, mut keys, mut fields) = (Vec::new(), Vec::new(), Vec::new());
    for cell in cells {
        objects.push(&*cell.object);
        keys.push(cell.key.as_str());
        fields.push(cell.field.as_str());
    }
    (objects, keys, fields)
}
