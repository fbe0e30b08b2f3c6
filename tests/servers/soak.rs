//! Forty mappings at short intervals, people on all sides, faults and kills:
//! in the end nothing is lost or doubled, and the engine has grown neither in
//! memory nor in open files.
//!
//! `ENGINE_SOAK_SECONDS=3600` has it go on for an hour; `tests/run` for five
//! minutes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::record::Side;
use engine::run::{SystemWorld, World};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::asked_number;
use crate::seed::Seed;
use crate::support::postgres::Database;

const MAPPINGS: usize = 40;

/// Records of each mapping at the start.
const RECORDS: usize = 50;

/// On a side, even mappings are in PostgreSQL on it, and the others in SQLite;
/// for the target every second pair is turned round.
fn is_postgres(side: Side, mapping: usize) -> bool {
    match side {
        Side::Source => mapping.is_multiple_of(2),
        Side::Target => (mapping / 2).is_multiple_of(2),
    }
}

/// The field that people of a side edit.
fn own_field(side: Side) -> &'static str {
    if side == Side::Source { "one" } else { "two" }
}

/// Somebody's connection to one database.
enum Hand {
    Postgres(Box<PgConnection>),
    Sqlite(Box<SqliteConnection>),
}

impl Hand {
    /// So many rows were touched; `None` where the database was taken away, or
    /// kept by another for too long.
    async fn try_run(&mut self, sql: &str) -> Option<u64> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Hand::Postgres(connection) => {
                sqlx::raw_sql(sql).execute(&mut **connection).await.ok().map(|done| done.rows_affected())
            }
            Hand::Sqlite(connection) => {
                sqlx::raw_sql(sql).execute(&mut **connection).await.ok().map(|done| done.rows_affected())
            }
        }
    }

    async fn run(&mut self, sql: &str) -> u64 {
        self.try_run(sql).await.unwrap_or_else(|| panic!("{sql}"))
    }

    /// A table's rows: code, one, two.
    async fn rows(&mut self, mapping: usize) -> Vec<[String; 3]> {
        let sql = AssertSqlSafe(format!("SELECT code, one, two FROM t{mapping} ORDER BY code"));
        match self {
            Hand::Postgres(connection) => {
                let rows = sqlx::query(sql).fetch_all(&mut **connection).await.unwrap();
                rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect()
            }
            Hand::Sqlite(connection) => {
                let rows = sqlx::query(sql).fetch_all(&mut **connection).await.unwrap();
                rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect()
            }
        }
    }

    fn now(&self) -> &'static str {
        match self {
            Hand::Postgres(_) => "clock_timestamp()",
            Hand::Sqlite(_) => "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        }
    }
}

struct Soak {
    folder: tempfile::TempDir,
    databases: [Database; 2],
    stop: AtomicBool,
}

