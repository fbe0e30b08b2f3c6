//! How long history is kept, and copies of the state.

use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use super::project::Project;

/// Everything on record happened so long ago.
async fn age(project: &Project, by: &str) {
    let state = project.path(".engine/state.db");
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", state.display())).await.unwrap();
    for (table, column) in [("events", "at"), ("conflicts", "at"), ("runs", "started_at")] {
        let sql =
            format!("UPDATE {table} SET {column} = replace({column}, substr({column}, 1, 10), date('now', '{by}'))");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn history_is_kept_for_so_long() {
    let project = Project::items();
    project.run(0);
    project.edit("office", "UPDATE items SET name = 'Lampe' WHERE code = 'A'").await;
    project.run(0);
    let told = |project: &Project| {
        let answer = project.engine("trace . items A --format json").ends(0).json();
        answer["events"].as_array().unwrap().iter().filter(|event| event["kind"] == "updated").count()
    };
    age(&project, "-80 days").await;
    project.run(0);
    assert_eq!(told(&project), 1, "ninety days are kept, where nobody says otherwise");
    age(&project, "-100 days").await;
    project.run(0);
    assert_eq!(told(&project), 0, "and no longer");
    let runs = project.engine("runs . --format json").ends(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 4, "the newest runs stay");

    project.edit("office", "UPDATE items SET name = 'Lamp' WHERE code = 'A'").await;
    project.run(0);
    age(&project, "-3 days").await;
    project.engine("run . --once --history 36h").ends(0);
    assert_eq!(told(&project), 0);
    let short = project.engine("run . --once --history 2h").ends(2);
    assert!(short.err.contains("at least `1d`"), "{}", short.err);
}

#[tokio::test]
async fn a_copy_of_the_state_is_a_state() {
    let project = Project::items();
    let nothing = project.engine("state backup . copy.db").ends(2);
    assert!(nothing.err.contains("there is no state"), "{}", nothing.err);
    project.run(0);
    let made = project.engine("state backup . copy.db --format json").ends(0).json();
    assert_eq!(made["file"], json!("copy.db"));
    assert_eq!(made["bytes"], json!(std::fs::metadata(project.path("copy.db")).unwrap().len()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(project.path("copy.db")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "for its owner alone");
    }
    let taken = project.engine("state backup . copy.db").ends(2);
    assert!(taken.err.contains("is there already"), "{}", taken.err);
    let lost = project.engine("state backup . nowhere/copy.db");
    assert!(lost.code != 0 && lost.err.contains("cannot be written"), "{}", lost.err);

    project.edit("office", "UPDATE items SET name = 'Lampe' WHERE code = 'A'").await;
    project.run(0);
    let links = |state: &str| project.engine(&format!("links list . items --format json {state}")).ends(0).json();
    assert_eq!(links("--state copy.db")["links"].as_array().unwrap().len(), 3);
    std::fs::copy(project.path("copy.db"), project.path(".engine/state.db")).unwrap();
    let report = project.run(0);
    assert_eq!(report["runs"][0]["to_target"]["created"], json!(0), "{report}");
    assert_eq!(project.column("shop", "SELECT title FROM goods WHERE sku = 'A'").await, ["Lampe"]);
}
