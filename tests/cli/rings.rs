//! Mappings that meet: rings that come to rest, values that come back, and two
//! mappings of one target.

use serde_json::{Value as Json, json};

use super::project::Project;

const CONNECTIONS: &str = "connections:
  a: { connector: sqlite, url: 'sqlite://data/a.db', create_from: a.sql }
  b: { connector: sqlite, url: 'sqlite://data/b.db', create_from: b.sql }
  c: { connector: sqlite, url: 'sqlite://data/c.db', create_from: c.sql }
";

/// `items` of one database to `items` of another.
fn mapping(from: &str, to: &str, more: &str, fields: &str) -> String {
    format!(
        "mapping: {from}_to_{to}
source: {{ connection: {from}, object: items, key: [code] }}
target: {{ connection: {to}, object: items, key: [code] }}
{more}fields:
  - copy: [code]
{fields}"
    )
}

fn project(mappings: &[String]) -> Project {
    let table = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, stock INTEGER);\n";
    let with = |row: &str| format!("{table}INSERT INTO items VALUES {row};\n");
    let (a, c) = (with("('1', 'Lamp', 5)"), with("('1', 'Lampe', 7), ('2', 'Stuhl', 8)"));
    let mut files = vec![("connections.yaml", CONNECTIONS), ("a.sql", &a), ("b.sql", table), ("c.sql", &c)];
    let names: Vec<String> = (0..mappings.len()).map(|number| format!("m{number}.yaml")).collect();
    files.extend(names.iter().map(String::as_str).zip(mappings.iter().map(String::as_str)));
    Project::new(&files)
}

async fn names(project: &Project) -> Vec<String> {
    let mut all = Vec::new();
    for database in ["a", "b"] {
        all.extend(project.column(database, "SELECT name FROM items ORDER BY rowid").await);
    }
    all
}

fn run_of<'a>(report: &'a Json, mapping: &str) -> &'a Json {
    report["runs"].as_array().unwrap().iter().find(|run| run["mapping"] == mapping).unwrap()
}

fn assert_at_rest(report: &Json) {
    for run in report["runs"].as_array().unwrap() {
        for side in ["to_target", "to_source"] {
            for what in ["created", "updated", "deleted", "failed", "parked"] {
                assert_eq!(run[side][what], 0, "{} {side} {what}", run["mapping"]);
            }
        }
    }
}

/// Runs until nothing new is parked.
fn settle(project: &Project) {
    for _ in 0..2 {
        project.engine("run . --once");
    }
}

#[tokio::test]
async fn a_value_that_comes_back_changed_is_parked() {
    let there = mapping("a", "b", "", "  - { source: name, target: name, rules: [{ prefix: 'x-' }] }\n");
    let project = project(&[there, mapping("b", "a", "", "  - copy: [name]\n")]);
    settle(&project);
    assert_eq!(names(&project).await, ["Lamp", "x-Lamp"], "one round, and no more");
    let list = project.engine("parked list . --format json").ends(0).json();
    let parked = &list["parked"][0];
    assert_eq!(list["parked"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&parked["mapping"], &parked["reason"], &parked["code"], &parked["field"], &parked["side"]),
        (&json!("b_to_a"), &json!("loop"), &json!("E0706"), &json!("name"), &json!("target"))
    );
    assert_at_rest(&project.run(0));

    // People's edits travel on from either side, and are not played on either.
    project.edit("a", "UPDATE items SET name = 'Desk'").await;
    settle(&project);
    assert_eq!(names(&project).await, ["Desk", "x-Desk"]);
    project.edit("b", "UPDATE items SET name = 'Sofa'").await;
    settle(&project);
    assert_eq!(names(&project).await, ["Sofa", "Sofa"]);
    let list = project.engine("parked list . --format json").ends(0).json();
    assert_eq!(list["parked"].as_array().unwrap().len(), 1);
    assert_eq!((&list["parked"][0]["mapping"], &list["parked"][0]["reason"]), (&json!("a_to_b"), &json!("loop")));
    assert_at_rest(&project.run(0));
    assert_eq!(names(&project).await, ["Sofa", "Sofa"]);
}