impl Soak {
    async fn new() -> Soak {
        let databases = [Database::fresh().await, Database::fresh().await];
        let soak = Soak { folder: tempfile::tempdir().unwrap(), databases, stop: AtomicBool::new(false) };
        let mut connections = String::from("connections:\n");
        for side in Side::BOTH {
            let url = &soak.databases[side as usize].url;
            let _ = writeln!(connections, "  {side}_pg: {{ connector: postgres, url: '{url}' }}");
            let _ = writeln!(connections, "  {side}_lite: {{ connector: sqlite, url: 'sqlite://{side}.db' }}");
        }
        soak.write("connections.yaml", &connections);
        for mapping in 0..MAPPINGS {
            // Half of them are read by a cursor and swept, the others listed.
            let read = if mapping.is_multiple_of(3) {
                ", cursor: { field: changed, overlap: 2s }, deleted: { sweep: 3s }"
            } else {
                ""
            };
            let place = |side| {
                let kind = if is_postgres(side, mapping) { "pg" } else { "lite" };
                format!("{{ connection: {side}_{kind}, object: t{mapping}, key: [id]{read} }}")
            };
            let text = format!(
                "mapping: m{mapping}\nsource: {}\ntarget: {}\ndirection: bidirectional\nmatch: [code]\n\
                 fields:\n  - copy: [code, one, two]\ndeletes: {{ to_target: propagate, to_source: propagate }}\n\
                 limits: {{ delete: 100000 }}\nschedule: {{ every: 2s, jitter: 1s }}\n",
                place(Side::Source),
                place(Side::Target),
            );
            soak.write(&format!("m{mapping}.yaml"), &text);
        }
        for side in Side::BOTH {
            for postgres in [true, false] {
                let mut hand = soak.hand(side, postgres).await;
                let (id, time) = if postgres { ("serial", "timestamptz") } else { ("INTEGER", "DATETIME") };
                for mapping in (0..MAPPINGS).filter(|mapping| is_postgres(side, *mapping) == postgres) {
                    hand.run(&format!(
                        "CREATE TABLE t{mapping} (id {id} PRIMARY KEY, code varchar(40) UNIQUE, one text, two text, changed {time})"
                    ))
                    .await;
                    let stamp = hand.now();
                    hand.run(&format!("CREATE INDEX t{mapping}_changed ON t{mapping} (changed)")).await;
                    if side == Side::Source {
                        let row = |code| format!("('k{code}', '', '', {stamp})");
                        let rows = (0..RECORDS).map(row).collect::<Vec<_>>().join(", ");
                        hand.run(&format!("INSERT INTO t{mapping} (code, one, two, changed) VALUES {rows}")).await;
                    }
                }
            }
        }
        soak
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    async fn hand(&self, side: Side, postgres: bool) -> Hand {
        if postgres {
            let mut connection = self.databases[side as usize].connect().await;
            sqlx::raw_sql("SET application_name = 'people'").execute(&mut connection).await.unwrap();
            return Hand::Postgres(Box::new(connection));
        }
        let options = SqliteConnectOptions::new()
            .filename(self.folder.path().join(format!("{side}.db")))
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(30));
        Hand::Sqlite(Box::new(SqliteConnection::connect_with(&options).await.unwrap()))
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.current_dir(self.folder.path()).env_clear().args(arguments.split(' ')).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn start(&self) -> Child {
        self.command("run . --parallel 8").spawn().unwrap()
    }
}

/// What people have entered last, by mapping and code: the value of their
/// field, or `None` where they have deleted the record.
type Entered = BTreeMap<(usize, String), Option<String>>;

/// Somebody edits one database until told to stop. Records with `k` stay for
/// ever and are edited by both sides, each its own field; those with another
/// letter belong to who has entered them, and go away again.
async fn people(soak: Arc<Soak>, side: Side, postgres: bool, mut seed: Seed) -> Entered {
    let mut hand = soak.hand(side, postgres).await;
    let mappings: Vec<usize> = (0..MAPPINGS).filter(|mapping| is_postgres(side, *mapping) == postgres).collect();
    let mut own: Vec<(usize, String)> = Vec::new();
    let mut entered = Entered::new();
    let (field, stamp) = (own_field(side), hand.now());
    let mut number = 0;
    while !soak.stop.load(Ordering::Relaxed) {
        number += 1;
        let mapping = mappings[below(&mut seed, mappings.len())];
        let value = format!("{side} {number}");
        match seed.below(10) {
            0 | 1 => {
                let code = format!("{side}{number}");
                let sql = format!(
                    "INSERT INTO t{mapping} (code, one, two, changed) VALUES ('{code}', '', '{value}', {stamp})"
                );
                if hand.try_run(&sql).await.is_some() {
                    entered.insert((mapping, code.clone()), Some(value));
                    own.push((mapping, code));
                }
            }
            2 | 3 if own.len() > 20 => {
                let (mapping, code) = own.remove(below(&mut seed, own.len()));
                if hand.try_run(&format!("DELETE FROM t{mapping} WHERE code = '{code}'")).await.is_some() {
                    entered.insert((mapping, code), None);
                }
            }
            _ => {
                let code = format!("k{}", seed.below(RECORDS as u64));
                let sql = format!("UPDATE t{mapping} SET {field} = '{value}', changed = {stamp} WHERE code = '{code}'");
                if hand.try_run(&sql).await == Some(1) {
                    entered.insert((mapping, code), Some(value));
                }
            }
        }
        SystemWorld.sleep(Duration::from_millis(10 + seed.below(30))).await;
    }
    entered
}

/// Takes away the engine's connections, or keeps a table to itself for a while.
async fn harm(soak: &Soak, seed: &mut Seed) {
    let side = if seed.below(2) == 0 { Side::Source } else { Side::Target };
    let mut hand = soak.hand(side, true).await;
    if seed.below(2) == 0 {
        hand.try_run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name <> 'people' AND pid <> pg_backend_pid()",
        )
        .await;
    } else {
        let mapping = (0..MAPPINGS).find(|mapping| is_postgres(side, *mapping)).unwrap();
        hand.try_run(&format!("BEGIN; LOCK TABLE t{mapping} IN EXCLUSIVE MODE; SELECT pg_sleep(1); COMMIT")).await;
    }
}

/// Memory in kilobytes, and open files.
fn size(child: &Child) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory = memory.trim().split(' ').next().unwrap().parse().unwrap();
    (memory, std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().count() as u64)
}

fn below(seed: &mut Seed, count: usize) -> usize {
    usize::try_from(seed.below(count as u64)).unwrap()
}

