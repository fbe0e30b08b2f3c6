//! A folder of files: which objects they are, and how their records stand in
//! them.

use super::connection::objects_of;
use crate::config::decode::{Choice, Table, boolean, choice, count, entries, name, names, text};
use crate::config::model::scalar::Duration;
use crate::config::tree::{At, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use schemars::{JsonSchema, Schema, json_schema};

/// A folder of files.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(inline)]
pub struct Files {
    /// The folder, relative to the file this is written in. Its CSV files
    /// (`.csv`, `.tsv`) and JSON lines files (`.jsonl`, `.ndjson`), packed with
    /// gzip (`.gz`) or not, are objects under their own names.
    #[schemars(example = &"data")]
    pub path: At<String>,
    /// A file that changed less than this ago may still be written, and is
    /// waited for. Default: `2s`.
    #[schemars(example = &"10s")]
    pub settle: Option<At<Duration>>,
    /// What is said of files, by the name of the object: the file's own name, or
    /// one that `file` leads to a file. Default: none.
    #[schemars(with = "Option<std::collections::BTreeMap<String, FileObject>>")]
    pub objects: Vec<(At<String>, FileObject)>,
}

/// How the records of one file stand in it.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FileObject {
    #[schemars(skip)]
    pub place: Place,
    /// Nothing in it was reported.
    #[schemars(skip)]
    pub complete: bool,
    /// The file below the connection's `path`. Default: the object's name.
    #[schemars(example = &"customers.csv")]
    pub file: Option<At<String>>,
    /// Instead of one file, all below the connection's `path` whose names are like
    /// this: `*` stands for any characters, `?` for one. Each is read once, by
    /// what it holds; of records with one key, that of the last name counts.
    /// They are only read, and what stands in none of them is not gone for that.
    #[schemars(example = &"orders-*.csv")]
    pub pattern: Option<At<String>>,
    /// How records stand in it. Default: as the file's name tells.
    pub format: Option<At<FileFormat>>,
    /// The character between the cells of a line, in a CSV file. Default: `,`,
    /// and a tab in a `.tsv` file.
    #[schemars(example = &";")]
    pub delimiter: Option<At<String>>,
    /// The character around cells that hold a delimiter or a line end; twice, it
    /// stands for itself. Default: `"`.
    pub quote: Option<At<String>>,
    /// Whether the first line of a CSV file names the fields. Default: `true`;
    /// with `false` all of them are named under `fields`, in their order.
    pub header: Option<At<bool>>,
    /// The way to the records of an XML file: the names of the elements from the
    /// root on, without their prefixes. What else stands in the file stays there.
    #[schemars(example = &"/orders/order")]
    pub record: Option<At<String>>,
    /// How characters are written. Default: `utf-8`, with or without a byte
    /// order mark; XML is never anything else.
    pub encoding: Option<At<FileEncoding>>,
    /// What stands before the fraction of a `decimal`. Default: `point`.
    pub decimal: Option<At<DecimalMark>>,
    /// What the fields hold; and where there is no header, or no file yet, which
    /// fields there are. Default: `text` in a CSV file; in JSON lines and XML
    /// what the first 1,000 records show. Of fixed width all of them are named,
    /// in their order.
    #[schemars(with = "Option<std::collections::BTreeMap<String, FileField>>")]
    pub fields: Vec<(At<String>, FileField)>,
    /// The fields that tell records apart, where a mapping names none. Default:
    /// none.
    #[schemars(default, example = ["code"])]
    pub key: Vec<At<String>>,
}

/// How records stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum FileFormat {
    /// Lines of cells.
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// Lines of cells that are so many characters wide.
    FixedWidth,
    /// Elements of a document; `record` leads to them.
    Xml,
}

impl Choice for FileFormat {
    const WHAT: &'static str = "a format of files";
    const WORDS: &'static [(&'static str, FileFormat)] = &[
        ("csv", FileFormat::Csv),
        ("json_lines", FileFormat::JsonLines),
        ("fixed_width", FileFormat::FixedWidth),
        ("xml", FileFormat::Xml),
    ];
}

/// How characters are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(inline)]
pub enum FileEncoding {
    /// Unicode, in one to four bytes a character.
    #[serde(rename = "utf-8")]
    Utf8,
    /// Of western Europe, also known as Latin 1.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

impl Choice for FileEncoding {
    const WHAT: &'static str = "an encoding";
    const WORDS: &'static [(&'static str, FileEncoding)] =
        &[("utf-8", FileEncoding::Utf8), ("windows-1252", FileEncoding::Windows1252)];
}

/// What stands before the fraction of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum DecimalMark {
    /// `1234.56`
    Point,
    /// `1234,56`; points may stand between the thousands.
    Comma,
}

impl Choice for DecimalMark {
    const WHAT: &'static str = "a mark of decimals";
    const WORDS: &'static [(&'static str, DecimalMark)] =
        &[("point", DecimalMark::Point), ("comma", DecimalMark::Comma)];
}

