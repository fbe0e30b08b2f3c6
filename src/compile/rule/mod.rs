//! What happens to a value on its way: the rules, and chains of them.
//!
//! Owns the catalogue ([`RULES`], one definition a rule, with its manual and
//! its examples), the [`Chain`] of a field and its way back. A rule is built
//! once, with everything parsed; after that it only moves values. It never
//! looks up a name, reads a clock or knows which field it serves. Start
//! reading at [`Definition`] and [`Rule`], then at `text` for simple rules.

mod affix;
mod arguments;
mod chain;
mod choice;
mod date;
mod decimal;
mod format;
mod free;
mod kinds;
mod manual;
mod map;
mod number;
mod pad;
mod text;

pub use crate::config::model::RuleSpec;
pub use chain::{Chain, Lossy};
pub use manual::{manual, schema};

pub(crate) use chain::Step;

use std::fmt::Debug;
use std::sync::Arc;

use crate::compile::Trouble;
use crate::diagnostic::Place;
use crate::record::{Kind, Value};
use arguments::{Arguments, Reported};

/// A rule with its parameters: one step of a chain.
pub(crate) trait Rule: Debug + Send + Sync {
    /// Carries one value over. Null comes here only if [`Rule::sees_null`].
    fn apply(&self, value: Value, row: &[Value]) -> Result<Value, Box<Trouble>>;

    /// The way back.
    fn back(&self) -> Back;

    /// What comes out where this kind goes in.
    ///
    /// # Errors
    /// What the rule takes, where it does not take this kind: `text`, `a date`.
    fn gives(&self, kind: &Kind) -> Result<Kind, &'static str>;

    /// The values that are written down in the rule and may come out of it,
    /// with their places.
    fn writes(&self) -> Vec<(&Value, &Place)> {
        Vec::new()
    }

    /// The rule in words, for `engine explain`.
    fn describe(&self) -> String;

    /// True where null is not simply passed on.
    fn sees_null(&self) -> bool {
        false
    }

    /// True for rules that read a text where they go forward, whatever else
    /// they take: under `reverse`, beside rules that read it, they write it.
    fn reads_text(&self) -> bool {
        false
    }

    /// For rules that only cut a text: the cut, so that printing needs no copy.
    fn slicer(&self) -> Option<fn(&str) -> &str> {
        None
    }
}

/// How a rule is undone.
#[derive(Debug, Clone)]
pub(crate) enum Back {
    /// By another rule.
    Rule(Arc<dyn Rule>),
    /// What it drops carries no meaning: its way back is the value itself.
    Itself,
    /// Not at all: what it loses, and the places that show it.
    Lost(String, Vec<(Place, String)>),
}

impl Back {
    pub(crate) fn rule(rule: impl Rule + 'static) -> Back {
        Back::Rule(Arc::new(rule))
    }

    pub(crate) fn lost(what: impl Into<String>) -> Back {
        Back::Lost(what.into(), Vec::new())
    }
}

/// Which of the three kinds of design a rule is, as the manual says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Invertible,
    Normalising,
    /// What it loses.
    Lossy(&'static str),
    /// It depends on the parameters: how.
    Depends(&'static str),
}

/// One rule of the language: everything there is to say about it.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    /// The argument beside the name (called `""`) and the options.
    pub(crate) parameters: &'static [Parameter],
    /// A paragraph for users; the first sentence stands alone in editors.
    pub(crate) manual: &'static str,
    pub(crate) examples: &'static [Example],
    pub(crate) build: fn(&mut Arguments<'_>) -> Result<Arc<dyn Rule>, Reported>,
}

/// An argument or option of a rule.
pub(crate) struct Parameter {
    /// `""` for the argument beside the rule's name.
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) required: bool,
    pub(crate) manual: &'static str,
}

impl Parameter {
    const fn argument(takes: Takes, manual: &'static str) -> Parameter {
        Parameter { name: "", takes, required: true, manual }
    }

    const fn option(name: &'static str, takes: Takes, manual: &'static str) -> Parameter {
        Parameter { name, takes, required: false, manual }
    }

    const fn optional(self) -> Parameter {
        Parameter { required: false, ..self }
    }
}

/// What may be written for a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Text,
    /// A whole number from 0.
    Count,
    /// An exact number, best in quotes.
    Number,
    Choice(&'static [&'static str]),
    /// A single value, typed as YAML types it.
    Value,
    /// One text or a list of texts.
    Texts,
    /// A mapping.
    Map,
    /// A text or a mapping.
    TextOrMap,
    Switch,
}

/// A rule as it is written, and what it makes of values. A value stands as
/// text in quotes, a number, `true`, `null`, a date or a time; `refused` where
/// there is no result.
pub(crate) struct Example {
    /// One item of `rules:`.
    pub(crate) rule: &'static str,
    pub(crate) values: &'static [(&'static str, &'static str)],
}

/// Every rule, in the order of the manual.
pub(crate) static RULES: &[&Definition] = &[
    &text::TRIM,
    &text::UPPER_CASE,
    &text::LOWER_CASE,
    &text::TITLE_CASE,
    &pad::PAD_LEFT,
    &pad::PAD_RIGHT,
    &affix::PREFIX,
    &affix::SUFFIX,
    &text::REPLACE,
    &text::DIGITS,
    &decimal::DECIMAL,
    &decimal::INTEGER,
    &number::MULTIPLY,
    &number::DIVIDE,
    &number::ADD,
    &number::ROUND,
    &number::CENTS,
    &date::DATE,
    &date::DATETIME,
    &date::EPOCH,
    &choice::BOOLEAN,
    &map::MAP,
    &choice::DEFAULT,
    &choice::BLANK,
    &free::TEMPLATE,
    &free::EXPRESSION,
];

/// Rules of the language that this version does not build yet.
pub(crate) static LATER: &[&str] = &[
    "truncate",
    "regex",
    "split",
    "join",
    "slug",
    "strip_html",
    "normalize",
    "time",
    "coalesce",
    "path",
    "first",
    "list",
    "json",
    "lookup",
    "hash",
    "mask",
];

/// The definition of this name.
pub(crate) fn find(name: &str) -> Option<&'static Definition> {
    RULES.iter().copied().find(|definition| definition.name == name)
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod laws;
