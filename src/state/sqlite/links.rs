//! Links: stored in bulk, found by keys.
//!
//! A row handed through sqlx costs more than finding it, so that the links of
//! many keys come back packed into one blob.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row, SqliteConnection};

use super::StoreError;
use super::bulk::{Bulk, RowBinder};
use super::codec::{decode_bases, decode_history, encode_bases, encode_history, side, signed};
use super::error::{damaged, is_taken};
use super::layout::LINKS_EACH;
use super::mappings::MappingRow;
use crate::plan::{Link, LinkId, LinkStatus};
use crate::record::{Both, Key, Side};

/// Keys looked up, or links listed, in one statement: with four megabytes of
/// bases for each link they still are less than a blob may hold.
const PACKED: usize = 256;

/// One link as bytes: its position among the keys asked for, numbers and
/// lengths, each with a space behind it, then keys, history and bases.
macro_rules! pack {
    ($position:literal) => {
        concat!(
            "CAST(group_concat(concat(",
            $position,
            ", ' ', l.link, ' ', l.revision, ' ', l.layout, ' ', ifnull(l.gone, '-'), ' ', \
         octet_length(l.source_key), ' ', octet_length(l.target_key), ' ', ifnull(length(l.history), 0), ' ', \
         length(l.bases), ' ', l.source_key, l.target_key, l.history, l.bases), '') AS BLOB)"
        )
    };
}

/// Links, called `k`, whose making is no unanswered intent.
macro_rules! made {
    () => {
        "NOT EXISTS (SELECT 1 FROM intents i WHERE k.link BETWEEN i.first_create AND i.last_create)"
    };
}

/// By keys of a side. `CROSS JOIN` keeps SQLite from reading all links for
/// each batch. The ranges of open creates come along, from the same moment.
pub(super) const BY_SOURCE_KEYS: &str = concat!(
    "SELECT ",
    pack!("j.key"),
    ", (SELECT json_group_array(json_array(first_create, last_create)) FROM intents WHERE mapping = ?2) \
     FROM json_each(?1) j CROSS JOIN links l ON l.mapping = ?2 AND l.source_key = j.value"
);
pub(super) const BY_TARGET_KEYS: &str = concat!(
    "SELECT ",
    pack!("j.key"),
    ", (SELECT json_group_array(json_array(first_create, last_create)) FROM intents WHERE mapping = ?2) \
     FROM json_each(?1) j CROSS JOIN links l ON l.mapping = ?2 AND l.target_key = j.value"
);

/// Whether any link has a key of a side in a range.
pub(super) const ANY_IN_SOURCE_RANGE: &str =
    "SELECT EXISTS (SELECT 1 FROM links WHERE mapping = ? AND source_key BETWEEN ? AND ?)";
pub(super) const ANY_IN_TARGET_RANGE: &str =
    "SELECT EXISTS (SELECT 1 FROM links WHERE mapping = ? AND target_key BETWEEN ? AND ?)";

/// Those between two numbers.
pub(super) const PAGE: &str = concat!(
    "SELECT ",
    pack!("0"),
    " FROM (SELECT * FROM links k WHERE k.link > ?1 AND k.link <= ?2 AND ",
    made!(),
    " ORDER BY k.link LIMIT ?3) l"
);

/// Those between two numbers that a sweep of side ?4 has not seen, but for
/// those whose record there is known to be gone.
pub(super) const ABSENT_PAGE: &str = concat!(
    "SELECT ",
    pack!("0"),
    " FROM (SELECT * FROM links k WHERE k.link > ?1 AND k.link <= ?2 AND k.gone IS NOT ?4 AND NOT EXISTS \
     (SELECT 1 FROM swept s WHERE s.side = ?4 AND s.link = k.link) AND ",
    made!(),
    " ORDER BY k.link LIMIT ?3) l"
);

/// Those packed by the creates of intents, in order.
pub(super) const RANGE: &str = concat!("SELECT ", pack!("0"), " FROM links l WHERE l.link BETWEEN ?1 AND ?2");

const INSERT: Bulk = Bulk {
    head: "INSERT INTO links (link, mapping, source_key, target_key, revision, layout, gone, history, bases)",
    columns: 9,
    tail: "",
};

