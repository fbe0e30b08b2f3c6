//! The tests of a mapping.

use super::scalar::Moment;
use crate::config::decode::{Choice, Table, choice, entries, list, name};
use crate::config::tree::{At, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A case that `engine test` tries the mapping on: a pair of records, and what
/// becomes of it. No system is asked, so that `where` and `start` leave nothing
/// out.
///
/// Fields of the mapping that read nothing a case gives are no part of it, so
/// that a case names only what it is about.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TestCase {
    #[schemars(skip)]
    pub place: Place,
    /// What the case shows, in words.
    #[schemars(example = &"blocked customers become inactive")]
    pub name: At<String>,
    /// The time at which the case plays. Default: none; no rule of this version
    /// asks for the time.
    #[schemars(example = &"2026-03-01T12:00:00Z")]
    pub now: Option<At<Moment>>,
    /// What both sides showed when they last agreed. Where one side is left out,
    /// or a field of it, it shows what the other's values come to. Default:
    /// the records meet for the first time.
    pub base: Option<CaseBase>,
    /// What the source shows: fields by name, beside those of `base`. `null`
    /// is a record that was deleted. Default: as in `base`.
    #[schemars(with = "Fields")]
    pub source: Option<CaseRecord>,
    /// What the target shows, as `source`.
    #[schemars(with = "Fields")]
    pub target: Option<CaseRecord>,
    /// What the target record holds at least afterwards.
    #[schemars(with = "Fields")]
    pub expect: Option<CaseRecord>,
    /// What the source record holds at least afterwards.
    #[schemars(with = "Fields")]
    pub expect_source: Option<CaseRecord>,
    /// The fields that are in conflict, all of them, by the target's names,
    /// whoever wins. `[]` is none.
    #[schemars(example = ["credit_limit"])]
    pub expect_conflicts: Option<Vec<At<String>>>,
    /// What a run would count the record as.
    #[schemars(example = &"skipped")]
    pub expect_outcome: Option<At<CaseOutcome>>,
}

/// Fields by name, or no record, for the schema.
type Fields = Option<FieldsOrNone>;

struct FieldsOrNone;

impl JsonSchema for FieldsOrNone {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FieldsOrNone".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = generator.subschema_for::<BTreeMap<String, Node>>();
        // Nothing else that one writes may be null: a type of that name would be taken out.
        json_schema!({ "anyOf": [fields, { "const": null, "description": "No record." }] })
    }
}

/// Both records of a case as they last agreed.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CaseBase {
    /// The source's fields, by name.
    #[schemars(with = "Fields")]
    pub source: Option<CaseRecord>,
    /// The target's fields, by name.
    #[schemars(with = "Fields")]
    pub target: Option<CaseRecord>,
}

/// A record of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseRecord {
    pub place: Place,
    /// `None` where there is no record.
    pub fields: Option<Vec<(At<String>, Node)>>,
}

/// What a run would count a record as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum CaseOutcome {
    /// It was made on one of the sides.
    Created,
    /// It was changed on one of the sides.
    Updated,
    /// It was deleted, or set as `deletes` says, since its counterpart was.
    Deleted,
    /// Nothing was written.
    Unchanged,
    /// `when`, a mark or `allow` leaves it out.
    Skipped,
    /// A value does not fit.
    Parked,
}

impl Choice for CaseOutcome {
    const WHAT: &'static str = "an outcome";
    const WORDS: &'static [(&'static str, CaseOutcome)] = &[
        ("created", CaseOutcome::Created),
        ("updated", CaseOutcome::Updated),
        ("deleted", CaseOutcome::Deleted),
        ("unchanged", CaseOutcome::Unchanged),
        ("skipped", CaseOutcome::Skipped),
        ("parked", CaseOutcome::Parked),
    ];
}

impl TestCase {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<TestCase> {
        let mut table = Table::open(node, "a test", diagnostics)?;
        table.later(&["lookups"]);
        let name = table.required("name", name);
        let now = table.optional("now", Moment::decode);
        let base = table.optional("base", CaseBase::decode);
        let mut record = |name: &'static str| {
            let node = table.node(name)?;
            CaseRecord::decode(node, table.diagnostics())
        };
        let (source, target) = (record("source"), record("target"));
        let (expect, expect_source) = (record("expect"), record("expect_source"));
        let case = TestCase {
            place: node.place.clone(),
            name: name.unwrap_or_else(|| At::new(String::new(), node.place.clone())),
            now,
            base,
            source,
            target,
            expect,
            expect_source,
            expect_conflicts: table
                .optional("expect_conflicts", |node, diagnostics| list(node, diagnostics, crate::config::decode::name)),
            expect_outcome: table.optional("expect_outcome", choice),
        };
        let given = ["base", "source", "target"].into_iter().any(|name| table.has(name));
        let asserts = ["expect", "expect_source", "expect_conflicts", "expect_outcome"];
        if !given {
            let diagnostic = Diagnostic::error(Code::EMPTY_CASE, &node.place, "a test without a record");
            table.report(diagnostic.help("give what a side shows, as in `source: { A1_NOME: ana }`"));
        }
        if !asserts.into_iter().any(|name| table.has(name)) {
            let diagnostic = Diagnostic::error(Code::EMPTY_CASE, &node.place, "a test that expects nothing");
            let help = "say what becomes of it: `expect`, `expect_source`, `expect_conflicts` or `expect_outcome`";
            table.report(diagnostic.help(help));
        }
        let is_sound = table.finish();
        is_sound.then_some(case)
    }

    /// The records that stand in the case, with their sides: `true` for the
    /// source's.
    pub fn records(&self) -> impl Iterator<Item = (bool, &CaseRecord)> {
        let base = self.base.as_ref();
        let sources = [base.and_then(|base| base.source.as_ref()), self.source.as_ref(), self.expect_source.as_ref()];
        let targets = [base.and_then(|base| base.target.as_ref()), self.target.as_ref(), self.expect.as_ref()];
        let sources = sources.into_iter().flatten().map(|record| (true, record));
        sources.chain(targets.into_iter().flatten().map(|record| (false, record)))
    }
}

impl CaseBase {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<CaseBase> {
        let mut table = Table::open(node, "`base`", diagnostics)?;
        let base = CaseBase {
            source: table.optional("source", CaseRecord::decode),
            target: table.optional("target", CaseRecord::decode),
        };
        table.finish();
        Some(base)
    }
}

impl CaseRecord {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<CaseRecord> {
        let place = node.place.clone();
        if node.as_scalar().is_some_and(crate::config::tree::Scalar::is_null) {
            return Some(CaseRecord { place, fields: None });
        }
        let entries = entries(node, "a record", diagnostics)?;
        let named =
            |(key, value): &(Node, Node)| Some((At::new(key.text()?.to_owned(), key.place.clone()), value.clone()));
        Some(CaseRecord { place, fields: Some(entries.iter().filter_map(named).collect()) })
    }

    /// The fields that are named, with what they hold.
    pub fn named(&self) -> impl Iterator<Item = &(At<String>, Node)> {
        self.fields.iter().flatten()
    }
}
