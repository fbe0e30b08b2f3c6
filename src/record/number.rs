//! Exact numbers from text and back.

use compact_str::CompactString;
use rust_decimal::Decimal;

use super::Value;

/// A number in the narrowest exact form that holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    Integer(i64),
    Decimal(Decimal),
    /// Canonical digits of a number beyond 28 digits.
    Wide(CompactString),
}

impl From<Number> for Value {
    fn from(number: Number) -> Value {
        match number {
            Number::Integer(i) => Value::Integer(i),
            Number::Decimal(d) => Value::Decimal(d),
            Number::Wide(text) => Value::WideDecimal(text),
        }
    }
}

/// Reads plain decimal notation (`-12.50`, `+3`, `.5`; no exponent, no
/// thousands marks, no blanks). `None` where the text is not wholly a number.
///
/// A text without a point that fits 64 bits is an integer; one of up to 28
/// digits keeps its scale as a decimal; longer ones are kept as canonical text.
pub fn parse_number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    if !digits.contains('.')
        && let Ok(integer) = text.parse::<i64>()
    {
        return Some(Number::Integer(integer));
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() + fraction.len() <= 28 {
        let mantissa: i128 = format!("{whole}{fraction}").parse().unwrap_or(0);
        let mantissa = if negative { -mantissa } else { mantissa };
        let scale = u32::try_from(fraction.len()).ok()?;
        return Decimal::try_from_i128_with_scale(mantissa, scale).ok().map(Number::Decimal);
    }
    let fraction = fraction.trim_end_matches('0');
    if whole.len() + fraction.len() <= 28 {
        return parse_number(&canonical(negative, whole, fraction));
    }
    Some(Number::Wide(canonical(negative, whole, fraction)))
}

fn canonical(negative: bool, whole: &str, fraction: &str) -> CompactString {
    let mut out = CompactString::default();
    let whole = if whole.is_empty() { "0" } else { whole };
    if negative && (whole != "0" || !fraction.is_empty()) {
        out.push('-');
    }
    out.push_str(whole);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Number {
        Number::Decimal(text.parse().unwrap())
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(parse_number("00012"), Some(Number::Integer(12)));
        assert_eq!(parse_number("19.90"), Some(decimal("19.90")));
        assert_eq!(parse_number("-0.5"), Some(decimal("-0.5")));
        assert_eq!(parse_number(".5"), Some(decimal("0.5")));
        assert_eq!(parse_number("12345678901234567890.12"), Some(decimal("12345678901234567890.12")));
        assert_eq!(
            parse_number("-00123456789012345678901234567890.100"),
            Some(Number::Wide("-123456789012345678901234567890.1".into()))
        );
        assert_eq!(parse_number("9223372036854775808"), Some(decimal("9223372036854775808")));
    }

    #[test]
    fn what_is_not_wholly_a_number_is_refused() {
        for text in ["", "-", ".", "1e3", "1,5", " 1", "1.23abc", "0x1F", "1_000", "NaN", "--1", "1.2.3"] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }
}