const UPDATE: Bulk = Bulk {
    head: "WITH new (link, source_key, target_key, revision, layout, gone, history, bases) AS (",
    columns: 8,
    tail: ") UPDATE links SET revision = new.revision, layout = new.layout, gone = new.gone, history = new.history, \
           bases = new.bases FROM new WHERE links.link = new.link AND links.source_key = new.source_key \
           AND links.target_key = new.target_key",
};

/// What hangs on links that are forgotten.
pub(super) const FORGET_PARKED: [&str; 2] = [
    "DELETE FROM parked WHERE id IN (SELECT p.id FROM json_each(?) j CROSS JOIN links l ON l.link = j.value \
     CROSS JOIN parked p ON p.mapping = l.mapping AND p.source_key = l.source_key)",
    "DELETE FROM parked WHERE id IN (SELECT p.id FROM json_each(?) j CROSS JOIN links l ON l.link = j.value \
     CROSS JOIN parked p ON p.mapping = l.mapping AND p.target_key = l.target_key)",
];
pub(super) const FORGET_CONFLICTS: &str = "UPDATE conflicts SET status = 'closed' \
     WHERE status = 'open' AND link IN (SELECT value FROM json_each(?))";
const FORGET_SPOOLED: &str = "DELETE FROM spooled WHERE link IN (SELECT value FROM json_each(?))";

/// The links of these keys, in their order.
pub(super) async fn by_keys(
    connection: &mut SqliteConnection,
    mapping: i64,
    of: Side,
    keys: &[Key],
) -> Result<Vec<Option<Link>>, StoreError> {
    if keys.len() > PACKED && !any_between(connection, mapping, of, keys).await? {
        return Ok(vec![None; keys.len()]);
    }
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(PACKED) {
        let sql = match of {
            Side::Source => BY_SOURCE_KEYS,
            Side::Target => BY_TARGET_KEYS,
        };
        let row = sqlx::query(sql).bind(json_keys(keys)).bind(mapping).fetch_one(&mut *connection).await?;
        let open = row.try_get::<&str, _>(1)?;
        let open: Vec<(LinkId, LinkId)> = serde_json::from_str(open).map_err(|_| damaged("an intent"))?;
        let first = found.len();
        found.resize(first + keys.len(), None);
        for (position, link) in unpack(row.try_get(0)?)? {
            if !open.iter().any(|(first, last)| (*first..=*last).contains(&link.id)) {
                found[first + position] = Some(link);
            }
        }
    }
    Ok(found)
}

/// Whether a link has a key from the first to the last of these. Batches of a
/// first sync mostly come in the order of their keys, beyond all links.
async fn any_between(
    connection: &mut SqliteConnection,
    mapping: i64,
    of: Side,
    keys: &[Key],
) -> Result<bool, StoreError> {
    let sql = match of {
        Side::Source => ANY_IN_SOURCE_RANGE,
        Side::Target => ANY_IN_TARGET_RANGE,
    };
    let texts = || keys.iter().map(Key::as_str);
    let range = sqlx::query_scalar(sql).bind(mapping).bind(texts().min()).bind(texts().max());
    Ok(range.fetch_one(connection).await?)
}

/// A page of links between two numbers.
pub(super) async fn page(
    connection: &mut SqliteConnection,
    mut after: LinkId,
    until: LinkId,
    limit: usize,
    unseen_on: Option<Side>,
) -> Result<Vec<Link>, StoreError> {
    let mut links = Vec::new();
    while links.len() < limit {
        let count = PACKED.min(limit - links.len());
        let query = sqlx::query_scalar(if unseen_on.is_some() { ABSENT_PAGE } else { PAGE });
        let query = query.bind(after).bind(until).bind(signed(count as u64));
        let query = if let Some(side) = unseen_on { query.bind(side.name()) } else { query };
        let packed: Option<Vec<u8>> = query.fetch_one(&mut *connection).await?;
        let mut found = unpacked(packed.as_deref())?;
        found.sort_by_key(|link| link.id);
        let last = found.len() < count;
        links.append(&mut found);
        match links.last() {
            Some(link) if !last => after = link.id,
            _ => break,
        }
    }
    Ok(links)
}

/// The links of a range of numbers, made or not.
pub(super) async fn range(
    connection: &mut SqliteConnection,
    first: LinkId,
    last: LinkId,
) -> Result<Vec<Link>, StoreError> {
    let mut links = Vec::new();
    let width = signed(PACKED as u64);
    let mut from = first;
    while from <= last {
        let until = last.min(from + width - 1);
        let packed: Option<Vec<u8>> =
            sqlx::query_scalar(RANGE).bind(from).bind(until).fetch_one(&mut *connection).await?;
        links.append(&mut unpacked(packed.as_deref())?);
        from += width;
    }
    links.sort_by_key(|link| link.id);
    Ok(links)
}

