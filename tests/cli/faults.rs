//! Systems that fail in passing or vanish, and what is left lying about.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::project::{CONNECTIONS, Project};
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
