//! What is written of a connection, as its protocol takes it.
//!
//! References to the environment and to secrets are resolved here, and nowhere
//! before; nothing is asked of a system.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::model::{
    Connection, DecimalMark, FileEncoding, FileField, FileFieldType, FileFormat, FileObject, Files, System,
};
use crate::config::tree::At;
use crate::config::{Environment, environment, relative_to};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::protocol::files::{CellKind, Encoding, FieldSettings, FileSettings, FilesSettings, Format};
use crate::protocol::sql::SqlSettings;
use crate::run::RetryPolicy;

/// What a protocol is told of a connection, every reference resolved.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Settings {
    Sqlite(SqlSettings),
    Postgres(SqlSettings),
    Files(FilesSettings),
}

/// The settings of a connection; `None` where one is wrong, which is then said.
pub(super) fn settings(
    connection: &Connection,
    environment: &Environment,
    diagnostics: &mut Diagnostics,
) -> Option<Settings> {
    let before = diagnostics.len();
    let mut read =
        |text: Option<&At<String>>| text.and_then(|text| environment::resolve(text, environment, diagnostics));
    let sql = SqlSettings {
        folder: relative_to(&connection.place, ""),
        timezone: connection.timezone.as_ref().map(|zone| zone.value.0),
        timeout: connection.timeout.as_ref().map_or(Duration::from_secs(30), |timeout| timeout.value.0),
        ..SqlSettings::default()
    };
    let mut bad_port = None;
    let settings = match &connection.system {
        System::Sqlite(sqlite) => Settings::Sqlite(SqlSettings {
            url: read(Some(&sqlite.url)),
            create_from: read(sqlite.create_from.as_ref()).map(Into::into),
            ..sql
        }),
        System::Postgres(postgres) => {
            let port = read(postgres.port.as_ref());
            let number = port.as_ref().and_then(|port| port.parse().ok());
            bad_port = postgres.port.as_ref().zip(port).filter(|_| number.is_none());
            Settings::Postgres(SqlSettings {
                url: read(postgres.url.as_ref()),
                host: read(postgres.host.as_ref()),
                port: number,
                database: read(postgres.database.as_ref()),
                username: read(postgres.username.as_ref()),
                password: read(postgres.password.as_ref()),
                ..sql
            })
        }
        System::Files(files) => {
            let folder = sql.folder.join(read(Some(&files.path)).unwrap_or_default());
            Settings::Files(files_settings(files, folder, sql.timezone.unwrap_or(chrono_tz::Tz::UTC)))
        }
    };
    if let Some((written, port)) = bad_port {
        let message = format!("`{port}` is not a port");
        let diagnostic = Diagnostic::error(Code::BAD_VALUE, &written.place, message);
        diagnostics.push(diagnostic.help("a number from 1 to 65535"));
    }
    (diagnostics.len() == before).then_some(settings)
}

/// How often a call to a system is made again.
pub(super) fn retry_policy(connection: &Connection) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(retry) = &connection.retry else { return default };
    RetryPolicy {
        attempts: retry.attempts.as_ref().map_or(default.attempts, |attempts| attempts.value),
        backoff: retry.backoff.as_ref().map_or(default.backoff, |backoff| backoff.value.0),
        max: retry.max.as_ref().map_or(default.max, |max| max.value.0),
    }
}

/// What is said of a folder of files, as the protocol takes it.
fn files_settings(files: &Files, folder: PathBuf, timezone: chrono_tz::Tz) -> FilesSettings {
    let mark = |mark: &Option<At<String>>| mark.as_ref().and_then(|mark| mark.as_bytes().first().copied());
    let field = |(name, field): &(At<String>, FileField)| {
        let format = field.format.as_ref().map(|format| format.value.clone());
        let width = field.width.as_ref().and_then(|width| width.value.try_into().ok());
        let path = field.path.as_ref().map(|path| path.value.clone());
        (name.value.clone(), FieldSettings { kind: cell_kind(field.kind()), format, width, path })
    };
    let object = |(name, object): &(At<String>, FileObject)| {
        let settings = FileSettings {
            file: object.file.as_ref().map(|file| file.value.clone()),
            pattern: object.pattern.as_ref().map(|pattern| pattern.value.clone()),
            format: object.format.as_ref().map(|format| match format.value {
                FileFormat::Csv => Format::Csv,
                FileFormat::JsonLines => Format::JsonLines,
                FileFormat::FixedWidth => Format::FixedWidth,
                FileFormat::Xml => Format::Xml,
            }),
            delimiter: mark(&object.delimiter),
            quote: mark(&object.quote),
            has_no_header: object.header.as_ref().is_some_and(|header| !header.value),
            encoding: match object.encoding.as_ref().map(|encoding| encoding.value) {
                Some(FileEncoding::Windows1252) => Encoding::Windows1252,
                Some(FileEncoding::Utf8) | None => Encoding::Utf8,
            },
            decimal_comma: object.decimal.as_ref().is_some_and(|mark| mark.value == DecimalMark::Comma),
            record: object.record.iter().flat_map(|way| way.value.split('/').skip(1)).map(str::to_owned).collect(),
            fields: object.fields.iter().map(field).collect(),
            key: object.key.iter().map(|key| key.value.clone()).collect(),
        };
        (name.value.clone(), settings)
    };
    let settle = files.settle.as_ref().map_or(Duration::from_secs(2), |settle| settle.value.0);
    FilesSettings { folder, timezone, settle, objects: files.objects.iter().map(object).collect() }
}

pub(super) fn cell_kind(kind: FileFieldType) -> CellKind {
    match kind {
        FileFieldType::Text => CellKind::Text,
        FileFieldType::Integer => CellKind::Integer,
        FileFieldType::Decimal => CellKind::Decimal,
        FileFieldType::Boolean => CellKind::Boolean,
        FileFieldType::Date => CellKind::Date,
        FileFieldType::Time => CellKind::Time,
        FileFieldType::Datetime => CellKind::Datetime,
        FileFieldType::Timestamp => CellKind::Timestamp,
        FileFieldType::Json => CellKind::Json,
    }
}
