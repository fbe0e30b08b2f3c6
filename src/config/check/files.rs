//! Checks of a folder of files: what is said of each file goes together.

use crate::config::environment;
use crate::config::model::{Connection, FileEncoding, FileFormat, FileObject, Files};
use crate::config::tree::At;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, nearest};

pub(super) fn check(connection: &Connection, files: &Files, diagnostics: &mut Diagnostics) {
    environment::check(&files.path, diagnostics);
    if let Some(timeout) = &connection.timeout {
        let message = "`timeout` is for servers and databases, and a folder is waited for by none";
        diagnostics.push(Diagnostic::error(Code::EXCLUSIVE, &timeout.place, message).help("leave it out"));
    }
    for (name, object) in &files.objects {
        check_file(name, object, diagnostics);
    }
}

fn check_file(name: &At<String>, object: &FileObject, diagnostics: &mut Diagnostics) {
    if let (Some(file), Some(pattern)) = (&object.file, &object.pattern) {
        let diagnostic = Diagnostic::error(Code::EXCLUSIVE, &pattern.place, "`pattern` beside `file`");
        diagnostics.push(diagnostic.related(&file.place, "the file stands here"));
    }
    let file = object.pattern.as_ref().or(object.file.as_ref()).unwrap_or(name);
    let leads_out = |part: std::path::Component<'_>| !matches!(part, std::path::Component::Normal(_));
    if std::path::Path::new(&file.value).components().any(leads_out) {
        let message = format!("`{}` is not a file below the connection's `path`", file.value);
        let help = "write the way from the folder to the file, without `..`";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &file.place, message).help(help));
    }
    let lower = file.value.to_lowercase();
    let ending = lower.trim_end_matches(".gz").rsplit_once('.').map_or("", |(_, ending)| ending);
    let told = match ending {
        "csv" | "tsv" => Some(FileFormat::Csv),
        "jsonl" | "ndjson" => Some(FileFormat::JsonLines),
        "xml" => Some(FileFormat::Xml),
        _ => None,
    };
    let Some(format) = object.format.as_ref().map(|format| format.value).or(told) else {
        if !object.complete {
            return;
        }
        let message = format!("the name `{}` does not tell how records stand in the file", file.value);
        let words = ["csv", "json_lines", "fixed_width", "xml"].map(|word| format!("`format: {word}`")).join(", ");
        diagnostics
            .push(Diagnostic::error(Code::MISSING_NAME, &object.place, message).help(format!("add one of {words}")));
        return;
    };
    check_settings(format, object, diagnostics);
    check_fields(format, object, diagnostics);
    let quote = object.quote.as_ref().map_or("\"", |quote| quote.as_str());
    let delimiter = object.delimiter.as_ref().map_or(if ending == "tsv" { "\t" } else { "," }, |mark| mark.as_str());
    if let Some(mark) = object.quote.as_ref().or(object.delimiter.as_ref()).filter(|_| quote == delimiter) {
        let message = format!("`{quote}` is the delimiter and the quote");
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &mark.place, message).help("say another `delimiter`"));
    }
}

/// Settings that only files of another format have, or that are missing.
fn check_settings(format: FileFormat, object: &FileObject, diagnostics: &mut Diagnostics) {
    let place = |at: &At<String>| at.place.clone();
    let own: [(&str, Option<Place>, FileFormat); 4] = [
        ("delimiter", object.delimiter.as_ref().map(place), FileFormat::Csv),
        ("quote", object.quote.as_ref().map(place), FileFormat::Csv),
        ("header", object.header.as_ref().map(|header| header.place.clone()), FileFormat::Csv),
        ("record", object.record.as_ref().map(place), FileFormat::Xml),
    ];
    for (name, place, of) in own {
        if let Some(place) = place.filter(|_| of != format) {
            misplaced(name, of, &place, diagnostics);
        }
    }
    if format == FileFormat::Xml && object.record.is_none() && object.complete {
        let message = "nothing says which elements of the file are its records";
        let help = "add the way to them from the root: `record: /orders/order`";
        diagnostics.push(Diagnostic::error(Code::MISSING_NAME, &object.place, message).help(help));
    }
    if let Some(encoding) = object.encoding.as_ref().filter(|encoding| encoding.value != FileEncoding::Utf8)
        && format == FileFormat::Xml
    {
        let message = "XML files are read and written in UTF-8 only";
        diagnostics.push(Diagnostic::error(Code::EXCLUSIVE, &encoding.place, message).help("leave it out"));
    }
}

