//! What a user sees of records that are gone, have another key, or share one.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, Project};

const PLAIN: &str = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: goods, key: [id] }
direction: bidirectional
match: [sku]
deletes: DELETES
fields:
  - { source: code, target: sku }
  - { source: name, target: title }
";

const PLAIN_SHOP: &str = "CREATE TABLE goods (id INTEGER PRIMARY KEY AUTOINCREMENT, sku TEXT, title TEXT, own TEXT);";

fn plain(deletes: &str) -> Project {
    let items = PLAIN.replace("DELETES", deletes);
    Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items), ("shop.sql", PLAIN_SHOP)])
}

const BOTH_WAYS: &str = "{ to_target: propagate, to_source: propagate }";
const NEITHER: &str = "{ to_target: ignore, to_source: ignore }";

/// Issue 2: the record was deleted and made anew, or owed for ever.
#[tokio::test]
async fn a_link_goes_on_with_the_new_key_of_its_record() {
    for deletes in [BOTH_WAYS, NEITHER] {
        let project = plain(deletes);
        project.run(0);
        project.edit("shop", "UPDATE goods SET id = 50, own = 'mine', title = 'Lamp!' WHERE sku = 'A'").await;
        let run = &project.run(0)["runs"][0];
        assert_eq!(
            (&run["to_source"]["updated"], &run["to_source"]["deleted"], &run["owed"]),
            (&json!(1), &json!(0), &json!(0))
        );
        project.edit("office", "UPDATE items SET name = 'Lamp?' WHERE code = 'A'").await;
        project.run(0);
        let shop = "SELECT id || sku || title || own FROM goods WHERE sku = 'A'";
        assert_eq!(project.column("shop", shop).await, ["50ALamp?mine"], "{deletes}");
        assert_eq!(project.column("office", "SELECT code FROM items ORDER BY code").await, ["A", "B", "C"]);
        let story = project.engine("trace . items A --format json").ends(0).json();
        let kinds: Vec<_> = story["events"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
        assert_eq!(kinds, ["created", "rekeyed", "updated", "updated"]);
        // Deleted and entered anew: the same, by what it matches on.
        project.edit("shop", "DELETE FROM goods WHERE sku = 'B'").await;
        project.edit("shop", "INSERT INTO goods (sku, title) VALUES ('B', 'Armchair')").await;
        project.run(0);
        assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'B'").await, ["Armchair"]);
        assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    }
}

/// Two records that could take the place of one that is gone: nobody guesses.
#[tokio::test]
async fn a_link_takes_no_key_where_the_match_is_ambiguous() {
    let project = plain(NEITHER);
    project.run(0);
    project.edit("shop", "DELETE FROM goods WHERE sku = 'A'").await;
    project.edit("shop", "INSERT INTO goods (sku, title) VALUES ('A', 'one'), ('A', 'two')").await;
    let run = &project.run(1)["runs"][0];
    assert_eq!((&run["to_target"]["created"], &run["errors"][0]["code"]), (&json!(0), &json!("E0705")));
    assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, ["Lamp"]);
    project.edit("shop", "DELETE FROM goods WHERE title = 'two'").await;
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, ["one"]);
}

