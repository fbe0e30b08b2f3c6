//! What `validate --online`, `check` and `discover` tell of systems, however
//! much is wrong with them.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, ITEMS, Project};

/// A way that leads nowhere.
const AWAY: &str =
    "{ connector: postgres, url: 'postgres://me:TOPSECRET@127.0.0.1:1/db', timeout: 2s, retry: { attempts: 1 } }";

const MISTAKEN: &str = "mapping: items
source: SOURCE
target:
  connection: shop
  object: goods
  key: [idd]
  cursor: changed
  modified: touched
  where: \"colour = 1\"
  deleted: { field: gone, equals: '*' }
direction: bidirectional
match: [skuu]
fields:
  - { source: code, target: skuu }
  - { source: name, target: titel }
  - { source: price, target: price }
  - { target: made_on, template: '{{ name }}', direction: source_to_target }
";

/// Code and line of each error.
fn places(answer: &Json) -> Vec<(String, u64)> {
    let told = answer["diagnostics"].as_array().unwrap();
    let errors = told.iter().filter(|told| told["severity"] == "error");
    errors.map(|told| (told["code"].as_str().unwrap().to_owned(), told["line"].as_u64().unwrap_or(0))).collect()
}

/// Issue 2: what was wrong with one side was kept back as long as the other was
/// away or lacked its table, and of one side all but its missing fields.
#[test]
fn all_that_is_wrong_is_told_whatever_the_other_side_lacks() {
    let of_target = [6, 7, 8, 9, 10, 14, 15].map(|line| (if line == 9 { "E0610" } else { "E0601" }.to_owned(), line));
    let connections = format!("{CONNECTIONS}  away: {AWAY}\n");
    for (source, code, own) in [
        ("{ connection: office, object: items, cursor: made }", 2, None),
        ("{ connection: office, object: itemz, key: [code], cursor: made }", 2, Some(("E0603", 2))),
        ("{ connection: away, object: items, key: [code], cursor: made }", 3, Some(("E0802", 4))),
    ] {
        let mapping = MISTAKEN.replace("SOURCE", source);
        let project = Project::new(&[("connections.yaml", &connections), ("items.yaml", &mapping)]);
        project.engine("validate .").ends(0);
        let answer = project.engine("validate . --online --format json").ends(code).json();
        let mut expected: Vec<(String, u64)> = of_target.to_vec();
        expected.extend(own.map(|(code, line)| (code.to_owned(), line)));
        let mut found = places(&answer);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{answer}");
    }
}

/// Issue 2: of two missing tables, of rights that are missing beside fields, and
/// of other mappings, all is told at once.
#[test]
fn both_sides_of_all_mappings_are_told_of() {
    let items = ITEMS.replace("object: items", "object: itemz").replace("object: goods", "object: good");
    let other = "mapping: other
source: { connection: away, object: items, key: [code] }
target: { connection: shop, object: goods, key: [id] }
match: [sku]
fields: [{ source: code, target: sku }, { source: nme, target: titel }]
";
    let connections = format!("{}  away: {AWAY}\n", CONNECTIONS.replace("data/shop.db'", "data/shop.db?mode=ro'"));
    let third = other.replace("mapping: other", "mapping: third").replace("object: items", "object: more");
    let files = [("items.yaml", items.as_str()), ("other.yaml", other), ("third.yaml", third.as_str())];
    let project = Project::items();
    project.run(0);
    project.write("connections.yaml", &connections);
    for (name, text) in files {
        project.write(name, text);
    }
    let answer = project.engine("validate . --online --format json").ends(3).json();
    let of_each = [("E0605", 3), ("E0605", 3), ("E0601", 5)];
    let expected = [("E0802", 4), ("E0603", 2), ("E0603", 3)].into_iter().chain(of_each).chain(of_each);
    let expected: Vec<(&str, u64)> = expected.collect();
    let found = places(&answer);
    let found: Vec<(&str, u64)> = found.iter().map(|(code, line)| (code.as_str(), *line)).collect();
    assert_eq!(found, expected, "{answer}");
}

/// Issue 2: one mapping with an error kept the systems from being asked about the others.
#[test]
fn a_mapping_that_is_wrong_does_not_keep_the_others_from_being_asked_about() {
    let items = ITEMS.replace("rules: [trim]", "rules: [trimm]");
    let other = ITEMS.replace("mapping: items", "mapping: other").replace("target: title", "target: titel");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items), ("other.yaml", &other)]);
    let told = project.engine("validate . --online --format json").ends(2);
    let found: Vec<Json> = told.json()["diagnostics"].as_array().unwrap().clone();
    let found: Vec<_> =
        found.iter().map(|told| (told["file"].as_str().unwrap(), told["line"].as_u64().unwrap())).collect();
    assert_eq!(found, [("items.yaml", 8), ("other.yaml", 8)]);
    assert!(told.err.contains("were not asked about `items`") && !told.err.contains("`other`:"), "{}", told.err);
}

