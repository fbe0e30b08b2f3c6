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
        // The place of a block begins at its first line that is not blank.
        let blank = self.text.len() - self.text.trim_start_matches('\n').len();
        let (before_in_lines, lines) = (before.get(blank..)?, self.text[blank..].trim_end());
        if start.line == end.line {
            let written = end.byte.saturating_sub(start.byte) as usize;
            return match written {
                _ if written == self.text.len() || written == lines.len() => Some(after(start, 0, before_in_lines)),
                _ if written == self.text.len() + 2 && !self.text.contains('\n') => Some(after(start, 1, before)),
                _ => None,
            };
        }
        let count = |text: &str| u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
        if count(lines) == 0 || start.line.saturating_add(count(lines)) != end.line {
            return None;
        }
        let start = Position { line: start.line + count(before_in_lines), ..start };
        Some(after(start, 0, before_in_lines.rsplit('\n').next().unwrap_or_default()))
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
