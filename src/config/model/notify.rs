//! Messages about runs.

use super::scalar::Duration;
use crate::config::decode::{Choice, Table, choice, entries, list, text};
use crate::config::tree::{At, Content, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use std::borrow::Cow;

/// A message that is sent when a run has ended.
///
/// It is sent beside the runs, which do not wait for it, with up to five
/// attempts; where none succeeds that is logged. A message whose answer was
/// lost is sent again, so that one may come twice.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Notify {
    #[schemars(skip)]
    pub place: Place,
    /// What is told of. A run that is several of these makes one message.
    #[schemars(length(min = 1), example = ["failure", "conflict"])]
    pub events: Vec<At<NotifyEvent>>,
    /// Where the message goes: an address with `http://` or `https://`. `${NAME}`,
    /// `${secret:NAME}` and `${file:PATH}` are read as in a connection's settings.
    /// Only its host is ever shown.
    #[schemars(example = &"${ALERT_URL}")]
    pub url: At<String>,
    /// How it is sent. Default: `POST`.
    pub method: Option<At<NotifyMethod>>,
    /// Sent along with it, by name; values read the environment as `url` does.
    /// Default: only those that say what the body is.
    #[schemars(with = "std::collections::BTreeMap<String, String>", default)]
    #[schemars(example = &serde_json::json!({ "Authorization": "Bearer ${secret:alerts}" }))]
    pub headers: Vec<(At<String>, At<String>)>,
    /// What a `POST` holds. A text is a template and goes as it is; a mapping or
    /// a list goes as JSON, and each text in it is a template. Templates know
    /// `mapping`, `events`, `status`, `run`, `started_at`, `duration_ms`,
    /// `created`, `updated`, `deleted`, `failed`, `parked`, `conflicts` (of both
    /// directions), `owed`, `error` (why it failed) and `since` (the last good
    /// run, for `stale`). Default: the run as `--format json` shows it, with its
    /// `events`.
    #[schemars(example = &serde_json::json!({ "text": "{{ mapping }}: {{ status }} {{ error }}" }))]
    pub body: Option<NotifyBody>,
    /// So long after its last good run a mapping is `stale`. Default: `24h`.
    #[schemars(example = &"2h")]
    pub stale_after: Option<At<Duration>>,
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum NotifyEvent {
    /// A run in which all went well.
    Success,
    /// A run that could not begin, or was stopped by what failed.
    Failure,
    /// A run in which something failed or was newly parked.
    Partial,
    /// A run in which a field, or a record, came into conflict.
    Conflict,
    /// A run in which something was newly parked.
    Parked,
    /// The mapping has had no success and no partial success for `stale_after`.
    /// Told once, until it has one, by an engine that runs on schedules.
    Stale,
}

impl NotifyEvent {
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, event)| *event == self).map_or("", |(word, _)| word)
    }
}

impl Choice for NotifyEvent {
    const WHAT: &'static str = "an event";
    const WORDS: &'static [(&'static str, NotifyEvent)] = &[
        ("success", NotifyEvent::Success),
        ("failure", NotifyEvent::Failure),
        ("partial", NotifyEvent::Partial),
        ("conflict", NotifyEvent::Conflict),
        ("parked", NotifyEvent::Parked),
        ("stale", NotifyEvent::Stale),
    ];
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(inline)]
pub enum NotifyMethod {
    /// With a body.
    #[default]
    Post,
    /// Without one: the address says it all.
    Get,
}

impl Choice for NotifyMethod {
    const WHAT: &'static str = "a way to send a message";
    const WORDS: &'static [(&'static str, NotifyMethod)] = &[("POST", NotifyMethod::Post), ("GET", NotifyMethod::Get)];
}

/// What a message holds.
#[derive(Debug, Clone, PartialEq)]
pub enum NotifyBody {
    /// A template.
    Text(At<String>),
    /// JSON whose texts are templates.
    Json(Node),
}

impl NotifyBody {
    pub fn place(&self) -> &Place {
        match self {
            NotifyBody::Text(text) => &text.place,
            NotifyBody::Json(node) => &node.place,
        }
    }

    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<NotifyBody> {
        Some(match &node.content {
            Content::Scalar(_) => NotifyBody::Text(text(node, diagnostics)?),
            Content::List(_) | Content::Map(_) => NotifyBody::Json(node.clone()),
        })
    }
}

impl JsonSchema for NotifyBody {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NotifyBody".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "object", "array"] })
    }
}

impl Notify {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Notify> {
        let mut table = Table::open(node, "an entry of `notify`", diagnostics)?;
        let events = table.required("events", events);
        let url = table.required("url", text);
        let notify = Notify {
            place: node.place.clone(),
            events: events.clone().unwrap_or_default(),
            url: url.clone().unwrap_or_else(|| At::new(String::new(), node.place.clone())),
            method: table.optional("method", choice),
            headers: table.optional("headers", headers).unwrap_or_default(),
            body: table.optional("body", NotifyBody::decode),
            stale_after: table.optional("stale_after", Duration::decode_positive),
        };
        table.finish();
        // What is missing was told.
        (events.is_some() && url.is_some()).then_some(notify)
    }

    pub fn method(&self) -> NotifyMethod {
        self.method.as_ref().map_or_else(NotifyMethod::default, |method| method.value)
    }

    /// True where it tells of this.
    pub fn tells_of(&self, event: NotifyEvent) -> bool {
        self.events.iter().any(|known| known.value == event)
    }

    /// So long after its last good run a mapping is stale.
    pub fn stale_after(&self) -> std::time::Duration {
        self.stale_after.as_ref().map_or(std::time::Duration::from_hours(24), |after| after.value.0)
    }
}

fn events(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<At<NotifyEvent>>> {
    let events: Vec<At<NotifyEvent>> = list(node, diagnostics, choice)?;
    if node.as_list().is_some_and(<[Node]>::is_empty) {
        let diagnostic = Diagnostic::error(Code::BAD_VALUE, &node.place, "a message about nothing");
        diagnostics.push(diagnostic.help("name what is told of: `events: [failure, conflict]`"));
    }
    Some(events)
}

fn headers(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<(At<String>, At<String>)>> {
    let entries = entries(node, "`headers`", diagnostics)?;
    let mut read = |(name, value): &(Node, Node)| Some((text(name, diagnostics)?, text(value, diagnostics)?));
    Some(entries.iter().filter_map(&mut read).collect())
}
