//! What `limits` let through, and what a plan says of it.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, ITEMS, Project};

fn limited(limits: &str) -> Project {
    let project = Project::items();
    project.write("items.yaml", &ITEMS.replace("limits: { delete: 1 }", limits));
    project.run(0);
    project
}

/// Issue 2: a batch that would have passed the limit was left out as a whole.
#[tokio::test]
async fn a_limit_is_filled_before_it_stops_the_run() {
    let project = limited("limits: { create: 2, update: 2 }");
    let new = "INSERT INTO items VALUES ('D', 'Desk', 5, NULL), ('E', 'Bed', 6, '31 May'), ('F', 'Sofa', 7, NULL), ('G', 'Shelf', 8, NULL)";
    project.edit("office", new).await;
    let plan = project.engine("plan . --format json").json()["runs"][0].clone();
    let report = project.engine("run . --once --format json").ends(1).json();
    let run = &report["runs"][0];
    // One that does not fit takes nobody's place.
    assert_eq!(project.column("shop", "SELECT sku FROM goods ORDER BY sku").await, ["A", "B", "C", "D", "F"]);
    assert_eq!((&run["status"], &run["to_target"]["created"]), (&json!("failure"), &json!(2)), "{run}");
    assert_eq!(plan["to_target"]["created"], 2, "{plan}");
    let error = run["errors"].as_array().unwrap().iter().find(|error| error["code"] == "E0904").unwrap();
    assert_eq!((&error["file"], &error["line"]), (&json!("items.yaml"), &json!(12)), "{error}");
    // The next run goes on.
    assert_eq!(project.run(0)["runs"][0]["to_target"]["created"], 1);
    // Over both sides together.
    project.edit("office", "UPDATE items SET price = 1 WHERE code IN ('A', 'B')").await;
    project.edit("shop", "UPDATE goods SET title = 'new' WHERE sku IN ('C', 'D')").await;
    let run = &project.run(1)["runs"][0];
    let updated =
        |run: &Json| run["to_target"]["updated"].as_u64().unwrap() + run["to_source"]["updated"].as_u64().unwrap();
    assert_eq!(updated(run), 2, "{run}");
    assert_eq!(updated(&project.run(0)["runs"][0]), 2);
}

/// Issue 2: the table of a plan counted deletes that a run holds back, and those held back before twice.
#[tokio::test]
async fn a_plan_makes_no_delete_that_is_held_back() {
    let project = limited("limits: { delete: 2 }");
    project.edit("office", "DELETE FROM items").await;
    project.edit("office", "INSERT INTO items VALUES ('Z', 'Zebra', 1, NULL)").await;
    let plan = |code| project.engine("plan . --format json").ends(code).json()["runs"][0].clone();
    let held = |plan: &Json| {
        let changes = plan["changes"].as_array().unwrap();
        changes.iter().filter(|change| change["action"] == "delete" && change["held"] == true).count()
    };
    let first = plan(1);
    assert_eq!((&first["to_target"]["deleted"], held(&first)), (&json!(0), 3), "{first}");
    project.run(1);
    // Three are held back, and nothing is new.
    let again = plan(0);
    assert_eq!((&again["to_target"]["deleted"], held(&again)), (&json!(0), 3), "{again}");
    let text = project.engine("plan .").ends(0).out;
    assert!(text.contains("items: nothing to do"), "{text}");
    assert!(text.contains("3 deletes on the target are over the limit (2 left)"), "{text}");
    let over = project.engine("plan . --over-limit --format json").ends(0).json()["runs"][0].clone();
    assert_eq!((&over["to_target"]["deleted"], held(&over)), (&json!(3), 0), "{over}");
    assert_eq!(
        project.engine("run . --once --over-limit --format json").ends(0).json()["runs"][0]["to_target"]["deleted"],
        3
    );
}

/// Issue 2: a plan showed the first write of a sum only.
#[tokio::test]
async fn a_plan_shows_both_writes_of_a_sum() {
    let items = ITEMS.replace("target: price }", "target: price, conflict: sum_deltas }");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items)]);
    project.run(0);
    project.edit("office", "UPDATE items SET price = price + 1, name = 'Lampe' WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET price = price + 10 WHERE sku = 'A'").await;
    let plan = project.engine("plan . --format json").ends(0).json()["runs"][0].clone();
    let run = project.run(0)["runs"][0].clone();
    for side in ["to_target", "to_source"] {
        assert_eq!(plan[side]["updated"], run[side]["updated"], "{plan}\n{run}");
    }
    let writes: Vec<_> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            let price = change["fields"].as_array().unwrap().iter().find(|field| field["field"] == "price").unwrap();
            (change["side"].as_str().unwrap(), price["before"].as_str().unwrap(), price["after"].as_str().unwrap())
        })
        .collect();
    assert_eq!(writes, [("target", "29.9", "30.9"), ("source", "20.9", "30.9")]);
    assert_eq!(project.column("office", "SELECT CAST(price AS TEXT) FROM items WHERE code = 'A'").await, ["30.9"]);
}

