//! Rules that edit text: blanks, case, replacements.

use std::sync::Arc;

use compact_str::CompactString;

use super::arguments::{Arguments, Reported};
use super::kinds::{edit, edits_text, into_text, makes_text};
use super::{Back, Class, Definition, Example, Parameter, Rule, Takes};
use crate::compile::Trouble;
use crate::diagnostic::Code;
use crate::record::{Kind, Value};

pub(super) static TRIM: Definition = Definition {
    name: "trim",
    class: Class::Normalising,
    parameters: &[],
    manual: "Drops blanks at both ends of a text. Blanks are all white space of Unicode, line breaks included. \
             They carry no meaning, so a two-way field needs no `reverse`.",
    examples: &[Example {
        rule: "trim",
        values: &[(r#""  ana  ""#, r#""ana""#), (r#""   ""#, r#""""#), ("42", "42"), ("null", "null")],
    }],
    build: |_| Ok(Arc::new(Trim)),
};

#[derive(Debug)]
struct Trim;

impl Rule for Trim {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        edit(value, |mut text| {
            let end = text.trim_end().len();
            text.truncate(end);
            let start = end - text.trim_start().len();
            if start == 0 { text } else { CompactString::new(&text[start..]) }
        })
    }

    fn back(&self) -> Back {
        Back::Itself
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        edits_text(kind)
    }

    fn describe(&self) -> String {
        "trim".into()
    }

    fn slicer(&self) -> Option<fn(&str) -> &str> {
        Some(str::trim)
    }
}

pub(super) static UPPER_CASE: Definition = Definition {
    name: "upper_case",
    class: Class::Lossy("which letters were small"),
    parameters: &[],
    manual: "Makes every letter a capital.",
    examples: &[Example {
        rule: "upper_case", values: &[(r#""São Paulo""#, r#""SÃO PAULO""#), (r#""ß""#, r#""SS""#)]
    }],
    build: |_| Ok(Arc::new(Case::Upper)),
};

pub(super) static LOWER_CASE: Definition = Definition {
    name: "lower_case",
    class: Class::Lossy("which letters were capitals"),
    parameters: &[],
    manual: "Makes every letter small.",
    examples: &[Example { rule: "lower_case", values: &[(r#""Ana@Example.COM""#, r#""ana@example.com""#)] }],
    build: |_| Ok(Arc::new(Case::Lower)),
};

pub(super) static TITLE_CASE: Definition = Definition {
    name: "title_case",
    class: Class::Lossy("which letters were capitals"),
    parameters: &[],
    manual: "Begins every word with a capital and makes the other letters small. A word begins after anything that is \
             neither letter nor digit; after an apostrophe only where more than one letter follows, so that `D'AVILA` \
             becomes `D'Avila` and `JOHN'S` becomes `John's`.",
    examples: &[Example {
        rule: "title_case",
        values: &[
            (r#""ANA MARIA""#, r#""Ana Maria""#),
            (r#""joão d'ávila-luz""#, r#""João D'Ávila-Luz""#),
            (r#""JOHN'S 2ND CAR""#, r#""John's 2nd Car""#),
        ],
    }],
    build: |_| Ok(Arc::new(Case::Title)),
};

#[derive(Debug)]
enum Case {
    Upper,
    Lower,
    Title,
}

impl Rule for Case {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        edit(value, |mut text| {
            let ascii = text.is_ascii();
            match self {
                Case::Upper if ascii => text.make_ascii_uppercase(),
                Case::Lower if ascii => text.make_ascii_lowercase(),
                Case::Upper => return text.to_uppercase(),
                Case::Lower => return text.to_lowercase(),
                Case::Title if ascii => title_ascii(&mut text),
                Case::Title => return title(&text),
            }
            text
        })
    }

    fn back(&self) -> Back {
        Back::lost(match self {
            Case::Upper => "which letters were small",
            Case::Lower | Case::Title => "which letters were capitals",
        })
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        edits_text(kind)
    }

    fn describe(&self) -> String {
        match self {
            Case::Upper => "upper_case",
            Case::Lower => "lower_case",
            Case::Title => "title_case",
        }
        .into()
    }
}

fn title_ascii(text: &mut CompactString) {
    text.make_ascii_lowercase();
    let mut inside = false;
    for index in 0..text.len() {
        let byte = text.as_bytes()[index];
        if byte.is_ascii_alphanumeric() {
            if !inside {
                text.as_mut_str()[index..=index].make_ascii_uppercase();
            }
            inside = true;
        } else {
            let rest = &text.as_bytes()[index + 1..];
            let begins = rest.iter().take(2).filter(|b| b.is_ascii_alphabetic()).count() == 2;
            inside = inside && byte == b'\'' && !begins;
        }
    }
}

fn title(text: &str) -> CompactString {
    let mut out = CompactString::with_capacity(text.len());
    let mut inside = false;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character.is_alphanumeric() {
            if inside && character == 'Σ' && !rest.clone().next().is_some_and(char::is_alphanumeric) {
                // The one letter that has a form of its own at the end of a word.
                out.push('ς');
            } else if inside {
                out.extend(character.to_lowercase());
            } else {
                // Of a letter that takes two in capitals only the first is one.
                let mut capitals = character.to_uppercase();
                out.extend(capitals.next());
                out.extend(capitals.flat_map(char::to_lowercase));
            }
            inside = true;
        } else {
            let begins = rest.clone().take(2).filter(|c| c.is_alphabetic()).count() == 2;
            inside = inside && (is_mark(character) || matches!(character, '\'' | '’') && !begins);
            out.push(character);
        }
    }
    out
}

/// Combining accents belong to the letter before them.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}')
}

pub(super) static REPLACE: Definition = Definition {
    name: "replace",
    class: Class::Lossy("what stood where the new text stands"),
    parameters: &[
        Parameter::argument(
            Takes::TextOrMap,
            "The text to replace wherever it stands, or a mapping of texts to their replacements, applied in order.",
        ),
        Parameter::option("with", Takes::Text, "What takes its place; nothing if left out."),
    ],
    manual: "Replaces a text by another wherever it stands. Letters must agree exactly, case included.",
    examples: &[
        Example { rule: r#"{ replace: "-", with: " " }"#, values: &[(r#""a-b-c""#, r#""a b c""#)] },
        Example {
            rule: r#"{ replace: { ".": "", "-": "" } }"#,
            values: &[(r#""123.456-7""#, r#""1234567""#), ("12.5", r#""125""#)],
        },
    ],
    build: replace,
};

fn replace(arguments: &mut Arguments<'_>) -> Result<Arc<dyn Rule>, Reported> {
    let node = arguments.required("")?;
    let mut pairs: Vec<(Box<str>, CompactString)> = Vec::new();
    if let Some(entries) = node.as_map() {
        if let Some(with) = arguments.option("with") {
            let message = "`with` goes with a single text, not with a mapping".to_owned();
            return Err(arguments.report(Code::BAD_VALUE, &with.place, message, None));
        }
        for (key, value) in entries {
            let (Some(from), Some(to)) = (key.text(), value.text()) else {
                let message = "`replace` takes a mapping of texts".to_owned();
                return Err(arguments.report(Code::WRONG_TYPE, &value.place, message, None));
            };
            pairs.push((from.into(), to.into()));
        }
    } else {
        let from = arguments.text("")?.unwrap_or_default();
        pairs.push((from.into(), arguments.text("with")?.unwrap_or_default().into()));
    }
    if pairs.iter().any(|(from, _)| from.is_empty()) {
        return Err(arguments.report(Code::BAD_VALUE, &node.place, "nothing cannot be replaced".into(), None));
    }
    Ok(Arc::new(Replace(pairs)))
}

#[derive(Debug)]
struct Replace(Vec<(Box<str>, CompactString)>);

impl Rule for Replace {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let mut text = into_text(value)?;
        for (from, to) in &self.0 {
            if text.contains(&**from) {
                text = CompactString::from(text.replace(&**from, to));
            }
        }
        Ok(Value::Text(text))
    }

    fn back(&self) -> Back {
        Back::lost("what stood where the new text stands")
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        makes_text(kind)
    }

    fn describe(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(from, to)| format!("`{from}` by `{to}`")).collect();
        format!("replace {}", pairs.join(", "))
    }
}

pub(super) static DIGITS: Definition = Definition {
    name: "digits",
    class: Class::Lossy("every character that is not a digit"),
    parameters: &[],
    manual: "Keeps the digits 0 to 9 and drops everything else. Good for tax numbers and telephones, above all under `equal`.",
    examples: &[Example {
        rule: "digits",
        values: &[(r#""123.456.789-09""#, r#""12345678909""#), (r#""none""#, r#""""#), ("42", r#""42""#)],
    }],
    build: |_| Ok(Arc::new(Digits)),
};

#[derive(Debug)]
struct Digits;

impl Rule for Digits {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let mut text = into_text(value)?;
        text.retain(|character| character.is_ascii_digit());
        Ok(Value::Text(text))
    }

    fn back(&self) -> Back {
        Back::lost("every character that is not a digit")
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        makes_text(kind)
    }

    fn describe(&self) -> String {
        "digits".into()
    }
}
