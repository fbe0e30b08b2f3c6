//! `engine test`: the mappings' own tests, and whether values come back.

use serde_json::{Value as Json, json};

use super::loaded::load;
use super::render::{Page, Tone, plural};
use super::{Context, Done, Exit, ProjectPath};
use crate::compile::{Program, Way, part};
use crate::config::model::{CaseBase, CaseOutcome, CaseRecord, Mapping, TestCase};
use crate::config::tree::{Content, Node, Style};
use crate::diagnostic::{Diagnostics, Place};
use crate::plan::{Given, Outcome, Stands, Trial, Tried, attempt, round_trips};
use crate::record::{Both, Kind, Side, Value, parse_number, same};

/// Try the mappings on the cases they carry under `tests:`. No system is asked, and nothing is written.
///
/// Each case says what the two records show and what becomes of them. On the values of its cases every two-way field
/// is also sent there and back: what the target shows has to come back to it as it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine test mappings/
  engine test mappings/ customers
  engine test mappings/ --format json")]
pub(super) struct TestArguments {
    /// The project: a folder of YAML files, or one file.
    path: ProjectPath,
    /// Only these mappings. Default: all.
    #[arg(value_name = "MAPPING")]
    mappings: Vec<String>,
}

/// What a case came to.
struct Told<'a> {
    mapping: &'a Mapping,
    case: &'a TestCase,
    failures: Vec<Failed>,
}

/// One thing that is not as it should be.
struct Failed {
    /// `target.name`, `outcome`, `conflicts`, or the field that does not come back.
    what: String,
    expected: Json,
    actual: Json,
    /// What else is to be said of it.
    why: Option<String>,
    place: Place,
}

pub(super) fn test(arguments: &TestArguments, context: Context<'_>) -> Done {
    let loaded = load(&arguments.path, context.env());
    if loaded.diagnostics.has_errors() {
        context.screen.wrong(&loaded.sorted(), &loaded.project);
        return Ok(Exit::Wrong);
    }
    let meant = loaded.select(&arguments.mappings)?;
    let cases = meant.iter().flat_map(|mapping| mapping.tests.iter().map(move |case| (*mapping, case)));
    let told: Vec<Told<'_>> =
        cases.map(|(mapping, case)| Told { mapping, case, failures: failures(&part(mapping, case), case) }).collect();
    let failed = told.iter().filter(|told| !told.failures.is_empty()).count();
    context.screen.answer(|| answer(&told, failed), || page(&told, failed));
    Ok(if failed > 0 { Exit::Partial } else { Exit::Well })
}

fn failures(program: &Program, case: &TestCase) -> Vec<Failed> {
    let tried = attempt(program, &trial(program, case));
    let mut failures = Vec::new();
    for (side, expected) in [(Side::Target, &case.expect), (Side::Source, &case.expect_source)] {
        if let Some(expected) = expected {
            holds(program, side, expected, &tried, &mut failures);
        }
    }
    if let Some(expected) = &case.expect_conflicts {
        let mut names: Vec<&str> = expected.iter().map(|name| name.as_str()).collect();
        let mut there: Vec<&str> = tried.conflicts.iter().map(String::as_str).collect();
        names.sort_unstable();
        there.sort_unstable();
        if names != there {
            let place = expected.first().map_or(&case.place, |name| &name.place).clone();
            let (expected, actual) = (json!(names), json!(there));
            failures.push(Failed { what: "conflicts".to_owned(), expected, actual, why: tried.why.clone(), place });
        }
    }
    if let Some(expected) = &case.expect_outcome
        && expected.value != outcome(tried.outcome)
    {
        failures.push(Failed {
            what: "outcome".to_owned(),
            expected: json!(expected.value),
            actual: json!(outcome(tried.outcome)),
            why: tried.why.clone(),
            place: expected.place.clone(),
        });
    }
    for law in round_trips(program, &tried.rows) {
        let field = &program.fields[law.field];
        let (actual, why) = match &law.comes_back {
            Ok((back, again)) => (again.to_json(), format!("the source is given {}", back.to_json())),
            Err(why) => (Json::Null, why.clone()),
        };
        let why = Some(format!("a value of the target does not come back from the source: {why}"));
        let what = format!("target.{}", field.name);
        failures.push(Failed { what, expected: law.value.to_json(), actual, why, place: field.place.clone() });
    }
    failures
}

