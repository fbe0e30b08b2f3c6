//! One pair of objects, and what goes between them.

use super::case::TestCase;
use super::field::FieldEntry;
use super::notify::Notify;
use super::or_text;
use super::policy::{Allow, Conflicts, Deletes, Direction, Drift, Limits, Operation, Policy};
use super::schedule::Schedule;
use super::side::SideSpec;
use crate::config::decode::{Table, boolean, choice, former_name, given_name, list, mismatch, name, text};
use crate::config::project::join;
use crate::config::tree::{At, Content, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use crate::record::Side;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// One pair of objects with its fields, rules, policies and schedule.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Mapping {
    /// The name with its namespace: `acme/customers`.
    #[schemars(skip)]
    pub full_name: String,
    /// The folder below the project, with slashes; empty at the top.
    #[schemars(skip)]
    pub namespace: String,
    /// The whole document.
    #[schemars(skip)]
    pub place: Place,
    /// False where a direction may be meant that could not be read.
    #[schemars(skip)]
    pub direction_known: bool,
    /// False where an entry of `fields` may fill a field that could not be read.
    #[schemars(skip)]
    pub fields_known: bool,
    /// The mapping's name, unique in its folder. It is stored with every link,
    /// so that a renamed mapping names its former one in `was`.
    #[schemars(example = &"customers")]
    pub mapping: At<String>,
    /// One mapping for each entry, called `NAME[ENTRY]`; `${var.KEY}` reads the
    /// entry's values. `NAME` alone means all of them. Default: one mapping.
    #[schemars(example = &serde_json::json!({ "sp": { "shop": "shop_sp", "company": "19" } }))]
    pub for_each: Option<ForEach>,
    /// A line that says what the mapping does. Default: none.
    #[schemars(example = &"ERP customers <-> CRM customers")]
    pub description: Option<At<String>>,
    /// The former name of the mapping, when it was renamed: its links, cursors
    /// and history are taken over by the next run. A name of the same folder, or
    /// one with its folders (`acme/clientes`; `/clientes` stood in none). Until
    /// then the state knows the mapping under its former name. Default: none.
    #[schemars(example = &"clientes")]
    pub was: Option<At<String>>,
    /// Whether the mapping runs. Default: `true`.
    pub enabled: Option<At<bool>>,
    /// The side called source.
    pub source: SideSpec,
    /// The side called target.
    pub target: SideSpec,
    /// Which way values go. Default: `source_to_target`.
    #[schemars(example = &"bidirectional")]
    pub direction: Option<At<Direction>>,
    /// Which writes each side is subject to. Default: both, create and update.
    pub allow: Option<Allow>,
    /// When the mapping runs by itself. Default: only when it is asked for.
    pub schedule: Option<Schedule>,
    /// The target fields that identify a record which has no link yet. `[a, b]`
    /// means both together; `[[a], [b, c]]` means a, and where that finds
    /// nothing b and c together. Default: none.
    #[schemars(rename = "match", with = "MatchSchema", default)]
    pub match_on: Vec<Vec<At<String>>>,
    /// An expression over the fields of the side that is read; records for
    /// which it is false are skipped and counted, and so are edits whose
    /// counterpart is skipped. Default: none.
    #[schemars(example = &"A1_NOME != ''")]
    pub when: Option<When>,
    /// What goes where, field by field.
    #[schemars(length(min = 1))]
    pub fields: Vec<FieldEntry>,
    /// Who wins where both sides changed. Default: nobody, the field waits.
    pub conflicts: Option<Conflicts>,
    /// What a record deleted on one side does to the other. Default: nothing.
    pub deletes: Option<Deletes>,
    /// How much one run may change before it stops.
    pub limits: Option<Limits>,
    /// Who is told of its runs. Default: nobody.
    #[schemars(default)]
    pub notify: Vec<Notify>,
    /// Cases that `engine test` tries the mapping on. Default: none.
    #[schemars(default)]
    pub tests: Vec<TestCase>,
}

