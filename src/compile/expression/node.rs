//! The tree an expression becomes, and how it is evaluated over slots.

use std::borrow::Cow;

use compact_str::CompactString;

use super::Input;
use super::arithmetic::{Comparison, Operator, negate};
use crate::compile::rule::Step;
use crate::compile::trouble::{Trouble, shown};
use crate::diagnostic::Code;
use crate::record::Value;

/// One node. Names are slots, numbers exact, filters built rules.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Constant(Value),
    Slot(usize),
    /// `value`, the field's own value.
    Own,
    List(Vec<Node>),
    Attribute(Box<Node>, CompactString),
    Item(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Compute(Operator, Box<Node>, Box<Node>),
    /// `a < b <= c`: every neighbouring pair must hold.
    Compare(Box<Node>, Vec<(Comparison, Node)>),
    /// `a ~ b ~ c`
    Join(Vec<Node>),
    /// `then if condition else otherwise`
    Choose {
        condition: Box<Node>,
        then: Box<Node>,
        otherwise: Box<Node>,
    },
    Filter(Box<Node>, Box<Step>),
    Is(Box<Node>, Test),
}

/// What stands after `is`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Defined,
    Undefined,
    None,
    Blank,
    Text,
    Number,
    Integer,
    Boolean,
    Date,
    List,
    Map,
    True,
    False,
    Odd,
    Even,
}

impl Test {
    pub(super) const ALL: [(&'static str, Test); 17] = [
        ("defined", Test::Defined),
        ("undefined", Test::Undefined),
        ("none", Test::None),
        ("null", Test::None),
        ("blank", Test::Blank),
        ("string", Test::Text),
        ("text", Test::Text),
        ("number", Test::Number),
        ("integer", Test::Integer),
        ("boolean", Test::Boolean),
        ("date", Test::Date),
        ("sequence", Test::List),
        ("mapping", Test::Map),
        ("true", Test::True),
        ("false", Test::False),
        ("odd", Test::Odd),
        ("even", Test::Even),
    ];

    fn holds(self, value: &Value) -> bool {
        match self {
            Test::Defined => !matches!(value, Value::Missing),
            Test::Undefined => matches!(value, Value::Missing),
            Test::None => value.is_null(),
            Test::Blank => value.is_blank(),
            Test::Text => matches!(value, Value::Text(_)),
            Test::Number => {
                matches!(value, Value::Integer(_) | Value::Decimal(_) | Value::WideDecimal(_) | Value::Float(_))
            }
            Test::Integer => matches!(value, Value::Integer(_)),
            Test::Boolean => matches!(value, Value::Boolean(_)),
            Test::Date => matches!(value, Value::Date(_)),
            Test::List => matches!(value, Value::List(_)),
            Test::Map => matches!(value, Value::Map(_)),
            Test::True => matches!(value, Value::Boolean(true)),
            Test::False => matches!(value, Value::Boolean(false)),
            Test::Odd => matches!(value, Value::Integer(i) if i % 2 != 0),
            Test::Even => matches!(value, Value::Integer(i) if i % 2 == 0),
        }
    }
}

/// What counts as true: everything but null, `false`, zero, and what is empty.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Missing | Value::Null | Value::JsonNull => false,
        Value::Boolean(boolean) => *boolean,
        Value::Integer(integer) => *integer != 0,
        Value::Decimal(decimal) => !decimal.is_zero(),
        Value::Float(float) => *float != 0.0,
        Value::Text(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(map) => !map.is_empty(),
        _ => true,
    }
}

static NULL: Value = Value::Null;

/// An expression knows one null.
fn plain(value: &Value) -> &Value {
    if matches!(value, Value::JsonNull) { &NULL } else { value }
}

impl Node {
    /// The value of this node. Slots are borrowed, not copied.
    pub(super) fn eval<'a>(&'a self, input: Input<'a>) -> Result<Cow<'a, Value>, Box<Trouble>> {
        let owned = |value: Value| Ok(Cow::Owned(value));
        match self {
            Node::Constant(value) => Ok(Cow::Borrowed(value)),
            Node::Slot(slot) => Ok(Cow::Borrowed(plain(&input.row[*slot]))),
            Node::Own => Ok(Cow::Borrowed(plain(input.value.unwrap_or(&NULL)))),
            Node::List(items) => {
                let items: Result<Vec<Value>, _> =
                    items.iter().map(|item| item.eval(input).map(Cow::into_owned)).collect();
                owned(Value::List(Box::new(items?)))
            }
            Node::Attribute(whole, name) => attribute(whole.eval(input)?, name),
            Node::Item(whole, index) => {
                let index = index.eval(input)?;
                item(whole.eval(input)?, &index)
            }
            Node::Not(node) => owned(Value::Boolean(!node.test(input)?)),
            Node::Negate(node) => owned(negate(node.eval(input)?.as_ref())?),
            Node::And(left, right) => {
                let left = left.eval(input)?;
                if truth(&left) { right.eval(input) } else { Ok(left) }
            }
            Node::Or(left, right) => {
                let left = left.eval(input)?;
                if truth(&left) { Ok(left) } else { right.eval(input) }
            }
            Node::Compute(operator, left, right) => {
                let (left, right) = (left.eval(input)?, right.eval(input)?);
                owned(operator.apply(&left, &right)?)
            }
            Node::Compare(..) | Node::Is(..) => owned(Value::Boolean(self.test(input)?)),
            Node::Join(parts) => {
                let mut out = CompactString::default();
                for part in parts {
                    part.print(input, &mut out)?;
                }
                owned(Value::Text(out))
            }
            Node::Choose { condition, then, otherwise } => {
                if condition.test(input)? {
                    then.eval(input)
                } else {
                    otherwise.eval(input)
                }
            }
            Node::Filter(node, step) => {
                let value = node.eval(input)?;
                if value.is_null() && !step.sees_null() {
                    Ok(value)
                } else {
                    owned(step.apply(value.into_owned(), input.row)?)
                }
            }
        }
    }