/// Stores links under numbers of their own; they are new.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    mapping: i64,
    links: &[(LinkId, &Link)],
) -> Result<(), StoreError> {
    let result = INSERT
        .run(connection, links, |row, (id, link)| {
            row.bind(*id).bind(mapping).bind(stored_key(&link.keys.source)).bind(stored_key(&link.keys.target));
            bind_rest(row, link);
        })
        .await;
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => Err(name_taken(connection, mapping, links).await?.unwrap_or(error.into())),
        Err(error) => Err(error.into()),
    }
}

/// Which key it is that another link has already.
async fn name_taken(
    connection: &mut SqliteConnection,
    mapping: i64,
    links: &[(LinkId, &Link)],
) -> Result<Option<StoreError>, StoreError> {
    let numbers: BTreeSet<_> = links.iter().map(|(id, _)| *id).collect();
    for side in Side::BOTH {
        let mut keys = BTreeSet::new();
        let sql = match side {
            Side::Source => "SELECT link FROM links WHERE mapping = ? AND source_key = ?",
            Side::Target => "SELECT link FROM links WHERE mapping = ? AND target_key = ?",
        };
        for key in links.iter().map(|(_, link)| &link.keys[side]).filter(|key| !key.is_empty()) {
            let holder: Option<LinkId> =
                sqlx::query_scalar(sql).bind(mapping).bind(key.as_str()).fetch_optional(&mut *connection).await?;
            if !keys.insert(key) || holder.is_some_and(|holder| !numbers.contains(&holder)) {
                return Ok(Some(StoreError::linked_twice(side, key.as_str())));
            }
        }
    }
    Ok(None)
}

/// Stores links of a commit: new ones, and those that are there already.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    mapping: &mut MappingRow,
    links: &[Link],
) -> Result<(), StoreError> {
    if let Some(link) = links.iter().find(|link| Side::BOTH.iter().any(|side| link.keys[*side].is_empty())) {
        return Err(StoreError::keyless(link));
    }
    let there: Vec<_> = links.iter().filter(|link| link.id != 0).collect();
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
    connection: &mut SqliteConnection,
    mapping: &MappingRow,
    links: &[&'a Link],
) -> Result<Vec<(LinkId, &'a Link)>, StoreError> {
    if let Some(foreign) = links.iter().find(|link| !mapping.owns(link.id)) {
        return Err(StoreError::no_link(foreign.id));
    }
    let updated = UPDATE.run(connection, links, |row, link| {
        row.bind(link.id).bind(link.keys.source.as_str()).bind(link.keys.target.as_str());
        bind_rest(row, link);
    });
    if updated.await? == links.len() as u64 {
        return Ok(Vec::new());
    }
    let ids = json_numbers(links.iter().map(|link| link.id));
    let kept: Vec<(LinkId, String, String)> = sqlx::query_as(
        "SELECT l.link, ifnull(l.source_key, ''), ifnull(l.target_key, '') \
         FROM json_each(?) j CROSS JOIN links l ON l.link = j.value",
    )
    .bind(ids)
    .fetch_all(&mut *connection)
    .await?;
    let kept: BTreeMap<_, _> = kept.into_iter().map(|(id, source, target)| (id, (source, target))).collect();
    let mut moved = Vec::new();
    for link in links {
        let (source, target) = kept.get(&link.id).ok_or_else(|| StoreError::no_link(link.id))?;
        if source != link.keys.source.as_str() || target != link.keys.target.as_str() {
            moved.push((link.id, *link));
        }
    }
    sqlx::query("DELETE FROM links WHERE link IN (SELECT value FROM json_each(?))")
        .bind(json_numbers(moved.iter().map(|(id, _)| *id)))
        .execute(connection)
        .await?;
    Ok(moved)
}

/// Forgets links and what hangs on them.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    mapping: &mut MappingRow,
    ids: &[LinkId],
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    if let Some(foreign) = ids.iter().find(|id| !mapping.owns(**id)) {
        return Err(StoreError::no_link(*foreign));
    }
    let list = json_numbers(ids.iter().copied());
    for sql in [FORGET_PARKED[0], FORGET_PARKED[1], FORGET_CONFLICTS, FORGET_SPOOLED] {
        sqlx::query(sql).bind(&list).execute(&mut *connection).await?;
    }
    let there: Vec<LinkId> =
        sqlx::query_scalar("DELETE FROM links WHERE link IN (SELECT value FROM json_each(?)) RETURNING link")
            .bind(&list)
            .fetch_all(connection)
            .await?;
    let there: BTreeSet<_> = there.into_iter().collect();
    if let Some(missing) = ids.iter().find(|id| !there.contains(id)) {
        return Err(StoreError::no_link(*missing));
    }
    mapping.links -= signed(there.len() as u64);
    Ok(())
}

