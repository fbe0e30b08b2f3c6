//! Systems that fail in passing or vanish, and what is left lying about.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::project::{CONNECTIONS, ITEMS, Project};
use crate::support::postgres::Database;

/// A way to a server that drops the first connections.
struct Flaky {
    port: u16,
    taken: Arc<AtomicUsize>,
}

impl Flaky {
    fn before(server: String, drops: usize) -> Flaky {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if count.fetch_add(1, Ordering::Relaxed) < drops {
                    drop(client);
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server) else { return };
                for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    std::thread::spawn(move || {
                        let mut bytes = [0; 16 * 1024];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            if to.write_all(&bytes[..count]).is_err() {
                                break;
                            }
                        }
                        let _gone = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Flaky { port, taken }
    }
}

/// Goods in PostgreSQL, `{connection}` behind a way that drops two connections.
async fn behind(retry: &str) -> (Project, Flaky) {
    let database = Database::fresh().await;
    database.run("CREATE TABLE goods (id serial PRIMARY KEY, sku text UNIQUE, title text)").await;
    let server = database.url.split(['@', '/']).find(|part| part.contains("127.0.0.1")).unwrap().to_owned();
    let flaky = Flaky::before(server.clone(), 2);
    let url = database.url.replace(&server, &format!("127.0.0.1:{}", flaky.port));
    let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{url}', retry: {retry} }}\n");
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: pg, object: goods, key: [id] }
match: [sku]
fields: [{ source: code, target: sku }, { source: name, target: title }]
";
    (Project::new(&[("connections.yaml", &connections), ("items.yaml", mapping)]), flaky)
}

/// Issue 2: only reads were tried again, and not what comes before them.
#[tokio::test]
async fn a_system_that_fails_in_passing_is_asked_again() {
    let (project, flaky) = behind("{ attempts: 3, backoff: 10ms }").await;
    let report = project.run(0);
    assert_eq!(report["runs"][0]["to_target"]["created"], 3);
    assert!(flaky.taken.load(Ordering::Relaxed) > 2);
    let (project, flaky) = behind("{ attempts: 2, backoff: 10ms }").await;
    assert_eq!(project.run(3)["runs"][0]["errors"][0]["code"], "E0802");
    assert_eq!(flaky.taken.load(Ordering::Relaxed), 2, "as often as was said, and no more");
}

/// Issue 2: statements with their values stood in the log.
#[tokio::test]
async fn statements_are_not_logged() {
    let (project, _) = behind("{ attempts: 3, backoff: 10ms }").await;
    project.run(0);
    project.edit("office", "UPDATE items SET name = 'Desk lamp' WHERE code = 'A'").await;
    let ended = project.engine("run . --once -vvv").ends(0);
    assert!(ended.err.contains("engine::event"), "there is a log: {}", ended.err);
    for words in ["sqlx::query", "INSERT INTO", "SELECT "] {
        assert!(!ended.err.contains(words), "{words}: {}", ended.err);
    }
}

/// Issue 2: the state's files lay open to others, and its log beside it.
#[cfg(unix)]
#[tokio::test]
async fn the_state_is_one_file_of_its_owners_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::items();
    let mode = |name: &str| std::fs::metadata(project.path(name)).unwrap().permissions().mode() & 0o777;
    let status = std::process::Command::new("sh")
        .current_dir(project.path(""))
        .args(["-c", "umask 000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_engine"), "run", ".", "--once"])
        .output()
        .unwrap();
    assert!(status.status.success());
    let left = || {
        let files = std::fs::read_dir(project.path(".engine")).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(mode(".engine"), 0o700);
    for command in ["run . --once", "status .", "runs .", "conflicts list .", "trace . items A", "plan ."] {
        assert_eq!(left(), ["state.db", "state.lock"], "before {command}");
        assert_eq!((mode(".engine/state.db"), mode(".engine/state.lock")), (0o600, 0o600), "before {command}");
        project.engine(command).ends(0);
    }
    project.engine("run nothing --once").ends(2);
    project.engine("conflicts show . 99").ends(2);
    assert_eq!(left(), ["state.db", "state.lock"], "a command that fails closes the state as well");
}

