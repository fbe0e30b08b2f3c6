//! The promise of every rule that claims a way back, over generated values.
//!
//! Two laws. Forward, back and forward again is the same as forward, for every
//! value that goes forward at all. Forward and back is the value itself, for
//! every value in the form that the rule calls its own. And a value that goes
//! back goes forward to where it came from, or is refused.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::tests::chain;
use super::*;
use crate::record::same;

/// Forward, back, forward is forward. Gives what came back.
fn holds_forward(chain: &Chain, x: &Value) -> Result<Option<Value>, TestCaseError> {
    let back = chain.invert().expect("the rule claims a way back");
    let Ok(y) = chain.apply(x, &[]) else { return Ok(None) };
    let returned = back.apply(&y, &[]);
    let Ok(returned) = returned else {
        return Err(TestCaseError::fail(format!("{}: {x:?} became {y:?}: {returned:?}", chain.describe())));
    };
    let again = chain.apply(&returned, &[]);
    prop_assert!(
        again.as_ref().is_ok_and(|again| same(again, &y)),
        "{}: {x:?} became {y:?}, came back as {returned:?}, became {again:?}",
        chain.describe()
    );
    Ok(Some(returned))
}

/// As [`holds_forward`], and what comes back is what went.
fn holds(chain: &Chain, x: &Value) -> Result<(), TestCaseError> {
    if let Some(returned) = holds_forward(chain, x)? {
        prop_assert!(same(&returned, x), "{}: {x:?} came back as {returned:?}", chain.describe());
    }
    Ok(())
}

/// What goes back goes forward to where it came from, or is refused.
fn holds_backward(chain: &Chain, y: &Value) -> Result<(), TestCaseError> {
    let back = chain.invert().expect("the rule claims a way back");
    if let Ok(x) = back.apply(y, &[]) {
        let again = chain.apply(&x, &[]);
        prop_assert!(
            again.as_ref().is_ok_and(|again| same(again, y)),
            "{}: {y:?} went back to {x:?}, became {again:?}",
            chain.describe()
        );
    }
    Ok(())
}

fn decimals() -> impl Strategy<Value = Decimal> {
    let mantissa = prop_oneof![-100_000i128..100_000, -10i128.pow(28) + 1..10i128.pow(28)];
    (mantissa, 0u32..=28).prop_map(|(mantissa, scale)| Decimal::from_i128_with_scale(mantissa, scale))
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[ \t\u{a0}]{0,3}[a-zA-Z0-9 .,;'-]{0,30}[ \n]{0,3}",
        "[ãéÇßİıñ’\u{301}漢🙂 A-z]{0,20}",
        any::<String>(),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => Just(Value::Missing),
        6 => texts().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::Integer),
        2 => decimals().prop_map(Value::Decimal),
        1 => any::<bool>().prop_map(Value::Boolean),
        1 => dates().prop_map(Value::Date),
        1 => instants().prop_map(Value::Instant),
    ]
}

fn dates() -> impl Strategy<Value = NaiveDate> {
    let leap = prop_oneof![Just(1900), Just(2000), Just(2024), Just(2023), 1..9999i32];
    prop_oneof![
        (leap, 1..=12u32, 1..=31u32)
            .prop_filter_map("a day of the calendar", |(y, m, d)| NaiveDate::from_ymd_opt(y, m, d)),
        Just(NaiveDate::from_ymd_opt(2024, 2, 29).unwrap()),
    ]
}

/// Points in time, many of them around the hours that São Paulo and New York
/// skip or have twice.
fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let edges = [
        at("2018-11-04T03:00:00Z"),
        at("2018-02-18T02:00:00Z"),
        at("2026-03-08T07:00:00Z"),
        at("2026-11-01T06:00:00Z"),
    ];
    prop_oneof![
        (0..4usize, -10_000i64..10_000).prop_map(move |(edge, seconds)| edges[edge] + TimeDelta::seconds(seconds)),
        (-2_000_000_000i64..4_000_000_000).prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap()),
    ]
}