#[tokio::test]
async fn a_record_does_not_come_back_as_another() {
    let fields = "  - { source: name, target: name, rules: [{ prefix: 'x-' }] }\n";
    let [there, back] = [("a", "b"), ("b", "a")].map(|(from, to)| {
        mapping(from, to, "match: [name]\n", fields)
            .replace("key: [code]", "key: [id]")
            .replace("  - copy: [code]\n", "")
    });
    let table = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT);\n";
    let lamp = format!("{table}INSERT INTO items (name) VALUES ('Lamp');\n");
    let project = Project::new(&[
        ("connections.yaml", CONNECTIONS),
        ("a.sql", &lamp),
        ("b.sql", table),
        ("c.sql", table),
        ("there.yaml", &there),
        ("back.yaml", &back),
    ]);
    settle(&project);
    settle(&project);
    assert_eq!(names(&project).await, ["Lamp", "x-Lamp"], "the record of `b` is no new one for `a`");
    let list = project.engine("parked list . --format json").ends(0).json();
    assert_eq!((&list["parked"][0]["mapping"], &list["parked"][0]["reason"]), (&json!("b_to_a"), &json!("loop")));
    project.edit("b", "INSERT INTO items (name) VALUES ('Chair')").await;
    settle(&project);
    assert_eq!(names(&project).await, ["Lamp", "x-Chair", "x-Lamp", "Chair"], "people's own record goes its way, once");
}

#[tokio::test]
async fn a_ring_of_three_comes_to_rest_and_carries_an_edit_round() {
    let steps = [("a", "b"), ("b", "c"), ("c", "a")];
    let project = project(&steps.map(|(from, to)| mapping(from, to, "", "  - copy: [name, stock]\n")));
    project.engine("validate .").ends(0);
    project.write("c.sql", "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, stock INTEGER);\n");
    project.run(0);
    for database in ["c", "a", "b"] {
        let name = format!("edited in {database}");
        project.edit(database, &format!("UPDATE items SET name = '{name}', stock = stock + 1")).await;
        for _ in 0..3 {
            project.run(0);
        }
        for everywhere in ["a", "b", "c"] {
            assert_eq!(
                project.column(everywhere, "SELECT name FROM items").await,
                std::slice::from_ref(&name),
                "{everywhere}"
            );
        }
        assert_at_rest(&project.run(0));
    }
    assert_eq!(project.column("c", "SELECT CAST(stock AS TEXT) FROM items").await, ["8"]);
    assert_eq!(project.engine("parked list . --format json").ends(0).json()["parked"], json!([]));
}

#[tokio::test]
async fn a_target_record_belongs_to_the_mapping_that_linked_it() {
    let fields = "  - copy: [name, stock]\n";
    let project = project(&[mapping("a", "b", "", fields), mapping("c", "b", "", fields)]);
    let report = project.run(1);
    assert_eq!(run_of(&report, "a_to_b")["to_target"]["created"], 1);
    let second = run_of(&report, "c_to_b");
    assert_eq!((&second["to_target"]["created"], &second["to_target"]["parked"]), (&json!(1), &json!(1)));
    let error = &second["errors"][0];
    assert_eq!((&error["reason"], &error["code"]), (&json!("ambiguous"), &json!("E0705")));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("`a_to_b`") && message.contains("(key 1)"), "{message}");
    assert_eq!(names(&project).await, ["Lamp", "Lamp", "Stuhl"]);
    project.edit("c", "UPDATE items SET name = name || '!'").await;
    project.run(0);
    assert_eq!(names(&project).await, ["Lamp", "Lamp", "Stuhl!"], "each writes what it owns");
    // Once the first has let go of it, the record is the second's.
    project.engine("reset . a_to_b --links --yes").ends(0);
    std::fs::remove_file(project.path("m0.yaml")).unwrap();
    project.run(0);
    assert_eq!(names(&project).await, ["Lamp", "Lampe!", "Stuhl!"]);
    assert_eq!(project.engine("parked list . --format json").ends(0).json()["parked"], json!([]));
}

#[tokio::test]
async fn mappings_of_other_fields_share_a_target() {
    let first = mapping("a", "b", "", "  - copy: [name]\n");
    let project = project(&[first, mapping("c", "b", "allow: { to_target: [update] }\n", "  - copy: [stock]\n")]);
    project.run(0);
    let row = "SELECT code || ' ' || name || ' ' || stock FROM items";
    assert_eq!(project.column("b", row).await, ["1 Lamp 7"]);
    project.edit("c", "UPDATE items SET stock = 9").await;
    project.edit("a", "UPDATE items SET name = 'Desk'").await;
    project.run(0);
    assert_eq!(project.column("b", row).await, ["1 Desk 9"]);
    assert_at_rest(&project.run(0));
}