/// Issue 2: the decision was forgotten before the delete, and asked for again.
#[tokio::test]
async fn a_decision_for_the_side_that_deleted_is_carried_out() {
    let project = plain(BOTH_WAYS);
    project.run(0);
    project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET title = 'Lamp!' WHERE sku = 'A'").await;
    project.edit("shop", "DELETE FROM goods WHERE sku = 'B'").await;
    project.edit("office", "UPDATE items SET name = 'Armchair' WHERE code = 'B'").await;
    assert_eq!(project.run(1)["runs"][0]["conflicts"], 2);
    let list = project.engine("conflicts list . --format json").ends(0).json();
    for conflict in list["conflicts"].as_array().unwrap() {
        let side = if conflict["source"].is_null() { "source" } else { "target" };
        let shown = project.engine(&format!("conflicts show . {}", conflict["id"].as_str().unwrap())).ends(0).out;
        assert!(!shown.contains("never agreed"), "{shown}");
        // What both sides were when they last agreed, whichever is gone.
        let bases = (conflict["source_base"]["title"].as_str(), conflict["target_base"]["title"].as_str());
        assert!(matches!(bases, (Some("Lamp"), Some("Lamp")) | (Some("Chair"), Some("Chair"))), "{conflict}");
        project.engine(&format!("conflicts resolve . {} --take {side}", conflict["id"].as_str().unwrap())).ends(0);
    }
    let run = &project.run(0)["runs"][0];
    assert_eq!(
        (&run["to_target"]["deleted"], &run["to_source"]["deleted"], &run["owed"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(project.column("shop", "SELECT sku FROM goods").await, ["C"]);
    assert_eq!(project.column("office", "SELECT code FROM items").await, ["C"]);
    let all = project.engine("conflicts list . --all --format json").ends(0).json();
    let states: Vec<_> = all["conflicts"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(states, ["resolved", "resolved"]);
}

/// Issue 2: the link of two records that are gone stopped the whole mapping.
#[tokio::test]
async fn a_record_that_was_deleted_on_both_sides_may_come_back() {
    for cursor in ["", ", cursor: made"] {
        let project = plain(NEITHER);
        let items = PLAIN.replace("DELETES", NEITHER).replace("key: [code]", &format!("key: [code]{cursor}"));
        let items = items.replace("key: [id]", &format!("key: [id]{cursor}"));
        project.write("items.yaml", &items);
        project.write("shop.sql", &PLAIN_SHOP.replace("own TEXT", "own TEXT, made TEXT"));
        project.run(0);
        project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
        project.edit("shop", "DELETE FROM goods WHERE sku = 'A'").await;
        let run = &project.run(0)["runs"][0];
        assert_eq!(run["owed"], 0);
        project.edit("shop", "INSERT INTO goods (sku, title, made) VALUES ('A', 'again', '2099-01-01')").await;
        project.run(0);
        assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, ["again"], "{cursor}");
        let links = project.engine("links list . items --format json").ends(0).json();
        assert_eq!((&links["count"], &links["more"]), (&json!(3), &json!(0)));
        let one = project.engine("links list . items --limit 1 --format json").ends(0).json();
        assert_eq!((one["links"].as_array().unwrap().len(), &one["more"]), (1, &json!(2)));
    }
}

/// Issue 2: it was noticed when the other side was edited next.
#[tokio::test]
async fn what_is_gone_under_ignore_is_severed_at_once() {
    let project = plain(NEITHER);
    project.run(0);
    project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
    project.run(0);
    let links = project.engine("links list . items --format json").ends(0).json();
    let severed = links["links"].as_array().unwrap().iter().filter(|link| link["status"] != "linked").count();
    assert_eq!(severed, 1, "{links}");
    project.edit("shop", "DELETE FROM goods WHERE sku = 'A'").await;
    project.run(0);
    assert_eq!(project.engine("links list . items --format json").ends(0).json()["count"], 2);
}

/// Issue 2: the second row counted as unchanged.
#[tokio::test]
async fn a_key_that_several_records_have_is_told_once() {
    let project = plain(NEITHER);
    project.write("office.sql", "CREATE TABLE items (code TEXT, name TEXT); INSERT INTO items VALUES ('A', 'Lamp'), ('A', 'Chair'), ('B', 'Table');");
    let run = &project.run(1)["runs"][0];
    let counts = &run["to_target"];
    assert_eq!(
        (&counts["read"], &counts["created"], &counts["unchanged"], &counts["parked"]),
        (&json!(3), &json!(1), &json!(0), &json!(1))
    );
    let error = &run["errors"][0];
    assert_eq!(
        (&error["reason"], &error["code"], &error["source_key"]),
        (&json!("ambiguous"), &json!("E0705"), &json!({ "code": "A" }))
    );
    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["owed"], &run["to_target"]["parked"]), (&json!(1), &json!(0)));
    let parked = project.engine("parked list . --format json").ends(0).json();
    assert_eq!(parked["parked"][0]["attempts"], 2, "one attempt for each run");
    project.edit("office", "DELETE FROM items WHERE name = 'Chair'").await;
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await, ["Lamp"]);
    // It becomes so later on.
    project.edit("office", "INSERT INTO items VALUES ('B', 'Desk')").await;
    assert_eq!(project.run(1)["runs"][0]["errors"][0]["reason"], "ambiguous");
    assert_eq!(project.column("shop", "SELECT title FROM goods WHERE sku = 'B'").await, ["Table"]);
}