fn misplaced(name: &str, of: FileFormat, place: &Place, diagnostics: &mut Diagnostics) {
    let kind = match of {
        FileFormat::Csv => "CSV files",
        FileFormat::JsonLines => "files of JSON lines",
        FileFormat::FixedWidth => "files of fixed width",
        FileFormat::Xml => "XML files",
    };
    let message = format!("`{name}` is for {kind}");
    diagnostics.push(Diagnostic::error(Code::EXCLUSIVE, place, message).help("leave it out"));
}

fn check_fields(format: FileFormat, object: &FileObject, diagnostics: &mut Diagnostics) {
    let no_header = object.header.as_ref().filter(|header| !header.value).map(|header| &header.place);
    let names_all = match format {
        FileFormat::Csv => no_header,
        FileFormat::FixedWidth => Some(&object.place),
        FileFormat::JsonLines | FileFormat::Xml => None,
    };
    if let Some(place) = names_all.filter(|_| object.fields.is_empty() && object.complete) {
        let message = if format == FileFormat::Csv {
            "without a header nothing names the fields"
        } else {
            "nothing names the fields of its lines"
        };
        let help = "name all of them under `fields`, in their order";
        diagnostics.push(Diagnostic::error(Code::MISSING_NAME, place, message).help(help));
    }
    for (name, field) in &object.fields {
        match &field.width {
            Some(width) if format != FileFormat::FixedWidth => {
                misplaced("width", FileFormat::FixedWidth, &width.place, diagnostics);
            }
            Some(width) if width.value == 0 => {
                let message = "a field of no characters";
                diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &width.place, message).help("write 1 or more"));
            }
            None if format == FileFormat::FixedWidth => {
                let message = format!("nothing says how wide `{}` is", name.value);
                let help = "write `{ type: text, width: 10 }`";
                diagnostics.push(Diagnostic::error(Code::MISSING_NAME, &name.place, message).help(help));
            }
            _ => {}
        }
        if let Some(path) = field.path.as_ref().filter(|_| format != FileFormat::Xml) {
            misplaced("path", FileFormat::Xml, &path.place, diagnostics);
        }
        let path = field.path.as_ref().unwrap_or(name);
        let (before, last) = path.value.rsplit_once('/').unwrap_or(("", &path.value));
        let is_way =
            is_name(last.strip_prefix('@').unwrap_or(last)) && (before.is_empty() || before.split('/').all(is_name));
        if format == FileFormat::Xml && !is_way {
            let message = format!("`{}` is not the way to an element or an attribute", path.value);
            let help = "write names with `/` between them, and an attribute as `@name`: `address/@city`";
            diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &path.place, message).help(help));
        }
    }
    for key in object.key.iter().filter(|_| !object.fields.is_empty() && names_all.is_some()) {
        if !object.fields.iter().any(|(name, _)| name.value == key.value) {
            let message = format!("`key` names `{}`, which is not among the `fields`", key.value);
            let near = nearest(&key.value, object.fields.iter().map(|(name, _)| name.as_str()));
            let diagnostic = Diagnostic::error(Code::UNKNOWN_NAME, &key.place, message);
            diagnostics.push(match near {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic,
            });
        }
    }
}

/// A name that an element can have, without a prefix.
fn is_name(name: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(goes_on)
}
