//! First syncs of several batches, of which the next ones are mapped, opened or
//! written before the first is in effect, where batches have to do with each
//! other.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::project::{CONNECTIONS, Project};
use crate::support::postgres::Database;

/// More batches than are on their way at once.
const ROWS: usize = 20_000;

/// A numbered row for each, as SQL of SQLite.
fn numbered(columns: &str) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         INSERT INTO items SELECT {columns} FROM n;"
    )
}

/// A table of the office beside `goods` of a database.
async fn between(office: &str, goods: &str, mapping: &str) -> (Project, Database) {
    let database = Database::fresh().await;
    database.run(goods).await;
    let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{}' }}\n", database.url);
    let files = [("connections.yaml", connections.as_str()), ("items.yaml", mapping), ("office.sql", office)];
    (Project::new(&files), database)
}

/// What another reader sees of the goods.
async fn column(database: &Database, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(&mut database.connect().await).await.unwrap()
}

/// Rows that are none of these but for blanks around them.
fn strangers(known: &[String], mut rows: Vec<String>) -> Vec<String> {
    let known: BTreeSet<&str> = known.iter().flat_map(|row| [row.as_str(), row.trim()]).collect();
    rows.retain(|row| !known.contains(row.as_str()));
    rows
}

/// Of records that come to one key the first gets it, and keeps what it has:
/// batches adopted what others were about to link.
#[tokio::test]
async fn doubles_in_other_batches_are_told_from_each_other() {
    // The doubles come first, before batches of which none has one; what the record itself leaves blank they hold.
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, email TEXT); ".to_owned()
        + &numbered("printf('k%05d', i), 'item', iif(i % 500 = 0 AND i > 4500, NULL, 'of ' || i)")
        + "INSERT INTO items SELECT ' ' || code, name, 'of the double of ' || code FROM items WHERE email IS NULL;";
    let goods = "CREATE TABLE goods (sku text PRIMARY KEY, title text, email text)";
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: pg, object: goods, key: [sku] }
direction: bidirectional
fields:
  - { source: code, target: sku, rules: [trim] }
  - { source: name, target: title }
  - copy: [email]
";
    for more in ["", "CREATE UNIQUE INDEX other ON goods (email);"] {
        let (project, database) = between(&office, &format!("{goods}; {more}"), mapping).await;
        let rows = "SELECT code || '|' || name || '|' || coalesce(email, '-') FROM items ORDER BY code";
        let mut alone = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(office.clone())).execute(&mut alone).await.unwrap();
        let before: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut alone).await.unwrap();
        let report = project.run(1);
        let counts = &report["runs"][0]["to_target"];
        assert_eq!(counts["created"], ROWS, "{counts}");
        assert_eq!(counts["parked"], before.len() - ROWS, "{counts}");
        assert_eq!(strangers(&before, project.column("office", rows).await), [""; 0], "nothing goes back");
        let found = column(&database, "SELECT sku || '|' || title || '|' || coalesce(email, '-') FROM goods").await;
        assert_eq!(found.len(), ROWS);
        assert_eq!(strangers(&before, found), [""; 0], "no row holds what no record of its code holds");
        let report = project.run(0);
        let counts = &report["runs"][0]["to_target"];
        assert_eq!((&counts["created"], &counts["updated"]), (&0.into(), &0.into()), "{counts}");
        assert_eq!(strangers(&before, project.column("office", rows).await), [""; 0]);
    }
}

/// What a row hangs on is there when it comes: with several batches written at
/// once it was not.
#[tokio::test]
async fn rows_find_those_of_the_batches_before_them() {
    let office = "CREATE TABLE items (id INTEGER PRIMARY KEY, boss INTEGER); ".to_owned()
        + &numbered("i, iif(i = 1, NULL, i - 1)");
    let mapping = "mapping: items
source: { connection: office, object: items, key: [id] }
target: { connection: pg, object: goods, key: [id] }
fields: [{ copy: [id, boss] }]
";
    let table = "CREATE TABLE goods (id int PRIMARY KEY, boss int{}, depth int{})";
    let depth = "(SELECT coalesce(max(depth), 0) FROM goods) + 1";
    let asks = [
        ("REFERENCES goods", "", ""),
        ("", "", "CREATE TRIGGER deep BEFORE INSERT ON goods FOR EACH ROW EXECUTE FUNCTION deep();"),
        ("", "DEFAULT next_depth()", ""),
        ("CHECK (boss IS NULL OR is_there(boss))", "", ""),
    ];
    for (boss, depth_of, after) in asks {
        let table = table.replacen("{}", &format!(" {boss}"), 1).replacen("{}", &format!(" {depth_of}"), 1);
        let functions = format!(
            "CREATE FUNCTION next_depth() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN {depth}; END $$;
             CREATE FUNCTION is_there(of int) RETURNS bool LANGUAGE plpgsql AS
             $$ BEGIN RETURN EXISTS (SELECT FROM goods WHERE id = of); END $$;
             CREATE FUNCTION deep() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN new.depth = coalesce((SELECT depth FROM goods WHERE id = new.boss), 0) + 1; RETURN new; END $$;"
        );
        let (project, database) = between(&office, &format!("{functions} {table}; {after}"), mapping).await;
        let counts = &project.run(0)["runs"][0]["to_target"];
        assert_eq!(counts["created"], ROWS, "{boss}{depth_of}{after}: {counts}");
        if !(after.is_empty() && depth_of.is_empty()) {
            let wrong = "SELECT id::text FROM goods WHERE depth <> id ORDER BY id LIMIT 3";
            assert_eq!(column(&database, wrong).await, Vec::<String>::new(), "{depth_of}{after}");
        }
    }
}

/// A role with few connections: batches held those that others needed.
#[tokio::test]
async fn few_connections_are_enough() {
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT); ".to_owned()
        + &numbered("printf('k%05d', i), 'plain ' || i");
    let goods = "CREATE TABLE goods (sku text PRIMARY KEY, title text)";
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: pg, object: goods, key: [sku] }
fields: [{ source: code, target: sku }, { source: name, target: title }]
";
    for limit in [1, 2, 3] {
        let role = format!("few_{limit}_{}", std::process::id());
        let (project, database) = between(&office, goods, mapping).await;
        database
            .run(&format!(
                "CREATE ROLE {role} LOGIN CONNECTION LIMIT {limit}; GRANT SELECT, INSERT, UPDATE ON goods TO {role}"
            ))
            .await;
        let (scheme, rest) = database.url.split_once("://").unwrap();
        let url = format!("{scheme}://{role}@{}", rest.split_once('@').unwrap().1);
        let retry = "retry: { attempts: 2, backoff: 10ms }";
        let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{url}', {retry} }}\n");
        project.write("connections.yaml", &connections);
        let report = project.run(0);
        assert_eq!(report["runs"][0]["to_target"]["created"], ROWS, "{limit}: {report}");
        database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    }
}
