//! Numbers from text and back: `decimal` and `integer`, with locales.

use std::sync::Arc;

use compact_str::{CompactString, ToCompactString};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::arguments::{Arguments, Reported};
use super::kinds::{DECIMAL as DECIMAL_KIND, TEXT, computes, not};
use super::{Back, Class, Definition, Example, Parameter, Rule, Takes};
use crate::compile::Trouble;
use crate::compile::trouble::shown;
use crate::diagnostic::{Code, nearest};
use crate::record::{Kind, Number, Value, parse_number};

const MARKS: &[Parameter] = &[
    Parameter::argument(
        Takes::Text,
        "A locale (`pt_BR`), or the decimal mark itself (`,`); a point without thousands marks if left out.",
    )
    .optional(),
    Parameter::option("thousands", Takes::Text, "The thousands mark; only beside a decimal mark."),
    Parameter::option("grouped", Takes::Switch, "Write thousands marks on the way back; they are always read."),
];

pub(super) static DECIMAL: Definition = Definition {
    name: "decimal",
    class: Class::Invertible,
    parameters: MARKS,
    manual: "Reads a text as an exact number. Blanks around it are allowed, a blank text becomes null; thousands marks \
             must stand at every third digit, so that `1.5` is never taken for fifteen. On the way back the number is \
             written with the same decimal mark and all its digits: `1234,50`, without thousands marks unless \
             `grouped`. Texts in that form come back as they were; `+1` or `01` come back as `1`. Under `reverse`, \
             beside `rules` that read with it, it writes in the same way.",
    examples: &[
        Example {
            rule: "decimal",
            values: &[(r#"" 19.90 ""#, "19.90"), (r#""""#, "null"), ("7", "7"), (r#""1e3""#, "refused")],
        },
        Example {
            rule: "{ decimal: pt_BR }",
            values: &[(r#""1.234,56""#, "1234.56"), (r#""-0,5""#, "-0.5"), (r#""1.5""#, "refused")],
        },
        Example { rule: r#"{ decimal: ",", thousands: "'" }"#, values: &[(r#""1'234'567,8""#, "1234567.8")] },
    ],
    build: |arguments| build(arguments, false),
};

pub(super) static INTEGER: Definition = Definition {
    name: "integer",
    class: Class::Invertible,
    parameters: MARKS,
    manual: "Reads a text as a whole number; leading zeros go. A number with a fraction other than zero is rejected, \
             never rounded. A blank text becomes null. On the way back the digits are written without leading zeros, also \
             under `reverse`, beside `rules` that read with it.",
    examples: &[
        Example {
            rule: "integer",
            values: &[(r#""00042""#, "42"), (r#""42.00""#, "42"), ("42.5", "refused"), (r#""  ""#, "null")],
        },
        Example { rule: "{ integer: de_DE }", values: &[(r#""1.250""#, "1250")] },
    ],
    build: |arguments| build(arguments, true),
};

/// How numbers are written: the decimal mark and the thousands mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    point: char,
    thousands: Option<char>,
}

const PLAIN: Marks = Marks { point: '.', thousands: None };

/// Locales by their marks, from the Unicode CLDR.
const LOCALES: &[(Marks, &[&str])] = &[
    (Marks { point: '.', thousands: Some(',') }, &["en_US", "en_GB", "es_MX"]),
    (
        Marks { point: ',', thousands: Some('.') },
        &["pt_BR", "es_ES", "es_AR", "es_CL", "es_CO", "it_IT", "de_DE", "nl_NL", "da_DK", "tr_TR"],
    ),
    (
        Marks { point: ',', thousands: Some('\u{a0}') },
        &["fr_FR", "pt_PT", "de_AT", "sv_SE", "nb_NO", "fi_FI", "pl_PL", "cs_CZ", "ru_RU"],
    ),
    (Marks { point: '.', thousands: Some('’') }, &["de_CH", "fr_CH", "it_CH"]),
];

fn build(arguments: &mut Arguments<'_>, whole: bool) -> Result<Arc<dyn Rule>, Reported> {
    let marks = marks(arguments)?;
    let grouped = arguments.switch("grouped")?;
    if grouped && marks.thousands.is_none() {
        return Err(arguments.bad("grouped", "needs a thousands mark", Some("name a locale, or `thousands`".into())));
    }
    Ok(Arc::new(Reader { marks, grouped, whole }))
}

fn marks(arguments: &mut Arguments<'_>) -> Result<Marks, Reported> {
    let Some(written) = arguments.text("")? else {
        return match arguments.character("thousands")? {
            None => Ok(PLAIN),
            Some('.') => Err(arguments.bad("thousands", "is also the decimal mark", None)),
            thousands => Ok(Marks { thousands, ..PLAIN }),
        };
    };
    let mut characters = written.chars();
    if let (Some(point), None) = (characters.next(), characters.next()) {
        if point.is_alphanumeric() || matches!(point, '-' | '+' | ' ') {
            return Err(arguments.bad("", "takes a locale or a decimal mark", None));
        }
        let thousands = arguments.character("thousands")?;
        if thousands.is_some_and(|mark| mark == point || mark.is_alphanumeric() || matches!(mark, '-' | '+')) {
            return Err(arguments.bad("thousands", "takes a mark other than digits, signs and the decimal mark", None));
        }
        return Ok(Marks { point, thousands });
    }
    let name = written.replace('-', "_");
    let known = LOCALES.iter().find(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(&name)));
    match known {
        Some(_) if arguments.option("thousands").is_some() => {
            Err(arguments.bad("thousands", "is given by the locale already", None))
        }
        Some((marks, _)) => Ok(*marks),
        None => {
            let near = nearest(&name, LOCALES.iter().flat_map(|(_, names)| names.iter().copied()));
            let help = near.map_or_else(
                || "name the marks: `{ decimal: \",\", thousands: \".\" }`".to_owned(),
                |near| format!("did you mean `{near}`? other marks: `{{ decimal: \",\", thousands: \".\" }}`"),
            );
            Err(arguments.bad("", "takes a known locale or a decimal mark", Some(help)))
        }
    }
}

/// Text to number.
#[derive(Debug, Clone, Copy)]
struct Reader {
    marks: Marks,
    grouped: bool,
    whole: bool,
}

impl Rule for Reader {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let number = match &value {
            Value::Text(text) => {
                let trimmed = text.trim();
                if trimmed.is_empty() {
                    return Ok(Value::Null);
                }
                let Some(number) = self.read(trimmed) else {
                    let what = if self.whole { "a whole number" } else { "a number" };
                    let message = format!("`{trimmed}` is not {what}{}", self.form());
                    return Err(Trouble::with(Code::NOT_A_NUMBER, &value, message));
                };
                number
            }
            Value::Integer(integer) => Number::Integer(*integer),
            Value::Decimal(decimal) => Number::Decimal(*decimal),
            Value::WideDecimal(_) if !self.whole => return Ok(value),
            Value::WideDecimal(digits) => parse_number(digits).ok_or_else(|| not(&value, "a whole number"))?,
            Value::Float(float) => parse_number(&float.to_string()).ok_or_else(|| not(&value, "a number"))?,
            other => return Err(not(other, "a number")),
        };
        if !self.whole {
            return Ok(match number {
                Number::Integer(integer) => Value::Decimal(Decimal::from(integer)),
                other => other.into(),
            });
        }
        match number {
            Number::Integer(integer) => Ok(Value::Integer(integer)),
            Number::Decimal(decimal) if decimal.fract().is_zero() => {
                Ok(decimal.to_i64().map_or_else(|| Value::Decimal(decimal.trunc()), Value::Integer))
            }
            Number::Wide(digits) if !digits.contains('.') => Ok(Value::WideDecimal(digits)),
            _ => {
                let message = format!("{} has a fraction; `round` says what becomes of it", shown(&value));
                Err(Trouble::with(Code::NOT_A_NUMBER, &value, message))
            }
        }
    }

    fn back(&self) -> Back {
        Back::rule(Writer { marks: self.marks, grouped: self.grouped, whole: self.whole })
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        computes(kind, if self.whole { Kind::Integer { bits: 64 } } else { DECIMAL_KIND })
    }

    fn reads_text(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let name = if self.whole { "integer" } else { "decimal" };
        format!("{name}{}", self.form())
    }
}

impl Reader {
    fn form(&self) -> String {
        match self.marks {
            Marks { point: '.', thousands: None } => String::new(),
            Marks { point, thousands: None } => format!(" with the decimal mark `{point}`"),
            Marks { point, thousands: Some(thousands) } => {
                format!(" with the decimal mark `{point}` and the thousands mark `{thousands}`")
            }
        }
    }

    fn read(&self, text: &str) -> Option<Number> {
        if self.marks == PLAIN {
            return short(text).or_else(|| parse_number(text));
        }
        let (sign, digits) = match text.as_bytes().first()? {
            b'-' | b'+' => text.split_at(1),
            _ => ("", text),
        };
        let (whole, fraction) = match digits.split_once(self.marks.point) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (digits, None),
        };
        let mut plain = CompactString::new(sign);
        match self.marks.thousands {
            Some(mark) => {
                let mut groups = whole.split(|character| alike(character, mark)).peekable();
                let mut first = true;
                while let Some(group) = groups.next() {
                    let alone = first && groups.peek().is_none();
                    let fits = if first { alone || (1..=3).contains(&group.len()) } else { group.len() == 3 };
                    if !fits {
                        return None;
                    }
                    plain.push_str(group);
                    first = false;
                }
            }
            None => plain.push_str(whole),
        }
        if let Some(fraction) = fraction {
            plain.push('.');
            plain.push_str(fraction);
        }
        // A point that is left now is none of the marks.
        if plain.matches('.').count() > usize::from(fraction.is_some()) {
            return None;
        }
        short(&plain).or_else(|| parse_number(&plain))
    }
}

/// Marks that are typed for one another: kinds of blanks, kinds of apostrophes.
fn alike(character: char, mark: char) -> bool {
    let same = |set: &[char]| set.contains(&character) && set.contains(&mark);
    character == mark || same(&[' ', '\u{a0}', '\u{202f}', '\u{2009}']) || same(&['\'', '’'])
}

/// Numbers of up to 18 digits, without detours.
pub(super) fn short(text: &str) -> Option<Number> {
    let bytes = text.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let digits = &bytes[usize::from(negative)..];
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let (mut mantissa, mut scale, mut pointed) = (0i64, 0u32, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + i64::from(byte - b'0');
                scale += u32::from(pointed);
            }
            b'.' if !pointed => pointed = true,
            _ => return None,
        }
    }
    if pointed && digits.len() == 1 {
        return None;
    }
    let mantissa = if negative { -mantissa } else { mantissa };
    Some(if pointed { Number::Decimal(Decimal::new(mantissa, scale)) } else { Number::Integer(mantissa) })
}

/// Number to text.
#[derive(Debug, Clone, Copy)]
struct Writer {
    marks: Marks,
    grouped: bool,
    whole: bool,
}

impl Rule for Writer {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let plain = match &value {
            Value::Integer(integer) => integer.to_compact_string(),
            Value::Decimal(decimal) if self.whole => decimal.normalize().to_compact_string(),
            Value::Decimal(decimal) => decimal.to_compact_string(),
            Value::WideDecimal(digits) => digits.clone(),
            Value::Float(float) if float.is_finite() => value.to_compact_string(),
            // Text of a number, from a side that keeps numbers as text.
            Value::Text(text) => match parse_number(text.trim()) {
                Some(_) => CompactString::new(text.trim()),
                None => return Err(not(&value, "a number")),
            },
            other => return Err(not(other, "a number")),
        };
        if self.whole && plain.contains('.') {
            let message = format!("{} has a fraction, and whole numbers go back", shown(&value));
            return Err(Trouble::with(Code::NOT_A_NUMBER, &value, message));
        }
        if self.marks.point == '.' && !self.grouped {
            return Ok(Value::Text(plain));
        }
        let (sign, digits) = if plain.starts_with('-') { plain.split_at(1) } else { ("", plain.as_str()) };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mut out = CompactString::new(sign);
        match self.marks.thousands {
            Some(mark) if self.grouped && whole.bytes().all(|byte| byte.is_ascii_digit()) => {
                for (index, digit) in whole.char_indices() {
                    if index > 0 && (whole.len() - index).is_multiple_of(3) {
                        out.push(mark);
                    }
                    out.push(digit);
                }
            }
            _ => out.push_str(whole),
        }
        if !fraction.is_empty() {
            out.push(self.marks.point);
            out.push_str(fraction);
        }
        Ok(Value::Text(out))
    }

    fn back(&self) -> Back {
        Back::rule(Reader { marks: self.marks, grouped: self.grouped, whole: self.whole })
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        computes(kind, TEXT)
    }

    fn describe(&self) -> String {
        format!("write the number as text with the decimal mark `{}`", self.marks.point)
    }
}
