//! How a side shows the numbers that people enter: the rules of a field bring
//! one form into the other, and what does not fit is told by a `?`.

use chrono::{Days, NaiveDate};
use engine::compile::FieldProgram;
use engine::compile::expression::Resolve;
use engine::compile::rule::{Chain, RuleSpec};
use engine::config::tree::{At, Content, Node, Scalar, Style};
use engine::diagnostic::Diagnostics;
use engine::record::{Both, Side, Value};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::programs::nowhere;
use crate::seed::Seed;

/// The two forms of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The same number on both sides.
    Plain,
    /// Text between blanks in the source, `n-12` in the target.
    Prefixed,
    /// A number, and so many thousands below nothing.
    Scaled,
    /// `20000113`, and a date.
    Dated,
}

struct NoFields;

impl Resolve for NoFields {
    fn slot(&mut self, name: &str) -> Result<usize, Option<String>> {
        panic!("no rule here looks at `{name}`")
    }

    fn has_value(&self) -> bool {
        true
    }
}

fn day(number: i64) -> NaiveDate {
    let days = Days::new(number.try_into().expect("numbers are counted upwards"));
    NaiveDate::from_ymd_opt(2000, 1, 1).expect("a day") + days
}

impl Form {
    /// The rules towards the target, each a name, an argument and an option.
    fn rules(self) -> &'static [&'static [&'static str]] {
        match self {
            Form::Plain => &[],
            Form::Prefixed => &[&["trim"], &["prefix", "n-"]],
            Form::Scaled => &[&["multiply", "-1000", "scale", "0"]],
            Form::Dated => &[&["date", "%Y%m%d"]],
        }
    }

    /// Gives a field its rules and their way back.
    pub(super) fn give(self, field: &mut FieldProgram) {
        if self == Form::Plain {
            return;
        }
        let ahead = self.chain();
        let back = ahead.invert().expect("every form can be brought back");
        field.normal = Both::new(ahead.normalising_prefix(), back.normalising_prefix());
        for (side, rules) in [(Side::Target, ahead), (Side::Source, back)] {
            if let Some(way) = &mut field.toward[side] {
                way.rules = rules;
            }
        }
    }

    fn chain(self) -> Chain {
        let text = |text: &str| At::new(text.to_owned(), nowhere());
        let scalar = |text: &str| Node {
            content: Content::Scalar(Scalar { text: text.to_owned(), style: Style::Plain }),
            place: nowhere(),
        };
        let rules: Vec<RuleSpec> = self
            .rules()
            .iter()
            .map(|rule| RuleSpec {
                name: text(rule[0]),
                argument: rule.get(1).map(|argument| scalar(argument)),
                options: rule.get(2).map(|option| (text(option), scalar(rule[3]))).into_iter().collect(),
                place: nowhere(),
            })
            .collect();
        let mut diagnostics = Diagnostics::new();
        let chain = Chain::compile(&rules, &mut NoFields, &mut diagnostics);
        chain.unwrap_or_else(|| panic!("{self:?}: {:?}", diagnostics.into_sorted()))
    }

    /// A number as people enter it.
    pub(super) fn show(self, side: Side, number: i64, seed: &mut Seed) -> Value {
        match (self, side) {
            (Form::Plain, _) | (Form::Scaled, Side::Source) => Value::Integer(number),
            (Form::Prefixed, Side::Source) => Value::text(format!("{}{number}", seed.pick(&["", " ", "  "]))),
            (Form::Prefixed, Side::Target) => Value::text(format!("n-{number}")),
            (Form::Scaled, Side::Target) => Value::Integer(-1_000 * number),
            (Form::Dated, Side::Source) => Value::text(day(number).format("%Y%m%d").to_string()),
            (Form::Dated, Side::Target) => Value::Date(day(number)),
        }
    }

    /// Something that the other side cannot take, where there is such a thing.
    pub(super) fn misfit(self, side: Side, number: i64) -> Option<Value> {
        let fits =
            matches!((self, side), (Form::Plain, _) | (Form::Prefixed, Side::Source) | (Form::Dated, Side::Target));
        (!fits).then(|| Value::text(format!("?{number}")))
    }
}

/// The number that a followed field shows, in whatever form, or that stands in a
/// code.
pub(super) fn number(value: &Value) -> i64 {
    let told = match value {
        Value::Integer(number) if *number < 0 => Some(-number / 1_000),
        Value::Integer(number) => Some(*number),
        Value::Decimal(number) if number.is_sign_negative() => (-number / Decimal::from(1_000)).to_i64(),
        Value::Decimal(number) => number.trunc().to_i64(),
        Value::Date(date) => Some(date.signed_duration_since(day(0)).num_days()),
        Value::Text(text) => {
            let digits = text.trim().trim_start_matches("n-").trim_start_matches(['c', '?']);
            match NaiveDate::parse_from_str(digits, "%Y%m%d").ok().filter(|_| digits.len() == 8) {
                Some(date) => Some(date.signed_duration_since(day(0)).num_days()),
                None => digits.parse().ok(),
            }
        }
        _ => None,
    };
    told.unwrap_or_else(|| panic!("a followed field shows numbers, not {value:?}"))
}
