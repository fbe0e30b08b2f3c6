//! One project in several environments, and one mapping for several entries.

use serde_json::Value as Json;

use super::project::{CONNECTIONS, ITEMS, Project};

/// What an environment gives stands in the place of what is written; the rest
/// is as it was, and the state is its own.
#[tokio::test]
async fn an_environment_is_laid_over_the_project() {
    let project = Project::items();
    project.write(
        "connections.yaml",
        &format!("vars: {{ shop: shop }}\n{CONNECTIONS}").replace("data/shop", "data/${var.shop}"),
    );
    project.write(
        "environments/production.yaml",
        "vars: { shop: live }\nconnections:\n  office: { retry: { attempts: 2 }, create_from: }\n",
    );
    project.run(0);
    assert_eq!(project.column("shop", "SELECT CAST(count(*) AS TEXT) FROM goods").await, ["3"]);
    assert!(!project.path("data/live.db").exists());
    // The office is there; nothing would make it here.
    let ended = project.engine("run . --once --env production --format json").ends(0);
    assert_eq!(ended.json()["runs"][0]["to_target"]["created"], 2);
    assert_eq!(project.column("live", "SELECT CAST(count(*) AS TEXT) FROM goods").await, ["3"]);
    for name in [".engine/state.db", ".engine/production/state.db"] {
        assert!(project.path(name).exists(), "{name}");
    }
    let runs = |env: &str| project.engine(&format!("runs . --format json{env}")).ends(0).json();
    let count = |answer: Json| answer["runs"].as_array().unwrap().len();
    assert_eq!((count(runs("")), count(runs(" --env production"))), (1, 1));
    project.edit("office", "UPDATE items SET name = 'Lamp 2' WHERE code = 'A'").await;
    project.engine("run . --once --env production").ends(0);
    let titles = "SELECT title FROM goods WHERE sku = 'A'";
    assert_eq!(project.column("live", titles).await, ["Lamp 2"]);
    assert_eq!(project.column("shop", titles).await, ["Lamp"]);
}

/// Another connector takes the whole place; files and folders of names are
/// those of the environment.
#[tokio::test]
async fn an_environment_may_change_what_a_connection_is() {
    let project = Project::items();
    project.write(
        "environments/files.yaml",
        "connections:\n  shop:\n    connector: files\n    path: ../out\n    objects:\n      goods:\n        \
         file: goods.csv\n        fields: { id: integer, sku: text, title: text, price: decimal, made_on: date }\n",
    );
    project.write(
        "items.yaml",
        &ITEMS
            .replace("direction: bidirectional\n", "")
            .replace("[id]", "[sku]")
            .replace("deletes: { to_target: propagate }\n", ""),
    );
    project.run(0);
    std::fs::create_dir(project.path("out")).unwrap();
    project.engine("run . --once --env files").ends(0);
    let written = std::fs::read_to_string(project.path("out/goods.csv")).unwrap();
    assert!(written.contains("Mesa de jantar"), "{written}");
}

/// Each environment is checked with the project; what is wrong in all of them
/// is told once.
#[test]
fn every_environment_is_validated() {
    let project = Project::items();
    project.write(
        "environments/production.yaml",
        "vars: { nobody: 1 }\nconnections:\n  ofice: { url: 'sqlite://a.db' }\n  shop: { url: 'mysql://a' }\nmappings: {}\n",
    );
    project.write("environments/test/deep.yaml", "connections: {}\n");
    project.write("items.yaml", &ITEMS.replace("direction:", "dirction:"));
    let said = project.engine("validate . --format json").ends(2).said();
    let said: Vec<&str> = said.iter().map(|one| one.rsplit_once('/').map_or(one.as_str(), |(_, rest)| rest)).collect();
    assert_eq!(said.len(), 6, "{said:#?}");
    for told in [
        "production.yaml:1:9 E0103 there is no value `nobody` to lay this over",
        "production.yaml:3:3 E0103 there is no connection `ofice` to lay this over",
        "production.yaml:4:16 E0106 the address does not start with `sqlite:`",
        "production.yaml:5:1 E0103 an environment has no setting `mappings`",
        "items.yaml:4:1 E0103 a mapping has no setting `dirction`",
    ] {
        assert_eq!(said.iter().filter(|one| **one == told).count(), 1, "{told}\n{said:#?}");
    }
    assert!(said.iter().any(|one| one.contains("not below it")), "{said:#?}");
    let ended = project.engine("validate . --env prodction").ends(2);
    assert!(ended.out.contains("did you mean `production`?"), "{}", ended.out);
    let ended = project.engine("runs . --env prodction").ends(2);
    assert!(ended.err.contains("did you mean `production`?"), "{}", ended.err);
    let ended = project.engine("runs . --env ../x").ends(2);
    assert!(ended.err.contains("the name of a file in `environments/`"), "{}", ended.err);
}

