//! Commands that only tell: explanations, schemas, help, what ran.

use serde_json::json;

use super::project::Project;

#[test]
fn a_code_and_a_mapping_are_explained() {
    let project = Project::items();
    let text = project.engine("explain e0402").ends(0).out;
    assert!(text.starts_with("E0402: a lossy rule in a two-way field\n\n"), "{text}");
    let json = project.engine("explain E0402 --format json").ends(0).json();
    assert_eq!(json["code"], "E0402");
    let text = project.engine("explain . items").ends(0).out;
    let made = text.lines().find(|line| line.starts_with("made ")).unwrap();
    assert!(made.contains("<->") && made.matches("%Y%m%d").count() == 2, "{text}");
    assert!(text.contains("matched by sku"), "{text}");
    let json = project.engine("explain . items --format json").ends(0).json();
    assert_eq!(
        (&json["fields"][1]["to_target"], &json["fields"][1]["to_source"]),
        (&json!("trim"), &json!("as it is"))
    );
    assert_eq!(json["match"], json!([["sku"]]));
}

#[test]
fn schemas_are_the_published_ones() {
    let project = Project::items();
    for (name, arguments) in [
        ("mapping.schema.json", "schema"),
        ("mapping.schema.json", "schema mapping"),
        ("connections.schema.json", "schema connections"),
        ("mapping.md", "schema mapping --markdown"),
        ("connections.md", "schema connections --markdown"),
    ] {
        let path = format!("{}/schema/{name}", env!("CARGO_MANIFEST_DIR"));
        let published = std::fs::read_to_string(path).unwrap();
        assert!(project.engine(arguments).ends(0).out == published, "{arguments}");
    }
}

/// What has a form of its own is no JSON.
#[test]
fn two_forms_at_once_are_refused() {
    let project = Project::items();
    project.engine("parked list . --csv --format json").ends(2);
    project.engine("schema --markdown --format json").ends(2);
}

#[test]
fn every_command_has_help_with_an_example() {
    let project = Project::items();
    for command in [
        "validate",
        "test",
        "check",
        "discover",
        "init",
        "man",
        "plan",
        "run",
        "status",
        "runs",
        "conflicts list",
        "conflicts show",
        "conflicts resolve",
        "parked list",
        "parked retry",
        "parked drop",
        "parked export",
        "parked settle",
        "trace",
        "links list",
        "state forget",
        "links export",
        "links import",
        "reset",
        "state adopt",
        "explain",
        "schema",
        "completions",
    ] {
        let help = project.engine(&format!("{command} --help")).ends(0).out;
        let example = format!("  engine {}", command.split(' ').next().unwrap());
        assert!(help.contains("Examples:") && help.contains(&example), "{command}: {help}");
    }
    let help = project.engine("help run").ends(0).out;
    assert!(help.contains("--over-limit"), "{help}");
    assert_eq!(project.engine("--version").ends(0).out, format!("engine {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_shell_is_told_how_to_complete() {
    let script = Project::items().engine("completions bash").ends(0).out;
    assert!(script.contains("conflicts") && script.contains("--over-limit"));
    let page = Project::items().engine("man").ends(0).out;
    assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{page}");
    let project = Project::items();
    project.engine("man nowhere").ends(2);
    project.engine("man .").ends(0);
    assert!(std::fs::read_to_string(project.path("engine-run.1")).unwrap().contains("over"));
}

#[tokio::test]
async fn status_and_runs_tell_what_ran() {
    let project = Project::items();
    let status = project.engine("status . --format json").ends(0).json();
    assert_eq!(status["mappings"][0]["last_run"], json!(null));
    assert!(!project.path(".engine").exists(), "looking makes no state");
    assert_eq!(project.engine("runs .").ends(0).out, "no runs yet\n");
    project.run(0);
    project.run(0);
    let status = project.engine("status . --format json").ends(0).json();
    let line = &status["mappings"][0];
    assert_eq!((&line["mapping"], &line["enabled"], &line["links"]), (&json!("items"), &json!(true), &json!(3)));
    assert_eq!((&line["last_run"]["number"], &line["last_run"]["status"]), (&json!(2), &json!("success")));
    let runs = project.engine("runs . --mapping items --limit 1 --format json").ends(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
    assert_eq!(runs["runs"][0]["number"], 2);
    assert!(project.engine("status .").ends(0).out.contains("when asked for"));
    // Commands that look work while the YAML is being edited.
    project.write("items.yaml", "mapping: items\nsource: {");
    project.engine("runs .").ends(0);
    project.engine("conflicts list .").ends(0);
    project.engine("trace . items A").ends(0);
}
