//! From an offset in a scalar's text to a place in the file.

use crate::diagnostic::{Place, Position, Span};

/// A text with its place, which can point at parts of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) place: &'a Place,
}

impl Source<'_> {
    /// The place of the bytes `from..to` of the text. Exact for plain scalars,
    /// for quoted ones without escapes, and for blocks of lines; in any other the
    /// text is not in the file as it reads, so it is the place of the whole scalar.
    pub(crate) fn at(&self, from: usize, to: usize) -> Place {
        let start = self.start_of(from);
        let part = self.text.get(from..to.max(from)).map(|part| part.lines().next().unwrap_or_default());
        let (Some(start), Some(part)) = (start, part) else { return self.place.clone() };
        Place::new(self.place.file.clone(), Span { start, end: after(start, 0, part) })
    }

    /// Only the line and the column, where that is below the first line.
    fn start_of(&self, from: usize) -> Option<Position> {
        let Span { start, end } = self.place.span;
        let before = self.text.get(..from)?;
        if let Some(lines) = &self.place.lines {
            let line = lines.iter().rev().find(|(begins, _)| *begins as usize <= from)?;
            return Some(after(line.1, 0, self.text.get(line.0 as usize..from)?));
        }
        let written = end.byte.saturating_sub(start.byte) as usize;
        match written {
            _ if start.line != end.line => None,
            // A block of one line ends with a line break that is not in its place.
            _ if written == self.text.len() || written == self.text.trim_end().len() => Some(after(start, 0, before)),
            _ if written == self.text.len() + 2 && !self.text.contains('\n') => Some(after(start, 1, before)),
            _ => None,
        }
    }
}

/// The position behind a text on one line, which begins behind so many quotes.
fn after(start: Position, quotes: u32, text: &str) -> Position {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Position {
        line: start.line,
        column: start.column.saturating_add(quotes).saturating_add(number(text.chars().count())),
        byte: start.byte.saturating_add(quotes).saturating_add(number(text.len())),
    }
}
