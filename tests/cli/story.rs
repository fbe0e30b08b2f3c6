//! The story of one record, and what a person is told of decisions.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, OFFICE, Project};

fn story(project: &Project, key: &str) -> Json {
    project.engine(&format!("trace . items {key} --format json")).ends(0).json()
}

fn kinds(story: &Json) -> Vec<&str> {
    story["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

/// Issue 2: creates were not told, and revisions were taken for writes.
#[tokio::test]
async fn a_create_is_told_with_its_run_and_writes_are_counted() {
    let project = Project::items();
    let first = project.run(0)["runs"][0]["run"].clone();
    let made = story(&project, "A");
    assert_eq!(kinds(&made), ["created"]);
    let event = &made["events"][0];
    assert_eq!((&event["run"], &event["detail"]["side"]), (&first, &json!("target")));
    assert_eq!((&event["source_key"], &made["link"]["writes"]), (&json!({ "code": "A" }), &json!(1)));
    // Adopted, and never written.
    let met = story(&project, "B");
    assert_eq!((kinds(&met), &met["link"]["writes"]), (vec!["adopted"], &json!(0)));

    project.edit("office", "UPDATE items SET name = 'Desk lamp' WHERE code = 'A'").await;
    project.run(0);
    let text = project.engine("trace . items A").ends(0).out;
    assert!(text.contains("written 2 times"), "{text}");
    let (created, updated) = (text.find("created on the target"), text.find("updated on the target"));
    assert!(created.is_some() && created < updated, "{text}");
    let target = story(&project, "A")["link"]["target_key"]["id"].clone();
    let same = project.engine(&format!("trace . items id={target} --side target --format json")).ends(0).json();
    assert_eq!(same["events"], story(&project, "A")["events"]);
    // Forgotten with its link, and told anew when the pair meets again.
    project.engine("reset . items --links --yes").ends(0);
    project.run(0);
    assert_eq!(kinds(&story(&project, "A")), ["updated", "adopted"]);
}

/// Issue 2: a key of a padded field was found with its blanks only.
#[tokio::test]
async fn a_padded_key_is_found_without_its_blanks() {
    let office = "CREATE TABLE items (company CHAR(4), code CHAR(6), name TEXT, PRIMARY KEY (company, code));
INSERT INTO items VALUES ('01  ', 'A     ', 'Lamp'), ('01  ', 'AB    ', 'Chair'), ('02', 'A     ', 'Table');";
    let items = "mapping: items
source: { connection: office, object: items, key: [company, code] }
target: { connection: shop, object: goods, key: [id] }
match: [sku]
fields: [{ source: code, target: sku, rules: [trim, { prefix: 'x' }] }, { source: name, target: title }]
when: \"name != 'Table'\"
";
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", items), ("office.sql", office)]);
    project.run(0);
    for key in ["01,A", "company=01,code=A", "'\"01  \",\"A     \"'"] {
        let found = story(&project, key);
        assert_eq!(found["link"]["source_key"], json!({ "company": "01  ", "code": "A     " }), "{key}");
        assert_eq!(kinds(&found), ["created"], "{key}");
    }
    assert_eq!(story(&project, "01,AB")["link"]["source_key"]["code"], "AB    ");
    project.engine("trace . items 01,B").ends(2);
}

/// Issue 2: neither the trace nor the log said whose value a person took.
#[tokio::test]
async fn a_decision_says_which_side_was_taken() {
    let project = Project::items();
    project.run(0);
    for (side, office, shop) in [("source", 21, 18), ("target", 22, 17)] {
        project.edit("office", &format!("UPDATE items SET price = {office} WHERE code = 'A'")).await;
        project.edit("shop", &format!("UPDATE goods SET price = {shop} WHERE sku = 'A'")).await;
        project.run(1);
        project.engine(&format!("conflicts resolve . --mapping items --field price --take {side}")).ends(0);
        project.run(0);
        let text = project.engine("trace . items A").ends(0).out;
        assert!(text.contains(&format!("policy manual: the value of the {side} was taken")), "{text}");
    }
    let story = story(&project, "A");
    let resolved = story["events"].as_array().unwrap().iter().filter(|event| event["kind"] == "conflict_resolved");
    let taken: Vec<&Json> = resolved.map(|event| &event["detail"]["taken"]).collect();
    assert_eq!(taken, [&json!("source"), &json!("target")]);
}

/// Issue 2: the log of a plan told of a conflict that nobody has opened.
#[tokio::test]
async fn a_plan_logs_nothing_that_did_not_happen() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "UPDATE items SET price = 21, made = '20240231' WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET price = 18 WHERE sku = 'A'").await;
    let plan = project.engine("plan . -v").ends(1);
    assert!(plan.out.contains("! park"), "{}", plan.out);
    assert_eq!(plan.err, "");
    let run = project.engine("run . --once -v").ends(1);
    assert!(run.err.contains("parked"), "{}", run.err);
}

