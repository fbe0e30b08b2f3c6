//! Who may change what, and who wins.

use crate::config::decode::{Choice, Table, choice, list, mismatch, text};
use crate::config::tree::{At, Content, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use std::borrow::Cow;

/// Which way values go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Direction {
    /// From the source to the target; the source is never written.
    #[default]
    SourceToTarget,
    /// From the target to the source; the target is never written.
    TargetToSource,
    /// Both ways: each side is read and written.
    Bidirectional,
}

impl Direction {
    pub fn writes_target(self) -> bool {
        self != Direction::TargetToSource
    }

    pub fn writes_source(self) -> bool {
        self != Direction::SourceToTarget
    }

    pub fn as_str(self) -> &'static str {
        word(self)
    }
}

impl Choice for Direction {
    const WHAT: &'static str = "a direction";
    const WORDS: &'static [(&'static str, Direction)] = &[
        ("source_to_target", Direction::SourceToTarget),
        ("target_to_source", Direction::TargetToSource),
        ("bidirectional", Direction::Bidirectional),
    ];
}

/// What happens to a field that was changed on both sides to values that do
/// not mean the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Policy {
    /// The source's value is taken.
    Source,
    /// The target's value is taken.
    Target,
    /// The value that was changed last is taken, by each side's `modified`; a
    /// tie goes to the source. Where neither record has a time, the field waits
    /// as under `manual`.
    Newest,
    /// The field waits on both sides until somebody decides with `engine
    /// conflicts resolve`; the rest of the record goes on.
    #[default]
    Manual,
    /// Both changes of a number are added up, as for stock and balances. Where
    /// both sides come to show the same number they agree on it, as in any
    /// field, and nothing is added. Where one of the values is missing, the field
    /// waits as under `manual`.
    SumDeltas,
    /// The two lists are joined. Where one is missing, the field waits as under
    /// `manual`.
    Union,
    /// The larger value is taken, as the target shows them: rules that turn the
    /// order round (`multiply: -1`) turn this round too. Where one is missing, the
    /// field waits as under `manual`; so it does under `min`.
    Max,
    /// The smaller value is taken, as the target shows them.
    Min,
}

impl Policy {
    /// Every policy there is.
    pub const ALL: [Policy; 8] = [
        Policy::Source,
        Policy::Target,
        Policy::Newest,
        Policy::Manual,
        Policy::SumDeltas,
        Policy::Union,
        Policy::Max,
        Policy::Min,
    ];

    pub fn as_str(self) -> &'static str {
        word(self)
    }
}

impl Choice for Policy {
    const WHAT: &'static str = "a conflict policy";
    const WORDS: &'static [(&'static str, Policy)] = &[
        ("source", Policy::Source),
        ("target", Policy::Target),
        ("newest", Policy::Newest),
        ("manual", Policy::Manual),
        ("sum_deltas", Policy::SumDeltas),
        ("union", Policy::Union),
        ("max", Policy::Max),
        ("min", Policy::Min),
    ];
}

/// What happens to a one-way field that was edited on the side it is written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Drift {
    /// The edit stays until the side it comes from changes, and is then
    /// overwritten and logged. So is an edit that was made after a write which a
    /// crash left without an answer, as nobody can tell which of the two was first.
    #[default]
    Keep,
    /// The value is put back on every run. The side it is written to is then
    /// read too, by its cursor where it has one.
    Restore,
    /// The edit is treated as a conflict. The side it is written to is then
    /// read too, by its cursor where it has one.
    Conflict,
}

impl Choice for Drift {
    const WHAT: &'static str = "a way to treat drift";
    const WORDS: &'static [(&'static str, Drift)] =
        &[("keep", Drift::Keep), ("restore", Drift::Restore), ("conflict", Drift::Conflict)];
}

/// A kind of write that a side may be subject to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Operation {
    /// New records are created.
    Create,
    /// Existing records are changed.
    Update,
}

impl Choice for Operation {
    const WHAT: &'static str = "an operation";
    const WORDS: &'static [(&'static str, Operation)] = &[("create", Operation::Create), ("update", Operation::Update)];
}

