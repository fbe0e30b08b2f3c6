//! Systems that are away, moved, or not set up.

use serde_json::json;

use super::project::{CONNECTIONS, ITEMS, Project};
use crate::support::postgres::Database;

/// The usual project, and a second mapping over a connection of its own.
fn with(connection: &str) -> Project {
    let connections = format!("{CONNECTIONS}  away: {connection}\n");
    let other = "mapping: other
source: { connection: away, object: items, key: [code] }
target: { connection: shop, object: goods, key: [id] }
match: [sku]
fields: [{ source: code, target: sku }]
";
    Project::new(&[("connections.yaml", &connections), ("items.yaml", ITEMS), ("other.yaml", other)])
}

#[tokio::test]
async fn one_system_that_is_away_does_not_hold_the_others() {
    for (connection, says) in [
        ("{ connector: sqlite, url: 'sqlite://data/away.db' }", "there is no database file"),
        ("{ connector: postgres, url: 'postgres://u:p@127.0.0.1:1/x', timeout: 2s, retry: { attempts: 1 } }", ""),
    ] {
        let project = with(connection);
        let report = project.run(3);
        assert_eq!(report["status"], "partial");
        let run = |name: &str| report["runs"].as_array().unwrap().iter().find(|run| run["mapping"] == name).unwrap();
        assert_eq!(run("items")["to_target"]["created"], 2, "{connection}");
        let error = &run("other")["errors"][0];
        assert_eq!(
            (&error["code"], &error["side"], &error["reason"]),
            (&json!("E0802"), &json!("source"), &json!("fault"))
        );
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert!(!error.to_string().contains("u:p@"), "{error}");
        // It is remembered: a mapping whose system is away does not look well.
        let status = project.engine("status . --format json").ends(0).json();
        let line = status["mappings"].as_array().unwrap().iter().find(|line| line["mapping"] == "other").unwrap();
        assert_eq!(line["last_run"]["status"], "failure");
        assert_eq!(project.engine("check .").code, 3);
        project.engine("validate .").ends(0);
        let online = project.engine("validate . --online --format json").ends(3).json();
        assert_eq!(online["valid"], false);
        let text = project.engine("run . other --once").ends(3).out;
        assert!(text.contains("other: failed") && text.contains("E0802"), "{text}");
    }
}

#[tokio::test]
async fn an_unset_variable_concerns_those_who_need_it() {
    let project = with("{ connector: postgres, url: '${AWAY_URL}' }");
    project.engine("validate .").ends(0);
    let report = project.run(2);
    assert_eq!(report["status"], "partial");
    let errors: Vec<_> =
        report["runs"].as_array().unwrap().iter().flat_map(|run| run["errors"].as_array().unwrap()).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (&errors[0]["code"], &errors[0]["file"], &errors[0]["line"]),
        (&json!("E0203"), &json!("connections.yaml"), &json!(4))
    );
    project.engine("run . items --once").ends(0);
}

#[tokio::test]
async fn what_is_switched_off_does_not_run() {
    let project = with("{ connector: sqlite, url: 'sqlite://data/away.db', enabled: false }");
    assert_eq!(project.run(0)["runs"].as_array().unwrap().len(), 1);
    let refused = project.engine("run . other --once").ends(2);
    assert!(refused.err.contains("switched off by the `enabled: false` of its connection `away`"), "{}", refused.err);
    project.write("items.yaml", &ITEMS.replace("match:", "enabled: false\nmatch:"));
    assert_eq!(project.run(0)["runs"], json!([]));
}

#[tokio::test]
async fn another_system_is_adopted_only_when_told() {
    let project = Project::items();
    project.run(0);
    project.write("connections.yaml", &CONNECTIONS.replace("data/shop.db", "data/store.db"));
    std::fs::rename(project.path("data/shop.db"), project.path("data/store.db")).unwrap();
    let report = project.run(1);
    assert_eq!(report["runs"][0]["errors"][0]["code"], "E0901");
    let adopted = project.engine("state adopt . --format json").ends(0).json();
    assert_eq!(
        (&adopted["adopted"][0]["mapping"], &adopted["adopted"][0]["side"]),
        (&json!("items"), &json!("target"))
    );
    assert_eq!(project.run(0)["runs"][0]["to_target"]["created"], 0);
    assert!(project.engine("state adopt . items").ends(0).out.starts_with("nothing to adopt"));
}

