//! What a user wrote wrongly: a code, a place, what is wrong and what to do.
//!
//! Owns the [`Diagnostic`], its [`Place`] and the table of every [`Code`] with
//! the paragraph behind it; and which texts are secrets, that no message may
//! show. Never prints: that is `cli`'s. Diagnostics are
//! collected in a [`Diagnostics`], never returned one at a time.

mod code;
mod place;
mod secret;

pub use code::Code;
pub use place::{Place, Position, Span};
pub(crate) use secret::{HIDDEN, keep_secret, without_secrets};

use serde::Serialize;

/// How grave a diagnostic is. An error makes what was written unusable; a
/// warning and a note do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Note,
    Warning,
    Error,
}

/// One problem in what a user wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// What is wrong: lower case, backticks around literals, no full stop.
    pub message: String,
    /// What to do, in the same voice.
    pub help: Option<String>,
    pub place: Option<Place>,
    /// Other places that belong to the problem, each with a word of its own.
    pub related: Vec<(Place, String)>,
}

impl Diagnostic {
    pub fn error(code: Code, place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            help: None,
            place: Some(place.clone()),
            related: Vec::new(),
        }
    }

    pub fn warning(code: Code, place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, place, message) }
    }

    pub fn note(code: Code, place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Note, ..Diagnostic::error(code, place, message) }
    }

    /// An error that no place in a file belongs to.
    pub fn nowhere(code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            help: None,
            place: None,
            related: Vec::new(),
        }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn related(mut self, place: &Place, word: impl Into<String>) -> Diagnostic {
        self.related.push((place.clone(), word.into()));
        self
    }
}

/// The collector every check reports to.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub fn new() -> Diagnostics {
        Diagnostics::default()
    }

    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Everything collected, in the order of files and lines, each once.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        // The bytes of a path compare far faster than its parts.
        fn key(d: &Diagnostic) -> (Option<(&std::ffi::OsStr, Position)>, Code) {
            (d.place.as_ref().map(|p| (p.file.as_os_str(), p.span.start)), d.code)
        }
        self.list.sort_by(|a, b| key(a).cmp(&key(b)));
        let mut sorted: Vec<Diagnostic> = Vec::with_capacity(self.list.len());
        for diagnostic in self.list {
            let mut alike = sorted.iter().rev().take_while(|told| key(told) == key(&diagnostic));
            if !alike.any(|told| *told == diagnostic) {
                sorted.push(diagnostic);
            }
        }
        sorted
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, iter: I) {
        self.list.extend(iter);
    }
}

/// The nearest of `known` to `name`, for "did you mean".
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let likeness = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        // In a short name one slip weighs too much for the likeness of the whole.
        let slip = name.len() > 2 && strsim::osa_distance(&name, &candidate) == 1;
        strsim::jaro_winkler(&name, &candidate).max(if slip { 0.85 } else { 0.0 })
    };
    known
        .into_iter()
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Names for a message: `` `a`, `b`, `c` ``.
pub fn quoted(names: &[&str]) -> String {
    let mut out = String::new();
    for name in names {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push('`');
        out.push_str(name);
        out.push('`');
    }
    out
}
