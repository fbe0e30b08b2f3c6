//! Which files there are, and what their records hold.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::cell::Column;
use super::config::{CellKind, FieldSettings, FileSettings, FilesSettings, Format};
use super::layout::{Layout, Manner, Said};
use super::lines::{Lines, Slot};
use super::place;
use super::records::{Raw, Records};
use super::stage::Form;
use crate::connector::{Description, Fault, ObjectSummary};
use crate::protocol::is_locked_away;
use crate::record::{Shape, Value};

/// So many records tell which fields documents have, and what these hold.
const SAMPLE: usize = 1000;

/// An object and its file.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) name: String,
    /// The file, or one of that pattern's names.
    pub(super) path: PathBuf,
    said: FileSettings,
    format: Format,
}

/// The ending of a file's name in small letters, without that of a packed one.
fn ending(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    Some(name.rsplit_once('.')?.1.to_owned())
}

/// The format that a file's name tells.
fn format_of(path: &Path) -> Option<Format> {
    match ending(path)?.as_str() {
        "csv" | "tsv" => Some(Format::Csv),
        "jsonl" | "ndjson" => Some(Format::JsonLines),
        "xml" => Some(Format::Xml),
        _ => None,
    }
}

/// Every object: those that something is said of, and the other files of the
/// folder whose names tell their format.
pub(super) fn list(settings: &FilesSettings) -> std::io::Result<Vec<ObjectSummary>> {
    let of_format = |format: Format| match format {
        Format::Csv => "csv",
        Format::JsonLines => "json_lines",
        Format::FixedWidth => "fixed_width",
        Format::Xml => "xml",
    };
    let mut objects: Vec<ObjectSummary> = Vec::new();
    for name in settings.objects.keys() {
        if let Some(found) = find(settings, name) {
            objects.push(ObjectSummary { name: name.clone(), kind: of_format(found.format).into() });
        }
    }
    let is_of = |said: &FileSettings, name: &str| said.pattern.as_ref().is_some_and(|pattern| is_like(pattern, name));
    let is_its = |object: &String, said: &FileSettings, name: &str| said.file.as_ref().unwrap_or(object) == name;
    let taken =
        |name: &str| settings.objects.iter().any(|(object, said)| is_its(object, said, name) || is_of(said, name));
    let mut others = Vec::new();
    for entry in std::fs::read_dir(&settings.folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // Of XML nothing says which elements are the records.
        let tells = |format: &Format| *format != Format::Xml && path.is_file() && !name.starts_with('.');
        if let Some(format) = format_of(&path).filter(tells).filter(|_| !taken(&name)) {
            others.push(ObjectSummary { name, kind: of_format(format).into() });
        }
    }
    others.sort_by(|a, b| a.name.cmp(&b.name));
    objects.extend(others);
    Ok(objects)
}

/// An object by its name; `None` where there is none of that name.
pub(super) fn find(settings: &FilesSettings, name: &str) -> Option<Found> {
    let said = settings.objects.get(name).cloned();
    let pattern = said.as_ref().and_then(|said| said.pattern.as_deref());
    let file = pattern.or(said.as_ref().and_then(|said| said.file.as_deref())).unwrap_or(name);
    // Nothing leads out of the folder.
    let is_below = Path::new(file).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let path = settings.folder.join(file);
    let format = said.as_ref().and_then(|said| said.format).or_else(|| format_of(&path))?;
    if format == Format::Xml && said.as_ref().is_none_or(|said| said.record.is_empty()) {
        return None;
    }
    let is_there = || match pattern {
        Some(pattern) => alike(&settings.folder, pattern).is_ok_and(|names| !names.is_empty()),
        None => path.is_file(),
    };
    let is_known = said.as_ref().is_some_and(|said| !said.fields.is_empty()) || is_there();
    (is_below && is_known).then(|| Found { name: name.to_owned(), path, said: said.unwrap_or_default(), format })
}

/// True for a name that is like a pattern.
fn is_like(pattern: &str, name: &str) -> bool {
    wildmatch::WildMatch::new(pattern).matches(name)
}

/// The names of a folder's files that are like a pattern, in their order.
pub(super) fn alike(folder: &Path, pattern: &str) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && is_like(pattern, &name) && entry.path().is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

impl Found {
    /// The pattern of its files, where it has one.
    pub(super) fn pattern(&self) -> Option<&str> {
        self.said.pattern.as_deref()
    }

    /// The same with one of its files.
    pub(super) fn of(&self, path: PathBuf) -> Found {
        Found { path, ..self.clone() }
    }

