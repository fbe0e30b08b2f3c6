//! The records of a file as they stand in it: which bytes each has, and what
//! its cells say.
//!
//! The bytes matter: a record that nobody changed is written back as it was.

use std::io::{BufRead, BufReader, Read};

use encoding_rs::WINDOWS_1252;

use super::cell::Column;
use super::config::{CellKind, Encoding, Format};
use crate::record::{Value, json};

/// A record whose quote is not closed within so many bytes is broken.
const LONGEST: usize = 1 << 20;

/// How the records of one file stand in it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) format: Format,
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) has_header: bool,
    pub(super) encoding: Encoding,
}

/// The bytes of one record, with its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    /// The number of its first line, from 1.
    pub(super) line: u64,
    /// Where it begins; blank lines before it are its own.
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    /// A quote in it is not closed.
    pub(super) is_open: bool,
}

/// Reads a file record by record.
pub(super) struct Records<R> {
    reader: BufReader<R>,
    layout: Layout,
    /// Lines that were read too far.
    ahead: Vec<u8>,
    line: u64,
    at: u64,
}

impl<R: Read> Records<R> {
    pub(super) fn new(reader: R, layout: &Layout) -> Records<R> {
        Records {
            reader: BufReader::with_capacity(1 << 16, reader),
            layout: layout.clone(),
            ahead: Vec::new(),
            line: 1,
            at: 0,
        }
    }

    /// The next record; `None` at the end. What stands behind the last one, blank
    /// lines, is told by `at`.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Raw>> {
        let mut raw = Raw { line: self.line, at: self.at, bytes: Vec::new(), is_open: false };
        // Blank lines.
        loop {
            let begin = raw.bytes.len();
            if !self.more(&mut raw.bytes)? {
                return Ok(None);
            }
            let line = &raw.bytes[begin..];
            if line.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                self.line += 1;
                raw.line += 1;
                continue;
            }
            let first = raw.bytes.len();
            while self.layout.format == Format::Csv
                && is_open(text(&raw.bytes), self.layout.delimiter, self.layout.quote)
            {
                if raw.bytes.len() > LONGEST || !self.more(&mut raw.bytes)? {
                    // Its first line is the broken one: those behind it are looked at again.
                    let behind = raw.bytes.split_off(first);
                    self.ahead.splice(0..0, behind);
                    raw.is_open = true;
                    break;
                }
            }
            let lines = raw.bytes[begin..].split_inclusive(|byte| *byte == b'\n').count();
            self.line += u64::try_from(lines).unwrap_or(1);
            self.at += u64::try_from(raw.bytes.len()).unwrap_or(0);
            return Ok(Some(raw));
        }
    }

    /// Where the record before ended.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// One line more; false at the end.
    fn more(&mut self, into: &mut Vec<u8>) -> std::io::Result<bool> {
        let end = self.ahead.iter().position(|byte| *byte == b'\n').map_or(self.ahead.len(), |end| end + 1);
        into.extend(self.ahead.drain(..end));
        if end > 0 && into.last() == Some(&b'\n') {
            return Ok(true);
        }
        Ok(self.reader.read_until(b'\n', into)? + end > 0)
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

fn is_open(record: &[u8], delimiter: u8, quote: u8) -> bool {
    split(record, delimiter, quote).is_none()
}

/// The cells of a line; `None` where a quote is not closed.
fn split(record: &[u8], delimiter: u8, quote: u8) -> Option<Vec<Vec<u8>>> {
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

/// What a record of a file says.
pub(super) enum Said {
    /// The texts of its cells.
    Cells(Vec<String>),
    /// A document.
    Document(Value),
}

impl Layout {
    /// What a record says.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn say(&self, raw: &Raw) -> Result<Said, String> {
        if raw.is_open {
            return Err("a quote is not closed".into());
        }
        let record = text(&raw.bytes);
        match self.format {
            Format::Csv => {
                let cells = split(record, self.delimiter, self.quote).ok_or("a quote is not closed")?;
                Ok(Said::Cells(cells.into_iter().map(|cell| self.decode(cell)).collect::<Result<_, _>>()?))
            }
            Format::JsonLines => {
                let document = json::parse(&self.decode(record.to_vec())?).ok_or("it is no JSON")?;
                if matches!(document, Value::Map(_)) {
                    Ok(Said::Document(document))
                } else {
                    Err("it is no JSON object".into())
                }
            }
        }
    }

    fn decode(&self, bytes: Vec<u8>) -> Result<String, String> {
        match self.encoding {
            Encoding::Utf8 => String::from_utf8(bytes).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes().get(at).copied().unwrap_or_default();
                format!("it is not UTF-8 (a byte {byte:#04x}); is `encoding: windows-1252` missing?")
            }),
            Encoding::Windows1252 => Ok(WINDOWS_1252.decode_without_bom_handling(&bytes).0.into_owned()),
        }
    }

    /// The bytes of a text.
    ///
    /// # Errors
    /// The first character that the encoding does not have.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u8>, char> {
        match self.encoding {
            Encoding::Utf8 => Ok(text.as_bytes().to_vec()),
            Encoding::Windows1252 => {
                let mut bytes = Vec::with_capacity(text.len());
                let mut buffer = [0; 4];
                for character in text.chars() {
                    let (encoded, _, unmappable) = WINDOWS_1252.encode(character.encode_utf8(&mut buffer));
                    if unmappable {
                        return Err(character);
                    }
                    bytes.extend_from_slice(&encoded);
                }
                Ok(bytes)
            }
        }
    }

    /// A record as it stands in a file, with its line end.
    pub(super) fn record(&self, said: &Said, end: &[u8]) -> Result<Vec<u8>, char> {
        let text = match said {
            Said::Cells(cells) => {
                let (delimiter, quote) = (char::from(self.delimiter), char::from(self.quote));
                let cell = |cell: &String| {
                    let needs = |c: char| c == delimiter || c == quote || matches!(c, '\r' | '\n');
                    let is_odd = cell.contains(needs) || cell.starts_with('\u{feff}');
                    if is_odd {
                        format!("{quote}{}{quote}", cell.replace(quote, &format!("{quote}{quote}")))
                    } else {
                        cell.clone()
                    }
                };
                let line = cells.iter().map(cell).collect::<Vec<_>>().join(&delimiter.to_string());
                // A line of one empty cell would be a blank one.
                if line.is_empty() { format!("{quote}{quote}") } else { line }
            }
            Said::Document(document) => {
                let mut text = String::new();
                json::write(document, &mut text);
                text
            }
        };
        let mut bytes = self.encode(&text)?;
        bytes.extend_from_slice(end);
        Ok(bytes)
    }
}

