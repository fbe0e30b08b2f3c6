//! Files of lines: CSV, JSON lines and fixed width.

use std::io::{BufRead, BufReader, Read};

use super::layout::{Layout, Manner};
use super::records::{Frame, Raw};

/// A record whose quote is not closed within so many bytes is broken.
const LONGEST: usize = 1 << 20;

/// Reads a file of lines record by record.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    /// Delimiter and quote, where a quote holds lines together.
    marks: Option<(u8, u8)>,
    /// Lines that were read too far, from `passed` on.
    ahead: Vec<u8>,
    passed: usize,
    line: u64,
    at: u64,
    /// The line that names the fields.
    pub(super) header: Option<Raw>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R, layout: &Layout) -> std::io::Result<Lines<R>> {
        let reader = BufReader::with_capacity(1 << 16, reader);
        let marks = match layout.manner {
            Manner::Csv { delimiter, quote, .. } => Some((delimiter, quote)),
            _ => None,
        };
        let mut lines = Lines { reader, marks, ahead: Vec::new(), passed: 0, line: 1, at: 0, header: None };
        if layout.has_header() {
            lines.header = lines.next()?;
        }
        Ok(lines)
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Raw>> {
        let mut raw = Raw { line: self.line, at: self.at, length: 0, bytes: Vec::new(), is_open: false };
        // Blank lines.
        loop {
            let begin = raw.bytes.len();
            if !self.more(&mut raw.bytes)? {
                return Ok(None);
            }
            if raw.bytes[begin..].iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                self.line += 1;
                raw.line += 1;
                continue;
            }
            if let Some((delimiter, quote)) = self.marks {
                self.close(&mut raw, delimiter, quote)?;
            }
            let lines = raw.bytes[begin..].split_inclusive(|byte| *byte == b'\n').count();
            self.line += u64::try_from(lines).unwrap_or(1);
            raw.length = u64::try_from(raw.bytes.len()).unwrap_or(0);
            self.at += raw.length;
            return Ok(Some(raw));
        }
    }

    /// Reads on until every quote is closed. Where one never is, the first line is
    /// the broken one: those behind it are looked at again.
    fn close(&mut self, raw: &mut Raw, delimiter: u8, quote: u8) -> std::io::Result<()> {
        let first = raw.bytes.len();
        let mut within = Within::Begin.behind(text(&raw.bytes), delimiter, quote);
        let mut seen = first;
        while within == Within::Quotes {
            if raw.bytes.len() > LONGEST || !self.more(&mut raw.bytes)? {
                let mut behind = raw.bytes.split_off(first);
                behind.extend_from_slice(&self.ahead[self.passed..]);
                (self.ahead, self.passed) = (behind, 0);
                raw.is_open = true;
                break;
            }
            within = within.behind(&raw.bytes[seen..], delimiter, quote);
            seen = raw.bytes.len();
        }
        Ok(())
    }

    pub(super) fn frame(&self) -> Frame {
        let head = self.header.as_ref().map_or(0, |header| header.length);
        Frame { head, tail: self.at, ..Frame::default() }
    }

    /// One line more; false at the end.
    fn more(&mut self, into: &mut Vec<u8>) -> std::io::Result<bool> {
        let ahead = &self.ahead[self.passed..];
        let end = ahead.iter().position(|byte| *byte == b'\n').map_or(ahead.len(), |end| end + 1);
        into.extend_from_slice(&ahead[..end]);
        self.passed += end;
        if end > 0 && into.last() == Some(&b'\n') {
            return Ok(true);
        }
        Ok(self.reader.read_until(b'\n', into)? + end > 0)
    }
}

/// Where in a record one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Before a cell's first character.
    Begin,
    Cell,
    Quotes,
    /// Behind a quote within quotes: the end of them, or one of two.
    Quote,
}

impl Within {
    /// Where one is behind these bytes.
    fn behind(self, bytes: &[u8], delimiter: u8, quote: u8) -> Within {
        if self != Within::Quotes && !bytes.contains(&quote) {
            return Within::Cell;
        }
        bytes.iter().fold(self, |within, byte| match within {
            Within::Begin | Within::Quote if *byte == quote => Within::Quotes,
            Within::Quotes if *byte == quote => Within::Quote,
            Within::Quotes => Within::Quotes,
            _ if *byte == delimiter => Within::Begin,
            _ => Within::Cell,
        })
    }
}

/// A record without the blank lines before it, its line end and a byte order
/// mark.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let bytes = &bytes[begin..];
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// The cells of a line of CSV; `None` where a quote is not closed.
pub(super) fn split(record: &[u8], delimiter: u8, quote: u8) -> Option<Vec<Vec<u8>>> {
    let mut cells = Vec::new();
    let mut rest = record;
    loop {
        let mut cell = Vec::new();
        if rest.first() == Some(&quote) {
            rest = &rest[1..];
            loop {
                let end = rest.iter().position(|byte| *byte == quote)?;
                cell.extend_from_slice(&rest[..end]);
                rest = &rest[end + 1..];
                if rest.first() != Some(&quote) {
                    break;
                }
                cell.push(quote);
                rest = &rest[1..];
            }
        }
        let end = rest.iter().position(|byte| *byte == delimiter);
        cell.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        cells.push(cell);
        match end {
            Some(end) => rest = &rest[end + 1..],
            None => return Some(cells),
        }
    }
}

/// Cells as a line of CSV.
pub(super) fn join(cells: &[String], delimiter: u8, quote: u8) -> String {
    let (delimiter, quote) = (char::from(delimiter), char::from(quote));
    let cell = |cell: &String| {
        let needs = |c: char| c == delimiter || c == quote || matches!(c, '\r' | '\n');
        let is_odd = cell.contains(needs) || cell.starts_with('\u{feff}');
        if is_odd { format!("{quote}{}{quote}", cell.replace(quote, &format!("{quote}{quote}"))) } else { cell.clone() }
    };
    let line = cells.iter().map(cell).collect::<Vec<_>>().join(&delimiter.to_string());
    // A line of one empty cell would be a blank one.
    if line.is_empty() { format!("{quote}{quote}") } else { line }
}

/// How a cell of fixed width stands in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its characters.
    pub(super) width: usize,
    /// It stands at the right end of them, as numbers do.
    pub(super) is_right: bool,
}

/// The cells of a line of fixed width, with the blanks that fill them up. A line
/// may end before its last cells do.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn cut(line: &str, slots: &[Slot]) -> Result<Vec<String>, String> {
    let mut rest = line.chars();
    let cells = slots.iter().map(|slot| rest.by_ref().take(slot.width).collect()).collect();
    let behind = rest.as_str();
    if behind.trim_end_matches(' ').is_empty() {
        return Ok(cells);
    }
    let width: usize = slots.iter().map(|slot| slot.width).sum();
    Err(format!("it has {} characters, and the fields have {width}", line.chars().count()))
}

/// Cells as a line of fixed width.
pub(super) fn fill_up(cells: &[String], slots: &[Slot]) -> String {
    let mut line = String::new();
    for (cell, Slot { width, is_right }) in cells.iter().zip(slots) {
        let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
        let (before, behind) = if *is_right { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
        line.extend([before, cell, behind]);
    }
    line
}
