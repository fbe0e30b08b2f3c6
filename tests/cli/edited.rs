//! Mappings that are edited between runs, and records that leave and come back.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, ITEMS, Project};

const OFFICE: &str = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, price DECIMAL(10,2), made TEXT, status TEXT, rev INTEGER);
INSERT INTO items VALUES ('A', 'Lamp', 19.90, 'x', 'on', 1), ('B', 'Chair', 80, 'y', 'on', 2), ('C', 'Table', 7, 'z', 'on', 3);";

const SHOP: &str = "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made TEXT, rev INTEGER);
CREATE TRIGGER counts AFTER INSERT ON goods WHEN NEW.rev IS NULL BEGIN UPDATE goods SET rev = 0 WHERE id = NEW.id; END;";

/// Both sides are read by what has changed: a number that grows.
const HEAD: &str = "mapping: items
source: { connection: office, object: items, key: [code], cursor: rev }
target: { connection: shop, object: goods, key: [id], cursor: rev }
direction: bidirectional
match: [sku]
";
const SKU: &str = "  - { source: code, target: sku }\n";
const TITLE: &str = "  - { source: name, target: title }\n";
const PRICE: &str = "  - { source: price, target: price }\n";
const MADE: &str = "  - { source: made, target: made }\n";

fn mapping(more: &str, fields: &[&str]) -> String {
    format!("{HEAD}{more}fields:\n{}", fields.concat())
}

fn project(more: &str, fields: &[&str]) -> Project {
    let project = Project::new(&[
        ("connections.yaml", CONNECTIONS),
        ("office.sql", OFFICE),
        ("shop.sql", SHOP),
        ("items.yaml", &mapping(more, fields)),
    ]);
    project.run(0);
    project
}

fn statuses(project: &Project) -> Vec<String> {
    let links = project.engine("links list . items --format json").ends(0).json();
    let status = |link: &Json| link["status"].as_str().unwrap().to_owned();
    links["links"].as_array().unwrap().iter().map(status).collect()
}

/// The layouts that the links of the state follow, and those it knows.
async fn layouts(project: &Project) -> (Vec<String>, Vec<String>) {
    let state = "../.engine/state";
    (
        project.column(state, "SELECT DISTINCT CAST(layout AS TEXT) FROM links ORDER BY layout").await,
        project.column(state, "SELECT CAST(json_array_length(layouts) AS TEXT) FROM mappings").await,
    )
}

/// Issue 2: a link that was severed while its bases were brought to the edited
/// mapping was stored under the old layout, and brought there once more.
#[tokio::test]
async fn a_link_severed_after_an_edit_can_be_read() {
    for fields in [&[TITLE, PRICE, MADE, SKU][..], &[MADE, PRICE, SKU]] {
        let project = project("", &[SKU, TITLE, PRICE, MADE]);
        project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
        // New rules for one of them, so that everything is looked at.
        let edited: Vec<String> = fields
            .iter()
            .map(
                |field| if *field == PRICE { PRICE.replace(" }", ", rules: [decimal] }") } else { (*field).to_owned() },
            )
            .collect();
        let edited: Vec<&str> = edited.iter().map(String::as_str).collect();
        project.write("items.yaml", &mapping("", &edited));
        for _ in 0..2 {
            assert_eq!(project.run(0)["runs"][0]["owed"], 0);
            assert_eq!(statuses(&project), ["severed", "linked", "linked"]);
        }
        project.edit("office", "INSERT INTO items VALUES ('A', 'Lamp', 19.90, 'x', 'on', 9)").await;
        let run = &project.run(0)["runs"][0];
        assert_eq!((&run["to_target"]["updated"], &run["to_source"]["updated"]), (&json!(0), &json!(0)), "{run}");
        assert_eq!(statuses(&project), ["linked"; 3]);
    }
}

/// Issue 2: a severed link counted as linked after an edit of the mapping, and
/// with `propagate` in the same edit the record that had been kept was deleted.
#[tokio::test]
async fn a_severed_link_stays_severed_after_an_edit() {
    let project = project("", &[SKU, TITLE, PRICE]);
    project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
    project.write("items.yaml", &mapping("", &[SKU, &TITLE.replace(" }", ", rules: [trim] }"), PRICE]));
    project.run(0);
    assert_eq!(statuses(&project), ["severed", "linked", "linked"]);
    let swept = mapping("deletes: { to_target: propagate }\n", &[SKU, TITLE, PRICE])
        .replace("key: [code]", "key: [code], deleted: { sweep: 1s }");
    project.write("items.yaml", &swept);
    project.edit("shop", "UPDATE goods SET price = 3, rev = 9 WHERE sku = 'A'").await;
    for _ in 0..2 {
        project.run(0);
        assert_eq!(statuses(&project), ["severed", "linked", "linked"]);
    }
    assert_eq!(project.column("shop", "SELECT sku FROM goods ORDER BY sku").await, ["A", "B", "C"]);
}

