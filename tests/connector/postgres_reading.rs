//! What a reading of PostgreSQL is told of the side as it stands.

use std::time::Duration;

use engine::connector::{Horizon, Listing, Object};
use engine::record::Value;
use futures::StreamExt;
use sqlx::Executor;

use super::object::{create, int, rows, write};
use super::postgres::Postgres;

/// Issue 2: a clock with microseconds became the low mark of a column that
/// holds seconds.
#[tokio::test]
async fn the_clock_is_no_finer_than_the_column() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, at timestamp(0), fine timestamptz(3), day date)").await;
    let mut open = postgres.database.connect().await;
    open.execute("BEGIN").await.unwrap();
    let nanos = |value: Option<Value>| match value {
        Some(Value::LocalTime(time)) => time.and_utc().timestamp_subsec_nanos(),
        Some(Value::Instant(time)) => time.timestamp_subsec_nanos(),
        other => panic!("{other:?}"),
    };
    for (cursor, grain) in [("at", 1_000_000_000), ("fine", 1_000_000)] {
        let horizon = postgres.open("t", &["id"], Some(cursor)).await.horizon().await.unwrap();
        assert_eq!((nanos(horizon.clock) % grain, nanos(horizon.oldest_open) % grain), (0, 0), "{cursor}");
        assert!(horizon.open.is_empty(), "times tell by themselves");
    }
    let described = postgres.connector.describe("t").await.unwrap().unwrap();
    assert_eq!(described.grains_nanos[1..], [1_000_000_000, 1_000_000, 86_400_000_000_000]);
}

#[tokio::test]
async fn numbers_without_end_are_no_place_for_a_cursor() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, n numeric, f float8); INSERT INTO t VALUES (1, 'NaN', 'Infinity'), (2, 7, 7)").await;
    for cursor in ["n", "f"] {
        let object = postgres.open("t", &["id"], Some(cursor)).await;
        assert_eq!(object.horizon().await.unwrap().largest, None, "{cursor}");
        let batches: Vec<_> = object.read(Listing::changes(None)).map(Result::unwrap).collect().await;
        assert_eq!(batches[0].reached.as_ref().map(ToString::to_string).as_deref(), Some("7"), "{cursor}");
    }
}

async fn next_transaction(postgres: &Postgres) -> u64 {
    let mut connection = postgres.database.connect().await;
    let number = sqlx::query_scalar::<_, String>("SELECT pg_current_xact_id()::text").fetch_one(&mut connection);
    number.await.unwrap().parse().unwrap()
}

/// What is known once all transactions of the server before this one have
/// ended, those of other tests too.
async fn known_beyond(object: &dyn Object, number: u64) -> Option<String> {
    for _ in 0..6000 {
        let known = object.horizon().await.unwrap().known;
        if known.as_ref().unwrap().parse::<u64>().unwrap() >= number {
            return known;
        }
        #[expect(clippy::disallowed_methods, reason = "it waits for a real server")]
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a transaction has been open for a minute");
}

/// What a run has created itself it need not read back; what others made of it
/// meanwhile is read.
#[tokio::test]
async fn records_just_created_are_left_out_as_they_were_made() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, name text, at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO t VALUES (1, 'theirs')",
        )
        .await;
    let object = postgres.open("t", &["id"], Some("at")).await;
    let named = |id: i64| create(vec![int(id)], vec![(1, Value::text("ours"))]);
    write(&*object, &[named(2), named(3)]).await;
    write(&*object, &[named(4)]).await;
    let read = async || {
        let listing = Listing::Changes { from: None, known: None, but_created: true };
        let mut ids: Vec<String> = rows(&*object, listing).await.iter().map(|row| row[0].to_string()).collect();
        ids.sort();
        ids.join(" ")
    };
    assert_eq!(read().await, "1");
    postgres.run("UPDATE t SET name = 'theirs' WHERE id = 3; INSERT INTO t (id) VALUES (5)").await;
    assert_eq!(read().await, "1 3 5");
}

/// A table that was loaded in one go has one stamp: no run may read all of it
/// again and again.
#[tokio::test]
async fn rows_of_the_newest_stamp_are_read_once() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL); \
             INSERT INTO t SELECT i, '2026-01-01' FROM generate_series(1, 5) i",
        )
        .await;
    let object = postgres.open("t", &["id"], Some("at")).await;
    let from = object.horizon().await.unwrap().largest;
    let before = next_transaction(&postgres).await;
    let mut late = postgres.database.connect().await;
    late.execute("BEGIN; INSERT INTO t VALUES (6, '2026-01-01')").await.unwrap();
    let known = known_beyond(&*object, before).await;
    let read = async |known: &Option<String>| {
        let listing = Listing::Changes { from: from.clone(), known: known.clone(), but_created: false };
        let mut ids: Vec<String> = rows(&*object, listing).await.iter().map(|row| row[0].to_string()).collect();
        ids.sort();
        ids.join(" ")
    };
    assert_eq!(read(&None).await, "1 2 3 4 5");
    assert_eq!(read(&known).await, "");
    // Open while it was known what stands there; edited, inserted and made later after that.
    late.execute("COMMIT").await.unwrap();
    postgres.run("UPDATE t SET id = 20 WHERE id = 2; INSERT INTO t VALUES (7, '2026-01-01'), (8, '2026-01-02')").await;
    assert_eq!(read(&known).await, "20 6 7 8");
    let after = next_transaction(&postgres).await;
    assert_eq!(read(&known_beyond(&*object, after).await).await, "8");
    // Of another server, and older than rows can tell.
    for stranger in ["99999999999", "-5", "x"] {
        assert_eq!(read(&Some(stranger.into())).await, "1 20 3 4 5 6 7 8", "{stranger}");
    }
    postgres.run("CREATE VIEW v AS SELECT * FROM t").await;
    let Horizon { known, .. } = postgres.open("v", &["id"], Some("at")).await.horizon().await.unwrap();
    assert_eq!(known, None);
}