/// Issue 2: a project's folder could not be moved with what lies in it.
#[tokio::test]
async fn a_project_goes_on_where_its_folder_is_moved() {
    let project = Project::items();
    project.run(0);
    let moved = Project::new(&[]);
    for (path, bytes) in project.files() {
        let to = moved.path(path.strip_prefix(project.path("")).unwrap().to_str().unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }
    moved.edit("office", "UPDATE items SET name = 'Lampe' WHERE code = 'A'").await;
    let run = &moved.run(0)["runs"][0];
    assert_eq!((&run["to_target"]["created"], &run["to_target"]["updated"]), (&json!(0), &json!(1)), "{run}");
    // A state that lies elsewhere may be that of several projects.
    let elsewhere = moved.path("").join("elsewhere");
    let once = format!("run . --once --format json --state {}", elsewhere.display());
    project.engine(&once).ends(0);
    let refused = moved.engine(&once).ends(1).json();
    assert_eq!(refused["runs"][0]["errors"][0]["code"], "E0901", "{refused}");
}

/// Issue 2: a PostgreSQL database that was moved to another server could not be
/// taken over.
#[tokio::test]
async fn a_database_that_moved_is_adopted() {
    let table = "CREATE TABLE goods (id serial PRIMARY KEY, sku text UNIQUE, title text, price numeric(10,2), \
                 seen timestamptz NOT NULL DEFAULT now())";
    let (old, new) = (Database::fresh().await, Database::fresh().await);
    old.run(table).await;
    let connections = |url: &str| format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{url}' }}\n");
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: pg, object: goods, key: [id], cursor: seen }
direction: bidirectional
match: [sku]
fields: [{ source: code, target: sku }, { source: name, target: title }, { source: price, target: price }]
";
    let project = Project::new(&[("connections.yaml", &connections(&old.url)), ("items.yaml", mapping)]);
    project.run(0);
    // As a dump carries it over, and an edit since.
    let rows = sqlx::query_scalar::<_, String>(
        "SELECT string_agg(format('INSERT INTO goods VALUES (%L, %L, %L, %L, %L)', id, sku, title, price, seen), ';') FROM goods",
    );
    let rows = rows.fetch_one(&mut old.connect().await).await.unwrap();
    new.run(&format!("{table}; {rows}; UPDATE goods SET title = 'Lampe', seen = now() WHERE sku = 'A'")).await;
    project.write("connections.yaml", &connections(&new.url));
    assert_eq!(project.run(1)["runs"][0]["errors"][0]["code"], "E0901");
    project.engine("state adopt .").ends(0);
    let run = &project.run(0)["runs"][0];
    assert_eq!(
        (&run["to_target"]["created"], &run["to_target"]["updated"], &run["to_source"]["updated"]),
        (&json!(0), &json!(0), &json!(1)),
        "{run}"
    );
    assert_eq!(project.column("office", "SELECT name FROM items WHERE code = 'A'").await, ["Lampe"]);
}

/// Issue 2: links of another key were taken over, and the next run deleted what they led to.
#[tokio::test]
async fn links_of_another_key_are_not_adopted() {
    let project = Project::items();
    project.write("items.yaml", &ITEMS.replace("key: [id] }", "key: [id], deleted: { sweep: 1s } }"));
    project.run(0);
    project.write("items.yaml", &ITEMS.replace("key: [id] }", "key: [sku], deleted: { sweep: 1s } }"));
    let report = project.run(1);
    let error = &report["runs"][0]["errors"][0];
    assert_eq!(error["code"], "E0901");
    let message = error["message"].as_str().unwrap();
    assert!(!message.contains("state adopt") && message.contains("engine reset PATH items --links"), "{message}");
    let refused = project.engine("state adopt .").ends(2);
    assert!(refused.err.contains("had the key (id) and has (sku) now"), "{}", refused.err);
    assert_eq!(project.run(1)["runs"][0]["errors"][0]["code"], "E0901");
    assert_eq!(project.column("shop", "SELECT sku FROM goods").await.len(), 3);
    project.engine("reset . items --links").ends(0);
    project.run(0);
    assert_eq!(project.column("shop", "SELECT sku FROM goods").await.len(), 3);
}

