//! The tables of the state in a schema of their own, and their layout's
//! version.
//!
//! They are those of the SQLite state, and hold the same: keys are their
//! canonical JSON text, times ISO 8601 text that sorts by bytes, values that
//! must come back exactly bytes of [`crate::record::encode_values`]. What is
//! more: the lease of each mapping, and what a sweep has seen.

use sqlx::{AssertSqlSafe, PgConnection};

use super::StoreError;

/// One lays out an empty schema; each further one brings the layout of its
/// place in the list to the next.
pub(super) const STEPS: [&str; 1] = [TABLES];

/// The links of a mapping are numbered from `mapping * LINKS_EACH + 1`, so
/// that a range of numbers is a range of one mapping.
pub(super) const LINKS_EACH: i64 = 1 << 40;

const TABLES: &str = r#"
    CREATE TABLE mappings (
        mapping bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text COLLATE "C" NOT NULL UNIQUE,
        fence bigint NOT NULL,
        engine text,                           -- which engine has the lease; null where none has
        holder text,                           -- the same, in words
        leased_until timestamptz,
        links bigint NOT NULL DEFAULT 0,       -- how many there are
        last_link bigint NOT NULL DEFAULT 0,   -- the newest number given
        runs bigint,                           -- null before the first commit
        source_fingerprint text NOT NULL DEFAULT '',
        target_fingerprint text NOT NULL DEFAULT '',
        layouts text NOT NULL DEFAULT '[]',
        source_swept text,
        target_swept text,
        first_sync_begun boolean NOT NULL DEFAULT false,
        first_sync_done boolean NOT NULL DEFAULT false
    ) WITH (fillfactor = 50);
    CREATE TABLE cursors (
        mapping bigint NOT NULL,
        side text NOT NULL,
        low bytea,
        known text,
        timeline text,
        filter text NOT NULL,
        ahead bytea,                           -- the low mark to be, once none of
        open text,                             -- these transactions is open: [name, ...]
        receded bytea,
        restored boolean NOT NULL,
        PRIMARY KEY (mapping, side)
    );
    CREATE TABLE links (
        link bigint PRIMARY KEY,
        mapping bigint NOT NULL,
        source_key text COLLATE "C",           -- null while a create has none yet
        target_key text COLLATE "C",
        revision bigint NOT NULL,
        layout bigint NOT NULL,
        gone text,                             -- the side whose record is gone, in a severed link
        history bytea,                         -- own stamps and contests
        bases bytea NOT NULL
    );
    CREATE UNIQUE INDEX links_source ON links (mapping, source_key);
    CREATE UNIQUE INDEX links_target ON links (mapping, target_key);
    CREATE TABLE made (                        -- links that came of creates
        first bigint PRIMARY KEY,              -- from this number
        last bigint NOT NULL,                  -- to this one
        side text NOT NULL,                    -- where they were created
        run text NOT NULL,
        at text NOT NULL
    );
    CREATE TABLE intents (                     -- what is sent and not answered yet
        intents bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        mapping bigint NOT NULL,
        side text NOT NULL,
        token text,
        at text NOT NULL,
        layout bigint NOT NULL,
        first_create bigint NOT NULL,          -- creates stand in links already, from this number to the last
        last_create bigint NOT NULL,
        keyless boolean NOT NULL,              -- whether the answer has to tell a key
        changes text NOT NULL,
        change_values bytea NOT NULL
    );
    CREATE INDEX intents_mapping ON intents (mapping);
    CREATE SEQUENCE conflict_numbers;
    CREATE TABLE conflicts (
        id bigint PRIMARY KEY,
        mapping bigint NOT NULL,
        link bigint NOT NULL,
        source_key text NOT NULL,
        target_key text NOT NULL,
        field text NOT NULL,
        bases bytea,
        sides bytea NOT NULL,
        policy text NOT NULL,
        status text NOT NULL,
        at text COLLATE "C" NOT NULL,
        take text,                             -- what a person decided: a side,
        take_value bytea                       -- or a value
    );
    CREATE INDEX conflicts_open ON conflicts (link) WHERE status = 'open';
    CREATE INDEX conflicts_mapping ON conflicts (mapping) WHERE status = 'open';
    CREATE TABLE parked (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        mapping bigint NOT NULL,
        side text NOT NULL,
        source_key text COLLATE "C" NOT NULL,  -- empty where there is none
        target_key text COLLATE "C" NOT NULL,
        field text NOT NULL,                   -- empty for the record as a whole, its digest where it has no key
        reason text NOT NULL,
        value text,
        code text,
        message text NOT NULL,
        file text,
        line bigint,
        attempts bigint NOT NULL,
        since text NOT NULL,
        next_try text COLLATE "C",
        sent text,
        layout bigint,
        bases bytea,
        certain boolean
    );
    CREATE UNIQUE INDEX parked_place ON parked (mapping, source_key, target_key, side, field);
    CREATE INDEX parked_target ON parked (mapping, target_key);
    CREATE TABLE spooled (                     -- deletes that wait for the end of the run
        link bigint PRIMARY KEY,
        source_key text NOT NULL,
        target_key text NOT NULL,
        side text NOT NULL,                    -- to delete on
        since text NOT NULL
    );
    CREATE TABLE written (                     -- what may come back through a ring of mappings
        object text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        field text COLLATE "C" NOT NULL,
        mapping bigint NOT NULL,               -- the one that wrote it
        digest bigint NOT NULL,
        origins text NOT NULL,                 -- fields it came from: [[object, key, field], ...]
        PRIMARY KEY (object, key, field)
    );
    CREATE INDEX written_mapping ON written (mapping);
    CREATE TABLE runs (
        run text COLLATE "C" PRIMARY KEY,
        mapping bigint NOT NULL,
        number bigint NOT NULL,
        status text NOT NULL,
        started_at text COLLATE "C" NOT NULL,
        duration_ms bigint NOT NULL,
        counts text NOT NULL,
        errors text NOT NULL
    );
    CREATE INDEX runs_mapping ON runs (mapping, run);
    CREATE TABLE events (
        event bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        mapping bigint NOT NULL,
        at text COLLATE "C" NOT NULL,
        run text NOT NULL,
        source_key text COLLATE "C",
        target_key text COLLATE "C",
        kind text NOT NULL,
        detail text NOT NULL
    );
    CREATE INDEX events_source ON events (mapping, source_key) WHERE source_key IS NOT NULL;
    CREATE INDEX events_target ON events (mapping, target_key) WHERE target_key IS NOT NULL;
    CREATE INDEX events_deleted ON events (mapping, at) WHERE kind = 'deleted';
    CREATE UNLOGGED TABLE sweeps (             -- sweeps end with the engine that began them
        mapping bigint NOT NULL,
        side text NOT NULL,
        engine text NOT NULL,
        until bigint NOT NULL,                 -- the newest link when it began
        PRIMARY KEY (mapping, side)
    );
    CREATE UNLOGGED TABLE swept (
        side text NOT NULL,
        link bigint NOT NULL,
        PRIMARY KEY (side, link)
    );
