//! Several engines on one state in PostgreSQL.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};

use super::project::{CONNECTIONS, ITEMS, Project};
use crate::support::postgres::Database;

/// So many records that a run can be met in its middle.
const ROWS: i64 = 100_000;

/// A project whose office holds many items, and its state's address.
async fn many() -> (Project, Database, String) {
    let office = format!(
        "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), made TEXT);
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS})
         INSERT INTO items SELECT 'I' || n, 'Item ' || n, 1, NULL FROM n;\n"
    );
    let shop = "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE);\n";
    let project = Project::between(ITEMS, &office, shop);
    let database = Database::fresh().await;
    let state = address(&database);
    (project, database, state)
}

/// The state in this database, with leases of a second.
fn address(database: &Database) -> String {
    let mark = if database.url.contains('?') { '&' } else { '?' };
    format!("{}{mark}lease=1000", database.url)
}

fn signal(name: &str, id: u32) {
    assert!(Command::new("kill").args([name, &id.to_string()]).status().unwrap().success());
}

/// What the state says of its mapping, as far as a commit changes it.
async fn marks(database: &Database) -> (i64, i64, i64, i64) {
    let sql = "SELECT fence, links, last_link, (SELECT count(*) FROM engine.intents) FROM engine.mappings";
    let row = sqlx::query(sql).fetch_optional(&mut database.connect().await).await.ok().flatten();
    row.map_or((0, 0, 0, 0), |row| (row.get(0), row.get(1), row.get(2), row.get(3)))
}

/// Whether anybody may write to the shop at this moment.
async fn is_shop_free(project: &Project) -> bool {
    let options = SqliteConnectOptions::new().filename(project.path("data/shop.db")).busy_timeout(Duration::ZERO);
    let Ok(mut shop) = options.connect().await else { return false };
    sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK").execute(&mut shop).await.is_ok()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// An engine is stopped in the middle of a run; another takes its mapping over
/// and finishes; the first wakes up, changes nothing, and says why.
#[tokio::test]
async fn an_engine_that_wakes_up_changes_nothing() {
    let (project, database, state) = many().await;
    let mut first = project.command(&format!("run . --once --state '{state}'"));
    let first = first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    let mut first = first;
    loop {
        beat.tick().await;
        assert!(first.try_wait().unwrap().is_none(), "it is not met in the middle");
        if marks(&database).await.1 == 0 {
            continue;
        }
        signal("-STOP", first.id());
        // One that holds the shop's lock keeps everybody out of it, as any
        // other program would: it is stopped a moment later.
        if is_shop_free(&project).await {
            break;
        }
        signal("-CONT", first.id());
    }
    let stopped = marks(&database).await;
    assert!(stopped.1 < ROWS, "it was met in the middle");

    let held = project.engine(&format!("run . --once --state '{state}'"));
    if held.code != 0 {
        assert_eq!(held.code, 3, "{}{}", held.out, held.err);
        assert!((held.out + &held.err).contains("another engine works on `items`: process"));
    }
    let mut tries = 0;
    let taken = loop {
        let taken = project.engine(&format!("run . --once --state '{state}'"));
        tries += 1;
        if taken.code == 0 || tries == 100 {
            break taken;
        }
        beat.tick().await;
    };
    taken.ends(0);
    let done = marks(&database).await;
    assert_eq!((done.1, done.3), (ROWS, 0));

    signal("-CONT", first.id());
    let woken = first.wait_with_output().unwrap();
    let said = text(&woken);
    assert_eq!(woken.status.code(), Some(3), "{said}");
    assert!(said.contains("another engine has taken this mapping over"), "{said}");
    assert_eq!(marks(&database).await, done, "{said}");
    let shop = SqliteConnectOptions::new().filename(project.path("data/shop.db"));
    let sql = "SELECT count(*), count(DISTINCT sku) FROM goods";
    let row = sqlx::query(sql).fetch_one(&mut shop.connect().await.unwrap()).await.unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (ROWS, ROWS), "each exactly once");
    project.engine(&format!("run . --once --state '{state}'")).ends(0);
}

/// Two engines on schedules; one is killed, the other carries on.
#[tokio::test]
async fn the_other_engine_takes_over() {
    let scheduled = format!("{ITEMS}schedule: {{ every: 200ms }}\n");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &scheduled)]);
    let database = Database::fresh().await;
    let start = || {
        let mut command = project.command(&format!("run . --format json --state '{}'", address(&database)));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut first = start();
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    while marks(&database).await.1 < 3 {
        beat.tick().await;
    }
    let mut second = start();
    first.kill().unwrap();
    first.wait().unwrap();
    let office = SqliteConnectOptions::new().filename(project.path("data/office.db"));
    let mut office = office.busy_timeout(Duration::from_secs(10)).connect().await.unwrap();
    sqlx::raw_sql("INSERT INTO items VALUES ('D', 'Stool', 12, NULL)").execute(&mut office).await.unwrap();
    let mut waited = 0;
    while marks(&database).await.1 < 4 {
        assert!(second.try_wait().unwrap().is_none(), "the other goes on");
        waited += 1;
        assert!(waited < 1200, "nobody takes over");
        beat.tick().await;
    }
    signal("-TERM", second.id());
    second.wait().unwrap();
}

/// What the state in PostgreSQL is asked by commands that look at it.
#[tokio::test]
async fn commands_work_on_a_state_in_postgres() {
    let project = Project::items();
    let database = Database::fresh().await;
    let state = address(&database);
    project.engine(&format!("status . --state '{state}'")).ends(0);
    assert_eq!(marks(&database).await.0, 0, "looking makes no state");
    project.engine(&format!("run . --once --state '{state}'")).ends(0);
    for command in
        ["status .", "runs .", "conflicts list .", "parked list .", "plan .", "links list . items", "trace . items A"]
    {
        project.engine(&format!("{command} --state '{state}'")).ends(0);
    }
    project.engine(&format!("reset . items --state '{state}'")).ends(0);
    let refused = project.engine(&format!("state backup . copy.db --state '{state}'")).ends(2);
    assert!(refused.err.contains("pg_dump") || refused.out.contains("pg_dump"), "{}{}", refused.out, refused.err);
    assert!(!project.path(".engine").exists(), "nothing is left beside the project");
    let away = "postgres://me:hidden-word@127.0.0.1:1/none";
    let ended = project.engine(&format!("run . --once --state '{away}'")).ends(3);
    assert!(!(ended.out + &ended.err).contains("hidden-word"));
}
