//! What a connection to a folder of files is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

/// The settings of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesSettings {
    /// The folder that the files lie in.
    pub folder: PathBuf,
    /// The zone of times that carry none.
    pub timezone: Tz,
    /// A file that changed less than this ago may still be written.
    pub settle: Duration,
    /// What is said of files, by the name of the object.
    pub objects: BTreeMap<String, FileSettings>,
}

/// What is said of one object. The default is what a file's name tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSettings {
    /// The file below the folder; by default the object's name.
    pub file: Option<String>,
    /// All files below the folder whose names are like this, instead: `*` stands
    /// for any characters, `?` for one.
    pub pattern: Option<String>,
    pub format: Option<Format>,
    /// Between the cells of a line; by default a comma, in a `.tsv` a tab.
    pub delimiter: Option<u8>,
    /// Around cells; by default `"`.
    pub quote: Option<u8>,
    /// False where the first line is a record as any other: `fields` names the
    /// cells then.
    pub has_no_header: bool,
    pub encoding: Encoding,
    /// Numbers have a comma before their fraction.
    pub decimal_comma: bool,
    /// The names of the elements that lead to a record of XML, from the root.
    pub record: Vec<String>,
    pub fields: Vec<(String, FieldSettings)>,
    /// The fields that tell records apart.
    pub key: Vec<String>,
}

/// How records stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// Lines of cells that are so many characters wide.
    FixedWidth,
    /// Elements of a document.
    Xml,
}

/// How characters stand in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// With or without a byte order mark.
    #[default]
    Utf8,
    Windows1252,
}

/// What is said of one field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSettings {
    pub kind: CellKind,
    /// How its dates and times are written, as strftime has it; by default as in
    /// ISO 8601.
    pub format: Option<String>,
    /// The characters it takes in a line of fixed width.
    pub width: Option<usize>,
    /// The way to it in an element: names with `/` between them, an attribute as
    /// `@name`; by default its own name.
    pub path: Option<String>,
}

/// What a cell holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CellKind {
    #[default]
    Text,
    Integer,
    Decimal,
    Boolean,
    Date,
    Time,
    /// Without a zone.
    Datetime,
    /// A point in time.
    Timestamp,
    Json,
}
