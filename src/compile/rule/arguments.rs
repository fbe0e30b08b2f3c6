//! Reading a rule's argument and options, with a diagnostic for each problem.

use std::sync::Arc;

use compact_str::CompactString;
use rust_decimal::Decimal;

use super::{Definition, Parameter, Rule, RuleSpec};
use crate::compile::expression::Resolve;
use crate::config::tree::{Node, Scalar, Style};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, nearest};
use crate::record::{Number, Value, parse_number};

/// A problem that has been reported to the diagnostics.
#[derive(Debug)]
pub(crate) struct Reported;

/// What stands beside a rule's name, while the rule is built.
pub(crate) struct Arguments<'a> {
    pub(crate) spec: &'a RuleSpec,
    pub(crate) resolve: &'a mut dyn Resolve,
    pub(crate) diagnostics: &'a mut Diagnostics,
}

impl<'a> Arguments<'a> {
    /// Builds the rule; reports unknown and missing parameters of `definition`,
    /// and what is wrong with those that are there.
    pub(super) fn build(&mut self, definition: &Definition) -> Result<Arc<dyn Rule>, Reported> {
        let all_known = self.check_options(definition);
        let built = self.check(definition).and_then(|()| (definition.build)(self));
        all_known.and(built)
    }

    fn check_options(&mut self, definition: &Definition) -> Result<(), Reported> {
        let before = self.diagnostics.len();
        let rule = definition.name;
        let known = |name: &str| definition.parameters.iter().any(|parameter| parameter.name == name);
        for (name, _) in &self.spec.options {
            if !known(&name.value) || name.is_empty() {
                let names =
                    definition.parameters.iter().map(|parameter| parameter.name).filter(|name| !name.is_empty());
                let all: Vec<String> = names.clone().map(|name| format!("`{name}`")).collect();
                let message = format!("`{rule}` has no option `{}`", name.value);
                let mut error = Diagnostic::error(Code::UNKNOWN_NAME, &name.place, message);
                error.help = match nearest(name, names) {
                    Some(near) => Some(format!("did you mean `{near}`?")),
                    None if all.is_empty() => None,
                    None => Some(format!("its options are {}", all.join(", "))),
                };
                self.diagnostics.push(error);
            }
        }
        if self.diagnostics.len() == before { Ok(()) } else { Err(Reported) }
    }

    fn check(&mut self, definition: &Definition) -> Result<(), Reported> {
        let before = self.diagnostics.len();
        let rule = definition.name;
        if let Some(argument) = self.argument()
            && !definition.parameters.iter().any(|parameter| parameter.name.is_empty())
        {
            let place = argument.place.clone();
            let error = Diagnostic::error(Code::WRONG_TYPE, &place, format!("`{rule}` takes no argument"));
            self.diagnostics.push(error.help(format!("write `{rule}`")));
        }
        for parameter in definition.parameters {
            let given =
                if parameter.name.is_empty() { self.spec.argument.as_ref() } else { self.option(parameter.name) };
            if parameter.required && given.is_none() {
                self.missing(rule, parameter);
            }
        }
        if self.diagnostics.len() == before { Ok(()) } else { Err(Reported) }
    }

    fn missing(&mut self, rule: &str, parameter: &Parameter) {
        let (what, how) = match parameter.name {
            "" => ("an argument".to_owned(), format!("{{ {rule}: … }}")),
            name => (format!("`{name}`"), format!("{{ {rule}: …, {name}: … }}")),
        };
        let error = Diagnostic::error(Code::MISSING_NAME, &self.spec.place, format!("`{rule}` needs {what}"));
        self.diagnostics.push(error.help(format!("write `{how}`: {}", parameter.manual)));
    }

