//! `engine run` without `--once`: on schedules, until somebody stops it.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, ITEMS, Project};

/// An engine that runs on schedules, and what it says.
pub(super) struct Service {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    asides: Lines<BufReader<ChildStderr>>,
    /// What it has said to people so far.
    said: String,
}

impl Service {
    pub(super) fn start(project: &Project, arguments: &str) -> Service {
        let mut command = project.command(&format!("run . --format json {arguments}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let asides = BufReader::new(child.stderr.take().unwrap()).lines();
        Service { child, lines, asides, said: String::new() }
    }

    /// The next run of a mapping that wrote something, or went otherwise than
    /// well.
    pub(super) fn next(&mut self, mapping: &str) -> Json {
        for _ in 0..500 {
            let line = self.lines.next().expect("it goes on").unwrap();
            let run: Json = serde_json::from_str(&line).unwrap();
            let wrote = |side: &str| ["created", "updated", "deleted"].iter().any(|what| run[side][what] != json!(0));
            if run["mapping"] == mapping && (run["status"] != "success" || wrote("to_target") || wrote("to_source")) {
                return run;
            }
        }
        panic!("`{mapping}` does nothing");
    }

    /// Waits until so many runs have ended.
    fn pass(&mut self, runs: usize) {
        (0..runs).for_each(|_| drop(self.lines.next().expect("it goes on").unwrap()));
    }

    /// Waits until it says this to people.
    fn says(&mut self, text: &str) {
        while !self.said.contains(text) {
            let line = self.asides.next().expect("it goes on").unwrap();
            self.said += &(line + "\n");
        }
    }

    pub(super) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// How it ended, and what it said to people.
    pub(super) fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        let said = std::mem::take(&mut self.said);
        (status.code(), self.asides.by_ref().fold(said, |said, line| said + &line.unwrap() + "\n"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whatever it says is told with the test that failed.
            self.child.kill().unwrap_or_default();
        }
    }
}

fn scheduled() -> String {
    format!("{ITEMS}schedule: {{ every: 200ms }}\n")
}

#[cfg(unix)]
#[tokio::test]
async fn mappings_run_by_themselves_until_they_are_stopped() {
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &scheduled())]);
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let mut service = Service::start(&project, "");
        if signal == "-TERM" {
            assert_eq!(service.next("items")["to_target"]["created"], 2);
        }
        project.edit("office", &format!("UPDATE items SET name = 'by {code}' WHERE code = 'A'")).await;
        let run = service.next("items");
        assert_eq!((&run["to_target"]["updated"], &run["failures"]), (&json!(1), &json!(0)), "{run}");
        assert!(run["next_run_at"].as_str().unwrap() > run["started_at"].as_str().unwrap(), "{run}");
        let title = project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await;
        assert_eq!(title, [format!("by {code}")]);
        // It is told of while it runs, and no other engine begins.
        assert_eq!(project.engine("status . --format json").ends(0).json()["mappings"][0]["links"], 3);
        assert!(project.engine("run . --once").ends(3).err.contains("E0906"));
        service.signal(signal);
        let (ended, said) = service.ended();
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains("1 mapping on schedule") && said.contains("stopped; what was written"), "{said}");
    }
    let status = project.engine("status . --format json").ends(0).json();
    assert!(status["mappings"][0]["next_run_at"].is_string(), "{status}");
    assert_eq!(project.run(0)["runs"][0]["owed"], 0);
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_edited_is_taken_over_unless_it_is_wrong() {
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &scheduled())]);
    let mut service = Service::start(&project, "");
    service.next("items");
    // A file that is wrong: the former mapping goes on.
    project.write("items.yaml", &scheduled().replace("rules: [trim]", "rules: [trmi]"));
    service.says("the mappings go on as they were");
    project.edit("office", "UPDATE items SET name = 'still' WHERE code = 'A'").await;
    assert_eq!(service.next("items")["to_target"]["updated"], 1);
    // Put right, its rules hold for all records.
    project.write("items.yaml", &scheduled().replace("rules: [trim]", "rules: [trim, { prefix: 'x' }]"));
    assert_eq!(service.next("items")["to_target"]["updated"], 3);
    let title = project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await;
    assert_eq!(title, ["xstill"]);
    // One mapping more, that runs after it.
    let other = "mapping: names
source: { connection: office, object: items, key: [code] }
target: { connection: shop, object: names, key: [code] }
fields: [{ copy: [code, name] }]
schedule: { after: [items] }
";
    project.edit("shop", "CREATE TABLE names (code TEXT PRIMARY KEY, name TEXT)").await;
    project.write("names.yaml", other);
    assert_eq!(service.next("names")["to_target"]["created"], 3);
    service.signal("-TERM");
    let (_, said) = service.ended();
    let found = |text: &str| said.matches(text).count();
    let told = [found("`trmi`"), found("the mappings go on as they were"), found("2 mappings on schedule from now on")];
    assert_eq!(told, [1, 1, 1], "{said}");
}

