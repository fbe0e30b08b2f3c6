//! `${NAME}` in a setting, and where its value comes from.
//!
//! Owns the grammar of references, the `.env` file and the only reading of the
//! process environment. The model keeps references as they are written: they
//! are checked with the project and resolved when a connection is opened, so
//! that a project can be checked with none of them set.

use super::project::relative_to;
use super::secrets::{Key, Secrets, SecretsError};
use super::tree::At;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, Position, Span, keep_secret};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A part of a text with references.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Literal(&'a str),
    Variable {
        name: &'a str,
        default: Option<&'a str>,
    },
    /// What a file holds, by its path.
    File(&'a str),
    /// One of the project's secrets.
    Secret(&'a str),
}

/// What is wrong with a reference.
#[derive(Debug, PartialEq, Eq)]
enum Problem<'a> {
    Unclosed,
    /// `secret:` without the name of one.
    BadSecret(&'a str),
    BadName(&'a str),
    NoPath,
}

/// Cuts a text at its references. `$` without a brace is an ordinary character.
fn pieces(text: &str) -> Vec<Result<Piece<'_>, Problem<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if at > 0 {
            pieces.push(Ok(Piece::Literal(&rest[..at])));
        }
        let inside = &rest[at + 2..];
        let Some(end) = inside.find('}') else {
            pieces.push(Err(Problem::Unclosed));
            return pieces;
        };
        pieces.push(reference(&inside[..end]));
        rest = &inside[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Ok(Piece::Literal(rest)));
    }
    pieces
}

fn reference(inside: &str) -> Result<Piece<'_>, Problem<'_>> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if let Some(name) = inside.strip_prefix("secret:") {
        return if Secrets::is_name(name) { Ok(Piece::Secret(name)) } else { Err(Problem::BadSecret(name)) };
    }
    if inside.starts_with("var.") {
        // One that is not there, which was told where it is filled in.
        return Ok(Piece::Literal(""));
    }
    if let Some(path) = inside.strip_prefix("file:") {
        return if path.trim().is_empty() { Err(Problem::NoPath) } else { Ok(Piece::File(path)) };
    }
    if is_name(name) { Ok(Piece::Variable { name, default }) } else { Err(Problem::BadName(name)) }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// True where a text reads the environment, or tries to.
pub fn has_references(text: &str) -> bool {
    text.contains("${")
}

/// Checks how the references of a text are written, without reading any.
pub(crate) fn check(text: &At<String>, diagnostics: &mut Diagnostics) {
    for problem in pieces(text).into_iter().filter_map(Result::err) {
        report(&problem, &text.place, diagnostics);
    }
}

/// The text with each reference replaced. An empty variable counts as unset
/// where there is a default. `None` where something was reported.
pub fn resolve(text: &At<String>, environment: &Environment, diagnostics: &mut Diagnostics) -> Option<String> {
    let mut out = Some(String::with_capacity(text.len()));
    let mut add = |part: Option<&str>| match (&mut out, part) {
        (Some(out), Some(part)) => out.push_str(part),
        _ => out = None,
    };
    for piece in pieces(text) {
        match piece {
            Ok(Piece::Literal(literal)) => add(Some(literal)),
            Ok(Piece::Variable { name, default }) => match (environment.get(name), default) {
                (Some(value), Some(default)) if value.is_empty() => add(Some(default)),
                (Some(value), _) => add(Some(&value)),
                (None, Some(default)) => add(Some(default)),
                (None, None) => {
                    let message = format!("the environment variable `{name}` is not set");
                    let help = format!("set it, write it into `.env`, or give a default: `${{{name}:-…}}`");
                    diagnostics.push(Diagnostic::error(Code::UNSET_VARIABLE, &text.place, message).help(help));
                    add(None);
                }
            },
            Ok(Piece::Secret(name)) => match environment.secret(name) {
                Ok(secret) => add(Some(&secret)),
                Err(error) => {
                    let diagnostic = Diagnostic::error(Code::UNSET_VARIABLE, &text.place, error.to_string());
                    diagnostics.push(diagnostic.help(error.help()));
                    add(None);
                }
            },
            Ok(Piece::File(path)) => add(mounted(path, text, diagnostics).as_deref()),
            Err(problem) => {
                report(&problem, &text.place, diagnostics);
                add(None);
            }
        }
    }
    out
}

