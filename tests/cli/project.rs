//! A project of two small databases, and the engine run on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Row};

pub(super) const CONNECTIONS: &str = "connections:
  office: { connector: sqlite, url: 'sqlite://data/office.db', create_from: office.sql }
  shop: { connector: sqlite, url: 'sqlite://data/shop.db', create_from: shop.sql }
";

pub(super) const ITEMS: &str = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: goods, key: [id] }
direction: bidirectional
match: [sku]
fields:
  - { source: code, target: sku }
  - { source: name, target: title, rules: [trim] }
  - { source: price, target: price }
  - { source: made, target: made_on, rules: [{ date: '%Y%m%d' }] }
deletes: { to_target: propagate }
limits: { delete: 1 }
";

pub(super) const OFFICE: &str = "CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), made TEXT);
INSERT INTO items VALUES ('A', 'Lamp', 19.90, '20240131'), ('B', 'Chair', 80, NULL), ('C', 'Mesa de jantar', 1200.5, '20240229');
";

const SHOP: &str =
    "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE);
INSERT INTO goods (sku, title, price) VALUES ('B', 'Chair', 80);
";

pub(super) struct Project {
    folder: tempfile::TempDir,
}

/// What the engine printed and how it ended.
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ended {
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {}{}", self.out, self.err))
    }

    /// The diagnostics in it: place, code and message of each.
    pub(super) fn said(&self) -> Vec<String> {
        let answer = self.json();
        let told = |one: &Json| {
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            let place = format!("{}:{}:{}", text("file"), one["line"], one["column"]);
            format!("{place} {} {}", text("code"), text("message"))
        };
        answer["diagnostics"].as_array().unwrap().iter().map(told).collect()
    }

    /// Asserts how it ended, and shows all it said where it ended otherwise.
    #[track_caller]
    pub(super) fn ends(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }
}

impl Project {
    /// The usual project: `items` between an office and a shop.
    pub(super) fn items() -> Project {
        Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", ITEMS)])
    }

    pub(super) fn new(files: &[(&str, &str)]) -> Project {
        let project = Project { folder: tempfile::tempdir().unwrap() };
        for (name, text) in [("office.sql", OFFICE), ("shop.sql", SHOP)].iter().chain(files) {
            project.write(name, text);
        }
        project
    }

    /// A mapping between an office and a shop that are laid out so.
    pub(super) fn between(mapping: &str, office: &str, shop: &str) -> Project {
        Project::new(&[
            ("connections.yaml", CONNECTIONS),
            ("items.yaml", mapping),
            ("office.sql", office),
            ("shop.sql", shop),
        ])
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A command in the project's folder, with nothing of our environment.
    pub(super) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.current_dir(self.folder.path()).env_clear().args(words(arguments)).stdin(Stdio::null());
        command
    }

    /// Runs `engine` with these arguments, cut at blanks; quotes hold together.
    pub(super) fn engine(&self, arguments: &str) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs all mappings once; the answer as JSON.
    #[track_caller]
    pub(super) fn run(&self, code: i32) -> Json {
        self.engine("run . --once --format json").ends(code).json()
    }

    /// Changes a database as its users would.
    pub(super) async fn edit(&self, database: &str, sql: &str) {
        let mut connection = self.connect(database).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// One column of a database's rows.
    pub(super) async fn column(&self, database: &str, sql: &str) -> Vec<String> {
        let mut connection = self.connect(database).await;
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows.iter().map(|row| row.get::<Option<String>, _>(0).unwrap_or_default()).collect()
    }

    async fn connect(&self, database: &str) -> SqliteConnection {
        let path = self.path(&format!("data/{database}.db"));
        SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
    }

    /// Every file below the project with its bytes.
    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(folder: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, into) } else { into.push((path.clone(), std::fs::read(path).unwrap())) }
            }
        }
        let mut files = Vec::new();
        walk(self.folder.path(), &mut files);
        files.sort();
        files
    }
}

fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