fn word<T: Choice + PartialEq>(value: T) -> &'static str {
    T::WORDS.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

/// Which writes each side is subject to. Deletes have a setting of their own.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Allow {
    #[schemars(skip)]
    pub place: Place,
    /// What may be done on the target. Default: `[create, update]`.
    #[schemars(example = ["create", "update"])]
    pub to_target: Option<Vec<At<Operation>>>,
    /// What may be done on the source. Default: `[create, update]`.
    #[schemars(example = ["update"])]
    pub to_source: Option<Vec<At<Operation>>>,
}

impl Allow {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Allow> {
        let mut table = Table::open(node, "`allow`", diagnostics)?;
        let operations = |node: &Node, diagnostics: &mut Diagnostics| list(node, diagnostics, choice::<Operation>);
        let allow = Allow {
            place: node.place.clone(),
            to_target: table.optional("to_target", operations),
            to_source: table.optional("to_source", operations),
        };
        table.finish();
        Some(allow)
    }
}

/// Who wins where both sides changed.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Conflicts {
    #[schemars(skip)]
    pub place: Place,
    /// The policy of every field that has no `conflict` of its own. Default: `manual`.
    #[schemars(example = &"newest")]
    pub default: Option<At<Policy>>,
    /// The policy where two existing records meet for the first time and a
    /// field differs. It outranks a field's `conflict`. A value that one side has
    /// and the other leaves blank (nothing, empty text, blanks) is filled in
    /// there, whichever side that is. `sum_deltas` has nothing to add up there,
    /// and is refused. Default: as `default`.
    #[schemars(example = &"source")]
    pub first: Option<At<Policy>>,
}

impl Conflicts {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Conflicts> {
        let mut table = Table::open(node, "`conflicts`", diagnostics)?;
        let conflicts = Conflicts {
            place: node.place.clone(),
            default: table.optional("default", choice),
            first: table.optional("first", choice),
        };
        table.finish();
        Some(conflicts)
    }
}

/// What a record deleted on one side does to the other.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Deletes {
    #[schemars(skip)]
    pub place: Place,
    /// What happens on the target when the source's record is gone. Default: `ignore`.
    #[schemars(example = &"propagate")]
    pub to_target: Option<At<DeletePolicy>>,
    /// What happens on the source when the target's record is gone. Default: `ignore`.
    #[schemars(example = serde_json::json!({ "set": { "active": false } }))]
    pub to_source: Option<At<DeletePolicy>>,
}

impl Deletes {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Deletes> {
        let mut table = Table::open(node, "`deletes`", diagnostics)?;
        let deletes = Deletes {
            place: node.place.clone(),
            to_target: table.optional("to_target", DeletePolicy::decode),
            to_source: table.optional("to_source", DeletePolicy::decode),
        };
        table.finish();
        Some(deletes)
    }
}

/// What becomes of a record whose counterpart was deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum DeletePolicy {
    Ignore,
    Propagate,
    /// These fields of the record are set to these values.
    Set(Vec<(At<String>, Node)>),
}

impl DeletePolicy {
    /// Whether anything happens to the other side.
    pub fn acts(&self) -> bool {
        *self != DeletePolicy::Ignore
    }

    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<DeletePolicy>> {
        let help = "write `ignore`, `propagate` or `{ set: { field: value } }`";
        let policy = match &node.content {
            Content::Scalar(scalar) => match scalar.text.as_str() {
                "ignore" => DeletePolicy::Ignore,
                "propagate" => DeletePolicy::Propagate,
                other => {
                    let message = format!("`{other}` is not a way to treat deletes");
                    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &node.place, message).help(help));
                    return None;
                }
            },
            Content::Map(_) => {
                let mut table = Table::open(node, "a way to treat deletes", diagnostics)?;
                let set = table.required("set", fields_to_set);
                table.finish();
                DeletePolicy::Set(set?)
            }
            Content::List(_) => {
                diagnostics.push(mismatch(node, "a way to treat deletes is expected").help(help));
                return None;
            }
        };
        Some(At::new(policy, node.place.clone()))
    }
}

