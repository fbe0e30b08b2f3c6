//! A rule as it is written: a name, an argument, options. What it means is
//! `compile`'s.

use crate::config::decode::{mismatch, name};
use crate::config::tree::{At, Content, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;

/// One step of a field: `trim`, or `{ multiply: "1.1", scale: 2 }`.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSpec {
    pub name: At<String>,
    /// What stands beside the name; `None` for a bare name.
    pub argument: Option<Node>,
    /// The other entries of the mapping, in the order written.
    pub options: Vec<(At<String>, Node)>,
    pub place: Place,
}

impl RuleSpec {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<RuleSpec> {
        let place = node.place.clone();
        match &node.content {
            Content::Scalar(_) => {
                Some(RuleSpec { name: name(node, diagnostics)?, argument: None, options: Vec::new(), place })
            }
            Content::Map(entries) => {
                let mut entries = entries.iter();
                let Some((key, argument)) = entries.next() else {
                    diagnostics.push(Diagnostic::error(Code::MISSING_NAME, &place, "a rule without a name"));
                    return None;
                };
                let name = name(key, diagnostics)?;
                let mut options = Vec::new();
                for (key, value) in entries {
                    if let Some(option) = self::name(key, diagnostics) {
                        options.push((option, value.clone()));
                    }
                }
                Some(RuleSpec { name, argument: Some(argument.clone()), options, place })
            }
            Content::List(_) => {
                let help = "write its name, or its name with its argument: `{ pad_left: 6 }`";
                diagnostics.push(mismatch(node, "a rule is a name or a mapping").help(help));
                None
            }
        }
    }
}

impl JsonSchema for RuleSpec {
    fn schema_name() -> Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::try_from(crate::config::schema::any_rule()).expect("an object is a schema")
    }
}
