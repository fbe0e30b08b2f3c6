//! What people want forgotten of a record.

use sqlx::SqliteConnection;

use super::codec::{decode_bases, decode_history, encode_bases, encode_history};
use super::{Forgotten, StoreError, VALUES_FORGOTTEN};
use crate::plan::LinkId;
use crate::record::{Both, Key};

pub(super) async fn values(
    connection: &mut SqliteConnection,
    mapping: &str,
    keys: &Both<Option<Key>>,
) -> Result<Forgotten, StoreError> {
    let mut forgotten = Forgotten::default();
    // What was deleted is overwritten in the file, not only passed over.
    sqlx::query("PRAGMA secure_delete = ON").execute(&mut *connection).await?;
    let number: Option<i64> =
        sqlx::query_scalar("UPDATE mappings SET fence = fence + 1 WHERE name = ? RETURNING mapping")
            .bind(mapping)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(number) = number else { return Ok(forgotten) };
    let keys = keys.as_ref().map(|key| key.as_ref().map(Key::as_str));
    let links: Vec<(LinkId, Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(
        "SELECT link, bases, history FROM links WHERE mapping = ?1 AND source_key = ?2 \
         UNION SELECT link, bases, history FROM links WHERE mapping = ?1 AND target_key = ?3",
    )
    .bind(number)
    .bind(keys.source)
    .bind(keys.target)
    .fetch_all(&mut *connection)
    .await?;
    for (link, bases, history) in links {
        let (_, _, outside) = decode_history(history.as_deref().unwrap_or_default())?;
        sqlx::query("UPDATE links SET bases = ?, history = ? WHERE link = ?")
            .bind(encode_bases(&decode_bases(&bases)?.emptied()))
            .bind(encode_history(&Both::default(), &[], outside))
            .bind(link)
            .execute(&mut *connection)
            .await?;
        forgotten.links += 1;
    }
    for (count, sql) in [
        (&mut forgotten.events, "DELETE FROM events WHERE mapping = ?1 AND source_key = ?2"),
        (&mut forgotten.conflicts, "DELETE FROM conflicts WHERE mapping = ?1 AND (source_key = ?2 OR target_key = ?3)"),
    ] {
        let done = sqlx::query(sql).bind(number).bind(keys.source).bind(keys.target).execute(&mut *connection).await?;
        *count = done.rows_affected();
    }
    let done = sqlx::query("DELETE FROM events WHERE mapping = ? AND target_key = ?")
        .bind(number)
        .bind(keys.target)
        .execute(&mut *connection)
        .await?;
    forgotten.events += done.rows_affected();
    let done = sqlx::query(
        "UPDATE parked SET value = NULL, message = ?4, next_try = since \
         WHERE mapping = ?1 AND (source_key = ?2 OR target_key = ?3)",
    )
    .bind(number)
    .bind(keys.source)
    .bind(keys.target)
    .bind(VALUES_FORGOTTEN)
    .execute(&mut *connection)
    .await?;
    forgotten.parked = done.rows_affected();
    sqlx::query("PRAGMA secure_delete = OFF").execute(connection).await?;
    Ok(forgotten)
}
