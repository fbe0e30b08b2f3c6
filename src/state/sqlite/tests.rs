//! What can only be seen from inside: how statements find their rows, and what
//! a full disk leaves.

use sqlx::AssertSqlSafe;

use super::*;
use crate::plan::{Bases, LinkStatus};
use crate::record::{Both, Value};

async fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("state.db")).await.unwrap()
}

fn links(numbers: std::ops::Range<i64>) -> Commit {
    let link = |number| Link {
        id: 0,
        keys: Both::new(number, number).map(|number| Key::new([&Value::Integer(number)]).unwrap()),
        revision: 1,
        status: LinkStatus::Linked,
        outside: false,
        bases: Bases::Values(vec![Some(Both::new(Value::text("x".repeat(100)), Value::Null))]),
        own_stamps: Both::default(),
        contests: Vec::new(),
        layout: 1,
    };
    Commit { links: numbers.map(link).collect(), ..Commit::default() }
}

/// SQLite once read a million links for every batch of keys. What is searched
/// for must be searched by an index, with or without statistics.
#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let fence = store.acquire("m").await.unwrap();
    store.commit(&fence, &links(0..1000)).await.unwrap();
    let mut write = store.begin().await.unwrap();
    for _ in 0..2 {
        for (sql, index) in [
            (links::BY_SOURCE_KEYS, "l USING INDEX links_source (mapping=? AND source_key=?)"),
            (links::BY_TARGET_KEYS, "l USING INDEX links_target (mapping=? AND target_key=?)"),
            (links::PAGE, "k USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            (links::ABSENT_PAGE, "k USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            (links::ABSENT_PAGE, "s USING PRIMARY KEY (side=? AND link=?)"),
            (links::RANGE, "l USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            (ledger::SEEN_SOURCE, "l USING INDEX links_source (mapping=? AND source_key=?)"),
            (ledger::SEEN_TARGET, "l USING INDEX links_target (mapping=? AND target_key=?)"),
            (ledger::BY_SOURCE_KEY, "events USING INDEX events_source (mapping=? AND source_key=?)"),
            (ledger::BY_TARGET_KEY, "events USING INDEX events_target (mapping=? AND target_key=?)"),
            (ledger::MADE_OF_SOURCE_KEY, "l USING INDEX links_source (mapping=? AND source_key=?)"),
            (ledger::MADE_OF_SOURCE_KEY, "m USING INTEGER PRIMARY KEY (rowid=?)"),
            (ledger::MADE_OF_SOURCE_KEY, "made USING INTEGER PRIMARY KEY (rowid<?)"),
            (ledger::MADE_OF_TARGET_KEY, "l USING INDEX links_target (mapping=? AND target_key=?)"),
            (ledger::KEYS_OF_SOURCE, "links USING INDEX links_source (mapping=? AND source_key>? AND source_key<?)"),
            (ledger::KEYS_OF_SOURCE, "events USING INDEX events_source (mapping=? AND source_key>? AND source_key<?)"),
            (ledger::KEYS_OF_TARGET, "links USING INDEX links_target (mapping=? AND target_key>? AND target_key<?)"),
            (ledger::KEYS_OF_TARGET, "events USING INDEX events_target (mapping=? AND target_key>? AND target_key<?)"),
            (ledger::DELETED_SINCE, "events USING INDEX events_deleted (mapping=? AND at>?)"),
            (prune::EVENTS, "events USING INTEGER PRIMARY KEY (rowid<?)"),
            (prune::RUNS, "runs USING INDEX runs_mapping (mapping=? AND run<?)"),
            (conflicts::BEFORE, "c USING INDEX conflicts_open (link=?)"),
            (conflicts::BEFORE, "c USING INTEGER PRIMARY KEY (rowid=?)"),
            (parked::BY_SOURCE_KEYS, "p USING INDEX parked_place (mapping=? AND source_key=?)"),
            (parked::BY_TARGET_KEYS, "p USING INDEX parked_target (mapping=? AND target_key=?)"),
            (written::BY_CELLS, "w USING PRIMARY KEY (object=? AND key=? AND field=?)"),
            (written::FORGET, "written USING PRIMARY KEY (object=? AND key=? AND field=?)"),
            (links::FORGET_CONFLICTS, "conflicts USING INDEX conflicts_open (link=?)"),
            (links::FORGET_PARKED[0], "p USING INDEX parked_place (mapping=? AND source_key=?)"),
            (links::FORGET_PARKED[1], "p USING INDEX parked_target (mapping=? AND target_key=?)"),
        ] {
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(&mut write.connection)
                .await
                .unwrap();
            let steps: Vec<_> = plan.iter().map(|(.., step)| step.replace("COVERING ", "")).collect();
            assert!(steps.contains(&format!("SEARCH {index}")), "{sql}\nis done by {steps:#?}");
        }
        sqlx::raw_sql("ANALYZE").execute(&mut write.connection).await.unwrap();
    }
}

/// A limit of the database's own stands for the disk's.
#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let fence = store.acquire("m").await.unwrap();
    store.commit(&fence, &links(0..100)).await.unwrap();
    let mut write = store.begin().await.unwrap();
    sqlx::raw_sql("PRAGMA max_page_count = 60").execute(&mut write.connection).await.unwrap();
    write.finish(Ok(())).await.unwrap();

    let more = links(1000..9000);
    let error = store.commit(&fence, &more).await.unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert_eq!(store.count_links("m").await, Ok(100));
    assert_eq!(store.links_after("m", 0, 10_000).await.unwrap().len(), 100);

    *store.writer.lock().await = None;
    store.commit(&fence, &more).await.unwrap();
    assert_eq!(store.count_links("m").await, Ok(8100), "once there is room, work goes on");
}

