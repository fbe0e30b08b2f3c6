//! Values by name, and values that may not be shown.

use std::io::Write;
use std::process::Stdio;

use super::project::{CONNECTIONS, Ended, Project};
use crate::support::postgres::Database;

/// Texts of connections and mappings read what stands under `vars`, a folder's own first.
#[test]
fn values_are_read_from_the_folder_and_those_above() {
    let connections = format!("vars: {{ file: office, table: items, code: \"042\" }}\n{CONNECTIONS}")
        .replace("data/office.db", "data/${var.file}.db");
    let mapping = "mapping: copy
source: { connection: office, object: '${var.table}', key: [code] }
target: { connection: shop, object: goods, key: [id] }
match: [sku]
fields:
  - { source: code, target: sku }
  - { target: title, value: '${var.code}-${var.mark}' }
";
    let project = Project::items();
    std::fs::remove_file(project.path("items.yaml")).unwrap();
    project.write("connections.yaml", &connections);
    project.write("north/copy.yaml", &format!("vars: {{ mark: N, code: '7' }}\n---\n{mapping}"));
    project.write("copy.yaml", &mapping.replace("${var.mark}", "S"));
    project.engine("run . copy --once").ends(0);
    let plan = project.engine("explain . copy").ends(0).out;
    assert!(plan.contains("042-S"), "{plan}");
    assert!(project.engine("explain . north/copy").ends(0).out.contains("7-N"));
}

/// Issue 3: what a mounted file holds is in no output, no log and no state.
#[tokio::test]
async fn what_a_mounted_file_holds_is_never_shown() {
    let database = Database::fresh().await;
    database.run("CREATE TABLE t (code text PRIMARY KEY, name text); CREATE TABLE narrow (code text PRIMARY KEY, name varchar(1))").await;
    let password = "Gr33n\"Tree\\42";
    let (address, name) = database.url.rsplit_once('/').unwrap();
    let server = url::Url::parse(address).unwrap();
    let connections = format!(
        "{CONNECTIONS}  crm: {{ connector: postgres, host: '{}', port: '{}', database: '${{file:secrets/database}}', username: '{}', password: '${{file:secrets/password}}' }}\n",
        server.host_str().unwrap_or("localhost"),
        server.port().unwrap_or(5432),
        server.username(),
    );
    let mapping = |name: &str, table: &str| {
        format!(
            "mapping: {name}\nsource: {{ connection: office, object: items, key: [code] }}\ntarget: {{ connection: crm, object: {table}, key: [code] }}\ndirection: bidirectional\nfields: [{{ copy: [code, name] }}]\n"
        )
    };
    let project = Project::new(&[
        ("connections.yaml", &connections),
        ("t.yaml", &mapping("t", "t")),
        ("n.yaml", &mapping("n", "narrow")),
    ]);
    // Nothing of it need be there for what is checked offline.
    project.engine("validate .").ends(0);
    let said = project.engine("check . --format json").ends(2);
    assert!(format!("{}{}", said.out, said.err).contains("secrets/database"), "{}{}", said.out, said.err);
    project.write("secrets/database", &format!("{name}\n"));
    project.write("secrets/password", &format!("{password}\r\n"));
    let mut shown = String::new();
    for (command, code) in [
        ("check . -vvv", 0),
        ("validate . --online -vvv", 0),
        ("discover . crm", 0),
        ("plan . -vvv --format json", 1),
        ("run . --once -vvv --log json", 1),
        ("parked list .", 0),
        ("trace . t A", 0),
        ("status . --format json", 0),
        ("runs .", 0),
    ] {
        let ended = project.engine(command).ends(code);
        shown.push_str(&ended.out);
        shown.push_str(&ended.err);
    }
    assert!(shown.contains("to_target") || shown.contains("created"), "{shown}");
    project.write("secrets/database", "no_such_database_anywhere");
    let refused = project.engine("run . --once -vvv").ends(3);
    shown.push_str(&refused.out);
    shown.push_str(&refused.err);
    assert!(shown.contains("***"), "the server's words name the database, which is hidden: {shown}");
    for secret in [name, "no_such_database_anywhere", password, "Gr33n\\\"Tree\\\\42"] {
        assert!(!shown.contains(secret), "`{secret}` is shown");
        let kept = project.files().into_iter().filter(|(path, _)| path.to_string_lossy().contains(".engine"));
        for (path, bytes) in kept {
            let is_there = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_there, "`{secret}` stands in {}", path.display());
        }
    }
    let said = project.engine("check . --format json").ends(3);
    assert!(said.out.contains("***"), "{}", said.out);
    project.write("connections.yaml", &connections.replace("secrets/database", " "));
    let said = project.engine("validate . --format json").ends(2).said();
    assert!(said[1].contains("E0202 `${file:}` names no file"), "{said:?}");
}

