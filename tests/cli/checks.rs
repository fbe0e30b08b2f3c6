//! What is refused before anything runs, and where it stands.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, ITEMS, Project};

/// What `engine validate` says with these words behind it.
#[track_caller]
fn told(project: &Project, arguments: &str, code: i32) -> Vec<Json> {
    let answer = project.engine(&format!("validate . {arguments} --format json")).ends(code).json();
    answer["diagnostics"].as_array().unwrap().clone()
}

/// Code, line and column of each.
fn places(diagnostics: &[Json]) -> Vec<(&str, u64, u64)> {
    let place = |told: &'_ Json| (told["line"].as_u64().unwrap(), told["column"].as_u64().unwrap());
    diagnostics.iter().map(|told| (told["code"].as_str().unwrap(), place(told).0, place(told).1)).collect()
}

#[track_caller]
fn says(diagnostic: &Json, words: &str) {
    assert!(diagnostic["message"].as_str().unwrap().contains(words), "{words}: {diagnostic}");
}

fn items(from: &str, to: &str) -> Project {
    assert_eq!(ITEMS.matches(from).count(), 1, "{from}");
    Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &ITEMS.replace(from, to))])
}

#[test]
fn named_queries_are_refused_where_they_are_named() {
    let connections = CONNECTIONS.replace(
        "create_from: office.sql }",
        "create_from: office.sql,\n    objects: { active: { query: 'SELECT * FROM items' },\n               old: { query: SELECT 1 } } }",
    );
    let project = Project::new(&[("connections.yaml", &connections), ("items.yaml", ITEMS)]);
    let diagnostics = told(&project, "", 2);
    assert_eq!(places(&diagnostics), [("E0107", 3, 24), ("E0107", 4, 21)]);
    says(&diagnostics[0], "the query `active` as an object comes in a later version");
    says(&diagnostics[1], "`old`");
    assert!(diagnostics[0]["help"].as_str().unwrap().contains("make it a view"));
    for command in ["run . --once", "plan .", "check ."] {
        project.engine(command).ends(2);
    }
    assert!(!project.path("data").exists());
}

/// Issue 2: a policy that never decides was a conflict for a person each time.
#[test]
fn a_policy_that_never_decides_is_refused() {
    // Rules make the kind: known without asking anybody.
    for (field, policy, words) in [
        (
            "rules: [boolean], reverse: [boolean]",
            "sum_deltas",
            "`sum_deltas` adds numbers, and `made_on` holds boolean",
        ),
        ("rules: [{ prefix: x }]", "union", "`union` joins lists, and `made_on` holds text"),
    ] {
        let entry = format!("{field}, conflict: {policy}");
        let diagnostics = told(&items("rules: [{ date: '%Y%m%d' }]", &entry), "", 2);
        let column = "  - { source: made, target: made_on, ".len() + entry.find(policy).unwrap() + 1;
        assert_eq!(places(&diagnostics), [("E0503", 10, column as u64)], "{policy}");
        says(&diagnostics[0], words);
        for can in ["max", "min", "manual"] {
            let entry = format!("{field}, conflict: {can}");
            assert_eq!(told(&items("rules: [{ date: '%Y%m%d' }]", &entry), "", 0), Vec::<Json>::new(), "{can}");
        }
    }
    // The other kinds only their systems know.
    let project = items("{ source: price, target: price }", "{ source: price, target: price, conflict: union }");
    assert_eq!(told(&project, "", 0), Vec::<Json>::new());
    let diagnostics = told(&project, "--online", 2);
    assert_eq!(places(&diagnostics), [("E0503", 9, 47)]);
    says(&diagnostics[0], "and `price` holds decimal(10,2)");
    for command in ["run . --once --format json", "plan . --format json"] {
        let error = &project.engine(command).ends(2).json()["runs"][0]["errors"][0];
        assert_eq!(
            (&error["code"], &error["file"], &error["line"]),
            (&json!("E0503"), &json!("items.yaml"), &json!(9))
        );
    }
    // A default goes for every field; the ones it cannot decide about need one of their own. That
    // rules alone tell it of one of them keeps nobody from asking for the others.
    let project = items("match: [sku]", "match: [sku]\nconflicts: { default: sum_deltas }");
    let diagnostics = told(&project, "--online", 2);
    assert_eq!(places(&diagnostics), [("E0503", 8, 5), ("E0503", 9, 5), ("E0503", 11, 5)]);
    assert!(diagnostics[2]["help"].as_str().unwrap().contains("a `conflict` of its own"));
    let project = items("match: [sku]", "match: [sku]\nconflicts: { first: union }");
    let diagnostics = told(&project, "--online", 2);
    assert_eq!(places(&diagnostics), [("E0503", 6, 21)]);
    says(&diagnostics[0], "no field of the mapping can take it");
}