/// Issue 2: a `where` that the system does not understand had no place, and `--online` found nothing wrong with it.
#[tokio::test]
async fn a_where_that_is_not_understood_is_told_where_it_stands() {
    let database = crate::support::postgres::Database::fresh().await;
    database.run("CREATE TABLE goods (id serial PRIMARY KEY, sku text UNIQUE, title text)").await;
    let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{}' }}\n", database.url);
    let mapping = |source: &str, target: &str| {
        format!(
            "mapping: items
source: {{ connection: office, object: items, key: [code], where: \"{source}\" }}
target: {{ connection: pg, object: goods, key: [id], where: \"{target}\" }}
match: [sku]
fields: [{{ source: code, target: sku }}, {{ source: name, target: title }}]
"
        )
    };
    let project = Project::new(&[("connections.yaml", &connections), ("items.yaml", &mapping("1 = = 1", "true"))]);
    for (source, target, line) in
        [("1 = = 1", "true", 2), ("colour = 1", "true", 2), ("1 = 1", "id == 1", 3), ("1 = 1", "colour = 'a'", 3)]
    {
        project.write("items.yaml", &mapping(source, target));
        let online = project.engine("validate . --online --format json").ends(2).json();
        let told =
            online["diagnostics"].as_array().unwrap().iter().find(|told| told["code"] == "E0610").unwrap().clone();
        assert_eq!((&told["file"], &told["line"]), (&json!("items.yaml"), &json!(line)), "{source} {target}");
        let error = project.run(2)["runs"][0]["errors"][0].clone();
        assert_eq!((&error["code"], &error["line"]), (&json!("E0610"), &json!(line)));
    }
    // Where both are wrong, both are told.
    project.write("items.yaml", &mapping("1 = = 1", "id == 1"));
    let errors = project.run(2)["runs"][0]["errors"].clone();
    assert_eq!((&errors[0]["line"], &errors[1]["line"]), (&json!(2), &json!(3)), "{errors}");
    project.write("items.yaml", &mapping("code <> 'B'", "id > 0"));
    project.engine("validate . --online").ends(0);
    project.run(0);
}

/// Issue 2: a file that can only be read was found out by the first write.
#[tokio::test]
async fn a_database_that_can_only_be_read_is_told() {
    let project = Project::items();
    project.run(0);
    project.write("connections.yaml", &CONNECTIONS.replace("data/shop.db'", "data/shop.db?mode=ro'"));
    let out = project.engine("validate . --online").ends(2).out;
    assert!(
        out.contains("error[E0605]: we may not create records in `goods`") && out.contains("can only be read"),
        "{out}"
    );
}

/// Issue 2: links under a mapping's former name were forgotten in silence.
#[tokio::test]
async fn links_under_a_former_name_are_told() {
    let project = Project::items();
    project.run(0);
    project.engine("validate .").ends(0);
    project.write("items.yaml", &ITEMS.replace("mapping: items", "mapping: goods"));
    let out = project.engine("validate .").ends(0).out;
    assert!(out.contains("warning[E0907]: the state has 3 links of `items`"), "{out}");
}

/// Issue 2: that a role may not use the sequence of the key showed in the first run only.
#[tokio::test]
async fn a_sequence_that_may_not_be_used_is_told() {
    let database = crate::support::postgres::Database::fresh().await;
    let mut url = url::Url::parse(&database.url).unwrap();
    let role = format!("seq_{}", url.path().trim_start_matches('/'));
    database
        .run(&format!(
            "CREATE TABLE goods (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sku text UNIQUE, title text); \
             CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT SELECT, INSERT, UPDATE ON goods TO {role}; \
             GRANT USAGE ON SCHEMA public TO {role}"
        ))
        .await;
    url.set_username(&role).unwrap();
    url.set_password(Some("p")).unwrap();
    let connections = format!("{CONNECTIONS}  pg: {{ connector: postgres, url: '{url}' }}\n");
    let mapping = "mapping: items
source: { connection: office, object: items, key: [code] }
target: { connection: pg, object: goods, key: [id] }
match: [sku]
fields: [{ source: code, target: sku }, { source: name, target: title }]
";
    let project = Project::new(&[("connections.yaml", &connections), ("items.yaml", mapping)]);
    let out = project.engine("validate . --online").ends(2).out;
    assert!(out.contains("E0607") && out.contains("GRANT USAGE ON SEQUENCE public.goods_id_seq"), "{out}");
    database.run(&format!("GRANT USAGE ON SEQUENCE goods_id_seq TO {role}")).await;
    project.engine("validate . --online").ends(0);
    project.run(0);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

/// Issue 2: errors of connections named neither the connection nor its server.
#[tokio::test]
async fn what_a_connection_cannot_do_names_it_and_its_server() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let pg = |url: &str| {
        let connections = format!(
            "{CONNECTIONS}  pg: {{ connector: postgres, url: '{url}', retry: {{ attempts: 2, backoff: 300ms }} }}\n"
        );
        let mapping = ITEMS.replace("connection: shop", "connection: pg");
        Project::new(&[("connections.yaml", &connections), ("items.yaml", &mapping)])
    };
    let project = pg(&format!("postgres://me:TOPSECRET@127.0.0.1:{free}/db"));
    let report = project.run(3);
    let error = &report["runs"][0]["errors"][0];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&format!("connection `pg` (127.0.0.1:{free})")), "{message}");
    assert_eq!((&error["file"], &error["line"]), (&json!("connections.yaml"), &json!(4)));
    assert!(report["runs"][0]["duration_ms"].as_u64().unwrap() >= 300, "{report}");
    for command in ["check .", "validate . --online", "plan .", "state adopt ."] {
        let ended = project.engine(command).ends(3);
        let text = ended.out + &ended.err;
        assert!(text.contains(&format!("127.0.0.1:{free}")) && !text.contains("TOPSECRET"), "{command}: {text}");
    }
    let told = pg("postgres://me:TOPSECRET@127.0.0.1:99999/db").engine("validate . --online").ends(2);
    assert!(told.out.contains("connections.yaml:4:") && told.out.contains("cannot be read"), "{}", told.out);
    assert!(!told.out.contains("TOPSECRET"), "{}", told.out);
}

#[tokio::test]
async fn what_a_system_tells_is_checked_online() {
    let project = Project::items();
    project.run(0);
    project
        .edit("office", "DROP TABLE items; CREATE TABLE items (code TEXT, name TEXT, price DECIMAL(10,2), made TEXT)")
        .await;
    let text = project.engine("validate . --online").ends(0).out;
    assert!(text.contains("warning[E0606]: nothing in `items` keeps `code` unique"), "{text}");
    project.write("items.yaml", &ITEMS.replace("target: title", "target: titel"));
    let text = project.engine("validate . --online").ends(2).out;
    assert!(text.contains("`goods` has no field `titel`") && text.contains("did you mean `title`?"), "{text}");
    project.engine("validate .").ends(0);
}

#[tokio::test]
async fn connections_are_checked_and_discovered() {
    let project = Project::items();
    let files = project.files();
    let check = project.engine("check . --format json").ends(0).json();
    assert_eq!(check["connections"].as_array().unwrap().len(), 2);
    assert_eq!(check["connections"][0]["ok"], true);
    let objects = project.engine("discover . shop --format json").ends(0).json();
    assert_eq!(objects["objects"], json!([{ "object": "goods", "kind": "table" }]));
    let goods = project.engine("discover . shop goods --format json").ends(0).json();
    assert_eq!((&goods["key"], &goods["fields"][1]["field"]), (&json!(["id"]), &json!("sku")));
    assert_eq!(project.files(), files, "looking makes no databases");
    let near = project.engine("discover . shop good").ends(2);
    assert!(near.err.contains("did you mean `goods`?"), "{}", near.err);
    let near = project.engine("discover . shpo").ends(2);
    assert!(near.err.contains("did you mean `shop`?"), "{}", near.err);
}

#[tokio::test]
async fn the_state_lies_where_it_is_told_and_is_its_owners() {
    let project = Project::items();
    project.engine("run . --once --state sqlite://elsewhere").ends(0);
    assert!(project.path("elsewhere/state.db").is_file() && !project.path(".engine").exists());
    let output = project.command("runs . --format json").env("ENGINE_STATE", "elsewhere").output().unwrap();
    let runs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
    project.engine("runs . --state mysql://localhost/state").ends(2);
    project.run(0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for (name, mode) in [(".engine", 0o700), (".engine/state.db", 0o600)] {
            assert_eq!(std::fs::metadata(project.path(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
        }
    }
}