impl Mapping {
    /// Reads a mapping document. What is missing or wrong is reported and left
    /// empty, so that the rest can be checked as well.
    /// `entry` is the one of its `for_each` that it is made for.
    pub(crate) fn decode(
        node: &Node,
        namespace: &str,
        entry: Option<At<String>>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Mapping> {
        let mut table = Table::open(node, "a mapping", diagnostics)?;
        table.later(&["approve", "batch", "let", "lookups", "requires", "then", "vars", "write_back"]);
        let place = node.place.clone();
        let mut mapping =
            table.required("mapping", given_name).unwrap_or_else(|| At::new(String::new(), place.clone()));
        // Read before, when it was found out which mappings there are.
        table.node("for_each");
        if let Some(entry) = &entry {
            mapping.value = format!("{}[{}]", mapping.value, entry.value);
        }
        let full_name = join(namespace, &mapping);
        let mut model = Mapping {
            direction_known: true,
            fields_known: true,
            full_name,
            namespace: namespace.to_owned(),
            mapping,
            for_each: entry.map(ForEach),
            description: table.optional("description", text),
            was: table.optional("was", former_name),
            enabled: table.optional("enabled", boolean),
            source: table.required("source", SideSpec::decode).unwrap_or_else(|| SideSpec::absent(&place)),
            target: table.required("target", SideSpec::decode).unwrap_or_else(|| SideSpec::absent(&place)),
            direction: table.optional("direction", choice),
            allow: table.optional("allow", Allow::decode),
            schedule: table.optional("schedule", Schedule::decode),
            match_on: table.optional("match", alternatives).unwrap_or_default(),
            when: table.optional("when", When::decode),
            fields: Vec::new(),
            conflicts: table.optional("conflicts", Conflicts::decode),
            deletes: table.optional("deletes", Deletes::decode),
            limits: table.optional("limits", Limits::decode),
            notify: table.optional("notify", notify).unwrap_or_default(),
            tests: table.optional("tests", cases).unwrap_or_default(),
            place,
        };
        let written = table.node("fields").and_then(Node::as_list).map(<[Node]>::len).filter(|len| *len > 0);
        model.fields = table.required("fields", fields).unwrap_or_default();
        model.fields_known = written == Some(model.fields.len()) && model.fields.iter().all(FieldEntry::is_known);
        model.direction_known = model.direction.is_some() || !table.may_be_meant("direction");
        table.finish();
        Some(model)
    }

    /// The full name as it is written, without the entry of `for_each`.
    pub fn written_name(&self) -> &str {
        let name = || self.full_name.strip_suffix(']')?.rsplit_once('[');
        if self.for_each.is_some() { name().map_or(&self.full_name, |(name, _)| name) } else { &self.full_name }
    }

    /// The full name that the mapping had.
    pub fn former_name(&self) -> Option<String> {
        let was = self.was.as_ref()?;
        let name = match was.strip_prefix('/') {
            Some(name) => name.to_owned(),
            None if was.contains('/') => was.value.clone(),
            None => join(&self.namespace, was),
        };
        // Each entry takes over from the one of the same key.
        Some(name + &self.full_name[self.written_name().len()..])
    }

    /// One side as it is written.
    pub fn side(&self, side: Side) -> &SideSpec {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// The direction that is meant.
    pub fn direction(&self) -> Direction {
        self.direction.as_ref().map_or_else(Direction::default, |direction| direction.value)
    }

    /// Whether the mapping runs.
    pub fn is_enabled(&self) -> bool {
        self.enabled.as_ref().is_none_or(|enabled| enabled.value)
    }

    /// Whether records may be created on a side that the direction writes.
    pub fn may_create(&self, on_target: bool) -> bool {
        let side = |allow: &Allow| if on_target { allow.to_target.clone() } else { allow.to_source.clone() };
        let allowed = self.allow.as_ref().and_then(side);
        allowed.is_none_or(|operations| operations.iter().any(|operation| operation.value == Operation::Create))
    }

    /// The policy of fields that have none of their own.
    pub fn default_policy(&self) -> Policy {
        let written = self.conflicts.as_ref().and_then(|conflicts| conflicts.default.as_ref());
        written.map_or_else(Policy::default, |policy| policy.value)
    }
}

fn notify(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<Notify>> {
    list(node, diagnostics, Notify::decode)
}

fn cases(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<TestCase>> {
    list(node, diagnostics, TestCase::decode)
}

impl super::FieldSpec {
    /// The direction that is meant within this mapping: an entry with
    /// `template` or `value` goes towards the field it fills.
    pub fn direction(&self, mapping: &Mapping) -> Direction {
        match (&self.direction, &self.source, &self.target) {
            (Some(direction), _, _) => direction.value,
            (None, None, Some(_)) => Direction::SourceToTarget,
            (None, Some(_), None) => Direction::TargetToSource,
            _ => mapping.direction(),
        }
    }

    /// The policy that is meant within this mapping.
    pub fn policy(&self, mapping: &Mapping) -> Policy {
        self.conflict.as_ref().map_or_else(|| mapping.default_policy(), |policy| policy.value)
    }

    /// What is done about drift.
    pub fn drift(&self) -> Drift {
        self.drift.as_ref().map_or_else(Drift::default, |drift| drift.value)
    }
}

fn fields(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<FieldEntry>> {
    let fields = list(node, diagnostics, FieldEntry::decode)?;
    if node.as_list().is_some_and(<[Node]>::is_empty) {
        let message = "`fields` names no field";
        let help = "write an entry for each field: `- { source: …, target: … }`";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &node.place, message).help(help));
    }
    Some(fields)
}

fn alternatives(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<Vec<At<String>>>> {
    let Some(items) = node.as_list() else {
        return list(node, diagnostics, name).map(|all| vec![all]);
    };
    if items.is_empty() {
        let message = "`match` names no field";
        diagnostics.push(
            Diagnostic::error(Code::BAD_VALUE, &node.place, message).help("name a target field, or leave `match` out"),
        );
        return None;
    }
    let lists = items.iter().filter(|item| item.as_list().is_some()).count();
    if lists == 0 {
        return Some(vec![list(node, diagnostics, name)?]);
    }
    let mut all = Vec::new();
    for item in items {
        match item.as_list() {
            Some([]) => {
                let diagnostic = Diagnostic::error(Code::BAD_VALUE, &item.place, "an alternative that names no field");
                diagnostics.push(diagnostic.help("name a target field, or leave the alternative out"));
            }
            Some(_) => all.extend(list(item, diagnostics, name)),
            None => {
                let help = "write `[[a], [b, c]]` for a, else b and c";
                diagnostics.push(mismatch(item, "each alternative of `match` is a list").help(help));
            }
        }
    }
    Some(all)
}

/// The two forms of `match`.
struct MatchSchema;

impl JsonSchema for MatchSchema {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Match".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let fields = json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
        json_schema!({
            "anyOf": [fields, { "type": "array", "items": fields, "minItems": 1 }],
            "examples": [["tax_id"], [["tax_id"], ["name", "postal_code"]]]
        })
    }
}

/// The entry of `for_each` that a mapping is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct ForEach(pub At<String>);

impl JsonSchema for ForEach {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ForEach".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let values = json_schema!({ "type": "object", "additionalProperties": { "type": "string" } });
        json_schema!({ "type": "object", "additionalProperties": values, "minProperties": 1 })
    }
}

/// Which records are carried over: one expression, or one for each side.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, transform = or_text)]
pub struct When {
    #[schemars(skip)]
    pub place: Place,
    /// The one expression, where no side is named.
    #[schemars(skip)]
    pub both: Option<At<String>>,
    /// The expression for records read from the source.
    #[schemars(example = &"A1_NOME != ''")]
    pub source: Option<At<String>>,
    /// The expression for records read from the target.
    #[schemars(example = &"active")]
    pub target: Option<At<String>>,
}

impl When {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<When> {
        let place = node.place.clone();
        if let Content::Scalar(_) = &node.content {
            return Some(When { place, both: Some(text(node, diagnostics)?), source: None, target: None });
        }
        let mut table = Table::open(node, "`when`", diagnostics)?;
        let source = table.optional("source", text);
        let target = table.optional("target", text);
        table.finish();
        Some(When { place, both: None, source, target })
    }
}