/// Every rule, with the parameters that matter, that claims a way back.
const CLAIMS: &[&str] = &[
    "trim",
    "{ pad_left: 7 }",
    "{ pad_right: 40 }",
    "blank",
    "{ blank: [\"\", \"-\"] }",
    "boolean",
    "{ boolean: { true: [S, \"1\"], false: [N, \"\"] } }",
    "{ prefix: \"BR-\" }",
    "{ suffix: \" ã\" }",
    "decimal",
    "{ decimal: pt_BR }",
    "{ decimal: fr_FR, grouped: true }",
    "integer",
    "{ integer: de_CH, grouped: true }",
    "{ multiply: \"1.1\", scale: 2 }",
    "{ multiply: \"-3\", scale: 0 }",
    "{ multiply: \"1\", scale: 4 }",
    "{ multiply: \"100\" }",
    "{ multiply: \"-0.125\" }",
    "{ divide: \"0.7\", scale: 3 }",
    "{ divide: 8 }",
    "{ add: \"-0.01\" }",
    "cents",
    "{ date: \"%Y%m%d\" }",
    "{ date: \"%d/%m/%y\" }",
    "{ date: \"%e %B %Y\" }",
    "{ datetime: \"%Y-%m-%d %H:%M:%S\" }",
    "{ datetime: \"%Y%m%d%H%M%S\", timezone: America/Sao_Paulo }",
    "{ datetime: \"%d/%m/%Y %H:%M:%S\", timezone: America/New_York }",
    "{ datetime: \"%Y-%m-%dT%H:%M:%S%:z\", timezone: America/New_York }",
    "datetime",
    "{ datetime: , timezone: America/Sao_Paulo }",
    "epoch",
    "{ epoch: milliseconds }",
    "{ map: { S: true, N: false, \"3\": other } }",
    "[trim, blank, { decimal: pt_BR }, { multiply: 100 }, { suffix: \" ct\" }]",
    "[{ date: \"%Y%m%d\" }, { date: \"%d/%m/%Y\" }]",
];