/// Issue 2: a plan counted the conflicts that a run would open, and did not say
/// which.
#[tokio::test]
async fn a_plan_shows_which_conflicts_a_run_would_open() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "UPDATE items SET price = 21 WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET price = 18 WHERE sku = 'A'").await;
    let text = project.engine("plan .").ends(1).out;
    assert!(text.contains("? conflict A <-> 2 price: source 21, target 18"), "{text}");
    let plan = project.engine("plan . --format json").ends(1).json();
    project.run(1);
    let conflict = &project.engine("conflicts list . --format json").ends(0).json()["conflicts"][0];
    let found = plan["runs"][0]["new_conflicts"].as_array().unwrap();
    assert_eq!(found.len(), 1);
    for (name, value) in found[0].as_object().unwrap() {
        assert_eq!(value, &conflict[name], "{name}");
    }
    // What is open already is none that a run would open.
    let plan = project.engine("plan . --format json").ends(0).json();
    assert_eq!(plan["runs"][0]["new_conflicts"], json!([]));
}

/// A decision about a conflict that ends by itself is not applied, and the
/// record's story says so.
#[tokio::test]
async fn a_decision_that_is_not_needed_is_told() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "UPDATE items SET price = 21 WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET price = 18 WHERE sku = 'A'").await;
    project.run(1);
    project.engine("conflicts resolve . --mapping items --field price --value 5").ends(0);
    // Back to what both had agreed on: the source's edit goes over.
    project.edit("shop", "UPDATE goods SET price = 19.9 WHERE sku = 'A'").await;
    project.run(0);
    assert_eq!(project.column("shop", "SELECT CAST(price AS INTEGER) || '' FROM goods WHERE sku = 'A'").await, ["21"]);
    let told = story(&project, "A");
    let closed = told["events"].as_array().unwrap().iter().find(|event| event["kind"] == "conflict_closed").unwrap();
    assert_eq!(closed["detail"]["dropped"], json!({ "value": 5 }), "{told}");
    let text = project.engine("trace . items A").ends(0).out;
    assert!(text.contains("what was decided about it was not applied"), "{text}");
}

/// Issue 2: a decision that came too late went by without a word.
#[tokio::test]
async fn a_decision_for_other_values_is_not_applied_and_said_so() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "UPDATE items SET price = 21 WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET price = 18 WHERE sku = 'A'").await;
    project.run(1);
    project.engine("conflicts resolve . --mapping items --field price --take source").ends(0);
    project.edit("shop", "UPDATE goods SET price = 17 WHERE sku = 'A'").await;

    let plan = project.engine("plan .").ends(1).out;
    assert!(plan.contains("the decision was not applied"), "{plan}");
    let text = project.engine("run . --once").ends(1).out;
    let says = "price: the decision was not applied, for it was made for other values (target 18 -> 17); \
                the conflict waits again";
    assert!(text.contains(says) && text.contains("items: partial"), "{text}");
    assert!(text.contains("engine conflicts list"), "{text}");
    assert_eq!(project.column("shop", "SELECT CAST(price AS INTEGER) || '' FROM goods WHERE sku = 'A'").await, ["17"]);
    // It is said once; the conflict is as open as before.
    assert_eq!(project.run(0)["runs"][0]["owed"], 1);

    project.engine("conflicts resolve . --mapping items --field price --take source").ends(0);
    project.edit("office", "UPDATE items SET price = 23 WHERE code = 'A'").await;
    let error = &project.run(1)["runs"][0]["errors"][0];
    assert_eq!((&error["reason"], &error["field"]), (&json!("conflict"), &json!("price")));
    assert_eq!(error["source_key"], json!({ "code": "A" }));
    assert!(error["message"].as_str().unwrap().contains("source 21 -> 23"), "{error}");
    let conflict = &project.engine("conflicts list . --format json").ends(0).json()["conflicts"][0];
    assert_eq!((&conflict["source"], &conflict["resolution"]), (&json!(23), &json!(null)));
    assert_eq!(error["id"], format!("c{}", conflict["id"].as_str().unwrap()));
}

/// What a person asks to be forgotten is in no file of the state any more; the
/// record stays linked, and nothing is doubled.
#[tokio::test]
async fn a_persons_values_are_forgotten() {
    let project = Project::items();
    project.write("office.sql", &OFFICE.replace("Lamp", "Zenobia"));
    project.run(0);
    project.edit("office", "UPDATE items SET name = 'Zenobia Prudente' WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET title = 'Zenobia Moraes' WHERE sku = 'A'").await;
    project.run(1);
    let holds = || {
        let files = std::fs::read_dir(project.path(".engine")).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .any(|bytes| bytes.windows(7).any(|part| part == b"Zenobia"))
    };
    assert!(holds(), "there is something to forget");
    let answer = project.engine("state forget . items A --format json").ends(0).json();
    assert_eq!(answer["forgotten"], json!({ "links": 1, "conflicts": 1, "events": 1, "parked": 0 }));
    assert!(!holds(), "no byte of it is left");
    assert_eq!(kinds(&story(&project, "C")), ["created"], "others keep theirs");
    // Both sides still differ: that is told again, and nothing is created anew.
    let run = &project.run(1)["runs"][0];
    assert_eq!((&run["to_target"]["created"], &run["conflicts"]), (&json!(0), &json!(1)), "{run}");
    let told = project.engine("state forget . items Z").ends(2).err;
    assert!(told.contains("never seen"), "{told}");
}
