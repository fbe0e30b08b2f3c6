//! A new file from the one that was read and what is to be changed in it.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::layout::{Layout, Manner, Said, values};
use super::records::{Frame, Records};
use super::stage::Form;
use crate::record::{Value, same};

/// A record as it is to stand in the file.
pub(super) struct Standing {
    /// Its place among the records of the file that was read; `None` where it is
    /// new.
    pub(super) was: Option<u64>,
    /// It could not be read: it stays as it is.
    pub(super) is_bad: bool,
    pub(super) values: Vec<Value>,
}

/// Writes the whole file: what nobody changed as it stood, what is new behind it.
/// The records come in their order.
pub(super) fn render(
    out: &mut dyn Write,
    form: &Form,
    copy: Option<&Path>,
    mut standing: impl Iterator<Item = Standing>,
) -> std::io::Result<()> {
    let mut out = Out::new(out, &form.layout);
    let mut next = standing.next();
    let frame = match copy {
        None => {
            let around = start(form)?;
            out.begin(&around.0)?;
            Frame { around: Some((String::new(), around.1)), ..Frame::default() }
        }
        Some(copy) => {
            let mut gaps = Gaps { file: File::open(copy)?, at: 0 };
            let mut records = Records::new(File::open(copy)?, &form.layout)?;
            let mut number = 0;
            while let Some(raw) = records.next()? {
                number += 1;
                gaps.copy(raw.at, &mut out)?;
                gaps.at += raw.length;
                out.learn(&raw.bytes);
                let Some(row) = next.take_if(|row| row.was == Some(number)) else { continue };
                next = standing.next();
                let said = form.layout.say(&raw).ok();
                let stands = said.as_ref().is_some_and(|said| {
                    let (then, _) = values(&form.columns, said);
                    then.iter().zip(&row.values).all(|(then, now)| same(then, now))
                });
                if row.is_bad || stands {
                    out.write(&raw.bytes)?;
                } else {
                    out.record(form, said, &row.values)?;
                }
            }
            let frame = records.frame();
            if number == 0 {
                gaps.copy(frame.head, &mut out)?;
                gaps.at = frame.tail;
            }
            if let (Some(why), true) = (frame.fixed, next.is_some()) {
                return Err(std::io::Error::other(format!("nothing can be added to it, for {why}")));
            }
            out.rest = Some(gaps);
            frame
        }
    };
    let (opening, closing) = frame.around.filter(|_| next.is_some() || copy.is_none()).unwrap_or_default();
    out.to.write_all(opening.as_bytes())?;
    while let Some(row) = next {
        out.record(form, None, &row.values)?;
        next = standing.next();
    }
    out.end(&closing)
}