/// Issue 2: it was taken off the list and parked anew by every run.
#[tokio::test]
async fn a_delete_that_is_refused_is_owed_and_told_once() {
    let project = plain(BOTH_WAYS);
    project.run(0);
    project
        .edit("shop", "CREATE TRIGGER no BEFORE DELETE ON goods BEGIN SELECT RAISE(ABORT, 'not this one'); END")
        .await;
    project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
    let first = project.run(1)["runs"][0]["errors"][0].clone();
    for _ in 0..2 {
        let run = &project.run(0)["runs"][0];
        assert_eq!((&run["owed"], &run["errors"]), (&json!(1), &json!([])));
    }
    let parked = project.engine("parked list . --format json").ends(0).json()["parked"].clone();
    let known = &parked[0];
    assert_eq!((&known["id"], &known["since"], &known["attempts"]), (&first["id"], &first["since"], &json!(3)));
    project.edit("shop", "DROP TRIGGER no").await;
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("shop", "SELECT sku FROM goods ORDER BY sku").await, ["B", "C"]);
}

/// Issue 2: in one direction the link stayed severed, and no later edit flowed.
#[tokio::test]
async fn a_record_that_is_undeleted_takes_its_link_up_again() {
    for (direction, cursor) in [("source_to_target", ""), ("source_to_target", ", cursor: rev"), ("bidirectional", "")]
    {
        let mapping = format!(
            "mapping: items
source: {{ connection: office, object: items, key: [code]{cursor} }}
target: {{ connection: shop, object: goods, key: [id], deleted: {{ field: gone, equals: 1 }} }}
direction: {direction}
match: [sku]
fields:
  - {{ source: code, target: sku }}
  - {{ source: name, target: title }}
"
        );
        let project = Project::new(&[
            ("connections.yaml", CONNECTIONS),
            ("items.yaml", &mapping),
            (
                "office.sql",
                "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, rev INTEGER); INSERT INTO items VALUES ('A', 'Lamp', 1);",
            ),
            (
                "shop.sql",
                "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, gone INTEGER DEFAULT 0);",
            ),
        ]);
        let link = || {
            let links = project.engine("links list . items --format json").ends(0).json();
            assert_eq!(links["count"], 1);
            links["links"][0]["status"].as_str().unwrap().to_owned()
        };
        project.run(0);
        project.edit("shop", "UPDATE goods SET gone = 1").await;
        for (rev, name) in [(2, "Desk lamp"), (3, "Floor lamp")] {
            project.edit("office", &format!("UPDATE items SET name = '{name}', rev = {rev}")).await;
            project.run(0);
            assert_eq!(link(), "severed");
            assert_eq!(project.column("shop", "SELECT title FROM goods").await, ["Lamp"], "gone, and left alone");
        }
        project.edit("shop", "UPDATE goods SET gone = 0").await;
        project.edit("office", "UPDATE items SET name = 'Torch', rev = 4").await;
        project.run(0);
        assert_eq!(link(), "linked");
        assert_eq!(project.column("shop", "SELECT title FROM goods").await, ["Torch"]);
        assert!(project.engine("trace . items A").ends(0).out.contains("resumed"));
    }
}

