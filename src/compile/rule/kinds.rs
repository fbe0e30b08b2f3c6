//! What rules take and give: the natures of kinds and of values.

use compact_str::{CompactString, ToCompactString};

use crate::compile::trouble::{Trouble, shown};
use crate::diagnostic::Code;
use crate::record::{Kind, Value};

pub(super) const TEXT: Kind = Kind::Text { max: None, padded: false };
pub(super) const DECIMAL: Kind = Kind::Decimal { precision: None, scale: None };

/// The rough nature of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    Unknown,
    Text,
    Number,
    Boolean,
    Date,
    Time,
    Other,
}

pub(super) fn nature(kind: &Kind) -> Nature {
    match kind {
        Kind::Any | Kind::Json | Kind::Other(_) => Nature::Unknown,
        Kind::Text { .. } | Kind::Uuid | Kind::Enum { .. } => Nature::Text,
        Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Float { .. } => Nature::Number,
        Kind::Boolean => Nature::Boolean,
        Kind::Date => Nature::Date,
        Kind::LocalTime { .. } | Kind::Instant { .. } => Nature::Time,
        Kind::Time { .. } | Kind::Bytes | Kind::Interval | Kind::List(_) => Nature::Other,
    }
}

/// What a rule gives that edits text and leaves numbers alone.
pub(super) fn edits_text(kind: &Kind) -> Result<Kind, &'static str> {
    match nature(kind) {
        Nature::Unknown => Ok(Kind::Any),
        Nature::Text => Ok(TEXT),
        Nature::Number => Ok(kind.clone()),
        _ => Err("text"),
    }
}

/// What a rule gives that makes text of text and numbers.
pub(super) fn makes_text(kind: &Kind) -> Result<Kind, &'static str> {
    match nature(kind) {
        Nature::Unknown | Nature::Text | Nature::Number => Ok(TEXT),
        _ => Err("text or a number"),
    }
}

/// Passes `gives` on where numbers, or texts of numbers, come in.
pub(super) fn computes(kind: &Kind, gives: Kind) -> Result<Kind, &'static str> {
    match nature(kind) {
        Nature::Unknown | Nature::Text | Nature::Number => Ok(gives),
        _ => Err("a number"),
    }
}

/// The text of a text or a number.
pub(super) fn into_text(value: Value) -> Result<CompactString, Box<Trouble>> {
    match value {
        Value::Text(text) | Value::WideDecimal(text) => Ok(text),
        Value::Integer(integer) => Ok(integer.to_compact_string()),
        Value::Decimal(decimal) => Ok(decimal.to_compact_string()),
        // As the value is printed everywhere: without an exponent, and no `.0` behind a whole number.
        Value::Float(_) => Ok(value.to_compact_string()),
        other => Err(not(&other, "text or a number")),
    }
}

/// Edits a text; a number passes as it is.
pub(super) fn edit(value: Value, edit: impl FnOnce(CompactString) -> CompactString) -> Result<Value, Box<Trouble>> {
    match value {
        Value::Text(text) => Ok(Value::Text(edit(text))),
        Value::Integer(_) | Value::Decimal(_) | Value::WideDecimal(_) | Value::Float(_) => Ok(value),
        other => Err(not(&other, "text")),
    }
}

/// Trouble with a value of another nature than `wanted`.
#[expect(clippy::unnecessary_box_returns, reason = "trouble is boxed wherever it is returned")]
pub(super) fn not(value: &Value, wanted: &str) -> Box<Trouble> {
    Trouble::with(Code::WRONG_NATURE, value, format!("{} is not {wanted}", shown(value)))
}
