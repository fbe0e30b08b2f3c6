//! Every example of the catalogue, and the promises of its classes.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::*;
use crate::compile::expression::Resolve;
use crate::config::tree::{Content, Node, Style};
use crate::config::yaml;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::record::{parse_number, same};

/// A side that has these fields, one slot each.
pub(crate) struct Fields(pub(crate) Vec<&'static str>);

impl Resolve for Fields {
    fn slot(&mut self, name: &str) -> Result<usize, Option<String>> {
        self.0
            .iter()
            .position(|field| *field == name)
            .ok_or_else(|| crate::diagnostic::nearest(name, self.0.iter().copied()).map(str::to_owned))
    }

    fn has_value(&self) -> bool {
        true
    }
}

pub(crate) fn specs(rules: &str) -> Vec<RuleSpec> {
    let mut diagnostics = Diagnostics::new();
    let file: Arc<Path> = Path::new("rules.yaml").into();
    let nodes = yaml::parse(&file, rules, &mut diagnostics);
    let specs = match &nodes[0].content {
        Content::List(items) => items.iter().filter_map(|item| RuleSpec::decode(item, &mut diagnostics)).collect(),
        _ => RuleSpec::decode(&nodes[0], &mut diagnostics).into_iter().collect(),
    };
    assert!(diagnostics.is_empty(), "{rules}: {:?}", diagnostics.into_sorted());
    specs
}

pub(crate) fn compile(rules: &str) -> Result<Chain, Vec<Diagnostic>> {
    let mut diagnostics = Diagnostics::new();
    let chain = Chain::compile(&specs(rules), &mut Fields(vec!["name", "city"]), &mut diagnostics);
    assert_eq!(chain.is_none(), diagnostics.has_errors(), "{rules}");
    chain.ok_or_else(|| diagnostics.into_sorted())
}

pub(crate) fn chain(rules: &str) -> Chain {
    compile(rules).unwrap_or_else(|problems| panic!("{rules}: {problems:?}"))
}

/// The notation of examples.
pub(crate) fn value(text: &str) -> Value {
    match text {
        "null" => return Value::Null,
        "true" => return Value::Boolean(true),
        "false" => return Value::Boolean(false),
        _ => {}
    }
    if text.starts_with('"') {
        return Value::text(serde_json::from_str::<String>(text).unwrap());
    }
    if let Some(number) = parse_number(text) {
        return number.into();
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Value::Date(date);
    }
    if let Ok(time) = text.parse::<NaiveDateTime>() {
        return Value::LocalTime(time);
    }
    Value::Instant(DateTime::parse_from_rfc3339(text).expect("a value of an example").to_utc())
}

fn row() -> Vec<Value> {
    vec![Value::text("Ana"), Value::text("Olinda")]
}

#[test]
fn every_example_does_what_it_says() {
    for definition in RULES {
        assert!(!definition.examples.is_empty(), "{}", definition.name);
        for example in definition.examples {
            let chain = chain(example.rule);
            for (input, output) in example.values {
                let outcome = chain.apply(&value(input), &row());
                match (*output, outcome) {
                    ("refused", outcome) => assert!(outcome.is_err(), "{} of {input}: {outcome:?}", example.rule),
                    (output, Ok(found)) => {
                        // The text as well: `1990.00` is not `1990` where it is printed.
                        let wanted = value(output);
                        assert!(same(&found, &wanted), "{} of {input}: {found:?}, not {wanted:?}", example.rule);
                        assert_eq!(found.to_string(), wanted.to_string(), "{} of {input}", example.rule);
                    }
                    (_, Err(trouble)) => panic!("{} of {input}: {trouble:?}", example.rule),
                }
            }
        }
    }
}

#[test]
fn every_class_is_what_its_rule_is() {
    for definition in RULES {
        for example in definition.examples {
            let chain = chain(example.rule);
            let (inverse, prefix) = (chain.invert(), chain.normalising_prefix());
            match definition.class {
                Class::Invertible => {
                    assert!(inverse.is_ok_and(|chain| !chain.is_empty()) && prefix.is_empty(), "{}", example.rule);
                }
                Class::Normalising => {
                    assert!(inverse.is_ok_and(|chain| chain.is_empty()) && !prefix.is_empty(), "{}", example.rule);
                }
                Class::Lossy(what) => {
                    let lossy = inverse.expect_err(example.rule);
                    assert_eq!((lossy[0].what.as_str(), lossy[0].rule), (what, definition.name));
                }
                Class::Depends(how) => assert!(how.ends_with('.'), "{}", example.rule),
            }
        }
    }
}

#[test]
fn null_passes_every_rule_but_those_that_are_for_it() {
    for definition in RULES.iter().filter(|definition| definition.name != "expression") {
        for example in definition.examples {
            let fills = matches!(definition.name, "default" | "template");
            for null in [Value::Null, Value::Missing] {
                let outcome = chain(example.rule).apply(&null, &row()).unwrap();
                assert_eq!(outcome.is_null(), !fills, "{}", example.rule);
            }
        }
    }
}

/// The first problem of rules that are wrong: code, line and column, message.
fn problem(rules: &str) -> (Code, u32, u32, String) {
    let problems = compile(rules).expect_err(rules);
    let place = problems[0].place.clone().unwrap();
    (problems[0].code, place.line(), place.column(), problems[0].message.clone())
}

#[test]
fn problems_are_told_where_they_stand() {
    for (rules, code, column, words) in [
        ("[trim, trimm]", Code::UNKNOWN_RULE, 8, "no rule `trimm`"),
        ("[slug]", Code::NOT_YET, 2, "not built yet"),
        ("[{ lookup: units }]", Code::NOT_YET, 4, "not built yet"),
        ("[{ trim: 3 }]", Code::WRONG_TYPE, 10, "takes no argument"),
        ("[pad_left]", Code::MISSING_NAME, 2, "needs an argument"),
        ("[{ pad_left: x }]", Code::BAD_VALUE, 14, "whole number"),
        ("[{ pad_left: 3, whith: \"0\" }]", Code::UNKNOWN_NAME, 17, "no option `whith`"),
        ("[{ pad_left: 3, with: \"00\" }]", Code::BAD_VALUE, 23, "single character"),
        ("[{ multiply: \"1,1\" }]", Code::BAD_VALUE, 14, "takes a number"),
        ("[{ multiply: 1e3 }]", Code::BAD_VALUE, 14, "takes a number"),
        ("[{ divide: 0 }]", Code::BAD_VALUE, 12, "other than zero"),
        ("[{ divide: 3 }]", Code::BAD_VALUE, 12, "needs a `scale`"),
        ("[{ round: 2, mode: half }]", Code::BAD_VALUE, 20, "takes one of"),
        ("[{ decimal: pt_XX }]", Code::BAD_VALUE, 13, "takes a known locale"),
        ("[{ decimal: \",\", thousands: \",\" }]", Code::BAD_VALUE, 29, "other than digits"),
        ("[{ decimal: pt_BR, grouped: maybe }]", Code::BAD_VALUE, 29, "`true` or `false`"),
        ("[{ date: \"%Y-%m\" }]", Code::BAD_FORMAT, 10, "whole date"),
        ("[{ date: \"%Q\" }]", Code::BAD_FORMAT, 10, "does not know"),
        ("[{ date: \"%Y%m%d %H\" }]", Code::BAD_FORMAT, 10, "time of day"),
        ("[{ datetime: \"%Y%m%d\" }]", Code::BAD_FORMAT, 14, "hour and minute"),
        ("[{ datetime: , timezone: America/Sao_Paolo }]", Code::BAD_VALUE, 26, "IANA"),
        ("[{ epoch: hours }]", Code::BAD_VALUE, 11, "takes one of"),
        ("[{ boolean: S }]", Code::WRONG_TYPE, 13, "takes a mapping"),
        ("[{ boolean: { true: S } }]", Code::MISSING_NAME, 13, "one for `false`"),
        ("[{ boolean: { true: S, false: S } }]", Code::BAD_VALUE, 13, "both"),
        ("[{ map: [a] }]", Code::WRONG_TYPE, 9, "takes a mapping"),
        ("[{ map: { a: [b] } }]", Code::WRONG_TYPE, 14, "single value"),
        ("[{ map: { null: b } }]", Code::BAD_VALUE, 11, "null"),
        ("[{ replace: \"\" }]", Code::BAD_VALUE, 13, "nothing"),
        ("[{ expression: \"nam ~ 'x'\" }]", Code::UNKNOWN_FIELD_NAME, 17, "no field `nam`"),
        ("[{ template: \"a {{ name | trimm }}\" }]", Code::UNKNOWN_RULE, 27, "no rule `trimm`"),
        ("[{ template: \"a {{ name\" }]", Code::EXPRESSION_SYNTAX, 20, "does not parse"),
    ] {
        let (found, line, at, message) = problem(rules);
        assert_eq!((found, line, at), (code, 1, column), "{rules}: {message}");
        assert!(message.contains(words), "{rules}: {message}");
    }
}

#[test]
fn all_problems_of_a_chain_are_told_at_once() {
    let problems = compile("[trimm, { pad_left: x }, { date: \"%Y\" }]").expect_err("three are wrong");
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `trim`?"));
}

#[test]
fn a_map_that_cannot_be_turned_round_names_both_entries() {
    let lossy = chain("{ map: { A: x, B: y, C: x } }").invert().unwrap_err();
    assert_eq!(lossy[0].what, "whether `x` was `A` or `C`");
    let columns: Vec<u32> = lossy[0].related.iter().map(|(place, _)| place.column()).collect();
    assert_eq!(columns, [10, 22]);
    let diagnostic = lossy[0].diagnostic();
    assert_eq!((diagnostic.code, diagnostic.related.len()), (Code::AMBIGUOUS_MAP, 2));
    assert_eq!(chain("{ map: { A: x }, default: y }").invert().unwrap_err()[0].diagnostic().code, Code::LOSSY_RULE);
    assert!(chain("{ map: { A: null } }").invert().is_err());
    // `1` and `"1"` print alike, so they cannot be told apart on the way back.
    assert!(chain("{ map: { A: 1, B: \"1\" } }").invert().is_err());
}

#[test]
fn every_lossy_rule_of_a_chain_is_told() {
    let lossy = chain("[trim, upper_case, { prefix: X }, digits]").invert().unwrap_err();
    assert_eq!(lossy.iter().map(|lossy| lossy.rule).collect::<Vec<_>>(), ["upper_case", "digits"]);
}

#[test]
fn large_maps_are_searched_as_small_ones() {
    let entries: Vec<String> = (0..50).map(|n| format!("\"{n:02}\": v{n}")).collect();
    let map = chain(&format!("{{ map: {{ {} }} }}", entries.join(", ")));
    let back = map.invert().unwrap();
    for n in 0..50 {
        let (from, to) = (Value::text(format!("{n:02}")), Value::text(format!("v{n}")));
        assert_eq!(map.apply(&from, &[]), Ok(to.clone()));
        assert_eq!(back.apply(&to, &[]), Ok(from));
    }
    assert_eq!(map.apply(&Value::Integer(7), &[]), Ok(Value::text("v7")), "a number is compared as one");
    assert!(map.apply(&Value::text("7"), &[]).is_err(), "and a text as a text");
    let back = chain("{ map: { A: 0.10, B: 0.20, C: 1, D: 1.0 } }").invert().unwrap();
    assert_eq!(back.apply(&Value::Decimal("0.200".parse().unwrap()), &[]), Ok(Value::text("B")));
    assert_eq!(back.apply(&Value::Float(0.1), &[]), Ok(Value::text("A")));
    assert!(back.apply(&Value::Integer(1), &[]).is_err(), "it may be either");
}

#[test]
fn the_name_of_a_rule_may_stand_behind_its_options() {
    let padded = chain("{ with: \"0\", pad_left: 6 }").apply(&Value::text("12"), &[]);
    assert_eq!(padded, Ok(Value::text("000012")));
    let mapped = chain("{ default: \"no\", map: { S: \"yes\" } }");
    assert_eq!(mapped.apply(&Value::text("S"), &[]), Ok(Value::text("yes")));
    assert_eq!(mapped.apply(&Value::text("x"), &[]), Ok(Value::text("no")));
}

#[test]
fn trouble_says_rule_value_and_place() {
    let trouble = chain("[trim, { prefix: A }, decimal]").apply(&Value::text(" x "), &[]).unwrap_err();
    assert_eq!(
        (trouble.rule, trouble.value.as_deref(), trouble.code),
        (Some("decimal"), Some("Ax"), Code::NOT_A_NUMBER)
    );
    assert_eq!(trouble.place.as_ref().map(Place::column), Some(23));
    let rejection = trouble.into_rejection("price", &specs("trim")[0].place);
    assert_eq!((rejection.field.as_str(), rejection.place.column()), ("price", 23));
}

#[test]
fn kinds_that_cannot_meet_are_told_at_the_rule() {
    let kinds = |rules: &str, kind: Kind| {
        let mut diagnostics = Diagnostics::new();
        let kind = chain(rules).output_kind(&kind, &mut diagnostics);
        (kind.name(), diagnostics.into_sorted().into_iter().map(|d| d.message).collect::<Vec<_>>())
    };
    let text = Kind::Text { max: Some(8), padded: true };
    assert_eq!(kinds("[trim, { date: \"%Y%m%d\" }]", text.clone()), ("date".into(), vec![]));
    assert_eq!(kinds("[{ date: \"%Y%m%d\" }]", Kind::Date), ("text".into(), vec![]));
    assert_eq!(kinds("[cents]", text.clone()), ("64-bit integer".into(), vec![]));
    assert_eq!(kinds("[{ map: { a: true } }]", text.clone()), ("boolean".into(), vec![]));
    assert_eq!(kinds("[{ map: { a: 1 } }]", text.clone()), ("any".into(), vec![]));
    assert_eq!(
        kinds("[{ date: \"%Y%m%d\" }, upper_case]", text),
        ("any".into(), vec!["`upper_case` takes text, and what arrives is date".into()])
    );
    assert_eq!(kinds("[{ multiply: 2 }]", Kind::Boolean).1.len(), 1);
    assert_eq!(kinds("[{ multiply: 2 }]", Kind::Any), ("decimal".into(), vec![]));
}

#[test]
fn the_catalogue_describes_itself() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for definition in RULES {
        for example in definition.examples {
            // The example as an editor's YAML reader would see it.
            let json = json_of(example.rule);
            assert!(validator.is_valid(&json), "{json}");
        }
        assert!(manual().contains(&format!("## `{}`", definition.name)));
        assert!(!LATER.contains(&definition.name));
        assert!(definition.manual.ends_with('.'), "{}", definition.name);
    }
    assert!(!validator.is_valid(&serde_json::json!("trimm")));
    assert!(!validator.is_valid(&serde_json::json!({ "pad_left": 3, "whith": "0" })));
    let names: Vec<&str> = RULES.iter().map(|definition| definition.name).collect();
    assert!(names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1));
}