/// Runs `engine` with keys in its environment and something on its input.
fn with_key(project: &Project, arguments: &str, key: (&str, &str), input: &str) -> Ended {
    let mut command = project.command(arguments);
    command.env(key.0, key.1).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Issue 3: secrets are encrypted where they lie, read by who has the key, and
/// shown nowhere; each environment has its own.
#[tokio::test]
async fn secrets_are_kept_encrypted() {
    let database = Database::fresh().await;
    database.run("CREATE TABLE t (code text PRIMARY KEY, name text)").await;
    let (server, name) = database.url.rsplit_once('/').unwrap();
    let connections = format!("{CONNECTIONS}  crm: {{ connector: postgres, url: '{server}/${{secret:crm}}' }}\n");
    let mapping = "mapping: t\nsource: { connection: office, object: items, key: [code] }\ntarget: { connection: crm, \
                   object: t, key: [code] }\nfields: [{ copy: [code, name] }]\n";
    let project = Project::new(&[("connections.yaml", &connections), ("t.yaml", mapping)]);
    project.write("environments/live.yaml", "connections: {}\n");
    project.engine("validate .").ends(0);
    let made = project.engine("secrets key").ends(0).out;
    let key = ("ENGINE_SECRETS_KEY", made.trim());
    project.write("the.key", &made);
    let in_file = ("ENGINE_SECRETS_KEY_FILE", "the.key");

    let refused = with_key(&project, "run . --once", key, "").ends(2);
    assert!(refused.out.contains("there is no secret `crm`"), "{}{}", refused.out, refused.err);
    let refused = with_key(&project, "secrets set . crm", ("ENGINE_OTHER", ""), name).ends(2);
    assert!(refused.err.contains("neither `ENGINE_SECRETS_KEY` nor"), "{}", refused.err);
    let refused = with_key(&project, "secrets set . crm", ("ENGINE_SECRETS_KEY", "short"), name).ends(2);
    assert!(refused.err.contains("is no key") && !refused.err.contains("short"), "{}", refused.err);
    let refused = with_key(&project, "secrets set . crm", key, "\n").ends(2);
    assert!(refused.err.contains("the secret is empty"), "{}", refused.err);
    with_key(&project, "secrets set . 'c r m'", key, name).ends(2);

    with_key(&project, "secrets set . crm", in_file, &format!("{name}\r\n")).ends(0);
    with_key(&project, "secrets set . spare", key, "x").ends(0);
    let ran = with_key(&project, "run . --once -vvv", key, "").ends(0);
    let listed = project.engine("secrets list . --format json").ends(0).json();
    let names: Vec<_> = listed["secrets"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["crm", "spare"]);
    let refused = with_key(&project, "run . --once --env live", key, "").ends(2);
    assert!(refused.out.contains("there is no secret `crm`"), "{}", refused.out);
    for (path, bytes) in project.files() {
        let is_there = bytes.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(!is_there, "it stands in {}", path.display());
    }
    assert!(!format!("{}{}", ran.out, ran.err).contains(name), "{}{}", ran.out, ran.err);

    // Another key opens them once they were encrypted with it.
    let new = project.engine("secrets key").ends(0).out;
    project.write("new.key", &new);
    with_key(&project, "secrets rotate . --to new.key", key, "").ends(0);
    let refused = with_key(&project, "run . --once", key, "").ends(2);
    assert!(refused.out.contains("was encrypted with another key"), "{}", refused.out);
    let key = ("ENGINE_SECRETS_KEY_FILE", "new.key");
    with_key(&project, "run . --once", key, "").ends(0);
    project.engine("secrets remove . crm").ends(0);
    let refused = with_key(&project, "run . --once", key, "").ends(2);
    assert!(refused.out.contains("there is no secret `crm`") && refused.out.contains("`spare`"), "{}", refused.out);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(project.path(".engine/secrets.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
