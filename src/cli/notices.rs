//! Messages about runs: of what each mapping's `notify` wants to be told.
//!
//! They are sent beside the runs; what could not be sent is logged.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::Failure;
use super::loaded::Loaded;
use super::report::Told;
use crate::compile::{MESSAGE_NAMES, MessageBody};
use crate::config::environment;
use crate::config::model::{Mapping, Notify, NotifyBody, NotifyEvent, NotifyMethod};
use crate::connector::Fault;
use crate::diagnostic::{Diagnostics, without_secrets};
use crate::protocol::http::{Client, Message};
use crate::record::Value;
use crate::run::{RetryPolicy, Trouble, World};
use crate::state::{RunStatus, SideCounts};

/// One attempt to send takes so long at most.
const TIMEOUT: Duration = Duration::from_secs(10);

const RETRY: RetryPolicy = RetryPolicy { attempts: 5, backoff: Duration::from_secs(1), max: Duration::from_secs(30) };

/// So many errors of a run stand in a message.
const ERRORS: usize = 20;

/// Sends messages, and knows those that are on their way.
pub(super) struct Notices {
    world: Arc<dyn World>,
    /// Made with the first message.
    client: Mutex<Option<Client>>,
    under_way: Mutex<JoinSet<()>>,
}

/// What is told of.
pub(super) struct Happened {
    events: Vec<NotifyEvent>,
    /// In the order of [`MESSAGE_NAMES`].
    values: Vec<Value>,
    /// What is sent where no `body` says otherwise.
    json: Json,
}

impl Happened {
    /// A run has ended.
    pub(super) fn ran(told: &Told) -> Happened {
        let report = &told.report;
        let (there, back) = (&report.counts.to_target, &report.counts.to_source);
        let both = |count: fn(&SideCounts) -> u64| whole(count(there) + count(back));
        let is_stopped = report.troubles.iter().any(|trouble| matches!(trouble, Trouble::Stopped));
        let mut events = match report.status {
            _ if is_stopped => Vec::new(),
            RunStatus::Success => vec![NotifyEvent::Success],
            RunStatus::Partial => vec![NotifyEvent::Partial],
            RunStatus::Failure => vec![NotifyEvent::Failure],
            RunStatus::Running | RunStatus::Interrupted => Vec::new(),
        };
        if report.counts.conflicts > 0 {
            events.push(NotifyEvent::Conflict);
        }
        if there.parked + back.parked > 0 {
            events.push(NotifyEvent::Parked);
        }
        let wrong = told.wrong.iter().map(|wrong| wrong.message.clone());
        let errors: Vec<String> = told.troubles().map(|trouble| told.words(trouble).0).chain(wrong).collect();
        let mut json = told.json();
        if let Some(errors) = json["errors"].as_array_mut()
            && errors.len() > ERRORS
        {
            let left_off = errors.len() - ERRORS;
            errors.truncate(ERRORS);
            json["errors_left_off"] = left_off.into();
        }
        Happened::new(&report.mapping, events, json, |name| match name {
            "status" => status_word(report.status),
            "run" => text(&report.run),
            "started_at" => Value::Instant(report.started_at),
            "duration_ms" => whole(report.duration_ms),
            "created" => both(|counts| counts.created),
            "updated" => both(|counts| counts.updated),
            "deleted" => both(|counts| counts.deleted),
            "failed" => both(|counts| counts.failed),
            "parked" => both(|counts| counts.parked),
            "conflicts" => whole(report.counts.conflicts),
            "owed" => whole(report.counts.owed),
            "error" if !errors.is_empty() => text(&errors.join("; ")),
            _ => Value::Null,
        })
    }

    /// A run could not even begin.
    pub(super) fn could_not_run(mapping: &str, failure: &Failure) -> Happened {
        let status = RunStatus::Failure;
        let json = json!({ "mapping": mapping, "status": status, "error": failure.message });
        Happened::new(mapping, vec![NotifyEvent::Failure], json, |name| match name {
            "status" => status_word(status),
            "error" => text(&failure.message),
            _ => Value::Null,
        })
    }

    /// The mapping has had no good run since then; `None` where it never had one.
    pub(super) fn is_stale(mapping: &str, since: Option<DateTime<Utc>>) -> Happened {
        let shown = since.map(|since| since.to_rfc3339_opts(SecondsFormat::Millis, true));
        let json = json!({ "mapping": mapping, "since": shown });
        Happened::new(mapping, vec![NotifyEvent::Stale], json, |name| match name {
            "status" => text(NotifyEvent::Stale.as_str()),
            "since" => since.map_or(Value::Null, Value::Instant),
            _ => Value::Null,
        })
    }

    fn new(mapping: &str, events: Vec<NotifyEvent>, json: Json, value: impl Fn(&str) -> Value) -> Happened {
        let values = MESSAGE_NAMES.map(|name| if name == "mapping" { text(mapping) } else { value(name) });
        Happened { events, values: values.into(), json }
    }

