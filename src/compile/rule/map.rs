//! `map`: the choice by a table.

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::{CompactString, ToCompactString};

use super::arguments::{Arguments, Reported, literal};
use super::kinds::{TEXT, not};
use super::{Back, Class, Definition, Example, Parameter, Rule, Takes};
use crate::compile::Trouble;
use crate::compile::trouble::shown;
use crate::diagnostic::{Code, Place, nearest};
use crate::record::{Kind, Value, parse_number};

pub(super) static MAP: Definition = Definition {
    name: "map",
    class: Class::Depends(
        "Invertible if no two entries have the same value, none has null, and there is no `default`. Lossy otherwise: \
         it loses which of the entries it was.",
    ),
    parameters: &[
        Parameter::argument(Takes::Map, "A mapping of values that come in to values that go out."),
        Parameter::option(
            "default",
            Takes::Value,
            "What becomes of a value that is not listed; without it, such a value is rejected.",
        ),
    ],
    manual: "Looks the value up in a table. A text that comes in is compared exactly: `1` and `\"1\"` are the same \
             entry, `\"1 \"` is another. A number is compared as a number: 2 is `2`, `02` and `2.0`, and refused where \
             several entries are it. What goes out is true, false or null where that is written without \
             quotes, else the text, which the field it arrives in makes a number of if it holds numbers. Null passes.",
    examples: &[
        Example {
            rule: r#"{ map: { "2": true, "1": false } }"#,
            values: &[(r#""2""#, "true"), ("1", "false"), (r#""3""#, "refused"), ("null", "null")],
        },
        Example {
            rule: r#"{ map: { "1": low, "2.50": high, "03": odd, "3": even } }"#,
            values: &[("1.0", r#""low""#), ("2.5", r#""high""#), ("3", "refused"), (r#""03""#, r#""odd""#)],
        },
        Example {
            rule: "{ map: { S: active }, default: inactive }",
            values: &[(r#""S""#, r#""active""#), (r#""""#, r#""inactive""#)],
        },
    ],
    build,
};

fn build(arguments: &mut Arguments<'_>) -> Result<Arc<dyn Rule>, Reported> {
    let node = arguments.required("")?;
    let Some(entries) = node.as_map().filter(|entries| !entries.is_empty()) else {
        let message = match node.as_map() {
            Some(_) => "a `map` without entries".to_owned(),
            None => format!("`map` takes a mapping of values, not {}", node.kind()),
        };
        let help = "write `{ map: { S: true, N: false } }`".to_owned();
        return Err(arguments.report(Code::WRONG_TYPE, &node.place, message, Some(help)));
    };
    let mut table = Vec::with_capacity(entries.len());
    let mut wrong = false;
    for (key, value) in entries {
        let Some(scalar) = key.as_scalar() else { continue };
        if scalar.is_null() {
            let help = "null passes every rule; `default` as a rule of its own gives it a value".to_owned();
            arguments.report(Code::BAD_VALUE, &key.place, "null cannot be an entry of `map`".into(), Some(help));
            wrong = true;
            continue;
        }
        match arguments.value("map", value) {
            Ok(to) => table.push(Entry { from: literal(scalar), to, place: key.place.clone() }),
            Err(Reported) => wrong = true,
        }
    }
    let default = match arguments.option("default") {
        Some(node) => Some((arguments.value("default", node)?, node.place.clone())),
        None => None,
    };
    if wrong {
        return Err(Reported);
    }
    Ok(Arc::new(Map::new(table, default)))
}

#[derive(Debug, Clone)]
struct Entry {
    from: Value,
    to: Value,
    place: Place,
}

/// Tables up to this size are searched from top to bottom.
const SMALL: usize = 8;

#[derive(Debug, Clone)]
struct Map {
    /// The texts of what comes in, in the order of `entries`.
    texts: Vec<CompactString>,
    entries: Vec<Entry>,
    /// Places in `texts`, for tables that are not small.
    index: HashMap<CompactString, usize>,
    /// The places of entries that are numbers, by the one way of writing them.
    numbers: HashMap<CompactString, Vec<usize>>,
    default: Option<(Value, Place)>,
}

impl Map {
    fn new(entries: Vec<Entry>, default: Option<(Value, Place)>) -> Map {
        let texts: Vec<CompactString> = entries.iter().map(|entry| entry.from.to_compact_string()).collect();
        let index = match texts.len() {
            0..=SMALL => HashMap::new(),
            _ => texts.iter().cloned().enumerate().map(|(place, text)| (text, place)).collect(),
        };
        let mut numbers: HashMap<CompactString, Vec<usize>> = HashMap::new();
        for (place, text) in texts.iter().enumerate() {
            if let Some(number) = parse_number(text) {
                numbers.entry(plain(&number.into())).or_default().push(place);
            }
        }
        Map { texts, entries, index, numbers, default }
    }

    fn find(&self, text: &str) -> Option<usize> {
        if self.texts.len() <= SMALL {
            self.texts.iter().position(|known| known == text)
        } else {
            self.index.get(text).copied()
        }
    }
}

impl Rule for Map {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let found = match &value {
            Value::Text(text) => self.find(text),
            Value::Integer(_) | Value::Decimal(_) | Value::WideDecimal(_) | Value::Float(_) => {
                match self.numbers.get(&plain(&value)).map(Vec::as_slice) {
                    Some([place]) => Some(*place),
                    Some([one, other, ..]) => {
                        let (one, other) = (&self.texts[*one], &self.texts[*other]);
                        let message = format!("{} is both `{one}` and `{other}` in `map`", shown(&value));
                        return Err(Trouble::with(Code::UNLISTED_VALUE, &value, message));
                    }
                    // `NaN` and its like are none.
                    _ => self.find(&value.to_compact_string()),
                }
            }
            Value::List(_) | Value::Map(_) | Value::Bytes(_) => return Err(not(&value, "a single value")),
            other => self.find(&other.to_compact_string()),
        };
        match (found, &self.default) {
            (Some(place), _) => Ok(self.entries[place].to.clone()),
            (None, Some((default, _))) => Ok(default.clone()),
            (None, None) => {
                let near = nearest(&value.to_string(), self.texts.iter().map(CompactString::as_str))
                    .map_or_else(String::new, |near| format!("; the nearest entry is `{near}`"));
                let message = format!("{} is not listed in `map`{near}", shown(&value));
                Err(Trouble::with(Code::UNLISTED_VALUE, &value, message))
            }
        }
    }

    fn back(&self) -> Back {
        if let Some((default, _)) = &self.default {
            return Back::lost(format!("which unlisted value became the default `{default}`"));
        }
        let mut first: HashMap<CompactString, usize> = HashMap::with_capacity(self.entries.len());
        for (index, entry) in self.entries.iter().enumerate() {
            let from = &self.texts[index];
            if entry.to.is_null() {
                let places = vec![(entry.place.clone(), "this entry becomes null".to_owned())];
                return Back::Lost(
                    format!("the entry `{from}`: it becomes null, which passes on the way back"),
                    places,
                );
            }
            let text = entry.to.to_compact_string();
            if let Some(&twin) = first.get(&text) {
                let other = &self.texts[twin];
                let places = vec![
                    (self.entries[twin].place.clone(), format!("`{other}` becomes `{text}`")),
                    (entry.place.clone(), format!("`{from}` becomes `{text}` as well")),
                ];
                return Back::Lost(format!("whether `{text}` was `{other}` or `{from}`"), places);
            }
            first.insert(text, index);
        }
        let swap = |entry: &Entry| Entry { from: entry.to.clone(), to: entry.from.clone(), place: entry.place.clone() };
        Back::rule(Map::new(self.entries.iter().map(swap).collect(), None))
    }

    fn gives(&self, _: &Kind) -> Result<Kind, &'static str> {
        let mut values = self.writes().into_iter().map(|(value, _)| value).filter(|value| !value.is_null());
        let booleans = values.clone().all(|value| matches!(value, Value::Boolean(_)));
        // Digits may become numbers where they arrive, so only words are text for sure.
        let words = values.all(|value| matches!(value, Value::Text(text) if parse_number(text).is_none()));
        Ok(match (booleans, words) {
            (true, _) => Kind::Boolean,
            (_, true) => TEXT,
            _ => Kind::Any,
        })
    }

    fn writes(&self) -> Vec<(&Value, &Place)> {
        let default = self.default.iter().map(|(value, place)| (value, place));
        self.entries.iter().map(|entry| (&entry.to, &entry.place)).chain(default).collect()
    }

    fn describe(&self) -> String {
        let mut pairs: Vec<String> =
            self.texts.iter().zip(&self.entries).map(|(from, entry)| format!("`{from}` to `{}`", entry.to)).collect();
        if let Some((default, _)) = &self.default {
            pairs.push(format!("all else to `{default}`"));
        }
        format!("map {}", pairs.join(", "))
    }
}

/// The one way of writing a number.
fn plain(number: &Value) -> CompactString {
    match number {
        Value::Decimal(decimal) => decimal.normalize().to_compact_string(),
        Value::Float(float) => match parse_number(&float.to_string()) {
            Some(number) => plain(&number.into()),
            None => float.to_compact_string(),
        },
        other => other.to_compact_string(),
    }
}
