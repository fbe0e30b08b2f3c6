//! Values of every type, from one database into another and back.

use serde_json::json;
use sqlx::{AssertSqlSafe, Row};

use super::project::{CONNECTIONS, ITEMS, Project};
use crate::support::postgres::Database;

/// The first column of a query's rows as text, in UTC.
async fn column(database: &Database, sql: &str) -> Vec<String> {
    let mut connection = database.connect().await;
    sqlx::raw_sql("SET timezone = 'UTC'").execute(&mut connection).await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get::<Option<String>, _>(0).unwrap_or_default()).collect()
}

/// A two-way mapping of the PostgreSQL table `s` with another table.
fn project(database: &Database, target: &str, fields: &str) -> Project {
    let connections = format!(
        "connections:
  pg: {{ connector: postgres, url: '{}' }}
  shop: {{ connector: sqlite, url: 'sqlite://data/shop.db', create_from: shop.sql }}
",
        database.url
    );
    let mapping = format!(
        "mapping: t
source: {{ connection: pg, object: s }}
target: {{ connection: {target}, object: t }}
direction: bidirectional
fields:
  - copy: [id, {fields}]
"
    );
    Project::new(&[("connections.yaml", &connections), ("t.yaml", &mapping)])
}

/// Runs once, and once more: nothing is parked, and then nothing to do.
#[track_caller]
fn runs(project: &Project) {
    let report = project.run(0);
    assert_eq!(report["runs"][0]["errors"], json!([]), "{report}");
    let again = project.engine("run . --once --full").ends(0).out;
    assert!(again.contains("nothing to do"), "{again}");
}

/// Issue 2: `null` of JSON became no value; `infinity`, `24:00`, `NaN` and arrays that are no lists were parked.
#[tokio::test]
async fn a_table_comes_across_whole() {
    let database = Database::fresh().await;
    let columns = "id int PRIMARY KEY, j jsonb, k json, d date, tm time, ts timestamp, tz timestamptz, n numeric(10,2), \
                   r real, iv interval, ad date[], at text[], ats timestamptz[], aj jsonb[], grid int[][]";
    database
        .run(&format!(
            "CREATE TABLE s ({columns}); CREATE TABLE t ({columns}); \
             INSERT INTO s VALUES (1, 'null', 'null', 'infinity', '24:00', '-infinity', 'infinity', 'NaN', 0.1, '1 mon 2 days', \
               '{{infinity,2020-01-01,NULL}}', '[0:1]={{x,y}}', '{{-infinity}}', ARRAY['null', NULL, '[1]']::jsonb[], '{{{{1,2}},{{3,4}}}}'), \
             (2, NULL, NULL, '5874897-12-31', '10:00', '294276-12-31 23:59:59.5', '294276-12-31 23:59:59.5+00', 1, 'NaN', \
               '-1 year +3 days', '{{5874897-12-31}}', '{{{{a,b}},{{c,d}}}}', '{{}}', '{{}}', NULL)"
        ))
        .await;
    let fields = "j, k, d, tm, ts, tz, n, r, iv, ad, at, ats, aj, grid";
    let project = project(&database, "pg", fields);
    let same = async || {
        let (s, t) = (
            column(&database, "SELECT s::text FROM s ORDER BY id").await,
            column(&database, "SELECT t::text FROM t ORDER BY id").await,
        );
        assert_eq!(s, t);
    };
    runs(&project);
    same().await;
    // A document `null` is another value than none, on either side.
    database.run("UPDATE s SET j = 'null' WHERE id = 2; UPDATE t SET j = NULL, k = NULL WHERE id = 1").await;
    assert_eq!(project.run(0)["runs"][0]["to_source"]["updated"], 1);
    same().await;
    assert_eq!(column(&database, "SELECT coalesce(j::text, 'none') FROM s ORDER BY id").await, ["none", "null"]);
    runs(&project);
}

