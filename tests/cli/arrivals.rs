//! Files that come by a pattern of names: each is read once.

use serde_json::{Value as Json, json};

use super::project::Project;

const CONNECTIONS: &str = "connections:
  inbox:
    connector: files
    path: inbox
    settle: 0s
    objects:
      orders: { pattern: 'orders-*.csv', delimiter: ';', key: [number], fields: { number: text, total: decimal } }
  shop: { connector: sqlite, url: 'sqlite://data/shop.db', create_from: orders.sql }
";

const ORDERS: &str = "mapping: orders
source: { connection: inbox, object: orders }
target: { connection: shop, object: orders, key: [number] }
fields: [{ copy: [number, total, city] }]
";

fn project() -> Project {
    let sql = "CREATE TABLE orders (number TEXT PRIMARY KEY, total DECIMAL(10,2), city TEXT);";
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("orders.yaml", ORDERS), ("orders.sql", sql)]);
    project.write("inbox/orders-01.csv", "number;total;city\n1;10;Recife\n2;20;Natal\n");
    project.write("inbox/others.csv", "number;total;city\n9;90;Nowhere\n");
    project
}

/// Read, created, updated and parked.
fn counts(run: &Json) -> [u64; 4] {
    ["read", "created", "updated", "parked"].map(|what| run["runs"][0]["to_target"][what].as_u64().unwrap())
}

async fn orders(project: &Project) -> Vec<String> {
    project
        .column("shop", "SELECT number || '|' || total || '|' || coalesce(city, '-') FROM orders ORDER BY number")
        .await
}

#[tokio::test]
async fn each_file_is_read_once_by_what_it_holds() {
    let project = project();
    assert_eq!(counts(&project.run(0)), [2, 2, 0, 0]);
    assert_eq!(counts(&project.run(0)), [0, 0, 0, 0]);
    // Another name and another time make no other content.
    project.write("inbox/orders-00.csv", "number;total;city\n1;10;Recife\n2;20;Natal\n");
    std::fs::remove_file(project.path("inbox/orders-01.csv")).unwrap();
    assert_eq!(counts(&project.run(0)), [0, 0, 0, 0]);
    // Columns in another order; of two files the last name counts.
    project.write("inbox/orders-02.csv", "city;number;total;by\nOlinda;1;11;x\nBelém;3;30;x\n");
    project.write("inbox/orders-03.csv", "number;total;city\n3;33;Belém\n");
    assert_eq!(counts(&project.run(0)), [2, 1, 1, 0]);
    let all = ["1|11|Olinda", "2|20|Natal", "3|33|Belém"];
    assert_eq!(orders(&project).await, all);
    // What a file says again under its old name is new; what is gone with a file stays.
    project.write("inbox/orders-03.csv", "number;total;city\n2;22;Natal\n");
    std::fs::remove_file(project.path("inbox/orders-02.csv")).unwrap();
    assert_eq!(counts(&project.run(0)), [1, 0, 1, 0]);
    assert_eq!(orders(&project).await, ["1|11|Olinda", "2|22|Natal", "3|33|Belém"]);
    // An old file that comes back was read.
    project.write("inbox/orders-02.csv", "city;number;total;by\nOlinda;1;11;x\nBelém;3;30;x\n");
    project.edit("shop", "UPDATE orders SET total = 12 WHERE number = '1'").await;
    assert_eq!(counts(&project.run(0)), [0, 0, 0, 0]);
    // Everything that is there, as if it were new.
    let full = project.engine("run . --once --full --format json").ends(0).json();
    assert_eq!(full["runs"][0]["to_target"]["read"], 3, "{full}");
    assert!(project.engine("plan .").ends(0).out.contains("nothing to do"));
}

#[tokio::test]
async fn what_is_wrong_in_a_file_is_owed_until_another_says_it_right() {
    let project = project();
    project.write("inbox/orders-02.csv", "number;total;city\n3;much;Belém\n4;40;Sobral\n");
    project.write("inbox/orders-03.csv", "number;city\n5;Icó\n");
    project.write("inbox/orders-04.csv", "number;number;total\n6;6;6\n");
    let run = project.run(1);
    assert_eq!(counts(&run), [6, 3, 0, 3]);
    let said: Vec<&str> =
        run["runs"][0]["errors"].as_array().unwrap().iter().map(|one| one["message"].as_str().unwrap()).collect();
    for expected in
        ["`orders-02.csv`, line 2: `total`: `much` is no decimal", "no field `total`", "names `number` twice"]
    {
        assert!(said.iter().any(|said| said.contains(expected)), "{expected}: {said:?}");
    }
    // Nothing new is read, and what is owed is looked for in the files that are there.
    let run = project.run(0);
    assert_eq!((&run["runs"][0]["owed"], counts(&run)[1]), (&json!(3), 0), "{run}");
    project.write("inbox/orders-05.csv", "number;total;city\n3;30;Belém\n5;50;Icó\n");
    std::fs::remove_file(project.path("inbox/orders-04.csv")).unwrap();
    project.run(0);
    assert_eq!(orders(&project).await.len(), 5);
    for _ in 0..3 {
        project.run(0);
    }
    // A file that cannot be read is owed as long as it lies there.
    let all = || project.engine("run . --once --full --format json").ends(0).json();
    assert_eq!(all()["runs"][0]["owed"], 1);
    std::fs::remove_file(project.path("inbox/orders-03.csv")).unwrap();
    assert_eq!(all()["runs"][0]["owed"], 0);
}

/// A run that dies before its end has read nothing for good.
#[cfg(unix)]
#[tokio::test]
async fn a_file_counts_as_read_once_its_records_are_dealt_with() {
    let project = project();
    let rows = (0..20_000).map(|n| format!("{n};1;x")).collect::<Vec<_>>().join("\n");
    project.write("inbox/orders-02.csv", &format!("number;total;city\n{rows}\n"));
    for wait in [300, 500, 700] {
        let mut child = project.command("run . --once").stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    project.run(0);
    assert_eq!(orders(&project).await.len(), 20_000);
    assert_eq!(counts(&project.run(0)), [0, 0, 0, 0]);
    // A file that may still be written waits for a later run.
    project.write("connections.yaml", &CONNECTIONS.replace("settle: 0s", "settle: 2s"));
    project.write("inbox/orders-03.csv", "number;total;city\nz;1;x\n");
    assert_eq!(counts(&project.run(0)), [0, 0, 0, 0]);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(counts(&project.run(0)), [1, 1, 0, 0]);
}

#[test]
fn what_a_pattern_cannot_do_is_told() {
    let project = project();
    let mapping = ORDERS
        .replace("object: orders }", "object: orders, cursor: number, deleted: { sweep: 24h } }")
        .replace("fields:", "direction: bidirectional\ndeletes: { to_target: propagate }\nfields:");
    project.write("orders.yaml", &mapping);
    project.write("more.yaml", &ORDERS.replace("mapping: orders", "mapping: more\ndeletes: { to_target: propagate }"));
    let said = project.engine("validate . --format json").ends(2).said();
    insta::assert_snapshot!(said.join("\n"));
}
