//! A run ends at each call by which it changes anything outside itself; the
//! next one heals.
//!
//! A small library, `point.c`, is preloaded into the engine and ends it before
//! or after the n-th of those calls: each write and sync of the state, each
//! write, sync and removal of an SQLite file, each piece sent to PostgreSQL.
//! So a run ends before and after everything it makes durable, on both sides
//! and in its state. Or it lives on, and the connection is cut instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use engine::record::{Both, Side};
use serde_json::json;

use super::asked_number;
use super::project::{POSTGRES_POSTGRES, Pair, Project, Ran, SQLITE_POSTGRES, SQLITE_SQLITE, Terms, end, written};
use super::system::{Edit, Hand, Row};

/// Of a run's points every so many is taken.
const STEP: usize = 5;

/// What happens at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Killed before the call.
    Before,
    /// Killed after it, before its answer is known.
    After,
    /// The connection is cut before the call, or after it.
    Cut,
    Lost,
}

impl How {
    fn word(self) -> &'static str {
        match self {
            How::Before => "before",
            How::After => "after",
            How::Cut => "cut",
            How::Lost => "lost",
        }
    }

    fn kills(self) -> bool {
        matches!(self, How::Before | How::After)
    }
}

/// The library, built once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let draft = folder.join(format!("point-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/point.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&draft, &source])
            .arg("-ldl")
            .output()
            .expect("a C compiler, which building the engine needs as well");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let place = folder.join("point.so");
        std::fs::rename(&draft, &place).unwrap();
        place
    })
}

/// The calls of a run, in order, and how it ended.
pub(super) fn run_to(project: &Project, point: usize, how: How) -> (Vec<String>, Ran) {
    let log = project.path().join("calls.log");
    drop(std::fs::remove_file(&log));
    let mut command = project.command(&["run", ".", "--once", "--format", "json"]);
    command.env("LD_PRELOAD", library()).env("ENGINE_POINT", point.to_string());
    command.env("ENGINE_POINT_HOW", how.word()).env("ENGINE_POINT_LOG", &log);
    let ran = end(command.spawn().unwrap());
    let calls = std::fs::read_to_string(&log).unwrap_or_default();
    (calls.lines().map(str::to_owned).collect(), ran)
}

/// The points worth a run of their own. Of many writes in a row to one file
/// only the last is: before it the others are part of no transaction, and what
/// the first finds is what the call before it has left.
pub(super) fn worth_a_run(calls: &[String]) -> Vec<usize> {
    let is_inner = |index: usize| !calls[index].starts_with("send") && calls.get(index + 1) == Some(&calls[index]);
    // The index of shared memory is nobody's but its process's.
    let own = |index: usize| ["-shm", ".lock"].iter().any(|end| calls[index].ends_with(end));
    (0..calls.len()).filter(|index| !is_inner(*index) && !own(*index)).map(|index| index + 1).collect()
}

/// Two systems whose people do the same every round, so that what must stand
/// there afterwards is known.
struct World {
    project: Project,
    hands: Both<Hand>,
    round: usize,
    expected: Both<BTreeMap<String, Row>>,
}

impl World {
    async fn new(pair: Pair) -> World {
        let project = Project::new(pair, &Terms::PLAIN, false).await;
        let hands = Both::new(project.systems.source.hand().await, project.systems.target.hand().await);
        World { project, hands, round: 0, expected: Both::default() }
    }

