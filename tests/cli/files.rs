//! Files as sources and targets.

use serde_json::{Value as Json, json};

use super::project::Project;

/// A spreadsheet and a shop, both of which people edit.
const CONNECTIONS: &str = "connections:
  sheets:
    connector: files
    path: data
    settle: 0s
    objects:
      items.csv:
        delimiter: ';'
        decimal: comma
        key: [code]
        fields: { price: decimal, made: { type: date, format: '%d/%m/%Y' }, new: boolean, stock: integer }
      old.csv: { encoding: windows-1252, key: [code] }
      list.jsonl: { key: [code], fields: { code: text, name: text, price: decimal, made: date, more: json } }
      packed.jsonl.gz: { key: [code], fields: { code: text, name: text, price: decimal } }
      out.csv: { key: [code], fields: { code: text, name: text } }
  shop: { connector: sqlite, url: 'sqlite://data/shop.db', create_from: items.sql }
";

const ITEMS: &str = "mapping: items
source: { connection: sheets, object: items.csv }
target: { connection: shop, object: items, key: [code] }
direction: bidirectional
fields: [{ copy: [code, name, price, made, new, stock] }]
deletes: { to_target: propagate, to_source: propagate }
";

const SQL: &str =
    "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT, price DECIMAL(12,2), made DATE, new BOOLEAN, stock INTEGER);
INSERT INTO items VALUES ('00009', 'Só na loja', 5.5, '2024-02-29', 1, 3);
";

/// As a spreadsheet writes it: a byte order mark, a blank line, a field of its own.
const SHEET: &str = "\u{feff}code;name;price;made;new;stock;note\r\n\
                     00001;Lamp;1.234,56;28/02/2026;1;7;\"keep; this\"\r\n\r\n\
                     00002;\"Say \"\"hi\"\"\";;;0;;\r\n";

fn project(files: &[(&str, &str)]) -> Project {
    let own = [("connections.yaml", CONNECTIONS), ("items.sql", SQL)];
    let project = Project::new(&[&own[..], files].concat());
    std::fs::create_dir_all(project.path("data")).unwrap();
    project
}

fn read(project: &Project, file: &str) -> String {
    String::from_utf8(std::fs::read(project.path(&format!("data/{file}"))).unwrap()).unwrap()
}

/// What a run did to a side: created, updated, deleted, unchanged, parked.
fn counts(run: &Json, side: &str) -> [u64; 5] {
    ["created", "updated", "deleted", "unchanged", "parked"].map(|what| run["runs"][0][side][what].as_u64().unwrap())
}