/// The values of the columns in what a record says.
///
/// # Errors
/// What is wrong with it, and the values all the same, as far as they can be
/// read.
pub(super) fn values(columns: &[Column], said: &Said) -> (Vec<Value>, Option<String>) {
    let mut wrong = None;
    let values = match said {
        Said::Cells(cells) => {
            if cells.len() != columns.len() {
                let plural = |count: usize| if count == 1 { "1 cell".to_owned() } else { format!("{count} cells") };
                wrong = Some(format!("it has {}, and the file has {}", plural(cells.len()), plural(columns.len())));
            }
            let cells = cells.iter().map(Some).chain(std::iter::repeat(None));
            let read = |(column, cell): (&Column, Option<&String>)| column.parse(cell.map_or("", String::as_str));
            columns.iter().zip(cells).map(read).map(|read| read.unwrap_or_else(|why| note(&mut wrong, why))).collect()
        }
        Said::Document(document) => {
            let read = |column: &Column| {
                let Value::Map(entries) = document else { return Ok(Value::Null) };
                entries.get(column.name.as_str()).map_or(Ok(Value::Null), |value| member(column, value))
            };
            columns.iter().map(read).map(|read| read.unwrap_or_else(|why| note(&mut wrong, why))).collect()
        }
    };
    (values, wrong)
}

fn note(wrong: &mut Option<String>, why: String) -> Value {
    wrong.get_or_insert(why);
    Value::Null
}

/// The value of a member of a JSON object.
fn member(column: &Column, value: &Value) -> Result<Value, String> {
    Ok(match (column.kind, value) {
        (_, Value::Null | Value::JsonNull) => Value::Null,
        (CellKind::Json, value) => value.clone(),
        (CellKind::Boolean, Value::Boolean(_)) => value.clone(),
        (CellKind::Integer, Value::Integer(_)) => value.clone(),
        (CellKind::Decimal, Value::Integer(_) | Value::Decimal(_) | Value::WideDecimal(_)) => {
            super::cell::normal(value.clone())
        }
        (CellKind::Text, Value::Text(_)) => value.clone(),
        (_, Value::Text(text)) => column.parse(text)?,
        (_, other) => {
            let native = column.field().native;
            return Err(format!("`{}` holds a {}, and is declared as {native}", column.name, other.type_name()));
        }
    })
}