/// Issue 2: a system that could not be reached had neither code nor place.
#[test]
fn a_system_that_is_away_is_told_where_its_connection_stands() {
    let connections = format!("{CONNECTIONS}  away: {AWAY}\n");
    let items = ITEMS.replace("connection: office", "connection: away");
    let project = Project::new(&[("connections.yaml", &connections), ("items.yaml", &items)]);
    let place =
        |told: &Json| (told["code"].clone(), told["file"].clone(), told["line"].clone(), told["column"].clone());
    let expected = (json!("E0802"), json!("connections.yaml"), json!(4), json!(37));
    let check = project.engine("check . --format json").ends(3).json();
    let checked = check["connections"].as_array().unwrap().iter();
    let away = checked.clone().find(|checked| checked["connection"] == "away").unwrap();
    assert_eq!(place(away), expected, "{check}");
    let well = checked.clone().find(|checked| checked["connection"] == "shop").unwrap();
    assert_eq!((&well["ok"], &well["code"], &well["line"]), (&json!(true), &Json::Null, &Json::Null));
    for object in ["", " items"] {
        let told = project.engine(&format!("discover . away{object} --format json")).ends(3).json();
        assert_eq!(place(&told["error"]), expected, "{told}");
        let told = project.engine(&format!("discover . away{object}")).ends(3).err;
        assert!(told.contains("error[E0802]: connection `away` (127.0.0.1:1)"), "{told}");
        assert!(told.contains("--> connections.yaml:4:37") && !told.contains("TOPSECRET"), "{told}");
    }
    let told = project.engine("check .").ends(3).out;
    assert!(told.contains("E0802 connections.yaml:4:37: 127.0.0.1:1: "), "{told}");
    let online = project.engine("validate . --online --format json").ends(3).json();
    let errors = online["diagnostics"].as_array().unwrap().iter().filter(|told| told["severity"] == "error");
    assert_eq!(errors.map(place).collect::<Vec<_>>(), std::slice::from_ref(&expected), "{online}");
    project.run(3);
    let adopted = project.engine("state adopt . --format json").ends(3).json();
    assert_eq!(place(&adopted["error"]), expected, "{adopted}");
}

/// Issue 2: whatever had a default was called given by the system.
#[tokio::test]
async fn a_default_is_called_so() {
    let database = crate::support::postgres::Database::fresh().await;
    database
        .run(
            "CREATE TABLE goods (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number serial, at timestamptz DEFAULT now(),
             origin text DEFAULT 'shop', twice int GENERATED ALWAYS AS (1 + 1) STORED, plain text)",
        )
        .await;
    let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{}' }}\n", database.url);
    let shop =
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, origin TEXT DEFAULT 'shop', twice INT AS (1 + 1), plain TEXT);";
    let project = Project::new(&[("connections.yaml", &connections), ("items.yaml", ITEMS), ("shop.sql", shop)]);
    let given = json!([true, false]);
    let by_default = json!([false, true]);
    let neither = json!([false, false]);
    for (connection, expected) in [
        ("pg", vec![&given, &given, &by_default, &by_default, &given, &neither]),
        ("shop", vec![&given, &by_default, &given, &neither]),
    ] {
        let told = project.engine(&format!("discover . {connection} goods --format json")).ends(0).json();
        let fields: Vec<Json> = told["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| json!([field["generated"], field["default"]]))
            .collect();
        assert_eq!(fields.iter().collect::<Vec<_>>(), expected, "{told}");
        let text = project.engine(&format!("discover . {connection} goods")).ends(0).out;
        let origin = text.lines().find(|line| line.starts_with("origin")).unwrap();
        assert!(origin.trim_end().ends_with("default"), "{text}");
    }
}

/// Issue 2: what to do about a missing right was to look at every connection.
#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let database = crate::support::postgres::Database::fresh().await;
    let mut url = url::Url::parse(&database.url).unwrap();
    let role = format!("right_{}", url.path().trim_start_matches('/'));
    database
        .run(&format!(
            "CREATE TABLE goods (id int PRIMARY KEY, sku text UNIQUE, title text); \
             CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA public TO {role}"
        ))
        .await;
    url.set_username(&role).unwrap();
    url.set_password(Some("p")).unwrap();
    let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{url}', retry: {{ attempts: 1 }} }}\n");
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: pg, object: goods, key: [sku], where: \"id > 0\" }
fields: [{ source: code, target: sku }, { source: name, target: title }]
";
    let project = Project::new(&[("connections.yaml", &connections), ("items.yaml", mapping)]);
    let online = project.engine("validate . --online").ends(3).out;
    assert!(!online.contains("E0610") && online.contains("E0605"), "{online}");
    assert!(online.contains("`GRANT SELECT ON \"public\".\"goods\" TO …`"), "{online}");
    let out = project.engine("run . --once").ends(3).out;
    assert!(out.contains("E0802") && out.contains("`GRANT SELECT ON \"public\".\"goods\" TO …`"), "{out}");
    project.write("items.yaml", &mapping.replace(", where: \"id > 0\"", ""));
    database.run(&format!("GRANT SELECT ON goods TO {role}")).await;
    let out = project.engine("run . --once").ends(3).out;
    assert!(out.contains("E0802") && out.contains("`GRANT SELECT, INSERT ON \"public\".\"goods\" TO …`"), "{out}");
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