fn bind_rest(row: &mut RowBinder, link: &Link) {
    let gone = match link.status {
        LinkStatus::Linked => None,
        LinkStatus::Severed { gone } => Some(gone.name()),
    };
    row.bind(signed(link.revision))
        .bind(link.layout)
        .bind(gone)
        .bind(encode_history(&link.own_stamps, &link.contests, link.outside))
        .bind(encode_bases(&link.bases));
}

/// The first and the last number a link of the mapping can have, less one.
pub(super) fn bounds(mapping: i64) -> (LinkId, LinkId) {
    (mapping * LINKS_EACH, (mapping + 1) * LINKS_EACH - 1)
}

fn stored_key(key: &Key) -> Option<&str> {
    (!key.is_empty()).then(|| key.as_str())
}

/// Reads what `pack!` wrote.
fn unpack(packed: Option<&[u8]>) -> Result<Vec<(usize, Link)>, StoreError> {
    let mut rest = packed.unwrap_or_default();
    let mut links = Vec::new();
    while !rest.is_empty() {
        links.push((take_length(&mut rest)?, take_link(&mut rest)?));
    }
    Ok(links)
}

/// The same, where positions say nothing.
fn unpacked(packed: Option<&[u8]>) -> Result<Vec<Link>, StoreError> {
    Ok(unpack(packed)?.into_iter().map(|(_, link)| link).collect())
}

fn take_link(rest: &mut &[u8]) -> Result<Link, StoreError> {
    let id = take_number(rest)?;
    let revision = take_length(rest)? as u64;
    let layout = take_number(rest)?;
    let status = match take_word(rest)? {
        "-" => LinkStatus::Linked,
        gone => LinkStatus::Severed { gone: side(gone)? },
    };
    let mut lengths = [0; 4];
    for length in &mut lengths {
        *length = take_length(rest)?;
    }
    let mut bytes = |length| rest.split_off(..length).ok_or_else(|| damaged("a link"));
    let [source, target, history, bases] = lengths;
    let keys = Both::new(key_of(bytes(source)?)?, key_of(bytes(target)?)?);
    let (own_stamps, contests, outside) = decode_history(bytes(history)?)?;
    let bases = decode_bases(bytes(bases)?)?;
    Ok(Link { id, keys, revision, status, outside, bases, own_stamps, contests, layout })
}

fn take_word<'a>(rest: &mut &'a [u8]) -> Result<&'a str, StoreError> {
    let end = rest.iter().position(|byte| *byte == b' ').ok_or_else(|| damaged("a link"))?;
    let word = std::str::from_utf8(&rest[..end]).map_err(|_| damaged("a link"));
    *rest = &rest[end + 1..];
    word
}

fn take_number(rest: &mut &[u8]) -> Result<i64, StoreError> {
    take_word(rest)?.parse().map_err(|_| damaged("a link"))
}

/// A length; nothing stands for null.
fn take_length(rest: &mut &[u8]) -> Result<usize, StoreError> {
    let word = take_word(rest)?;
    if word.is_empty() { Ok(0) } else { word.parse().map_err(|_| damaged("a link")) }
}

fn key_of(bytes: &[u8]) -> Result<Key, StoreError> {
    Ok(Key::from_canonical(std::str::from_utf8(bytes).map_err(|_| damaged("a key"))?))
}

/// Keys as one JSON array of texts.
pub(super) fn json_keys<'a>(keys: impl IntoIterator<Item = &'a Key>) -> String {
    let texts: Vec<&str> = keys.into_iter().map(Key::as_str).collect();
    serde_json::to_string(&texts).expect("texts are JSON")
}

pub(super) fn json_numbers(numbers: impl Iterator<Item = i64>) -> String {
    serde_json::to_string(&numbers.collect::<Vec<_>>()).expect("numbers are JSON")
}