/// The case as the planner takes it.
fn trial(program: &Program, case: &TestCase) -> Trial {
    let given = |side: Side, record: Option<&CaseRecord>| {
        let shape = &program.sides[side].access.shape;
        let mut given: Given = vec![None; shape.len()];
        for (name, node) in record.into_iter().flat_map(CaseRecord::named) {
            if let Some(slot) = shape.slot(name) {
                given[slot] = Some(held(program, side, slot, node));
            }
        }
        given
    };
    let base = case.base.as_ref().map(|CaseBase { source, target }| {
        Both::new(given(Side::Source, source.as_ref()), given(Side::Target, target.as_ref()))
    });
    let now = Both::from_fn(|side| match if side == Side::Source { &case.source } else { &case.target } {
        None => Stands::AsBefore,
        Some(CaseRecord { fields: None, .. }) => Stands::Gone,
        Some(record) => Stands::Shows(given(side, Some(record))),
    });
    Trial { base, now }
}

/// What a slot shows where this is written in a case. Nothing tells the kinds of
/// a system's fields here, but for what the rules make of a value.
fn held(program: &Program, side: Side, slot: usize, node: &Node) -> Value {
    let value = literal(node);
    let fitted = |kind: &Kind| kind.fit(value.clone()).ok();
    if program.sides[side].modified == Some(slot) {
        let times = [Kind::Instant { digits: 9 }, Kind::LocalTime { digits: 9 }, Kind::Date];
        return times.iter().find_map(fitted).unwrap_or(value);
    }
    let ways = program.fields.iter().filter_map(|field| field.toward[side].as_ref());
    let text = Kind::Text { max: None, padded: false };
    let arrives = |way: &Way| {
        // Where a rule makes something of any value, that is known; else what it makes of a text.
        let made = [&Kind::Any, &text].map(|kind| way.rules.output_kind(kind, &mut Diagnostics::new()));
        made.into_iter().find(|kind| !matches!(kind, Kind::Any | Kind::Text { .. }))
    };
    ways.filter(|way| way.slot == slot).find_map(arrives).and_then(|kind| fitted(&kind)).unwrap_or(value)
}

/// A value as it is written: a number or a truth only without quotes, and a
/// number only as numbers are written (`00012` and `1e3` are texts).
fn literal(node: &Node) -> Value {
    let scalar = match &node.content {
        Content::List(items) => return Value::List(Box::new(items.iter().map(literal).collect())),
        Content::Map(entries) => {
            let named = entries.iter().map(|(key, value)| (key.text().unwrap_or_default().into(), literal(value)));
            return Value::Map(Box::new(named.collect()));
        }
        Content::Scalar(scalar) => scalar,
    };
    let digits = scalar.text.trim_start_matches('-');
    let is_canonical =
        !digits.starts_with('.') && (!digits.starts_with('0') || digits.len() == 1 || digits.starts_with("0."));
    match (scalar.as_bool(), parse_number(&scalar.text)) {
        _ if scalar.is_null() => Value::Null,
        (Some(truth), _) => Value::Boolean(truth),
        (None, Some(number)) if scalar.style == Style::Plain && is_canonical => number.into(),
        _ => Value::text(&scalar.text),
    }
}

fn holds(program: &Program, side: Side, expected: &CaseRecord, tried: &Tried, failures: &mut Vec<Failed>) {
    let there = tried.rows[side].as_ref();
    let mut fail = |what: String, expected: Json, actual: Json, place: &Place| {
        failures.push(Failed { what, expected, actual, why: tried.why.clone(), place: place.clone() });
    };
    let (Some(row), Some(_)) = (there, &expected.fields) else {
        if there.is_some() != expected.fields.is_some() {
            let word = |is_there: bool| if is_there { json!("a record") } else { json!("no record") };
            fail(side.to_string(), word(expected.fields.is_some()), word(there.is_some()), &expected.place);
        }
        return;
    };
    for (name, node) in expected.named() {
        let slot = program.sides[side].access.shape.slot(name);
        let actual = slot.map_or(&Value::Null, |slot| &row[slot]);
        if !is_shown(node, actual) {
            fail(format!("{side}.{}", name.value), literal(node).to_json(), actual.to_json(), &node.place);
        }
    }
}