#[test]
fn every_class_that_claims_a_way_back_is_held_to_it_here() {
    for definition in RULES {
        let claimed = CLAIMS.iter().any(|rule| rule.contains(definition.name));
        assert_eq!(claimed, !matches!(definition.class, Class::Lossy(_)), "{}", definition.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forward_back_forward_is_forward(value in values(), rule in 0..CLAIMS.len()) {
        let rule = CLAIMS[rule];
        // With a `scale` the claim is for values of no more digits than that.
        let value = match value {
            Value::Decimal(decimal) if rule.contains("scale") => Value::Decimal(decimal.round()),
            Value::Text(text) if rule.contains("scale") => Value::text(text.replace('.', "")),
            value => value,
        };
        holds_forward(&chain(rule), &value)?;
    }

    /// The zeros at the end of a number come back too, where a text shows them.
    #[test]
    fn zeros_come_back(mantissa in -1_000_000i64..1_000_000, scale in 0u32..6, text: bool) {
        let decimal = Decimal::new(mantissa, scale);
        let value = if text { Value::text(decimal.to_string().replace('.', ",")) } else { Value::Decimal(decimal) };
        holds_forward(&chain("[trim, blank, { decimal: pt_BR }, { multiply: 100 }, { suffix: \" ct\" }]"), &value)?;
    }

    #[test]
    fn texts_come_back(text in texts()) {
        let value = Value::from(text);
        for rule in ["{ prefix: \"BR-\" }", "{ suffix: \"\" }", "{ suffix: \" ã\" }"] {
            holds(&chain(rule), &value)?;
        }
    }

    #[test]
    fn numbers_come_back(number in decimals(), small in -1_000_000_000i64..1_000_000_000, scale in 0u32..=6) {
        for rule in ["{ multiply: 100 }", "{ multiply: \"-0.125\" }", "{ divide: 8 }", "{ add: \"-0.01\" }", "cents"] {
            holds(&chain(rule), &Value::Decimal(number))?;
            holds(&chain(rule), &Value::Integer(small))?;
        }
        let value = Value::Decimal(Decimal::new(small, scale));
        for (factor, claims) in [("1.1", "multiply"), ("-3", "multiply"), ("1", "multiply"), ("1.000001", "multiply"), ("0.7", "divide"), ("-0.001", "divide")] {
            holds(&chain(&format!("{{ {claims}: \"{factor}\", scale: {scale} }}")), &value)?;
        }
    }

    #[test]
    fn numbers_in_their_own_notation_come_back(number in decimals()) {
        // Text, so that not even the digits after the point may differ.
        let exact = |rule: &str, text: String| -> Result<(), TestCaseError> {
            let chain = chain(rule);
            let number = chain.apply(&Value::text(&text), &[]).expect("its own notation is read");
            let back = chain.invert().expect("claims a way back").apply(&number, &[]).expect("goes back");
            prop_assert_eq!(back, Value::text(&text), "{}", rule);
            Ok(())
        };
        exact("decimal", number.to_string())?;
        exact("{ decimal: pt_BR }", number.to_string().replace('.', ","))?;
        exact("integer", number.trunc().normalize().to_string())?;
        let grouped = chain("{ decimal: de_DE, grouped: true }").invert().unwrap().apply(&Value::Decimal(number), &[]).unwrap();
        exact("{ decimal: de_DE, grouped: true }", grouped.to_string())?;
    }

    #[test]
    fn dates_come_back(date in dates()) {
        for format in ["%Y%m%d", "%d/%m/%Y", "%e %B %Y", "%Y-%j", "%d.%m.%y"] {
            let chain = chain(&format!("{{ date: \"{format}\" }}"));
            holds(&chain, &Value::Date(date))?;
            holds_backward(&chain, &Value::Date(date))?;
            holds(&chain, &Value::text(date.format(format).to_string()))?;
        }
    }

    #[test]
    fn times_come_back(instant in instants()) {
        for rule in [
            "{ datetime: \"%Y%m%d%H%M%S\", timezone: America/Sao_Paulo }",
            "{ datetime: \"%d/%m/%Y %H:%M:%S\", timezone: America/New_York }",
            "{ datetime: \"%Y-%m-%dT%H:%M:%S%:z\", timezone: America/New_York }",
            "{ datetime: , timezone: America/Sao_Paulo }",
            "epoch",
            "{ epoch: microseconds }",
        ] {
            let chain = chain(rule);
            holds(&chain, &Value::Instant(instant))?;
            holds_backward(&chain, &Value::Instant(instant))?;
            if rule.starts_with("{ datetime") {
                // A local text, skipped hours and doubled ones included.
                let local = instant.format("%Y%m%d%H%M%S").to_string();
                holds(&self::chain("{ datetime: \"%Y%m%d%H%M%S\", timezone: America/Sao_Paulo }"), &Value::text(local))?;
            }
        }
        holds(&chain("epoch"), &Value::Integer(instant.timestamp()))?;
    }

    #[test]
    fn listed_values_come_back(place in 0..4usize) {
        let map = chain("{ map: { S: true, N: false, \"03\": other, \"\": \" \" } }");
        holds(&map, &Value::text(["S", "N", "03", ""][place]))?;
        holds_backward(&map, &[Value::Boolean(true), Value::Boolean(false), Value::text("other"), Value::text("x")][place])?;
    }

    #[test]
    fn what_a_rule_without_a_way_back_loses_is_really_lost(whole in 1i64..10_000) {
        // Neighbours that become one, for a claim the other way to be false.
        let half = chain("{ multiply: \"0.5\", scale: 2 }");
        prop_assert!(half.invert().is_err());
        let at = |hundredths| half.apply(&Value::Decimal(Decimal::new(hundredths, 2)), &[]).unwrap();
        prop_assert!(same(&at(2 * whole - 1), &at(2 * whole)));
    }

    #[test]
    fn no_value_makes_a_rule_panic(value in values(), rule in 0..RULES.len()) {
        for example in RULES[rule].examples {
            let row = [Value::Null, value.clone()];
            let _refusal_is_fine = chain(example.rule).apply(&value, &row);
        }
    }
}