/// Issue 2: a record with an old stamp passed for a restored backup where no stamp was ever read.
#[tokio::test]
async fn an_old_stamp_is_no_backup_where_none_was_read() {
    let office =
        "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), made TEXT, at TIMESTAMP);
INSERT INTO items VALUES ('A', 'Lamp', 19.90, NULL, NULL), ('B', 'Chair', 80, NULL, NULL);";
    let items = ITEMS.replace("key: [code] }", "key: [code], cursor: at, deleted: { sweep: 24h } }");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items), ("office.sql", office)]);
    project.run(0);
    project.edit("office", "UPDATE items SET name = 'Old lamp', at = '2001-01-01 00:00:00' WHERE code = 'A'").await;
    assert_eq!(project.run(0)["runs"][0]["to_target"]["updated"], 1);
    assert_eq!(project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await, ["Old lamp"]);
}

/// Issue 2: troubles of a run had no place, and no name in the list of runs.
#[tokio::test]
async fn troubles_of_a_run_have_a_place() {
    let items = ITEMS.replace("match: [sku]\n", "").replace("  - { source: code, target: sku }\n", "");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items)]);
    let error = project.run(2)["runs"][0]["errors"][0].clone();
    assert_eq!(
        (&error["code"], &error["file"], &error["line"]),
        (&json!("E0903"), &json!("items.yaml"), &json!(2)),
        "{error}"
    );
    assert_eq!(error["side"], "source");
    let text = project.engine("run . --once").ends(2).out;
    assert!(text.contains("E0903 items.yaml:2:"), "{text}");

    let project = limited("limits: { delete: 1 }");
    project.edit("office", "DELETE FROM items WHERE code IN ('A', 'C')").await;
    let errors = project.run(1)["runs"][0]["errors"].clone();
    assert_eq!(errors.as_array().unwrap().len(), 3, "{errors}");
    for error in errors.as_array().unwrap() {
        assert_eq!(
            (&error["code"], &error["file"], &error["line"]),
            (&json!("E0904"), &json!("items.yaml"), &json!(12))
        );
    }
    project.edit("shop", "DROP TABLE goods").await;
    project.engine("run . --once").ends(2);
    std::fs::remove_dir_all(project.path("data")).unwrap();
    std::fs::write(project.path("data"), "no folder").unwrap();
    project.engine("run . --once").ends(3);
    let runs = project.engine("runs . --format json").ends(0).json()["runs"].clone();
    let last = runs[0]["errors"][0].as_str().unwrap();
    assert!(last.contains("connection `office`") || last.contains("connection `shop`"), "{last}");
}

/// Issue 2: deletes held back on both sides were all told of one of them.
#[tokio::test]
async fn deletes_are_held_back_on_their_own_side() {
    let both =
        ITEMS.replace("deletes: { to_target: propagate }", "deletes: { to_target: propagate, to_source: propagate }");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &both)]);
    project.run(0);
    project.edit("office", "DELETE FROM items WHERE code IN ('A', 'B')").await;
    project.edit("shop", "DELETE FROM goods WHERE sku = 'C'").await;
    let text = project.engine("run . --once").ends(1).out;
    for said in [
        "2 deletes on the target held back: the 3 of both sides are more than the 1 that the limit leaves",
        "1 delete on the source",
        "would delete on the source: C",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let plan = project.engine("plan .").ends(0).out;
    assert!(plan.contains("2 deletes on the target are") && plan.contains("1 delete on the source"), "{plan}");
    assert_eq!(project.column("shop", "SELECT sku FROM goods ORDER BY sku").await, ["A", "B"]);
    // A run that cannot begin owes them all the same.
    let folder = project.path("data");
    std::fs::rename(&folder, project.path("elsewhere")).unwrap();
    std::fs::write(&folder, "no folder").unwrap();
    assert_eq!(project.run(3)["runs"][0]["owed"], 3);
}