/// A value is the one that is written: what is held as a number or a time may be
/// written as a text.
fn is_shown(node: &Node, actual: &Value) -> bool {
    let expected = literal(node);
    let kind = match actual {
        Value::Integer(_) | Value::Decimal(_) | Value::WideDecimal(_) => Kind::Decimal { precision: None, scale: None },
        Value::Float(_) => Kind::Float { bits: 64 },
        Value::Date(_) => Kind::Date,
        Value::Time(_) => Kind::Time { digits: 9 },
        Value::LocalTime(_) => Kind::LocalTime { digits: 9 },
        Value::Instant(_) => Kind::Instant { digits: 9 },
        _ => Kind::Any,
    };
    if expected.is_null() || actual.is_null() {
        return expected.is_null() && actual.is_null();
    }
    kind.fit(expected).is_ok_and(|expected| same(&expected, actual))
        || matches!(actual, Value::Text(text) if node.text() == Some(text.as_str()))
}

fn outcome(outcome: Outcome) -> CaseOutcome {
    match outcome {
        Outcome::Created => CaseOutcome::Created,
        Outcome::Updated => CaseOutcome::Updated,
        Outcome::Deleted => CaseOutcome::Deleted,
        Outcome::Unchanged => CaseOutcome::Unchanged,
        Outcome::Skipped => CaseOutcome::Skipped,
        Outcome::Parked => CaseOutcome::Parked,
    }
}

fn answer(told: &[Told<'_>], failed: usize) -> Json {
    let one = |failed: &Failed| {
        json!({
            "what": failed.what, "expected": failed.expected, "actual": failed.actual, "message": failed.why,
            "file": failed.place.file.display().to_string(), "line": failed.place.line(), "column": failed.place.column(),
        })
    };
    let tests = told.iter().map(|Told { mapping, case, failures }| {
        json!({
            "mapping": mapping.full_name, "name": case.name.value,
            "status": if failures.is_empty() { "passed" } else { "failed" },
            "file": case.place.file.display().to_string(), "line": case.place.line(), "column": case.place.column(),
            "failures": failures.iter().map(one).collect::<Vec<_>>(),
        })
    });
    json!({
        "status": if failed > 0 { "failed" } else { "passed" },
        "passed": told.len() - failed, "failed": failed, "tests": tests.collect::<Vec<_>>(),
    })
}

fn page(told: &[Told<'_>], failed: usize) -> Page {
    let mut page = Page::new();
    if told.is_empty() {
        page.line("no mapping has tests: they stand under `tests:`");
        return page;
    }
    for Told { mapping, case, failures } in told {
        let (tone, word) = if failures.is_empty() { (Tone::Good, "passed") } else { (Tone::Bad, "FAILED") };
        page.spans([(tone, word.to_owned()), (Tone::Plain, format!("  {}: {}", mapping.full_name, case.name.value))]);
        for failed in failures {
            let place = format!("  ({})", failed.place);
            page.spans([(Tone::Strong, format!("        {}", failed.what)), (Tone::Faint, place)]);
            page.spans([(Tone::Good, format!("          - {}", failed.expected))]);
            page.spans([(Tone::Bad, format!("          + {}", failed.actual))]);
            if let Some(why) = &failed.why {
                page.line(format!("          {why}"));
            }
        }
    }
    page.gap();
    let passed = plural((told.len() - failed) as u64, "test");
    let tone = if failed > 0 { Tone::Bad } else { Tone::Good };
    page.spans([(
        tone,
        if failed > 0 { format!("{passed} passed, {failed} failed") } else { format!("{passed} passed") },
    )]);
    if failed > 0 {
        page.line("`-` is what is expected, `+` what the mapping makes of it");
    }
    page
}
