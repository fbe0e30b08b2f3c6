//! The YAML tree: what was written, where, and in which style.
//!
//! No value is read as anything but the text that stands in the file; a
//! scalar gets its type from where it is used.

use crate::diagnostic::Place;

/// A value with the place it was written at.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

impl<T> At<T> {
    pub fn new(value: T, place: Place) -> At<T> {
        At { value, place }
    }
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// One node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub content: Content,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    /// Entries in the order written; a key is a scalar node, no key twice.
    Map(Vec<(Node, Node)>),
}

/// A scalar as it was written: aliases resolved, escapes and folding undone,
/// nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    pub text: String,
    pub style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
    Block,
}

impl Scalar {
    /// True for what YAML's core schema calls null: plain and empty, `~`,
    /// `null`, `Null` or `NULL`.
    pub fn is_null(&self) -> bool {
        self.style == Style::Plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// `true` or `false` in the spellings of YAML's core schema, plain only.
    pub fn as_bool(&self) -> Option<bool> {
        match (self.style, self.text.as_str()) {
            (Style::Plain, "true" | "True" | "TRUE") => Some(true),
            (Style::Plain, "false" | "False" | "FALSE") => Some(false),
            _ => None,
        }
    }
}

impl Node {
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&[(Node, Node)]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The scalar's text, where it is a scalar.
    pub fn text(&self) -> Option<&str> {
        self.as_scalar().map(|scalar| scalar.text.as_str())
    }

    /// What this node is, for messages: `a list`, `a mapping`, `nothing`, `text`.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
            Content::Scalar(scalar) if scalar.is_null() => "nothing",
            Content::Scalar(_) => "a single value",
        }
    }
}