/// Issue 2: after an edit every run read all links, and fetched every record
/// whose link was not touched, for ever.
#[tokio::test]
async fn an_edit_is_dealt_with_once() {
    let project = project("", &[SKU, TITLE, PRICE, MADE]);
    for fields in [&[SKU, PRICE, TITLE, MADE][..], &[PRICE, SKU, TITLE], &[SKU, TITLE], &[SKU, TITLE, MADE]] {
        project.write("items.yaml", &mapping("", fields));
        let run = &project.run(0)["runs"][0];
        assert_eq!((&run["to_target"]["updated"], &run["conflicts"]), (&json!(0), &json!(0)), "{run}");
        let (used, known) = layouts(&project).await;
        assert_eq!((used.len(), known), (1, vec!["1".to_owned()]), "{fields:?}");
    }
    project.edit("shop", "UPDATE goods SET made = 'new', rev = 9 WHERE sku = 'B'").await;
    project.run(0);
    assert_eq!(project.column("office", "SELECT made FROM items ORDER BY code").await, ["x", "new", "z"]);
}

/// Issue 2: marks of one field were compared with values of another: edits were
/// passed over for good, or taken for a restored backup.
#[tokio::test]
async fn another_cursor_begins_anew() {
    let project = project("", &[SKU, TITLE]);
    for database in ["office.items", "shop.goods"] {
        let (name, table) = database.split_once('.').unwrap();
        project.edit(name, &format!("ALTER TABLE {table} ADD COLUMN at DATETIME; UPDATE {table} SET rev = 900")).await;
    }
    project.run(0);
    let items = mapping("", &[SKU, TITLE]);
    let now = items.replace("cursor: rev", "cursor: at");
    let steps = [(&now, "at = '2026-01-01'"), (&items, "rev = 7"), (&now, "at = '2025-01-01'")];
    for (round, (mapping, stamp)) in steps.into_iter().enumerate() {
        project.write("items.yaml", mapping);
        project.edit("office", &format!("UPDATE items SET name = 'o{round}', {stamp} WHERE code = 'A'")).await;
        project.edit("shop", &format!("UPDATE goods SET title = 's{round}', {stamp} WHERE sku = 'B'")).await;
        project.run(0);
        let (office, shop) = ("SELECT name FROM items ORDER BY code", "SELECT title FROM goods ORDER BY sku");
        let expected = [format!("o{round}"), format!("s{round}"), "Table".to_owned()];
        assert_eq!(project.column("office", office).await, expected, "{stamp}");
        assert_eq!(project.column("shop", shop).await, expected, "{stamp}");
        assert_eq!(project.run(0)["runs"][0]["to_target"]["updated"], 0);
    }
}

/// Issue 2: a changed rule never reached what was outside `where` when the
/// mapping was edited.
#[tokio::test]
async fn new_rules_wait_for_what_is_outside() {
    let only = "where: \"status = 'on'\", cursor";
    let fields = |title: &str| mapping("", &[SKU, title, PRICE]).replacen("cursor", only, 1);
    let project = project("", &[SKU, TITLE, PRICE]);
    project.write("items.yaml", &fields(TITLE));
    project.run(0);
    project.edit("office", "UPDATE items SET status = 'off' WHERE code = 'A'").await;
    project.write("items.yaml", &fields(&TITLE.replace(" }", ", rules: [upper_case], reverse: [title_case] }")));
    let titles = "SELECT title FROM goods ORDER BY sku";
    for _ in 0..2 {
        project.run(0);
        assert_eq!(project.column("shop", titles).await, ["Lamp", "CHAIR", "TABLE"]);
    }
    project.edit("office", "UPDATE items SET status = 'on', rev = 9 WHERE code = 'A'").await;
    project.run(0);
    assert_eq!(project.column("shop", titles).await, ["LAMP", "CHAIR", "TABLE"]);
    let (used, _) = layouts(&project).await;
    assert_eq!(used.len(), 1);
}

