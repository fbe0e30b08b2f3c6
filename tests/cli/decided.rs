//! Decisions of people, and what else has to be on record exactly when it is
//! done: conflicts, loops, limits, deletes.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, ITEMS, Project};

fn conflicts(project: &Project) -> Vec<Json> {
    let list = project.engine("conflicts list . --format json").ends(0).json();
    list["conflicts"].as_array().unwrap().clone()
}

const PRICE: &str = "SELECT CAST(price AS TEXT) FROM goods WHERE sku = 'A'";

/// The price of one record in conflict, and a person's decision for the source.
async fn decided(project: &Project) {
    project.run(0);
    project.edit("office", "UPDATE items SET price = 21 WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET price = 18 WHERE sku = 'A'").await;
    project.run(1);
    let id = conflicts(project)[0]["id"].as_str().unwrap().to_owned();
    project.engine(&format!("conflicts resolve . {id} --take source")).ends(0);
}

fn assert_waits(project: &Project) {
    let open = conflicts(project);
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((&open[0]["status"], &open[0]["resolution"]), (&json!("open"), &json!({ "take": "source" })));
}

/// Issue 2: a decision counted as applied before it was, and was lost with the
/// run.
#[tokio::test]
async fn a_decision_that_could_not_be_written_waits() {
    let project = Project::items();
    decided(&project).await;
    project.edit("shop", "CREATE TRIGGER no BEFORE UPDATE ON goods BEGIN INSERT INTO missing VALUES (1); END").await;
    assert_eq!(project.run(3)["runs"][0]["errors"][0]["code"], "E0802");
    assert_waits(&project);
    project.edit("shop", "DROP TRIGGER no").await;
    project.run(0);
    assert_eq!(project.column("shop", PRICE).await, ["21"]);
    assert_eq!(conflicts(&project), Vec::<Json>::new());
    let all = project.engine("conflicts list . --all --format json").ends(0).json();
    assert_eq!(all["conflicts"][0]["status"], "resolved");
}

/// Issue 2: a decision was lost with the write that was refused.
#[tokio::test]
async fn a_decision_that_was_refused_waits() {
    let project = Project::items();
    decided(&project).await;
    project.edit("shop", "CREATE TRIGGER no BEFORE UPDATE ON goods BEGIN SELECT RAISE(FAIL, 'not now'); END").await;
    let run = &project.run(1)["runs"][0];
    assert_eq!(run["errors"][0]["code"], "E0708");
    assert_waits(&project);
    let story = project.engine("trace . items A --format json").ends(0).out;
    assert!(!story.contains("conflict_resolved"), "{story}");
    project.edit("shop", "DROP TRIGGER no").await;
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("shop", PRICE).await, ["21"]);
}

/// Issue 2: nothing was decided, and nobody told.
#[tokio::test]
async fn a_field_that_is_mistyped_is_refused() {
    let project = Project::items();
    project.run(0);
    let mistyped = project.engine("conflicts resolve . --mapping items --field prise --take source").ends(2).err;
    assert!(mistyped.contains("there is no field `prise`") && mistyped.contains("did you mean `price`?"), "{mistyped}");
    project.engine("conflicts list . --field prise").ends(2);
    assert!(project.engine("conflicts list . --field price").ends(0).out.contains("no conflicts"));
    let none = project.engine("conflicts resolve . --field price --take source").ends(0);
    assert!(none.out.contains("no "), "{}", none.out);
}

/// Issue 2: the decision for a deletion was closed when the delete was put on
/// the list, and the conflict was opened anew before it was carried out.
#[tokio::test]
async fn a_decision_for_a_deletion_deletes() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET title = 'Desk lamp' WHERE sku = 'A'").await;
    project.run(1);
    let open = conflicts(&project);
    assert_eq!((open.len(), &open[0]["field"]), (1, &json!("*")));
    project.engine(&format!("conflicts resolve . {} --take source", open[0]["id"].as_str().unwrap())).ends(0);
    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["to_target"]["deleted"], &run["owed"]), (&json!(1), &json!(0)), "{run}");
    assert_eq!(project.column("shop", "SELECT sku FROM goods ORDER BY sku").await, ["B", "C"]);
    let all = project.engine("conflicts list . --all --format json").ends(0).json();
    assert_eq!(all["conflicts"][0]["status"], "resolved");
}