/// Issue 2: a plan took the copy it made for another system (E0901), and a run
/// the empty database it made for the one that was lost.
#[tokio::test]
async fn a_database_that_vanished_is_missing_and_not_new() {
    let project = Project::items();
    project.run(0);
    for file in ["office", "shop"] {
        std::fs::rename(project.path(&format!("data/{file}.db")), project.path(&format!("{file}.away"))).unwrap();
        for command in ["plan .", "run . --once", "run . --once --full"] {
            let report = project.engine(&format!("{command} --format json")).ends(3).json();
            let error = &report["runs"][0]["errors"][0];
            let message = error["message"].as_str().unwrap();
            assert_eq!(error["code"], "E0802", "{command}: {error}");
            let path = format!("data/{file}.db` any more");
            assert!(message.contains(&path) && message.contains("`engine reset --links`"), "{command}: {error}");
            assert!(!project.path(&format!("data/{file}.db")).exists(), "{command}");
        }
        let status = project.engine("status .").ends(0);
        assert!(status.out.contains("items: ") && status.out.contains("any more"), "{}", status.out);
        let adopted = project.engine("state adopt .").ends(3);
        assert!(adopted.err.contains("any more"), "{}", adopted.err);
        std::fs::rename(project.path(&format!("{file}.away")), project.path(&format!("data/{file}.db"))).unwrap();
    }
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
    // Forgotten on purpose, it is made anew.
    std::fs::remove_dir_all(project.path("data")).unwrap();
    project.engine("reset . items --links --yes").ends(0);
    assert_eq!(project.run(0)["runs"][0]["to_target"]["created"], 2);
}

/// Issue 2: a run that was stopped said nothing and left no trace.
#[cfg(unix)]
#[tokio::test]
async fn a_run_that_is_stopped_says_so_and_is_told_of() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        // A way that takes a connection and answers nothing.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://me@127.0.0.1:{}/db", listener.local_addr().unwrap().port());
        let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{url}' }}\n");
        let other = ITEMS.replace("mapping: items", "mapping: other").replace("connection: shop", "connection: pg");
        let project =
            Project::new(&[("connections.yaml", &connections), ("items.yaml", ITEMS), ("other.yaml", &other)]);
        let mut command = project.command("run . --once --format json");
        let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let _waiting = listener.accept().unwrap();
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(said.contains("stopped; what was written is on record"), "{said}");
        let told: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(told["status"], "interrupted");
    }
    let help = Project::items().engine("--help").ends(0).out;
    assert!(help.contains("130") && help.contains("143"), "{help}");
}

/// Issue 2: after a crash in its first run a mapping had never run.
#[tokio::test]
async fn a_run_without_an_end_is_told_of() {
    let project = Project::items();
    project.run(0);
    // What a run leaves that is killed after it began: it is counted, and has no end on record.
    let state = format!("sqlite://{}", project.path(".engine/state.db").display());
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&state).await.unwrap();
    sqlx::raw_sql("UPDATE mappings SET runs = runs + 1").execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    for command in ["status .", "runs ."] {
        let out = project.engine(command).ends(0).out;
        assert!(out.contains("items: run 2 began and did not end"), "{command}: {out}");
    }
    let status = project.engine("status . --format json").ends(0).json();
    assert_eq!(status["mappings"][0]["unfinished_run"], 2);
    project.run(0);
    let status = project.engine("status . --format json").ends(0).json();
    assert_eq!(status["mappings"][0]["unfinished_run"], serde_json::Value::Null);
}

