//! What is typed or written wrongly, and what is said of it.

use std::io::Read;
use std::process::Stdio;

use serde_json::json;

use super::project::{CONNECTIONS, ITEMS, Project};

/// A mapping with three mistakes, the last one behind accented text.
fn wrong() -> Project {
    let items = ITEMS
        .replace("rules: [trim]", "rules: [upper_case]")
        .replace("target: price", "targt: price")
        .replace("mapping: items", "mapping: itens\ndescription: 'ação'\nconfilcts: { default: source }");
    Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &items)])
}

const TOLD: &str = "error[E0103]: a mapping has no setting `confilcts`
 --> items.yaml:3:1
  |
3 | confilcts: { default: source }
  | ^^^^^^^^^
  = help: did you mean `conflicts`?

error[E0402]: `upper_case` has no way back: it loses which letters were small
  --> items.yaml:10:44
   |
10 |   - { source: name, target: title, rules: [upper_case] }
   |                                            ^^^^^^^^^^
   = help: give the field a `reverse` with the rules of the way back, or a `direction`

error[E0103]: a field entry has no setting `targt`
  --> items.yaml:11:22
   |
11 |   - { source: price, targt: price }
   |                      ^^^^^
   = help: did you mean `target`?

3 errors
";

#[test]
fn mistakes_are_shown_where_they_stand_all_at_once() {
    let project = wrong();
    let ended = project.engine("validate .").ends(2);
    assert_eq!(ended.err, "");
    assert_eq!(ended.out, TOLD);
    assert!(!ended.out.contains('\x1b'));
    // Nothing runs of a project that is wrong.
    let run = project.engine("run . --once --format json").ends(2).json();
    assert_eq!(run["valid"], false);
    assert!(!project.path("data").exists() && !project.path(".engine").exists());
}

#[test]
fn mistakes_for_machines_have_the_shape_of_the_contract() {
    let answer = wrong().engine("validate . --format json").ends(2).json();
    assert_eq!(answer["valid"], false);
    let diagnostics = answer["diagnostics"].as_array().unwrap();
    let first = &diagnostics[0];
    assert_eq!(
        *first,
        json!({
            "code": "E0103", "severity": "error", "file": "items.yaml", "line": 3, "column": 1,
            "message": first["message"], "help": "did you mean `conflicts`?",
        })
    );
    let good = Project::items().engine("validate . --format json").ends(0);
    assert_eq!(good.out, "{\"valid\":true,\"diagnostics\":[]}\n");
}

