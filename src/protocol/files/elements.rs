//! Files of XML: records are the elements at the end of a path.
//!
//! Names are compared without their prefixes.

use std::io::{BufRead, BufReader, Read};

use quick_xml::Reader;
use quick_xml::events::Event;

use super::element::{DEEPEST, is_blank, local};
use super::records::{Frame, Raw};

/// A record beyond so many bytes is not read into memory.
const LONGEST: usize = 64 << 20;

/// Reads the elements at the end of a path one after the other.
pub(super) struct Elements<R: Read> {
    reader: Reader<Kept<BufReader<R>>>,
    record: Vec<String>,
    /// The names of the elements one is in.
    open: Vec<String>,
    /// Where the blanks begin that were just read.
    blanks: Option<u64>,
    frame: Frame,
    /// So many elements hold records, or may.
    parents: usize,
    has_records: bool,
}

impl<R: Read> Elements<R> {
    pub(super) fn new(reader: R, record: &[String]) -> Elements<R> {
        let reader = Reader::from_reader(Kept::new(BufReader::with_capacity(1 << 16, reader)));
        Elements {
            reader,
            record: record.to_vec(),
            open: Vec::new(),
            blanks: None,
            frame: Frame::default(),
            parents: 0,
            has_records: false,
        }
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Raw>> {
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let at = self.reader.get_ref().position();
            self.reader.get_mut().forget_before(self.blanks.unwrap_or(at));
            let line = self.reader.get_ref().line();
            let event = match self.reader.read_event_into(&mut buffer) {
                Ok(event) => event,
                Err(error) => return Err(broken(self.reader.get_ref().line(), &error.to_string())),
            };
            let begin = self.blanks.take().unwrap_or(at);
            match event {
                Event::Start(start) => {
                    self.open.push(local(start.name().as_ref()).to_owned());
                    if self.open == self.record {
                        let end = start.to_end().into_owned();
                        let mut inside = Vec::new();
                        if let Err(error) = self.reader.read_to_end_into(end.name(), &mut inside) {
                            return Err(broken(self.reader.get_ref().line(), &error.to_string()));
                        }
                        self.open.pop();
                        return Ok(Some(self.found(begin, line)));
                    }
                    if self.open.len() > DEEPEST {
                        return Err(broken(line, "elements are nested too deeply"));
                    }
                    self.parents += usize::from(self.holds());
                }
                Event::Empty(start) => {
                    let name = start.name().as_ref().to_owned();
                    self.open.push(local(&name).to_owned());
                    let (is_record, holds) = (self.open == self.record, self.holds());
                    self.open.pop();
                    if is_record {
                        return Ok(Some(self.found(begin, line)));
                    }
                    if holds {
                        // It has to be opened for the first record.
                        self.parents += 1;
                        let attributes = start.attributes_raw().trim_end();
                        let opening = format!("<{name}{attributes}>");
                        let kept = self.reader.get_ref();
                        let blanks = kept.between(begin, at).filter(|blanks| blanks.contains('\n')).unwrap_or_default();
                        let around = Some((opening, format!("{blanks}</{name}>")));
                        self.frame = Frame { head: at, tail: kept.position(), around, fixed: None };
                    }
                }
                Event::End(_) => {
                    if self.holds() && !self.has_records && self.frame.around.is_none() {
                        // Records would stand before the blanks at its end.
                        (self.frame.head, self.frame.tail) = (begin, begin);
                    }
                    self.open.pop();
                }
                Event::Text(text) if is_blank(&text) => self.blanks = Some(at),
                Event::Decl(declaration) => {
                    if let Some(Ok(encoding)) = declaration.encoding()
                        && !["utf-8", "utf8", "us-ascii"].iter().any(|known| encoding.eq_ignore_ascii_case(known))
                    {
                        let why = format!("it says that it is written in {encoding}, and only UTF-8 is read");
                        return Err(broken(line, &why));
                    }
                }
                Event::Eof => {
                    if let Some(open) = self.open.last() {
                        return Err(broken(line, &format!("`{open}` is not closed")));
                    }
                    return Ok(None);
                }
                _ => {}
            }
        }
    }

    /// True where one is in an element that holds records.
    fn holds(&self) -> bool {
        self.record.split_last().is_some_and(|(_, parents)| self.open == parents)
    }

    fn found(&mut self, begin: u64, line: u64) -> Raw {
        self.has_records = true;
        let bytes = self.reader.get_mut().take(begin);
        Raw { line, at: begin, length: bytes.len() as u64, bytes, is_open: false }
    }

    /// What stands around the records, once all of them were read.
    pub(super) fn frame(&self) -> Frame {
        let fixed = match self.parents {
            _ if self.record.len() < 2 => Some("its root is the record, of which a document has one"),
            0 => Some("it has no element that its records would stand in"),
            1 => None,
            _ => Some("its records stand in several elements"),
        };
        Frame { fixed, ..self.frame.clone() }
    }
}

