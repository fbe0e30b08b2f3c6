//! Fields that go one way, or one way only for now, beside edits on both sides.

use serde_json::{Value as Json, json};

use super::project::Project;
use crate::support::postgres::Database;

const CONNECTIONS: &str = "connections:
  a: { connector: sqlite, url: 'sqlite://data/a.db', create_from: a.sql }
  b: { connector: sqlite, url: 'sqlite://data/b.db', create_from: b.sql }
";

/// A table of both sides, whose rows are stamped as they are written.
fn table(checks: &str) -> String {
    let stamp = "UPDATE t SET u = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = NEW.id";
    format!(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w TEXT, c INTEGER {checks}, u DATETIME);
CREATE TRIGGER i AFTER INSERT ON t BEGIN {stamp}; END;
CREATE TRIGGER c AFTER UPDATE OF v, w, c ON t BEGIN {stamp}; END;
INSERT INTO t (id, v, w, c) VALUES (1, 'v', 'w', 1);"
    )
}

/// A mapping of both; `rest` is what stands behind its sides.
fn project(checks: &str, cursor: &str, rest: &str) -> Project {
    let mapping = format!(
        "mapping: t
source: {{ connection: a, object: t, key: [id]{cursor} }}
target: {{ connection: b, object: t, key: [id]{cursor} }}
direction: bidirectional
{rest}"
    );
    let (a, b) = (table(checks), table(""));
    Project::new(&[("connections.yaml", CONNECTIONS), ("t.yaml", &mapping), ("a.sql", &a), ("b.sql", &b)])
}

async fn both(project: &Project, column: &str) -> (Vec<String>, Vec<String>) {
    let sql = format!("SELECT coalesce({column}, '-') FROM t ORDER BY id");
    (project.column("a", &sql).await, project.column("b", &sql).await)
}

fn written(run: &Json) -> [u64; 2] {
    ["to_target", "to_source"].map(|side| run["runs"][0][side]["updated"].as_u64().unwrap())
}

/// Issue 2: after another field of the record was written, the edit that is
/// older won: what was written was taken for the newest edit there.
#[tokio::test]
async fn the_newest_edit_stays_the_newest_beside_a_write() {
    let fields = "fields: [{ copy: [id, w, c] }, { source: v, target: v, conflict: newest }]\n";
    let project = project("CHECK (c < 100)", ", cursor: u", fields);
    project.run(0);
    project.edit("a", "UPDATE t SET v = 'older', w = 'x'").await;
    std::thread::sleep(std::time::Duration::from_millis(1200));
    project.edit("b", "UPDATE t SET v = 'newer', c = 500").await;
    project.run(1);
    project.run(0);
    assert_eq!(both(&project, "v").await.1, ["newer"], "what the source refuses is owed, and not overwritten");
    project.edit("b", "UPDATE t SET c = 5").await;
    project.run(0);
    assert_eq!(both(&project, "v").await, (vec!["newer".into()], vec!["newer".into()]));
}

/// Issue 2: a field of two directions that may be updated in one of them only was
/// overwritten there without a word.
#[tokio::test]
async fn what_may_not_be_updated_is_in_conflict_all_the_same() {
    let rest = "allow: { to_target: [create], to_source: [create, update] }\nfields: [{ copy: [id, v, w] }]\n";
    let project = project("", "", rest);
    project.run(0);
    project.edit("a", "UPDATE t SET v = 'A', w = 'kept'").await;
    assert_eq!(written(&project.run(0)), [0, 0]);
    project.edit("b", "UPDATE t SET v = 'B'").await;
    let run = project.run(1);
    assert_eq!((&run["runs"][0]["conflicts"], written(&run)), (&json!(1), [0, 0]), "{run}");
    assert_eq!(both(&project, "v").await, (vec!["A".into()], vec!["B".into()]));
    project.engine("conflicts resolve . --mapping t --take target").ends(0);
    assert_eq!(written(&project.run(0)), [0, 1]);
    assert_eq!(both(&project, "v").await, (vec!["B".into()], vec!["B".into()]));
    assert_eq!(both(&project, "w").await, (vec!["kept".into()], vec!["w".into()]));
    // The side that may not be updated stays as it is where the other's value stands.
    project.edit("a", "UPDATE t SET v = 'A2'").await;
    project.edit("b", "UPDATE t SET v = 'B2'").await;
    project.run(1);
    project.engine("conflicts resolve . --mapping t --take source").ends(0);
    assert_eq!(written(&project.run(0)), [0, 0]);
    assert_eq!(both(&project, "v").await, (vec!["A2".into()], vec!["B2".into()]));
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
}