/// Issue 2: the write to the source went out beside the loop on the target,
/// and took the loop off the list.
#[tokio::test]
async fn of_a_pair_that_loops_nothing_is_written() {
    let project = Project::items();
    project.write("items.yaml", &ITEMS.replace("match: [sku]\n", "match: [sku]\nconflicts: { default: source }\n"));
    project.run(0);
    for round in 0..4 {
        project.edit("office", &format!("UPDATE items SET price = 3{round} WHERE code = 'A'")).await;
        project.edit("shop", &format!("UPDATE goods SET price = 4{round} WHERE sku = 'A'")).await;
        project.run(0);
    }
    project.edit("office", "UPDATE items SET price = 35 WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET price = 45, title = 'Desk lamp' WHERE sku = 'A'").await;
    let run = &project.run(1)["runs"][0];
    assert_eq!(run["errors"][0]["code"], "E0706");
    assert_eq!(project.run(0)["runs"][0]["owed"], 1, "it stays owed");
    assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, ["Lamp"]);
    // Nor does it begin anew once the writes were long ago.
    for round in 0..12 {
        project.edit("shop", &format!("UPDATE goods SET price = 5{round} WHERE sku = 'A'")).await;
        assert_eq!(project.run(0)["runs"][0]["owed"], 1);
    }
    let price = "SELECT CAST(price AS TEXT) FROM goods WHERE sku = 'A'";
    assert_eq!(project.column("shop", price).await, ["511"]);
    assert!(project.engine("parked list .").ends(0).out.contains("by `parked retry`"));
    project.engine("parked retry . --mapping items").ends(0);
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("shop", price).await, ["35"]);
}

/// Issue 2: a run that was refused told of links and conflicts that it had not
/// made, and called its state broken.
#[tokio::test]
async fn a_run_that_is_refused_leaves_nothing_behind() {
    let project = Project::items();
    project.write("items.yaml", &ITEMS.replace("limits: { delete: 1 }", "limits: { create: 1 }"));
    project.run(0);
    project
        .edit(
            "office",
            "INSERT INTO items VALUES ('D', 'Desk', 50, NULL), ('E', 'Bed', 60, NULL), ('F', 'Sofa', 70, NULL)",
        )
        .await;
    project.edit("shop", "INSERT INTO goods (sku, title, price) VALUES ('F', 'Table', 70)").await;
    let report = project.engine("run . --once --format json").json();
    let errors = report["runs"][0]["errors"].as_array().unwrap();
    assert_eq!(errors.iter().map(|error| &error["code"]).collect::<Vec<_>>(), [&json!("E0904")], "{report}");
    assert_eq!(conflicts(&project), Vec::<Json>::new());
    for left in ["E", "F"] {
        let story = project.engine(&format!("trace . items {left} --format json")).json();
        assert_eq!(story["events"].as_array().map_or(0, Vec::len), 0, "{story}");
    }
    assert_eq!(project.column("shop", "SELECT sku FROM goods WHERE sku > 'C' ORDER BY sku").await, ["D", "F"]);
    let runs = project.engine("runs . --format json").ends(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2, "it is on record: {runs}");
}

const SET: &str = "deletes: { to_target: { set: { made_on: 1900-01-01 } } }";

/// Issue 2: deletes by `set` counted as updates.
#[tokio::test]
async fn deletes_by_set_are_deletes() {
    let project = Project::items();
    project.write(
        "items.yaml",
        &ITEMS
            .replace("deletes: { to_target: propagate }", SET)
            .replace("  - { source: made, target: made_on, rules: [{ date: '%Y%m%d' }] }\n", ""),
    );
    project.run(0);
    project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
    let run = &project.run(0)["runs"][0];
    let counts = &run["to_target"];
    assert_eq!((&counts["deleted"], &counts["updated"]), (&json!(1), &json!(0)), "{run}");
    assert_eq!(project.column("shop", "SELECT made_on FROM goods WHERE sku = 'A'").await, ["1900-01-01"]);
    // One a day is the limit: over the day as planned as well as done.
    project.edit("office", "DELETE FROM items WHERE code = 'C'").await;
    let plan = project.engine("plan . --format json").json();
    assert!(plan["runs"][0]["errors"].to_string().contains("E0904"), "{plan}");
    let error = &project.run(1)["runs"][0]["errors"][0];
    assert_eq!(error["code"], "E0904");
    assert_eq!(project.column("shop", "SELECT made_on FROM goods WHERE sku = 'C'").await, [""]);
}