    fn layout(&self) -> Layout {
        let is_tabbed = ending(&self.path).as_deref() == Some("tsv");
        let slot = |(_, said): &(String, FieldSettings)| Slot {
            width: said.width.unwrap_or_default(),
            is_right: matches!(said.kind, CellKind::Integer | CellKind::Decimal),
        };
        let manner = match self.format {
            Format::Csv => Manner::Csv {
                delimiter: self.said.delimiter.unwrap_or(if is_tabbed { b'\t' } else { b',' }),
                quote: self.said.quote.unwrap_or(b'"'),
                has_header: !self.said.has_no_header,
            },
            Format::JsonLines => Manner::JsonLines,
            Format::FixedWidth => Manner::FixedWidth(self.said.fields.iter().map(slot).collect()),
            Format::Xml => Manner::Xml { record: self.said.record.clone() },
        };
        Layout { manner, encoding: self.said.encoding }
    }

    /// How its records stand in the file, which holds this.
    ///
    /// # Errors
    /// Where the file cannot be read, or its first line says something else than
    /// the settings.
    pub(super) fn form(
        &self,
        settings: &FilesSettings,
        content: Option<Box<dyn Read>>,
        doing: &str,
    ) -> Result<Form, Fault> {
        let layout = self.layout();
        let refuse = |message: String| Fault::user(doing, "", message);
        let path = self.path.display();
        let unread = |error: std::io::Error| refuse(format!("`{path}` cannot be read: {error}"));
        let columns = match content {
            None => self.declared(settings),
            Some(file) => match Records::new(file, &layout).map_err(unread)? {
                Records::Lines(Lines { header: Some(header), .. }) => {
                    self.named(&header, &layout, settings).map_err(refuse)?
                }
                records if matches!(self.format, Format::JsonLines | Format::Xml) => {
                    self.seen(records, &layout, settings).map_err(unread)?
                }
                _ => self.declared(settings),
            },
        };
        if columns.is_empty() {
            return Err(refuse(format!(
                "nothing says which fields `{path}` has: name them under `fields` of the object"
            )));
        }
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        let key = self.said.key.iter().map(|name| {
            place(name).ok_or_else(|| refuse(format!("`{path}` has no field `{name}`, which `key` names")))
        });
        let key = key.collect::<Result<_, _>>()?;
        Ok(Form { layout, columns, key })
    }

    fn column(&self, name: &str, said: Option<&FieldSettings>, settings: &FilesSettings) -> Column {
        let path = said.and_then(|said| said.path.as_deref()).unwrap_or(name);
        Column {
            name: name.to_owned(),
            kind: said.map_or(CellKind::Text, |said| said.kind),
            format: said.and_then(|said| said.format.clone()),
            decimal_comma: self.said.decimal_comma,
            empty_is_null: self.format != Format::JsonLines,
            width: said.and_then(|said| said.width),
            path: path.split('/').map(str::to_owned).collect(),
            timezone: settings.timezone,
        }
    }

    /// The columns that the settings name.
    fn declared(&self, settings: &FilesSettings) -> Vec<Column> {
        self.said.fields.iter().map(|(name, said)| self.column(name, Some(said), settings)).collect()
    }

