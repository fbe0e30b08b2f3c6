//! What the engine remembers: the suite over every store, and what only the
//! one in a file does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use chrono::{DateTime, Utc};
use engine::plan::{Bases, Link, LinkStatus};
use engine::record::{Both, Key, Side, Value};
use engine::state::conformance::conform;
use engine::state::{Commit, Intents, MappingState, MemoryStore, PostgresStore, SqliteStore, Store, StoreError};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::postgres::Database;

fn now() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn link(number: i64) -> Link {
    let text = Value::text("x".repeat(100));
    Link {
        id: 0,
        keys: Both::new(number, number + 1).map(|number| Key::new([&Value::Integer(number)]).unwrap()),
        revision: 1,
        status: LinkStatus::Linked,
        outside: false,
        bases: Bases::Values(vec![Some(Both::new(text.clone(), text))]),
        own_stamps: Both::default(),
        contests: Vec::new(),
        layout: 1,
    }
}

fn intents() -> Intents {
    Intents { side: Side::Target, token: None, at: now(), layout: 1, creates: Vec::new(), changes: Vec::new() }
}

fn links(count: i64) -> Commit {
    Commit { links: (0..count).map(link).collect(), ..Commit::default() }
}

async fn change(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

/// The state in this database, with these parameters.
async fn state(database: &Database, parameters: &str) -> PostgresStore {
    let mark = if database.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{mark}{parameters}", database.url).parse().unwrap();
    PostgresStore::open(&url).await.unwrap()
}

#[tokio::test]
async fn the_store_in_memory_keeps_its_promises() {
    conform(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn the_store_in_a_file_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    let kept = conform(async || {
        count.set(count.get() + 1);
        SqliteStore::open(&folder.path().join(format!("{}.db", count.get()))).await.unwrap()
    });
    Box::pin(kept).await;
}

#[tokio::test]
async fn the_store_in_postgres_keeps_its_promises() {
    let database = Database::fresh().await;
    let count = std::cell::Cell::new(0);
    let kept = conform(async || {
        count.set(count.get() + 1);
        let name = format!("state_{}", count.get());
        state(&database, &format!("options[search_path]={name}")).await
    });
    Box::pin(kept).await;
}

/// Two engines on one state: one works on a mapping, the other is told who
/// does; once the lease has run out it takes over, and the first changes
/// nothing any more.
#[tokio::test]
async fn a_lease_keeps_others_out_until_it_runs_out() {
    let database = Database::fresh().await;
    let (first, second) = (state(&database, "lease=600").await, state(&database, "lease=600").await);
    let fence = first.acquire("m").await.unwrap();
    first.commit(&fence, &links(1)).await.unwrap();
    let refused = second.acquire("m").await.unwrap_err();
    assert!(matches!(refused, StoreError::Leased { .. }), "{refused:?}");
    let by = format!("another engine works on `m`: process {} at ", std::process::id());
    assert!(refused.to_string().starts_with(&by), "{refused}");
    assert!(matches!(second.reset("m", true).await, Err(StoreError::Leased { .. })));
    second.acquire("another").await.unwrap();

    // Extended while the first lives: three times as long as a lease lasts.
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(200));
    for _ in 0..9 {
        beat.tick().await;
        assert!(second.acquire("m").await.is_err(), "the lease of an engine that lives is extended");
    }

    // One that stands still extends nothing.
    drop(first);
    let taken = loop {
        beat.tick().await;
        if let Ok(taken) = second.acquire("m").await {
            break taken;
        }
    };
    assert!(taken.number > fence.number);
    let woken = state(&database, "lease=600").await;
    assert_eq!(woken.commit(&fence, &links(2)).await, Err(StoreError::Fenced));
    assert_eq!(woken.intend(&fence, &Commit::default(), &intents()).await, Err(StoreError::Fenced));
    assert_eq!(second.count_links("m").await, Ok(1));

    second.release(&taken).await.unwrap();
    assert_eq!(second.commit(&taken, &Commit::default()).await, Err(StoreError::Fenced));
    woken.acquire("m").await.unwrap();
}

/// A server that ends all connections is met again by the next call.
#[tokio::test]
async fn a_lost_connection_is_made_anew() {
    let database = Database::fresh().await;
    let store = state(&database, "lease=5000").await;
    let fence = store.acquire("m").await.unwrap();
    database
        .run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    store.commit(&fence, &links(1)).await.unwrap();
    assert_eq!(store.count_links("m").await, Ok(1));
}

#[tokio::test]
async fn a_schema_of_a_newer_engine_or_of_another_program_is_refused() {
    let database = Database::fresh().await;
    let url: url::Url = database.url.parse().unwrap();
    assert!(PostgresStore::open_there(&url).await.unwrap().is_none(), "looking makes no state");
    drop(PostgresStore::open(&url).await.unwrap());
    assert!(PostgresStore::open_there(&url).await.unwrap().is_some());
    database.run("UPDATE engine.layout SET version = 99").await;
    assert_eq!(PostgresStore::open(&url).await.unwrap_err(), StoreError::Newer { found: 99, known: 1 });
    database.run("DROP SCHEMA engine CASCADE; CREATE SCHEMA engine; CREATE TABLE engine.theirs (id int)").await;
    assert!(matches!(PostgresStore::open(&url).await, Err(StoreError::Broken(_))));
}

/// What a relay does to the next COMMIT that passes.
const LET_PASS: u8 = 0;
const CUT_BEFORE: u8 = 1;
const CUT_AFTER: u8 = 2;

/// Stands between an engine and the server: answers with its own port.
async fn relay(database: &Database, next: Arc<AtomicU8>) -> u16 {
    let url: url::Url = database.url.parse().unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut engine, _)) = listener.accept().await {
            let (next, mut server) = (next.clone(), TcpStream::connect(&server).await.unwrap());
            tokio::spawn(async move {
                let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
                loop {
                    tokio::select! {
                        Ok(length @ 1..) = engine.read(&mut asked) => {
                            let asked = &asked[..length];
                            let commits = asked.windows(7).any(|part| part == b"COMMIT\0");
                            let does = if commits { next.swap(LET_PASS, Ordering::SeqCst) } else { LET_PASS };
                            if does == CUT_BEFORE {
                                return;
                            }
                            server.write_all(asked).await.unwrap();
                            if does == CUT_AFTER {
                                assert!(server.read(&mut answered).await.unwrap() > 0, "the server has done it");
                                return;
                            }
                        }
                        Ok(length @ 1..) = server.read(&mut answered) => {
                            if engine.write_all(&answered[..length]).await.is_err() {
                                return;
                            }
                        }
                        else => return,
                    }
                }
            });
        }
    });
    port
}

