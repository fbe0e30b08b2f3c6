//! The entries under `fields:`.

use super::policy::{Direction, Drift, Policy};
use super::rule::RuleSpec;
use crate::config::decode::{Choice, Table, any, boolean, choice, list, name, names, not_yet, text};
use crate::config::tree::{At, Content, Node};
use crate::diagnostic::{Diagnostics, Place};
use schemars::JsonSchema;
use serde::Serialize;

/// One entry of `fields:`.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub enum FieldEntry {
    Field(Box<FieldSpec>),
    Copy(CopySpec),
}

impl FieldEntry {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<FieldEntry> {
        if node.as_map().is_some_and(|entries| entries.iter().any(|(key, _)| key.text() == Some("copy"))) {
            CopySpec::decode(node, diagnostics).map(FieldEntry::Copy)
        } else {
            FieldSpec::decode(node, diagnostics).map(|field| FieldEntry::Field(Box::new(field)))
        }
    }

    /// True where the target's fields that it fills are known.
    pub(crate) fn is_known(&self) -> bool {
        match self {
            FieldEntry::Field(field) => field.complete || field.target.is_some(),
            FieldEntry::Copy(copy) => copy.complete,
        }
    }

    pub fn place(&self) -> &Place {
        match self {
            FieldEntry::Field(field) => &field.place,
            FieldEntry::Copy(copy) => &copy.place,
        }
    }
}

/// A field of one side and what it becomes on the other.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FieldSpec {
    #[schemars(skip)]
    pub place: Place,
    /// False where a part of it was reported and left out.
    #[schemars(skip)]
    pub complete: bool,
    /// The source's field. Left out where `template` or `value` fills the target's.
    #[schemars(example = &"A1_NOME")]
    pub source: Option<At<String>>,
    /// The target's field. Left out where `template` or `value` fills the source's.
    #[schemars(example = &"name")]
    pub target: Option<At<String>>,
    /// The steps from the source's value to the target's, in this order; from
    /// the target's to the source's where the direction is `target_to_source`.
    /// Default: none, the value goes over as it is.
    #[schemars(default, example = ["trim", "title_case"])]
    pub rules: Vec<RuleSpec>,
    /// The steps of the way back, where the rules cannot be inverted by
    /// themselves. Default: the inverse of `rules`.
    #[schemars(example = serde_json::json!(["upper_case", { "pad_right": 40 }]))]
    pub reverse: Option<Vec<RuleSpec>>,
    /// The steps after which two values mean the same, for matching, first
    /// sync and agreement; neither value is changed by them. Default: none.
    #[schemars(default, example = ["digits"])]
    pub equal: Vec<RuleSpec>,
    /// Whether a record without a value here is set aside instead of written to
    /// the target. An edit that empties the target's field goes to the source.
    /// Default: `false`.
    pub required: Option<At<bool>>,
    /// Which way this field goes. Default: the mapping's direction.
    pub direction: Option<At<Direction>>,
    /// The policy of this field where both sides changed. Default:
    /// `conflicts.default` of the mapping.
    pub conflict: Option<At<Policy>>,
    /// What happens to an edit on the side that a one-way field is written to.
    /// Default: `keep`.
    pub drift: Option<At<Drift>>,
    /// When the field is written. Default: whenever its value changes.
    pub write: Option<At<WriteMoment>>,
    /// A fixed value that fills the field; one way.
    #[schemars(example = &"protheus")]
    pub value: Option<Node>,
    /// A Jinja template that fills the field from the other side's; one way.
    #[schemars(example = &"{{ A1_END | trim }}, {{ A1_MUN | trim }}")]
    pub template: Option<At<String>>,
}

impl FieldSpec {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<FieldSpec> {
        let mut table = Table::open(node, "a field entry", diagnostics)?;
        table.later(&["use", "each"]);
        let mut field = FieldSpec {
            place: node.place.clone(),
            complete: true,
            source: table.optional("source", path),
            target: table.optional("target", path),
            rules: table.optional("rules", rules).unwrap_or_default(),
            reverse: table.optional("reverse", rules),
            equal: table.optional("equal", rules).unwrap_or_default(),
            required: table.optional("required", boolean),
            direction: table.optional("direction", choice),
            conflict: table.optional("conflict", choice),
            drift: table.optional("drift", choice),
            write: table.optional("write", choice),
            // A null is a value, so that a field can be emptied.
            value: table.node("value").and_then(|node| any(node, table.diagnostics())),
            template: table.optional("template", text),
        };
        field.complete = table.finish();
        Some(field)
    }
}

fn rules(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<RuleSpec>> {
    list(node, diagnostics, RuleSpec::decode)
}

fn path(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<String>> {
    if let Content::List(_) = &node.content {
        diagnostics.push(not_yet(&node.place, "a field made of several fields"));
        return None;
    }
    name(node, diagnostics)
}

/// When a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum WriteMoment {
    /// When the record is created; afterwards it is left alone, and an edit of
    /// it holds no deletion back.
    Create,
}

impl Choice for WriteMoment {
    const WHAT: &'static str = "a moment to write";
    const WORDS: &'static [(&'static str, WriteMoment)] = &[("create", WriteMoment::Create)];
}

/// Fields that have the same name on both sides and go over as they are.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CopySpec {
    #[schemars(skip)]
    pub place: Place,
    /// False where a part of it was reported and left out.
    #[schemars(skip)]
    pub complete: bool,
    /// The names of the fields.
    #[schemars(length(min = 1), example = ["email", "notes"])]
    pub copy: Vec<At<String>>,
}

impl CopySpec {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<CopySpec> {
        let mut table = Table::open(node, "an entry with `copy`", diagnostics)?;
        let copy = table.required("copy", names);
        let complete = table.finish();
        Some(CopySpec { place: node.place.clone(), complete, copy: copy? })
    }
}