/// Deletes that were held back stayed on record though their records were back.
#[tokio::test]
async fn a_delete_that_is_held_back_ends_with_its_reason() {
    let project = limited("limits: { delete: 1 }");
    project.edit("office", "DELETE FROM items WHERE code IN ('A', 'B')").await;
    assert_eq!(project.run(1)["runs"][0]["owed"], 2);
    project.edit("office", "INSERT INTO items VALUES ('A', 'Lamp', 19.90, '20240131'), ('B', 'Chair', 80, NULL)").await;
    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["owed"], &run["to_target"]["deleted"]), (&json!(0), &json!(0)), "{run}");
    let text = project.engine("run . --once").ends(0).out;
    assert!(!text.contains("held back"), "{text}");
    assert_eq!(project.column("shop", "SELECT sku FROM goods ORDER BY sku").await, ["A", "B", "C"]);
}

/// Issue 2: the status left deletes that are held back out of what is owed.
#[tokio::test]
async fn deletes_held_back_are_owed_wherever_it_is_told() {
    let project = limited("limits: { delete: 1 }");
    project.edit("office", "DELETE FROM items WHERE code <> 'C'").await;
    let owed = project.run(1)["runs"][0]["owed"].clone();
    assert_eq!(owed, 2);
    let status = project.engine("status . --format json").ends(0).json()["mappings"][0].clone();
    assert_eq!((&status["owed"], &status["held_deletes"], &status["parked"]), (&owed, &json!(2), &json!(0)));
}

/// Issue 2: a run that also created many records let more deletes through than
/// its plan said, and a plan did not say what a delete that is held back sets.
#[tokio::test]
async fn what_a_run_creates_lets_no_more_deletes_through() {
    let numbers = |letter: char| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO items SELECT printf('{letter}%04d', i), 'x' FROM n"
        )
    };
    let office = format!("CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT); {};", numbers('A'));
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: goods, key: [sku] }
fields: [{ source: code, target: sku }, { source: name, target: title }]
deletes: { to_target: { set: { active: 0 } } }
";
    let shop = "CREATE TABLE goods (sku TEXT PRIMARY KEY, title TEXT, active INTEGER DEFAULT 1)";
    let files =
        [("connections.yaml", CONNECTIONS), ("items.yaml", mapping), ("office.sql", &office), ("shop.sql", shop)];
    let project = Project::new(&files);
    project.run(0);
    project.edit("office", "DELETE FROM items WHERE code <= 'A0020'").await;
    project.edit("office", &numbers('B')).await;
    let plan = project.engine("plan . --format json").ends(1).json()["runs"][0].clone();
    let changes = plan["changes"].as_array().unwrap();
    let held: Vec<&Json> = changes.iter().filter(|change| change["held"] == true).collect();
    assert_eq!((held.len(), &held[0]["fields"][0]["field"]), (20, &json!("active")), "{}", held[0]);
    let run = &project.run(1)["runs"][0];
    assert_eq!((&run["to_target"]["created"], &run["to_target"]["deleted"]), (&json!(300), &json!(0)), "{run}");
}

/// Issue 2: two writes of one record counted as two records, and a small limit
/// let it over in no run.
#[tokio::test]
async fn a_record_counts_once_however_often_it_is_written() {
    let mapping = "mapping: items
source: { connection: office, object: items }
target: { connection: shop, object: goods }
direction: bidirectional
limits: { update: 1 }
fields:
  - copy: [id, name]
  - { source: stock, target: stock, conflict: sum_deltas }
";
    let rows = "(1, 10, 'a'), (2, 10, 'b')";
    let table = |name: &str| format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, stock INTEGER, name TEXT);");
    let project = Project::new(&[
        ("connections.yaml", super::project::CONNECTIONS),
        ("items.yaml", mapping),
        ("office.sql", &format!("{} INSERT INTO items VALUES {rows};", table("items"))),
        ("shop.sql", &table("goods")),
    ]);
    project.run(0);
    project.edit("office", "UPDATE items SET stock = 11").await;
    project.edit("shop", "UPDATE goods SET stock = 12, name = name || '!'").await;
    let plan = project.engine("plan . --format json").json();
    assert_eq!(plan["runs"][0]["status"], "failure", "two records are more than one: {plan}");
    let run = project.engine("run . --once --format json").json();
    assert_eq!(run["runs"][0]["status"], "failure", "{run}");
    let stock = "SELECT name || ' ' || stock FROM items ORDER BY id";
    assert_eq!(project.column("office", "SELECT name FROM items ORDER BY id").await, ["a!", "b"], "one went over");
    // What the stop has cut short is the first thing the next run does.
    let ends = |_: &i32| project.engine("run . --once").code == 0;
    assert!((0..4).any(|run| ends(&run)), "each run goes on from where the one before stopped");
    assert_eq!(project.column("office", stock).await, ["a! 13", "b! 13"]);
    assert_eq!(project.column("shop", "SELECT CAST(stock AS TEXT) FROM goods ORDER BY id").await, ["13", "13"]);
}