fn broken(line: u64, why: &str) -> std::io::Error {
    std::io::Error::other(format!("line {line}: {why}"))
}

/// A reader that keeps what was read since a place.
struct Kept<R> {
    inner: R,
    bytes: Vec<u8>,
    /// Where that begins, and the lines before it.
    from: u64,
    lines: u64,
}

impl<R> Kept<R> {
    fn new(inner: R) -> Kept<R> {
        Kept { inner, bytes: Vec::new(), from: 0, lines: 0 }
    }

    fn position(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    /// The number of the line that is read on, from 1.
    fn line(&self) -> u64 {
        self.lines + newlines(&self.bytes) + 1
    }

    /// What was read between two places, where that is kept.
    fn between(&self, begin: u64, end: u64) -> Option<&str> {
        let place = |at: u64| usize::try_from(at.checked_sub(self.from)?).ok();
        std::str::from_utf8(self.bytes.get(place(begin)?..place(end)?)?).ok()
    }

    fn forget_before(&mut self, at: u64) {
        let count = usize::try_from(at.saturating_sub(self.from)).map_or(self.bytes.len(), |n| n.min(self.bytes.len()));
        self.lines += newlines(&self.bytes[..count]);
        self.bytes.drain(..count);
        self.from += count as u64;
    }

    /// What was read from a place on.
    fn take(&mut self, at: u64) -> Vec<u8> {
        self.forget_before(at);
        self.lines += newlines(&self.bytes);
        self.from += self.bytes.len() as u64;
        std::mem::take(&mut self.bytes)
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').skip(1).count() as u64
}

impl<R: BufRead> Read for Kept<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let mut ready = self.fill_buf()?;
        let count = ready.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Kept<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.bytes.len() > LONGEST {
            return Err(std::io::Error::other("a record of it has more than 64 MiB"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What was filled in before is there still, and is not read again for it.
        if let Ok(ready) = self.inner.fill_buf() {
            self.bytes.extend_from_slice(&ready[..count.min(ready.len())]);
        }
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    /// The records of a document, each with its line, and what stands around them.
    fn read(text: &str, record: &str) -> std::io::Result<(Vec<(u64, String)>, Frame)> {
        let mut elements = Elements::new(text.as_bytes(), &way(record));
        let mut all = Vec::new();
        while let Some(raw) = elements.next()? {
            let from = usize::try_from(raw.at).unwrap();
            assert_eq!(raw.bytes, &text.as_bytes()[from..from + raw.bytes.len()], "where it stands");
            all.push((raw.line, String::from_utf8(raw.bytes).unwrap()));
        }
        Ok((all, elements.frame()))
    }

    #[test]
    fn elements_at_the_end_of_a_path_are_records() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- <order/> -->\n<o:orders xmlns:o=\"urn:o\">\n  <order>other</order2>";
        assert!(read(text, "orders/order").unwrap_err().to_string().starts_with("line 4:"));
        let text = text.replace("</order2>", "</order>")
            + "\n  <!-- c --><o:order id='2'><order>inner</order>\n</o:order>\n  <x><order/></x><order/>\n</o:orders>\n";
        let (records, frame) = read(&text, "orders/order").unwrap();
        assert_eq!(
            records,
            [
                (4, "\n  <order>other</order>".to_owned()),
                (5, "<o:order id='2'><order>inner</order>\n</o:order>".to_owned()),
                (7, "<order/>".to_owned()),
            ]
        );
        assert_eq!(frame.fixed, None);
        for (text, expected) in [
            ("<a><b/><b><c/></b></a>", Some("its records stand in several elements")),
            ("<a/>", Some("it has no element that its records would stand in")),
            ("<a><b/></a>", None),
        ] {
            assert_eq!(read(text, "a/b/c").unwrap().1.fixed, expected, "{text}");
        }
        let (_, frame) = read("<a>\n <b x='1' />\n</a>", "a/b/c").unwrap();
        let around = Some(("<b x='1'>".to_owned(), "\n </b>".to_owned()));
        assert_eq!((frame.head, frame.tail, frame.around), (5, 16, around));
        let (_, frame) = read("<a><b>\n  </b></a>", "a/b/c").unwrap();
        assert_eq!((frame.head, frame.tail), (6, 6));
        for (text, told) in [
            ("<a><b>", "`b` is not closed"),
            ("<?xml version='1.0' encoding='ISO-8859-1'?><a/>", "only UTF-8 is read"),
            ("<a>\n</b>", "line 2:"),
        ] {
            let error = read(text, "a/c").unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let deep = "<a>".repeat(5000);
        assert!(read(&deep, "a/b").unwrap_err().to_string().contains("too deeply"));
    }
}
