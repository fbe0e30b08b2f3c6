//! A mapping that is renamed keeps what the state has of it.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, ITEMS, Project};

/// The mapping as it is called now, and what it was called.
fn called(name: &str, was: &str) -> String {
    ITEMS.replace("mapping: items\n", &format!("mapping: {name}\nwas: {was}\n"))
}

/// Created, updated and unchanged towards the target.
fn counts(run: &Json) -> [u64; 3] {
    ["created", "updated", "unchanged"].map(|count| run["to_target"][count].as_u64().unwrap())
}

#[tokio::test]
async fn links_cursors_and_history_go_with_it() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "UPDATE items SET name = 'Lampe' WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET title = 'Lampada' WHERE sku = 'A'").await;
    project.run(1);
    project.write("items.yaml", &called("articles", "items"));
    // Nothing has run under the new name: the state has the former one, and nobody calls it left behind.
    assert_eq!(project.engine("validate . --format json").ends(0).said(), Vec::<String>::new());
    let state = std::fs::read(project.path(".engine/state.db")).unwrap();
    let plan = project.engine("plan . --format json").ends(0).json();
    let run = &plan["runs"][0];
    assert_eq!((&run["mapping"], counts(run)), (&json!("articles"), [0, 0, 3]), "{plan}");
    assert_eq!(std::fs::read(project.path(".engine/state.db")).unwrap(), state, "a plan changes nothing");
    assert_eq!(project.engine("links list . items --format json").ends(0).json()["count"], 3);
    let status = project.engine("status . --format json").ends(0).json();
    let lines: Vec<_> =
        status["mappings"].as_array().unwrap().iter().map(|line| (&line["mapping"], &line["links"])).collect();
    assert_eq!(lines, [(&json!("articles"), &json!(3))], "{status}");

    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["mapping"], counts(run), &run["owed"]), (&json!("articles"), [0, 0, 3], &json!(1)));
    assert_eq!(project.engine("links list . articles --format json").ends(0).json()["count"], 3);
    let said = project.engine("links list . items").ends(2).err;
    assert!(said.contains("articles"), "{said}");
    assert_eq!(project.engine("runs . --format json").ends(0).json()["runs"].as_array().unwrap().len(), 3);
    let trace = project.engine("trace . articles A").ends(0).out;
    assert!(trace.contains("created"), "{trace}");
    project.engine("conflicts resolve . --mapping articles --take source").ends(0);
    project.run(0);
    assert_eq!(project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await, ["Lampe"]);
    // The line may stay; and a mapping in another folder was in none.
    project.run(0);
    std::fs::remove_file(project.path("items.yaml")).unwrap();
    project.write("sales/items.yaml", &called("items", "/articles"));
    let run = &project.run(0)["runs"][0];
    assert_eq!((&run["mapping"], counts(run)), (&json!("sales/items"), [0, 0, 3]));
    assert_eq!(project.engine("runs . --format json").ends(0).json()["runs"].as_array().unwrap().len(), 6);
}

/// Both have links, and no two links may be of one record.
#[tokio::test]
async fn what_ran_under_both_names_is_refused() {
    let project = Project::items();
    project.run(0);
    project.write("items.yaml", &ITEMS.replace("mapping: items", "mapping: articles"));
    project.run(0);
    project.write("items.yaml", &called("articles", "items"));
    for command in ["run . --once", "plan ."] {
        let answer = project.engine(&format!("{command} --format json")).ends(2).json();
        let error = &answer["runs"][0]["errors"][0];
        assert_eq!((&error["code"], &error["line"]), (&json!("E0110"), &json!(2)), "{answer}");
        assert!(error["message"].as_str().unwrap().contains("`items` has links in the state"));
    }
    // Those that are forgotten leave room for the others.
    project.engine("reset . articles --links --yes").ends(0);
    let run = &project.run(0)["runs"][0];
    assert_eq!(counts(run), [0, 0, 3]);
    assert_eq!(project.engine("links list . articles --format json").ends(0).json()["count"], 3);
}

#[tokio::test]
async fn each_entry_takes_over_from_the_one_of_its_key() {
    let items = ITEMS
        .replace("direction: bidirectional\n", "")
        .replace("mapping: items\n", "mapping: items\nfor_each: { a: { code: A }, b: { code: B } }\n")
        .replace("key: [code] }", "key: [code], where: \"code = '${var.code}'\" }");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items)]);
    project.run(0);
    project.write("items.yaml", &items.replace("mapping: items\n", "mapping: articles\nwas: items\n"));
    let answer = project.run(0);
    let found: Vec<_> = answer["runs"].as_array().unwrap().iter().map(|run| (&run["mapping"], counts(run))).collect();
    assert_eq!(found, [(&json!("articles[a]"), [0, 0, 1]), (&json!("articles[b]"), [0, 0, 1])]);
}

/// A mapping whose rival was renamed, and has not run since, knows its records all the same.
#[tokio::test]
async fn a_rival_is_known_by_its_former_name() {
    let copy = ITEMS
        .replace("mapping: items\n", "mapping: copy\n")
        .replace("direction: bidirectional\n", "")
        .replace("deletes: { to_target: propagate }\n", "");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", ITEMS), ("copy.yaml", &copy)]);
    project.engine("run . items --once --format json").ends(0);
    let before = project.engine("plan . copy --format json");
    project.write("items.yaml", &called("articles", "items"));
    let after = project.engine("plan . copy --format json");
    let told = |ended: &super::project::Ended| {
        let plan = ended.json();
        (ended.code, counts(&plan["runs"][0]), plan["runs"][0]["to_target"]["parked"].clone())
    };
    assert_eq!(told(&after), told(&before));
    assert_ne!(told(&before).2, json!(0), "its records are the other's");
}
