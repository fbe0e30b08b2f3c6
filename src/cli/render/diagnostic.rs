//! Diagnostics for people and for machines.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::mask::{HIDDEN, Lines, secrets, without_passwords};
use super::page::{Page, Tone, plural};
use crate::config::Project;
use crate::diagnostic::{Diagnostic, Place, Severity};

/// The shape of the contract.
pub(super) fn json(diagnostic: &Diagnostic) -> Json {
    json!({
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "file": diagnostic.place.as_ref().map(|place| place.file.display().to_string()),
        "line": diagnostic.place.as_ref().map(Place::line),
        "column": diagnostic.place.as_ref().map(Place::column),
        "message": without_passwords(&diagnostic.message),
        "help": diagnostic.help.as_deref().map(without_passwords),
    })
}

/// Each with the line it is about, and how many there are.
pub(super) fn page(diagnostics: &[Diagnostic], project: &Project) -> Page {
    let mut page = Page::new();
    let mut sources = Sources { project, read: HashMap::new() };
    for diagnostic in diagnostics {
        page.gap();
        one(diagnostic, &mut sources, &mut page);
    }
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count() as u64;
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    let counts = [(errors, "error"), (warnings, "warning"), (notes, "note")];
    let parts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| plural(count, word)).collect();
    page.gap();
    if parts.is_empty() {
        page.toned(Tone::Good, "all is well");
    } else {
        page.toned(if errors > 0 { Tone::Bad } else { Tone::Warn }, parts.join(", "));
    }
    page
}

/// The files' lines, found once for all that is shown of them.
struct Sources<'a> {
    project: &'a Project,
    read: HashMap<&'a Path, Option<Lines<'a>>>,
}

impl<'a> Sources<'a> {
    fn lines(&mut self, file: &'a Path) -> Option<&Lines<'a>> {
        let project = self.project;
        self.read.entry(file).or_insert_with(|| project.source_text(file).map(Lines::new)).as_ref()
    }
}

fn one<'a>(diagnostic: &'a Diagnostic, sources: &mut Sources<'a>, page: &mut Page) {
    let (word, tone) = match diagnostic.severity {
        Severity::Error => ("error", Tone::Bad),
        Severity::Warning => ("warning", Tone::Warn),
        Severity::Note => ("note", Tone::Good),
    };
    page.spans([
        (tone, format!("{word}[{}]", diagnostic.code)),
        (Tone::Strong, format!(": {}", without_passwords(&diagnostic.message))),
    ]);
    let places = diagnostic.place.iter().chain(diagnostic.related.iter().map(|(place, _)| place));
    // One margin for all its places, wide enough for the largest line number.
    let margin = places.map(|place| place.line().to_string().len()).max().unwrap_or(1);
    if let Some(place) = &diagnostic.place {
        excerpt(place, None, tone, margin, sources, page);
    }
    for (place, word) in &diagnostic.related {
        excerpt(place, Some(word), Tone::Good, margin, sources, page);
    }
    if let Some(help) = &diagnostic.help {
        page.spans([
            (Tone::Faint, format!("{} = ", " ".repeat(margin))),
            (Tone::Good, "help".to_owned()),
            (Tone::Plain, format!(": {}", without_passwords(help))),
        ]);
    }
}

/// The place, its line of text and a line of carets below it.
fn excerpt<'a>(
    place: &'a Place,
    word: Option<&str>,
    tone: Tone,
    margin: usize,
    sources: &mut Sources<'a>,
    page: &mut Page,
) {
    let blank = " ".repeat(margin);
    page.spans([(Tone::Faint, format!("{blank}--> ")), (Tone::Plain, place.to_string())]);
    let number = usize::try_from(place.line()).unwrap_or(usize::MAX);
    let Some((line, head)) = sources.lines(&place.file).and_then(|lines| lines.at(number)) else {
        if let Some(word) = word {
            page.line(format!("{blank}   {word}"));
        }
        return;
    };
    let (text, indent, width) = underline(line, &secrets(head, line), place);
    page.toned(Tone::Faint, format!("{blank} |"));
    page.spans([(Tone::Faint, format!("{:>margin$} | ", place.line())), (Tone::Plain, text)]);
    let word = word.map_or_else(String::new, |word| format!(" {word}"));
    page.spans([
        (Tone::Faint, format!("{blank} | ")),
        (tone, format!("{}{}{word}", " ".repeat(indent), "^".repeat(width))),
    ]);
}

/// The line as it is shown, with what comes before the place and how much the
/// place covers of it, in columns of a terminal. Secrets, given in characters,
/// are not shown.
fn underline(line: &str, secrets: &[Range<usize>], place: &Place) -> (String, usize, usize) {
    let start = usize::try_from(place.column()).unwrap_or(1).saturating_sub(1);
    let covered = if place.span.end.line == place.line() {
        usize::try_from(place.span.end.column).unwrap_or(1).saturating_sub(1).saturating_sub(start)
    } else {
        line.chars().count().saturating_sub(start)
    };
    let (mut text, mut indent, mut width) = (String::new(), 0, 0);
    for (index, character) in line.chars().enumerate() {
        let secret = secrets.iter().find(|secret| secret.contains(&index));
        let shown = match character {
            _ if secret.is_some_and(|secret| secret.start == index) => HIDDEN.to_owned(),
            _ if secret.is_some() => continue,
            '\t' => "    ".to_owned(),
            c if c.is_control() => " ".to_owned(),
            c => c.to_string(),
        };
        let columns = console::measure_text_width(&shown);
        if index < start {
            indent += columns;
        } else if index < start + covered {
            width += columns;
        }
        text.push_str(&shown);
    }
    (text.trim_end().to_owned(), indent, width.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Position, Span};
    use std::sync::Arc;

    fn place(from: u32, to: u32) -> Place {
        let at = |column| Position { line: 1, column, byte: 0 };
        Place::new(Arc::from(Path::new("a.yaml")), Span { start: at(from), end: at(to) })
    }

    #[test]
    fn carets_stand_below_what_they_mean() {
        assert_eq!(underline("  ação: x", &[], &place(9, 10)), ("  ação: x".to_owned(), 8, 1));
        assert_eq!(underline("\tkey: x", &[], &place(2, 5)), ("    key: x".to_owned(), 4, 3));
        // A place at the end of its line covers nothing, and shows all the same.
        assert_eq!(underline("key:", &[], &place(5, 5)), ("key:".to_owned(), 4, 1));
        assert_eq!(underline("名前: x", &[], &place(5, 6)), ("名前: x".to_owned(), 6, 1));
        // What stands behind a secret keeps its carets.
        let line = "{ password: TOPSECRET, pot: 1 }";
        assert_eq!(
            underline(line, &secrets(None, line), &place(24, 27)),
            ("{ password: ***, pot: 1 }".to_owned(), 17, 3)
        );
    }
}
