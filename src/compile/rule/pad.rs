//! Rules that bring a text to a length.

use std::sync::Arc;

use super::arguments::{Arguments, Reported};
use super::kinds::{into_text, makes_text};
use super::{Back, Class, Definition, Example, Parameter, Rule, Takes};
use crate::compile::Trouble;
use crate::record::{Kind, Value};

const LOSS: &str = "how many of the padding characters the value had";
const CLASS: Class = Class::Depends(
    "Padding with blanks carries no meaning (normalising). Any other padding is lossy: it loses how many of these \
     characters the value had.",
);
const PARAMETERS: &[Parameter] = &[
    Parameter::argument(Takes::Count, "The length to reach, in characters."),
    Parameter::option("with", Takes::Text, "The character to fill with; a blank if left out."),
];

pub(super) static PAD_LEFT: Definition = Definition {
    name: "pad_left",
    class: CLASS,
    parameters: PARAMETERS,
    manual: "Fills a text or number at its beginning until it has the length given. What is longer stays as it is: \
             nothing is ever cut off.",
    examples: &[
        Example {
            rule: r#"{ pad_left: 6, with: "0" }"#,
            values: &[(r#""42""#, r#""000042""#), ("42", r#""000042""#), (r#""1234567""#, r#""1234567""#)],
        },
        Example { rule: "{ pad_left: 4 }", values: &[(r#""ab""#, r#""  ab""#)] },
    ],
    build: |arguments| build(arguments, End::Left),
};

pub(super) static PAD_RIGHT: Definition = Definition {
    name: "pad_right",
    class: CLASS,
    parameters: PARAMETERS,
    manual: "Fills a text or number at its end until it has the length given. What is longer stays as it is: nothing \
             is ever cut off.",
    examples: &[Example {
        rule: "{ pad_right: 6 }",
        values: &[(r#""ação""#, r#""ação  ""#), (r#""""#, r#""      ""#), ("null", "null")],
    }],
    build: |arguments| build(arguments, End::Right),
};

fn build(arguments: &mut Arguments<'_>, end: End) -> Result<Arc<dyn Rule>, Reported> {
    arguments.required("")?;
    let length = arguments.count("", 10_000);
    let with = arguments.character("with")?.unwrap_or(' ');
    Ok(Arc::new(Pad { end, length: length?.unwrap_or_default() as usize, with }))
}

#[derive(Debug, Clone, Copy)]
enum End {
    Left,
    Right,
}

#[derive(Debug)]
struct Pad {
    end: End,
    length: usize,
    with: char,
}

impl Rule for Pad {
    fn apply(&self, value: Value, _: &[Value]) -> Result<Value, Box<Trouble>> {
        let mut text = into_text(value)?;
        let length = if text.is_ascii() { text.len() } else { text.chars().count() };
        let lacking = self.length.saturating_sub(length);
        match self.end {
            _ if lacking == 0 => {}
            End::Right => text.extend(std::iter::repeat_n(self.with, lacking)),
            End::Left => {
                let mut padded = compact_str::CompactString::with_capacity(text.len() + lacking);
                padded.extend(std::iter::repeat_n(self.with, lacking));
                padded.push_str(&text);
                text = padded;
            }
        }
        Ok(Value::Text(text))
    }

    fn back(&self) -> Back {
        if self.with == ' ' { Back::Itself } else { Back::lost(LOSS) }
    }

    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str> {
        makes_text(kind)
    }

    fn describe(&self) -> String {
        let name = match self.end {
            End::Left => "pad_left",
            End::Right => "pad_right",
        };
        match self.with {
            ' ' => format!("{name} to {}", self.length),
            with => format!("{name} to {} with `{with}`", self.length),
        }
    }
}
