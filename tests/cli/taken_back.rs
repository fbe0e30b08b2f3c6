//! Systems that store something else than they were sent: what was written is
//! taken back, and stays owed.

use serde_json::{Value as Json, json};
use sqlx::Row;

use super::project::{CONNECTIONS, ITEMS, Project};
use crate::support::postgres::Database;

/// Items of the office to goods of PostgreSQL, whose triggers are the test's.
async fn to_postgres(triggers: &str) -> (Project, Database) {
    let database = Database::fresh().await;
    database.run("CREATE TABLE goods (id serial PRIMARY KEY, sku text UNIQUE, title text, price numeric(10,2))").await;
    database.run(triggers).await;
    let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{}' }}\n", database.url);
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: pg, object: goods, key: [id] }
direction: bidirectional
match: [sku]
fields: [{ source: code, target: sku }, { source: name, target: title }, { source: price, target: price }]
";
    (Project::new(&[("connections.yaml", &connections), ("items.yaml", mapping)]), database)
}

async fn in_postgres(database: &Database, sql: &'static str) -> Vec<String> {
    let rows = sqlx::query(sql).fetch_all(&mut database.connect().await).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

fn parked(project: &Project) -> Vec<Json> {
    let list = project.engine("parked list . --format json").ends(0).json();
    list["parked"].as_array().unwrap().clone()
}

fn retry(project: &Project) {
    project.engine("parked retry . --mapping items").ends(0);
}

/// Of a create that was taken back nothing is left but what is owed.
fn assert_owed(project: &Project, run: &Json) {
    let counts = &run["to_target"];
    assert_eq!((&counts["parked"], &run["owed"]), (&json!(1), &json!(1)), "{run}");
    assert_eq!(counts["created"].as_u64().unwrap(), counts["read"].as_u64().unwrap() - 1, "it is not there: {run}");
    let first = parked(project);
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!((&first[0]["code"], &first[0]["field"]), (&json!("E0703"), &json!("price")));
    assert_eq!((&first[0]["source_key"], &first[0]["target_key"]), (&json!({ "code": "A" }), &Json::Null));
    // It is not tried again as long as it is the same, and keeps no later run red.
    for _ in 0..2 {
        let run = &project.run(0)["runs"][0];
        assert_eq!(
            (&run["to_target"]["created"], &run["to_target"]["parked"], &run["owed"]),
            (&json!(0), &json!(0), &json!(1))
        );
        assert_eq!(parked(project), first);
    }
    retry(project);
    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["to_target"]["created"], &run["owed"]), (&json!(0), &json!(1)), "{run}");
    let again = parked(project);
    assert_eq!((again.len(), &again[0]["since"]), (1, &first[0]["since"]));
    assert!(again[0]["attempts"].as_u64() > first[0]["attempts"].as_u64(), "{again:?}");
}

const ROUNDS_NEW: &str = "CREATE TRIGGER rounds AFTER INSERT ON goods BEGIN
    UPDATE goods SET price = round(price) WHERE id = NEW.id; END;";

/// Issue 2: what was parked went with the link, and the record was created and
/// deleted again in every run, with nothing owed.
#[tokio::test]
async fn a_create_that_is_taken_back_stays_owed() {
    let shop = format!(
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE);
{ROUNDS_NEW}"
    );
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), made TEXT);
INSERT INTO items VALUES ('A', 'Lamp', 19.90, NULL), ('B', 'Chair', 80, NULL);";
    let files = [("connections.yaml", CONNECTIONS), ("items.yaml", ITEMS), ("shop.sql", &shop), ("office.sql", office)];
    let project = Project::new(&files);
    assert_owed(&project, &project.run(1)["runs"][0]);
    assert_eq!(project.column("shop", "SELECT sku FROM goods").await, ["B"]);
    project.edit("shop", "DROP TRIGGER rounds").await;
    retry(&project);
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("shop", "SELECT CAST(price AS TEXT) FROM goods WHERE sku = 'A'").await, ["19.9"]);
}

