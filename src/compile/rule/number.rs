//! Rules that compute: `multiply`, `divide`, `add`, `round`, `cents`.

use std::sync::Arc;

use rust_decimal::{Decimal, RoundingStrategy};

use super::arguments::{Arguments, Reported};
use super::decimal::short;
use super::kinds::{DECIMAL, computes};
use super::{Back, Class, Definition, Example, Parameter, Rule, Takes};
use crate::compile::Trouble;
use crate::compile::expression::arithmetic::{
    add, divide, divide_at, exact, multiply, multiply_at, narrow, round_at, too_long,
};
use crate::compile::trouble::shown;
use crate::diagnostic::Code;
use crate::record::{Kind, Number, Value, parse_number};

const SCALE: Parameter = Parameter::option(
    "scale",
    Takes::Count,
    "Digits after the point, of the result in both directions; halves are rounded away from zero.",
);

pub(super) static MULTIPLY: Definition = Definition {
    name: "multiply",
    class: Class::Depends(
        "Invertible with a `scale`, if the factor is 1 or more (or -1 or less): every value of at most `scale` digits \
         after the point comes back as it was. Invertible without one, if dividing by the factor always ends (`10`, \
         `0.01`, `2`, `0.5`). Lossy otherwise: with a `scale` and a factor below 1 neighbouring values become one; \
         without a `scale` a factor like `1.1` has no way back that ends.",
    ),
    parameters: &[Parameter::argument(Takes::Number, "The factor, an exact number."), SCALE],
    manual: "Multiplies by a factor. Without `scale` the product is exact and one of more than 28 digits is rejected; \
             with it, it has exactly that many digits after the point. On the way back it divides, and rounds to \
             `scale` in the same way; what was written there and no value leads to goes back to the nearest one.",
    examples: &[
        Example {
            rule: r#"{ multiply: "1.1", scale: 2 }"#,
            values: &[("10.00", "11.00"), (r#""20.00""#, "22.00"), ("0.05", "0.06"), ("null", "null")],
        },
        Example {
            rule: "{ multiply: 100 }",
            values: &[("19.90", "1990.00"), (r#"" ""#, "null"), (r#""ten""#, "refused")],
        },
    ],
    build: |arguments| {
        arguments.required("")?;
        let factor = arguments.number("")?.unwrap_or_default();
        let scale = arguments.count("scale", 28)?;
        Ok(Arc::new(Scaling { factor, divides: false, scale }))
    },
};

pub(super) static DIVIDE: Definition = Definition {
    name: "divide",
    class: Class::Depends(
        "Invertible with a `scale`, if the divisor lies between -1 and 1; invertible without one. Lossy otherwise: \
         with a `scale` and a larger divisor neighbouring values become one.",
    ),
    parameters: &[Parameter::argument(Takes::Number, "The divisor, an exact number other than zero."), SCALE],
    manual: "Divides by a number. A divisor that leaves endless digits (`3`) needs a `scale`; others (`100`, `8`, \
             `0.5`) are exact without one. On the way back it multiplies.",
    examples: &[
        Example { rule: "{ divide: 100 }", values: &[("1990", "19.9"), ("1", "0.01")] },
        Example { rule: "{ divide: 3, scale: 2 }", values: &[("10", "3.33"), ("-20", "-6.67")] },
    ],
    build: build_divide,
};

fn build_divide(arguments: &mut Arguments<'_>) -> Result<Arc<dyn Rule>, Reported> {
    arguments.required("")?;
    let factor = arguments.number("")?.unwrap_or_default();
    let scale = arguments.count("scale", 28)?;
    if factor.is_zero() {
        return Err(arguments.bad("", "takes a number other than zero", None));
    }
    if scale.is_none() && reciprocal(factor).is_none() {
        let help = "say how many digits are wanted: `{ divide: …, scale: 2 }`".to_owned();
        return Err(arguments.bad("", "needs a `scale` for a divisor that leaves endless digits", Some(help)));
    }
    Ok(Arc::new(Scaling { factor, divides: true, scale }))
}

/// One over the number, where that ends.
fn reciprocal(number: Decimal) -> Option<Decimal> {
    if number.is_zero() {
        return None;
    }
    let one = divide(Decimal::ONE, number)?;
    (multiply(one, number)? == Decimal::ONE).then(|| one.normalize())
}

/// `multiply` and `divide`, each the way back of the other.
#[derive(Debug, Clone, Copy)]
struct Scaling {
    factor: Decimal,
    divides: bool,
    scale: Option<u32>,
}

impl Scaling {
    /// A quotient with the zeros at its end that multiplying by the factor has
    /// carried over: 1.50 times 100 is 150.00, which goes back to 1.50.
    fn with_zeros(self, mut quotient: Decimal, number: Decimal) -> Decimal {
        let digits = number.scale().saturating_sub(self.factor.scale());
        if quotient.scale() < digits {
            quotient.rescale(digits);
        }
        quotient
    }
}

impl Rule for Scaling {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let Some(number) = number_in(&value)? else { return Ok(Value::Null) };
        let result = match (self.divides, self.scale) {
            (false, None) => multiply(number, self.factor),
            (false, Some(scale)) => multiply_at(number, self.factor, scale),
            (true, None) => {
                let quotient =
                    divide(number, self.factor).filter(|quotient| multiply(*quotient, self.factor) == Some(number));
                quotient.map(|quotient| self.with_zeros(quotient, number))
            }
            (true, Some(scale)) => divide_at(number, self.factor, scale),
        };
        result.map(Value::Decimal).ok_or_else(|| too_long(&value))
    }

    fn back(&self) -> Back {
        let size = self.factor.abs();
        let injective = if self.divides { size <= Decimal::ONE } else { size >= Decimal::ONE };
        match self.scale {
            _ if self.factor.is_zero() => Back::lost("the value itself: everything becomes 0"),
            Some(_) if injective => Back::rule(Scaling { divides: !self.divides, ..*self }),
            Some(scale) => Back::lost(format!(
                "digits: neighbouring values become one with {scale} digits after the point; without `scale` the result is exact"
            )),
            None if reciprocal(self.factor).is_some() => Back::rule(Scaling { divides: !self.divides, ..*self }),
            None => Back::lost(format!(
                "the way back, since dividing by {} leaves endless digits; give it a `scale`",
                self.factor
            )),
        }
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        computes(kind, DECIMAL)
    }

    fn describe(&self) -> String {
        let word = if self.divides { "divide" } else { "multiply" };
        match self.scale {
            Some(scale) => format!("{word} by {}, {scale} digits after the point", self.factor),
            None => format!("{word} by {}", self.factor),
        }
    }
}

/// The number of a value, text in plain notation included; `None` for blank text.
pub(super) fn number_in(value: &Value) -> Result<Option<Decimal>, Box<Trouble>> {
    let Value::Text(text) = value else { return exact(value).map(Some) };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(None);
    }
    match short(trimmed).or_else(|| parse_number(trimmed)) {
        Some(Number::Integer(integer)) => Ok(Some(Decimal::from(integer))),
        Some(Number::Decimal(decimal)) => Ok(Some(decimal)),
        Some(Number::Wide(_)) => Err(too_long(value)),
        None => {
            let message = format!("`{trimmed}` is not a number; `decimal` reads other notations");
            Err(Trouble::with(Code::NOT_A_NUMBER, value, message))
        }
    }
}

pub(super) static ADD: Definition = Definition {
    name: "add",
    class: Class::Invertible,
    parameters: &[Parameter::argument(Takes::Number, "The number to add; negative to subtract.")],
    manual: "Adds a number. The sum is exact. On the way back it is subtracted.",
    examples: &[Example { rule: r#"{ add: "-1.50" }"#, values: &[("10", "8.50"), (r#""0.1""#, "-1.40")] }],
    build: |arguments| {
        arguments.required("")?;
        Ok(Arc::new(Add(arguments.number("")?.unwrap_or_default())))
    },
};

#[derive(Debug)]
struct Add(Decimal);

impl Rule for Add {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let Some(number) = number_in(&value)? else { return Ok(Value::Null) };
        add(number, self.0).map(Value::Decimal).ok_or_else(|| too_long(&value))
    }

    fn back(&self) -> Back {
        Back::rule(Add(-self.0))
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        computes(kind, DECIMAL)
    }

    fn describe(&self) -> String {
        format!("add {}", self.0)
    }
}

const MODES: &[(&str, RoundingStrategy)] = &[
    ("half_up", RoundingStrategy::MidpointAwayFromZero),
    ("half_even", RoundingStrategy::MidpointNearestEven),
    ("down", RoundingStrategy::ToZero),
    ("up", RoundingStrategy::AwayFromZero),
    ("floor", RoundingStrategy::ToNegativeInfinity),
    ("ceiling", RoundingStrategy::ToPositiveInfinity),
];

pub(super) static ROUND: Definition = Definition {
    name: "round",
    class: Class::Lossy("the digits that are rounded away"),
    parameters: &[
        Parameter::argument(Takes::Count, "Digits after the point; 0 if left out.").optional(),
        Parameter::option(
            "mode",
            Takes::Choice(&["half_up", "half_even", "down", "up", "floor", "ceiling"]),
            "How to round: `half_up` (halves away from zero, the default), `half_even`, `down` (towards zero), `up`, `floor`, `ceiling`.",
        ),
    ],
    manual: "Rounds to exactly that many digits after the point.",
    examples: &[
        Example { rule: "{ round: 2 }", values: &[("1.005", "1.01"), ("-1.005", "-1.01"), ("3", "3.00")] },
        Example { rule: "{ round: 2, mode: half_even }", values: &[("1.005", "1.00"), ("1.015", "1.02")] },
        Example { rule: "round", values: &[("2.5", "3"), (r#""7.4""#, "7")] },
    ],
    build: |arguments| {
        let scale = arguments.count("", 28)?.unwrap_or_default();
        let strategy = arguments.choice("mode", MODES)?.unwrap_or(RoundingStrategy::MidpointAwayFromZero);
        Ok(Arc::new(Round { scale, strategy }))
    },
};

#[derive(Debug)]
struct Round {
    scale: u32,
    strategy: RoundingStrategy,
}

impl Rule for Round {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let Some(number) = number_in(&value)? else { return Ok(Value::Null) };
        round_at(number, self.scale, self.strategy).map(narrow).ok_or_else(|| too_long(&value))
    }

    fn back(&self) -> Back {
        Back::lost("the digits that are rounded away")
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        computes(kind, DECIMAL)
    }

    fn describe(&self) -> String {
        let mode = MODES.iter().find(|(_, strategy)| *strategy == self.strategy).map_or("", |(name, _)| name);
        format!("round to {} digits after the point, {mode}", self.scale)
    }
}

pub(super) static CENTS: Definition = Definition {
    name: "cents",
    class: Class::Invertible,
    parameters: &[],
    manual: "Makes whole cents of an amount. An amount with more than two digits after the point is rejected, never \
             rounded. On the way back cents become an amount with two digits.",
    examples: &[Example {
        rule: "cents",
        values: &[("19.90", "1990"), (r#""-0.05""#, "-5"), ("7", "700"), ("19.905", "refused")],
    }],
    build: |_| Ok(Arc::new(Cents { back: false })),
};

#[derive(Debug)]
struct Cents {
    back: bool,
}

impl Rule for Cents {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let Some(number) = number_in(&value)? else { return Ok(Value::Null) };
        let digits = number.normalize();
        let allowed = if self.back { 0 } else { 2 };
        if digits.scale() > allowed {
            let what = if self.back { "no whole number of cents" } else { "smaller than a cent in its last digit" };
            return Err(Trouble::with(Code::NOT_A_NUMBER, &value, format!("{} is {what}", shown(&value))));
        }
        let result = if self.back {
            Decimal::try_from_i128_with_scale(digits.mantissa(), 2).ok().map(Value::Decimal)
        } else {
            multiply(digits, Decimal::ONE_HUNDRED).map(|cents| narrow(cents.trunc()))
        };
        result.ok_or_else(|| too_long(&value))
    }

    fn back(&self) -> Back {
        Back::rule(Cents { back: !self.back })
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        computes(kind, if self.back { DECIMAL } else { Kind::Integer { bits: 64 } })
    }

    fn describe(&self) -> String {
        if self.back { "an amount of cents".into() } else { "cents of an amount".into() }
    }
}