/// Issue 2: what a person entered with a new record on the side that a field
/// only fills was wiped, kept the record from being deleted, or hid the source's
/// next edit.
#[tokio::test]
async fn what_is_entered_in_a_field_of_one_way_is_the_base_of_its_record() {
    for drift in ["keep", "restore"] {
        let rest = format!(
            "fields: [{{ copy: [id, v] }}, {{ source: w, target: w, direction: source_to_target, drift: {drift} }}]
deletes: {{ to_target: propagate, to_source: propagate }}
"
        );
        let project = project("", "", &rest);
        project.run(0);
        project
            .edit("b", "INSERT INTO t (id, v, w) VALUES (2, 'two', 'theirs'), (3, 'three', NULL), (4, 'four', 'own')")
            .await;
        assert_eq!(project.run(0)["runs"][0]["to_source"]["created"], 3);
        // Whether a run comes between or not.
        project.edit("a", "UPDATE t SET w = 'edited' WHERE id = 4").await;
        assert!(project.engine("plan .").ends(0).out.contains("1 change"), "{drift}");
        assert_eq!(written(&project.run(0)), [1, 0], "{drift}");
        assert_eq!(both(&project, "w").await.1, ["w", "theirs", "-", "edited"]);
        for _ in 0..2 {
            assert!(project.engine("run . --once --full").ends(0).out.contains("nothing to do"), "{drift}");
        }
        project.edit("a", "DELETE FROM t WHERE id IN (2, 3)").await;
        let run = &project.run(0)["runs"][0];
        assert_eq!((&run["to_target"]["deleted"], &run["conflicts"]), (&json!(2), &json!(0)), "{drift}");
        // Other rules have nothing to say of what people entered.
        project.edit("b", "INSERT INTO t (id, v, w) VALUES (5, 'five', 'theirs')").await;
        project.run(0);
        let mapping = std::fs::read_to_string(project.path("t.yaml")).unwrap();
        project.write("t.yaml", &mapping.replace("target: w,", "target: w, rules: [trim],"));
        project.run(0);
        assert_eq!(both(&project, "w").await.1, ["w", "edited", "theirs"], "{drift}");
    }
}

/// Issue 2: where the other side's new record showed something of a field that
/// only fills this one (a constant, or what another entry had filled), what people
/// had entered was written over without an edit; with PostgreSQL, or with SQLite alone.
#[tokio::test]
async fn what_is_entered_stays_whatever_the_other_side_shows() {
    const LAYOUT: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, c TEXT, d TEXT)";
    let fields = "  - copy: [id, a]
  - { source: a, target: b, direction: source_to_target, rules: [upper_case] }
  - { target: c, value: fix }
  - { source: d, value: fix }
";
    let database = Database::fresh().await;
    database.run(LAYOUT).await;
    for system in ["sqlite", "postgres"] {
        let ours = "{ connector: sqlite, url: 'sqlite://data/a.db', create_from: a.sql }";
        let theirs = format!("{{ connector: postgres, url: '{}' }}", database.url);
        let connections = if system == "sqlite" { CONNECTIONS.to_owned() } else { CONNECTIONS.replace(ours, &theirs) };
        let sides = "source: { connection: a, object: t, key: [id] }\ntarget: { connection: b, object: t, key: [id] }";
        let mapping = format!("mapping: t\n{sides}\ndirection: bidirectional\nfields:\n{fields}");
        let rows = "INSERT INTO t VALUES (8, 'y', NULL, NULL, NULL), (9, 'y', 'theirs', 'theirs', NULL)";
        let project = Project::new(&[
            ("connections.yaml", &connections),
            ("t.yaml", &mapping),
            ("a.sql", LAYOUT),
            ("b.sql", &format!("{LAYOUT};{rows}")),
        ]);
        let counts = |answer: &Json| {
            let run = &answer["runs"][0];
            [&run["to_target"], &run["to_source"]].map(|way| [way["created"].clone(), way["updated"].clone()])
        };
        for round in 0..4 {
            let plan = project.engine("plan . --format json").ends(0).json();
            let run = project.run(0);
            assert_eq!(counts(&plan), counts(&run), "{system}, round {round}");
            assert!(round < 2 || counts(&run) == [[0, 0], [0, 0]].map(|way| way.map(|count| json!(count))));
        }
        let found = project.column("b", "SELECT b || ' ' || c FROM t ORDER BY id").await;
        assert_eq!(found, ["Y fix", "theirs theirs"], "{system}: what was left empty is filled");
    }
}