#[test]
fn colour_is_for_terminals_and_those_who_ask() {
    let project = wrong();
    let colored = |variables: &[(&str, &str)]| {
        let output = project.command("validate .").envs(variables.iter().copied()).output().unwrap();
        output.stdout.contains(&0x1b)
    };
    assert!(!colored(&[]));
    assert!(colored(&[("CLICOLOR_FORCE", "1")]));
    assert!(!colored(&[("CLICOLOR_FORCE", "0")]));
    assert!(!colored(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

#[tokio::test]
async fn what_is_typed_wrongly_ends_with_2_and_says_what_to_do() {
    let project = Project::items();
    project.run(0);
    for (arguments, says) in [
        ("run .", "--once"),
        ("run . itmes --once", "did you mean `items`?"),
        ("run nowhere --once", "there is no folder or file `nowhere`"),
        ("run . items --once --key code=A,name=B", "not a key of the source"),
        ("plan . --out nowhere/plan.json", "cannot be written to `nowhere/plan.json`"),
        ("conflicts show . 99", "there is no conflict `99`"),
        ("conflicts resolve . 99 --take source", "there is no conflict `99`"),
        ("conflicts resolve . --take source", "none is named"),
        ("conflicts resolve . --mapping items --value lamp", "--value '\"lamp\"'"),
        ("conflicts resolve . 1", "`--take source`, `--take target` or `--value JSON`"),
        ("conflicts list . --mapping itens", "did you mean `items`?"),
        ("parked drop . 99", "nothing is parked as `99`"),
        ("parked drop . c1", "engine conflicts resolve"),
        ("parked retry .", "none is named"),
        ("parked list . --reason tired", "possible values"),
        ("trace . items Z", "has never seen a source record"),
        ("trace . itmes A", "did you mean `items`?"),
        ("explain E9999", "there is no code `E9999`"),
        ("explain customers", "neither a diagnostic's code nor a project"),
        ("explain .", "which mapping?"),
        ("parked settle . 1", "--sent <KEY>|--not-sent"),
        ("links import . items", "none is named"),
        ("links import . items nowhere.csv", "cannot be read"),
        ("reset . itmes", "did you mean `items`?"),
        ("vaildate .", "validate"),
        ("apply plan.json", "`plan.json` cannot be read"),
        ("init", "has `connections.yaml` already"),
        ("run . --once --env production", "there is no environment `production`"),
        ("run . --listen 127.0.0.1:80", "error[E0107]: `--listen` is not built yet"),
        ("schema connector", "error[E0107]: `engine schema connector` is not built yet"),
        ("state forget . items Z", "has never seen a source record"),
        ("trace . items id=7", "`id` is no key field of the source, whose key is `code`"),
        ("runs nowhere", "there is no folder or file `nowhere`"),
    ] {
        let ended = project.engine(arguments);
        assert_eq!(ended.code, 2, "{arguments}: {}{}", ended.out, ended.err);
        assert!(ended.err.contains(says), "{arguments}: {}{}", ended.out, ended.err);
        assert!(!ended.err.contains("panicked"), "{arguments}: {}", ended.err);
    }
    for arguments in
        ["vaildate . --format json", "run . --onec --format=json", "status --format json", "init --format json"]
    {
        let error = project.engine(arguments).ends(2).json();
        assert!(error["error"]["message"].is_string(), "{arguments}: {error}");
    }
    let error = project.engine("conflicts show . 99 --format json").ends(2).json();
    assert_eq!(error["error"]["message"], "there is no conflict `99`");
}

#[tokio::test]
async fn a_reader_may_go_away() {
    let project = Project::items();
    project.run(0);
    for arguments in ["schema mapping", "links list . items", "completions bash", "help"] {
        let mut child = project.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "{arguments}");
    }
}

/// Issue 2: the line that an error is about was shown with the password in it.
#[test]
fn secrets_are_not_shown_with_the_line_they_stand_in() {
    for connections in [
        "connections:\n  crm: { connector: postgres, host: x, password: TOPSECRET, pasword: TOPSECRET }\n",
        "connections:\n  crm: { connector: postgres, url: 'postgres://me:TOPSECRET@h/db', hots: x }\n",
        "connections:\n  crm:\n    connector: postgres\n    password:\n      [TOPSECRET]\n    host: x\n",
        "connections:\n  crm: { connector: postgres, host: x, password: \"TOPSECRET }\n",
        "connections:\n  crm: { connector: sqlite, url: 'postgres://me:TOPSECRET@h/db' }\n",
    ] {
        let project = Project::new(&[("connections.yaml", connections)]);
        for command in ["validate .", "validate . --format json", "run . --once"] {
            let ended = project.engine(command).ends(2);
            let text = ended.out + &ended.err;
            assert!(!text.contains("TOPSECRET"), "{connections}{text}");
        }
    }
}

/// Issue 2: a folder without anything in it was all well.
#[test]
fn a_project_without_anything_in_it_is_told() {
    let project = Project::new(&[]);
    std::fs::create_dir(project.path("empty")).unwrap();
    for command in
        ["validate empty", "run empty --once", "plan empty", "check empty", "discover empty erp", "status empty"]
    {
        let ended = project.engine(command).ends(2);
        assert!((ended.out + &ended.err).contains("there is no YAML file in `empty`"), "{command}");
    }
    for command in ["trace empty items A", "links list empty items", "reset empty items"] {
        let told = project.engine(command).ends(2).err;
        assert!(told.contains("the state knows no mapping `items`") && told.contains("nothing ran here yet"), "{told}");
    }
    project.write("connections.yaml", CONNECTIONS);
    assert!(project.engine("validate .").ends(0).out.contains("warning[E0112]: there is no mapping in `.`"));
    for command in ["run . --once", "plan ."] {
        assert!(project.engine(command).ends(2).err.contains("there is no mapping in `.`"), "{command}");
    }
    assert!(!project.path(".engine").exists());
}

/// Issue 2: a key that nobody has was "nothing to do" and no more.
#[tokio::test]
async fn a_key_that_nobody_has_is_told() {
    let project = Project::items();
    project.run(0);
    let out = project.engine("run . items --once --key Z").ends(0).out;
    assert!(out.contains("no record with the key Z was found on the source"), "{out}");
    assert!(!project.engine("run . items --once --key A").ends(0).out.contains("no record with"));
}