"#;

/// The newest layout of these steps.
pub(super) fn newest(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).expect("there are few layouts")
}

/// Whether the schema is there, and with it a state.
pub(super) async fn is_there(connection: &mut PgConnection, schema: &str) -> Result<bool, StoreError> {
    let sql = "SELECT to_regclass(quote_ident($1) || '.layout') IS NOT NULL";
    Ok(sqlx::query_scalar(sql).bind(schema).fetch_one(connection).await?)
}

/// Lays out an empty schema, takes an earlier layout to the newest, and
/// refuses what another program or a newer engine made. Stands in a
/// transaction of the caller's.
///
/// A step to a newer layout voids every fence, so that no earlier engine that
/// is at work goes on.
pub(super) async fn prepare(connection: &mut PgConnection, schema: &str, steps: &[&str]) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('engine state ' || $1, 0))")
        .bind(schema)
        .execute(&mut *connection)
        .await?;
    let known = newest(steps);
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)")
        .bind(schema)
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        let sql = format!("CREATE SCHEMA \"{schema}\"");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    let found: i64 = if is_there(connection, schema).await? {
        sqlx::query_scalar("SELECT version FROM layout").fetch_one(&mut *connection).await?
    } else {
        let others = "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = $1)";
        if sqlx::query_scalar(others).bind(schema).fetch_one(&mut *connection).await? {
            return Err(StoreError::Broken(format!("the schema `{schema}` has tables of another program")));
        }
        sqlx::raw_sql("CREATE TABLE layout (version bigint NOT NULL); INSERT INTO layout VALUES (0)")
            .execute(&mut *connection)
            .await?;
        0
    };
    if found > known || found < 0 {
        return Err(StoreError::Newer { found, known });
    }
    if found == known {
        return Ok(());
    }
    let done = usize::try_from(found).expect("it is not negative");
    for step in &steps[done..] {
        sqlx::raw_sql(AssertSqlSafe((*step).to_owned())).execute(&mut *connection).await?;
    }
    sqlx::query("UPDATE layout SET version = $1").bind(known).execute(&mut *connection).await?;
    sqlx::raw_sql("UPDATE mappings SET fence = fence + 1, engine = NULL, holder = NULL, leased_until = NULL")
        .execute(connection)
        .await?;
    Ok(())
}