/// What a mounted file holds, less the line end at its end. It is a secret from
/// then on.
fn mounted(path: &str, text: &At<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    let path = relative_to(&text.place, path);
    match std::fs::read_to_string(&path) {
        Ok(mut held) => {
            held.truncate(held.trim_end_matches(['\r', '\n']).len());
            keep_secret(&held);
            Some(held)
        }
        Err(error) => {
            let message = format!("`{}` cannot be read: {error}", path.display());
            let help = "`${file:PATH}` is relative to the file it is written in, and holds one value as UTF-8";
            diagnostics.push(Diagnostic::error(Code::MISSING_FILE, &text.place, message).help(help));
            None
        }
    }
}

fn report(problem: &Problem<'_>, place: &Place, diagnostics: &mut Diagnostics) {
    diagnostics.push(match problem {
        Problem::Unclosed => {
            Diagnostic::error(Code::BAD_REFERENCE, place, "a `${` without its `}`").help("write `${NAME}`")
        }
        Problem::BadSecret(name) => {
            Diagnostic::error(Code::BAD_REFERENCE, place, format!("`{name}` cannot be the name of a secret"))
                .help("write `${secret:NAME}`, with letters, digits, `_`, `-` and `.` in the name")
        }
        Problem::NoPath => Diagnostic::error(Code::BAD_REFERENCE, place, "`${file:}` names no file")
            .help("write `${file:/run/secrets/NAME}`, or a path from the folder of this file"),
        Problem::BadName(name) => {
            let message = format!("`{name}` is not the name of an environment variable");
            Diagnostic::error(Code::BAD_REFERENCE, place, message)
                .help("write `${NAME}` or `${NAME:-default}`, with letters, digits and `_` in the name")
        }
    });
}

/// The environment of a project: the process's, a `.env` file behind it, and
/// the secrets.
#[derive(Default)]
pub struct Environment {
    file: HashMap<String, String>,
    secrets: PathBuf,
}

impl Environment {
    /// Reads the `.env` in a project's folder, or else the one beside that
    /// folder. `env` names the environment whose secrets are meant.
    pub fn load(root: &Path, env: Option<&str>, diagnostics: &mut Diagnostics) -> Environment {
        let secrets = Secrets::path(root, env);
        let beside = root.parent().map(|parent| parent.join(".env"));
        for path in std::iter::once(root.join(".env")).chain(beside) {
            match std::fs::read_to_string(&path) {
                Ok(text) => return Environment { file: parse_file(&Arc::from(path), &text, diagnostics), secrets },
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("cannot read `{}`: {error}", path.display());
                    diagnostics.push(Diagnostic::nowhere(Code::FILE_REFUSED, message));
                    return Environment { secrets, ..Environment::default() };
                }
            }
        }
        Environment { secrets, ..Environment::default() }
    }

    /// What a secret holds; it is shown nowhere from then on.
    ///
    /// # Errors
    /// The key is not there or another one, or there is no such secret.
    pub fn secret(&self, name: &str) -> Result<String, SecretsError> {
        let secrets = Secrets::open(&self.secrets)?;
        let secret = secrets.get(name, &Key::of(self)?)?;
        keep_secret(&secret);
        Ok(secret)
    }

    /// The value of a variable; the process's own come first.
    pub fn get(&self, name: &str) -> Option<String> {
        process_variable(name).or_else(|| self.file.get(name).cloned())
    }
}