/// Every table with its columns, which stand in another order where some came later.
async fn tables(connection: &mut SqliteConnection) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT t.name, c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk \
         FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY 1, 2",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// What a state of the first layout held is there in the newest one; whoever
/// is still at work in the earlier one is out. Issue 2: intents did not tell
/// which fields they are about: those of the first layout follow the newest
/// fields of their mapping.
#[tokio::test]
async fn a_state_of_the_first_layout_is_brought_to_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let fence = store.acquire("m").await.unwrap();
    let layout = |id| crate::state::Layout { id, fields: Vec::new(), settled: false };
    let state = MappingState { runs: 3, layouts: vec![layout(4), layout(3)], ..MappingState::default() };
    store.commit(&fence, &Commit { mapping: Some(state.clone()), ..links(0..3) }).await.unwrap();
    let kept = store.links_after("m", 0, 10).await.unwrap();
    let at = chrono::DateTime::UNIX_EPOCH;
    let parked = Parked {
        id: 0,
        mapping: "m".into(),
        keys: kept[0].keys.clone().map(Some),
        row: None,
        side: Side::Source,
        reason: Reason::Rejected,
        field: None,
        value: None,
        sent: None,
        agreed: None,
        code: None,
        message: "why".into(),
        file: None,
        line: None,
        attempts: 1,
        since: at,
        next_try: None,
    };
    store.commit(&fence, &Commit { park: vec![parked], ..Commit::default() }).await.unwrap();
    let parked = store.parked(&ParkedFilter::default()).await.unwrap();
    let intents = Intents { side: Side::Target, token: None, at, layout: 4, creates: Vec::new(), changes: Vec::new() };
    let id = store.intend(&fence, &Commit::default(), &intents).await.unwrap();

    let mut write = store.begin().await.unwrap();
    let newest = tables(&mut write.connection).await;
    sqlx::raw_sql("DROP TABLE made; DROP TABLE marks; DROP TABLE written; PRAGMA user_version = 1")
        .execute(&mut write.connection)
        .await
        .unwrap();
    for (table, column, _) in layout::COLUMNS.iter().filter(|(table, ..)| *table != "marks") {
        let drop = format!("ALTER TABLE {table} DROP COLUMN {column}");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut write.connection).await.unwrap();
    }
    let mut first = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
    sqlx::raw_sql(layout::TABLES).execute(&mut first).await.unwrap();
    assert_eq!(tables(&mut write.connection).await, tables(&mut first).await);
    write.finish(Ok(())).await.unwrap();

    let next = open(&folder).await;
    assert_eq!(store.commit(&fence, &links(5..6)).await, Err(StoreError::Fenced), "of an engine that is still at work");
    let mut write = next.begin().await.unwrap();
    assert_eq!(tables(&mut write.connection).await, newest);
    write.finish(Ok(())).await.unwrap();
    assert_eq!(next.open_intents("m").await, Ok(vec![(id, Intents { layout: 3, ..intents })]));
    assert_eq!(next.links_after("m", 0, 10).await, Ok(kept));
    assert_eq!(next.parked(&ParkedFilter::default()).await, Ok(parked));
    let begun = MappingState { first_sync_begun: true, ..state };
    assert_eq!(next.mapping("m").await, Ok(Some(begun)), "a first sync that has made links is under way");
    let fence = next.acquire("m").await.unwrap();
    next.commit(&fence, &links(5..6)).await.unwrap();
}
