//! Rules that are whatever an author writes: `template`, `expression`.

use std::sync::Arc;

use super::arguments::{Arguments, Reported};
use super::{Back, Class, Definition, Example, Parameter, Rule, Takes};
use crate::compile::Trouble;
use crate::compile::expression::{Expression, Input, Resolve, Template};
use crate::config::tree::At;
use crate::record::{Kind, Value};

pub(super) static TEMPLATE: Definition = Definition {
    name: "template",
    class: Class::Lossy("the parts it was made of"),
    parameters: &[Parameter::argument(Takes::Text, "A Jinja template.")],
    manual: "Makes a text from a Jinja template. `value` is the value so far, bare names are the fields of the side \
             that is read, `record[\"A NAME\"]` a field with any name. Every rule is also a filter. Null prints as \
             nothing.",
    examples: &[Example {
        rule: r#"{ template: "{{ value | trim }}{% if value is blank %}-{% endif %}!" }"#,
        values: &[(r#"" ana ""#, r#""ana!""#), ("null", r#""-!""#), ("1.50", r#""1.50!""#)],
    }],
    build: |arguments| {
        let text = text(arguments)?;
        let mut names = WithValue(&mut *arguments.resolve);
        let template = Template::compile(&text, &mut names, arguments.diagnostics).ok_or(Reported)?;
        Ok(Arc::new(Filled(template)))
    },
};

pub(super) static EXPRESSION: Definition = Definition {
    name: "expression",
    class: Class::Lossy("what it was computed from"),
    parameters: &[Parameter::argument(Takes::Text, "An expression in Jinja's language.")],
    manual: "Computes a value by an expression. Numbers are exact. `value` is the value so far, bare names are the \
             fields of the side that is read. Null computes to null.",
    examples: &[
        Example {
            rule: r#"{ expression: "value * 2 + 0.1" }"#,
            values: &[("0.2", "0.5"), ("null", "null"), (r#""x""#, "refused")],
        },
        Example { rule: r#"{ expression: "'adult' if value >= 18 else 'minor'" }"#, values: &[("20", r#""adult""#)] },
    ],
    build: |arguments| {
        let text = text(arguments)?;
        let mut names = WithValue(&mut *arguments.resolve);
        let expression = Expression::compile(&text, &mut names, arguments.diagnostics).ok_or(Reported)?;
        Ok(Arc::new(Computed(expression)))
    },
};

fn text(arguments: &mut Arguments<'_>) -> Result<At<String>, Reported> {
    let node = arguments.required("")?;
    let text = arguments.text("")?.unwrap_or_default();
    Ok(At::new(text.to_owned(), node.place.clone()))
}

/// Inside a rule there is always a value.
struct WithValue<'a>(&'a mut dyn Resolve);

impl Resolve for WithValue<'_> {
    fn slot(&mut self, name: &str) -> Result<usize, Option<String>> {
        self.0.slot(name)
    }

    fn has_value(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Filled(Template);

impl Rule for Filled {
    fn apply(&self, value: Value, row: &[Value]) -> Result<Value, Box<Trouble>> {
        self.0.render(Input { row, value: Some(&value) }).map(Value::Text)
    }

    fn back(&self) -> Back {
        Back::lost("the parts it was made of")
    }

    fn gives(&self, _: &Kind) -> Result<Kind, &'static str> {
        Ok(super::kinds::TEXT)
    }

    fn describe(&self) -> String {
        format!("template `{}`", self.0.text())
    }

    fn sees_null(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Computed(Expression);

impl Rule for Computed {
    fn apply(&self, value: Value, row: &[Value]) -> Result<Value, Box<Trouble>> {
        self.0.eval(Input { row, value: Some(&value) })
    }

    fn back(&self) -> Back {
        Back::lost("what it was computed from")
    }

    fn gives(&self, _: &Kind) -> Result<Kind, &'static str> {
        Ok(Kind::Any)
    }

    fn describe(&self) -> String {
        format!("expression `{}`", self.0.text())
    }

    fn sees_null(&self) -> bool {
        true
    }
}
