//! `engine plan --out` and `engine apply`: what was looked at is made, and
//! nothing else.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, ITEMS, Project};

/// Four records that are linked, of which A and B were edited in the office, C
/// in the shop, and D is gone; and E, which is new.
async fn edited() -> Project {
    let project = Project::new(&[
        ("connections.yaml", CONNECTIONS),
        ("items.yaml", ITEMS),
        (
            "office.sql",
            "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), made TEXT);
             INSERT INTO items VALUES ('A', 'a', 1, NULL), ('B', 'b', 2, NULL), ('C', 'c', 3, NULL), ('D', 'd', 4, NULL);",
        ),
        (
            "shop.sql",
            "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE);",
        ),
    ]);
    project.run(0);
    project
        .edit(
            "office",
            "UPDATE items SET price = price + 0.5 WHERE code IN ('A', 'B'); DELETE FROM items WHERE code = 'D';
             INSERT INTO items VALUES ('E', 'e', 5, NULL);",
        )
        .await;
    project.edit("shop", "UPDATE goods SET title = 'ç' WHERE sku = 'C'").await;
    project
}

async fn shop(project: &Project) -> Vec<String> {
    project.column("shop", "SELECT sku || ' ' || title || ' ' || price FROM goods ORDER BY sku").await
}

const BEFORE: [&str; 4] = ["A a 1", "B b 2", "C ç 3", "D d 4"];

fn lines(project: &Project, file: &str) -> Vec<String> {
    std::fs::read_to_string(project.path(file)).unwrap().lines().map(str::to_owned).collect()
}

/// Action and keys of changes.
fn named(changes: &Json) -> Vec<String> {
    let named = |change: &Json| format!("{} {}", change["action"].as_str().unwrap(), change["source_key"]["code"]);
    changes.as_array().unwrap().iter().map(named).collect()
}

#[tokio::test]
async fn a_plan_is_kept_and_applied_as_it_stands() {
    let project = edited().await;
    let plan = project.engine("plan . --out plan.json").ends(0);
    assert!(plan.out.contains("kept in `plan.json`; `engine apply plan.json`"), "{}", plan.out);
    let kept = lines(&project, "plan.json");
    assert_eq!(kept.len(), 1 + 5 + 1, "{kept:?}");
    let change: Json = serde_json::from_str(&kept[1]).unwrap();
    assert_eq!((&change["mapping"], &change["side"]), (&json!("items"), &json!("target")));
    assert_eq!(shop(&project).await, BEFORE);

    let applied = project.engine("apply plan.json --format json").ends(0).json();
    let run = &applied["runs"][0];
    assert_eq!((&applied["status"], &run["refused"], &run["not_made"]), (&json!("success"), &json!(0), &json!([])));
    let counts = |side: &str| ["created", "updated", "deleted"].map(|count| run[side][count].as_u64().unwrap());
    assert_eq!((counts("to_target"), counts("to_source")), ([1, 2, 1], [0, 1, 0]));
    assert_eq!(shop(&project).await, ["A a 1.5", "B b 2.5", "C ç 3", "E e 5"]);
    assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'C'").await, ["ç"]);
    assert!(project.engine("run . --once").ends(0).out.contains("nothing to do"));

    // A second time there is nothing of it left to do.
    let again = project.engine("apply plan.json --format json").ends(1).json();
    assert_eq!((&again["status"], &again["runs"][0]["refused"]), (&json!("partial"), &json!(5)));
    let said = project.engine("apply plan.json").ends(1).out;
    assert!(
        said.contains("5 changes of the plan refused") && said.contains("delete on the target: source D"),
        "{said}"
    );
}

#[tokio::test]
async fn what_has_moved_is_refused_and_what_is_not_in_the_plan_left_alone() {
    let project = edited().await;
    project.engine("plan . --out plan.json").ends(0);
    // One is edited further, one on the other side too, one is back, one is new, one was linked and untouched.
    project
        .edit(
            "office",
            "UPDATE items SET price = 9 WHERE code = 'A'; UPDATE items SET name = 'cc' WHERE code = 'C';
             INSERT INTO items VALUES ('D', 'd', 4, NULL), ('F', 'f', 6, NULL);",
        )
        .await;
    let run = &project.engine("apply plan.json --format json").ends(1).json()["runs"][0];
    let mut refused = named(&run["not_made"]);
    refused.sort();
    assert_eq!(
        (refused, &run["refused"]),
        (vec!["delete \"D\"".into(), "update \"A\"".into(), "update \"C\"".into()], &json!(3))
    );
    assert_eq!((&run["conflicts"], &run["errors"]), (&json!(0), &json!([])), "{run}");
    assert_eq!(shop(&project).await, ["A a 1", "B b 2.5", "C ç 3", "D d 4", "E e 5"]);
    assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'C'").await, ["cc"]);
    // None of it is forgotten.
    let run = &project.run(1)["runs"][0];
    assert_eq!(
        (&run["to_target"]["created"], &run["to_target"]["updated"], &run["conflicts"]),
        (&json!(1), &json!(1), &json!(1))
    );
}

