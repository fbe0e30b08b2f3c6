//! Rules that choose: `boolean`, `default`, `blank`. The choice by a table is
//! in [`super::map`].

use std::sync::Arc;

use compact_str::{CompactString, ToCompactString};

use super::arguments::{Arguments, Reported};
use super::kinds::{Nature, TEXT, nature, not};
use super::{Back, Class, Definition, Example, Parameter, Rule, Takes};
use crate::compile::Trouble;
use crate::diagnostic::Code;
use crate::record::{Kind, Value};

pub(super) static BOOLEAN: Definition = Definition {
    name: "boolean",
    class: Class::Depends(
        "Normalising when bare: `true` goes back as it is, and the field it arrives in makes `1`, `t` or `true` of \
         it. Invertible with texts: the first of each is written.",
    ),
    parameters: &[Parameter::argument(
        Takes::Map,
        "A mapping of `true` and `false` to the text, or the list of texts, that mean them.",
    )
    .optional()],
    manual: "Reads a text or number as true or false. Bare, it knows `true`, `t`, `yes`, `y`, `on`, `1` and their \
             opposites, whatever their case. With texts it knows these alone, exactly as written, and writes a \
             boolean as the first of them. Blank text becomes null unless it is listed.",
    examples: &[
        Example {
            rule: "boolean",
            values: &[(r#""Yes""#, "true"), ("0", "false"), (r#""""#, "null"), (r#""S""#, "refused")],
        },
        Example {
            rule: r#"{ boolean: { true: S, false: [N, ""] } }"#,
            values: &[(r#""S""#, "true"), (r#""""#, "false"), ("true", r#""S""#), (r#""X""#, "refused")],
        },
    ],
    build: build_boolean,
};

fn build_boolean(arguments: &mut Arguments<'_>) -> Result<Arc<dyn Rule>, Reported> {
    let Some(node) = arguments.argument() else { return Ok(Arc::new(Boolean)) };
    let Some(entries) = node.as_map() else {
        let message = format!("`boolean` takes a mapping, not {}", node.kind());
        let help = "write `{ boolean: { true: S, false: N } }`".to_owned();
        return Err(arguments.report(Code::WRONG_TYPE, &node.place, message, Some(help)));
    };
    let (mut yes, mut no) = (Vec::new(), Vec::new());
    for (key, texts) in entries {
        let list = match key.as_scalar().map(|scalar| scalar.text.as_str()) {
            Some("true") => &mut yes,
            Some("false") => &mut no,
            _ => {
                let message = "`boolean` has the entries `true` and `false` only".to_owned();
                return Err(arguments.report(Code::UNKNOWN_NAME, &key.place, message, None));
            }
        };
        for text in arguments.texts_of("boolean", texts)? {
            list.push(CompactString::new(text));
        }
    }
    if yes.is_empty() || no.is_empty() {
        let message = "`boolean` needs a text for `true` and one for `false`".to_owned();
        return Err(arguments.report(Code::MISSING_NAME, &node.place, message, None));
    }
    if let Some(both) = yes.iter().find(|text| no.contains(text)) {
        let message = format!("`{both}` cannot mean both `true` and `false`");
        return Err(arguments.report(Code::BAD_VALUE, &node.place, message, None));
    }
    Ok(Arc::new(Words { yes, no }))
}

/// `boolean` without texts of its own.
#[derive(Debug)]
struct Boolean;

impl Rule for Boolean {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let boolean = match &value {
            Value::Boolean(boolean) => Some(*boolean),
            Value::Integer(0) => Some(false),
            Value::Integer(1) => Some(true),
            Value::Decimal(number) if number.is_zero() => Some(false),
            Value::Decimal(number) if *number == rust_decimal::Decimal::ONE => Some(true),
            Value::Text(text) => {
                let word = text.trim();
                if word.is_empty() {
                    return Ok(Value::Null);
                }
                let is = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
                if is(&["true", "t", "yes", "y", "on", "1"]) {
                    Some(true)
                } else if is(&["false", "f", "no", "n", "off", "0"]) {
                    Some(false)
                } else {
                    None
                }
            }
            _ => None,
        };
        boolean.map(Value::Boolean).ok_or_else(|| not(&value, "true or false"))
    }

    fn back(&self) -> Back {
        Back::Itself
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        match nature(kind) {
            Nature::Unknown | Nature::Text | Nature::Number | Nature::Boolean => Ok(Kind::Boolean),
            _ => Err("text, a number or a boolean"),
        }
    }

    fn describe(&self) -> String {
        "boolean".into()
    }
}

/// `boolean` with its texts; both ways by what comes in.
#[derive(Debug, Clone)]
struct Words {
    yes: Vec<CompactString>,
    no: Vec<CompactString>,
}

impl Rule for Words {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let text = match &value {
            Value::Boolean(true) => return Ok(Value::Text(self.yes[0].clone())),
            Value::Boolean(false) => return Ok(Value::Text(self.no[0].clone())),
            Value::Text(text) => text.clone(),
            Value::Integer(integer) => integer.to_compact_string(),
            Value::Decimal(decimal) => decimal.normalize().to_compact_string(),
            other => return Err(not(other, "true or false")),
        };
        if self.yes.contains(&text) {
            Ok(Value::Boolean(true))
        } else if self.no.contains(&text) {
            Ok(Value::Boolean(false))
        } else if text.trim().is_empty() {
            Ok(Value::Null)
        } else {
            let message = format!("`{text}` is none of the texts that mean true or false");
            Err(Trouble::with(Code::UNLISTED_VALUE, &value, message))
        }
    }

    fn back(&self) -> Back {
        Back::rule(self.clone())
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        match nature(kind) {
            Nature::Unknown => Ok(Kind::Any),
            Nature::Text | Nature::Number => Ok(Kind::Boolean),
            Nature::Boolean => Ok(TEXT),
            _ => Err("text or a boolean"),
        }
    }

    fn describe(&self) -> String {
        format!("boolean: true is `{}`, false is `{}`", self.yes.join("`, `"), self.no.join("`, `"))
    }
}

pub(super) static DEFAULT: Definition = Definition {
    name: "default",
    class: Class::Lossy("whether there was a value"),
    parameters: &[Parameter::argument(Takes::Value, "The value to take.")],
    manual: "Takes this value where there is none. Empty text is a value; put `blank` before it where it is not.",
    examples: &[
        Example { rule: "{ default: unknown }", values: &[("null", r#""unknown""#), (r#""""#, r#""""#), ("0", "0")] },
        Example { rule: "{ default: false }", values: &[("null", "false")] },
    ],
    build: |arguments| {
        let node = arguments.required("")?;
        Ok(Arc::new(Default(arguments.value("", node)?)))
    },
};

#[derive(Debug)]
struct Default(Value);

impl Rule for Default {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        Ok(if value.is_null() { self.0.clone() } else { value })
    }

    fn back(&self) -> Back {
        Back::lost("whether there was a value")
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        Ok(match (nature(kind), &self.0) {
            (Nature::Text, Value::Text(_)) | (Nature::Boolean, Value::Boolean(_)) => kind.clone(),
            _ => Kind::Any,
        })
    }

    fn describe(&self) -> String {
        format!("default `{}`", self.0)
    }

    fn sees_null(&self) -> bool {
        true
    }
}

pub(super) static BLANK: Definition = Definition {
    name: "blank",
    class: Class::Normalising,
    parameters: &[Parameter::argument(
        Takes::Texts,
        "The text, or list of texts, that mean null; empty text if left out.",
    )
    .optional()],
    manual: "Makes null of texts that mean nothing. Blanks around the value are not looked at, so that the bare rule \
             also takes text of nothing but blanks. Null and these texts mean the same from then on, so the way back \
             is null itself; where a column takes no null, say `reverse: [{ default: \"\" }]`.",
    examples: &[
        Example { rule: "blank", values: &[(r#""   ""#, "null"), (r#""-""#, r#""-""#)] },
        Example {
            rule: r#"{ blank: ["", "-", "/  /"] }"#,
            values: &[(r#""  /  /    ""#, "null"), (r#""a""#, r#""a""#)],
        },
    ],
    build: |arguments| {
        let texts = arguments.texts("")?.unwrap_or_else(|| vec![""]);
        Ok(Arc::new(Blank(texts.into_iter().map(|text| text.trim().into()).collect())))
    },
};

#[derive(Debug)]
struct Blank(Vec<CompactString>);

impl Rule for Blank {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        match &value {
            Value::Text(text) if self.0.iter().any(|blank| blank == text.trim()) => Ok(Value::Null),
            _ => Ok(value),
        }
    }

    fn back(&self) -> Back {
        Back::Itself
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        Ok(kind.clone())
    }

    fn describe(&self) -> String {
        format!("blank `{}`", self.0.join("`, `"))
    }
}