/// Issue 2: a run that was killed was missing from the list once another had ended.
#[cfg(unix)]
#[tokio::test]
async fn a_run_that_is_killed_stays_on_the_list() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "UPDATE items SET name = 'Light' WHERE code = 'A'").await;
    let shop = format!("sqlite://{}", project.path("data/shop.db").display());
    let mut lock = <sqlx::SqliteConnection as sqlx::Connection>::connect(&shop).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    let mut command = project.command("run . --once");
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let runs = || project.engine("runs . --format json").ends(0).json()["runs"].clone();
    // It cannot end before it may write.
    while runs()[0]["status"] != "running" {
        assert!(child.try_wait().unwrap().is_none(), "{}", runs());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    sqlx::Connection::close(lock).await.unwrap();
    for command in ["status .", "runs ."] {
        let out = project.engine(command).ends(0).out;
        assert!(out.contains("items: run 2 began and did not end"), "{command}: {out}");
    }
    project.run(0);
    let runs = runs();
    let told = |index: usize| (runs[index]["number"].as_u64(), runs[index]["status"].as_str());
    let expected = [(Some(3), Some("success")), (Some(2), Some("interrupted")), (Some(1), Some("success"))];
    assert_eq!([told(0), told(1), told(2)], expected, "{runs}");
    assert_eq!((&runs[1]["owed"], &runs[1]["duration_ms"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    let all = project.engine("runs . --limit 0 --format json").ends(0).json();
    assert_eq!(all["runs"], runs, "0 is all of them");
    let out = project.engine("runs .").ends(0).out;
    assert!(out.contains("interrupted") && !out.contains("did not end"), "{out}");
}

/// Issue 2: `failed` counted nothing, whatever failed.
#[tokio::test]
async fn records_that_a_system_fails_to_take_in_are_counted() {
    let database = Database::fresh().await;
    database
        .run(
            "CREATE TABLE goods (id serial PRIMARY KEY, sku text UNIQUE, title text);
             CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NEW; END $$;
             CREATE TRIGGER gone BEFORE INSERT ON goods FOR EACH ROW EXECUTE FUNCTION gone();",
        )
        .await;
    let connections = format!(
        "{CONNECTIONS}  pg: {{ connector: postgres, url: '{}', retry: {{ attempts: 1, backoff: 10ms }} }}\n",
        database.url
    );
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: pg, object: goods, key: [id] }
match: [sku]
fields: [{ source: code, target: sku }, { source: name, target: title }]
";
    let project = Project::new(&[("connections.yaml", &connections), ("items.yaml", mapping)]);
    let run = project.run(3)["runs"][0].clone();
    let counts = &run["to_target"];
    assert_eq!(
        (&counts["failed"], &counts["created"], &run["status"]),
        (&3.into(), &0.into(), &"failure".into()),
        "{run}"
    );
    database.run("DROP TRIGGER gone ON goods").await;
    let counts = project.run(0)["runs"][0]["to_target"].clone();
    assert_eq!((&counts["failed"], &counts["created"]), (&0.into(), &3.into()), "{counts}");
}

/// Issue 2: after a run that was refused the last good one had not ended.
#[tokio::test]
async fn a_run_that_is_refused_is_a_run() {
    let project = Project::items();
    project.run(0);
    project.write("items.yaml", &ITEMS.replace("key: [code]", "key: [name]"));
    project.run(1);
    for command in ["status .", "runs ."] {
        let out = project.engine(command).ends(0).out;
        assert!(out.contains("failure") && !out.contains("did not end"), "{command}: {out}");
    }
    let runs = project.engine("runs . --format json").ends(0).json()["runs"].clone();
    let told = |index: usize| (runs[index]["number"].as_u64(), runs[index]["status"].as_str());
    assert_eq!([told(0), told(1)], [(Some(2), Some("failure")), (Some(1), Some("success"))], "{runs}");
}

/// Issue 2: a restore was told of once, and forgotten when the restored side
/// went on: its new records went over others that had the same keys.
#[tokio::test]
async fn a_restore_is_refused_until_somebody_has_looked() {
    let table = "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT, upd DATETIME);";
    let office = format!("{table} INSERT INTO items (code, upd) VALUES ('A', '2026-03-01 08:00:00');");
    let mapping = "mapping: items
source: { connection: office, object: items, key: [id], cursor: { field: upd, overlap: 1s }, deleted: { sweep: 1s } }
target: { connection: shop, object: items, key: [id], cursor: { field: upd, overlap: 1s }, deleted: { sweep: 1s } }
direction: bidirectional
match: [code]
fields: [{ copy: [code, upd] }]
deletes: { to_target: propagate, to_source: propagate }
";
    let files =
        [("connections.yaml", CONNECTIONS), ("items.yaml", mapping), ("office.sql", &office), ("shop.sql", table)];
    let project = Project::new(&files);
    project.run(0);
    let (shop, backup) = (project.path("data/shop.db"), project.path("data/backup"));
    std::fs::copy(&shop, &backup).unwrap();
    project.edit("office", "UPDATE items SET code = 'A2', upd = '2026-03-02 08:00:00'").await;
    project.edit("office", "INSERT INTO items (code, upd) VALUES ('B', '2026-03-02 08:00:01')").await;
    project.run(0);
    project.run(0);
    std::fs::copy(&backup, &shop).unwrap();
    for edit in ["", "INSERT INTO items (code, upd) VALUES ('SHOP', '2026-03-03 08:00:00')", ""] {
        project.edit("shop", if edit.is_empty() { "SELECT 1" } else { edit }).await;
        let run = project.run(1)["runs"][0].clone();
        assert_eq!(run["errors"][0]["code"], "E0902", "{run}");
    }
    // Nor by a key, and no import of links forgets it.
    let by_key = project.engine("run . --once --key 1 --format json").ends(1).json();
    assert_eq!(by_key["runs"][0]["errors"][0]["code"], "E0902", "{by_key}");
    let others = format!("{}\n77,77\n", project.engine("links export . items").ends(0).out.lines().next().unwrap());
    project.write("links.csv", &others);
    let imported = project.engine("links import . items links.csv").ends(1).err;
    assert!(imported.contains("E0902"), "{imported}");
    assert_eq!(project.run(1)["runs"][0]["errors"][0]["code"], "E0902");
    assert_eq!(project.column("office", "SELECT code FROM items ORDER BY id").await, ["A2", "B"]);
    project.engine("reset . items --yes").ends(0);
    let ended = project.engine("run . --once --format json").json();
    assert!(!ended.to_string().contains("E0902"), "{ended}");
}