/// Issue 2: what was taken back was owed no more once the record it was sent to
/// had been deleted and entered anew.
#[tokio::test]
async fn what_was_taken_back_stays_owed_under_another_key() {
    let shop =
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE);
CREATE TRIGGER rounds AFTER UPDATE OF price ON goods BEGIN
    UPDATE goods SET price = round(price) WHERE id = NEW.id; END;";
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", ITEMS), ("shop.sql", shop)]);
    project.run(0);
    project.edit("office", "UPDATE items SET price = 80.5 WHERE code = 'B'").await;
    let run = &project.run(1)["runs"][0];
    assert_eq!((&run["to_target"]["updated"], &run["owed"]), (&json!(0), &json!(1)), "it stands as it stood: {run}");
    project.edit("shop", "DELETE FROM goods WHERE sku = 'B'").await;
    project.edit("shop", "INSERT INTO goods (id, sku, title, price) VALUES (70, 'B', 'Chair', 80)").await;
    for _ in 0..2 {
        assert_eq!(project.run(0)["runs"][0]["owed"], 1);
    }
    let owed = project.engine("parked list . --format json").ends(0).json();
    assert_eq!(owed["parked"].as_array().unwrap().len(), 1, "{owed}");
    assert_eq!(owed["parked"][0]["target_key"]["id"], 70, "{owed}");
    project.edit("shop", "DROP TRIGGER rounds").await;
    retry(&project);
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("shop", "SELECT CAST(price AS TEXT) FROM goods WHERE id = 70").await, ["80.5"]);
}

/// Issue 2: it was tried in each run, though it could not be otherwise.
#[tokio::test]
async fn what_was_taken_back_is_tried_again_when_it_changes() {
    let shop = format!(
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE);
{ROUNDS_NEW}"
    );
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), made TEXT);
INSERT INTO items VALUES ('A', 'Lamp', 19.90, NULL), ('B', 'Chair', 80.5, NULL);";
    let files = [("connections.yaml", CONNECTIONS), ("items.yaml", ITEMS), ("shop.sql", &shop), ("office.sql", office)];
    let project = Project::new(&files);
    assert_eq!(project.run(1)["runs"][0]["owed"], 2);
    project.edit("office", "UPDATE items SET price = 20 WHERE code = 'A'").await;
    project.edit("office", "DELETE FROM items WHERE code = 'B'").await;
    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["to_target"]["created"], &run["owed"]), (&json!(1), &json!(0)), "{run}");
    assert_eq!(project.column("shop", "SELECT CAST(price AS TEXT) FROM goods").await, ["20"]);
}

/// Issue 2: the same in PostgreSQL.
#[tokio::test]
async fn a_create_that_is_taken_back_in_postgres_stays_owed() {
    let rounds = "CREATE FUNCTION rounds() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.price := round(NEW.price); RETURN NEW; END $$;
        CREATE TRIGGER rounds BEFORE INSERT ON goods FOR EACH ROW EXECUTE FUNCTION rounds();";
    let (project, database) = to_postgres(rounds).await;
    project.write(
        "office.sql",
        "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2));
INSERT INTO items VALUES ('A', 'Lamp', 19.90), ('B', 'Chair', 80);",
    );
    assert_owed(&project, &project.run(1)["runs"][0]);
    assert_eq!(in_postgres(&database, "SELECT sku FROM goods").await, ["B"]);
    database.run("DROP TRIGGER rounds ON goods").await;
    retry(&project);
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(in_postgres(&database, "SELECT price::text FROM goods ORDER BY sku").await, ["19.90", "80.00"]);
}

/// Issue 2: the write to the source put the link back that the target's undone
/// write had left, so that the target's old value went over the source's edit.
#[tokio::test]
async fn an_update_that_is_taken_back_loses_no_edit() {
    let project = Project::items();
    project.run(0);
    project
        .edit(
            "shop",
            "CREATE TRIGGER rounds AFTER UPDATE OF price ON goods WHEN NEW.price <> round(NEW.price)
                AND NEW.price <> 19.9 BEGIN UPDATE goods SET price = round(price) WHERE id = NEW.id; END",
        )
        .await;
    project.edit("office", "UPDATE items SET price = 21.4 WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET title = 'Desk lamp' WHERE sku = 'A'").await;
    let run = &project.run(1)["runs"][0];
    assert_eq!((&run["to_target"]["parked"], &run["owed"]), (&json!(1), &json!(1)), "{run}");
    for _ in 0..2 {
        assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, ["Desk lamp"]);
        assert_eq!(project.column("office", "SELECT CAST(price AS TEXT) FROM items WHERE code = 'A'").await, ["21.4"]);
        assert_eq!(project.column("shop", "SELECT CAST(price AS TEXT) FROM goods WHERE sku = 'A'").await, ["19.9"]);
        assert_eq!(parked(&project)[0]["code"], "E0703");
        let run = &project.run(0)["runs"][0];
        assert_eq!((&run["to_target"]["updated"], &run["owed"]), (&json!(0), &json!(1)), "{run}");
    }
    // Only what is the same waits.
    project.edit("office", "UPDATE items SET made = '20240131' WHERE code = 'C'").await;
    assert_eq!(project.run(0)["runs"][0]["to_target"]["updated"], 1);
    project.edit("shop", "DROP TRIGGER rounds").await;
    retry(&project);
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("shop", "SELECT CAST(price AS TEXT) FROM goods WHERE sku = 'A'").await, ["21.4"]);
}