    /// A round: records made on both sides, fields edited on one side, on the
    /// other, on both; records deleted on either; a conflict settled by hand.
    async fn people(&mut self) {
        self.round += 1;
        let round = self.round;
        let name = |what: &str, ago: usize| format!("{what}{}", round - ago);
        let value = |what: &str| format!("{what} in {round}");
        let create = |what: &str| Edit::Create { code: name(what, 0), values: [value(what), value(what)] };
        let set =
            |what: &str, ago: usize, field: usize, value: String| Edit::Set { code: name(what, ago), field, value };
        let mut edits = vec![(Side::Source, create("a")), (Side::Source, create("c")), (Side::Target, create("b"))];
        if round > 1 {
            edits.push((Side::Source, set("a", 1, 0, value("first"))));
            edits.push((Side::Target, set("a", 1, 1, value("second"))));
            edits.push((Side::Target, set("b", 1, 0, value("third"))));
            edits.push((Side::Source, set("c", 1, 0, value("here"))));
            edits.push((Side::Target, set("c", 1, 0, value("there"))));
        }
        if round > 2 {
            edits.push((Side::Source, Edit::Delete { code: name("a", 2) }));
            edits.push((Side::Target, Edit::Delete { code: name("b", 2) }));
            edits.push((Side::Target, set("c", 2, 0, format!("here in {}", round - 1))));
        }
        if round > 3 {
            edits.push((Side::Source, Edit::Delete { code: name("c", 3) }));
        }
        for (side, edit) in edits {
            self.expect(side, &edit);
            self.hands[side].edit(&edit).await;
        }
    }

    /// What an edit comes to once it was carried over: it stands on both
    /// sides, but for a field that both have edited.
    fn expect(&mut self, side: Side, edit: &Edit) {
        for on in Side::BOTH {
            let rows = &mut self.expected[on];
            match edit {
                Edit::Create { code, values: [one, two] } | Edit::Twin { code, values: [one, two] } => {
                    rows.insert(code.clone(), [Some(one.clone()), Some(two.clone())]);
                }
                Edit::Set { code, field, value } if on == side || !value.starts_with("there") => {
                    if !(on != side && value.starts_with("here")) || *code != format!("c{}", self.round - 1) {
                        rows.get_mut(code).unwrap()[*field] = Some(value.clone());
                    }
                }
                Edit::Set { .. } => {}
                Edit::Delete { code } => {
                    rows.remove(code);
                }
            }
        }
    }

    /// One run puts right what the one before it left undone.
    async fn heals(&self, after: &str) {
        let ran = self.project.run();
        let report = ran.report();
        let expected = i32::from(report["conflicts"] != 0);
        assert_eq!(ran.code, Some(expected), "{after}\n{ran:?}");
        for side in Side::BOTH {
            let rows = self.project.systems[side].rows().await;
            let expected: BTreeMap<_, _> =
                self.expected[side].iter().map(|(code, row)| (code.clone(), vec![row.clone()])).collect();
            assert_eq!(rows, expected, "the {side}, round {} {after}\n{ran:?}", self.round);
        }
        // One is open, and none was told twice; besides, nothing is owed.
        let conflicts = self.project.conflicts();
        assert_eq!(conflicts.len(), self.round - 1, "one in each round but the first; {after}");
        let open = conflicts.iter().filter(|conflict| conflict["status"] == "open");
        let open: Vec<_> = open.map(|one| [one["source"].clone(), one["target"].clone()]).collect();
        let of_this_round = ["here", "there"].map(|value| json!(format!("{value} in {}", self.round)));
        let expected = if self.round > 1 { vec![of_this_round] } else { Vec::new() };
        assert_eq!(open, expected, "round {} {after}", self.round);
        assert_eq!(report["owed"], open.len(), "round {} {after}", self.round);
    }

    /// Nothing is left to do.
    fn is_at_rest(&self) {
        let ran = self.project.run().ends(0);
        assert_eq!(written(&ran.report()), 0, "{ran:?}");
    }
}