/// The answer to a COMMIT may be lost, or the COMMIT itself: the server knows.
#[tokio::test]
async fn what_became_of_a_commit_without_an_answer_is_asked() {
    let database = Database::fresh().await;
    let next = Arc::new(AtomicU8::new(LET_PASS));
    let port = relay(&database, next.clone()).await;
    let mut url: url::Url = database.url.parse().unwrap();
    url.set_port(Some(port)).unwrap();
    url.query_pairs_mut().append_pair("sslmode", "disable");
    let store = PostgresStore::open(&url).await.unwrap();
    let fence = store.acquire("m").await.unwrap();
    next.store(CUT_AFTER, Ordering::SeqCst);
    assert_eq!(store.commit(&fence, &links(3)).await, Ok(()), "it is in effect");
    assert_eq!(next.load(Ordering::SeqCst), LET_PASS, "the answer was lost");
    assert_eq!(store.count_links("m").await, Ok(3));
    next.store(CUT_BEFORE, Ordering::SeqCst);
    let more = Commit { links: vec![link(100)], ..Commit::default() };
    let error = store.commit(&fence, &more).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert_eq!(next.load(Ordering::SeqCst), LET_PASS, "the commit was lost");
    assert_eq!(store.count_links("m").await, Ok(3));
    assert_eq!(store.commit(&fence, &more).await, Ok(()), "work goes on");
    assert_eq!(store.count_links("m").await, Ok(4));
}