/// Issue 2: a number of any scale that was whole lost its digits behind the point.
#[tokio::test]
async fn numbers_keep_their_scale_and_constants_are_documents() {
    let database = Database::fresh().await;
    database
        .run("CREATE TABLE s (id int PRIMARY KEY, n numeric, b boolean, j jsonb); INSERT INTO s VALUES (1, 10.00, NULL, NULL)")
        .await;
    let project = project(&database, "shop", "n, b");
    let fields = |value: &str| format!("fields:\n  - {{ source: j, value: '{value}' }}\n");
    let mapping = std::fs::read_to_string(project.path("t.yaml")).unwrap();
    project.write("t.yaml", &mapping.replace("fields:\n", &fields(r#"{"a": 1}"#)));
    project.write(
        "shop.sql",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT, b DECIMAL(3,1)); INSERT INTO t VALUES (2, '20.00', 1.0);",
    );
    runs(&project);
    assert_eq!(project.column("shop", "SELECT n FROM t ORDER BY id").await, ["10.00", "20.00"]);
    assert_eq!(
        column(&database, "SELECT concat_ws(' ', n, b, j->>'a') FROM s ORDER BY id").await,
        ["10.00 1", "20.00 t 1"]
    );
    project.write("t.yaml", &mapping.replace("fields:\n", &fields(r#"{"a": 1"#)));
    let said = project.engine("validate . --online --format json").ends(2).said();
    assert_eq!(said, [r#"t.yaml:6:5 E0407 `{"a": 1` is not JSON"#]);
}

/// Issue 2: what PostgreSQL has a type for and SQLite a text did not come back.
#[tokio::test]
async fn what_is_a_text_elsewhere_comes_back() {
    let database = Database::fresh().await;
    database
        .run(
            "CREATE TABLE s (id int PRIMARY KEY, doc jsonb, iv interval, ad date[], ts timestamp, r real, tx real, n numeric(10,2)); \
             INSERT INTO s VALUES \
               (1, '{\"b\": 1.10, \"a\": [null, \"x\"]}', '1 day 10:00', '{2020-01-01}', '0044-03-15 12:00 BC', 0.1, 0.1, 'NaN'), \
               (2, 'null', '-1 mon', '{}', '12026-01-01', 1.1, 1e-45, 1), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        )
        .await;
    let project = project(&database, "shop", "doc, iv, ad, ts, r, tx, n");
    project.write(
        "shop.sql",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT, iv TEXT, ad JSON, ts TIMESTAMP, r NUMERIC, tx TEXT, n DECIMAL(10,2));",
    );
    project.engine("validate . --online").ends(0);
    runs(&project);
    assert_eq!(
        project.column("shop", "SELECT doc FROM t ORDER BY id").await,
        [r#"{"a":[null,"x"],"b":1.10}"#, "null", ""]
    );
    assert_eq!(project.column("shop", "SELECT iv FROM t WHERE id = 1").await, ["P1DT36000S"]);
    assert_eq!(
        project.column("shop", "SELECT ts FROM t WHERE id < 3").await,
        ["-0043-03-15 12:00:00", "+12026-01-01 00:00:00"]
    );
    assert_eq!(project.column("shop", "SELECT r || ' ' || tx FROM t WHERE id = 1").await, ["0.1 0.1"]);
    // Another spelling of the same document is no change of it.
    project
        .edit(
            "shop",
            "UPDATE t SET doc = '{ \"b\": 1.10,  \"a\": [null, \"x\"] }', iv = 'P1Y2M', ad = '[\"2021-02-03\", \"infinity\"]' WHERE id = 1; \
             UPDATE t SET doc = '{\"z\": 1}', ts = '-0001-01-01 00:00:00', n = 'NaN' WHERE id = 2",
        )
        .await;
    runs(&project);
    let row = |id: i64| format!("SELECT concat_ws(' | ', doc, iv, ad, ts, n) FROM s WHERE id = {id}");
    assert_eq!(
        column(&database, &row(1)).await,
        [r#"{"a": [null, "x"], "b": 1.10} | 1 year 2 mons | {2021-02-03,infinity} | 0044-03-15 12:00:00 BC | NaN"#]
    );
    assert_eq!(column(&database, &row(2)).await, [r#"{"z": 1} | -1 mons | {} | 0002-01-01 00:00:00 BC | NaN"#]);
    // Text that is no JSON is parked, alone.
    project.edit("shop", "UPDATE t SET doc = '{broken' WHERE id = 1; UPDATE t SET n = 7 WHERE id = 2").await;
    let report = project.run(1);
    let errors = report["runs"][0]["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["code"]), (1, &json!("E0702")), "{report}");
    assert_eq!(errors[0]["message"], "text `{broken` is not JSON");
    assert_eq!(column(&database, "SELECT n::text FROM s WHERE id = 2").await, ["7.00"]);
}

/// Issue 2: digits that a float does not hold were dropped, and came back as another number.
#[tokio::test]
async fn digits_that_a_float_does_not_hold_are_not_dropped() {
    let database = Database::fresh().await;
    database
        .run(
            "CREATE TABLE s (id int PRIMARY KEY, n numeric); CREATE TABLE t (id int PRIMARY KEY, n float8); \
             INSERT INTO s VALUES (1, 123456789.123456789), (2, 0.10)",
        )
        .await;
    let project = project(&database, "pg", "n");
    let report = project.run(1);
    let error = &report["runs"][0]["errors"][0];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("E0702"), &json!("decimal `123456789.123456789` does not fit 64-bit float"))
    );
    assert_eq!(column(&database, "SELECT n::text FROM t").await, ["0.1"]);
}

/// Issue 2: it was written elsewhere as one long text.
#[tokio::test]
async fn a_document_beyond_the_depth_that_is_read_is_parked() {
    let database = Database::fresh().await;
    database
        .run(
            "CREATE TABLE s (id int PRIMARY KEY, j jsonb); CREATE TABLE t (id int PRIMARY KEY, j jsonb); \
             INSERT INTO s VALUES (1, (repeat('[', 200) || repeat(']', 200))::jsonb), (2, '[[1]]')",
        )
        .await;
    let project = project(&database, "pg", "j");
    let report = project.run(1);
    let message = report["runs"][0]["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("`j` cannot be read: JSON nested more deeply than 128 levels"), "{message}");
    assert_eq!(column(&database, "SELECT j::text FROM t").await, ["[[1]]"]);
}

/// Issue 2: with `copy`, kinds that never meet were told by no `validate --online`.
#[test]
fn a_copy_is_checked_as_a_field_is() {
    let (office, shop) = (
        "CREATE TABLE items (code TEXT PRIMARY KEY, raw BLOB, day DATE, twice INTEGER AS (1) STORED);",
        "CREATE TABLE goods (code TEXT PRIMARY KEY, raw TEXT, day BOOLEAN, twice INTEGER);",
    );
    let mapping = "mapping: items
source: { connection: office, object: items }
target: { connection: shop, object: goods }
direction: bidirectional
fields: [{ copy: [code, raw, day, twice] }]
";
    let files =
        [("connections.yaml", CONNECTIONS), ("items.yaml", mapping), ("office.sql", office), ("shop.sql", shop)];
    let answer = Project::new(&files).engine("validate . --online --format json").ends(2).json();
    let told: Vec<(&str, u64)> = answer["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|told| (told["code"].as_str().unwrap(), told["column"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("E0407", 25), ("E0407", 25), ("E0407", 30), ("E0407", 30), ("E0604", 35)]);
}

/// Issue 2: `newest` by a text always took the source, and said nothing.
#[test]
fn newest_needs_columns_of_times() {
    let with = |declared: &str| {
        let office = format!(
            "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, price DECIMAL(10,2), made TEXT, at {declared});"
        );
        let shop = format!(
            "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE, at {declared});"
        );
        let mapping = ITEMS
            .replace("key: [code]", "key: [code], modified: at")
            .replace("key: [id]", "key: [id], modified: at")
            .replace("match: [sku]", "match: [sku]\nconflicts: { default: newest }");
        Project::new(&[
            ("connections.yaml", CONNECTIONS),
            ("items.yaml", &mapping),
            ("office.sql", &office),
            ("shop.sql", &shop),
        ])
    };
    with("TIMESTAMP").engine("validate . --online").ends(0);
    for declared in ["TEXT", "INTEGER"] {
        let answer = with(declared).engine("validate . --online --format json").ends(2).json();
        let told = answer["diagnostics"].as_array().unwrap();
        assert_eq!(told.len(), 2, "{answer}");
        for (told, line) in told.iter().zip([2, 3]) {
            assert_eq!((&told["code"], &told["line"]), (&json!("E0305"), &json!(line)));
        }
    }
}

/// Issue 2: a `start` that is no time at all showed in the run only.
#[test]
fn a_start_is_checked_offline() {
    for (start, code) in
        [("banana", 2), ("2026-13-01", 2), ("2026-03-01", 0), ("2026-03-01T12:00:00Z", 0), ("20260301", 0)]
    {
        let mapping = ITEMS.replace("key: [code]", &format!("key: [code], cursor: made, start: {start}"));
        let mapping = mapping.replace("deletes: { to_target: propagate }\nlimits: { delete: 1 }\n", "");
        let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &mapping)]);
        let answer = project.engine("validate . --format json").ends(code).json();
        let told: Vec<_> =
            answer["diagnostics"].as_array().unwrap().iter().map(|told| (&told["code"], &told["line"])).collect();
        let expected = if code == 0 { vec![] } else { vec![(json!("E0106"), json!(2))] };
        assert_eq!(told, expected.iter().map(|(code, line)| (code, line)).collect::<Vec<_>>(), "{start}");
    }
}

/// Issue 2: a decision of another nature was taken, and kept all else of its record from going on.
#[tokio::test]
async fn a_decision_that_does_not_fit_is_no_decision() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "UPDATE items SET price = 21.50, name = 'Desk lamp' WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET price = 18, title = 'Table lamp' WHERE sku = 'A'").await;
    project.run(1);
    let decide = |field: &str, value: &str| {
        project.engine(&format!("conflicts resolve . --mapping items --field {field} --value '{value}'"))
    };
    let refused = decide("price", "\"abc\"").ends(2);
    assert!(refused.err.contains("text `abc` does not fit decimal, which `price` of conflict"), "{}", refused.err);
    // How many digits the column holds is known by asking its system; where that is away the run finds out.
    for (here, away) in [("data", "data.away"), ("shop.sql", "shop.away")] {
        std::fs::rename(project.path(here), project.path(away)).unwrap();
    }
    decide("price", "1.234").ends(0);
    for (here, away) in [("data", "data.away"), ("shop.sql", "shop.away")] {
        std::fs::rename(project.path(away), project.path(here)).unwrap();
    }
    decide("title", "\"Lamp\"").ends(0);
    let report = project.run(1);
    let run = &report["runs"][0];
    assert_eq!(run["owed"], 1, "{report}");
    assert!(report.to_string().contains("its value does not fit the field; the conflict waits again"), "{report}");
    assert_eq!(project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await, ["Lamp"]);
    assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, ["Lamp"]);
    let open = project.engine("conflicts list . --format json").ends(0).json();
    assert_eq!((&open["conflicts"][0]["field"], &open["conflicts"][0]["resolution"]), (&json!("price"), &json!(null)));
}

/// A number that `rules` read from a text went back as it was, in a form that
/// they could not read: `7.125` came again as 7125.
#[tokio::test]
async fn a_reverse_writes_the_number_that_the_rules_read() {
    let office = "CREATE TABLE items (code TEXT PRIMARY KEY, weight TEXT NOT NULL);
INSERT INTO items VALUES ('A', '1,500'), ('B', '');";
    let shop = "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, weight DECIMAL(12,3));";
    let items = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: goods, key: [id] }
direction: bidirectional
match: [sku]
fields:
  - { source: code, target: sku }
  - { source: weight, target: weight, rules: [{ decimal: pt_BR }], reverse: [{ decimal: pt_BR }, { default: '' }] }
";
    let project = Project::new(&[
        ("connections.yaml", CONNECTIONS),
        ("items.yaml", items),
        ("office.sql", office),
        ("shop.sql", shop),
    ]);
    project.run(0);
    project.edit("shop", "UPDATE goods SET weight = 7.125 WHERE sku = 'A'").await;
    project.run(0);
    let weights = "SELECT weight FROM items ORDER BY code";
    assert_eq!(project.column("office", weights).await, ["7,125", ""]);
    project.run(0);
    assert_eq!(project.column("shop", "SELECT CAST(weight AS TEXT) FROM goods WHERE sku = 'A'").await, ["7.125"]);
}