/// Runs end at their points, in one way after the other: at each STEP-th, or as
/// asked for; `first` keeps several tests from choosing the same.
async fn every_point(pair: Pair, ways: &[How], first: usize) {
    let step = asked_number("ENGINE_SERVERS_POINTS").map_or(STEP, |step| usize::try_from(step).expect("a step"));
    let mut world = World::new(pair).await;
    for _ in 0..4 {
        world.people().await;
        world.heals("without any trouble").await;
    }
    for how in ways {
        world.people().await;
        let (calls, whole) = run_to(&world.project, 0, *how);
        whole.ends(1);
        world.heals("after a whole run").await;
        let points = worth_a_run(&calls);
        assert!(points.len() > 10, "a run does much outside itself: {calls:?}");
        let points = points.into_iter().skip(first % step).step_by(step);
        for (index, point) in points.enumerate() {
            world.people().await;
            let (calls, ran) = run_to(&world.project, point, *how);
            // The order of two connections' calls is not always the same, their number nearly.
            let reached = calls.len() >= point;
            let at = calls.get(point.min(calls.len()) - 1).cloned().unwrap_or_default();
            let after = format!("after call {point} ({at}), {how:?}: {ran:?}");
            if how.kills() {
                // A call of another thread may be counted and not told yet when the engine ends.
                assert!(ran.code.is_none() || !reached, "{after}");
            } else {
                tells_of_the_cut(&ran, &after);
            }
            world.heals(&after).await;
            if index % 4 == 0 {
                world.is_at_rest();
            }
        }
    }
    world.is_at_rest();
}

/// An engine whose connection was cut goes on, or says that it could not.
fn tells_of_the_cut(ran: &Ran, after: &str) {
    let report = ran.report();
    match ran.code {
        // It connected anew.
        Some(0) => assert_eq!(report["status"], "success", "{after}"),
        Some(1) => assert_eq!(report["status"], "partial", "{after}"),
        Some(3) => {
            let faults: Vec<_> =
                report["errors"].as_array().unwrap().iter().filter(|error| error["reason"] == "fault").collect();
            assert!(!faults.is_empty() && faults.iter().all(|fault| fault["code"] == "E0802"), "{after}");
        }
        _ => panic!("{after}"),
    }
}

#[tokio::test]
async fn a_crash_at_every_point_heals_between_sqlite_and_sqlite() {
    every_point(SQLITE_SQLITE, &[How::Before], 0).await;
}

#[tokio::test]
async fn a_crash_at_every_point_heals_between_sqlite_and_postgres() {
    every_point(SQLITE_POSTGRES, &[How::Before], 1).await;
}

#[tokio::test]
async fn a_crash_at_every_point_heals_between_postgres_and_postgres() {
    every_point(POSTGRES_POSTGRES, &[How::After], 2).await;
}

#[tokio::test]
async fn a_connection_cut_at_any_point_heals() {
    every_point(SQLITE_POSTGRES, &[How::Cut, How::Lost], 3).await;
}

/// Row numbers that a crash has taken back are given again: the record that
/// has one of them now is not the one the engine was about to make.
#[tokio::test]
async fn a_key_given_again_after_a_crash_is_not_taken_for_ours() {
    let project = Project::new(SQLITE_SQLITE, &Terms::PLAIN, false).await;
    let create = |code: &str| Edit::Create { code: code.into(), values: [format!("{code}1"), format!("{code}2")] };
    let mut source = project.systems.source.hand().await;
    let mut calls = Vec::new();
    for code in ["rehearsal", "dress rehearsal"] {
        source.edit(&create(code)).await;
        let (called, ran) = run_to(&project, 0, How::Before);
        ran.ends(0);
        calls = called;
    }
    let journal = calls.iter().position(|call| call.starts_with("fsync") && call.ends_with("target.db-journal"));
    let point = journal.expect("the target is written") + 1;

    source.edit(&create("ours")).await;
    let (_, ran) = run_to(&project, point, How::Before);
    assert_eq!(ran.code, None, "{ran:?}");
    project.systems.target.hand().await.edit(&create("theirs")).await;
    project.run().ends(0);
    for side in Side::BOTH {
        let rows = project.systems[side].rows().await;
        for code in ["rehearsal", "dress rehearsal", "ours", "theirs"] {
            let row = [Some(format!("{code}1")), Some(format!("{code}2"))];
            assert_eq!(rows.get(code), Some(&vec![row]), "{code} in the {side}: {rows:?}");
        }
    }
    assert_eq!(written(&project.run().ends(0).report()), 0);
}