#[tokio::test]
async fn what_was_taken_out_of_a_plan_is_not_made_and_what_was_put_in_is_refused() {
    let project = edited().await;
    project.engine("plan . --out plan.json").ends(0);
    let kept = lines(&project, "plan.json");
    let of = |code: &str| kept.iter().find(|line| line.contains(&format!("\"code\":\"{code}\""))).unwrap();
    let edited = [&kept[0], of("A"), &of("B").replace("2.5", "99"), &kept[6]].map(String::as_str).join("\n");
    project.write("plan.json", &edited);
    let run = &project.engine("apply plan.json --format json").ends(1).json()["runs"][0];
    assert_eq!((named(&run["not_made"]), &run["refused"]), (vec!["update \"B\"".to_owned()], &json!(1)));
    assert_eq!(shop(&project).await, ["A a 1.5", "B b 2", "C ç 3", "D d 4"]);

    // What is no plan, or not all of one, does nothing.
    let files = [
        ("cut.json", kept[..4].join("\n"), "cut.json:1: the plan is cut off"),
        ("cut2.json", kept.join("\n").replace(r#","changes":5}"#, ""), "cut2.json:7: this is no line of a plan"),
        ("other.json", "{}\n".to_owned(), "other.json:1: this is not a plan"),
        ("none.json", String::new(), "none.json:1: the file is empty"),
        ("more.json", kept.join("\n") + "\n" + &kept[1], "more.json:8: something stands behind the end"),
        ("wrong.json", [&*kept[0], "{\"mapping\":\"items\"}", &kept[6]].join("\n"), "wrong.json:2: this is no change"),
    ];
    for (file, text, words) in files {
        project.write(file, &text);
        let said = project.engine(&format!("apply {file}")).ends(2).err;
        assert!(said.contains(words) && said.contains("E0908"), "{file}: {said}");
    }
    let said = project.engine("apply gone.json").ends(2).err;
    assert!(said.contains("`gone.json` cannot be read"), "{said}");
    assert_eq!(shop(&project).await, ["A a 1.5", "B b 2", "C ç 3", "D d 4"]);
}

#[tokio::test]
async fn limits_hold_a_plan_back_as_they_do_a_run() {
    let project = edited().await;
    project
        .edit("office", "DELETE FROM items WHERE code = 'C'; UPDATE items SET price = 1 WHERE code IN ('A', 'B')")
        .await;
    project.edit("shop", "UPDATE goods SET title = 'c' WHERE sku = 'C'").await;
    project.engine("plan . --out held.json").ends(1);
    let run = &project.engine("apply held.json --format json").ends(1).json()["runs"][0];
    assert_eq!((&run["to_target"]["created"], &run["to_target"]["deleted"]), (&json!(1), &json!(0)), "{run}");
    project.engine("plan . --out all.json --over-limit").ends(0);
    let run = &project.engine("apply all.json --format json").ends(0).json()["runs"][0];
    assert_eq!((&run["to_target"]["deleted"], &run["refused"]), (&json!(2), &json!(0)), "{run}");
    assert!(project.engine("run . --once").ends(0).out.contains("nothing to do"));
}

/// The plan says where its project lies, and in which environment it was made.
#[tokio::test]
async fn a_plan_goes_with_its_project_and_its_environment() {
    let project = edited().await;
    project.write("environments/test.yaml", "connections:\n  shop: { url: 'sqlite://data/test.db' }\n");
    project.engine("plan . --out plan.json --env test").ends(0);
    let said = project.engine("apply plan.json --env other").ends(2).err;
    assert!(said.contains("the plan was made for `--env test`"), "{said}");
    let run = &project.engine("apply plan.json --format json").ends(0).json()["runs"][0];
    assert_eq!(run["to_target"]["created"], 4, "{run}");
    assert_eq!(shop(&project).await, BEFORE, "the other environment is left alone");
    assert!(project.engine("run . --once --env test").ends(0).out.contains("nothing to do"));

    project.engine("plan . --out plan.json").ends(0);
    let moved = tempfile::tempdir().unwrap();
    std::fs::rename(project.path("items.yaml"), moved.path().join("items.yaml")).unwrap();
    project.engine("apply plan.json").ends(2);
    std::fs::rename(moved.path().join("items.yaml"), project.path("items.yaml")).unwrap();
    project.engine("apply plan.json --project .").ends(0);
    // Without changes there is nothing to apply.
    project.engine("plan . --out plan.json").ends(0);
    assert!(project.engine("apply plan.json").ends(0).out.contains("the plan has no changes"));
}