/// Issue 2: a write that changed the key as well was taken back under the key
/// that was there no more.
#[tokio::test]
async fn an_update_of_the_key_is_taken_back_under_the_new_one() {
    let office = "CREATE TABLE items (id INTEGER PRIMARY KEY, code TEXT, price DECIMAL(10,2));
INSERT INTO items VALUES (1, 'A', 19.90), (2, 'B', 80);";
    let shop = "CREATE TABLE goods (sku TEXT PRIMARY KEY, price DECIMAL(10,2));
CREATE TRIGGER rounds AFTER UPDATE OF price ON goods WHEN NEW.price = 21.4
BEGIN UPDATE goods SET price = round(price) WHERE sku = NEW.sku; END;";
    let mapping = "mapping: items
source: { connection: office, object: items, key: [id] }
target: { connection: shop, object: goods, key: [sku] }
fields: [{ source: code, target: sku }, { source: price, target: price }]
";
    let files =
        [("connections.yaml", CONNECTIONS), ("items.yaml", mapping), ("office.sql", office), ("shop.sql", shop)];
    let project = Project::new(&files);
    project.run(0);
    let goods = async || project.column("shop", "SELECT sku || ' ' || CAST(price AS TEXT) FROM goods ORDER BY 1").await;
    project.edit("office", "UPDATE items SET code = 'Z', price = 21.4 WHERE id = 1").await;
    project.run(1);
    assert_eq!(parked(&project)[0]["code"], "E0703");
    for _ in 0..2 {
        assert_eq!(goods().await, ["A 19.9", "B 80"]);
        assert_eq!(project.run(0)["runs"][0]["owed"], 1);
    }
    project.edit("shop", "DROP TRIGGER rounds").await;
    retry(&project);
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(goods().await, ["B 80", "Z 21.4"]);
}

/// Issue 2: a write that one side refused was owed no more once the other side
/// of the same pair had taken its own.
#[tokio::test]
async fn what_one_side_refuses_stays_owed_whatever_the_other_takes() {
    let project = Project::items();
    project.run(0);
    project
        .edit("shop", "CREATE TRIGGER refuses BEFORE UPDATE OF price ON goods BEGIN SELECT RAISE(FAIL, 'not now'); END")
        .await;
    project.edit("office", "UPDATE items SET price = 21.4 WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET title = 'Desk lamp' WHERE sku = 'A'").await;
    project.run(1);
    assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, ["Desk lamp"]);
    assert_eq!(parked(&project)[0]["code"], "E0708");
}

/// Issue 2: what `equal` calls the same was taken back where a trigger had put
/// it otherwise.
#[tokio::test]
async fn what_is_stored_equal_by_the_mapping_stands() {
    let trigger = "CREATE TRIGGER upper_in AFTER INSERT ON goods BEGIN UPDATE goods SET title = upper(title) WHERE id = new.id; END;
CREATE TRIGGER upper_on AFTER UPDATE OF title ON goods WHEN new.title <> upper(new.title)
BEGIN UPDATE goods SET title = upper(title) WHERE id = new.id; END;";
    let shop = format!("CREATE TABLE goods (id INTEGER PRIMARY KEY, title TEXT);\n{trigger}");
    let office =
        "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items VALUES (1, 'ana'), (2, 'Rui');";
    let mapping = "mapping: items
source: { connection: office, object: items }
target: { connection: shop, object: goods }
direction: bidirectional
fields:
  - copy: [id]
  - { source: name, target: title, equal: [upper_case] }
";
    let project = Project::between(mapping, office, &shop);
    project.run(0);
    project.edit("office", "UPDATE items SET name = 'eva' WHERE id = 1").await;
    project.run(0);
    assert_eq!(project.column("shop", "SELECT title FROM goods ORDER BY id").await, ["EVA", "RUI"]);
    project.run(0);
    assert_eq!(project.column("office", "SELECT name FROM items ORDER BY id").await, ["eva", "Rui"]);
}
