//! A first sync is ended at its calls, while batches are dealt with beside the
//! writing of those before them; the next run goes on where it stopped.

use std::collections::BTreeMap;

use engine::record::{Both, Side};

use super::points::{How, run_to, worth_a_run};
use super::project::{POSTGRES_POSTGRES, Pair, Project, SQLITE_POSTGRES, Terms, written};
use super::system::Row;

/// More batches than are on their way at once.
const ROWS: u64 = 17_000;

/// Runs that are ended.
const POINTS: usize = 6;

/// Keys are known before a record is written, on both sides.
const MAPPING: &str = "mapping: items
source: { connection: left, object: items, key: [code], cursor: { field: changed, overlap: 1s } }
target: { connection: right, object: items, key: [code], cursor: { field: changed, overlap: 1s } }
direction: bidirectional
fields:
  - { source: code, target: code, rules: [trim] }
  - copy: [one, two]
";

/// A code that is another one's in the target, some batches later.
const DOUBLE: &str = "k00007 ";

async fn first_syncs(pair: Pair, how: How) {
    let project = Project::new(pair, &Terms::PLAIN, false).await;
    std::fs::write(project.path().join("items.yaml"), MAPPING).unwrap();
    let mut hands = Both::new(project.systems.source.hand().await, project.systems.target.hand().await);
    for side in Side::BOTH {
        hands[side].run("CREATE UNIQUE INDEX items_key ON items (code)").await;
    }
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})");
    let code = "'k' || substr('0000' || i, -5)";
    let code = if pair.0 == POSTGRES_POSTGRES.0 { "'k' || lpad(i::text, 5, '0')" } else { code };
    let fill =
        format!("{numbers} INSERT INTO items (code, one, two) SELECT {code}, 'one of ' || i, 'two of ' || i FROM n");
    hands.source.run(&fill).await;
    hands.source.run(&format!("INSERT INTO items (code, one, two) VALUES ('{DOUBLE}', 'one', 'two')")).await;

    let (calls, whole) = run_to(&project, 0, how);
    stands(&project, &whole.ends(1).out).await;
    let points = worth_a_run(&calls);
    for point in points.iter().step_by(points.len().div_ceil(POINTS)).copied() {
        hands.target.run("DELETE FROM items").await;
        std::fs::remove_dir_all(project.path().join(".engine")).unwrap();
        let (_, ended) = run_to(&project, point, how);
        let after = format!("after call {point}, {how:?}: {ended:?}");
        let ran = project.run();
        assert!(matches!(ran.code, Some(0 | 1)), "{after}\n{ran:?}");
        stands(&project, &after).await;
        assert_eq!(written(&project.run().ends(0).report()), 0, "{after}");
    }
}

/// Every record is there once, and the one too many is owed.
async fn stands(project: &Project, after: &str) {
    let row = |what: &str| -> Row { ["one", "two"].map(|field| Some(format!("{field}{what}"))) };
    let code = |number: u64| format!("k{number:05}");
    let mut expected: BTreeMap<_, _> = (1..=ROWS).map(|i| (code(i), vec![row(&format!(" of {i}"))])).collect();
    let mut found = project.systems.target.rows().await;
    // Whichever of the two came first has it.
    if found.get("k00007") == Some(&vec![row("")]) {
        expected.insert("k00007".into(), vec![row("")]);
    }
    assert_eq!(found.len(), expected.len(), "{after}");
    found.retain(|code, rows| expected.get(code) != Some(rows));
    assert_eq!(found, BTreeMap::new(), "{after}");
    let parked = project.parked();
    assert_eq!(parked.len(), 1, "{parked:?}, {after}");
}

#[tokio::test]
async fn a_first_sync_that_is_killed_goes_on_between_postgres_and_postgres() {
    first_syncs(POSTGRES_POSTGRES, How::After).await;
}

#[tokio::test]
async fn a_first_sync_that_is_killed_goes_on_between_sqlite_and_postgres() {
    first_syncs(SQLITE_POSTGRES, How::Before).await;
}