/// What a file begins and ends with that is not there yet.
fn start(form: &Form) -> std::io::Result<(Vec<u8>, String)> {
    match &form.layout.manner {
        Manner::Csv { has_header: true, .. } => {
            let names = form.columns.iter().map(|column| column.name.clone()).collect();
            let header = form.layout.record(&Said::Cells(names), "\n").map_err(unheld)?;
            Ok((header, String::new()))
        }
        Manner::Xml { record } => {
            let parents = record.split_last().map_or(&[][..], |(_, parents)| parents);
            let line = |(depth, tag): (usize, String)| format!("\n{}{tag}", "  ".repeat(depth));
            let tags =
                |begin: &str| parents.iter().map(|name| format!("{begin}{name}>")).enumerate().collect::<Vec<_>>();
            let opening: String = tags("<").into_iter().map(line).collect();
            let closing: String = tags("</").into_iter().rev().map(line).collect();
            Ok((format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{opening}").into_bytes(), closing + "\n"))
        }
        Manner::Csv { .. } | Manner::JsonLines | Manner::FixedWidth(_) => Ok((Vec::new(), String::new())),
    }
}

fn unheld(character: char) -> std::io::Error {
    std::io::Error::other(format!("the file's encoding has no `{character}`"))
}

fn line_end(bytes: &[u8]) -> Option<String> {
    let end = if bytes.ends_with(b"\r\n") { "\r\n" } else { "\n" };
    bytes.ends_with(b"\n").then(|| end.to_owned())
}

/// So many bytes between two records are held at once.
const PART: u64 = 64 * 1024;

/// What stands between the records of the file that was read.
struct Gaps {
    file: File,
    at: u64,
}

impl Gaps {
    /// Copies what stands before this place.
    fn copy<W: Write>(&mut self, to: u64, out: &mut Out<W>) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut before = None;
        while to > self.at {
            let mut part = Vec::new();
            let length = (&mut self.file).take((to - self.at).min(PART)).read_to_end(&mut part)?;
            if length == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.at += length as u64;
            if !out.are_lines || self.at == to {
                // The end of a line may have been cut in two.
                let whole: Vec<u8> = before.into_iter().chain(part.iter().copied()).collect();
                out.learn_around(&whole);
            }
            // No line ends between two parts.
            out.is_open &= before.is_none();
            out.write(&part)?;
            before = part.last().copied();
        }
        Ok(())
    }
}

/// Records one after the other.
struct Out<W: Write> {
    to: BufWriter<W>,
    /// What ends a line; of XML, what stands before an element.
    end: Option<String>,
    are_lines: bool,
    /// A document has no line ends so far.
    is_compact: bool,
    /// The last line has no end yet.
    is_open: bool,
    rest: Option<Gaps>,
}

impl<W: Write> Out<W> {
    fn new(out: W, layout: &Layout) -> Out<W> {
        let are_lines = !matches!(layout.manner, Manner::Xml { .. });
        Out { to: BufWriter::new(out), end: None, are_lines, is_compact: true, is_open: false, rest: None }
    }

    /// New records end, or begin, as the first one that is there.
    fn learn(&mut self, bytes: &[u8]) {
        if self.end.is_none() {
            self.end = if self.are_lines {
                line_end(bytes)
            } else {
                let blanks = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                Some(String::from_utf8_lossy(&bytes[..blanks]).into_owned())
            };
        }
    }

    /// Where there is no record, what stands around them tells as well.
    fn learn_around(&mut self, bytes: &[u8]) {
        if self.are_lines {
            self.end = self.end.take().or_else(|| line_end(bytes));
        } else {
            self.is_compact &= !bytes.contains(&b'\n');
        }
    }

    fn begin(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.learn_around(bytes);
        self.to.write_all(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.are_lines && self.is_open {
            let end = self.end.as_deref().unwrap_or("\n");
            self.to.write_all(end.as_bytes())?;
        }
        self.to.write_all(bytes)?;
        self.is_open = !bytes.ends_with(b"\n");
        Ok(())
    }

    /// A record that is new, or another than it was.
    fn record(&mut self, form: &Form, said: Option<Said>, values: &[Value]) -> std::io::Result<()> {
        let blanks = match (&form.layout.manner, &self.end) {
            (Manner::Xml { .. }, None) if self.is_compact => String::new(),
            (Manner::Xml { record }, None) => format!("\n{}", "  ".repeat(record.len().saturating_sub(1))),
            (_, end) => end.clone().unwrap_or_else(|| "\n".into()),
        };
        let said = form.layout.with(&form.columns, said, values, &blanks);
        let bytes = form.layout.record(&said, &blanks).map_err(unheld)?;
        self.write(&bytes)
    }

    /// What stands behind the records.
    fn end(mut self, closing: &str) -> std::io::Result<()> {
        self.to.write_all(closing.as_bytes())?;
        if let Some(mut gaps) = self.rest.take() {
            gaps.file.seek(SeekFrom::Start(gaps.at))?;
            std::io::copy(&mut gaps.file, &mut self.to)?;
        }
        self.to.flush()
    }
}
