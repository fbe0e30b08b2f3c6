//! Where a reading of PostgreSQL stands: marks, open transactions, zones.

use engine::connector::Listing;
use engine::record::Value;
use sqlx::Executor;

use super::object::{create, int, rows, write};
use super::postgres::Postgres;

#[tokio::test]
async fn an_open_transaction_holds_the_horizon_back() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, stamp timestamptz DEFAULT now())").await;
    let object = postgres.open("t", &["id"], Some("stamp")).await;
    assert!(postgres.connector.describe("t").await.unwrap().unwrap().sees_open_transactions);
    let mut other = postgres.database.connect().await;
    other.execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    postgres.run("INSERT INTO t VALUES (2)").await;
    let horizon = object.horizon().await.unwrap();
    other.execute("COMMIT").await.unwrap();
    let stamp = |row: &Vec<Value>| match row[1] {
        Value::Instant(time) => time,
        ref value => panic!("{value:?}"),
    };
    let rows = rows(&*object, Listing::Full).await;
    let Some(Value::Instant(oldest)) = horizon.oldest_open else { panic!("{horizon:?}") };
    let Some(Value::Instant(clock)) = horizon.clock else { panic!("{horizon:?}") };
    assert!(oldest <= stamp(&rows[0]), "the late commit lies behind the horizon");
    assert_eq!(horizon.largest, Some(Value::Instant(stamp(&rows[1]))));
    assert!(stamp(&rows[1]) <= clock);
    assert!(horizon.timeline.is_some());
    // A dump that is restored makes the table anew, whatever is edited in it afterwards.
    assert_eq!(object.horizon().await.unwrap().timeline, horizon.timeline);
    postgres.run("CREATE TABLE copy AS TABLE t; DROP TABLE t; ALTER TABLE copy RENAME TO t").await;
    assert_ne!(object.horizon().await.unwrap().timeline, horizon.timeline);

    // A prepared transaction is open too, though nobody is connected to it.
    postgres.run("BEGIN; INSERT INTO t VALUES (3); PREPARE TRANSACTION 'late'").await;
    let prepared = object.horizon().await.unwrap();
    assert!(prepared.oldest_open.is_some(), "{prepared:?}");
    postgres.run("ROLLBACK PREPARED 'late'").await;
}

#[tokio::test]
async fn stamps_without_a_zone_are_in_the_connection_s() {
    let postgres = Postgres::with(|settings| settings.timezone = Some("America/Sao_Paulo".parse().unwrap())).await;
    postgres
        .run("CREATE TABLE t (id int PRIMARY KEY, local timestamp DEFAULT now(), at timestamptz DEFAULT now())")
        .await;
    stamps_in_sao_paulo(&postgres).await;
}

/// Issue 2: where the connection names no zone the engine's own writes were
/// stamped in UTC, hours ahead of everybody's, and with them the cursor.
#[tokio::test]
async fn without_a_zone_of_its_own_a_connection_stamps_as_the_server_does() {
    let postgres = Postgres::new().await;
    postgres
        .run(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'America/Sao_Paulo'); END $$; \
             CREATE TABLE t (id int PRIMARY KEY, local timestamp DEFAULT now(), at timestamptz DEFAULT now())",
        )
        .await;
    let described = postgres.connector.describe("t").await.unwrap().unwrap();
    let note = described.notes.iter().find(|note| note.contains("timezone"));
    assert!(note.is_some_and(|note| note.contains("America/Sao_Paulo")), "{:?}", described.notes);
    stamps_in_sao_paulo(&postgres).await;
}

/// Issue 2: a prepared transaction tells when it was prepared, not when it began
/// and took its stamps.
#[tokio::test]
async fn the_mark_waits_for_prepared_transactions() {
    let postgres = Postgres::new().await;
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, at timestamptz DEFAULT now())").await;
    let object = postgres.open("t", &["id"], Some("at")).await;
    assert_eq!(object.horizon().await.unwrap().open, Vec::<String>::new());
    let name = format!("late {}", std::process::id());
    postgres.run(&format!("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{name}'")).await;
    let waits = object.horizon().await.unwrap().open;
    postgres.run(&format!("COMMIT PREPARED '{name}'")).await;
    assert_eq!(waits, [""]);
    assert_eq!(object.horizon().await.unwrap().open, Vec::<String>::new());
}

/// What the engine writes to `t`, and the clock it is told, are of this zone.
async fn stamps_in_sao_paulo(postgres: &Postgres) {
    let object = postgres.open("t", &["id"], Some("local")).await;
    write(&*object, &[create(vec![int(1)], vec![])]).await;
    let row = rows(&*object, Listing::Full).await.remove(0);
    let (Value::LocalTime(local), Value::Instant(at)) = (&row[1], &row[2]) else { panic!("{row:?}") };
    let zone: chrono_tz::Tz = "America/Sao_Paulo".parse().unwrap();
    assert_eq!(*local, at.with_timezone(&zone).naive_local());
    let Some(Value::LocalTime(clock)) = object.horizon().await.unwrap().clock else { panic!("a clock") };
    assert!(clock >= *local && clock - *local < chrono::TimeDelta::minutes(30), "{clock} follows {local}");
}
