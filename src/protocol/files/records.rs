//! The records of a file one after the other: which bytes each has.
//!
//! The bytes matter: a record that nobody changed is written back as it was.

use std::io::Read;

use super::elements::Elements;
use super::layout::{Layout, Manner};
use super::lines::Lines;

/// The bytes of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    /// The number of its first line, from 1.
    pub(super) line: u64,
    /// Where it begins; blank lines and comments before it are its own.
    pub(super) at: u64,
    /// How many bytes it has from there.
    pub(super) length: u64,
    /// The bytes, with its line end; those before it may be left out.
    pub(super) bytes: Vec<u8>,
    /// A quote in it is not closed.
    pub(super) is_open: bool,
}

/// What stands around a file's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where the first record begins, or would.
    pub(super) head: u64,
    /// Where what stands behind the last record begins.
    pub(super) tail: u64,
    /// What has to stand before and behind records where there are none yet.
    pub(super) around: Option<(String, String)>,
    /// Why no other file can be made from it, for people.
    pub(super) fixed: Option<&'static str>,
}

/// Reads a file record by record.
pub(super) enum Records<R: Read> {
    Lines(Lines<R>),
    Elements(Box<Elements<R>>),
}

impl<R: Read> Records<R> {
    /// Those behind the header, which is read.
    pub(super) fn new(reader: R, layout: &Layout) -> std::io::Result<Records<R>> {
        Ok(match &layout.manner {
            Manner::Xml { record } => Records::Elements(Box::new(Elements::new(reader, record))),
            Manner::Csv { .. } | Manner::JsonLines | Manner::FixedWidth(_) => {
                Records::Lines(Lines::new(reader, layout)?)
            }
        })
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Raw>> {
        match self {
            Records::Lines(lines) => lines.next(),
            Records::Elements(elements) => elements.next(),
        }
    }

    /// What stands around the records, once all of them were read.
    pub(super) fn frame(&self) -> Frame {
        match self {
            Records::Lines(lines) => lines.frame(),
            Records::Elements(elements) => elements.frame(),
        }
    }
}