/// Issue 2: a rule that could not be applied to a record, since its write was
/// refused, was never applied to it.
#[tokio::test]
async fn new_rules_wait_for_what_was_refused() {
    let project = project("", &[SKU, TITLE, PRICE]);
    project
        .edit("shop", "CREATE TRIGGER no BEFORE UPDATE ON goods WHEN NEW.sku = 'B' BEGIN SELECT RAISE(FAIL, 'no'); END")
        .await;
    project.write(
        "items.yaml",
        &mapping("", &[SKU, &TITLE.replace(" }", ", rules: [upper_case], reverse: [title_case] }"), PRICE]),
    );
    project.run(1);
    assert_eq!(project.run(0)["runs"][0]["owed"], 1);
    project.edit("shop", "DROP TRIGGER no").await;
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("shop", "SELECT title FROM goods ORDER BY sku").await, ["LAMP", "CHAIR", "TABLE"]);
}

/// Issue 2: an edit of the other side, made while a record was outside, was
/// passed over for good.
#[tokio::test]
async fn what_was_edited_meanwhile_is_found_when_a_record_comes_back() {
    let inside = "where: \"status = 'on'\", cursor";
    let when = "when: { source: \"status == 'on'\" }\n";
    for mapping in
        [mapping("", &[SKU, TITLE, PRICE]).replacen("cursor", inside, 1), mapping(when, &[SKU, TITLE, PRICE])]
    {
        let project = project("", &[SKU, TITLE, PRICE]);
        project.write("items.yaml", &mapping);
        project.run(0);
        project.edit("office", "UPDATE items SET status = 'off', rev = 4 WHERE code = 'A'").await;
        project.run(0);
        project.edit("shop", "UPDATE goods SET title = 'Desk lamp', rev = 4 WHERE sku = 'A'").await;
        project.run(0);
        // The readings of both sides leave it behind.
        project.edit("shop", "UPDATE goods SET price = 81, rev = 5 WHERE sku = 'B'").await;
        project.edit("office", "UPDATE items SET price = 8, rev = 5 WHERE code = 'C'").await;
        project.run(0);
        project.edit("office", "UPDATE items SET status = 'on', rev = 6 WHERE code = 'A'").await;
        project.run(0);
        assert_eq!(
            project.column("office", "SELECT name FROM items WHERE code = 'A'").await,
            ["Desk lamp"],
            "{mapping}"
        );
        let run = &project.run(0)["runs"][0];
        assert_eq!((&run["to_target"]["updated"], &run["to_source"]["updated"]), (&json!(0), &json!(0)), "{run}");
    }
}

/// Issue 2: what `when`, `allow` or `deleted` had kept out stayed out after
/// they were widened.
#[tokio::test]
async fn what_is_let_in_is_read() {
    let narrow = [
        mapping("when: { source: \"price > 10\" }\n", &[SKU, TITLE, PRICE]),
        mapping("allow: { to_target: [update] }\n", &[SKU, TITLE, PRICE]),
        mapping("", &[SKU, TITLE, PRICE]).replacen("cursor", "deleted: { field: made, equals: 'z' }, cursor", 1),
    ];
    for narrow in narrow {
        let project = Project::new(&[
            ("connections.yaml", CONNECTIONS),
            ("office.sql", OFFICE),
            ("shop.sql", SHOP),
            ("items.yaml", &narrow),
        ]);
        project.run(0);
        // The reading leaves it behind.
        project.edit("office", "UPDATE items SET rev = 9 WHERE code = 'A'").await;
        project.run(0);
        let there = "SELECT sku FROM goods WHERE sku = 'C'";
        assert_eq!(project.column("shop", there).await, [""; 0], "{narrow}");
        project.write("items.yaml", &mapping("", &[SKU, TITLE, PRICE]));
        project.run(0);
        assert_eq!(project.column("shop", there).await, ["C"], "{narrow}");
        // Read once, and not for ever.
        let read = project.run(0)["runs"][0]["to_target"]["read"].as_u64().unwrap();
        assert!(read < 3, "{read} read again");
    }
}

/// A field that comes back into a mapping is filled as on adoption, whatever
/// happened to it while it was away.
#[tokio::test]
async fn a_field_that_is_put_back_is_compared_on_both_sides() {
    let project = project("", &[SKU, TITLE, MADE]);
    project.write("items.yaml", &mapping("", &[SKU, TITLE]));
    project.run(0);
    project.edit("office", "UPDATE items SET made = 'x1', rev = 8 WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET made = 'x2', rev = 8 WHERE sku = 'A'").await;
    project.edit("office", "UPDATE items SET made = NULL, rev = 9 WHERE code = 'B'").await;
    project.run(0);
    project.write("items.yaml", &mapping("", &[SKU, TITLE, MADE]));
    let run = &project.run(1)["runs"][0];
    assert_eq!((&run["conflicts"], &run["to_source"]["updated"]), (&json!(1), &json!(1)), "{run}");
    assert_eq!(project.column("office", "SELECT made FROM items ORDER BY code").await, ["x1", "y", "z"]);
    assert_eq!(project.column("shop", "SELECT made FROM goods ORDER BY sku").await, ["x2", "y", "z"]);
}