/// A mapping whose system is away holds up no other, and is tried less often.
#[cfg(unix)]
#[tokio::test]
async fn a_broken_system_holds_up_no_other() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let connections = format!(
        "{CONNECTIONS}  away: {{ connector: postgres, url: 'postgres://me@127.0.0.1:1/db', retry: {{ attempts: 1 }} }}
  silent: {{ connector: postgres, url: 'postgres://me@127.0.0.1:{port}/db', timeout: 20s }}\n"
    );
    let to = |name: &str| {
        let mapping = scheduled().replace("mapping: items", &format!("mapping: {name}"));
        mapping.replace("connection: shop", &format!("connection: {name}")).replace("object: items", "object: others")
    };
    let files = [
        ("connections.yaml", connections.as_str()),
        ("items.yaml", &scheduled()),
        ("away.yaml", &to("away")),
        ("silent.yaml", &to("silent")),
    ];
    let project = Project::new(&files);
    let mut service = Service::start(&project, "--parallel 2");
    let failed = service.next("away");
    assert_eq!((&failed["status"], &failed["errors"][0]["code"]), (&json!("failure"), &json!("E0802")));
    let again = service.next("away");
    assert_eq!(again["failures"], 2, "{again}");
    project.edit("office", "UPDATE items SET name = 'on' WHERE code = 'A'").await;
    service.next("items");
    // A second signal waits for nobody.
    service.signal("-TERM");
    service.signal("-TERM");
    assert_eq!(service.ended().0, Some(143));
}

#[test]
fn what_makes_no_sense_on_schedules_is_refused() {
    let project = Project::items();
    let said = project.engine("run .").ends(2).err;
    assert!(said.contains("no mapping here has a `schedule`") && said.contains("--once"), "{said}");
    for option in ["--full", "--key A", "--over-limit"] {
        let said = project.engine(&format!("run . {option}")).ends(2).err;
        assert!(said.contains("is for `--once`"), "{said}");
    }
}

/// A database file that is replaced while the engine runs: what is written would
/// go nowhere.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_takes_the_place_of_another_is_told_of() {
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &scheduled())]);
    let mut service = Service::start(&project, "");
    service.next("items");
    project.edit("shop", &format!("VACUUM INTO '{}'", project.path("data/copy.db").display())).await;
    service.pass(3);
    std::fs::rename(project.path("data/copy.db"), project.path("data/shop.db")).unwrap();
    let failed = service.next("items");
    let message = failed["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("another file has taken the place"), "{failed}");
    project.edit("office", "UPDATE items SET name = 'now' WHERE code = 'A'").await;
    service.signal("-TERM");
    assert_eq!(service.ended().0, Some(143));
    assert_eq!(project.run(0)["runs"][0]["to_target"]["updated"], 1);
    assert_eq!(project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await, ["now"]);
}

/// Issue 3: one that was asked for by its name went on after it was switched
/// off, and that was said every two seconds.
#[cfg(unix)]
#[tokio::test]
async fn who_was_asked_for_by_its_name_can_be_switched_off() {
    let other = scheduled()
        .replace("mapping: items", "mapping: others")
        .replace("office, object: items", "office, object: others");
    let office = "CREATE TABLE others (code TEXT PRIMARY KEY, name TEXT, price DECIMAL(10,2), made TEXT)";
    let files = [("connections.yaml", CONNECTIONS), ("items.yaml", &scheduled()), ("others.yaml", &other)];
    let project = Project::new(&files);
    project.engine("run . items --once").ends(0);
    project.edit("office", office).await;
    let mut service = Service::start(&project, "items others");
    service.pass(2);
    project.write("items.yaml", &format!("{}enabled: false\n", scheduled()));
    service.says("1 mapping on schedule from now on");
    service.pass(6);
    project.write("others.yaml", &format!("{other}enabled: false\n"));
    service.says("0 mappings on schedule from now on");
    service.signal("-TERM");
    let (ended, said) = service.ended();
    assert_eq!((ended, said.matches("items does not run any more").count()), (Some(143), 2), "{said}");
}

/// A state that is replaced while the engine runs knows nothing of what was
/// written since.
#[cfg(unix)]
#[tokio::test]
async fn a_state_that_takes_the_place_of_another_is_told_of() {
    let project = Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &scheduled())]);
    let mut service = Service::start(&project, "");
    service.next("items");
    std::fs::copy(project.path(".engine/state.db"), project.path("copy.db")).unwrap();
    std::fs::rename(project.path("copy.db"), project.path(".engine/state.db")).unwrap();
    let failed = service.next("items");
    let message = failed["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("another file has taken the place"), "{failed}");
    service.signal("-TERM");
    assert_eq!(service.ended().0, Some(143));
}