/// What rules make of anything they take tells it without any column.
#[test]
fn rules_alone_tell_what_no_policy_can_add_up() {
    for (rules, refused) in [
        ("[{ date: '%Y%m%d' }]", true),
        ("[trim, { date: '%Y%m%d' }]", true),
        ("[{ epoch: seconds }]", true),
        ("[trim]", false),
        ("[decimal]", false),
        ("[{ multiply: '2', scale: 2 }]", false),
    ] {
        let entry = format!("conflict: sum_deltas, rules: {rules}");
        let diagnostics = told(&items("rules: [{ date: '%Y%m%d' }]", &entry), "", if refused { 2 } else { 0 });
        let column = "  - { source: made, target: made_on, conflict: ".len() as u64 + 1;
        let expected = if refused { vec![("E0503", 10, column)] } else { Vec::new() };
        assert_eq!(places(&diagnostics), expected, "{rules}");
    }
}

/// An option that is none hides no wrong argument.
#[test]
fn every_fault_of_a_rule_is_told() {
    let entry = "{ source: made, target: made_on, rules: [{ decimal: 5, scle: 2 }] }";
    let items = ITEMS.replace("{ source: made, target: made_on, rules: [{ date: '%Y%m%d' }] }", entry);
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items)]);
    assert_eq!(places(&told(&project, "", 2)), [("E0106", 10, 57), ("E0103", 10, 60)]);
}

/// Issue 2: sums of words, of truths and of a field of one direction were left to a person each time.
#[test]
fn a_sum_needs_numbers_that_change_on_both_sides() {
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, price DECIMAL(10,2), made TEXT, on_sale BOOLEAN, stock INTEGER);";
    let told_of = |entry: &str| {
        let items = ITEMS.replace("{ source: name, target: title, rules: [trim] }", entry);
        let files = [("connections.yaml", CONNECTIONS), ("items.yaml", items.as_str()), ("office.sql", office)];
        let answer = Project::new(&files).engine("validate . --online --format json");
        answer.json()["diagnostics"].as_array().unwrap().clone()
    };
    for (entry, column, words) in [
        (
            "{ source: name, target: title, conflict: sum_deltas }",
            46,
            "`sum_deltas` adds numbers, and `title` holds text",
        ),
        ("{ source: on_sale, target: title, conflict: sum_deltas }", 49, "`title` holds boolean"),
        ("{ source: name, target: title, conflict: union }", 46, "`union` joins lists, and `title` holds text"),
    ] {
        let diagnostics = told_of(entry);
        assert_eq!(places(&diagnostics), [("E0503", 8, column)], "{entry}");
        says(&diagnostics[0], words);
    }
    let one_way = ITEMS.replace(
        "target: price }",
        "target: price, direction: source_to_target, drift: conflict, conflict: sum_deltas }",
    );
    let diagnostics = told(&Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &one_way)]), "", 2);
    assert_eq!(places(&diagnostics), [("E0503", 9, 93)]);
    says(&diagnostics[0], "`sum_deltas` changes both sides, and `price` goes one way");
    for entry in [
        "{ source: name, target: title, rules: [decimal], conflict: sum_deltas }",
        "{ source: stock, target: title, conflict: sum_deltas }",
    ] {
        assert_eq!(told_of(entry), Vec::<Json>::new(), "{entry}");
    }
}

