//! Links: stored in bulk, found by keys.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::StoreError;
use super::codec::{decode_bases, decode_history, encode_bases, encode_history, side, signed, unsigned};
use super::error::is_taken;
use super::layout::LINKS_EACH;
use super::mappings::MappingRow;
use crate::plan::{Link, LinkId, LinkStatus};
use crate::record::{Both, Key, Side};

/// Links in one statement: arrays of more make large messages for nothing.
const AT_ONCE: usize = 5000;

macro_rules! columns {
    () => {
        "l.link, l.source_key, l.target_key, l.revision, l.layout, l.gone, l.history, l.bases"
    };
}

/// True for a link that is one: none that an unanswered intent will make.
macro_rules! made {
    ($mapping:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM intents i WHERE i.mapping = ",
            $mapping,
            " AND l.link BETWEEN i.first_create AND i.last_create)"
        )
    };
}

pub(super) const BY_SOURCE_KEYS: &str = concat!(
    "SELECT ",
    columns!(),
    ", j.position FROM unnest($1::text[]) WITH ORDINALITY AS j (key, position) \
     JOIN links l ON l.mapping = $2 AND l.source_key = j.key WHERE ",
    made!("$2")
);
pub(super) const BY_TARGET_KEYS: &str = concat!(
    "SELECT ",
    columns!(),
    ", j.position FROM unnest($1::text[]) WITH ORDINALITY AS j (key, position) \
     JOIN links l ON l.mapping = $2 AND l.target_key = j.key WHERE ",
    made!("$2")
);

/// Those between two numbers.
pub(super) const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM links l WHERE l.link > $1 AND l.link <= $2 AND ",
    made!("l.mapping"),
    " ORDER BY l.link LIMIT $3"
);

/// Those between two numbers that a sweep of side $4 has not seen, but for
/// those whose record there is known to be gone.
pub(super) const ABSENT_PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM links l WHERE l.link > $1 AND l.link <= $2 AND l.gone IS DISTINCT FROM $4 AND NOT EXISTS \
     (SELECT 1 FROM swept s WHERE s.side = $4 AND s.link = l.link) AND ",
    made!("l.mapping"),
    " ORDER BY l.link LIMIT $3"
);

pub(super) const RANGE: &str =
    concat!("SELECT ", columns!(), " FROM links l WHERE l.link BETWEEN $1 AND $2 ORDER BY l.link");

const INSERT: &str = "INSERT INTO links (link, mapping, source_key, target_key, revision, layout, gone, history, bases) \
    SELECT n.link, $9, n.source_key, n.target_key, n.revision, n.layout, n.gone, n.history, n.bases FROM \
    unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bytea[]) \
    AS n (link, source_key, target_key, revision, layout, gone, history, bases)";

const UPDATE: &str = "UPDATE links SET revision = n.revision, layout = n.layout, gone = n.gone, history = n.history, \
    bases = n.bases FROM \
    unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bytea[]) \
    AS n (link, source_key, target_key, revision, layout, gone, history, bases) \
    WHERE links.link = n.link AND links.source_key = n.source_key AND links.target_key = n.target_key";

/// What hangs on links that are forgotten.
pub(super) const FORGET: [&str; 4] = [
    "DELETE FROM parked p USING links l WHERE l.link = ANY($1) AND p.mapping = l.mapping \
     AND p.source_key = l.source_key",
    "DELETE FROM parked p USING links l WHERE l.link = ANY($1) AND p.mapping = l.mapping \
     AND p.target_key = l.target_key",
    "UPDATE conflicts SET status = 'closed' WHERE status = 'open' AND link = ANY($1)",
    "DELETE FROM spooled WHERE link = ANY($1)",
];

/// The columns of links, side by side.
#[derive(Default)]
struct Columns<'a> {
    link: Vec<LinkId>,
    keys: Both<Vec<Option<&'a str>>>,
    revision: Vec<i64>,
    layout: Vec<i64>,
    gone: Vec<Option<&'static str>>,
    history: Vec<Option<Vec<u8>>>,
    bases: Vec<Vec<u8>>,
}

