//! What is read, when, and which of two edits is the newer one.

use serde_json::json;

use super::project::{CONNECTIONS, Project};
use crate::support::postgres::Database;

/// Issue 2: a record that was committed late under a smaller number was never
/// read.
#[tokio::test]
async fn a_number_that_is_committed_late_is_read() {
    let database = Database::fresh().await;
    database.run("CREATE TABLE notes (id int PRIMARY KEY, n bigserial, body text)").await;
    let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{}' }}\n", database.url);
    let mapping = "mapping: notes
source: { connection: pg, object: notes, key: [id], cursor: n }
target: { connection: shop, object: notes, key: [id] }
fields: [{ copy: [id, body] }]
";
    let shop = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)";
    let project = Project::new(&[("connections.yaml", &connections), ("notes.yaml", mapping), ("shop.sql", shop)]);
    // Whether the newest row is read again depends on what else the server has open.
    let read_again = |report: &serde_json::Value| report["runs"][0]["to_target"]["read"].as_u64().unwrap();
    let ids = async || project.column("shop", "SELECT CAST(id AS TEXT) FROM notes ORDER BY id").await;
    let insert = |id: i32| format!("INSERT INTO notes (id, body) VALUES ({id}, 'x')");
    let begin = async |id: i32| {
        let mut slow = database.connect().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("BEGIN; {}", insert(id)))).execute(&mut slow).await.unwrap();
        slow
    };
    let commit =
        async |mut slow: sqlx::PgConnection| sqlx::raw_sql("COMMIT").execute(&mut slow).await.map(drop).unwrap();

    database.run(&insert(1)).await;
    project.run(0);
    assert!(read_again(&project.run(0)) <= 1, "only the newest number may be read again");
    let slow = begin(2).await;
    database.run(&insert(3)).await;
    project.run(0);
    assert_eq!(ids().await, ["1", "3"]);
    // Another one begins before the first has ended, and so on without a pause.
    let next = begin(4).await;
    commit(slow).await;
    database.run(&insert(5)).await;
    project.run(0);
    assert_eq!(ids().await, ["1", "2", "3", "5"], "the late one came");
    project.run(0);
    let last = begin(6).await;
    commit(next).await;
    project.run(0);
    assert_eq!(ids().await, ["1", "2", "3", "4", "5"]);
    assert!(read_again(&project.run(0)) <= 1, "what lies before the first open one is not read again: 5 only");
    // Nobody knows what a prepared one was called before.
    let mut last = last;
    sqlx::raw_sql("PREPARE TRANSACTION 'engine_late'").execute(&mut last).await.unwrap();
    database.run(&insert(7)).await;
    project.run(0);
    project.run(0);
    database.run("COMMIT PREPARED 'engine_late'").await;
    project.run(0);
    assert_eq!(ids().await, ["1", "2", "3", "4", "5", "6", "7"]);
    project.run(0);
    assert!(read_again(&project.run(0)) <= 1);
}

/// Issue 2: an overlap of a cursor that cannot be counted with was ignored.
#[test]
fn an_overlap_of_a_text_is_refused() {
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code], cursor: { field: name, overlap: 10m } }
target: { connection: shop, object: goods, key: [id] }
match: [sku]
fields: [{ source: code, target: sku }]
";
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", mapping)]);
    project.engine("validate .").ends(0);
    for command in ["validate . --online", "run . --once"] {
        let ended = project.engine(command).ends(2);
        assert!((ended.out + &ended.err).contains("an `overlap` needs a cursor of times or numbers"), "{command}");
    }
}

const STAMPED: &str = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, made DATETIME, changed DATETIME);
INSERT INTO items VALUES ('A', 'first', '2026-03-01 08:00:00.123', '2026-03-01 08:00:00');
";

fn newest(office: &str) -> Project {
    let connections = format!(
        "connections:
  office: {{ connector: sqlite, url: 'sqlite://data/office.db', create_from: office.sql{office} }}
  shop: {{ connector: sqlite, url: 'sqlite://data/shop.db', create_from: shop.sql }}
"
    );
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code], modified: changed }
target: { connection: shop, object: items, key: [code], modified: changed }
direction: bidirectional
fields: [{ copy: [code, name] }, { copy: [made] }]
conflicts: { default: newest }
";
    Project::new(&[
        ("connections.yaml", &connections),
        ("items.yaml", mapping),
        ("office.sql", STAMPED),
        ("shop.sql", STAMPED),
    ])
}

/// The name that both sides come to when they were edited at these times.
async fn newer(project: &Project, office: &str, shop: &str) -> String {
    project.run(0);
    for (database, at) in [("office", office), ("shop", shop)] {
        project.edit(database, &format!("UPDATE items SET name = 'of the {database}', changed = '{at}'")).await;
    }
    project.engine("run . --once");
    let names = ["office", "shop"].map(|database| project.column(database, "SELECT name FROM items"));
    let [office, shop] = futures::future::join_all(names).await.try_into().unwrap();
    assert_eq!(office, shop);
    office[0].clone()
}

/// Issue 2: times without a zone were compared as if all clocks were one.
#[tokio::test]
async fn the_newest_is_told_by_the_zone_of_each_connection() {
    let project = newest(", timezone: America/Sao_Paulo");
    assert_eq!(newer(&project, "2026-03-01 12:00:00", "2026-03-01 13:00:00").await, "of the office");
    assert_eq!(newer(&project, "2026-03-02 12:00:00", "2026-03-02 16:00:00").await, "of the shop");
}

/// Issue 2: the finest column of a table told ties of another.
#[tokio::test]
async fn stamps_are_as_fine_as_their_own_column() {
    let project = newest("");
    assert_eq!(newer(&project, "2026-03-01 12:00:00", "2026-03-01 12:00:00").await, "of the office", "a tie");
    // A second is as much as the columns tell apart.
    assert_eq!(newer(&project, "2026-03-02 12:00:00", "2026-03-02 12:00:01").await, "of the shop");
}