/// What a field holds: its type, or the type with a form.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, transform = or_type)]
pub struct FileField {
    /// What the field holds. Default: `text`.
    #[serde(rename = "type")]
    pub kind: Option<At<FileFieldType>>,
    /// How its dates and times are written, in the letters of strftime. Default:
    /// as in ISO 8601.
    #[schemars(example = &"%d/%m/%Y")]
    pub format: Option<At<String>>,
    /// How many characters it takes in a line of fixed width. Texts stand at
    /// their left end, numbers at the right one, with blanks beside them.
    #[schemars(example = &6)]
    pub width: Option<At<u32>>,
    /// The way to it in an element of XML: names with `/` between them, an
    /// attribute as `@name`. Default: its own name.
    #[schemars(example = &"address/@city")]
    pub path: Option<At<String>>,
}

impl FileField {
    /// What it holds.
    pub fn kind(&self) -> FileFieldType {
        self.kind.as_ref().map_or(FileFieldType::Text, |kind| kind.value)
    }
}

/// Adds the short form that is the type alone.
fn or_type(schema: &mut Schema) {
    let long = std::mem::take(schema);
    let mut short = long.pointer("/properties/type").cloned().unwrap_or_default();
    if let Some(short) = short.as_object_mut() {
        short.remove("description");
    }
    *schema = json_schema!({ "anyOf": [short, long] });
}

/// What a field of a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum FileFieldType {
    /// The cell as it stands; an empty one holds nothing.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number, exactly as it is written.
    Decimal,
    /// `true` or `false`, or 1 or 0.
    Boolean,
    /// A day.
    Date,
    /// A time of day.
    Time,
    /// A date and time without a zone.
    Datetime,
    /// A point in time; without a zone, in the connection's.
    Timestamp,
    /// A JSON document.
    Json,
}

impl Choice for FileFieldType {
    const WHAT: &'static str = "a type of fields";
    const WORDS: &'static [(&'static str, FileFieldType)] = &[
        ("text", FileFieldType::Text),
        ("integer", FileFieldType::Integer),
        ("decimal", FileFieldType::Decimal),
        ("boolean", FileFieldType::Boolean),
        ("date", FileFieldType::Date),
        ("time", FileFieldType::Time),
        ("datetime", FileFieldType::Datetime),
        ("timestamp", FileFieldType::Timestamp),
        ("json", FileFieldType::Json),
    ];
}

impl FileFieldType {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

impl Files {
    pub(super) fn read(table: &mut Table<'_, '_>) -> Option<Files> {
        let path = table.required("path", name);
        let settle = table.optional("settle", Duration::decode);
        let objects = table.optional("objects", |node, diagnostics| objects_of(node, diagnostics, FileObject::decode));
        Some(Files { path: path?, settle, objects: objects.unwrap_or_default() })
    }
}

impl Files {
    /// The pattern that an object stands for, if it does.
    pub fn pattern_of(&self, object: &str) -> Option<&At<String>> {
        self.objects.iter().find(|(name, _)| name.value == object)?.1.pattern.as_ref()
    }
}

impl FileObject {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<FileObject> {
        let mut table = Table::open(node, "a file", diagnostics)?;
        let mut object = FileObject {
            place: node.place.clone(),
            complete: false,
            file: table.optional("file", name),
            pattern: table.optional("pattern", name),
            format: table.optional("format", format),
            delimiter: table.optional("delimiter", mark),
            quote: table.optional("quote", mark),
            header: table.optional("header", boolean),
            record: table.optional("record", way),
            encoding: table.optional("encoding", choice),
            decimal: table.optional("decimal", choice),
            fields: table.optional("fields", fields).unwrap_or_default(),
            key: table.optional("key", names).unwrap_or_default(),
        };
        object.complete = table.finish();
        Some(object)
    }
}

fn format(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<FileFormat>> {
    if node.text() == Some("parquet") {
        diagnostics.push(crate::config::decode::not_yet(&node.place, "the format `parquet`"));
        return None;
    }
    choice(node, diagnostics)
}

/// The way to an element, from the root.
fn way(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<String>> {
    let way = text(node, diagnostics)?;
    let is_odd = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if way
        .value
        .strip_prefix('/')
        .is_some_and(|names| names.split('/').all(|name| !name.is_empty() && !name.contains(is_odd)))
    {
        return Some(way);
    }
    let message = format!("`{}` is not the way to an element", way.value);
    let help = "write the names of the elements from the root on, without prefixes: `/orders/order`";
    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &way.place, message).help(help));
    None
}

/// One character of ASCII.
fn mark(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<String>> {
    let mark = text(node, diagnostics)?;
    if matches!(mark.as_bytes(), [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n')) {
        return Some(mark);
    }
    let message = format!("`{}` is not one character", mark.value);
    let help = "write one character of ASCII; a tab as \"\\t\", in double quotes";
    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &mark.place, message).help(help));
    None
}

fn fields(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<(At<String>, FileField)>> {
    let entries = entries(node, "`fields`", diagnostics)?;
    let read = |(key, value): &(Node, Node)| {
        let name = name(key, diagnostics);
        let field = FileField::decode(value, diagnostics);
        Some((name?, field?))
    };
    Some(entries.iter().filter_map(read).collect())
}

impl FileField {
    fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<FileField> {
        if node.as_map().is_none() {
            return Some(FileField { kind: Some(choice(node, diagnostics)?), format: None, width: None, path: None });
        }
        let mut table = Table::open(node, "a field", diagnostics)?;
        let field = FileField {
            kind: table.optional("type", choice),
            format: table.optional("format", text),
            width: table.optional("width", count),
            path: table.optional("path", name),
        };
        table.finish();
        Some(field)
    }
}