/// Issue 2: what is ambiguous did not say with which record.
#[tokio::test]
async fn what_is_ambiguous_names_its_rival() {
    let items = PLAIN.replace("match: [sku]", "match: [title]").replace("DELETES", NEITHER);
    let project = Project::new(&[
        ("connections.yaml", CONNECTIONS),
        ("items.yaml", &items),
        (
            "shop.sql",
            "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT, title TEXT); INSERT INTO goods VALUES (7, NULL, 'Sofa');",
        ),
        (
            "office.sql",
            "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT);
             INSERT INTO items VALUES ('A', 'Lamp'), ('B', 'Lamp'), ('C', 'Sofa'), ('D', 'Sofa'), ('E', 'Desk');",
        ),
    ]);
    let messages = || {
        let parked = project.engine("parked list . --format json").ends(0).json();
        let parked = parked["parked"].as_array().unwrap().clone();
        parked.iter().map(|parked| parked["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    project.run(1);
    let told = messages();
    let has = |told: &[String], words: &str| told.iter().any(|told| told.contains(words));
    assert!(
        has(&told, "another source record with the same title (key A) is about to become its counterpart"),
        "{told:?}"
    );
    assert!(has(&told, "2 source records have the same title as the target record with key 7: C; D"), "{told:?}");
    project.edit("office", "INSERT INTO items VALUES ('F', 'Desk')").await;
    project.run(1);
    let told = messages();
    assert!(has(&told, ") is linked to another source record (key E)"), "{told:?}");
}

const BY_CODE: &str = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: goods, key: [sku], where: \"own IS NULL\" }
direction: bidirectional
fields:
  - { source: code, target: sku }
  - { source: name, target: title }
";

/// Issue 2: it was owed twice without a word, and then told as a record that
/// never holds still.
#[tokio::test]
async fn a_key_that_a_hidden_record_has_is_told_as_taken() {
    let shop = "CREATE TABLE goods (sku TEXT PRIMARY KEY, title TEXT, own TEXT); \
                INSERT INTO goods VALUES ('A', 'theirs', 'mine');";
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", BY_CODE), ("shop.sql", shop)]);
    // As it is planned.
    let plan = project.engine("plan . --format json").ends(1).json()["runs"][0].clone();
    assert_eq!((&plan["to_target"]["created"], &plan["to_target"]["parked"]), (&json!(2), &json!(1)), "{plan}");
    let run = &project.run(1)["runs"][0];
    assert_eq!((&run["to_target"]["created"], &run["to_target"]["parked"]), (&json!(2), &json!(1)));
    let error = &run["errors"][0];
    assert_eq!((&error["code"], &error["source_key"]["code"]), (&json!("E0707"), &json!("A")));
    assert!(error["message"].as_str().unwrap().ends_with("and `where`, `when` or `start` hides it"), "{error}");
    assert_eq!(project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await, ["theirs"]);
    // As long as it stands nothing of the kind is planned; what the database refused may go through.
    project.edit("shop", "CREATE TRIGGER picky BEFORE INSERT ON goods BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    project.edit("office", "INSERT INTO items (code, name) VALUES ('D', 'Desk')").await;
    project.run(1);
    let plan = project.engine("plan . --format json").ends(0).json();
    let changes = plan["runs"][0]["changes"].as_array().unwrap();
    let planned: Vec<_> =
        changes.iter().map(|one| [&one["action"], &one["source_key"]["code"], &one["parked"]]).collect();
    assert_eq!(planned, [[&json!("create"), &json!("D"), &json!("E0708")]]);
    assert!(project.engine("plan .").ends(0).out.contains("(parked before: E0708)"));
    project.edit("shop", "DROP TRIGGER picky").await;
    // No more hidden, it is the counterpart.
    project.edit("shop", "UPDATE goods SET own = NULL").await;
    assert_eq!(project.run(1)["runs"][0]["conflicts"], 1);
}

/// Issue 2: a record that was made anew for an edit of the other side wiped the
/// fields there that come from it alone.
#[tokio::test]
async fn what_is_made_anew_wipes_nothing() {
    let shop = "CREATE TABLE goods (id INTEGER PRIMARY KEY AUTOINCREMENT, sku TEXT, title TEXT, own TEXT, price TEXT);";
    let fields = "  - { source: price, target: price, direction: source_to_target }\n";
    let items = PLAIN.replace("DELETES", BOTH_WAYS) + fields;
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items), ("shop.sql", shop)]);
    project.run(0);
    let price = "SELECT price FROM goods WHERE sku = 'A'";
    let before = project.column("shop", price).await;
    project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET title = 'Lamp!' WHERE sku = 'A'").await;
    project.run(1);
    project.engine("conflicts resolve . --mapping items --take target").ends(0);
    assert_eq!(project.run(0)["runs"][0]["to_source"]["created"], 1);
    project.run(0);
    assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, ["Lamp!"]);
    assert_eq!(project.column("shop", price).await, before);
    // The next value there goes over.
    project.edit("office", "UPDATE items SET price = 7 WHERE code = 'A'").await;
    project.run(0);
    assert_eq!(project.column("shop", price).await, ["7"]);
}

/// Issue 2: an edit was counted as unchanged where the other record had left
/// `where`.
#[tokio::test]
async fn an_edit_of_what_is_hidden_elsewhere_is_skipped_until_it_is_back() {
    let shop = "CREATE TABLE goods (sku TEXT PRIMARY KEY, title TEXT, own TEXT);";
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", BY_CODE), ("shop.sql", shop)]);
    project.run(0);
    project.edit("shop", "UPDATE goods SET own = 'mine' WHERE sku = 'A'").await;
    project.edit("office", "UPDATE items SET name = 'edited' WHERE code = 'A'").await;
    let counts = |run: &Json| run["runs"][0]["to_target"].clone();
    let skipped = counts(&project.run(0));
    assert_eq!((&skipped["skipped"], &skipped["unchanged"], &skipped["updated"]), (&json!(1), &json!(2), &json!(0)));
    let links = project.engine("links list . items").ends(0).out;
    assert!(links.lines().any(|line| line.starts_with('A') && line.contains("outside")), "{links}");
    project.edit("shop", "UPDATE goods SET own = NULL").await;
    assert_eq!(counts(&project.run(0))["updated"], 1);
    assert_eq!(project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await, ["edited"]);
}