/// The largest of the first and of the last quarter.
fn growth(sizes: &[u64]) -> (u64, u64) {
    let quarter = (sizes.len() / 4).max(1);
    let most = |part: &[u64]| part.iter().copied().max().unwrap();
    (most(&sizes[..quarter]), most(&sizes[sizes.len() - quarter..]))
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_mappings_go_on_and_on() {
    let seconds = asked_number("ENGINE_SOAK_SECONDS").unwrap_or(30);
    let mut seed = Seed::new(asked_number("ENGINE_SERVERS_SEED").unwrap_or(1));
    let soak = Arc::new(Soak::new().await);
    let crowd: Vec<_> = Side::BOTH
        .into_iter()
        .flat_map(|side| [(side, true), (side, false)])
        .map(|(side, postgres)| (side, tokio::spawn(people(soak.clone(), side, postgres, Seed::new(seed.next())))))
        .collect();
    // Two fifths of the time it is killed again and again; then it runs on, and is looked at.
    let begun = SystemWorld.now();
    // So many hundredths of the time have not passed yet.
    let goes_on = |part: u64| (SystemWorld.now() - begun).num_milliseconds().unsigned_abs() < seconds * part * 10;
    let mut kills = 0;
    while goes_on(40) {
        let mut child = soak.start();
        SystemWorld.sleep(Duration::from_millis(500 + seed.below(5000))).await;
        harm(&soak, &mut seed).await;
        assert!(child.try_wait().unwrap().is_none(), "the engine goes on by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let mut child = soak.start();
    let (mut memory, mut files) = (Vec::new(), Vec::new());
    // Each mapping has run by then.
    SystemWorld.sleep(Duration::from_secs((seconds / 10).min(20))).await;
    while goes_on(100) {
        let (kilobytes, open) = size(&child);
        memory.push(kilobytes);
        files.push(open);
        if memory.len().is_multiple_of(10) {
            harm(&soak, &mut seed).await;
        }
        SystemWorld.sleep(Duration::from_millis(500)).await;
    }
    soak.stop.store(true, Ordering::Relaxed);
    let mut entered = BTreeMap::new();
    for (side, people) in crowd {
        for (place, value) in people.await.unwrap() {
            entered.insert((side, place), value);
        }
    }
    assert!(child.try_wait().unwrap().is_none(), "the engine goes on by itself");
    let stopped = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(stopped.success() && child.wait().unwrap().code() == Some(143));

    // When people rest, all comes to rest.
    let mut quiet = false;
    for _ in 0..10 {
        let run = soak.command("run . --once --full --format json").stdout(Stdio::piped()).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        let runs = report["runs"].as_array().unwrap();
        let wrote = |run: &serde_json::Value| {
            let count = |side: &str, what: &str| run[side][what].as_u64().unwrap();
            ["to_target", "to_source"]
                .iter()
                .any(|side| ["created", "updated", "deleted"].iter().any(|what| count(side, what) > 0))
        };
        quiet = runs.len() == MAPPINGS
            && runs.iter().all(|run| run["status"] == "success" && run["owed"] == 0 && !wrote(run));
        if quiet {
            break;
        }
    }
    assert!(quiet, "all comes to rest");

    let mut wrong = Vec::new();
    let mut edits = 0;
    for mapping in 0..MAPPINGS {
        let mut rows = Vec::new();
        for side in Side::BOTH {
            rows.push(soak.hand(side, is_postgres(side, mapping)).await.rows(mapping).await);
        }
        let known: BTreeMap<&str, &[String; 3]> = rows[0].iter().map(|row| (row[0].as_str(), row)).collect();
        if rows[0] != rows[1] || known.len() != rows[0].len() {
            wrong.push(format!("m{mapping}: the sides differ, or a record is doubled"));
        }
        for ((side, (of, code)), value) in entered.iter().filter(|((_, (of, _)), _)| *of == mapping) {
            edits += 1;
            // What people of the source enter with a record stands in `two` as well.
            let field = if own_field(*side) == "one" && code.starts_with('k') { 1 } else { 2 };
            let stands = known.get(code.as_str()).map(|row| row[field].clone());
            if stands != *value {
                wrong.push(format!("m{of} {code}: {side} entered {value:?}, and {stands:?} stands there"));
            }
        }
    }
    assert_eq!(wrong.len(), 0, "{:#?}", &wrong[..wrong.len().min(20)]);
    assert!(edits > seconds * 10 && kills > 1, "there was something to do: {edits} edits, {kills} kills");
    let ((before, after), (open_before, open_after)) = (growth(&memory), growth(&files));
    #[expect(clippy::print_stderr, reason = "what a long soak by hand is for")]
    {
        eprintln!(
            "soak: {seconds}s, {kills} kills, {edits} records edited; memory {before} -> {after} kB, open files \
             {open_before} -> {open_after}"
        );
    }
    assert!(after < before + before / 5 + 8_000, "memory grows: {before} -> {after} kB: {memory:?}");
    assert!(open_after <= open_before + 10, "open files grow: {open_before} -> {open_after}: {files:?}");
}