/// The way from an earlier layout: the empty one here, as there is but one
/// other yet. What engines of the earlier one hold is void.
#[tokio::test]
async fn an_earlier_layout_is_brought_to_the_newest() {
    let database = Database::fresh().await;
    let url: url::Url = database.url.parse().unwrap();
    let empty = "CREATE SCHEMA engine; CREATE TABLE engine.layout (version bigint NOT NULL); \
        INSERT INTO engine.layout VALUES (0)";
    database.run(empty).await;
    let store = PostgresStore::open(&url).await.unwrap();
    let fence = store.acquire("m").await.unwrap();
    store.commit(&fence, &links(3)).await.unwrap();
    database.run("UPDATE engine.layout SET version = 2").await;
    assert_eq!(store.acquire("m").await, Err(StoreError::Newer { found: 2, known: 1 }), "it was brought on meanwhile");
    database.run("UPDATE engine.layout SET version = 1").await;
    assert_eq!(PostgresStore::open(&url).await.unwrap().count_links("m").await, Ok(3));
}

#[tokio::test]
async fn a_handle_on_the_store_in_memory_outlives_another() {
    let store = MemoryStore::new();
    let next = store.clone();
    let fence = store.acquire("m").await.unwrap();
    store.commit(&fence, &links(1)).await.unwrap();
    drop(store);
    assert_eq!(next.count_links("m").await, Ok(1));
}

/// What was answered is on the disk: a copy of the files, taken while they are
/// open, is what a crash leaves.
#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = SqliteStore::open_for_run(&path, now()).await.unwrap();
    let fence = store.acquire("m").await.unwrap();
    store.commit(&fence, &links(100)).await.unwrap();
    let creates = vec![link(500)];
    let intents = Intents { side: Side::Target, token: None, at: now(), layout: 1, creates, changes: Vec::new() };
    let id = store.intend(&fence, &Commit::default(), &intents).await.unwrap();

    let crashed = folder.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(folder.path().join(name), crashed.join(name)).unwrap();
    }
    for path in [crashed.join("state.db"), path] {
        let next = SqliteStore::open(&path).await.unwrap();
        assert_eq!(next.count_links("m").await, Ok(100));
        assert_eq!(next.links_after("m", 0, 1000).await, store.links_after("m", 0, 1000).await);
        assert_eq!(next.open_intents("m").await, Ok(vec![(id, intents.clone())]));
    }
    drop(store);
    let next = SqliteStore::open_for_run(&folder.path().join("state.db"), now()).await;
    assert_eq!(next.unwrap().count_links("m").await, Ok(100), "it opens again, and the lock went with its holder");
}

/// A call that is given up half way (the engine stops, a task is cancelled)
/// does not happen, and the next one does.
#[tokio::test]
async fn a_call_that_is_given_up_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("state.db")).await.unwrap();
    let fence = store.acquire("m").await.unwrap();
    let commit = links(5000);
    let mut given_up = 0;
    for polls in 1..30 {
        let mut call = store.commit(&fence, &commit);
        let mut done = None;
        let mut left = polls;
        std::future::poll_fn(|context| {
            let poll = call.as_mut().poll(context);
            left -= 1;
            match poll {
                std::task::Poll::Ready(result) => {
                    done = Some(result);
                    std::task::Poll::Ready(())
                }
                std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(()),
                std::task::Poll::Pending => std::task::Poll::Pending,
            }
        })
        .await;
        drop(call);
        if done.is_some() {
            break;
        }
        given_up += 1;
        assert_eq!(store.count_links("m").await, Ok(0));
    }
    assert!(given_up > 5, "the call was given up at several points");
    store.reset("m", true).await.unwrap();
    let fence = store.acquire("m").await.unwrap();
    store.commit(&fence, &commit).await.unwrap();
    assert_eq!(store.count_links("m").await, Ok(5000));
}