    /// The same, of which only this is told.
    fn with(&self, events: &[NotifyEvent]) -> (Vec<Value>, Json) {
        let names: Vec<&str> = events.iter().map(|event| event.as_str()).collect();
        let mut values = self.values.clone();
        if let Some(slot) = MESSAGE_NAMES.iter().position(|name| *name == "events") {
            values[slot] = text(&names.join(", "));
        }
        let mut json = json!({ "events": names });
        if let (Json::Object(json), Json::Object(own)) = (&mut json, &self.json) {
            json.extend(own.clone());
        }
        (values, json)
    }
}

impl Notices {
    pub(super) fn new(world: Arc<dyn World>) -> Notices {
        Notices { world, client: Mutex::new(None), under_way: Mutex::new(JoinSet::new()) }
    }

    /// Tells whoever a mapping names of what has happened to it.
    pub(super) fn tell(&self, loaded: &Loaded, mapping: &Mapping, happened: &Happened) {
        mapping.notify.iter().for_each(|notify| self.tell_one(loaded, mapping, notify, happened));
    }

    /// The same for one of them.
    pub(super) fn tell_one(&self, loaded: &Loaded, mapping: &Mapping, notify: &Notify, happened: &Happened) {
        let events: Vec<NotifyEvent> =
            happened.events.iter().copied().filter(|event| notify.tells_of(*event)).collect();
        if events.is_empty() {
            return;
        }
        let name = mapping.full_name.clone();
        let ready = message(loaded, notify, happened, &events).and_then(|message| {
            let client = self.client().map_err(|fault| fault.to_string())?;
            Ok((message, client))
        });
        let (message, client) = match ready {
            Ok(ready) => ready,
            Err(why) => return not_sent(&name, &why),
        };
        let world = self.world.clone();
        let mut under_way = self.under_way.lock().expect("nothing panics while it sends");
        // What has ended is let go of.
        while under_way.try_join_next().is_some() {}
        under_way.spawn(async move {
            let whom = format!("notify of `{name}`");
            let sent = RETRY.call(&*world, &whom, || Box::pin(client.send(&message))).await;
            match sent {
                Ok(()) => tracing::debug!(target: "engine::notify", mapping = name, ?events, "told"),
                Err(fault) => not_sent(&name, &fault.to_string()),
            }
        });
    }

    /// Waits until each message has arrived, or was given up.
    pub(super) async fn finish(&self) {
        let mut under_way = std::mem::take(&mut *self.under_way.lock().expect("nothing panics while it sends"));
        while under_way.join_next().await.is_some() {}
    }

    fn client(&self) -> Result<Client, Fault> {
        let mut client = self.client.lock().expect("nothing panics while it makes one");
        if client.is_none() {
            *client = Some(Client::new(TIMEOUT)?);
        }
        Ok(client.clone().expect("it was made just now"))
    }
}

/// The message, every reference in it resolved; else why there is none.
fn message(loaded: &Loaded, notify: &Notify, happened: &Happened, events: &[NotifyEvent]) -> Result<Message, String> {
    let mut diagnostics = Diagnostics::new();
    let mut read = |text| environment::resolve(text, &loaded.environment, &mut diagnostics);
    let url = read(&notify.url);
    let headers: Vec<_> = notify.headers.iter().map(|(name, value)| Some((name.value.clone(), read(value)?))).collect();
    let headers: Option<Vec<_>> = headers.into_iter().collect();
    let (values, json) = happened.with(events);
    let body = match (notify.method(), &notify.body) {
        (NotifyMethod::Get, _) => None,
        (NotifyMethod::Post, None) => Some((JSON, json.to_string())),
        (NotifyMethod::Post, Some(body)) => {
            let media = if matches!(body, NotifyBody::Json(_)) { JSON } else { TEXT };
            let template = MessageBody::compile(body, &mut diagnostics);
            let rendered = template.map(|template| template.render(&values).map_err(|trouble| trouble.message));
            rendered.transpose()?.map(|body| (media, body))
        }
    };
    match (url, headers, diagnostics.has_errors()) {
        (Some(url), Some(headers), false) => {
            // What came from a secret leaves the engine nowhere but in what names it.
            let body = body.map(|(media, body)| (media, without_secrets(&body).into_owned()));
            Ok(Message { url, headers, body })
        }
        _ => Err(diagnostics.iter().map(|wrong| wrong.message.clone()).collect::<Vec<_>>().join("; ")),
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

fn not_sent(mapping: &str, why: &str) {
    tracing::warn!(target: "engine::notify", mapping, "a message about `{mapping}` was not sent: {why}");
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn whole(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn status_word(status: RunStatus) -> Value {
    json!(status).as_str().map_or(Value::Null, text)
}