    /// What stands beside the name, unless it is nothing.
    pub(super) fn argument(&self) -> Option<&'a Node> {
        self.spec.argument.as_ref().filter(|node| !node.as_scalar().is_some_and(Scalar::is_null))
    }

    pub(super) fn option(&self, name: &str) -> Option<&'a Node> {
        self.spec.options.iter().find(|(option, _)| option.value == name).map(|(_, node)| node)
    }

    fn given(&self, name: &str) -> Option<&'a Node> {
        if name.is_empty() { self.argument() } else { self.option(name) }
    }

    pub(super) fn report(&mut self, code: Code, place: &Place, message: String, help: Option<String>) -> Reported {
        let mut error = Diagnostic::error(code, place, message);
        error.help = help;
        self.diagnostics.push(error);
        Reported
    }

    fn called(&self, name: &str) -> String {
        format!("`{}`", if name.is_empty() { &self.spec.name.value } else { name })
    }

    /// The argument as it must be there after [`Arguments::check`].
    pub(super) fn required(&mut self, name: &str) -> Result<&'a Node, Reported> {
        if let Some(node) = self.given(name) {
            return Ok(node);
        }
        let (place, message) = (self.spec.place.clone(), format!("{} needs a value", self.called(name)));
        Err(self.report(Code::MISSING_NAME, &place, message, None))
    }

    fn scalar(&mut self, name: &str, node: &'a Node, expected: &str) -> Result<&'a Scalar, Reported> {
        if let Some(scalar) = node.as_scalar() {
            return Ok(scalar);
        }
        let message = format!("{} takes {expected}, not {}", self.called(name), node.kind());
        Err(self.report(Code::WRONG_TYPE, &node.place, message, None))
    }

    /// A text of one line or more.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<&'a str>, Reported> {
        let Some(node) = self.given(name) else { return Ok(None) };
        self.scalar(name, node, "a text").map(|scalar| Some(scalar.text.as_str()))
    }

    /// A single character.
    pub(super) fn character(&mut self, name: &str) -> Result<Option<char>, Reported> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(Some(character)),
            _ => Err(self.bad(name, "takes a single character", None)),
        }
    }

    /// Reports that the value of `name` is not one the rule takes.
    pub(super) fn bad(&mut self, name: &str, takes: &str, help: Option<String>) -> Reported {
        let node = self.given(name);
        let place = node.map_or(&self.spec.place, |node| &node.place).clone();
        let written = node.and_then(Node::text).map_or_else(String::new, |text| format!(", not `{text}`"));
        let message = format!("{} {takes}{written}", self.called(name));
        self.report(Code::BAD_VALUE, &place, message, help)
    }

    /// A whole number from 0 to `most`.
    pub(super) fn count(&mut self, name: &str, most: u32) -> Result<Option<u32>, Reported> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse::<u32>() {
            Ok(count) if count <= most => Ok(Some(count)),
            _ => Err(self.bad(name, &format!("takes a whole number from 0 to {most}"), None)),
        }
    }

    /// An exact number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<Decimal>, Reported> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match parse_number(text) {
            Some(Number::Integer(integer)) => Ok(Some(Decimal::from(integer))),
            Some(Number::Decimal(decimal)) => Ok(Some(decimal)),
            _ => Err(self.bad(name, "takes a number of up to 28 digits", Some("write it as `\"1.1\"`".into()))),
        }
    }

    /// One of the listed words.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&'static str, T)]) -> Result<Option<T>, Reported> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*choice));
        }
        let help = nearest(text, choices.iter().map(|(word, _)| *word)).map(|word| format!("did you mean `{word}`?"));
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        Err(self.bad(name, &format!("takes one of {}", words.join(", ")), help))
    }

    pub(super) fn switch(&mut self, name: &str) -> Result<bool, Reported> {
        let Some(node) = self.given(name) else { return Ok(false) };
        match node.as_scalar().and_then(Scalar::as_bool) {
            Some(switch) => Ok(switch),
            None => Err(self.bad(name, "takes `true` or `false`", None)),
        }
    }

    /// A text, or a list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<&'a str>>, Reported> {
        let Some(node) = self.given(name) else { return Ok(None) };
        self.texts_of(name, node).map(Some)
    }

    pub(super) fn texts_of(&mut self, name: &str, node: &'a Node) -> Result<Vec<&'a str>, Reported> {
        match node.as_list() {
            None => Ok(vec![&self.scalar(name, node, "a text or a list of texts")?.text]),
            Some(items) => items.iter().map(|item| Ok(self.scalar(name, item, "texts")?.text.as_str())).collect(),
        }
    }

    /// A single value, typed by [`literal`].
    pub(super) fn value(&mut self, name: &str, node: &'a Node) -> Result<Value, Reported> {
        self.scalar(name, node, "a single value").map(literal)
    }
}

/// The value of a scalar where no type is demanded: `true`, `false` and null
/// in the spellings of YAML, all else as the text it is. A number stays text
/// as well, digits and all; the field it arrives in makes a number of it.
pub(crate) fn literal(scalar: &Scalar) -> Value {
    if scalar.is_null() {
        return Value::Null;
    }
    match scalar.as_bool() {
        Some(boolean) => Value::Boolean(boolean),
        None if scalar.style == Style::Block => Value::text(scalar.text.trim_end_matches('\n')),
        None => Value::Text(CompactString::new(&scalar.text)),
    }
}
