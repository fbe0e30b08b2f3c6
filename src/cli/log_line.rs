//! A log event as one line of JSON.
//!
//! What a field holds as JSON stays JSON: keys are objects of their fields,
//! details are nested, and nobody has to parse a text inside a line. Start
//! reading at [`JsonLine`].

use std::fmt;

use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Fields of our own events that are given as JSON.
const NESTED: &[&str] = &["source_key", "target_key", "detail"];

/// Where our own events are told.
pub(super) const EVENTS: &str = "engine::event";

/// Writes `{"timestamp":…,"level":…,"target":…,…}`, one line for each event.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        let mut fields = Map::new();
        fields.insert("timestamp".to_owned(), timestamp.into());
        fields.insert("level".to_owned(), metadata.level().as_str().into());
        fields.insert("target".to_owned(), metadata.target().into());
        event.record(&mut Fields { fields: &mut fields, nests: metadata.target() == EVENTS });
        writeln!(writer, "{}", Json::Object(fields))
    }
}

struct Fields<'a> {
    fields: &'a mut Map<String, Json>,
    nests: bool,
}

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Json) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let nested = self.nests && NESTED.contains(&field.name());
        let parsed = if nested { serde_json::from_str(value).ok() } else { None };
        self.put(field, parsed.unwrap_or_else(|| value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
