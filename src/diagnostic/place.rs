//! Where in which file something stands.

use std::path::Path;
use std::sync::Arc;

/// A position in a text: line and column count characters from 1, `byte`
/// counts bytes from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub line: u32,
    pub column: u32,
    pub byte: u32,
}

/// From the first character up to, not including, `end`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub start: Position,
    pub end: Position,
}

/// A span in a file. The path is as the user would write it: relative to where
/// the command was started where that is possible.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: Arc<Path>,
    pub span: Span,
    /// Of a text that stands on several lines and reads otherwise: where each
    /// line begins in the text, in bytes, and where that stands in the file.
    pub lines: Option<Arc<Vec<(u32, Position)>>>,
}

impl Place {
    pub fn new(file: Arc<Path>, span: Span) -> Place {
        Place { file, span, lines: None }
    }

    pub fn line(&self) -> u32 {
        self.span.start.line
    }

    pub fn column(&self) -> u32 {
        self.span.start.column
    }
}

/// `mappings/customers.yaml:14:9`
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line(), self.column())
    }
}
