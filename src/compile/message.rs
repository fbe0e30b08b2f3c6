//! What a message about a run says: templates over what is known of the run.

use serde_json::{Map, Value as Json};

use super::Trouble;
use super::expression::{Input, Resolve, Template};
use crate::config::model::{Mapping, NotifyBody};
use crate::config::tree::{At, Content, Node, Scalar, Style};
use crate::diagnostic::{Diagnostics, nearest};
use crate::record::Value;

/// What templates of a message know, by name.
pub const MESSAGE_NAMES: [&str; 15] = [
    "mapping",
    "events",
    "status",
    "run",
    "started_at",
    "duration_ms",
    "created",
    "updated",
    "deleted",
    "failed",
    "parked",
    "conflicts",
    "owed",
    "error",
    "since",
];

/// The body of a message, compiled.
#[derive(Debug)]
pub enum MessageBody {
    Text(Template),
    Json(Part),
}

/// A part of a body that is JSON.
#[derive(Debug)]
pub enum Part {
    Constant(Json),
    Text(Template),
    List(Vec<Part>),
    Map(Vec<(String, Part)>),
}

impl MessageBody {
    /// Compiles a body. `None` where it is wrong, which is then said in
    /// `diagnostics`.
    pub fn compile(body: &NotifyBody, diagnostics: &mut Diagnostics) -> Option<MessageBody> {
        match body {
            NotifyBody::Text(text) => Template::compile(text, &mut Names, diagnostics).map(MessageBody::Text),
            NotifyBody::Json(node) => Part::compile(node, diagnostics).map(MessageBody::Json),
        }
    }

    /// The body over values that stand in the order of [`MESSAGE_NAMES`].
    ///
    /// # Errors
    /// Where a value does not fit an operator or a filter.
    pub fn render(&self, values: &[Value]) -> Result<String, Box<Trouble>> {
        match self {
            MessageBody::Text(template) => Ok(template.render(Input::new(values))?.into()),
            MessageBody::Json(part) => Ok(part.render(values)?.to_string()),
        }
    }
}

impl Part {
    fn compile(node: &Node, diagnostics: &mut Diagnostics) -> Option<Part> {
        Some(match &node.content {
            Content::Scalar(scalar) => match constant(scalar) {
                Some(constant) => Part::Constant(constant),
                None => {
                    let text = At::new(scalar.text.clone(), node.place.clone());
                    Part::Text(Template::compile(&text, &mut Names, diagnostics)?)
                }
            },
            Content::List(items) => {
                let items: Vec<_> = items.iter().map(|item| Part::compile(item, diagnostics)).collect();
                Part::List(items.into_iter().collect::<Option<_>>()?)
            }
            Content::Map(entries) => {
                let mut entry = |(name, value): &(Node, Node)| {
                    Some((name.text().unwrap_or_default().to_owned(), Part::compile(value, diagnostics)?))
                };
                let entries: Vec<_> = entries.iter().map(&mut entry).collect();
                Part::Map(entries.into_iter().collect::<Option<_>>()?)
            }
        })
    }

    fn render(&self, values: &[Value]) -> Result<Json, Box<Trouble>> {
        Ok(match self {
            Part::Constant(constant) => constant.clone(),
            Part::Text(template) => Json::from(template.render(Input::new(values))?.as_str()),
            Part::List(items) => Json::Array(items.iter().map(|item| item.render(values)).collect::<Result<_, _>>()?),
            Part::Map(entries) => {
                let entry = |(name, part): &(String, Part)| Ok((name.clone(), part.render(values)?));
                Json::Object(entries.iter().map(entry).collect::<Result<Map<_, _>, Box<Trouble>>>()?)
            }
        })
    }
}

/// What stands without quotes and is no text in YAML is none in JSON.
fn constant(scalar: &Scalar) -> Option<Json> {
    if scalar.is_null() {
        return Some(Json::Null);
    }
    let number = || scalar.text.parse::<serde_json::Number>().ok().filter(|_| scalar.style == Style::Plain);
    scalar.as_bool().map(Json::Bool).or_else(|| number().map(Json::Number))
}

/// Reports what is wrong with the bodies of a mapping's messages.
pub(super) fn check(mapping: &Mapping, diagnostics: &mut Diagnostics) {
    for body in mapping.notify.iter().filter_map(|notify| notify.body.as_ref()) {
        MessageBody::compile(body, diagnostics);
    }
}

/// [`MESSAGE_NAMES`], each its own slot.
struct Names;

impl Resolve for Names {
    fn slot(&mut self, name: &str) -> Result<usize, Option<String>> {
        let slot = MESSAGE_NAMES.iter().position(|known| *known == name);
        slot.ok_or_else(|| nearest(name, MESSAGE_NAMES).map(str::to_owned))
    }
}
