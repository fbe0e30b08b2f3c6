//! Keys: what identifies a record on its side.

use compact_str::CompactString;
use rust_decimal::prelude::ToPrimitive;

use super::value::in_doubles;
use super::{Kind, Value};

/// A key in its canonical text: a JSON array with one entry for each key
/// field (`["000001","01"]`, `[42]`). Two keys are the same key exactly when
/// their texts are the same; numbers are written without trailing zeros, so
/// that `42` and `42.00` are one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Key(CompactString);

impl Key {
    /// The key made of these values. `None` where one of them is null, or where
    /// there are none: such a record cannot be identified.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a Value>) -> Option<Key> {
        let mut out = CompactString::const_new("[");
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            match value {
                Value::Missing | Value::Null | Value::JsonNull => return None,
                Value::Integer(i) => write_display(&mut out, i),
                // As text where JSON readers would make a double of it.
                Value::Decimal(d) => match (d.fract().is_zero(), d.to_i64()) {
                    (true, Some(whole)) => write_display(&mut out, &whole),
                    _ => write_text(&mut out, &d.normalize().to_string()),
                },
                Value::Boolean(b) => write_display(&mut out, b),
                Value::Text(text) => write_text(&mut out, text),
                other => write_text(&mut out, &other.to_string()),
            }
        }
        out.push(']');
        (out != "[]").then_some(Key(out))
    }

    /// The key of a record that only the answer to its creation will tell.
    pub fn untold() -> Key {
        Key(CompactString::const_new(""))
    }

    /// A key from its canonical text, as the state keeps it.
    pub fn from_canonical(text: &str) -> Key {
        Key(CompactString::new(text))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It has no entry: it is [`Key::untold`].
    pub fn is_empty(&self) -> bool {
        matches!(self.0.as_str(), "" | "[]")
    }

    /// The entries as JSON values.
    pub fn entries(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The entries as machines are told them: numbers as text where a double
    /// would change them.
    pub fn shown(&self) -> Vec<serde_json::Value> {
        let mut entries = self.entries();
        for entry in &mut entries {
            if entry.is_number() && entry.as_i64().is_none_or(|whole| !in_doubles(whole)) {
                *entry = entry.to_string().into();
            }
        }
        entries
    }

    /// The key's values, brought into the kinds of the fields they belong to.
    pub fn values(&self, kinds: &[&Kind]) -> Vec<Value> {
        let typed = |(entry, kind): (&serde_json::Value, &&Kind)| {
            let value = Value::from_json(entry);
            kind.fit(value.clone()).unwrap_or(value)
        };
        self.entries().iter().zip(kinds).map(typed).collect()
    }

    /// As people write it: the bare value of a single field, else values
    /// joined by commas.
    pub fn plain(&self) -> String {
        let entry = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.entries().iter().map(entry).collect::<Vec<_>>().join(",")
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.plain())
    }
}

fn write_display(out: &mut CompactString, value: &impl std::fmt::Display) {
    use std::fmt::Write;
    write!(out, "{value}").expect("writing to a string cannot fail");
}

fn write_text(out: &mut CompactString, text: &str) {
    out.push('"');
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push_str(text);
    } else {
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                c if (c as u32) < 0x20 => write_display(out, &format_args!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_canonical_text() {
        let key = Key::new(&[Value::text("000001"), Value::text("01")]).unwrap();
        assert_eq!(key.as_str(), r#"["000001","01"]"#);
        assert_eq!(key.plain(), "000001,01");
        assert_eq!(Key::new(&[Value::Integer(42)]), Key::new(&[Value::Decimal("42.00".parse().unwrap())]));
        assert_eq!(Key::new(&[Value::text("a\"\\\n")]).unwrap().entries(), vec![serde_json::json!("a\"\\\n")]);
        assert_eq!(Key::new(&[Value::Null]), None);
        assert_eq!(Key::new(&[]), None);
        assert!(Key::untold().is_empty() && Key::from_canonical("[]").is_empty());
        let wide = Key::new(&[Value::Integer(9_007_199_254_740_993)]).unwrap();
        assert_eq!((wide.as_str(), wide.plain().as_str()), ("[9007199254740993]", "9007199254740993"));
        assert_eq!(wide.shown(), [serde_json::json!("9007199254740993")], "a double would change it");
        assert_eq!(wide.values(&[&Kind::Integer { bits: 64 }]), [Value::Integer(9_007_199_254_740_993)]);
    }
}
