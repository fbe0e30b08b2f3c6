//! Checks of one connection: its address, and what it asks of the environment.

use crate::config::environment::{self, has_references};
use crate::config::model::{Connection, Postgres, Retry, Sqlite, System};
use crate::config::project::relative_to;
use crate::config::tree::At;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest, quoted};

pub(super) fn check(connection: &Connection, diagnostics: &mut Diagnostics) {
    match &connection.system {
        System::Sqlite(sqlite) => check_sqlite(sqlite, diagnostics),
        System::Postgres(postgres) => check_postgres(connection, postgres, diagnostics),
        System::Files(files) => super::files::check(connection, files, diagnostics),
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
        if scheme(url, &["postgres://", "postgresql://"], "postgres://user@host/database", diagnostics) {
            check_address(url, diagnostics);
        }
        for (name, part) in parts {
            if let Some(part) = part {
                let message = format!("`{name}` beside `url`");
                let diagnostic = Diagnostic::error(Code::EXCLUSIVE, &part.place, message);
                let help = "put it into the address, or write the parts without `url`";
                diagnostics.push(diagnostic.help(help).related(&url.place, "the address stands here"));
            }
        }
    } else if host.is_none() && database.is_none() {
        let message = "a `postgres` connection needs `url`, `host` or `database`";
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

/// Reports an address of another kind, which is then not looked at. It may hold a password, so it is not repeated.
pub(super) fn scheme(url: &At<String>, schemes: &[&str], example: &str, diagnostics: &mut Diagnostics) -> bool {
    if url.starts_with("${") || schemes.iter().any(|scheme| url.starts_with(scheme)) {
        return true;
    }
    let message = format!("the address does not start with `{}`", schemes[0]);
    let help = format!("write it like `{example}`");
    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &url.place, message).help(help));
    false
}

/// What an address of `PostgreSQL` may say behind its `?`, in the spellings the
/// driver takes, and the values of those that take few.
const SAID: [(&str, &[&str]); 16] = [
    ("sslmode", &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]),
    ("ssl-mode", &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]),
    ("sslrootcert", &[]),
    ("ssl-root-cert", &[]),
    ("ssl-ca", &[]),
    ("sslcert", &[]),
    ("ssl-cert", &[]),
    ("sslkey", &[]),
    ("ssl-key", &[]),
    ("host", &[]),
    ("hostaddr", &[]),
    ("port", &[]),
    ("dbname", &[]),
    ("user", &[]),
    ("password", &[]),
    ("options", &[]),
];

/// What an address says that holds no references. It may hold a password, so
/// only what is known to be none is repeated.
fn check_address(url: &At<String>, diagnostics: &mut Diagnostics) {
    if has_references(url) {
        return;
    }
    let mut push = |code: Code, message: String, help: String| {
        diagnostics.push(Diagnostic::error(code, &url.place, message).help(help));
    };
    let address = match url::Url::parse(url) {
        Ok(address) => address,
        Err(problem) => {
            let help = "write it like `postgres://user:password@host:5432/database`; what is special in a password \
                        is written by its code, `%40` for `@`, or as `password` beside `host`";
            return push(Code::BAD_VALUE, format!("the address cannot be read: {problem}"), help.to_owned());
        }
    };
    for (name, value) in address.query_pairs() {
        let name = name.split('[').next().unwrap_or_default();
        let Some((_, words)) = SAID.iter().find(|(known, _)| *known == name) else {
            let help = match nearest(name, SAID.iter().map(|(known, _)| *known)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "leave it out: nothing would look at it".to_owned(),
            };
            push(Code::UNKNOWN_NAME, format!("the address has a setting `{name}` that is not known"), help);
            continue;
        };
        if !words.is_empty() && !words.contains(&&*value) {
            let message = format!("`{value}` is not a way to encrypt");
            push(Code::BAD_VALUE, message, format!("`{name}` is one of {}", quoted(words)));
        } else if name == "port" && !value.parse::<u16>().is_ok_and(|number| number > 0) {
            push(Code::BAD_VALUE, format!("`{value}` is not a port"), "write a number from 1 to 65535".to_owned());
        }
    }
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
