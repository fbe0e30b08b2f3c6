//! One good project, small patches, and what is said of the outcome.

use engine::config::Project;
use engine::diagnostic::{Diagnostic, Diagnostics, Place};
use std::fmt::Write;
use std::path::Path;

/// The files of the good project.
pub(super) const GOOD: &[(&str, &str)] = &[
    ("connections.yaml", include_str!("good/connections.yaml")),
    ("customers.yaml", include_str!("good/customers.yaml")),
    ("sellers.yaml", include_str!("good/sellers.yaml")),
    ("acme/orders.yml", include_str!("good/acme/orders.yml")),
    ("erp.sql", include_str!("good/erp.sql")),
];

/// A mistake: what it is, in which file, what of its text becomes what. Where
/// nothing is to be found in it, the whole file is replaced.
#[derive(Clone, Copy)]
pub(super) struct Mistake {
    pub(super) what: &'static str,
    pub(super) file: &'static str,
    pub(super) find: &'static str,
    pub(super) replace: &'static str,
}

pub(super) const fn mistake(
    what: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
) -> Mistake {
    Mistake { what, file, find, replace }
}

/// Writes files into a folder of their own and loads them as a project.
pub(super) fn load<N: AsRef<str>, B: AsRef<[u8]>>(
    files: impl IntoIterator<Item = (N, B)>,
) -> (Project, Vec<Diagnostic>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name.as_ref());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mut diagnostics = Diagnostics::new();
    let project = Project::load(folder.path(), None, &mut diagnostics);
    (project, diagnostics.into_sorted(), folder)
}

/// What is said of each mistake, one after the other.
pub(super) fn told(mistakes: &[Mistake]) -> String {
    let mut out = String::new();
    for Mistake { what, file, find, replace } in mistakes {
        let good = GOOD.iter().find(|(name, _)| name == file).map_or("", |(_, text)| text);
        let text = if find.is_empty() {
            (*replace).to_owned()
        } else {
            assert_eq!(good.matches(find).count(), 1, "`{find}` stands once in {file}");
            good.replacen(find, replace, 1)
        };
        let others = GOOD.iter().copied().filter(|(name, _)| name != file);
        let (project, diagnostics, folder) = load(others.chain([(*file, text.as_str())]));
        assert!(!diagnostics.is_empty(), "nothing is said of {what}");
        let from = if find.is_empty() { String::new() } else { format!("{} -> ", one_line(find)) };
        writeln!(out, "== {what}\n{file}: {from}{}", one_line(replace)).unwrap();
        out.push_str(&rendered(&project, &diagnostics, folder.path()));
        out.push('\n');
    }
    out
}

fn one_line(text: &str) -> String {
    let text = text.replace('\n', "⏎").replace('\t', "⇥");
    if text.chars().count() > 100 { format!("{}…", text.chars().take(100).collect::<String>()) } else { text }
}

/// Each diagnostic with the text at its places.
pub(super) fn rendered(project: &Project, diagnostics: &[Diagnostic], folder: &Path) -> String {
    let mut out = String::new();
    let at = |place: &Place| -> String {
        let file = place.file.strip_prefix(folder).unwrap_or(&place.file).display();
        let covered = project
            .source_text(&place.file)
            .map_or("", |text| &text[place.span.start.byte as usize..place.span.end.byte as usize]);
        format!("{file}:{}:{} {}", place.line(), place.column(), one_line(covered))
    };
    for diagnostic in diagnostics {
        let severity = format!("{:?}", diagnostic.severity).to_lowercase();
        let message = diagnostic.message.replace(&format!("{}/", folder.display()), "");
        writeln!(out, "{severity} {}: {message}", diagnostic.code).unwrap();
        if let Some(place) = &diagnostic.place {
            writeln!(out, "   at {}", at(place).trim_end()).unwrap();
        }
        for (place, word) in &diagnostic.related {
            writeln!(out, "  and {} ({word})", at(place)).unwrap();
        }
        if let Some(help) = &diagnostic.help {
            writeln!(out, " help: {help}").unwrap();
        }
    }
    out
}