/// A record with other values in some of its columns.
pub(super) fn with(columns: &[Column], said: Option<Said>, new: &[Value], format: Format) -> Said {
    let (before, _) = said.as_ref().map_or((vec![Value::Null; columns.len()], None), |said| values(columns, said));
    let is_changed = |index: usize| !crate::record::same(&before[index], &new[index]);
    match said {
        Some(Said::Cells(mut cells)) => {
            cells.resize(columns.len(), String::new());
            for (index, column) in columns.iter().enumerate().filter(|(index, _)| is_changed(*index)) {
                cells[index] = column.render(&new[index]);
            }
            Said::Cells(cells)
        }
        Some(Said::Document(Value::Map(mut entries))) => {
            for (index, column) in columns.iter().enumerate().filter(|(index, _)| is_changed(*index)) {
                entries.insert(column.name.as_str().into(), written(column, &new[index]));
            }
            Said::Document(Value::Map(entries))
        }
        _ if format == Format::JsonLines => {
            let entry = |(column, value): (&Column, &Value)| (column.name.as_str().into(), written(column, value));
            Said::Document(Value::Map(Box::new(columns.iter().zip(new).map(entry).collect())))
        }
        _ => Said::Cells(columns.iter().zip(new).map(|(column, value)| column.render(value)).collect()),
    }
}

/// A value as a JSON document has it: dates and times in the column's own form.
fn written(column: &Column, value: &Value) -> Value {
    match value {
        Value::Date(_) | Value::Time(_) | Value::LocalTime(_) | Value::Instant(_) => Value::text(column.render(value)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Layout =
        Layout { format: Format::Csv, delimiter: b';', quote: b'"', has_header: true, encoding: Encoding::Utf8 };

    fn read(text: &str) -> Vec<(u64, Result<Vec<String>, String>)> {
        let mut records = Records::new(text.as_bytes(), &CSV);
        let (mut all, mut bytes) = (Vec::new(), Vec::new());
        while let Some(raw) = records.next().unwrap() {
            assert_eq!(raw.at, u64::try_from(bytes.len()).unwrap(), "records follow each other");
            bytes.extend_from_slice(&raw.bytes);
            let cells = CSV.say(&raw).map(|said| match said {
                Said::Cells(cells) => cells,
                Said::Document(_) => unreachable!("a line of cells"),
            });
            all.push((raw.line, cells));
        }
        assert_eq!(records.at(), u64::try_from(bytes.len()).unwrap());
        assert!(text.as_bytes().starts_with(&bytes));
        all
    }

    #[test]
    fn lines_are_records_and_quotes_hold_them_together() {
        let cells = |cells: &[&str]| Ok(cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            read("\u{feff}a;b\r\n1;x\n\n\"2;\"\"3\";\"two\nlines\"\r\n5\" pipe;\n;\"\""),
            [
                (1, cells(&["a", "b"])),
                (2, cells(&["1", "x"])),
                (4, cells(&["2;\"3", "two\nlines"])),
                (6, cells(&["5\" pipe", ""])),
                (7, cells(&["", ""])),
            ]
        );
        let open = || Err("a quote is not closed".to_owned());
        assert_eq!(
            read("a;b\n\"1;x\n2;y\n3;z"),
            [(1, cells(&["a", "b"])), (2, open()), (3, cells(&["2", "y"])), (4, cells(&["3", "z"]))]
        );
        assert_eq!(read(""), []);
        assert_eq!(read("\n\n"), []);
    }

    #[test]
    fn what_is_not_text_is_told() {
        let mut records = Records::new(&b"a;b\nS\xe3o;1\n"[..], &CSV);
        records.next().unwrap();
        let raw = records.next().unwrap().unwrap();
        assert!(CSV.say(&raw).is_err_and(|why| why.contains("0xe3") && why.contains("windows-1252")));
        let western = Layout { encoding: Encoding::Windows1252, ..CSV };
        let Ok(Said::Cells(cells)) = western.say(&raw) else { panic!("it is western text") };
        assert_eq!(cells, ["São", "1"]);
        assert_eq!(western.record(&Said::Cells(cells), b"\n"), Ok(b"S\xe3o;1\n".to_vec()));
        assert_eq!(western.record(&Said::Cells(vec!["€ 中".into()]), b"\n"), Err('中'));
    }

    #[test]
    fn a_record_is_written_as_it_is_read() {
        for cells in [&["a", "b;c"][..], &["say \"hi\"", "two\nlines"], &["", ""], &[""], &["\u{feff}x", " y "]] {
            let cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
            let bytes = CSV.record(&Said::Cells(cells.clone()), b"\r\n").unwrap();
            let raw = Records::new(&bytes[..], &CSV).next().unwrap().unwrap();
            assert!(matches!(CSV.say(&raw), Ok(Said::Cells(read)) if read == cells), "{cells:?}");
        }
    }
}
