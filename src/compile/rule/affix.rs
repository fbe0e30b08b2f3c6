//! Rules that put a text before or after a value, and take it off again.

use std::sync::Arc;

use super::arguments::{Arguments, Reported};
use super::kinds::{into_text, makes_text};
use super::{Back, Class, Definition, Example, Parameter, Rule, Takes};
use crate::compile::Trouble;
use crate::diagnostic::Code;
use crate::record::{Kind, Value};

pub(super) static PREFIX: Definition = Definition {
    name: "prefix",
    class: Class::Invertible,
    parameters: &[Parameter::argument(Takes::Text, "The text to put before the value.")],
    manual: "Puts a text before the value. On the way back it is taken off; a value that does not begin with it is \
             rejected.",
    examples: &[Example { rule: "{ prefix: BR- }", values: &[(r#""0042""#, r#""BR-0042""#), ("42", r#""BR-42""#)] }],
    build: |arguments| build(arguments, End::Before),
};

pub(super) static SUFFIX: Definition = Definition {
    name: "suffix",
    class: Class::Invertible,
    parameters: &[Parameter::argument(Takes::Text, "The text to put after the value.")],
    manual: "Puts a text after the value. On the way back it is taken off; a value that does not end with it is \
             rejected.",
    examples: &[Example { rule: r#"{ suffix: " kg" }"#, values: &[("2.5", r#""2.5 kg""#)] }],
    build: |arguments| build(arguments, End::After),
};

fn build(arguments: &mut Arguments<'_>, end: End) -> Result<Arc<dyn Rule>, Reported> {
    arguments.required("")?;
    let text = arguments.text("")?.unwrap_or_default().into();
    Ok(Arc::new(Affix { end, text, off: false }))
}

#[derive(Debug, Clone, Copy)]
enum End {
    Before,
    After,
}

#[derive(Debug, Clone)]
struct Affix {
    end: End,
    text: Box<str>,
    /// Taken off instead of put on.
    off: bool,
}

impl Rule for Affix {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let mut text = into_text(value)?;
        match (self.end, self.off) {
            (End::Before, false) => text.insert_str(0, &self.text),
            (End::After, false) => text.push_str(&self.text),
            (End::Before, true) if text.starts_with(&*self.text) => {
                text.replace_range(..self.text.len(), "");
            }
            (End::After, true) if text.ends_with(&*self.text) => {
                text.truncate(text.len() - self.text.len());
            }
            (end, true) => {
                let end = match end {
                    End::Before => "begin",
                    End::After => "end",
                };
                let message = format!("`{text}` does not {end} with `{}`", self.text);
                return Err(Trouble::with(Code::NOT_THE_FORM, &Value::Text(text), message));
            }
        }
        Ok(Value::Text(text))
    }

    fn back(&self) -> Back {
        Back::rule(Affix { off: !self.off, ..self.clone() })
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        makes_text(kind)
    }

    fn describe(&self) -> String {
        let name = match self.end {
            End::Before => "prefix",
            End::After => "suffix",
        };
        if self.off { format!("take off {name} `{}`", self.text) } else { format!("{name} `{}`", self.text) }
    }
}
