//! Projects that `engine init` begins, and mappings that `discover --scaffold`
//! guesses.

use serde_json::json;

use super::project::Project;
use crate::support::postgres::Database;

/// Fields of an ERP in the manner of Protheus, and of a shop.
const ERP: &str =
    "CREATE TABLE SA1 (A1_COD CHAR(6), A1_LOJA CHAR(2), A1_NOME CHAR(40), A1_CGC CHAR(14), A1_LIMITE TEXT, \
    A1_DTNASC CHAR(8), A1_OBS TEXT, PRIMARY KEY (A1_COD, A1_LOJA));
INSERT INTO SA1 VALUES ('000001', '01', 'Ana', '123', '10.50', '20000131', 'x');";
const SHOP: &str = "CREATE TABLE \"odd name\" (a INTEGER PRIMARY KEY, colour BLOB);
CREATE TABLE customers (id INTEGER PRIMARY KEY, code TEXT, name TEXT NOT NULL, tax_id TEXT UNIQUE, \
    limite DECIMAL(10,2), dt_nasc DATE, notes TEXT);";

/// A project whose two databases are there.
async fn there() -> Project {
    let project = Project::new(&[]);
    project.write("data/office.db", "");
    project.write("data/shop.db", "");
    for (name, sql) in [("office", ERP), ("shop", SHOP)] {
        project.edit(name, sql).await;
    }
    project
}

#[test]
fn the_example_runs_as_it_is() {
    let project = Project::new(&[]);
    let answer = project.engine("init sync --format json").ends(0).json();
    assert_eq!(answer["files"], json!(["connections.yaml", "products.yaml", "office.sql", "shop.sql"]));
    assert_eq!(project.engine("validate sync --online --format json").ends(0).said(), Vec::<String>::new());
    let run = project.engine("run sync --once --format json").ends(0).json();
    assert_eq!(run["runs"][0]["to_target"]["created"], 2);
    assert_eq!(project.engine("run sync --once --format json").ends(0).json()["runs"][0]["to_target"]["created"], 0);
    // What is there is left as it is.
    let before = std::fs::read(project.path("sync/products.yaml")).unwrap();
    let told = project.engine("init sync").ends(2).err;
    assert!(told.contains("already"), "{told}");
    assert_eq!(std::fs::read(project.path("sync/products.yaml")).unwrap(), before);
    project.engine("init sync/inner --example").ends(0);
}

#[tokio::test]
async fn two_addresses_make_a_mapping_that_runs() {
    let project = there().await;
    let addresses = "--source sqlite://data/office.db --target data/shop.db";
    let answer = project.engine(&format!("init sync {addresses} --format json")).ends(0).json();
    assert_eq!(answer["files"], json!(["connections.yaml", "mapping.yaml"]));
    project.engine("validate sync --online").ends(0);
    let run = project.engine("run sync --once --format json").ends(0).json();
    assert_eq!(run["runs"][0]["to_target"]["created"], 1, "{run}");
    let found = project.column("shop", "SELECT code || name || tax_id || limite || dt_nasc FROM customers").await;
    assert_eq!(found, ["000001Ana12310.52000-01-31"]);
}

/// A password that was in an address is read from the environment, by the same
/// words.
#[tokio::test]
async fn a_password_stays_out_of_the_files() {
    let project = there().await;
    let database = Database::fresh().await;
    database
        .run("CREATE TABLE clients (id bigint PRIMARY KEY, name text); INSERT INTO clients VALUES (1, 'Ana')")
        .await;
    let (scheme, rest) = database.url.split_once("://").unwrap();
    let (user, rest) = rest.split_once('@').unwrap();
    let name = rest.split(['/', '?']).nth(1).unwrap().to_uppercase();
    let user = user.split(':').next().unwrap();
    let source = format!("{scheme}://{user}:top%21secret@{rest}");
    let run = |arguments: &str| {
        let mut command = project.command(arguments);
        command.env(format!("{name}_PASSWORD"), "top%21secret").output().unwrap()
    };
    let arguments =
        format!("init sync --source {source} --source-object clients --target data/shop.db --target-object customers");
    let done = run(&arguments);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let written = std::fs::read_to_string(project.path("sync/connections.yaml")).unwrap();
    assert!(written.contains(&format!(":${{{name}_PASSWORD}}@")) && !written.contains("secret"), "{written}");
    assert!(run("run sync --once").status.success());
    assert_eq!(project.column("shop", "SELECT name FROM customers").await, ["Ana"]);
}

/// Nothing is left of what could not be finished, and no password is written.
#[tokio::test]
async fn what_cannot_be_begun_leaves_nothing() {
    let project = there().await;
    for (arguments, code, words) in [
        ("--source data/none.db --target data/shop.db", 2, "there is no file"),
        ("--source ftp://host/x --target data/shop.db", 2, "no address that is known"),
        ("--source data/shop.db --target data/office.db", 2, "--source-object"),
        ("--source data/shop.db --source-object nothing --target data/office.db", 2, "has no object `nothing`"),
        ("--source data/shop.db --source-object 'odd name' --target data/office.db", 2, "is like one"),
        ("--source postgres://me:TOPSECRET@127.0.0.1:1/erp --target data/shop.db", 2, "export ERP_PASSWORD"),
        ("--source postgres://me@127.0.0.1:1/erp --target data/shop.db", 3, "refused"),
    ] {
        let told = project.engine(&format!("init sync {arguments}")).ends(code).err;
        assert!(told.contains(words), "{arguments}: {told}");
        assert!(!told.contains("TOPSECRET") && !project.path("sync").exists(), "{arguments}");
    }
}

#[tokio::test]
async fn fields_that_are_alike_are_paired() {
    let project = there().await;
    let sqlite = |name: &str| format!("{{ connector: sqlite, url: 'sqlite://data/{name}.db' }}");
    let connections = format!("connections:\n  office: {}\n  shop: {}\n", sqlite("office"), sqlite("shop"));
    project.write("connections.yaml", &connections);
    let guessed = project.engine("discover . office SA1 --scaffold").ends(0).out;
    for line in [
        "source: { connection: office, object: SA1, key: [A1_COD, A1_LOJA] }",
        "target: { connection: shop, object: customers, key: [id] }",
        "match: [tax_id]",
        "  - { source: A1_NOME, target: name }   # 100 %",
        "  - { source: A1_DTNASC, target: dt_nasc, rules: [{ date: '%Y%m%d' }] }   # ",
        "#   A1_LOJA (text of 2)",
        "#   id (64-bit integer)",
    ] {
        assert!(guessed.lines().any(|known| known.starts_with(line)), "{line}\n{guessed}");
    }
    let named = project.engine("discover . office SA1 --scaffold --to shop customers --format json").ends(0).json();
    assert_eq!((named["mapping"].as_str().unwrap(), &named["target"]["object"]), (&*guessed, &json!("customers")));
    project.write("customers.yaml", &guessed);
    assert_eq!(project.engine("validate . --format json").ends(0).said(), Vec::<String>::new());
    let told = project.engine("discover . office SA1 --scaffold --to shop 'odd name'").ends(2).err;
    assert!(told.contains("no field of `SA1` is like one of `odd name`"), "{told}");
    let told = project.engine("discover . office SA1 --scaffold --to shop nobody").ends(2).err;
    assert!(told.contains("has no object `nobody`"), "{told}");
}
