//! Checks of the messages about a mapping's runs.

use super::connection::scheme;
use crate::config::environment::{self, has_references};
use crate::config::model::{Mapping, Notify, NotifyEvent, NotifyMethod};
use crate::config::tree::At;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};

pub(super) fn check(mapping: &Mapping, diagnostics: &mut Diagnostics) {
    for notify in &mapping.notify {
        check_address(&notify.url, diagnostics);
        for (at, event) in notify.events.iter().enumerate() {
            if let Some(first) = notify.events[..at].iter().find(|first| first.value == event.value) {
                let message = format!("`{}` stands twice", event.value.as_str());
                let diagnostic = Diagnostic::error(Code::BAD_VALUE, &event.place, message);
                diagnostics.push(diagnostic.related(&first.place, "it stands here first"));
            }
        }
        for (name, value) in &notify.headers {
            check_header(name, value, diagnostics);
        }
        if let (Some(body), Some(method)) = (&notify.body, &notify.method)
            && method.value == NotifyMethod::Get
        {
            let diagnostic = Diagnostic::error(Code::EXCLUSIVE, body.place(), "a `body` beside `method: GET`");
            let help = "a `GET` has no body: leave it out, or send a `POST`";
            diagnostics.push(diagnostic.help(help).related(&method.place, "the method stands here"));
        }
        check_stale(mapping, notify, diagnostics);
    }
}

/// It may hold a secret, so it is not repeated.
fn check_address(url: &At<String>, diagnostics: &mut Diagnostics) {
    environment::check(url, diagnostics);
    if !scheme(url, &["https://", "http://"], "https://alerts.example.com/hook", diagnostics) || has_references(url) {
        return;
    }
    if let Err(problem) = url::Url::parse(url) {
        let message = format!("the address cannot be read: {problem}");
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &url.place, message));
    }
}

fn check_header(name: &At<String>, value: &At<String>, diagnostics: &mut Diagnostics) {
    environment::check(value, diagnostics);
    let in_names = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if name.is_empty() || !name.bytes().all(in_names) {
        let message = format!("`{}` cannot be the name of a header", name.value);
        let help = "use letters, digits and `-`, as in `X-Api-Key`";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &name.place, message).help(help));
    }
    if value.chars().any(char::is_control) {
        let message = "a header's value is one line of text";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &value.place, message));
    }
}

fn check_stale(mapping: &Mapping, notify: &Notify, diagnostics: &mut Diagnostics) {
    let stale = notify.events.iter().find(|event| event.value == NotifyEvent::Stale);
    match (stale, &notify.stale_after) {
        (None, Some(after)) => {
            let message = "`stale_after`, and `stale` is not told of";
            let help = "add it: `events: [stale]`, or leave `stale_after` out";
            diagnostics.push(Diagnostic::error(Code::IDLE_POLICY, &after.place, message).help(help));
        }
        (Some(stale), _) if mapping.schedule.is_none() => {
            let message = "`stale` is told by the engine that runs the mapping on its schedule, and it has none";
            let help = "add a `schedule`, as in `schedule: { every: 5m }`";
            diagnostics.push(Diagnostic::error(Code::IDLE_POLICY, &stale.place, message).help(help));
        }
        _ => {}
    }
}
