//! Runs every example as its README says, and compares what it prints.

use std::path::Path;
use std::process::Command;

use crate::support::postgres::Database;

const EXAMPLES: &[&str] = &["01-two-way-postgres", "02-conflicts", "03-csv-to-sqlite"];

#[test]
fn every_example_is_run() {
    let entries = std::fs::read_dir(folder()).unwrap().map(Result::unwrap);
    let mut found: Vec<String> =
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, EXAMPLES);
}

#[tokio::test]
async fn two_way_postgres() {
    let (erp, shop) = (Database::fresh().await, Database::fresh().await);
    assert_prints(EXAMPLES[0], &[("ERP_DATABASE_URL", &erp.url), ("SHOP_DATABASE_URL", &shop.url)]);
}

#[test]
fn conflicts() {
    assert_prints(EXAMPLES[1], &[]);
}

#[test]
fn csv_to_sqlite() {
    assert_prints(EXAMPLES[2], &[]);
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
}

/// Runs a copy of the example, so that no state of it is left in the sources.
fn assert_prints(example: &str, environment: &[(&str, &str)]) {
    let place = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-R")
        .arg(folder().join(example))
        .arg(folder().join("counts"))
        .arg(place.path())
        .status();
    assert!(copied.unwrap().success());
    for left in [".engine", "data"] {
        // Somebody may have run the example in place.
        drop(std::fs::remove_dir_all(place.path().join(example).join(left)));
    }
    let output = Command::new(place.path().join(example).join("run.sh"))
        .env("ENGINE", env!("CARGO_BIN_EXE_engine"))
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let troubles = String::from_utf8_lossy(&output.stderr);
    let readme = std::fs::read_to_string(folder().join(example).join("README.md")).unwrap();
    let (_, block) = readme.split_once("```text\n").expect("the README shows what the example prints");
    let (expected, _) = block.split_once("```").expect("the block is closed");
    assert_eq!(printed, expected, "\non standard error:\n{troubles}");
    assert!(output.status.success(), "{}\n{troubles}", output.status);
}
