//! `notify`: who is told of what, over HTTP.

use serde_json::{Value as Json, json};

use super::project::{CONNECTIONS, ITEMS, Project};
use super::service::Service;
use crate::support::hook::Hook;

/// The usual project, whose mapping tells of its runs like that.
fn telling(notify: &str) -> Project {
    Project::new(&[("connections.yaml", CONNECTIONS), ("items.yaml", &format!("{ITEMS}notify:\n{notify}"))])
}

fn events(request: &crate::support::hook::Request) -> Json {
    request.json()["events"].clone()
}

#[tokio::test]
async fn what_a_run_did_is_told_as_it_is_shown() {
    let hook = Hook::taking_all();
    let project = telling(&format!(
        "  - {{ events: [success, conflict, partial], url: '{}' }}\n  - {{ events: [failure], url: '{}' }}\n",
        hook.url("all"),
        hook.url("failures")
    ));
    let report = project.run(0);
    let requests = hook.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let (told, shown) = (requests[0].json(), &report["runs"][0]);
    assert_eq!((&*requests[0].method, &*requests[0].path), ("POST", "/all"));
    assert_eq!(requests[0].header("content-type"), "application/json");
    for (name, value) in shown.as_object().unwrap() {
        assert_eq!(&told[name], value, "{name}");
    }
    assert_eq!(events(&requests[0]), json!(["success"]));

    // What is edited on both sides is told together with how the run went.
    project.edit("office", "UPDATE items SET name = 'Lampe' WHERE code = 'A'").await;
    project.edit("shop", "UPDATE goods SET title = 'Lampada' WHERE sku = 'A'").await;
    let status = project.run(1)["runs"][0]["status"].clone();
    let requests = hook.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(events(&requests[1]), json!([status, "conflict"]));

    // A plan tells nobody.
    project.engine("plan .").ends(0);
    assert_eq!(hook.requests().len(), 2);
    // What could not even begin did fail.
    std::fs::rename(project.path("data"), project.path("away")).unwrap();
    let report = project.run(3);
    let requests = hook.requests();
    assert_eq!((requests.len(), &*requests[2].path, events(&requests[2])), (3, "/failures", json!(["failure"])));
    assert_eq!(requests[2].json()["errors"], report["runs"][0]["errors"]);
}

#[test]
fn a_message_says_what_its_template_says() {
    let hook = Hook::taking_all();
    let project = telling(&format!(
        "  - {{ events: [success], url: '{url}', body: '{{{{ mapping | upper_case }}}}: {{{{ created + updated }}}} of {{{{ owed }}}}' }}
  - {{ events: [success], url: '{url}', body: {{ text: 'a \"{{{{ mapping }}}}\" {{{{ error }}}}', list: [1, true, '{{{{ status }}}}'], none: }} }}
  - {{ events: [success, parked], url: '{ping}', method: GET, headers: {{ X-Api-Key: 'k ${{KEY}}' }} }}\n",
        url = hook.url("hook"),
        ping = hook.url("ping"),
    ));
    let mut command = project.command("run . --once");
    assert!(command.env("KEY", "in place").output().unwrap().status.success());
    let mut requests = hook.requests();
    requests.sort_by(|a, b| (&a.method, &a.body).cmp(&(&b.method, &b.body)));
    let [ping, plain, json] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((&*ping.method, &*ping.path, ping.header("x-api-key"), &*ping.body), ("GET", "/ping", "k in place", ""));
    assert_eq!((plain.header("content-type"), &*plain.body), ("text/plain; charset=utf-8", "ITEMS: 2 of 0"));
    assert_eq!(json.header("content-type"), "application/json");
    assert_eq!(json.json(), json!({ "text": "a \"items\" ", "list": [1, true, "success"], "none": null }));
}