/// Issue 2: a blank key was told as one that a filter hides.
#[tokio::test]
async fn a_blank_key_that_is_taken_is_told() {
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT); INSERT INTO items VALUES ('', 'ours');";
    let shop = "CREATE TABLE goods (sku TEXT PRIMARY KEY, title TEXT); INSERT INTO goods VALUES ('', 'theirs');";
    let mapping = BY_CODE.replace(", where: \"own IS NULL\"", "");
    let files =
        [("connections.yaml", CONNECTIONS), ("items.yaml", &mapping), ("office.sql", office), ("shop.sql", shop)];
    let project = Project::new(&files);
    let errors = project.run(1)["runs"][0]["errors"].clone();
    let told: Vec<&str> = errors.as_array().unwrap().iter().map(|error| error["message"].as_str().unwrap()).collect();
    let said = ["target", "source"]
        .map(|side| format!("a {side} record with this key is there already, and a blank key matches nothing"));
    assert_eq!(told, said);
}

const MARKED: &str = "mapping: items
source: { connection: office, object: items, key: [id], deleted: { field: gone, equals: x } }
target: { connection: shop, object: items, key: [id], deleted: { field: gone, equals: x } }
direction: bidirectional
match: [code]
fields: [{ copy: [code, name] }]
deletes: { to_target: { set: { gone: x } }, to_source: { set: { gone: x } } }
";

const MARKED_OFFICE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, code TEXT, name TEXT, gone TEXT DEFAULT '');
INSERT INTO items (id, code, name) VALUES (1, 'A', 'Lamp'), (2, 'B', 'Chair');";

const MARKED_SHOP: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, code TEXT, name TEXT, gone TEXT DEFAULT '');";

/// Issue 2: once both records were marked their link was forgotten, and a mark
/// that was taken off made a second record beside the one still marked.
#[tokio::test]
async fn a_mark_that_is_taken_off_doubles_nothing() {
    for (runs, back) in [(1, "office"), (1, "shop"), (3, "office"), (3, "shop")] {
        let files = [
            ("connections.yaml", CONNECTIONS),
            ("items.yaml", MARKED),
            ("office.sql", MARKED_OFFICE),
            ("shop.sql", MARKED_SHOP),
        ];
        let project = Project::new(&files);
        project.run(0);
        project.edit("office", "UPDATE items SET gone = 'x' WHERE code = 'A'").await;
        for _ in 0..runs {
            project.run(0);
        }
        project.edit(back, "UPDATE items SET gone = '', name = 'back' WHERE code = 'A'").await;
        for _ in 0..2 {
            project.run(0);
        }
        for side in ["office", "shop"] {
            assert_eq!(project.column(side, "SELECT code FROM items ORDER BY 1").await, ["A", "B"], "{runs} {back}");
        }
        // Severed, and on the list; with the other mark gone it goes on.
        let links = project.engine("links list . items --format json").ends(0).json().to_string();
        assert!(links.contains("severed"), "{links}");
        let other = if back == "office" { "shop" } else { "office" };
        project.edit(other, "UPDATE items SET gone = '' WHERE code = 'A'").await;
        project.run(0);
        assert_eq!(project.column(other, "SELECT name FROM items WHERE code = 'A'").await, ["back"], "{runs} {back}");
    }
}

/// Issue 2: a field that is written on creation only, and so has no base in a
/// record that was adopted, made an edit of every deletion.
#[tokio::test]
async fn what_is_written_once_is_no_edit() {
    let mapping = PLAIN.replace("DELETES", BOTH_WAYS) + "  - { target: own, value: erp, write: create }\n";
    let shop = format!("{PLAIN_SHOP} INSERT INTO goods VALUES (7, 'A', 'Lamp', NULL);");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &mapping), ("shop.sql", &shop)]);
    project.run(0);
    project.edit("shop", "DELETE FROM goods WHERE sku = 'A'").await;
    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["conflicts"], &run["to_source"]["deleted"]), (&json!(0), &json!(1)), "{run}");
}