fn json_of(rule: &str) -> serde_json::Value {
    let file: Arc<Path> = Path::new("rules.yaml").into();
    json_of_node(&yaml::parse(&file, rule, &mut Diagnostics::new())[0])
}

fn json_of_node(node: &Node) -> serde_json::Value {
    match &node.content {
        Content::List(items) => items.iter().map(json_of_node).collect(),
        Content::Map(entries) => {
            entries.iter().map(|(key, value)| (key.text().unwrap_or("").to_owned(), json_of_node(value))).collect()
        }
        Content::Scalar(scalar) => match (scalar.as_bool(), scalar.text.parse::<i64>()) {
            _ if scalar.is_null() => serde_json::Value::Null,
            (Some(boolean), _) => boolean.into(),
            (None, Ok(number)) if scalar.style == Style::Plain => number.into(),
            _ => scalar.text.clone().into(),
        },
    }
}

#[test]
fn chains_describe_themselves() {
    assert_eq!(
        chain("[trim, { multiply: \"1.1\", scale: 2 }]").describe(),
        "trim, then multiply by 1.1, 2 digits after the point"
    );
    let back = chain("[trim, { prefix: BR- }, { pad_left: 9 }]").invert().unwrap();
    assert_eq!(back.describe(), "take off prefix `BR-`");
}