/// Issue 2: the source was taken in silence.
#[tokio::test]
async fn the_newest_of_two_without_a_time_waits_for_a_person() {
    let project = newest("");
    project.run(0);
    for database in ["office", "shop"] {
        project.edit(database, &format!("UPDATE items SET name = 'of the {database}', changed = NULL")).await;
    }
    assert_eq!(project.run(1)["runs"][0]["conflicts"], 1);
    assert_eq!(project.column("shop", "SELECT name FROM items").await, ["of the shop"]);
    project.edit("shop", "UPDATE items SET changed = '2026-03-02 12:00:00'").await;
    project.engine("run . --once");
    assert_eq!(project.column("office", "SELECT name FROM items").await, ["of the shop"]);
}

/// Issue 2: records that only their system takes for the same were both
/// created, when they came in one batch.
#[tokio::test]
async fn the_system_says_which_new_records_are_the_same() {
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT);
INSERT INTO items VALUES ('ABC', 'one'), ('abc', 'two'), ('Abc', 'three'), ('a-bc', 'four'), ('other', 'five');
";
    let shop = "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT COLLATE NOCASE, title TEXT)";
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: goods, key: [id] }
match: [sku]
fields: [{ source: code, target: sku }, { source: name, target: title }]
";
    let files = [("items.yaml", mapping), ("office.sql", office), ("shop.sql", shop)];
    let project = Project::new(&[&[("connections.yaml", CONNECTIONS)], &files[..]].concat());
    let report = project.run(1);
    let toward = &report["runs"][0]["to_target"];
    assert_eq!((&toward["read"], &toward["created"], &toward["parked"]), (&json!(5), &json!(3), &json!(2)), "{report}");
    let skus = project.column("shop", "SELECT lower(sku) FROM goods ORDER BY 1").await;
    assert_eq!(skus, ["a-bc", "abc", "other"]);
    let database = Database::fresh().await;
    database.run("CREATE EXTENSION citext; CREATE TABLE goods (id serial PRIMARY KEY, sku citext, title text)").await;
    let connections = format!(
        "connections:
  office: {{ connector: sqlite, url: 'sqlite://data/office.db', create_from: office.sql }}
  shop: {{ connector: postgres, url: '{}' }}
",
        database.url
    );
    let project = Project::new(&[&[("connections.yaml", connections.as_str())], &files[..]].concat());
    let report = project.run(1);
    assert_eq!(report["runs"][0]["to_target"]["created"], 3, "{report}");
}

/// Issue 2: a batch that went in by COPY was taken to stand as it was sent: a
/// key that the server prints otherwise came back as a new record, and of two
/// that it takes for the same both were linked to one row.
#[tokio::test]
async fn keys_with_several_texts_are_linked_as_the_server_prints_them() {
    let mapping = |direction: &str| {
        format!(
            "mapping: items
source: {{ connection: office, object: items, key: [code] }}
target: {{ connection: shop, object: goods, key: [id] }}
direction: {direction}
fields: [{{ source: code, target: id }}, {{ copy: [n] }}]
"
        )
    };
    // What is created at first; what is parked, until the codes are as the server prints them.
    let cases = [
        ("macaddr", ["08-00-2b-01-02-03", "08:00:2b:01:02:04"], 1),
        ("inet", ["10.0.0.1", "10.0.0.1/32"], 1),
        ("citext", ["k1", "K1"], 1),
        ("interval", ["P1D", "PT24H"], 1),
        ("macaddr", ["08:00:2b:01:02:03", "08:00:2b:01:02:04"], 2),
        ("inet", ["10.0.0.1", "10.0.0.2"], 2),
    ];
    for (kind, codes, created) in cases {
        for direction in ["source_to_target", "bidirectional"] {
            let database = Database::fresh().await;
            let extension = if kind == "citext" { "CREATE EXTENSION citext;" } else { "" };
            database.run(&format!("{extension} CREATE TABLE goods (id {kind} PRIMARY KEY, n int)")).await;
            let connections = format!(
                "connections:
  office: {{ connector: sqlite, url: 'sqlite://data/office.db', create_from: office.sql }}
  shop: {{ connector: postgres, url: '{}' }}
",
                database.url
            );
            let [one, other] = codes;
            let office = format!(
                "CREATE TABLE items (code TEXT PRIMARY KEY, n INT); INSERT INTO items VALUES ('{one}', 1), ('{other}', 2)"
            );
            let project = Project::new(&[
                ("connections.yaml", &connections),
                ("items.yaml", &mapping(direction)),
                ("office.sql", &office),
            ]);
            let what = format!("{kind} {direction}");
            let run = &project.run((created < 2).into())["runs"][0];
            let toward = &run["to_target"];
            assert_eq!(
                (&toward["created"], &toward["parked"]),
                (&json!(created), &json!(2 - created)),
                "{what}: {run}"
            );
            assert_eq!(run["to_source"]["created"], 0, "{what}: {run}");
            for _ in 0..2 {
                let run = &project.run(0)["runs"][0];
                let writes = |side: &str| ["created", "updated"].map(|count| run[side][count].as_u64().unwrap());
                assert_eq!((writes("to_target"), writes("to_source")), ([0, 0], [0, 0]), "{what}: {run}");
                assert_eq!(run["owed"], 2 - created, "{what}: {run}");
            }
            let links = project.engine("links list . items --format json").ends(0).json();
            assert_eq!(links["count"], created, "{what}: {links}");
            let left = project.column("office", "SELECT code FROM items ORDER BY n").await;
            assert_eq!(left, codes, "{what}");
        }
    }
}
