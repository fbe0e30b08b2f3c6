//! A project of two real systems, and the engine's own binary run on it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use engine::record::{Both, Side};
use serde_json::Value as Json;

use super::system::{Kind, System};

/// Which systems stand on which side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair(pub(super) Kind, pub(super) Kind);

pub(super) const SQLITE_SQLITE: Pair = Pair(Kind::Sqlite, Kind::Sqlite);
pub(super) const SQLITE_POSTGRES: Pair = Pair(Kind::Sqlite, Kind::Postgres);
pub(super) const POSTGRES_POSTGRES: Pair = Pair(Kind::Postgres, Kind::Postgres);

/// How the mapping is written.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The side is read by its cursor, and swept for deletes; else listed.
    pub(super) cursor: Both<bool>,
    pub(super) policy: &'static str,
    pub(super) deletes: bool,
}

impl Terms {
    pub(super) const PLAIN: Terms =
        Terms { cursor: Both { source: true, target: true }, policy: "manual", deletes: true };
}

pub(super) struct Project {
    folder: tempfile::TempDir,
    pub(super) systems: Both<System>,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ran {
    /// `None` where it was killed.
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no report: {self:?}"))
    }

    /// The report of the one mapping.
    pub(super) fn report(&self) -> Json {
        self.json()["runs"][0].clone()
    }

    #[track_caller]
    pub(super) fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}

/// One of a report's counts.
pub(super) fn count(report: &Json, toward: Side, what: &str) -> u64 {
    let toward = if toward == Side::Target { "to_target" } else { "to_source" };
    report[toward][what].as_u64().unwrap_or_else(|| panic!("no {toward}.{what} in {report}"))
}

/// All that a report says was written.
pub(super) fn written(report: &Json) -> u64 {
    let sides = [Side::Source, Side::Target].into_iter();
    sides.flat_map(|side| ["created", "updated", "deleted"].map(|what| count(report, side, what))).sum()
}

impl Project {
    /// With `history`, both systems write down every change.
    pub(super) async fn new(pair: Pair, terms: &Terms, history: bool) -> Project {
        let folder = tempfile::tempdir().unwrap();
        let source = System::new(pair.0, folder.path().join("source.db"), history).await;
        let target = System::new(pair.1, folder.path().join("target.db"), history).await;
        let project = Project { folder, systems: Both::new(source, target) };
        let connections = project.systems.as_ref().map(System::connection);
        project.connect(&connections);
        let side = |name: &str, side: Side| {
            let read = match (terms.cursor[side], terms.deletes) {
                (true, true) => ", cursor: { field: changed, overlap: 1s }, deleted: { sweep: 1ms }",
                (true, false) => ", cursor: { field: changed, overlap: 1s }",
                (false, _) => ", modified: changed",
            };
            format!("{{ connection: {name}, object: items, key: [id]{read} }}")
        };
        let deletes = if terms.deletes { "deletes: { to_target: propagate, to_source: propagate }\n" } else { "" };
        let mapping = format!(
            "mapping: items\nsource: {}\ntarget: {}\ndirection: bidirectional\nmatch: [code]\nfields:\n  - copy: [code, one, two]\n\
             conflicts: {{ default: {} }}\n{deletes}limits: {{ delete: 10000 }}\n",
            side("left", Side::Source),
            side("right", Side::Target),
            terms.policy,
        );
        std::fs::write(project.path().join("items.yaml"), mapping).unwrap();
        project
    }

    /// Writes down where the systems are to be found.
    pub(super) fn connect(&self, connections: &Both<String>) {
        let text = format!("connections:\n  left: {}\n  right: {}\n", connections.source, connections.target);
        std::fs::write(self.path().join("connections.yaml"), text).unwrap();
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The engine's command in the project, with nothing of our environment.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.current_dir(self.path()).env_clear().args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A run that has just begun.
    pub(super) fn start(&self, more: &[&str]) -> Child {
        let arguments: Vec<&str> =
            ["run", ".", "--once", "--format", "json"].into_iter().chain(more.iter().copied()).collect();
        self.command(&arguments).spawn().unwrap()
    }

    pub(super) fn run(&self) -> Ran {
        end(self.start(&[]))
    }

    /// A run that reads everything again.
    pub(super) fn run_full(&self) -> Ran {
        end(self.start(&["--full"]))
    }

    /// The answer of another command.
    pub(super) fn ask(&self, arguments: &[&str]) -> Json {
        let child = self.command(&[arguments, &["--format", "json"]].concat()).spawn().unwrap();
        end(child).ends(0).json()
    }

    /// Every conflict there ever was.
    pub(super) fn conflicts(&self) -> Vec<Json> {
        self.ask(&["conflicts", "list", ".", "--all"])["conflicts"].as_array().unwrap().clone()
    }

    /// What is owed besides open conflicts.
    pub(super) fn parked(&self) -> Vec<Json> {
        let all = self.ask(&["parked", "list", "."])["parked"].as_array().unwrap().clone();
        all.into_iter().filter(|one| one["reason"] != "conflict").collect()
    }
}

/// Waits for the end of a run.
pub(super) fn end(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(
        output.status.code().is_some() || output.status.signal() == Some(9),
        "the engine ended by another signal than ours: {:?}",
        output.status
    );
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