/// Issue 2: entries of a map that never fit were refused record by record.
#[test]
fn what_a_map_gives_has_to_fit() {
    let shop = "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title BOOLEAN, price DECIMAL(10,2), made_on DATE);";
    let items =
        ITEMS.replace("rules: [trim]", "rules: [{ map: { S: true,\n      N: never,\n      X: no way } }]").replace(
            "rules: [{ date: '%Y%m%d' }]",
            "direction: source_to_target, rules: [{ map: { a: soon },\n      default: later }]",
        );
    let files = [("connections.yaml", CONNECTIONS), ("items.yaml", items.as_str()), ("shop.sql", shop)];
    let project = Project::new(&files);
    assert_eq!(told(&project, "", 0), Vec::<Json>::new(), "kinds are not known");
    let diagnostics = told(&project, "--online", 2);
    assert_eq!(places(&diagnostics), [("E0407", 9, 7), ("E0407", 10, 7), ("E0407", 12, 84), ("E0407", 13, 16)]);
    says(&diagnostics[0], "text `never` does not fit boolean, and this goes to `title` of the target");
}

/// Issue 2: a text too short for a date was parked record by record.
#[test]
fn a_text_that_holds_no_date_is_refused() {
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, price DECIMAL(10,2), made VARCHAR(8));";
    let plain = ITEMS.replace(", rules: [{ date: '%Y%m%d' }]", "");
    for (rules, code) in [(plain.as_str(), 2), (ITEMS, 0)] {
        let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", rules), ("office.sql", office)]);
        let diagnostics = told(&project, "--online", code);
        let expected: Vec<(&str, u64, u64)> =
            if code == 2 { vec![("E0407", 10, 5), ("E0407", 10, 5)] } else { Vec::new() };
        assert_eq!(places(&diagnostics), expected);
        if code == 2 {
            says(&diagnostics[0], "arrives at `made");
            says(&diagnostics[1], "arrives at `made");
        }
    }
    let longer = office.replace("(8)", "(10)");
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &plain), ("office.sql", &longer)]);
    assert_eq!(told(&project, "--online", 0), Vec::<Json>::new());
}

/// Issue 2: that every create would be refused showed in the first run only.
#[test]
fn fields_that_new_records_would_lack_are_named() {
    let shop = "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE NOT NULL, title TEXT, price DECIMAL(10,2), \
                made_on DATE, shelf TEXT NOT NULL, origin TEXT NOT NULL DEFAULT 'erp', note TEXT);";
    let project =
        |items: &str| Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", items), ("shop.sql", shop)]);
    let diagnostics = told(&project(ITEMS), "--online", 0);
    assert_eq!(places(&diagnostics), [("E0609", 3, 37)]);
    says(&diagnostics[0], "nothing fills `shelf` of records created on the target");
    assert_eq!(diagnostics[0]["severity"], "warning");
    // Nothing is created there: by `allow`, or by the direction.
    let only = ITEMS.replace("match:", "allow: { to_target: [update] }\nmatch:");
    assert_eq!(told(&project(&only), "--online", 0), Vec::<Json>::new());
    let back = ITEMS.replace("bidirectional", "target_to_source").replace("deletes: { to_target: propagate }\n", "");
    assert_eq!(told(&project(&back), "--online", 0), Vec::<Json>::new());
    // The source of a two-way mapping is created on as well.
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), made TEXT, \
                  depot TEXT NOT NULL);";
    let both = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", ITEMS), ("office.sql", office)]);
    let diagnostics = told(&both, "--online", 0);
    assert_eq!(places(&diagnostics), [("E0609", 2, 39)]);
    says(&diagnostics[0], "nothing fills `depot` of records created on the source");
}