    /// The columns that the first line names.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    fn named(&self, header: &Raw, layout: &Layout, settings: &FilesSettings) -> Result<Vec<Column>, String> {
        let path = self.path.display();
        let names = match layout.say(header).map_err(|why| format!("`{path}`, line 1: {why}"))? {
            Said::Cells(names) => names,
            Said::Document(_) | Said::Element(_) => Vec::new(),
        };
        let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
        let is_twice = |(index, name): &(usize, &&str)| !name.is_empty() && names[..*index].contains(*name);
        if let Some((_, twice)) = names.iter().enumerate().find(is_twice) {
            return Err(format!("`{path}` names `{twice}` twice in its first line"));
        }
        if let Some((gone, _)) = self.said.fields.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            let known = crate::diagnostic::quoted(&names);
            return Err(format!("`{path}` has no field `{gone}` in its first line, but {known}"));
        }
        let said = |name: &str| self.said.fields.iter().find(|(said, _)| said == name).map(|(_, said)| said);
        Ok(names.iter().map(|name| self.column(name, said(name), settings)).collect())
    }

    /// The columns that the settings name, and those that the first records have.
    fn seen<R: Read>(
        &self,
        records: Records<R>,
        layout: &Layout,
        settings: &FilesSettings,
    ) -> std::io::Result<Vec<Column>> {
        let mut columns = self.declared(settings);
        for (name, kind) in sample(records, layout)? {
            let path: Vec<String> = name.split('/').map(str::to_owned).collect();
            if !columns.iter().any(|column| column.name == name || column.path == path) {
                columns.push(self.column(&name, Some(&FieldSettings { kind, ..FieldSettings::default() }), settings));
            }
        }
        Ok(columns)
    }

    /// Everything that is known of it.
    pub(super) fn describe(&self, settings: &FilesSettings, doing: &str) -> Result<Description, Fault> {
        let unread = |error: std::io::Error| Fault::user(doing, "", format!("the file cannot be read: {error}"));
        let names = match self.pattern() {
            Some(pattern) => alike(&settings.folder, pattern).map_err(unread)?,
            None => Vec::new(),
        };
        // The newest file that can be read tells of all.
        let form = |file: &Found| file.form(settings, place::open(&file.path).map_err(unread)?, doing);
        let mut forms = names.iter().rev().map(|name| form(&self.of(settings.folder.join(name))));
        let form = match forms.next() {
            Some(newest) => newest.or_else(|fault| forms.find_map(Result::ok).ok_or(fault))?,
            None if self.pattern().is_some() => self.form(settings, None, doing)?,
            None => form(self)?,
        };
        let folder = std::fs::canonicalize(&settings.folder).unwrap_or_else(|_| settings.folder.clone());
        let key: Vec<String> = form.key.iter().map(|index| form.columns[*index].name.clone()).collect();
        let is_locked = is_locked_away(&folder);
        let may_write = !is_locked && self.pattern().is_none();
        let mut notes = Vec::new();
        if is_locked {
            notes.push(format!("nothing can be written to the folder `{}`", folder.display()));
        }
        if let [only] = form.columns.as_slice()
            && self.format == Format::Csv
            && let Some(other) = [';', '\t', '|', ','].iter().find(|other| only.name.contains(**other))
        {
            notes.push(format!("its first line is one field that holds `{other}`: is `delimiter: {other:?}` missing?"));
        }
        // Cells without a name are the file's own affair.
        let named: Vec<&Column> = form.columns.iter().filter(|column| !column.name.is_empty()).collect();
        Ok(Description {
            name: self.name.clone(),
            identity: format!("files:{}", folder.display()),
            shape: Shape { fields: named.iter().map(|column| column.field()).collect() },
            unique: if key.is_empty() { Vec::new() } else { vec![key.clone()] },
            indexed: None,
            key,
            can_read: true,
            can_create: may_write,
            can_update: may_write,
            can_delete: may_write,
            sees_open_transactions: false,
            grains_nanos: named.iter().map(|column| grain(column.kind)).collect(),
            timezone: settings.timezone,
            notes,
        })
    }
}

/// Stamps of a column closer than this many nanoseconds may be the same moment.
fn grain(kind: CellKind) -> u64 {
    if kind == CellKind::Date { 86_400_000_000_000 } else { 1_000_000_000 }
}

/// The fields of the first records, in the order in which they come, each as what
/// all of its values are.
fn sample<R: Read>(mut records: Records<R>, layout: &Layout) -> std::io::Result<Vec<(String, CellKind)>> {
    let mut fields: Vec<(String, Option<CellKind>)> = Vec::new();
    for _ in 0..SAMPLE {
        let Some(raw) = records.next()? else { break };
        let seen: Vec<(String, Option<CellKind>)> = match layout.say(&raw) {
            Ok(Said::Document(Value::Map(entries))) => {
                entries.iter().map(|(name, value)| (name.to_string(), kind_of(value))).collect()
            }
            Ok(Said::Element(element)) => {
                element.fields().into_iter().map(|name| (name, Some(CellKind::Text))).collect()
            }
            _ => continue,
        };
        for (name, kind) in seen {
            match fields.iter_mut().find(|(known, _)| *known == name) {
                None => fields.push((name, kind)),
                Some((_, known)) => *known = common(*known, kind),
            }
        }
    }
    Ok(fields.into_iter().map(|(name, kind)| (name, kind.unwrap_or(CellKind::Text))).collect())
}

/// What a value of a document is; a null may be anything.
fn kind_of(value: &Value) -> Option<CellKind> {
    match value {
        Value::Null | Value::Missing | Value::JsonNull => None,
        Value::Boolean(_) => Some(CellKind::Boolean),
        Value::Integer(_) => Some(CellKind::Integer),
        Value::Decimal(_) | Value::WideDecimal(_) => Some(CellKind::Decimal),
        Value::Text(_) => Some(CellKind::Text),
        _ => Some(CellKind::Json),
    }
}

/// What values of both kinds are.
fn common(one: Option<CellKind>, other: Option<CellKind>) -> Option<CellKind> {
    match (one, other) {
        (None, other) | (other, None) => other,
        (Some(one), Some(other)) if one == other => Some(one),
        (Some(CellKind::Integer | CellKind::Decimal), Some(CellKind::Integer | CellKind::Decimal)) => {
            Some(CellKind::Decimal)
        }
        _ => Some(CellKind::Json),
    }
}