/// Issue 2: a record that was deleted counted as unchanged as well.
#[tokio::test]
async fn what_is_deleted_is_not_unchanged() {
    let office =
        "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), made TEXT, gone TEXT);
INSERT INTO items VALUES ('A', 'Lamp', 19.90, NULL, NULL), ('B', 'Chair', 80, NULL, NULL);";
    let project = Project::items();
    project.write("office.sql", office);
    project.write(
        "items.yaml",
        &ITEMS.replace(
            "object: items, key: [code] }",
            "object: items, key: [code], deleted: { field: gone, equals: 'x' } }",
        ),
    );
    project.run(0);
    project.edit("office", "UPDATE items SET gone = 'x' WHERE code = 'A'").await;
    let run = &project.run(0)["runs"][0];
    let counts = &run["to_target"];
    assert_eq!((&counts["read"], &counts["deleted"], &counts["unchanged"]), (&json!(2), &json!(1), &json!(1)), "{run}");
}

/// Issue 2: the conflicts of a severed link were listed for ever.
#[tokio::test]
async fn a_severed_link_has_no_open_conflict() {
    let project = Project::items();
    project.write(
        "items.yaml",
        &ITEMS
            .replace("deletes: { to_target: propagate }\n", "")
            .replace("object: items, key: [code] }", "object: items, key: [code], deleted: { sweep: 1s } }"),
    );
    decided(&project).await;
    project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let run = &project.run(0)["runs"][0];
    assert_eq!(run["owed"], 0, "{run}");
    assert_eq!(conflicts(&project), Vec::<Json>::new());
    let all = project.engine("conflicts list . --all --format json").ends(0).json();
    assert_eq!(all["conflicts"][0]["status"], "closed");
    // Back again, both are compared with when they last agreed.
    project.edit("office", "INSERT INTO items VALUES ('A', 'Lamp', 22, '20240131')").await;
    project.run(1);
    assert_eq!(conflicts(&project).len(), 1);
}

/// Issue 2: a value that the field cannot hold was taken, and asked for again by the next run.
#[tokio::test]
async fn a_value_that_does_not_fit_is_refused_at_once() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "UPDATE items SET price = 21, made = '20240201' WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET price = 18, made_on = '2024-02-02' WHERE sku = 'A'").await;
    project.run(1);
    let of = |name: &str| {
        let open = conflicts(&project);
        open.iter().find(|conflict| conflict["field"] == name).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let price = of("price");
    for value in ["12.345", "123456789.01"] {
        let refused = project.engine(&format!("conflicts resolve . {price} --value {value}")).ends(2).err;
        assert!(refused.contains(&format!("`price` of conflict {price} cannot hold that on the target")), "{refused}");
        assert!(refused.contains(value) && refused.contains("10"), "{refused}");
    }
    project.engine(&format!("conflicts resolve . {price} --value 12.30")).ends(0);
    project.engine(&format!("conflicts resolve . {} --value '\"2024-02-03\"'", of("made_on"))).ends(0);
    project.run(0);
    assert_eq!(project.column("shop", PRICE).await, ["12.3"]);
}

/// Issue 2: where two records met for the first time a field's own policy
/// decided, though `first` follows `default`.
#[tokio::test]
async fn a_first_meeting_follows_the_default_and_not_the_field() {
    let items = ITEMS.replace("{ source: price, target: price }", "{ source: price, target: price, conflict: target }");
    for (conflicts, conflict, price) in [("", 1, "80"), ("conflicts: { first: target }\n", 0, "90")] {
        let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &(items.clone() + conflicts))]);
        let shop = std::fs::read_to_string(project.path("shop.sql")).unwrap();
        project.write("shop.sql", &shop.replace("'Chair', 80", "'Chair', 90"));
        let run = project.run(conflict);
        assert_eq!(run["runs"][0]["conflicts"], conflict, "{run}");
        assert_eq!(project.column("office", "SELECT CAST(price AS TEXT) FROM items WHERE code = 'B'").await, [price]);
    }
}