/// Issue 2: a record that was entered anew after its deletion had gone over as a
/// mark waited for the mark to be taken off, without a word.
#[tokio::test]
async fn what_is_entered_anew_after_its_deletion_goes_over_anew() {
    let mapping = MARKED.replace("key: [id], deleted: { field: gone, equals: x } }\ntarget", "key: [code] }\ntarget");
    let mapping = mapping.replace("to_source: { set: { gone: x } }", "to_source: propagate");
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT);
INSERT INTO items VALUES ('A', 'Lamp'), ('B', 'Chair');";
    let shop = "CREATE TABLE items (id INTEGER PRIMARY KEY, code TEXT, name TEXT, gone TEXT DEFAULT '');";
    let files =
        [("connections.yaml", CONNECTIONS), ("items.yaml", &mapping), ("office.sql", office), ("shop.sql", shop)];
    let project = Project::new(&files);
    project.run(0);
    project.edit("office", "DELETE FROM items WHERE code = 'A'").await;
    project.run(0);
    project.edit("office", "INSERT INTO items VALUES ('A', 'Desk lamp')").await;
    assert_eq!(project.run(0)["runs"][0]["to_target"]["created"], 1);
    let shown = "SELECT name || ':' || coalesce(gone, '') FROM items WHERE code = 'A' ORDER BY id";
    assert_eq!(project.column("shop", shown).await, ["Lamp:x", "Desk lamp:"]);
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("shop", shown).await.len(), 2);
}

/// Issue 2: of a marked row that has the key it was said that it does not match.
#[tokio::test]
async fn a_key_that_a_marked_record_has_is_told_as_marked() {
    let mapping = MARKED.replace("key: [id]", "key: [code]").replace("match: [code]", "match: [name]");
    let shop = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, gone TEXT DEFAULT '');
INSERT INTO items VALUES ('A', 'Lamp', 'x');";
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, gone TEXT DEFAULT '');
INSERT INTO items VALUES ('A', 'Lamp', '');";
    let files =
        [("connections.yaml", CONNECTIONS), ("items.yaml", &mapping), ("office.sql", office), ("shop.sql", shop)];
    let project = Project::new(&files);
    let error = project.run(1)["runs"][0]["errors"][0].clone();
    assert_eq!(error["code"], "E0707", "{error}");
    assert!(error["message"].as_str().unwrap().ends_with("and is marked as deleted"), "{error}");
}

const NUMBERED: &str = "mapping: items
source: { connection: office, object: items }
target: { connection: shop, object: goods }
direction: bidirectional
match: [code]
deletes: { to_source: ignore }
limits: { delete: 100% }
fields:
  - { source: id, target: code }
  - copy: [name]
";

fn numbered() -> Project {
    let items = "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c');";
    Project::new(&[
        ("connections.yaml", CONNECTIONS),
        ("items.yaml", NUMBERED),
        ("office.sql", &format!("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); {items}")),
        ("shop.sql", "CREATE TABLE goods (id INTEGER PRIMARY KEY, code INTEGER UNIQUE, name TEXT);"),
    ])
}

/// Issue 2: SQLite gives the newest row's number again once that row is gone,
/// and no new record could be created any more beside a link that was severed.
#[tokio::test]
async fn a_number_that_is_given_again_holds_up_nobody() {
    let project = numbered();
    project.run(0);
    project.edit("shop", "DELETE FROM goods WHERE code = 3").await;
    project.run(0);
    project.edit("office", "INSERT INTO items VALUES (4, 'd'), (5, 'e')").await;
    project.run(0);
    let goods = project.column("shop", "SELECT id || ' ' || code || ' ' || name FROM goods ORDER BY id").await;
    assert_eq!(goods, ["1 1 a", "2 2 b", "4 4 d", "5 5 e"], "the number of the deleted one is left out");
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
}

/// Issue 2: somebody's new record that was given the number of a deleted one
/// was taken for that, and went over what the deletion had left.
#[tokio::test]
async fn a_new_record_under_an_old_number_is_not_the_old_one() {
    let project = numbered();
    project.run(0);
    project.edit("shop", "DELETE FROM goods WHERE code = 3").await;
    project.run(0);
    project.edit("shop", "INSERT INTO goods (code, name) VALUES (99, 'new')").await;
    let report = project.run(1);
    assert_eq!(report["runs"][0]["errors"][0]["code"], "E0705", "{report}");
    assert_eq!(project.column("office", "SELECT name FROM items ORDER BY id").await, ["a", "b", "c"]);
    project.run(0);
    // It is the one that was gone after all.
    project.edit("shop", "UPDATE goods SET code = 3 WHERE code = 99").await;
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    assert_eq!(project.column("office", "SELECT name FROM items ORDER BY id").await, ["a", "b", "new"]);
}
