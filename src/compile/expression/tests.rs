//! Tables of expressions and templates, and where their problems point.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::compile::rule::tests::{Fields, value};
use crate::config::yaml;
use crate::diagnostic::{Code, Diagnostic, Position, Span};
use crate::record::parse_number;

const FIELDS: [&str; 12] =
    ["name", "price", "quantity", "empty", "active", "born", "at", "A B", "doc", "wide", "gone", "record_id"];

fn row() -> Vec<Value> {
    let number = |text: &str| Value::from(parse_number(text).unwrap());
    let document = serde_json::json!({ "a": [{ "b": 1 }, { "b": 2 }], "x y": "z" });
    vec![
        Value::text("  Ana "),
        number("19.99"),
        Value::Integer(3),
        Value::Null,
        Value::Boolean(true),
        value("2024-02-29"),
        value("2026-03-01T12:00:00Z"),
        Value::text("spaced"),
        Value::from_json(&document),
        number("12345678901234567890123456789012"),
        Value::Missing,
        Value::Integer(7),
    ]
}

fn at(text: &str) -> At<String> {
    let start = Position { line: 4, column: 10, byte: 100 };
    let bytes = u32::try_from(text.len()).unwrap();
    let columns = u32::try_from(text.chars().count()).unwrap();
    let end = Position { line: 4, column: 10 + columns, byte: 100 + bytes };
    let file: Arc<Path> = Path::new("mapping.yaml").into();
    At::new(text.to_owned(), Place::new(file, Span { start, end }))
}

fn compile(text: &str) -> Result<Expression, Vec<Diagnostic>> {
    let mut diagnostics = Diagnostics::new();
    let expression = Expression::compile(&at(text), &mut Fields(FIELDS.to_vec()), &mut diagnostics);
    assert_eq!(expression.is_none(), diagnostics.has_errors(), "{text}");
    expression.ok_or_else(|| diagnostics.into_sorted())
}