#[tokio::test]
async fn a_newer_or_foreign_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(SqliteStore::open(&path).await.unwrap());
    change(&path, "PRAGMA user_version = 99").await;
    assert_eq!(SqliteStore::open(&path).await.unwrap_err(), StoreError::Newer { found: 99, known: 2 });
    change(&path, "PRAGMA user_version = 2").await;
    SqliteStore::open(&path).await.unwrap();

    let foreign = folder.path().join("shop.db");
    drop(SqliteConnectOptions::new().filename(&foreign).create_if_missing(true).connect().await.unwrap());
    change(&foreign, "CREATE TABLE orders (id INTEGER)").await;
    let error = SqliteStore::open(&foreign).await.unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    // Nothing of it was changed: SQLite's header says how it is journalled.
    let open_to_all = |path: &Path| {
        #[cfg(unix)]
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let permissions = std::fs::metadata(path).unwrap().permissions();
        (permissions, std::fs::read(path).unwrap())
    };
    let before = open_to_all(&foreign);
    assert!(SqliteStore::open_for_run(&foreign, now()).await.is_err());
    assert_eq!((std::fs::metadata(&foreign).unwrap().permissions(), std::fs::read(&foreign).unwrap()), before);
    assert!(!folder.path().join("shop.lock").exists());

    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no database, however long it may be ".repeat(100)).unwrap();
    let error = SqliteStore::open(&text).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken(_)), "{error}");
    let before = open_to_all(&text);
    assert!(SqliteStore::open(&text).await.is_err());
    assert_eq!(std::fs::metadata(&text).unwrap().permissions(), before.0);
    let error = SqliteStore::open(folder.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken(_)), "{error}");
}

/// A state that was laid out before first syncs were noted.
#[tokio::test]
async fn an_earlier_state_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    for (runs, begun) in [(0, false), (3, true)] {
        let path = folder.path().join(format!("{runs}.db"));
        let store = SqliteStore::open(&path).await.unwrap();
        let fence = store.acquire("m").await.unwrap();
        let mapping = Some(MappingState { runs, ..MappingState::default() });
        store.commit(&fence, &Commit { mapping, ..links(2) }).await.unwrap();
        drop(store);
        change(&path, "ALTER TABLE mappings DROP COLUMN first_sync_begun; PRAGMA user_version = 1").await;
        for _ in 0..2 {
            let store = SqliteStore::open(&path).await.unwrap();
            let state = store.mapping("m").await.unwrap().unwrap();
            assert_eq!((state.runs, state.first_sync_begun, state.first_sync_done), (runs, begun, false));
            assert_eq!(store.count_links("m").await, Ok(2));
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = tempfile::tempdir().unwrap();
    let engine = folder.path().join("project/.engine");
    let store = SqliteStore::open_for_run(&engine.join("state.db"), now()).await.unwrap();
    let fence = store.acquire("m").await.unwrap();
    store.commit(&fence, &links(10)).await.unwrap();
    assert_eq!(mode(&engine), 0o700);
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.lock"] {
        assert_eq!(mode(&engine.join(name)), 0o600, "{name}");
    }
    store.close().await.unwrap();
    assert!(!engine.join("state.db-wal").exists(), "a state that was closed is one file");
    drop(store);
    // As an earlier version, a copy or a loose umask has left them.
    let all = ["state.db", "state.db-wal", "state.db-shm", "state.lock"];
    for name in all {
        std::fs::OpenOptions::new().append(true).create(true).open(engine.join(name)).unwrap();
        std::fs::set_permissions(engine.join(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
    let _store = SqliteStore::open_for_run(&engine.join("state.db"), now()).await.unwrap();
    assert_eq!(mode(&engine), 0o700);
    for name in all {
        assert_eq!(mode(&engine.join(name)), 0o600, "{name}: a file that others could read is closed to them");
    }
}

#[tokio::test]
async fn one_engine_runs_on_a_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let first = SqliteStore::open_for_run(&path, now()).await.unwrap();
    let refused = SqliteStore::open_for_run(&path, now()).await.unwrap_err();
    let holder = format!("process {}, since 2026-03-01T12:00:00Z", std::process::id());
    assert_eq!(refused, StoreError::Held(holder));
    let command = SqliteStore::open(&path).await.unwrap();
    let fence = first.acquire("m").await.unwrap();
    first.commit(&fence, &links(1)).await.unwrap();
    assert_eq!(command.count_links("m").await, Ok(1), "commands go on beside a run");
    assert_eq!(command.reset("m", false).await, Ok(()));
    assert_eq!(first.commit(&fence, &links(1)).await, Err(StoreError::Fenced));
    drop(first);
    SqliteStore::open_for_run(&path, now()).await.unwrap();
}