/// Issue 2: a `match` or cursor without an index took minutes, and nothing told of it.
#[test]
fn what_is_looked_up_without_an_index_is_told() {
    let office = |more: &str| {
        format!(
            "CREATE TABLE items (code TEXT, name TEXT, price DECIMAL(10,2), made TEXT, at INTEGER, PRIMARY KEY (name, code));{more}"
        )
    };
    let items = ITEMS
        .replace("key: [code] }", "key: [name, code], cursor: at, deleted: { sweep: 24h } }")
        .replace("- { source: name, target: title, rules: [trim] }", "- { source: name, target: title }");
    let diagnostics_of = |office: &str, shop: &str| {
        let files = [
            ("connections.yaml", CONNECTIONS),
            ("items.yaml", items.as_str()),
            ("office.sql", office),
            ("shop.sql", shop),
        ];
        told(&Project::new(&files), "--online", 0)
    };
    let bare = "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT, title TEXT, price DECIMAL(10,2), made_on DATE);";
    let diagnostics = diagnostics_of(&office(""), bare);
    assert_eq!(places(&diagnostics), [("E0611", 2, 73), ("E0611", 5, 9), ("E0611", 5, 9)]);
    says(&diagnostics[0], "no index of `items` begins with the cursor `at`");
    says(&diagnostics[1], "no index of `items` begins with `code`");
    says(&diagnostics[2], "no index of `goods` begins with `sku`");
    assert!(diagnostics.iter().all(|told| told["severity"] == "warning"), "{diagnostics:?}");
    let indexes = "CREATE INDEX a ON items (at, name); CREATE INDEX b ON items (code) WHERE code IS NOT NULL;";
    let indexed = format!("{bare} CREATE INDEX c ON goods (sku COLLATE NOCASE, id);");
    assert_eq!(diagnostics_of(&office(indexes), &indexed), Vec::<Json>::new());
    // A view tells nothing of the indexes beneath it.
    let view = "CREATE TABLE all_items (code TEXT PRIMARY KEY, name TEXT, price DECIMAL(10,2), made TEXT, at INTEGER); \
                CREATE VIEW items AS SELECT * FROM all_items; \
                CREATE TRIGGER u INSTEAD OF UPDATE ON items BEGIN SELECT 1; END; \
                CREATE TRIGGER i INSTEAD OF INSERT ON items BEGIN SELECT 1; END;";
    let told_of_view = diagnostics_of(view, &indexed);
    assert!(told_of_view.iter().all(|told| told["code"] != "E0611"), "{told_of_view:?}");
}

/// Issue 2: an expression of ten thousand operands ended the process.
#[test]
fn an_expression_of_any_length_is_read_or_refused_with_its_place() {
    for (operands, code) in [(1_000, 0), (20_000, 2)] {
        let long = vec!["code == 'x'"; operands / 10].join(" or ") + &" or code".repeat(operands / 10 * 9);
        let items = format!("{ITEMS}when: {{ source: \"{long}\" }}\n");
        let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items)]);
        let diagnostics = told(&project, "", code);
        if code == 2 {
            assert_eq!(places(&diagnostics), [("E0405", 13, 18)]);
            says(&diagnostics[0], "characters");
        }
    }
}

/// Issue 2: records with a document for a key were not found again: edits of
/// them never went over, and the runs said that all was well.
#[test]
fn a_document_is_no_key() {
    let tables = "CREATE TABLE items (code JSON PRIMARY KEY, name TEXT, tags JSON)";
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: items }
match: [tags]
fields: [{ copy: [code, name, tags] }]
";
    let project = Project::between(mapping, tables, tables);
    let told: Vec<_> = told(&project, "--online", 2).into_iter().filter(|one| one["code"] == "E0612").collect();
    assert_eq!(places(&told), [("E0612", 2, 52), ("E0612", 3, 37), ("E0612", 4, 9), ("E0612", 4, 9)]);
    let ended = project.engine("run . --once").ends(2);
    assert!(ended.out.contains("E0612") && ended.out.contains("no record is found by that"), "{}", ended.out);
}