/// Issue 2: of two fields that came to a mapping at once, one that agreed was
/// forgotten to have done so while the other was in conflict: what was cleared
/// there was filled in again.
#[tokio::test]
async fn a_new_field_that_agrees_keeps_its_base_beside_one_in_conflict() {
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, made TEXT);
INSERT INTO items VALUES ('A', 'Lamp', 'here');";
    let shop = "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT, title TEXT, own TEXT);
INSERT INTO goods VALUES (1, 'A', 'Lamp', 'there');";
    let head = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: goods, key: [id] }
direction: bidirectional
match: [sku]
fields:
  - { source: code, target: sku }
";
    let files = [("connections.yaml", CONNECTIONS), ("items.yaml", head), ("office.sql", office), ("shop.sql", shop)];
    let project = Project::new(&files);
    project.run(0);
    let more = "  - { source: name, target: title }\n  - { source: made, target: own }\n";
    project.write("items.yaml", &(head.to_owned() + more));
    assert_eq!(project.run(1)["runs"][0]["conflicts"], 1);
    project.edit("office", "UPDATE items SET name = '' WHERE code = 'A'").await;
    project.run(0);
    assert_eq!(project.column("office", "SELECT name FROM items").await, [""]);
    assert_eq!(project.column("shop", "SELECT title FROM goods").await, [""]);
}

/// Issue 2: where one field came to go both ways, what the other side had made
/// of it meanwhile went back, whatever `first` said.
#[tokio::test]
async fn a_field_that_comes_to_go_both_ways_follows_first() {
    for (first, left) in [("source", "Lampe"), ("target", "of the shop"), ("manual", "Lampe")] {
        let field = "{ source: name, target: title, rules: [trim]";
        let one_way = ITEMS.replace(field, &format!("{field}, direction: source_to_target"));
        let mapping = |items: &str| format!("{items}conflicts: {{ first: {first} }}\n");
        let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &mapping(&one_way))]);
        project.engine("run . --once");
        project.edit("office", "UPDATE items SET name = 'Lampe' WHERE code = 'A'").await;
        project.run(0);
        project.edit("shop", "UPDATE goods SET title = 'of the shop' WHERE sku = 'A'").await;
        project.run(0);
        project.write("items.yaml", &mapping(ITEMS));
        project.run(i32::from(first == "manual"));
        assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, [left], "{first}");
    }
}

/// Issue 2: an edit of a field that goes one way was written over with what
/// the source had shown all along, once the mapping went one way or both ways.
#[tokio::test]
async fn an_edit_is_kept_whichever_way_the_rest_goes() {
    let fields = "fields: [{ source: code, target: sku }, { source: name, target: title, rules: [trim] }";
    let mapping = |direction: &str, fields: &str| {
        format!(
            "mapping: items\nsource: {{ connection: office, object: items, key: [code] }}\ntarget: {{ connection: shop, \
             object: goods, key: [id] }}\nmatch: [sku]\ndirection: {direction}\n{fields}]\n"
        )
    };
    let one_way = format!("{fields}, direction: source_to_target }}").replace("[trim] }", "[trim]");
    let more = ", { source: price, target: price }";
    for (before, after, ends) in [
        (mapping("bidirectional", fields), mapping("source_to_target", fields), 0),
        (mapping("source_to_target", fields), mapping("bidirectional", &format!("{one_way}{more}")), 0),
        (mapping("bidirectional", &format!("{one_way}{more}")), mapping("source_to_target", fields), 0),
        (
            mapping("source_to_target", fields),
            mapping("source_to_target", &format!("{fields}, {{ source: price, target: price, drift: conflict }}")),
            0,
        ),
    ] {
        let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &before)]);
        project.run(0);
        let titles =
            || async { project.column("shop", "SELECT title FROM goods WHERE sku IN ('A', 'C') ORDER BY sku").await };
        project.edit("shop", "UPDATE goods SET title = 'by people' WHERE sku = 'A'").await;
        if before.contains("source_to_target") {
            project.run(0);
            assert_eq!(titles().await, ["by people", "Mesa de jantar"], "{before}");
        }
        project.write("items.yaml", &after);
        for _ in 0..2 {
            project.run(ends);
            assert_eq!(titles().await, ["by people", "Mesa de jantar"], "{before} {after}");
        }
        // What changes in the source goes over.
        project.edit("office", "UPDATE items SET name = 'Neu' WHERE code IN ('A', 'C')").await;
        project.engine("run . --once");
        assert_eq!(titles().await, ["Neu", "Neu"], "{before} {after}");
    }
}
