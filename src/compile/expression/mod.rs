//! Jinja's expression language and templates, over slots, with exact numbers.
//!
//! Owns the way from text to a tree ([`parse`]) and its evaluation ([`node`],
//! [`arithmetic`]). The grammar is minijinja's parser; nothing of it runs after
//! compiling. Names become slots through [`Resolve`]; filters are the rules of
//! [`super::rule`]. Knows no clock and no other record. Start reading at
//! [`Expression`].
//!
//! What a newcomer must know of the semantics: null computes to null, prints
//! as nothing and is neither less nor greater than anything; `==` between
//! values of different natures is false, an order between them is refused,
//! except that a time is compared with an ISO text of one; `and` and `or` give
//! back the operand that decided.

pub(crate) mod arithmetic;
mod node;
mod parse;
pub(crate) mod position;
mod template;

pub use template::Template;

use std::borrow::Cow;

use crate::compile::Trouble;
use crate::config::tree::At;
use crate::diagnostic::{Diagnostics, Place};
use crate::record::Value;
use node::Node;
use position::Source;

/// Where names come from: the fields of the side that is read.
pub trait Resolve {
    /// The slot of a field, which may be allotted when it is first mentioned.
    ///
    /// # Errors
    /// Where the side has no such field: the nearest one it has, if any.
    fn slot(&mut self, name: &str) -> Result<usize, Option<String>>;

    /// True where `value` is the field's own value; elsewhere it is the name of
    /// a field like any other.
    fn has_value(&self) -> bool {
        false
    }
}

/// What an expression is evaluated over.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The slots that [`Resolve`] gave out.
    pub row: &'a [Value],
    /// The field's own value, where there is one.
    pub value: Option<&'a Value>,
}

impl<'a> Input<'a> {
    pub fn new(row: &'a [Value]) -> Input<'a> {
        Input { row, value: None }
    }
}

/// An expression, compiled.
#[derive(Debug, Clone)]
pub struct Expression {
    node: Node,
    text: Box<str>,
    place: Place,
}

impl Expression {
    /// Compiles an expression. `None` where it is wrong, which is then said in
    /// `diagnostics`.
    pub fn compile(text: &At<String>, resolve: &mut dyn Resolve, diagnostics: &mut Diagnostics) -> Option<Expression> {
        let source = Source { text: &text.value, place: &text.place };
        let node = parse::expression(source, resolve, diagnostics)?;
        Some(Expression { node, text: text.value.as_str().into(), place: text.place.clone() })
    }

    /// The value over these slots.
    ///
    /// # Errors
    /// Where a value does not fit an operator or a filter.
    pub fn eval(&self, input: Input<'_>) -> Result<Value, Box<Trouble>> {
        self.node.eval(input).map(Cow::into_owned).map_err(|trouble| self.placed(trouble))
    }

    /// The truth over these slots: false are null, `false`, zero and what is
    /// empty.
    ///
    /// # Errors
    /// As [`Expression::eval`].
    pub fn test(&self, input: Input<'_>) -> Result<bool, Box<Trouble>> {
        self.node.test(input).map_err(|trouble| self.placed(trouble))
    }

    /// The value, where it depends on no record.
    pub fn constant(&self) -> Option<&Value> {
        match &self.node {
            Node::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    #[expect(clippy::unnecessary_box_returns, reason = "trouble is boxed wherever it is returned")]
    fn placed(&self, mut trouble: Box<Trouble>) -> Box<Trouble> {
        trouble.place.get_or_insert_with(|| self.place.clone());
        trouble
    }
}

#[cfg(test)]
mod tests;