/// Issue 2: `conflicts.default` decided where records met for the first time, but
/// for the fields of one way.
#[tokio::test]
async fn first_meetings_of_one_way_fields_follow_the_default() {
    for (conflicts, conflict, expected) in [
        ("", 0, "w"),
        ("conflicts: { default: manual }\n", 1, "theirs"),
        ("conflicts: { default: target }\n", 0, "theirs"),
        ("conflicts: { default: source }\n", 0, "w"),
        ("conflicts: { default: target, first: source }\n", 0, "w"),
    ] {
        let rest = format!(
            "{conflicts}fields: [{{ copy: [id, v] }}, {{ source: w, target: w, direction: source_to_target }}]\n"
        );
        let project = project("", "", &rest);
        project.engine("check .").ends(0);
        project.write("b.sql", &table("").replace("'w'", "'theirs'"));
        let run = project.run(i32::from(conflict > 0));
        assert_eq!(run["runs"][0]["conflicts"], conflict, "{conflicts}");
        assert_eq!(both(&project, "w").await.1, [expected], "{conflicts}");
    }
}

/// Issue 2: two edits changed places in every run, and all was well.
#[test]
fn what_comes_back_by_another_entry_is_refused() {
    let one = |from: &str, to: &str, direction: &str| {
        format!("  - {{ source: {from}, target: {to}, direction: {direction} }}\n")
    };
    let (forth, back) = ("source_to_target", "target_to_source");
    for (fields, lines) in [
        (one("v", "v", forth) + &one("v", "v", back), vec![8]),
        (one("v", "w", forth) + &one("w", "w", back) + &one("w", "v", forth) + &one("v", "v", back), vec![10]),
        (one("v", "w", forth) + &one("w", "v", back), vec![]),
    ] {
        let project = project("", "", &format!("fields:\n  - {{ source: id, target: id }}\n{fields}"));
        let found = project.engine("validate . --format json").ends(if lines.is_empty() { 0 } else { 2 }).json();
        let told: Vec<u64> =
            found["diagnostics"].as_array().unwrap().iter().map(|told| told["line"].as_u64().unwrap()).collect();
        assert_eq!(told, lines, "{found}");
    }
    // Two names of one column show where the database is asked.
    let fields = "fields: [{ copy: [id] }, { source: v, target: v }, { source: w, target: V }]\n";
    let project = project("", "", fields);
    project.engine("validate .").ends(0);
    let told = project.engine("validate . --online").ends(2).out;
    assert!(told.contains("E0301") && told.contains("a second entry writes the target's field `v`"), "{told}");
}

/// Issue 2: a decision about a field that is not mapped any more waited for ever.
#[tokio::test]
async fn a_field_that_is_not_mapped_any_more_is_in_no_conflict() {
    let fields = "fields: [{ copy: [id, v, w] }]\n";
    let project = project("", "", fields);
    project.run(0);
    project.edit("a", "UPDATE t SET v = 'A', w = 'A'").await;
    project.edit("b", "UPDATE t SET v = 'B', w = 'B'").await;
    assert_eq!(project.run(1)["runs"][0]["owed"], 2);
    let mapping = std::fs::read_to_string(project.path("t.yaml")).unwrap();
    project.write("t.yaml", &mapping.replace("[id, v, w]", "[id, w]"));
    assert_eq!(project.run(0)["runs"][0]["owed"], 1);
    let listed = project.engine("conflicts list . --format json").ends(0).json();
    assert_eq!((listed["conflicts"].as_array().unwrap().len(), &listed["conflicts"][0]["field"]), (1, &json!("w")));
    let links = project.engine("links export . t --format json").ends(0).json();
    assert_eq!((&links["count"], &links["links"][0]["source_key"]), (&json!(1), &json!({ "id": 1 })));
    assert!(project.engine("explain . t").ends(0).out.contains("missing from the full listing"));
}
