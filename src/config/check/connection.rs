//! Checks of one connection: its address, and what it asks of the environment.

use crate::config::environment::{self, has_references};
use crate::config::model::{Connection, FileFormat, FileObject, Files, Postgres, Retry, Sqlite, System};
use crate::config::project::relative_to;
use crate::config::tree::At;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};

pub(super) fn check(connection: &Connection, diagnostics: &mut Diagnostics) {
    match &connection.system {
        System::Sqlite(sqlite) => check_sqlite(sqlite, diagnostics),
        System::Postgres(postgres) => check_postgres(connection, postgres, diagnostics),
        System::Files(files) => check_files(files, diagnostics),
    }
    if let Some(retry) = &connection.retry {
        check_retry(retry, diagnostics);
    }
}

fn check_sqlite(sqlite: &Sqlite, diagnostics: &mut Diagnostics) {
    environment::check(&sqlite.url, diagnostics);
    scheme(&sqlite.url, &["sqlite:"], "sqlite://data/demo.db", diagnostics);
    let Some(script) = &sqlite.create_from else { return };
    environment::check(script, diagnostics);
    if has_references(script) {
        return;
    }
    let path = relative_to(&script.place, script);
    if !path.is_file() {
        let message = format!("there is no file `{}`", path.display());
        let help = "the path is relative to the file it is written in";
        diagnostics.push(Diagnostic::error(Code::MISSING_FILE, &script.place, message).help(help));
    }
}

fn check_postgres(connection: &Connection, postgres: &Postgres, diagnostics: &mut Diagnostics) {
    let Postgres { url, host, port, database, username, password, objects: _ } = postgres;
    let parts =
        [("host", host), ("port", port), ("database", database), ("username", username), ("password", password)];
    for text in parts.iter().filter_map(|(_, part)| part.as_ref()).chain(url) {
        environment::check(text, diagnostics);
    }
    if let Some(url) = url {
        scheme(url, &["postgres://", "postgresql://"], "postgres://user@host/database", diagnostics);
        for (name, part) in parts {
            if let Some(part) = part {
                let message = format!("`{name}` beside `url`");
                let diagnostic = Diagnostic::error(Code::EXCLUSIVE, &part.place, message);
                let help = "put it into the address, or write the parts without `url`";
                diagnostics.push(diagnostic.help(help).related(&url.place, "the address stands here"));
            }
        }
    } else if host.is_none() && database.is_none() {
        let message = "a `postgres` connection needs `url`, or `host` and `database`";
        diagnostics.push(Diagnostic::error(Code::MISSING_NAME, &connection.place, message));
    }
    if let Some(port) = port.as_ref().filter(|port| !has_references(port))
        && !port.parse::<u16>().is_ok_and(|number| number > 0)
    {
        let message = format!("`{}` is not a port", port.value);
        let help = "write a number from 1 to 65535; the default is 5432";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &port.place, message).help(help));
    }
}

fn check_files(files: &Files, diagnostics: &mut Diagnostics) {
    environment::check(&files.path, diagnostics);
    for (name, object) in &files.objects {
        check_file(name, object, diagnostics);
    }
}

fn check_file(name: &At<String>, object: &FileObject, diagnostics: &mut Diagnostics) {
    let file = object.file.as_ref().unwrap_or(name);
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
        _ => None,
    };
    let Some(format) = object.format.as_ref().map(|format| format.value).or(told) else {
        let message = format!("the name `{}` does not tell how records stand in the file", file.value);
        let help = "add `format: csv` or `format: json_lines`";
        diagnostics.push(Diagnostic::error(Code::MISSING_NAME, &object.place, message).help(help));
        return;
    };
    let no_header = object.header.as_ref().filter(|header| !header.value);
    if let Some(header) = no_header.filter(|_| object.fields.is_empty()) {
        let message = "without a header nothing names the fields";
        let help = "name all of them under `fields`, in their order";
        diagnostics.push(Diagnostic::error(Code::MISSING_NAME, &header.place, message).help(help));
    }
    let marks = [("delimiter", &object.delimiter), ("quote", &object.quote)];
    let marks = marks.into_iter().filter_map(|(name, mark)| Some((name, &mark.as_ref()?.place)));
    let of_csv = marks.chain(object.header.as_ref().map(|header| ("header", &header.place)));
    for (name, place) in of_csv.filter(|_| format == FileFormat::JsonLines) {
        let message = format!("`{name}` is for CSV files");
        diagnostics.push(Diagnostic::error(Code::EXCLUSIVE, place, message).help("leave it out"));
    }
    if let (Some(delimiter), Some(quote)) = (&object.delimiter, &object.quote)
        && delimiter.value == quote.value
    {
        let message = format!("`{}` is the delimiter and the quote", quote.value);
        let diagnostic = Diagnostic::error(Code::BAD_VALUE, &quote.place, message);
        diagnostics.push(diagnostic.related(&delimiter.place, "the delimiter stands here"));
    }
    for key in object.key.iter().filter(|_| !object.fields.is_empty() && no_header.is_some()) {
        if !object.fields.iter().any(|(name, _)| name.value == key.value) {
            let message = format!("`key` names `{}`, which is not among the `fields`", key.value);
            let names = object.fields.iter().map(|(name, _)| name.as_str());
            let near = crate::diagnostic::nearest(&key.value, names).map(|near| format!("did you mean `{near}`?"));
            let diagnostic = Diagnostic::error(Code::UNKNOWN_NAME, &key.place, message);
            diagnostics.push(match near {
                Some(near) => diagnostic.help(near),
                None => diagnostic,
            });
        }
    }
}

/// Reports an address of another kind. It may hold a password, so it is not repeated.
fn scheme(url: &At<String>, schemes: &[&str], example: &str, diagnostics: &mut Diagnostics) {
    if url.starts_with("${") || schemes.iter().any(|scheme| url.starts_with(scheme)) {
        return;
    }
    let message = format!("the address does not start with `{}`", schemes[0]);
    let help = format!("write it like `{example}`");
    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &url.place, message).help(help));
}

fn check_retry(retry: &Retry, diagnostics: &mut Diagnostics) {
    if let Some(attempts) = retry.attempts.as_ref().filter(|attempts| attempts.value == 0) {
        let message = "no attempt at all";
        let help = "write 1 to try once and not again";
        diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &attempts.place, message).help(help));
    }
    if let (Some(backoff), Some(max)) = (&retry.backoff, &retry.max)
        && backoff.value > max.value
    {
        let message = format!("the first wait of `{}` is longer than the longest of `{}`", backoff.value, max.value);
        let diagnostic = Diagnostic::error(Code::BAD_VALUE, &backoff.place, message);
        diagnostics.push(diagnostic.related(&max.place, "the longest wait stands here"));
    }
}
