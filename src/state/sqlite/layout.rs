//! The tables of the state, and their layout's version.
//!
//! People may open the file with any SQLite tool: keys are their canonical
//! JSON text, times ISO 8601 text that sorts, events and counts JSON. Values
//! that must come back exactly (bases, cursors, conflicts) are blobs of
//! [`crate::record::encode_values`].

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::StoreError;

/// The layout this engine writes. The first is [`TABLES`], the second has what
/// stands in [`ADDED`] and [`COLUMNS`] too.
pub(super) const LAYOUT: i64 = 2;

/// The links of a mapping are numbered from `mapping * LINKS_EACH + 1`, so
/// that they lie together in the file whatever other mappings do, and a range
/// of numbers is a range of one mapping.
pub(super) const LINKS_EACH: i64 = 1 << 40;

pub(super) const TABLES: &str = "
    CREATE TABLE mappings (
        mapping INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        fence INTEGER NOT NULL,
        links INTEGER NOT NULL DEFAULT 0,      -- how many there are
        last_link INTEGER NOT NULL DEFAULT 0,  -- the newest number given
        runs INTEGER,                          -- null before the first commit
        source_fingerprint TEXT NOT NULL DEFAULT '',
        target_fingerprint TEXT NOT NULL DEFAULT '',
        layouts TEXT NOT NULL DEFAULT '[]',
        source_swept TEXT,
        target_swept TEXT,
        first_sync_done INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE cursors (
        mapping INTEGER NOT NULL,
        side TEXT NOT NULL,
        low BLOB,
        timeline TEXT,
        filter TEXT NOT NULL,
        PRIMARY KEY (mapping, side)
    ) WITHOUT ROWID;
    CREATE TABLE links (
        link INTEGER PRIMARY KEY,
        mapping INTEGER NOT NULL,
        source_key TEXT,                       -- null while a create has none yet
        target_key TEXT,
        revision INTEGER NOT NULL,
        layout INTEGER NOT NULL,
        gone TEXT,                             -- the side whose record is gone, in a severed link
        history BLOB,                          -- own stamps and contests
        bases BLOB NOT NULL
    );
    CREATE UNIQUE INDEX links_source ON links (mapping, source_key);
    CREATE UNIQUE INDEX links_target ON links (mapping, target_key);
    CREATE TABLE intents (                     -- what is sent and not answered yet
        intents INTEGER PRIMARY KEY AUTOINCREMENT,
        mapping INTEGER NOT NULL,
        side TEXT NOT NULL,
        token TEXT,
        at TEXT NOT NULL,
        first_create INTEGER NOT NULL,         -- creates stand in links already, from this number to the last
        last_create INTEGER NOT NULL,
        keyless INTEGER NOT NULL,              -- whether the answer has to tell a key
        changes TEXT NOT NULL,
        change_values BLOB NOT NULL
    );
    CREATE TABLE conflicts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        mapping INTEGER NOT NULL,
        link INTEGER NOT NULL,
        source_key TEXT NOT NULL,
        target_key TEXT NOT NULL,
        field TEXT NOT NULL,
        bases BLOB,
        sides BLOB NOT NULL,
        policy TEXT NOT NULL,
        status TEXT NOT NULL,
        at TEXT NOT NULL,
        take TEXT,                             -- what a person decided: a side,
        take_value BLOB                        -- or a value
    );
    CREATE UNIQUE INDEX conflicts_open ON conflicts (link, field) WHERE status = 'open';
    CREATE TABLE parked (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        mapping INTEGER NOT NULL,
        side TEXT NOT NULL,
        source_key TEXT NOT NULL,              -- empty where there is none
        target_key TEXT NOT NULL,
        field TEXT NOT NULL,                   -- empty for the record as a whole, its digest where it has no key
        reason TEXT NOT NULL,
        value TEXT,
        code TEXT,
        message TEXT NOT NULL,
        file TEXT,
        line INTEGER,
        attempts INTEGER NOT NULL,
        since TEXT NOT NULL,
        next_try TEXT
    );
    CREATE UNIQUE INDEX parked_place ON parked (mapping, source_key, target_key, side, field);
    CREATE INDEX parked_target ON parked (mapping, target_key, source_key, side, field);
    CREATE TABLE spooled (                     -- deletes that wait for the end of the run
        link INTEGER PRIMARY KEY,
        source_key TEXT NOT NULL,
        target_key TEXT NOT NULL,
        side TEXT NOT NULL,                    -- to delete on
        since TEXT NOT NULL
    );
    CREATE TABLE runs (
        run TEXT PRIMARY KEY,
        mapping INTEGER NOT NULL,
        number INTEGER NOT NULL,
        status TEXT NOT NULL,
        started_at TEXT NOT NULL,
        duration_ms INTEGER NOT NULL,
        counts TEXT NOT NULL,
        errors TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX runs_mapping ON runs (mapping, run);
    CREATE TABLE events (
        event INTEGER PRIMARY KEY,
        mapping INTEGER NOT NULL,
        at TEXT NOT NULL,
        run TEXT NOT NULL,
        source_key TEXT,
        target_key TEXT,
        kind TEXT NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE INDEX events_source ON events (mapping, source_key) WHERE source_key IS NOT NULL;
    CREATE INDEX events_target ON events (mapping, target_key) WHERE target_key IS NOT NULL;
    CREATE INDEX events_deleted ON events (mapping, at) WHERE kind = 'deleted';
";

/// What came after the first states were laid out; some of those have a part
/// of it.
const ADDED: &str = "
    CREATE TABLE IF NOT EXISTS made (          -- links that came of creates
        first INTEGER PRIMARY KEY,             -- from this number
        last INTEGER NOT NULL,                 -- to this one
        side TEXT NOT NULL,                    -- where they were created
        run TEXT NOT NULL,
        at TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS marks (         -- what goes with a cursor, where there is anything
        mapping INTEGER NOT NULL,
        side TEXT NOT NULL,
        ahead BLOB,                            -- the low mark to be, once none of
        open TEXT,                             -- these transactions is open: [name, ...]
        receded BLOB,
        PRIMARY KEY (mapping, side)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS written (       -- what may come back through a ring of mappings
        object TEXT NOT NULL,
        key TEXT NOT NULL,
        field TEXT NOT NULL,
        mapping INTEGER NOT NULL,              -- the one that wrote it
        digest INTEGER NOT NULL,
        origins TEXT NOT NULL,                 -- fields it came from: [[object, key, field], ...]
        PRIMARY KEY (object, key, field)
    ) WITHOUT ROWID;
";

/// Columns that came later, each with what brings it in.
pub(super) const COLUMNS: [(&str, &str, &str); 8] = [
    // A first sync that has run and made links is under way.
    (
        "mappings",
        "first_sync_begun",
        "ALTER TABLE mappings ADD COLUMN first_sync_begun INTEGER NOT NULL DEFAULT 0;
         UPDATE mappings SET first_sync_begun = 1 WHERE links > 0 AND runs > 0;",
    ),
    ("marks", "known", "ALTER TABLE marks ADD COLUMN known TEXT;"),
    ("marks", "restored", "ALTER TABLE marks ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;"),
    // Intents of before were recorded under the newest layout of their mapping.
    (
        "intents",
        "layout",
        "ALTER TABLE intents ADD COLUMN layout INTEGER NOT NULL DEFAULT 0;
         UPDATE intents SET layout = coalesce(
             (SELECT json_extract(m.layouts, '$[#-1].id') FROM mappings m WHERE m.mapping = intents.mapping), 0);",
    ),
    ("parked", "sent", "ALTER TABLE parked ADD COLUMN sent TEXT;"),
    ("parked", "layout", "ALTER TABLE parked ADD COLUMN layout INTEGER;"),
    ("parked", "bases", "ALTER TABLE parked ADD COLUMN bases BLOB;"),
    ("parked", "certain", "ALTER TABLE parked ADD COLUMN certain INTEGER;"),
];

/// What one engine keeps for itself while it runs.
pub(super) const TEMPORARY: &str = "
    CREATE TEMPORARY TABLE sweeps (
        mapping INTEGER NOT NULL,
        side TEXT NOT NULL,
        until INTEGER NOT NULL,                -- the newest link when it began
        PRIMARY KEY (mapping, side)
    ) WITHOUT ROWID;
    CREATE TEMPORARY TABLE swept (
        side TEXT NOT NULL,
        link INTEGER NOT NULL,
        PRIMARY KEY (side, link)
    ) WITHOUT ROWID;
";

/// True for a database with tables that are none of a state's.
pub(super) async fn belongs_to_another(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) > 0 AND (SELECT user_version FROM pragma_user_version) = 0 FROM sqlite_schema";
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}

/// The layout that a database says it has; 0 where it says nothing.
pub(super) async fn found(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("PRAGMA user_version").fetch_one(connection).await?)
}

/// Refuses a layout that this engine does not know.
pub(super) fn refuse_unknown(found: i64) -> Result<(), StoreError> {
    if (0..=LAYOUT).contains(&found) { Ok(()) } else { Err(StoreError::Newer { found, known: LAYOUT }) }
}

/// Lays out an empty file, brings an earlier layout to this engine's, and
/// refuses what another program or a newer engine wrote. Stands in a
/// transaction of the caller's.
///
/// A step to a newer layout voids every fence, so that no earlier engine that
/// is at work goes on.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found = found(connection).await?;
    refuse_unknown(found)?;
    if found == LAYOUT {
        return Ok(());
    }
    if found == 0 {
        if belongs_to_another(connection).await? {
            return Err(StoreError::Broken("the file is a database of another program".into()));
        }
        sqlx::raw_sql(TABLES).execute(&mut *connection).await?;
    }
    sqlx::raw_sql(ADDED).execute(&mut *connection).await?;
    for (table, column, sql) in COLUMNS {
        let there: bool = sqlx::query_scalar("SELECT count(*) > 0 FROM pragma_table_info(?) WHERE name = ?")
            .bind(table)
            .bind(column)
            .fetch_one(&mut *connection)
            .await?;
        if !there {
            sqlx::raw_sql(sql).execute(&mut *connection).await?;
        }
    }
    let done = format!("UPDATE mappings SET fence = fence + 1; PRAGMA user_version = {LAYOUT}");
    sqlx::raw_sql(AssertSqlSafe(done)).execute(connection).await?;
    Ok(())
}