/// Issue 2: rules read a double in a form of their own, `3.0` and `1e21`.
#[test]
fn a_double_has_the_text_it_is_printed_as() {
    let double = |number: f64| Value::Float(number);
    for (rule, number, text) in [
        ("digits", 11_999_998_888.0, "11999998888"),
        ("digits", 1e21, "1000000000000000000000"),
        ("{ suffix: ' kg' }", 3.0, "3 kg"),
        ("{ pad_left: 5, with: '0' }", 42.0, "00042"),
    ] {
        assert_eq!(chain(rule).apply(&double(number), &[]).unwrap(), Value::text(text), "{rule}");
    }
    for (rule, number, text) in [
        ("decimal", 2.5e-7, "0.00000025"),
        ("{ decimal: pt_BR }", 1e15, "1000000000000000"),
        ("integer", 8.0, "8"),
        ("integer", 1e21, "1000000000000000000000"),
    ] {
        let back = chain(rule).invert().unwrap_or_else(|_| panic!("{rule} has a way back"));
        assert_eq!(back.apply(&double(number), &[]).unwrap(), Value::text(text), "{rule}");
    }
}

/// Issue 2: what was short of a digit was read as another day, and `%f` as
/// nanoseconds.
#[test]
fn a_date_short_of_digits_is_none() {
    for (rule, text) in [
        ("{ date: '%Y%m%d' }", "2026031"),
        ("{ date: '%Y%m%d' }", "2026 115"),
        ("{ date: '%d/%m/%Y' }", "01/03/26"),
        ("{ date: '%d%m%y' }", "11126"),
        ("{ datetime: '%Y%m%d %H%M' }", "2026115 1011"),
    ] {
        assert!(chain(rule).apply(&Value::text(text), &[]).is_err(), "{rule} {text}");
    }
    for (rule, text) in [
        ("{ date: '%d/%m/%Y' }", "1/3/2026"),
        ("{ date: '%d. %B %Y' }", "1. march 2026"),
        ("{ datetime: '%d/%m/%Y %H:%M' }", "1/3/2026 7:05"),
        ("{ datetime: '%Y-%m-%d %H:%M:%S%.f' }", "2026-03-01 10:11:12.5"),
        ("{ datetime: '%Y-%m-%d %H:%M:%S%z' }", "2026-03-01 10:11:12+0300"),
    ] {
        assert!(chain(rule).apply(&Value::text(text), &[]).is_ok(), "{rule} {text}");
    }
    let problems = compile("{ datetime: '%Y-%m-%d %H:%M:%S.%f' }").unwrap_err();
    assert!(problems[0].message.contains("`%.f`"), "{}", problems[0].message);
}
