//! Edits on the side that a mapping of one direction writes to.

use super::project::{CONNECTIONS, ITEMS, Project};

/// `items` from the office to the shop; the shop read by a cursor where it has one.
fn one_way(drift: &str, cursor: &str) -> Project {
    let items = ITEMS
        .replace("bidirectional", "source_to_target")
        .replace("key: [id] }", &format!("key: [id]{cursor} }}"))
        .replace("target: price }", &format!("target: price, drift: {drift} }}"));
    let shop = "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE, at INTEGER DEFAULT 1);
INSERT INTO goods (sku, title, price) VALUES ('Z', 'of the shop alone', 1);";
    Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items), ("shop.sql", shop)])
}

/// Issue 2: nothing was put back until the source changed.
#[tokio::test]
async fn what_was_edited_on_the_other_side_is_put_back() {
    for cursor in ["", ", cursor: at"] {
        let project = one_way("restore", cursor);
        project.run(0);
        project.edit("shop", "UPDATE goods SET price = 5, title = 'kept', at = 7 WHERE sku = 'A'").await;
        let run = &project.run(0)["runs"][0];
        assert_eq!((&run["to_target"]["updated"], &run["to_source"]["created"]), (&1.into(), &0.into()), "{run}");
        assert_eq!(project.column("shop", "SELECT price || title FROM goods WHERE sku = 'A'").await, ["19.9kept"]);
        assert_eq!(project.column("office", "SELECT CAST(count(*) AS TEXT) FROM items").await, ["3"]);
        let run = &project.run(0)["runs"][0];
        assert_eq!(run["to_target"]["updated"], 0, "{run}");
    }
}

/// Issue 2: the log said nothing of an edit that was written over.
#[tokio::test]
async fn what_is_written_over_an_edit_is_logged() {
    let project = one_way("keep", "");
    project.run(0);
    project.edit("shop", "UPDATE goods SET price = 5 WHERE sku = 'A'").await;
    assert_eq!(project.run(0)["runs"][0]["to_target"]["updated"], 0, "it is kept until the source's next edit");
    project.edit("office", "UPDATE items SET price = price + 1, name = name || '!' WHERE code IN ('A', 'C')").await;
    let logged = project.engine("run . --once --log json").ends(0).err;
    let lines: Vec<serde_json::Value> = logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line] = lines.as_slice() else { panic!("{logged}") };
    assert_eq!((&line["kind"], &line["level"]), (&"updated".into(), &"INFO".into()));
    let price = serde_json::json!({ "field": "price", "before": 5, "after": "20.9", "over_edit": true });
    assert!(line["detail"]["fields"].as_array().unwrap().contains(&price), "{line}");
    project.edit("office", "UPDATE items SET name = name || '!' WHERE code = 'C'").await;
    let logged = project.engine("run . --once -v").ends(0).err;
    assert!(logged.contains("updated"), "one more word shows every write: {logged}");
}

/// Issue 2: an edit was no conflict until the source changed.
#[tokio::test]
async fn an_edit_on_the_other_side_is_a_conflict() {
    for (cursor, taken, price) in [("", "source", "19.9"), (", cursor: at", "target", "5")] {
        let project = one_way("conflict", cursor);
        project.run(0);
        project.edit("shop", "UPDATE goods SET price = 5, title = 'kept', at = 7 WHERE sku = 'A'").await;
        let run = &project.run(1)["runs"][0];
        assert_eq!((&run["conflicts"], &run["to_target"]["updated"]), (&1.into(), &0.into()), "{run}");
        project.engine(&format!("conflicts resolve . --mapping items --field price --take {taken}")).ends(0);
        project.run(0);
        let shown = format!("{price}kept");
        assert_eq!(project.column("shop", "SELECT price || title FROM goods WHERE sku = 'A'").await, [shown]);
        let run = &project.run(0)["runs"][0];
        assert_eq!((&run["conflicts"], &run["owed"]), (&0.into(), &0.into()), "{run}");
    }
}

/// Issue 2: once both sides had come to agree by an edit of the written one, the
/// next edit of the other alone was a conflict.
#[tokio::test]
async fn what_agrees_again_is_the_new_base() {
    let project = one_way("conflict", "");
    project.run(0);
    project.edit("shop", "UPDATE goods SET price = 5 WHERE sku = 'A'").await;
    project.run(1);
    project.engine("conflicts resolve . --mapping items --field price --take target").ends(0);
    project.run(0);
    project.edit("shop", "UPDATE goods SET price = 19.9 WHERE sku = 'A'").await;
    project.run(0);
    project.edit("office", "UPDATE items SET price = 21 WHERE code = 'A'").await;
    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["conflicts"], &run["to_target"]["updated"]), (&0.into(), &1.into()), "{run}");
    assert_eq!(project.column("shop", "SELECT CAST(price AS TEXT) FROM goods WHERE sku = 'A'").await, ["21"]);
}