#[test]
fn what_was_not_taken_is_sent_again_and_never_told_of_with_its_address() {
    let hook = Hook::start(|number, _| if number == 0 { "503 Service Unavailable" } else { "200 OK" });
    let refusing = Hook::start(|_, _| "403 Forbidden");
    let project = telling(&format!(
        "  - {{ events: [success], url: '{}' }}\n  - {{ events: [success], url: '{}' }}\n  - {{ events: [success], url: '${{NOT_SET}}' }}\n",
        hook.url("hidden"),
        refusing.url("hidden"),
    ));
    let ended = project.engine("run . --once").ends(0);
    let requests = hook.requests();
    assert_eq!((requests.len(), &requests[0].body), (2, &requests[1].body));
    assert_eq!(refusing.requests().len(), 1, "who says no is not asked again");
    for words in [
        "503",
        "Service Unavailable (503); attempt 2 of 5",
        "127.0.0.1",
        "was not sent",
        "Forbidden (403)",
        "`NOT_SET` is not set",
    ] {
        assert!(ended.err.contains(words), "{words}: {}", ended.err);
    }
    assert!(!ended.err.contains("hidden"), "{}", ended.err);
}

/// The first message is answered only once the second has come: were a run to
/// wait for its message, that would never be.
#[test]
fn no_run_waits_for_its_messages() {
    let hook = Hook::start(|number, hook| if number == 1 || hook.has(2) { "200 OK" } else { "400 Bad Request" });
    let notify = format!("notify: [{{ events: [success], url: '{}' }}]\n", hook.url(""));
    let other = ITEMS.replace("mapping: items", "mapping: again").replace("bidirectional", "source_to_target");
    let other = other.replace("object: goods", "object: spare") + &notify;
    let project = Project::new(&[
        ("connections.yaml", CONNECTIONS),
        ("items.yaml", &format!("{ITEMS}{notify}")),
        ("other.yaml", &other),
        ("shop.sql", "CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE);
            CREATE TABLE spare (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT, price DECIMAL(10,2), made_on DATE);"),
    ]);
    let ended = project.engine("run . --once").ends(0);
    assert_eq!(hook.requests().len(), 2, "{}", ended.err);
    assert!(!ended.err.contains("not sent"), "{}", ended.err);
}

#[tokio::test]
async fn a_mapping_without_a_good_run_is_told_of_once() {
    let hook = Hook::taking_all();
    let project = Project::new(&[
        ("connections.yaml", CONNECTIONS),
        (
            "items.yaml",
            &format!(
                "{ITEMS}schedule: {{ every: 200ms }}\nnotify: [{{ events: [stale], url: '{}', stale_after: 1s }}]\n",
                hook.url("")
            ),
        ),
    ]);
    project.run(0);
    // The address leads to nothing any more.
    std::fs::rename(project.path("data"), project.path("away")).unwrap();
    let mut service = Service::start(&project, "");
    assert!(hook.has(1));
    let told = hook.requests()[0].json();
    assert_eq!((&told["events"], &told["mapping"]), (&json!(["stale"]), &json!("items")));
    assert!(told["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{told}");
    assert_eq!(service.next("items")["status"], "failure");
    assert_eq!(service.next("items")["status"], "failure");
    service.signal("-TERM");
    assert_eq!(service.ended().0, Some(143));
    assert_eq!(hook.requests().len(), 1);
}

/// Every mistake in what a message says is told with its place, before anything runs.
#[test]
fn what_a_message_cannot_say_is_refused() {
    let body = "{ text: '{{ maping }}', more: ['{{ status | uper_case }}', '{{ a'] }";
    let project = telling(&format!("  - {{ events: [success], url: 'https://example.com', body: {body} }}\n"));
    let said = project.engine("validate . --format json").ends(2).said();
    assert_eq!(said.len(), 3, "{said:?}");
    for words in ["`maping`", "`uper_case`", "does not parse"] {
        assert!(said.iter().any(|one| one.starts_with("items.yaml:14:") && one.contains(words)), "{words}: {said:?}");
    }
}