fn eval(text: &str) -> Result<Value, Box<Trouble>> {
    let expression = compile(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let own = Value::Integer(42);
    expression.eval(Input { row: &row(), value: Some(&own) })
}

#[test]
fn expressions_have_these_values() {
    for (text, expected) in [
        // Numbers are exact, whatever the parser made of them.
        ("0.1 + 0.2", "0.3"),
        ("0.1 + 0.2 == 0.3", "true"),
        ("19.99 * 3", "59.97"),
        ("price * quantity", "59.97"),
        ("12345678901234567890.12 + 0.01", "12345678901234567890.13"),
        ("9223372036854775807 + 1", "9223372036854775808"),
        ("9223372036854775807 * 2", "18446744073709551614"),
        ("1_000 + 1", "1001"),
        ("1.50", "1.50"),
        ("10 / 4", "2.5"),
        ("6 / 3", "2"),
        ("1 / 3", "0.3333333333333333333333333333"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("-quantity", "-3"),
        ("- -quantity", "3"),
        ("1 - 0.9 == 0.1", "true"),
        ("empty + 1", "null"),
        ("'a' + 'b'", r#""ab""#),
        // Text.
        ("name ~ '!' ~ quantity ~ empty ~ price", r#""  Ana !319.99""#),
        ("name | trim", r#""Ana""#),
        ("name | trim | upper_case ~ 'x'", r#""ANAx""#),
        ("quantity | pad_left(4, with=\"0\")", r#""0003""#),
        ("'19,90' | decimal('pt_BR') * 2", "39.80"),
        ("'S' | map({'S': true, 'N': false})", "true"),
        ("'x' | map({'S': 1}, default='0')", r#""0""#),
        ("empty | default('none')", r#""none""#),
        ("price | round(1)", "20.0"),
        ("-1.5 | round", "-2"),
        ("born | date('%d/%m/%Y')", r#""29/02/2024""#),
        ("'n/a' | blank(['', 'n/a'])", "null"),
        // Comparisons.
        ("quantity == 3.0", "true"),
        ("quantity == '3'", "false"),
        ("quantity != '3'", "true"),
        ("1 < quantity <= 3", "true"),
        ("3 < quantity < 'x'", "false"),
        ("empty == none", "true"),
        ("empty > 1 or empty <= 1", "false"),
        ("empty == ''", "false"),
        ("'a' < 'b'", "true"),
        ("born < '2024-03-01'", "true"),
        ("born == '2024-02-29'", "true"),
        ("at >= '2026-03-01T09:00:00-03:00'", "true"),
        ("wide > 5", "true"),
        ("quantity in [1, 2, 3]", "true"),
        ("quantity not in (1, 2)", "true"),
        ("'na' in name", "true"),
        ("'x y' in doc", "true"),
        ("1 in empty", "false"),
        // Logic gives back the operand that decided.
        ("empty or 'x'", r#""x""#),
        ("quantity and name | trim", r#""Ana""#),
        ("not active", "false"),
        ("not empty and active", "true"),
        ("'' or 0 or none", "null"),
        ("'yes' if active else 'no'", r#""yes""#),
        ("'yes' if empty", "null"),
        // Tests.
        ("empty is none", "true"),
        ("gone is defined", "false"),
        ("gone is undefined and gone is none", "true"),
        ("empty is defined", "true"),
        ("'  ' is blank", "true"),
        ("price is number and name is string", "true"),
        ("price is not integer", "true"),
        ("active is boolean and active is true", "true"),
        ("quantity is odd", "true"),
        // Parts.
        ("record.name | trim", r#""Ana""#),
        ("record['A B']", r#""spaced""#),
        ("doc.a[1].b", "2"),
        ("doc.a[-1].b", "2"),
        ("doc['x y']", r#""z""#),
        ("doc.a[7].b is none", "true"),
        ("doc.nothing is defined", "false"),
        ("empty.anything is none", "true"),
        ("[1, [2, 3]][1][0]", "2"),
        ("record_id", "7"),
        ("value + 1", "43"),
    ] {
        let found = eval(text).unwrap_or_else(|trouble| panic!("{text}: {trouble:?}"));
        let wanted = value(expected);
        assert!(crate::record::same(&found, &wanted) && found.to_string() == wanted.to_string(), "{text}: {found:?}");
    }
}

#[test]
fn values_that_do_not_fit_are_refused() {
    for (text, code, words) in [
        ("name + 1", Code::WRONG_NATURE, "`~` joins texts"),
        ("name > 1", Code::WRONG_NATURE, "have no order"),
        ("born > 'soon'", Code::WRONG_NATURE, "have no order"),
        ("quantity / (quantity - 3)", Code::DIVISION_BY_ZERO, "divided by zero"),
        ("price % (quantity - 3)", Code::DIVISION_BY_ZERO, "divided by zero"),
        ("wide + 1", Code::NUMBER_TOO_LONG, "more digits"),
        ("price * 1234567890123456789012345678", Code::NUMBER_TOO_LONG, "more than 28 digits"),
        ("active * 2", Code::WRONG_NATURE, "not a number"),
        ("name.first", Code::WRONG_NATURE, "no part named `first`"),
        ("quantity[0]", Code::WRONG_NATURE, "no part at"),
        ("name | decimal", Code::NOT_A_NUMBER, "not a number"),
        ("1 in quantity", Code::WRONG_NATURE, "nothing is `in`"),
    ] {
        let trouble = eval(text).expect_err(text);
        assert_eq!(trouble.code, code, "{text}: {trouble:?}");
        assert!(trouble.message.contains(words), "{text}: {}", trouble.message);
        assert!(trouble.place.is_some(), "{text}");
    }
}

#[test]
fn problems_point_into_the_text() {
    for (text, code, column, words) in [
        ("nam | trim", Code::UNKNOWN_FIELD_NAME, 10, "no field `nam`"),
        ("name ~ prise", Code::UNKNOWN_FIELD_NAME, 17, "no field `prise`"),
        ("'á' ~ prise", Code::UNKNOWN_FIELD_NAME, 16, "no field `prise`"),
        ("record.nome", Code::UNKNOWN_FIELD_NAME, 10, "no field `nome`"),
        ("record['A C']", Code::UNKNOWN_FIELD_NAME, 17, "no field `A C`"),
        ("name | trimm", Code::UNKNOWN_RULE, 17, "no rule `trimm`"),
        ("name | pad_left", Code::MISSING_NAME, 17, "needs an argument"),
        ("name | pad_left('x')", Code::BAD_VALUE, 26, "whole number"),
        ("name | pad_left(3, 4)", Code::EXPRESSION_SYNTAX, 29, "one argument"),
        ("name | pad_left(quantity)", Code::NOT_YET, 26, "computed argument"),
        ("name | slug", Code::NOT_YET, 17, "not built yet"),
        ("name is strin", Code::UNKNOWN_NAME, 18, "no test `is strin`"),
        ("name ~", Code::EXPRESSION_SYNTAX, 15, "does not parse"),
        ("name name", Code::EXPRESSION_SYNTAX, 15, "does not parse"),
        ("1e3 + 1", Code::EXPRESSION_SYNTAX, 10, "plain notation"),
        ("0x1F", Code::EXPRESSION_SYNTAX, 10, "plain notation"),
        ("1 / 0", Code::DIVISION_BY_ZERO, 10, "divided by zero"),
        ("name.upper()", Code::NOT_YET, 14, "a call"),
        ("now()", Code::NOT_YET, 10, "a call"),
        ("record", Code::NOT_YET, 10, "whole `record`"),
        ("record[name]", Code::NOT_YET, 17, "computed field name"),
        ("{'a': 1}", Code::NOT_YET, 10, "a mapping"),
        ("2 ** 3", Code::NOT_YET, 10, "the power"),
        ("name[1:2]", Code::NOT_YET, 10, "a slice"),
        ("parent.total", Code::NOT_YET, 10, "`parent`"),
    ] {
        let problems = compile(text).expect_err(text);
        let place = problems[0].place.clone().unwrap();
        assert_eq!((problems[0].code, place.column(), place.line()), (code, column, 4), "{text}: {problems:?}");
        assert!(problems[0].message.contains(words), "{text}: {}", problems[0].message);
    }
    let help = compile("prise").expect_err("unknown")[0].help.clone();
    assert_eq!(help.as_deref(), Some("did you mean `price`?"));
    // Issue 2: what has to be named was said without the form to write.
    for (text, form) in [
        ("name | pad_left(3, '0')", "write `pad_left(…, with='0')`"),
        ("name | trim('x', 'y')", "`trim` has no options: leave it out"),
        ("name is defined(1)", "write `is defined`"),
    ] {
        let help = compile(text).expect_err(text)[0].help.clone();
        assert_eq!(help.as_deref(), Some(form), "{text}");
    }
}

#[test]
fn all_problems_of_an_expression_are_told_at_once() {
    assert_eq!(compile("nam ~ prise ~ (citi | trimm)").expect_err("four").len(), 4);
}

fn render(text: &str) -> String {
    let mut diagnostics = Diagnostics::new();
    let template = Template::compile(&at(text), &mut Fields(FIELDS.to_vec()), &mut diagnostics);
    let template = template.unwrap_or_else(|| panic!("{text}: {:?}", diagnostics.into_sorted()));
    template.render(Input::new(&row())).unwrap().to_string()
}

#[test]
fn templates_render() {
    for (text, expected) in [
        ("plain", "plain"),
        ("{{ name | trim }}, {{ record['A B'] }}", "Ana, spaced"),
        ("[{{ empty }}{{ gone }}]", "[]"),
        ("{{ price }} {{ quantity }} {{ active }} {{ born }}", "19.99 3 true 2024-02-29"),
        ("{% if quantity > 2 %}many{% elif quantity > 1 %}two{% else %}few{% endif %}", "many"),
        ("{% if empty %}x{% elif active %}y{% endif %}", "y"),
        ("a {# a comment #}b", "a b"),
        ("a {%- if active -%} b {%- endif -%} c", "abc"),
        ("{{ '{{' }} ã {{ 1 + 1 }}", "{{ ã 2"),
        ("line\n", "line"),
        ("{{ quantity | trim }}{{ at }}", "32026-03-01T12:00:00Z"),
    ] {
        assert_eq!(render(text), expected, "{text}");
    }
}

#[test]
fn statements_that_are_not_built_are_refused_with_a_place() {
    for (text, column) in
        [("a {% for x in doc %}{{ x }}{% endfor %}", 15), ("{% set x = 1 %}", 13), ("{{ nam }} {{ prise }}", 13)]
    {
        let mut diagnostics = Diagnostics::new();
        assert!(Template::compile(&at(text), &mut Fields(FIELDS.to_vec()), &mut diagnostics).is_none());
        let problems = diagnostics.into_sorted();
        assert_eq!(problems[0].place.as_ref().map(Place::column), Some(column), "{text}: {problems:?}");
    }
}

#[test]
fn without_a_value_of_its_own_value_is_a_field() {
    struct Other;
    impl Resolve for Other {
        fn slot(&mut self, name: &str) -> Result<usize, Option<String>> {
            if name == "value" { Ok(0) } else { Err(None) }
        }
    }
    let mut diagnostics = Diagnostics::new();
    let expression = Expression::compile(&at("value ~ '!'"), &mut Other, &mut diagnostics).unwrap();
    assert_eq!(expression.eval(Input::new(&[Value::text("field")])), Ok(Value::text("field!")));
    assert!(Expression::compile(&at("nothing"), &mut Other, &mut diagnostics).is_none());
}

#[test]
fn constants_are_folded() {
    assert_eq!(compile("1 + 2 * 3").unwrap().constant(), Some(&Value::Integer(7)));
    assert_eq!(compile("quantity + 1").unwrap().constant(), None);
}

#[test]
fn places_are_exact_where_the_text_is_in_the_file_as_it_reads() {
    let file: Arc<Path> = Path::new("m.yaml").into();
    for (yaml_text, from, expected) in [
        ("when: nome ~ prise", 7, (1, 14)),
        ("when: \"nome ~ prise\"", 7, (1, 15)),
        ("when: 'it ~ prise'", 5, (1, 13)),
        ("when: 'it''s ~\n  ção ~ prise'", 15, (2, 9)),
        ("when: \"one ~\n\n\n  prise\"", 7, (4, 3)),
        ("when: one ~\n  two ~\n   prise", 12, (3, 4)),
        // With an escape the scalar as a whole.
        ("when: \"\\u0061 ~ prise\"", 4, (1, 7)),
    ] {
        let nodes = yaml::parse(&file, yaml_text, &mut Diagnostics::new());
        let node = &nodes[0].as_map().unwrap()[0].1;
        let place = position::Source { text: node.text().unwrap(), place: &node.place }.at(from, from + 5);
        assert_eq!((place.line(), place.column()), expected, "{yaml_text}");
    }
}

#[test]
fn places_in_a_block_of_lines_are_exact() {
    let file: Arc<Path> = Path::new("m.yaml").into();
    for (yaml_text, expected) in [
        ("a: |\n  one\n\n  ção {{ prise }}\n\n\nb: 1", (4, 10)),
        ("a: |\r\n  one\r\n   {{ prise }}\r\nb: 1", (3, 7)),
        ("a: |-\n\n  {{ prise }}", (3, 6)),
        ("a: >\n  one\n  {{ prise }}\n\n  three\n\nb: 1", (3, 6)),
        ("a: >\n  one\n\n  {{ prise }}\n\nb: 1", (4, 6)),
        ("a: >-\n  one\n    more\n  two {{ prise }}\n", (4, 10)),
    ] {
        let nodes = yaml::parse(&file, yaml_text, &mut Diagnostics::new());
        let node = &nodes[0].as_map().unwrap()[0].1;
        let from = node.text().unwrap().find("prise").unwrap();
        let place = position::Source { text: node.text().unwrap(), place: &node.place }.at(from, from + 5);
        assert_eq!((place.line(), place.column()), expected, "{yaml_text:?}");
    }
}
