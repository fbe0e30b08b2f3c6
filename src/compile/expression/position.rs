//! From an offset in a scalar's text to a place in the file.

use crate::diagnostic::{Place, Position, Span};

/// A text with its place, which can point at parts of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) place: &'a Place,
}

impl Source<'_> {
    /// The place of the bytes `from..to` of the text. Exact for plain scalars
    /// and for quoted ones without escapes, on one line; in any other the text
    /// is not in the file as it reads, so it is the place of the whole scalar.
    pub(crate) fn at(&self, from: usize, to: usize) -> Place {
        let Span { start, end } = self.place.span;
        let written = end.byte.saturating_sub(start.byte) as usize;
        let quotes = match written.checked_sub(self.text.len()) {
            Some(0) => 0,
            Some(2) => 1,
            _ => return self.place.clone(),
        };
        if start.line != end.line || self.text.contains('\n') {
            return self.place.clone();
        }
        let (Some(before), Some(part)) = (self.text.get(..from), self.text.get(from..to.max(from))) else {
            return self.place.clone();
        };
        let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let bytes = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let first = Position {
            line: start.line,
            column: start.column.saturating_add(quotes).saturating_add(count(before)),
            byte: start.byte.saturating_add(quotes).saturating_add(bytes(before)),
        };
        let last = Position {
            line: start.line,
            column: first.column.saturating_add(count(part)),
            byte: first.byte.saturating_add(bytes(part)),
        };
        Place::new(self.place.file.clone(), Span { start: first, end: last })
    }
}
