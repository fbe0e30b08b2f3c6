//! How the records of a file stand in it: what the bytes of one say, and the
//! bytes of what one is to say.

use encoding_rs::WINDOWS_1252;

use super::cell::Column;
use super::config::{CellKind, Encoding};
use super::element::{Element, may_hold};
use super::lines::{Slot, cut, fill_up, join, split, text};
use super::records::Raw;
use crate::record::{Value, json, same};

/// How the records of one file stand in it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) manner: Manner,
    pub(super) encoding: Encoding,
}

/// What records are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Manner {
    /// Lines of cells, the first of which may name the fields.
    Csv { delimiter: u8, quote: u8, has_header: bool },
    /// A JSON object a line.
    JsonLines,
    /// Lines of cells that are so many characters wide.
    FixedWidth(Vec<Slot>),
    /// Elements, by the names that lead to them from the root.
    Xml { record: Vec<String> },
}

/// What a record of a file says.
#[derive(Debug)]
pub(super) enum Said {
    /// The texts of its cells.
    Cells(Vec<String>),
    /// A document.
    Document(Value),
    Element(Element),
}

impl Layout {
    pub(super) fn has_header(&self) -> bool {
        matches!(self.manner, Manner::Csv { has_header: true, .. })
    }

    /// What a record says.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn say(&self, raw: &Raw) -> Result<Said, String> {
        if raw.is_open {
            return Err("a quote is not closed".into());
        }
        let record = text(&raw.bytes);
        match &self.manner {
            Manner::Csv { delimiter, quote, .. } => {
                let cells = split(record, *delimiter, *quote).ok_or("a quote is not closed")?;
                Ok(Said::Cells(cells.into_iter().map(|cell| self.decode(cell)).collect::<Result<_, _>>()?))
            }
            Manner::FixedWidth(slots) => Ok(Said::Cells(cut(&self.decode(record.to_vec())?, slots)?)),
            Manner::JsonLines => {
                let document = json::parse(&self.decode(record.to_vec())?).ok_or("it is no JSON")?;
                if matches!(document, Value::Map(_)) {
                    Ok(Said::Document(document))
                } else {
                    Err("it is no JSON object".into())
                }
            }
            Manner::Xml { .. } => Element::read(&raw.bytes).map(Said::Element),
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

    /// What of a text cannot stand in the file, for people.
    pub(super) fn lacks(&self, text: &str) -> Option<String> {
        if let Manner::Xml { .. } = self.manner {
            let odd = text.chars().find(|character| !may_hold(*character))?;
            return Some(format!("XML has no character U+{:04X}", u32::from(odd)));
        }
        if matches!(self.manner, Manner::FixedWidth(_)) && text.contains(['\r', '\n']) {
            return Some("a line of fixed width holds no line end".into());
        }
        self.encode(text).err().map(|character| format!("the file's encoding has no `{character}`"))
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

    /// A record as it stands in a file, with this end of its line.
    ///
    /// # Errors
    /// The first character that the encoding does not have.
    pub(super) fn record(&self, said: &Said, end: &str) -> Result<Vec<u8>, char> {
        let text = match (said, &self.manner) {
            (Said::Cells(cells), Manner::FixedWidth(slots)) => fill_up(cells, slots) + end,
            (Said::Cells(cells), Manner::Csv { delimiter, quote, .. }) => join(cells, *delimiter, *quote) + end,
            (Said::Cells(_), Manner::JsonLines | Manner::Xml { .. }) => unreachable!("no cells are said there"),
            (Said::Document(document), _) => {
                let mut text = String::new();
                json::write(document, &mut text);
                text + end
            }
            (Said::Element(element), _) => element.to_string(),
        };
        self.encode(&text)
    }

    /// A record with other values in some of its columns; a new one where there
    /// is none yet, an element of it with these blanks before it.
    pub(super) fn with(&self, columns: &[Column], said: Option<Said>, new: &[Value], blanks: &str) -> Said {
        let said = said.unwrap_or_else(|| match &self.manner {
            Manner::Csv { .. } | Manner::FixedWidth(_) => Said::Cells(Vec::new()),
            Manner::JsonLines => {
                // With all its fields, also those that hold nothing.
                let entry = |column: &Column| (column.name.as_str().into(), Value::Null);
                Said::Document(Value::Map(Box::new(columns.iter().map(entry).collect())))
            }
            Manner::Xml { record } => Said::Element(Element::new(record.last().map_or("", String::as_str), blanks)),
        });
        let (before, _) = values(columns, &said);
        let changed = columns.iter().enumerate().filter(|(index, _)| !same(&before[*index], &new[*index]));
        match said {
            Said::Cells(mut cells) => {
                cells.resize(columns.len(), String::new());
                for (index, column) in changed {
                    cells[index] = column.render(&new[index]);
                }
                Said::Cells(cells)
            }
            Said::Document(Value::Map(mut entries)) => {
                for (index, column) in changed {
                    entries.insert(column.name.as_str().into(), member_of(column, &new[index]));
                }
                Said::Document(Value::Map(entries))
            }
            Said::Document(other) => Said::Document(other),
            Said::Element(mut element) => {
                for (index, column) in changed {
                    let text = (!new[index].is_null()).then(|| column.render(&new[index]));
                    element.set(&column.path, text.as_deref());
                }
                Said::Element(element)
            }
        }
    }
}

/// The values of the columns in what a record says.
///
/// # Errors
/// What is wrong with it, and the values all the same, as far as they can be
/// read.
pub(super) fn values(columns: &[Column], said: &Said) -> (Vec<Value>, Option<String>) {
    let mut wrong = None;
    if let Said::Cells(cells) = said
        && cells.len() != columns.len()
    {
        let plural = |count: usize| if count == 1 { "1 cell".to_owned() } else { format!("{count} cells") };
        wrong = Some(format!("it has {}, and the file has {}", plural(cells.len()), plural(columns.len())));
    }
    let read = |(index, column): (usize, &Column)| match said {
        Said::Cells(cells) => column.parse(cells.get(index).map_or("", String::as_str)),
        Said::Document(Value::Map(entries)) => {
            entries.get(column.name.as_str()).map_or(Ok(Value::Null), |value| member(column, value))
        }
        Said::Document(_) => Ok(Value::Null),
        Said::Element(element) => match element.text(&column.path) {
            Ok(text) => column.parse(&text.unwrap_or_default()),
            Err(why) => Err(format!("`{}`: {why}", column.name)),
        },
    };
    let values = columns.iter().enumerate().map(read).map(|read| {
        read.unwrap_or_else(|why| {
            wrong.get_or_insert(why);
            Value::Null
        })
    });
    (values.collect(), wrong)
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

/// A value as a JSON document has it: dates and times in the column's own form.
fn member_of(column: &Column, value: &Value) -> Value {
    match value {
        Value::Date(_) | Value::Time(_) | Value::LocalTime(_) | Value::Instant(_) => Value::text(column.render(value)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::records::Records;
    use super::*;

    fn csv(encoding: Encoding) -> Layout {
        Layout { manner: Manner::Csv { delimiter: b';', quote: b'"', has_header: false }, encoding }
    }

    fn read(layout: &Layout, text: &str) -> Vec<(u64, Result<Vec<String>, String>)> {
        let mut records = Records::new(text.as_bytes(), layout).unwrap();
        let (mut all, mut bytes) = (Vec::new(), Vec::new());
        while let Some(raw) = records.next().unwrap() {
            assert_eq!(raw.at, u64::try_from(bytes.len()).unwrap(), "records follow each other");
            bytes.extend_from_slice(&raw.bytes);
            let cells = layout.say(&raw).map(|said| match said {
                Said::Cells(cells) => cells,
                other => panic!("a line of cells is {other:?}"),
            });
            all.push((raw.line, cells));
        }
        assert_eq!(records.frame().tail, u64::try_from(bytes.len()).unwrap());
        assert!(text.as_bytes().starts_with(&bytes));
        all
    }

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn lines_are_records_and_quotes_hold_them_together() {
        let csv = csv(Encoding::Utf8);
        assert_eq!(
            read(&csv, "\u{feff}a;b\r\n1;x\n\n\"2;\"\"3\";\"two\nlines\"\r\n5\" pipe;\n;\"\""),
            [
                (1, Ok(cells(&["a", "b"]))),
                (2, Ok(cells(&["1", "x"]))),
                (4, Ok(cells(&["2;\"3", "two\nlines"]))),
                (6, Ok(cells(&["5\" pipe", ""]))),
                (7, Ok(cells(&["", ""]))),
            ]
        );
        let open = || Err("a quote is not closed".to_owned());
        assert_eq!(
            read(&csv, "a;b\n\"1;x\n2;y\n3;z"),
            [(1, Ok(cells(&["a", "b"]))), (2, open()), (3, Ok(cells(&["2", "y"]))), (4, Ok(cells(&["3", "z"])))]
        );
        // What is one quote within others is none of its own.
        assert_eq!(
            read(&csv, "\"1;x\n2;\"\"y\n3;z\n"),
            [(1, open()), (2, Ok(cells(&["2", "y"]))), (3, Ok(cells(&["3", "z"])))]
        );
        assert_eq!(read(&csv, ""), []);
        assert_eq!(read(&csv, "\n\n"), []);
    }

    #[test]
    fn what_is_not_text_is_told() {
        let bytes = &b"S\xe3o;1\n"[..];
        let raw = Records::new(bytes, &csv(Encoding::Utf8)).unwrap().next().unwrap().unwrap();
        let told = csv(Encoding::Utf8).say(&raw).unwrap_err();
        assert!(told.contains("0xe3") && told.contains("windows-1252"), "{told}");
        let western = csv(Encoding::Windows1252);
        let Ok(Said::Cells(cells)) = western.say(&raw) else { panic!("it is western text") };
        assert_eq!(cells, ["São", "1"]);
        assert_eq!(western.record(&Said::Cells(cells), "\n"), Ok(b"S\xe3o;1\n".to_vec()));
        assert_eq!(western.record(&Said::Cells(vec!["€ 中".into()]), "\n"), Err('中'));
    }

    #[test]
    fn a_record_is_written_as_it_is_read() {
        let csv = csv(Encoding::Utf8);
        for cells in [&["a", "b;c"][..], &["say \"hi\"", "two\nlines"], &["", ""], &[""], &["\u{feff}x", " y "]] {
            let cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
            let bytes = csv.record(&Said::Cells(cells.clone()), "\r\n").unwrap();
            let raw = Records::new(&bytes[..], &csv).unwrap().next().unwrap().unwrap();
            assert!(matches!(csv.say(&raw), Ok(Said::Cells(read)) if read == cells), "{cells:?}");
        }
    }

    #[test]
    fn cells_of_fixed_width_are_cut_and_filled_up() {
        let slot = |width, is_right| Slot { width, is_right };
        let manner = Manner::FixedWidth(vec![slot(3, false), slot(5, true), slot(2, false)]);
        let fixed = Layout { manner, encoding: Encoding::Utf8 };
        assert_eq!(
            read(&fixed, "São 12,5x \nab\n\n001    7ok    \n001    7okay"),
            [
                (1, Ok(cells(&["São", " 12,5", "x "]))),
                (2, Ok(cells(&["ab", "", ""]))),
                (4, Ok(cells(&["001", "    7", "ok"]))),
                (5, Err("it has 12 characters, and the fields have 10".to_owned())),
            ]
        );
        let line = |cells: &[&str]| {
            fixed.record(&Said::Cells(cells.iter().map(|cell| (*cell).to_owned()).collect()), "\n").unwrap()
        };
        assert_eq!(line(&["São", "12,5", ""]), "São 12,5  \n".as_bytes());
    }
}