#[tokio::test]
async fn a_spreadsheet_and_a_database_follow_each_other() {
    let project = project(&[("items.yaml", ITEMS), ("data/items.csv", SHEET)]);
    let run = project.run(0);
    assert_eq!((counts(&run, "to_target"), counts(&run, "to_source")), ([2, 0, 0, 0, 0], [1, 0, 0, 2, 0]));
    // What nobody changed stands as it stood.
    let sheet = format!("{SHEET}00009;Só na loja;5,5;29/02/2024;true;3;\r\n");
    assert_eq!(read(&project, "items.csv"), sheet);
    let shown = "SELECT code || '|' || name || '|' || coalesce(price, '-') || '|' || coalesce(made, '-') || '|' || new FROM items ORDER BY 1";
    let there = ["00001|Lamp|1234.56|2026-02-28|1", "00002|Say \"hi\"|-|-|0", "00009|Só na loja|5.5|2024-02-29|1"];
    assert_eq!(project.column("shop", shown).await, there);
    let stamp = || std::fs::metadata(project.path("data/items.csv")).unwrap().modified().unwrap();
    let before = stamp();
    let run = project.run(0);
    assert_eq!((counts(&run, "to_target"), counts(&run, "to_source")), ([0, 0, 0, 3, 0], [0, 0, 0, 3, 0]));
    assert_eq!(stamp(), before, "nothing was written");
    // Both are edited, other fields of one record and the same field of another.
    project.write("data/items.csv", &sheet.replace("Lamp", "Lampe").replace("5,5", "6,50"));
    project
        .edit(
            "shop",
            "UPDATE items SET stock = 8 WHERE code = '00001'; UPDATE items SET price = 7 WHERE code = '00009'",
        )
        .await;
    let run = project.run(1);
    assert_eq!(
        (counts(&run, "to_target")[1], counts(&run, "to_source")[1], &run["runs"][0]["conflicts"]),
        (1, 1, &json!(1))
    );
    let edited =
        sheet.replace("Lamp;1.234,56;28/02/2026;1;7;", "Lampe;1.234,56;28/02/2026;1;8;").replace("5,5", "6,50");
    assert_eq!(read(&project, "items.csv"), edited);
    let id = project.engine("conflicts list . --format json").ends(0).json()["conflicts"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    project.engine(&format!("conflicts resolve . {id} --take target")).ends(0);
    project.run(0);
    assert!(read(&project, "items.csv").contains("00009;Só na loja;7;"), "{}", read(&project, "items.csv"));
    // Deletes go both ways.
    let sheet = read(&project, "items.csv");
    project.write("data/items.csv", &sheet.replace("\r\n\r\n00002;\"Say \"\"hi\"\"\";;;0;;", ""));
    project.edit("shop", "DELETE FROM items WHERE code = '00009'").await;
    let run = project.run(0);
    assert_eq!((counts(&run, "to_target")[2], counts(&run, "to_source")[2]), (1, 1));
    assert_eq!(read(&project, "items.csv").lines().count(), 2);
    assert_eq!(project.column("shop", "SELECT code FROM items").await, ["00001"]);
}

/// A time whose seconds the file's form leaves out would be read back as
/// somebody's edit of it.
#[tokio::test]
async fn a_time_that_the_form_of_a_file_cuts_is_parked() {
    let connections = CONNECTIONS.replace(
        "out.csv: { key: [code], fields: { code: text, name: text } }",
        "out.csv: { key: [code], fields: { code: text, at: { type: datetime, format: '%d/%m/%Y %H:%M' } } }",
    );
    let mapping = "mapping: times
source: { connection: shop, object: times }
target: { connection: sheets, object: out.csv }
direction: bidirectional
fields: [{ copy: [code, at] }]
";
    let sql = "CREATE TABLE times (code TEXT PRIMARY KEY, at DATETIME);
INSERT INTO times VALUES ('A', '2026-02-28 10:30:00'), ('B', '2026-02-28 10:30:15');";
    let project = project(&[("times.yaml", mapping), ("connections.yaml", &connections), ("items.sql", sql)]);
    let run = project.run(1);
    let error = &run["runs"][0]["errors"][0];
    assert_eq!((&error["code"], &error["source_key"]), (&json!("E0708"), &json!({ "code": "B" })));
    assert!(error["message"].as_str().unwrap().contains("`%d/%m/%Y %H:%M`"), "{error}");
    assert_eq!(read(&project, "out.csv"), "code,at\nA,28/02/2026 10:30\n");
    let run = project.run(0);
    assert_eq!((counts(&run, "to_target"), counts(&run, "to_source")), ([0, 0, 0, 1, 0], [0, 0, 0, 1, 0]));
    assert_eq!(project.column("shop", "SELECT at FROM times WHERE code = 'B'").await, ["2026-02-28 10:30:15"]);
}

/// A row that cannot be read is parked with its line; while not even its key can
/// be told, nothing counts as deleted.
#[tokio::test]
async fn rows_that_cannot_be_read_are_parked_with_their_lines() {
    let bad = format!("{SHEET}00003;Bad;x;31/02/2026;1;1;\r\n00004;short\r\n00001;twin;1;;;;\r\n");
    let project = project(&[("items.yaml", ITEMS), ("data/items.csv", &bad)]);
    let run = project.run(1);
    assert_eq!(counts(&run, "to_target"), [2, 0, 0, 0, 3]);
    let errors = run["runs"][0]["errors"].as_array().unwrap();
    let said: Vec<&str> = errors.iter().map(|error| error["message"].as_str().unwrap()).collect();
    for expected in [
        "`items.csv`, line 5: `price`: `x` is no decimal",
        "`items.csv`, line 6: it has 2 cells, and the file has 7 cells",
        "`items.csv`, line 7: the record of line 2 has the same key",
    ] {
        assert!(said.iter().any(|said| said.contains(expected)), "{expected}: {said:?}");
    }
    assert!(read(&project, "items.csv").starts_with(&bad), "what cannot be read is left as it is");
    assert_eq!(project.run(0)["runs"][0]["owed"], 3);
    // One of them is put right, one goes, and one loses even its key.
    let sheet = read(&project, "items.csv");
    let mended =
        sheet.replace("x;31/02/2026", "1;").replace("00004;short", "\"00002;open").replace("00001;twin;1;;;;\r\n", "");
    let mended = mended.replace("00002;\"Say \"\"hi\"\"\";;;0;;\r\n", "");
    project.write("data/items.csv", &mended);
    let run = project.run(1);
    assert_eq!((counts(&run, "to_target"), &run["runs"][0]["owed"]), ([1, 0, 0, 2, 1], &json!(1)), "{run}");
    let codes = "SELECT code FROM items ORDER BY code";
    assert_eq!(project.column("shop", codes).await, ["00001", "00002", "00003", "00009"], "nobody knows which is gone");
    project.write("data/items.csv", &mended.replace("\"00002;open\r\n", ""));
    assert_eq!(counts(&project.run(0), "to_target")[2], 1);
    assert_eq!(project.column("shop", codes).await, ["00001", "00003", "00009"]);
}

/// Files of other forms, each made by the engine, read and written again.
#[tokio::test]
async fn other_forms_of_files_are_read_and_written() {
    let to = |name: &str, file: &str, fields: &str| {
        format!(
            "mapping: {name}\nsource: {{ connection: shop, object: items, key: [code] }}\ntarget: {{ connection: sheets, object: {file} }}\nfields: [{{ copy: [{fields}] }}]\n"
        )
    };
    let yaml =
        [to("list", "list.jsonl", "code, name, price, made"), to("packed", "packed.jsonl.gz", "code, name, price")]
            .join("---\n");
    let project = project(&[("to.yaml", &yaml)]);
    project.run(0);
    assert_eq!(
        read(&project, "list.jsonl"),
        "{\"code\":\"00009\",\"name\":\"Só na loja\",\"price\":5.5,\"made\":\"2024-02-29\",\"more\":null}\n"
    );
    // Other members of a document stay.
    let documents =
        "{\"code\":\"00009\",\"name\":\"Só na loja\",\"tags\":[\"a\"],\"price\":5.5,\"made\":\"2024-02-29\"}\n";
    project.write("data/list.jsonl", documents);
    project.edit("shop", "UPDATE items SET price = 12345678901234567890.5 WHERE code = '00009'; INSERT INTO items (code, name) VALUES ('2', '')").await;
    project.edit("shop", "UPDATE items SET price = 6.25").await;
    project.run(0);
    let lines = read(&project, "list.jsonl");
    let mut lines = lines.lines();
    assert_eq!(
        lines.next(),
        Some("{\"code\":\"00009\",\"name\":\"Só na loja\",\"tags\":[\"a\"],\"price\":6.25,\"made\":\"2024-02-29\"}")
    );
    assert!(lines.next().unwrap().starts_with("{\"code\":\"2\",\"name\":\"\",\"price\":6.25,"));
    let unpacked =
        std::process::Command::new("gzip").arg("-dc").arg(project.path("data/packed.jsonl.gz")).output().unwrap();
    assert_eq!(String::from_utf8(unpacked.stdout).unwrap().lines().count(), 2);
}

/// What the file's encoding does not have is refused, and no other record with
/// it.
#[tokio::test]
async fn an_encoding_holds_what_it_holds() {
    let yaml = "mapping: old
source: { connection: sheets, object: old.csv }
target: { connection: shop, object: items, key: [code] }
direction: bidirectional
fields: [{ copy: [code, name] }]
";
    let project = project(&[("old.yaml", yaml)]);
    std::fs::write(project.path("data/old.csv"), b"code,name\n1,Jos\xe9\n").unwrap();
    project.run(0);
    assert_eq!(project.column("shop", "SELECT name FROM items WHERE code = '1'").await, ["José"]);
    project
        .edit(
            "shop",
            "UPDATE items SET name = 'Ação €' WHERE code = '1'; INSERT INTO items (code, name) VALUES ('2', '中')",
        )
        .await;
    let run = project.run(1);
    let message = run["runs"][0]["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("encoding has no `中`") && message.contains("`name`"), "{message}");
    let bytes = std::fs::read(project.path("data/old.csv")).unwrap();
    assert_eq!(bytes, b"code,name\n1,A\xe7\xe3o \x80\n00009,S\xf3 na loja\n");
}

/// A new file appears whole: an engine that dies before leaves none, and the next
/// run makes it.
#[cfg(unix)]
#[tokio::test]
async fn a_file_appears_whole_or_not_at_all() {
    let yaml = "mapping: out
source: { connection: shop, object: items, key: [code] }
target: { connection: sheets, object: out.csv }
fields: [{ copy: [code, name] }]
";
    let project = project(&[("out.yaml", yaml)]);
    project.engine("validate . --online").ends(0);
    project.engine("run . --once").ends(0);
    std::fs::remove_file(project.path("data/out.csv")).unwrap();
    project.engine("reset . out --links").ends(0);
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) \
                INSERT INTO items (code, name) SELECT 'N' || i, 'Name ' || i FROM n";
    project.edit("shop", many).await;
    let mut seen = 0;
    for wait in [50, 120, 250, 400, 600, 900] {
        let mut child = project
            .command("run . --once")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        if project.path("data/out.csv").exists() {
            assert_eq!(read(&project, "out.csv").lines().count(), 30_002, "whole");
            seen += 1;
        }
    }
    project.run(0);
    let lines = read(&project, "out.csv");
    let mut codes: Vec<&str> = lines.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!((lines.lines().count(), codes.len()), (30_002, 30_001), "seen {seen} times before");
    assert_eq!(project.run(0)["runs"][0]["to_target"]["unchanged"], 30_001);
    let left = std::fs::read_dir(project.path("data"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".new"));
    assert!(left.count() <= 1, "a draft at most of the engine that died last");
}

/// A run that is stopped before its file is to be seen has created nothing, and
/// says so.
#[cfg(unix)]
#[tokio::test]
async fn what_was_only_prepared_is_not_told_as_done() {
    let yaml = "mapping: out
source: { connection: shop, object: items, key: [code] }
target: { connection: sheets, object: out.csv }
fields: [{ copy: [code, name] }]
";
    let project = project(&[("out.yaml", yaml)]);
    project.run(0);
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) \
                INSERT INTO items (code, name) SELECT 'N' || i, 'Name ' || i FROM n";
    project.edit("shop", many).await;
    for wait in [100, 300, 500] {
        std::fs::remove_file(project.path("data/out.csv")).unwrap_or_default();
        project.engine("reset . out --links").ends(0);
        let mut command = project.command("run . --once --format json");
        let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        let Ok(told) = serde_json::from_slice::<Json>(&output.stdout) else { continue };
        let created = told["runs"][0]["to_target"]["created"].as_u64().unwrap_or(0);
        let stands = if project.path("data/out.csv").exists() { 30_001 } else { 0 };
        assert_eq!(created, stands, "{told}");
    }
    std::fs::remove_file(project.path("data/out.csv")).unwrap_or_default();
    project.engine("reset . out --links").ends(0);
    assert_eq!(project.run(0)["runs"][0]["to_target"]["created"], 30_001);
}