impl<'a> Columns<'a> {
    fn of(links: &[(LinkId, &'a Link)]) -> Columns<'a> {
        let mut columns = Columns::default();
        for (id, link) in links {
            columns.link.push(*id);
            for side in Side::BOTH {
                columns.keys[side].push(stored_key(&link.keys[side]));
            }
            columns.revision.push(signed(link.revision));
            columns.layout.push(link.layout);
            columns.gone.push(match link.status {
                LinkStatus::Linked => None,
                LinkStatus::Severed { gone } => Some(gone.name()),
            });
            columns.history.push(encode_history(&link.own_stamps, &link.contests, link.outside));
            columns.bases.push(encode_bases(&link.bases));
        }
        columns
    }

    /// Runs a statement over them; says how many rows it affected.
    async fn run(
        self,
        connection: &mut PgConnection,
        sql: &'static str,
        mapping: Option<i64>,
    ) -> Result<u64, sqlx::Error> {
        let query = sqlx::query(sql)
            .bind(self.link)
            .bind(self.keys.source)
            .bind(self.keys.target)
            .bind(self.revision)
            .bind(self.layout)
            .bind(self.gone)
            .bind(self.history)
            .bind(self.bases);
        let query = if let Some(mapping) = mapping { query.bind(mapping) } else { query };
        Ok(query.execute(connection).await?.rows_affected())
    }
}

/// The links of these keys, in their order.
pub(super) async fn by_keys(
    connection: &mut PgConnection,
    mapping: i64,
    of: Side,
    keys: &[Key],
) -> Result<Vec<Option<Link>>, StoreError> {
    let sql = match of {
        Side::Source => BY_SOURCE_KEYS,
        Side::Target => BY_TARGET_KEYS,
    };
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(AT_ONCE) {
        let first = found.len();
        found.resize(first + keys.len(), None);
        let rows = sqlx::query(sql).bind(texts(keys)).bind(mapping).fetch_all(&mut *connection).await?;
        for row in &rows {
            let position = usize::try_from(row.try_get::<i64, _>(8)?).expect("positions count from one");
            found[first + position - 1] = Some(link_of(row)?);
        }
    }
    Ok(found)
}

/// A page of links between two numbers.
pub(super) async fn page(
    connection: &mut PgConnection,
    after: LinkId,
    until: LinkId,
    limit: usize,
    unseen_on: Option<Side>,
) -> Result<Vec<Link>, StoreError> {
    let query = sqlx::query(if unseen_on.is_some() { ABSENT_PAGE } else { PAGE });
    let query = query.bind(after).bind(until).bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let query = if let Some(side) = unseen_on { query.bind(side.name()) } else { query };
    query.fetch_all(connection).await?.iter().map(link_of).collect()
}

/// The links of a range of numbers, made or not.
pub(super) async fn range(connection: &mut PgConnection, first: LinkId, last: LinkId) -> Result<Vec<Link>, StoreError> {
    let rows = sqlx::query(RANGE).bind(first).bind(last).fetch_all(connection).await?;
    rows.iter().map(link_of).collect()
}

/// Stores links under numbers of their own; they are new.
pub(super) async fn insert(
    connection: &mut PgConnection,
    mapping: i64,
    links: &[(LinkId, &Link)],
) -> Result<(), StoreError> {
    if links.is_empty() {
        return Ok(());
    }
    // After a refused row the transaction can only be undone to here.
    sqlx::raw_sql("SAVEPOINT links").execute(&mut *connection).await?;
    for chunk in links.chunks(AT_ONCE) {
        match Columns::of(chunk).run(connection, INSERT, Some(mapping)).await {
            Ok(_) => {}
            Err(error) if is_taken(&error) => {
                sqlx::raw_sql("ROLLBACK TO SAVEPOINT links").execute(&mut *connection).await?;
                return Err(name_taken(connection, mapping, links).await?.unwrap_or(error.into()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    sqlx::raw_sql("RELEASE SAVEPOINT links").execute(connection).await?;
    Ok(())
}

/// Which key it is that another link has already.
async fn name_taken(
    connection: &mut PgConnection,
    mapping: i64,
    links: &[(LinkId, &Link)],
) -> Result<Option<StoreError>, StoreError> {
    for side in Side::BOTH {
        let sql = match side {
            Side::Source => "SELECT source_key FROM links WHERE mapping = $1 AND source_key = ANY($2)",
            Side::Target => "SELECT target_key FROM links WHERE mapping = $1 AND target_key = ANY($2)",
        };
        let keys: Vec<&str> = links.iter().filter_map(|(_, link)| stored_key(&link.keys[side])).collect();
        let held: Vec<String> = sqlx::query_scalar(sql).bind(mapping).bind(&keys).fetch_all(&mut *connection).await?;
        let held: BTreeSet<&str> = held.iter().map(String::as_str).collect();
        let mut seen = BTreeSet::new();
        if let Some(key) = keys.into_iter().find(|key| !seen.insert(*key) || held.contains(key)) {
            return Ok(Some(StoreError::linked_twice(side, key)));
        }
    }
    Ok(None)
}

/// Stores links of a commit: new ones, and those that are there already.
pub(super) async fn store(
    connection: &mut PgConnection,
    mapping: &mut MappingRow,
    links: &[Link],
) -> Result<(), StoreError> {
    if let Some(link) = links.iter().find(|link| Side::BOTH.iter().any(|side| link.keys[*side].is_empty())) {
        return Err(StoreError::keyless(link));
    }
    let there: Vec<_> = links.iter().filter(|link| link.id != 0).map(|link| (link.id, link)).collect();
    let mut rows = rekey(connection, mapping, &there).await?;
    for link in links.iter().filter(|link| link.id == 0) {
        rows.push((mapping.next_link(), link));
        mapping.links += 1;
    }
    insert(connection, mapping.mapping, &rows).await
}

/// Updates links that are there. Those whose keys change are taken out and
/// handed back, to be inserted anew once all old keys are free.
async fn rekey<'a>(
    connection: &mut PgConnection,
    mapping: &MappingRow,
    links: &[(LinkId, &'a Link)],
) -> Result<Vec<(LinkId, &'a Link)>, StoreError> {
    if let Some((foreign, _)) = links.iter().find(|(id, _)| !mapping.owns(*id)) {
        return Err(StoreError::no_link(*foreign));
    }
    let mut updated = 0;
    for chunk in links.chunks(AT_ONCE) {
        updated += Columns::of(chunk).run(connection, UPDATE, None).await?;
    }
    if updated == links.len() as u64 {
        return Ok(Vec::new());
    }
    let ids: Vec<LinkId> = links.iter().map(|(id, _)| *id).collect();
    let kept: Vec<(LinkId, String, String)> = sqlx::query_as(
        "SELECT link, coalesce(source_key, ''), coalesce(target_key, '') FROM links WHERE link = ANY($1)",
    )
    .bind(ids)
    .fetch_all(&mut *connection)
    .await?;
    let kept: BTreeMap<_, _> = kept.into_iter().map(|(id, source, target)| (id, (source, target))).collect();
    let mut moved = Vec::new();
    for (id, link) in links {
        let (source, target) = kept.get(id).ok_or_else(|| StoreError::no_link(*id))?;
        if source != link.keys.source.as_str() || target != link.keys.target.as_str() {
            moved.push((*id, *link));
        }
    }
    sqlx::query("DELETE FROM links WHERE link = ANY($1)")
        .bind(moved.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(moved)
}

/// Forgets links and what hangs on them.
pub(super) async fn forget(
    connection: &mut PgConnection,
    mapping: &mut MappingRow,
    ids: &[LinkId],
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    if let Some(foreign) = ids.iter().find(|id| !mapping.owns(**id)) {
        return Err(StoreError::no_link(*foreign));
    }
    for sql in FORGET {
        sqlx::query(sql).bind(ids).execute(&mut *connection).await?;
    }
    let there: Vec<LinkId> = sqlx::query_scalar("DELETE FROM links WHERE link = ANY($1) RETURNING link")
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let there: BTreeSet<_> = there.into_iter().collect();
    if let Some(missing) = ids.iter().find(|id| !there.contains(id)) {
        return Err(StoreError::no_link(*missing));
    }
    mapping.links -= signed(there.len() as u64);
    Ok(())
}

/// The first and the last number a link of the mapping can have, less one.
pub(super) fn bounds(mapping: i64) -> (LinkId, LinkId) {
    (mapping * LINKS_EACH, (mapping + 1) * LINKS_EACH - 1)
}

/// Keys as an array of texts.
pub(super) fn texts<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<&'a str> {
    keys.into_iter().map(Key::as_str).collect()
}

fn stored_key(key: &Key) -> Option<&str> {
    (!key.is_empty()).then(|| key.as_str())
}

fn link_of(row: &PgRow) -> Result<Link, StoreError> {
    let keys: Both<Option<&str>> = Both::new(row.try_get(1)?, row.try_get(2)?);
    let status = match row.try_get::<Option<&str>, _>(5)? {
        None => LinkStatus::Linked,
        Some(gone) => LinkStatus::Severed { gone: side(gone)? },
    };
    let history: Option<&[u8]> = row.try_get(6)?;
    let (own_stamps, contests, outside) = decode_history(history.unwrap_or_default())?;
    Ok(Link {
        id: row.try_get(0)?,
        keys: keys.map(|key| Key::from_canonical(key.unwrap_or_default())),
        revision: unsigned(row.try_get(3)?)?,
        status,
        outside,
        bases: decode_bases(row.try_get(7)?)?,
        own_stamps,
        contests,
        layout: row.try_get(4)?,
    })
}
