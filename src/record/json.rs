//! JSON text to values and back, every number exactly as written.
//!
//! A general JSON library reads `19.90` into a double; here it stays a
//! decimal, and a decimal is written as a JSON number again.

use compact_str::CompactString;
use indexmap::IndexMap;

use super::{Value, parse_number};

/// Documents nested deeper than this are not read as structure.
const DEEPEST: usize = 128;

/// A number with an exponent is spelled out up to this many digits, as many as
/// PostgreSQL gives a number. What is longer is not read.
const LONGEST: u64 = 131_072;

/// The value a JSON text stands for; `None` where it is not JSON.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    (reader.at == text.len()).then_some(value)
}

/// The value of a field that holds the document `text`: a `null` there is a
/// document, not the want of one. `None` where it is not JSON.
pub(crate) fn document(text: &str) -> Option<Value> {
    parse(text).map(|value| if value.is_null() { Value::JsonNull } else { value })
}

/// The one JSON text of a document, whatever the order of its keys.
pub(crate) fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::List(items) => Value::List(Box::new(items.iter().map(sorted).collect())),
            Value::Map(map) => {
                let mut map: IndexMap<_, _> = map.iter().map(|(key, item)| (key.clone(), sorted(item))).collect();
                map.sort_unstable_keys();
                Value::Map(Box::new(map))
            }
            other => other.clone(),
        }
    }
    let mut out = String::new();
    write(&sorted(value), &mut out);
    out
}

/// The JSON text of a value: numbers as numbers, times and bytes as the text
/// [`Value`] prints for them. A number JSON has no form for (`NaN`) becomes
/// text.
pub(crate) fn write(value: &Value, out: &mut String) {
    use std::fmt::Write;
    let plain = |out: &mut String, value: &dyn std::fmt::Display| {
        write!(out, "{value}").expect("writing to a string cannot fail");
    };
    match value {
        Value::Missing | Value::Null | Value::JsonNull => out.push_str("null"),
        Value::Boolean(b) => plain(out, b),
        Value::Integer(i) => plain(out, i),
        Value::Decimal(d) => plain(out, d),
        Value::WideDecimal(text) if parse_number(text).is_some() => out.push_str(text),
        Value::Float(f) if f.is_finite() => plain(out, f),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(item, out);
            }
            out.push('}');
        }
        Value::Text(text) => write_text(text, out),
        other => write_text(&other.to_string(), out),
    }
}