const COPIES: &str = "mapping: copies
for_each: { full: { table: goods, from: '2024' }, short: { table: wares, from: '2025' } }
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: '${var.table}', key: [id] }
match: [sku]
fields:
  - { source: code, target: sku }
  - { target: title, value: '${var.table} of ${var.from}' }
";

/// One mapping for each entry, with a name, links and runs of its own.
#[tokio::test]
async fn a_mapping_is_made_for_each_entry() {
    let case =
        "tests: [{ name: titled, source: { code: A }, expect: { sku: A, title: '${var.table} of ${var.from}' } }]\n";
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("copies.yaml", &format!("{COPIES}{case}"))]);
    project.write(
        "shop.sql",
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT, title TEXT);
         CREATE TABLE wares (id INTEGER PRIMARY KEY, sku TEXT, title TEXT);",
    );
    project.write(
        "after.yaml",
        "mapping: last\nsource: { connection: shop, object: wares, key: [id] }\ntarget: { connection: office, object: \
         items, key: [code] }\nschedule: { after: [copies] }\nfields: [{ source: sku, target: code }]\n",
    );
    let answer = project.engine("plan . copies --format json").ends(0).json();
    let names: Vec<&Json> = answer["runs"].as_array().unwrap().iter().map(|one| &one["mapping"]).collect();
    assert_eq!(names, ["copies[full]", "copies[short]"]);
    for (meant, tried) in [("copies", 2), ("copies[short]", 1)] {
        let told = project.engine(&format!("test . {meant} --format json")).ends(0).json();
        assert_eq!(told["tests"].as_array().unwrap().len(), tried, "{told}");
    }
    project.engine("run . copies[short] --once").ends(0);
    assert_eq!(project.column("shop", "SELECT CAST(count(*) AS TEXT) FROM goods").await, ["0"]);
    assert_eq!(project.column("shop", "SELECT DISTINCT title FROM wares").await, ["wares of 2025"]);
    project.engine("run . copies --once").ends(0);
    assert_eq!(project.column("shop", "SELECT DISTINCT title FROM goods").await, ["goods of 2024"]);
    let status = project.engine("status . --format json").ends(0).json();
    let known: Vec<&str> =
        status["mappings"].as_array().unwrap().iter().map(|one| one["mapping"].as_str().unwrap()).collect();
    assert_eq!(known.len(), 3, "{known:?}");
    // After all of them.
    let order = project.engine("plan . --format json").json();
    let order: Vec<&Json> = order["runs"].as_array().unwrap().iter().map(|one| &one["mapping"]).collect();
    assert_eq!(order, ["copies[full]", "copies[short]", "last"]);
    assert_eq!(
        project.engine("links list . copies[full] --format json").ends(0).json()["links"].as_array().unwrap().len(),
        3
    );
}

/// What is wrong for every entry is told once; what an entry lacks, at its use.
#[test]
fn mistakes_of_entries_are_told_once() {
    let copies = COPIES
        .replace("full: { table: goods, from: '2024' }", "full: { table: goods }")
        .replace("rget: sku", "rgt: sku");
    let project = Project::new(&[
        ("connections.yaml", CONNECTIONS),
        ("copies.yaml", &copies),
        (
            "none.yaml",
            &COPIES
                .replace("mapping: copies", "mapping: none")
                .replace("{ full: { table: goods, from: '2024' }, short: { table: wares, from: '2025' } }", "{}"),
        ),
        (
            "twice.yaml",
            "mapping: copies\nsource: { connection: office, object: items }\ntarget: { connection: shop, object: goods }\nfields: [{ copy: [code] }]\n",
        ),
        (
            "text.yaml",
            &COPIES.replace("mapping: copies", "mapping: text").replace("{ table: goods, from: '2024' }", "goods"),
        ),
    ]);
    let said = project.engine("validate . --format json").ends(2).said();
    for told in [
        "copies.yaml:8:29 E0103 there is no value `from` for `full`",
        "copies.yaml:7:21 E0103 a field entry has no setting `targt`",
        "none.yaml:2:11 E0106 `for_each` has no entry, so that there is no mapping",
        "twice.yaml:1:10 E0110 a second mapping `copies`",
        "text.yaml:2:19 E0102 an entry of `for_each` is a mapping of names, but a single value stands here",
    ] {
        let alike = said.iter().filter(|one| one.contains(told)).count();
        assert_eq!(alike, 1, "{told}\n{said:#?}");
    }
    assert_eq!(said.len(), 5, "{said:#?}");
}