/// A variable of the process, whatever a `.env` file says.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The variables of a `.env` file: `NAME=value` lines, `export` before them or
/// not; `#` starts a comment; single quotes keep everything, double quotes know
/// `\n`, `\t`, `\"` and `\\`.
fn parse_file(file: &Arc<Path>, text: &str, diagnostics: &mut Diagnostics) -> HashMap<String, String> {
    let mut variables = HashMap::new();
    let mut byte = 0;
    for (index, line) in text.split('\n').enumerate() {
        let start = Position { line: to_u32(index + 1), column: 1, byte: to_u32(byte) };
        byte += line.len() + 1;
        let entry = line.strip_prefix('\u{feff}').unwrap_or(line).trim();
        if entry.is_empty() || entry.starts_with('#') {
            continue;
        }
        let entry = entry.strip_prefix("export ").unwrap_or(entry);
        let pair = entry.split_once('=').map(|(name, value)| (name.trim(), unquoted(value.trim())));
        match pair {
            Some((name, Some(value))) if is_name(name) => {
                variables.insert(name.to_owned(), value);
            }
            _ => {
                let place = Place::new(file.clone(), Span { start, end: start });
                let message = "a line of `.env` that is not `NAME=value`";
                let help = "write a name of letters, digits and `_`, an equals sign, and the value, quoted or not";
                diagnostics.push(Diagnostic::error(Code::BAD_REFERENCE, &place, message).help(help));
            }
        }
    }
    variables
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A value without its quotes, or `None` where they do not close.
fn unquoted(value: &str) -> Option<String> {
    let tail_is_comment = |tail: &str| tail.trim_start().is_empty() || tail.trim_start().starts_with('#');
    if let Some(inside) = value.strip_prefix('\'') {
        let (text, tail) = inside.split_once('\'')?;
        return tail_is_comment(tail).then(|| text.to_owned());
    }
    let Some(inside) = value.strip_prefix('"') else {
        return Some(value.split(" #").next().unwrap_or_default().trim_end().to_owned());
    };
    let mut text = String::new();
    let mut characters = inside.chars();
    loop {
        match characters.next()? {
            '"' => return tail_is_comment(characters.as_str()).then_some(text),
            '\\' => match characters.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                other @ ('"' | '\\' | '$') => text.push(other),
                other => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> At<String> {
        At::new(text.to_owned(), Place::new(Arc::from(Path::new("a.yaml")), Span::default()))
    }

    fn resolved(text: &str) -> Result<String, String> {
        let mut diagnostics = Diagnostics::new();
        let file = [("ENGINE_T_HOST".to_owned(), "db".to_owned()), ("ENGINE_T_EMPTY".to_owned(), String::new())];
        let environment = Environment { file: file.into(), secrets: PathBuf::from("nowhere/secrets.json") };
        let out = resolve(&at(text), &environment, &mut diagnostics);
        out.ok_or_else(|| diagnostics.iter().map(|d| d.message.clone()).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn references_are_replaced() {
        assert_eq!(resolved("postgres://${ENGINE_T_HOST}/${ENGINE_T_NAME:-crm}"), Ok("postgres://db/crm".into()));
        assert_eq!(resolved("${ENGINE_T_EMPTY:-x}|${ENGINE_T_EMPTY}|${ENGINE_T_NONE:-}"), Ok("x||".into()));
        assert_eq!(resolved("pa$$word $HOST {x}"), Ok("pa$$word $HOST {x}".into()));
        assert_eq!(resolved("${ENGINE_T_HOST:-é}}"), Ok("db}".into()));
    }

    #[test]
    fn every_bad_reference_is_reported() {
        assert_eq!(
            resolved("${ENGINE_T_NONE} ${1} ${secret:a} ${secret:a b} ${"),
            Err(
                "the environment variable `ENGINE_T_NONE` is not set; `1` is not the name of an environment variable; \
                 the key of the secrets is not there: neither `ENGINE_SECRETS_KEY` nor `ENGINE_SECRETS_KEY_FILE` is set; `a b` cannot be the name of a secret; a `${` without its `}`"
                    .into()
            )
        );
    }

    #[test]
    fn a_file_of_variables_is_read() {
        let text = "# all\nA=1\nexport B = two words # comment\r\nC='it is # $this'\nD=\"a\\nb\\\"\" # x\nE=\nbroken\n2=3\nF='x";
        let mut diagnostics = Diagnostics::new();
        let variables = parse_file(&Arc::from(Path::new(".env")), text, &mut diagnostics);
        let get = |name: &str| variables.get(name).map(String::as_str);
        assert_eq!(
            [get("A"), get("B"), get("C"), get("D"), get("E"), get("F")],
            [Some("1"), Some("two words"), Some("it is # $this"), Some("a\nb\""), Some(""), None]
        );
        let lines: Vec<u32> = diagnostics.iter().filter_map(|d| d.place.as_ref().map(Place::line)).collect();
        assert_eq!(lines, [7, 8, 9]);
    }
}