fn fields_to_set(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<(At<String>, Node)>> {
    let help = "write `{ field: value }`";
    let Some(entries) = node.as_map() else {
        diagnostics.push(mismatch(node, "`set` is a mapping of fields to values").help(help));
        return None;
    };
    if entries.is_empty() {
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &node.place, "`set` names no field").help(help));
        return None;
    }
    Some(entries.iter().filter_map(|(key, value)| Some((text(key, diagnostics)?, value.clone()))).collect())
}

impl JsonSchema for DeletePolicy {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DeletePolicy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "const": "ignore", "description": "The record stays; its link is kept, severed." },
            { "const": "propagate", "description": "The record is deleted too, within `limits.delete`: the row itself, also on a side that marks what is deleted. There, `{ set: … }` sets the mark instead." },
            {
                "type": "object",
                "description": "These fields of the record are set to these values. Should the other record come back, they stay as they were set.",
                "properties": { "set": {
                    "type": "object",
                    "description": "The fields, by name, and the value each is set to.",
                    "minProperties": 1
                } },
                "required": ["set"],
                "additionalProperties": false
            }
        ] })
    }
}

/// How much one run may change. Creates and updates are made up to the limit, there the run stops with a failure, and the
/// next one goes on; deletes are made all or none. `--over-limit` lets one run through.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    #[schemars(skip)]
    pub place: Place,
    /// The most records created, as a number or as a percentage of the links.
    /// A first sync is not held by it. Default: no limit.
    #[schemars(example = 500)]
    pub create: Option<At<Limit>>,
    /// The most records changed, as a number or as a percentage of the links.
    /// A first sync is not held by it. Default: no limit.
    #[schemars(example = &"50%")]
    pub update: Option<At<Limit>>,
    /// The most records deleted over a rolling day, as a number or as a
    /// percentage of the links; above it none is deleted. Default: `5%` and at
    /// least 10.
    #[schemars(example = &"5%")]
    pub delete: Option<At<Limit>>,
}

impl Limits {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Limits> {
        let mut table = Table::open(node, "`limits`", diagnostics)?;
        let limits = Limits {
            place: node.place.clone(),
            create: table.optional("create", Limit::decode),
            update: table.optional("update", Limit::decode),
            delete: table.optional("delete", Limit::decode),
        };
        table.finish();
        Some(limits)
    }
}

/// A number of records, or a percentage of the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Count(u64),
    /// From 0 to 100.
    Percent(Decimal),
}

impl Limit {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<Limit>> {
        let text = text(node, diagnostics)?;
        let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let limit = match text.strip_suffix('%').map(str::trim_end) {
            Some(number) if plain(number) => {
                number.parse().ok().filter(|percent| *percent <= Decimal::ONE_HUNDRED).map(Limit::Percent)
            }
            Some(_) => None,
            None => text.parse().ok().map(Limit::Count),
        };
        if limit.is_none() {
            let message = format!("`{}` is neither a whole number nor a percentage up to 100", text.value);
            let help = "write `500` or `5%`";
            diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &text.place, message).help(help));
        }
        Some(At::new(limit?, text.place))
    }

    /// The number of records, where there are so many links. A percentage is
    /// rounded down.
    pub fn of(self, links: u64) -> u64 {
        match self {
            Limit::Count(count) => count,
            Limit::Percent(percent) => {
                use rust_decimal::prelude::ToPrimitive;
                (Decimal::from(links) * percent / Decimal::ONE_HUNDRED).floor().to_u64().unwrap_or(u64::MAX)
            }
        }
    }
}

/// As a user would write it.
impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::Count(count) => write!(f, "{count}"),
            Limit::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": r"^(?!0+(\.0+)? *%?$)(\d+|\d+(\.\d+)? *%)$" }
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_counts_links() {
        assert_eq!(Limit::Percent(Decimal::from(5)).of(1000), 50);
        assert_eq!(Limit::Percent(Decimal::from(5)).of(19), 0);
        assert_eq!(Limit::Percent(Decimal::new(5, 1)).of(1000), 5);
        assert_eq!(Limit::Count(7).of(1), 7);
    }
}