/// Nothing is read that may still be written, and nothing written over what
/// somebody edits.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_somebody_is_at_is_left_alone() {
    let connections = CONNECTIONS.replace("settle: 0s", "settle: 2s\n    retry: { attempts: 1 }");
    let project = project(&[("connections.yaml", &connections), ("items.yaml", ITEMS), ("data/items.csv", SHEET)]);
    let said = project.run(3)["runs"][0]["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("may still be written"), "{said}");
    std::thread::sleep(std::time::Duration::from_secs(3));
    project.run(0);
    let sheet = read(&project, "items.csv");
    project.write("data/.~lock.items.csv#", "somebody");
    project.edit("shop", "UPDATE items SET stock = 1").await;
    std::thread::sleep(std::time::Duration::from_secs(3));
    let said = project.run(3)["runs"][0]["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(said.contains(".~lock.items.csv#"), "{said}");
    assert_eq!(read(&project, "items.csv"), sheet);
    std::fs::remove_file(project.path("data/.~lock.items.csv#")).unwrap();
    assert_eq!(counts(&project.run(0), "to_source")[1], 3);
}

#[test]
fn mistakes_about_files_are_told_with_their_places() {
    let connections = "connections:
  sheets:
    connector: files
    path: data
    objects:
      ../out.csv: {}
      a.csv: { format: jsonlines, delimiter: ';;', header: false }
      b.dat: { fields: { x: text } }
      c.jsonl: { delimiter: ';' }
      d.csv: { fields: { born: { type: date, format: '%d' }, name: { type: text, format: '%Y' }, n: int } }
      e.csv: { format: xml }
      f.xml: { record: orders/order, encoding: windows-1252, delimiter: ';' }
      g.txt: { format: fixed_width, fields: { a: text, b: { width: 0 }, c: { width: 3, path: x } }, key: [d] }
      h.csv: { record: /a/b, delimiter: '\"', fields: { x: { width: 3 } } }
      i.xml: { record: /a/b, fields: { 'unit price': decimal, x: { path: a//b }, y: { path: '@u/v' }, z: { path: 'u/@v' } } }
      j.txt: { format: parquet }
      k.txt: { format: fixed_width }
  slow: { connector: files, path: data, timeout: 5s }
";
    let project = Project::new(&[("connections.yaml", connections), ("items.yaml", ITEMS)]);
    let mut said = project.engine("validate . --format json").ends(2).said();
    said.retain(|one| one.starts_with("connections.yaml:"));
    insta::assert_snapshot!(said.join("\n"));
}