    /// The truth of this node, without building a value where there is none.
    pub(super) fn test(&self, input: Input<'_>) -> Result<bool, Box<Trouble>> {
        match self {
            Node::Not(node) => Ok(!node.test(input)?),
            Node::And(left, right) => Ok(left.test(input)? && right.test(input)?),
            Node::Or(left, right) => Ok(left.test(input)? || right.test(input)?),
            Node::Compare(first, others) => {
                let mut left = first.eval(input)?;
                for (comparison, node) in others {
                    let right = node.eval(input)?;
                    if !comparison.holds(&left, &right)? {
                        return Ok(false);
                    }
                    left = right;
                }
                Ok(true)
            }
            Node::Is(node, test) => Ok(test.holds(node.eval(input)?.as_ref())),
            other => Ok(truth(other.eval(input)?.as_ref())),
        }
    }

    /// Writes this node's value as plain text.
    pub(super) fn print(&self, input: Input<'_>, out: &mut CompactString) -> Result<(), Box<Trouble>> {
        if let Node::Filter(node, step) = self
            && let Some(slice) = step.slicer()
        {
            // A rule that only cuts needs no value of its own to be printed.
            match node.eval(input)?.as_ref() {
                Value::Text(text) => out.push_str(slice(text)),
                other => write(other, out),
            }
            return Ok(());
        }
        write(self.eval(input)?.as_ref(), out);
        Ok(())
    }
}

fn write(value: &Value, out: &mut CompactString) {
    use std::fmt::Write;
    match value {
        Value::Missing | Value::Null | Value::JsonNull => {}
        Value::Text(text) | Value::WideDecimal(text) => out.push_str(text),
        other => write!(out, "{other}").expect("writing to a text cannot fail"),
    }
}

fn attribute<'a>(whole: Cow<'a, Value>, name: &str) -> Result<Cow<'a, Value>, Box<Trouble>> {
    match whole {
        Cow::Borrowed(Value::Map(map)) => Ok(map.get(name).map_or(Cow::Owned(Value::Missing), Cow::Borrowed)),
        Cow::Owned(Value::Map(mut map)) => {
            Ok(map.get_mut(name).map_or(Cow::Owned(Value::Missing), |value| Cow::Owned(std::mem::take(value))))
        }
        other if other.is_null() => Ok(Cow::Owned(Value::Missing)),
        other => {
            Err(Trouble::with(Code::WRONG_NATURE, &other, format!("{} has no part named `{name}`", shown(&other))))
        }
    }
}

fn item<'a>(whole: Cow<'a, Value>, index: &Value) -> Result<Cow<'a, Value>, Box<Trouble>> {
    let place = |length: usize| match index {
        Value::Integer(i) if *i < 0 => usize::try_from(i.unsigned_abs()).ok().and_then(|back| length.checked_sub(back)),
        Value::Integer(i) => usize::try_from(*i).ok(),
        _ => None,
    };
    match (&whole, index) {
        (_, Value::Text(name)) => attribute(whole, name),
        (whole, _) if whole.is_null() || index.is_null() => Ok(Cow::Owned(Value::Missing)),
        (Cow::Borrowed(Value::List(items)), Value::Integer(_)) => {
            Ok(place(items.len()).and_then(|place| items.get(place)).map_or(Cow::Owned(Value::Missing), Cow::Borrowed))
        }
        (Cow::Owned(Value::List(items)), Value::Integer(_)) => {
            Ok(Cow::Owned(place(items.len()).and_then(|place| items.get(place)).cloned().unwrap_or(Value::Missing)))
        }
        _ => {
            Err(Trouble::with(Code::WRONG_NATURE, &whole, format!("{} has no part at {}", shown(&whole), shown(index))))
        }
    }
}