fn write_text(text: &str, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => {
                write!(out, "\\u{:04x}", c as u32).expect("writing to a string cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.blanks();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        self.blanks();
        match self.peek()? {
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Boolean(true)),
            b'f' => self.word("false", Value::Boolean(false)),
            b'"' => self.string().map(Value::Text),
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                if !self.eat(b']') {
                    loop {
                        items.push(self.value(depth + 1)?);
                        if self.eat(b']') {
                            break;
                        }
                        self.eat(b',').then_some(())?;
                    }
                }
                Some(Value::List(Box::new(items)))
            }
            b'{' => {
                self.at += 1;
                let mut map = IndexMap::new();
                if !self.eat(b'}') {
                    loop {
                        self.blanks();
                        let key = self.string()?;
                        self.eat(b':').then_some(())?;
                        map.insert(key, self.value(depth + 1)?);
                        if self.eat(b'}') {
                            break;
                        }
                        self.eat(b',').then_some(())?;
                    }
                }
                Some(Value::Map(Box::new(map)))
            }
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Option<Value> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let (number, bytes) = (&rest[..end], rest.as_bytes());
        self.at += end;
        if !matches!(bytes.first(), Some(b'-' | b'0'..=b'9')) {
            return None;
        }
        match number.find(['e', 'E']) {
            None => parse_number(number).map(Value::from),
            Some(e) => {
                let exponent: i64 = number[e + 1..].parse().ok()?;
                parse_number(&spell_out(&number[..e], exponent)?).map(Value::from)
            }
        }
    }

    fn string(&mut self) -> Option<CompactString> {
        if self.peek() != Some(b'"') {
            return None;
        }
        self.at += 1;
        let mut out = CompactString::default();
        loop {
            let rest: &'a str = &self.text[self.at..];
            let stop = rest.find(['"', '\\'])?;
            out.push_str(&rest[..stop]);
            self.at += stop + 1;
            if rest.as_bytes()[stop] == b'"' {
                return Some(out);
            }
            let escape = self.peek()?;
            self.at += 1;
            match escape {
                b'n' => out.push('\n'),
                b't' => out.push('\t'),
                b'r' => out.push('\r'),
                b'b' => out.push('\u{8}'),
                b'f' => out.push('\u{c}'),
                b'"' | b'\\' | b'/' => out.push(char::from(escape)),
                b'u' => {
                    let first = self.hex()?;
                    let code = if (0xd800..0xdc00).contains(&first) {
                        self.text[self.at..].starts_with("\\u").then_some(())?;
                        self.at += 2;
                        let second = self.hex()?;
                        (0xdc00..0xe000).contains(&second).then_some(())?;
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    } else {
                        first
                    };
                    out.push(char::from_u32(code)?);
                }
                _ => return None,
            }
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
        u32::from_str_radix(digits, 16).ok()
    }
}

/// `1.5` and `3` to `1500`.
fn spell_out(mantissa: &str, exponent: i64) -> Option<String> {
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    if point.unsigned_abs() > LONGEST {
        return None;
    }
    let length = i64::try_from(all.len()).ok()?;
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    Some(if point <= 0 {
        format!("{sign}0.{}{all}", zeros(-point))
    } else if point >= length {
        format!("{sign}{all}{}", zeros(point - length))
    } else {
        let point = usize::try_from(point).ok()?;
        format!("{sign}{}.{}", &all[..point], &all[point..])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::same;

    fn round(text: &str) -> String {
        let mut out = String::new();
        write(&parse(text).unwrap(), &mut out);
        out
    }

    #[test]
    fn numbers_keep_every_digit() {
        for text in ["19.90", "12345678901234567890.12", "-0.5", "0", "123456789012345678901234567890123456789.5"] {
            assert_eq!(round(text), text);
        }
        assert_eq!(round("1.50e3"), "1500");
        assert_eq!(round("-12e-3"), "-0.012");
        assert_eq!(round("12.345e1"), "123.45");
    }

    #[test]
    fn structure_and_escapes_come_back() {
        let text = r#"{"a":[1,null,true,{"ç":"é\"\\"}],"b":""}"#;
        assert_eq!(round(text), text);
        assert_eq!(parse(r#" "\u00e9\ud83d\ude00\n" "#), Some(Value::text("é😀\n")));
        assert_eq!(round("\"\\u0001\""), "\"\\u0001\"");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "[1,]", "{\"a\" 1}", "nul", "1 2", "\"a", "+1", ".5", "\"\\ud800\"", "1e", "--1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"[".repeat(10_000)), None);
    }

    #[test]
    fn a_null_is_a_document() {
        assert_eq!(document(" null"), Some(Value::JsonNull));
        assert_eq!(document("[null]"), parse("[null]"));
        assert_eq!(canonical(&Value::JsonNull), "null");
        assert_eq!(
            canonical(&parse(r#"{"b": 1.10, "a": [{"d":1,"c":null}]}"#).unwrap()),
            r#"{"a":[{"c":null,"d":1}],"b":1.10}"#
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"[-+0-9eE.\[\]{},:"\\ntrufalsé ]{0,40}|\PC{0,40}"#) {
            if let Some(value) = parse(&text) {
                let mut out = String::new();
                write(&value, &mut out);
                let again = parse(&out);
                prop_assert!(again.is_some_and(|again| same(&again, &value)), "{text} is written as {out}");
            }
        }
    }
}
