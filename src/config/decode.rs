//! Nodes of the tree to typed values, collecting every problem.
//!
//! Owns the small decoder the model is read with: [`Table`] for a mapping and
//! one function for each plain type. Nothing here stops at the first problem:
//! a value that cannot be used is reported and left out, the rest is read.
//! Knows no setting by name; those stand in [`model`](crate::config::model).

use super::tree::{At, Content, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest, quoted};

/// A mapping that is being read, setting by setting.
pub(crate) struct Table<'n, 'd> {
    node: &'n Node,
    entries: &'n [(Node, Node)],
    /// The names asked for so far: at the end, what else stands there is unknown.
    asked: Vec<&'static str>,
    /// Settings that must be there and are not.
    missing: Vec<&'static str>,
    later: &'static [&'static str],
    /// How many problems there were before this mapping.
    before: usize,
    /// What the mapping describes, with its article: `a connection`.
    what: &'static str,
    diagnostics: &'d mut Diagnostics,
}

impl<'n, 'd> Table<'n, 'd> {
    /// Opens a node as a mapping, or reports that it is none.
    pub(crate) fn open(node: &'n Node, what: &'static str, diagnostics: &'d mut Diagnostics) -> Option<Table<'n, 'd>> {
        let Content::Map(entries) = &node.content else {
            diagnostics.push(mismatch(node, &format!("{what} is a mapping of settings")));
            return None;
        };
        let before = diagnostics.len();
        Some(Table { node, entries, asked: Vec::new(), missing: Vec::new(), later: &[], before, what, diagnostics })
    }

    /// Names that belong to the language and are not carried out yet.
    pub(crate) fn later(&mut self, names: &'static [&'static str]) {
        self.later = names;
    }

    /// The node of a setting, where it is written.
    pub(crate) fn node(&mut self, name: &'static str) -> Option<&'n Node> {
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
        self.entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
    }

    /// A setting that may be left out. `None` also where it was reported.
    pub(crate) fn optional<T>(&mut self, name: &'static str, read: Reader<T>) -> Option<T> {
        let node = self.node(name)?;
        if node.as_scalar().is_some_and(super::tree::Scalar::is_null) {
            self.diagnostics.push(
                Diagnostic::error(Code::WRONG_TYPE, &node.place, format!("`{name}` has no value"))
                    .help("write a value, or leave the line out"),
            );
            return None;
        }
        read(node, self.diagnostics)
    }

    /// A setting that must be there. `None` where that was reported.
    pub(crate) fn required<T>(&mut self, name: &'static str, read: Reader<T>) -> Option<T> {
        if self.node(name).is_none() {
            self.missing.push(name);
            return None;
        }
        self.optional(name, read)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.text() == Some(name))
    }

    /// The key that stands where this name seems to be meant.
    pub(crate) fn meant(&self, name: &str) -> Option<&'n Node> {
        let entries = self.entries;
        entries.iter().map(|(key, _)| key).find(|key| nearest(key.text().unwrap_or_default(), [name]).is_some())
    }

    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(crate) fn diagnostics(&mut self) -> &mut Diagnostics {
        self.diagnostics
    }

    /// True where a setting may have been meant that could not be read: it is
    /// written, but wrongly, or there is a name that is not known. To be asked
    /// when all settings were read.
    pub(crate) fn may_be_meant(&self, name: &str) -> bool {
        let known = |name: &str| self.asked.contains(&name) || self.later.contains(&name);
        self.has(name) || self.entries.iter().any(|(key, _)| !known(key.text().unwrap_or_default()))
    }

    /// Reports every name that was not asked for. True where nothing at all was
    /// reported of this mapping and of what is in it.
    pub(crate) fn finish(mut self) -> bool {
        let entries = self.entries;
        for (key, _) in entries {
            let name = key.text().unwrap_or_default();
            if self.asked.contains(&name) {
                continue;
            }
            if self.later.contains(&name) {
                self.report(not_yet(&key.place, &format!("`{name}`")));
                continue;
            }
            let message = format!("{} has no setting `{name}`", self.what);
            let known = self.asked.iter().copied().chain(self.later.iter().copied());
            let help = match nearest(name, known) {
                Some(near) => {
                    self.missing.retain(|missing| *missing != near);
                    format!("did you mean `{near}`?")
                }
                None => format!("known here: {}", quoted(&self.asked)),
            };
            self.report(Diagnostic::error(Code::UNKNOWN_NAME, &key.place, message).help(help));
        }
        self.tell_missing();
        self.diagnostics.len() == self.before
    }

    fn tell_missing(&mut self) {
        for name in std::mem::take(&mut self.missing) {
            let message = format!("{} needs `{name}`", self.what);
            let help = format!("add `{name}: …`");
            self.report(Diagnostic::error(Code::MISSING_NAME, &self.node.place, message).help(help));
        }
    }
}

/// What is missing is told also where a mapping is given up before its end.
impl Drop for Table<'_, '_> {
    fn drop(&mut self) {
        self.tell_missing();
    }
}

/// Reads one value of a node, or reports why it cannot.
pub(crate) type Reader<T> = fn(&Node, &mut Diagnostics) -> Option<T>;

/// A setting that takes one of a few words.
pub(crate) trait Choice: Copy + 'static {
    /// What the words stand for, with its article: `a direction`.
    const WHAT: &'static str;
    const WORDS: &'static [(&'static str, Self)];
}

/// One of the words of a [`Choice`].
pub(crate) fn choice<T: Choice>(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<T>> {
    let word = text(node, diagnostics)?;
    if let Some((_, value)) = T::WORDS.iter().find(|(known, _)| *known == word.value) {
        return Some(At::new(*value, word.place));
    }
    let words: Vec<&str> = T::WORDS.iter().map(|(known, _)| *known).collect();
    let message = format!("`{}` is not {}", word.value, T::WHAT);
    let help = match nearest(&word.value, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write {}", quoted(&words)),
    };
    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &word.place, message).help(help));
    None
}

/// A single value, as it is written.
pub(crate) fn text(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<String>> {
    match &node.content {
        Content::Scalar(scalar) if !scalar.is_null() => Some(At::new(scalar.text.clone(), node.place.clone())),
        _ => {
            diagnostics.push(mismatch(node, "a single value is expected"));
            None
        }
    }
}

/// A text that names something: not empty.
pub(crate) fn name(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<String>> {
    let name = text(node, diagnostics)?;
    if name.trim().is_empty() {
        let diagnostic = Diagnostic::error(Code::BAD_VALUE, &node.place, "an empty name");
        diagnostics.push(diagnostic.help("write the name, or leave the setting out where there is none"));
        return None;
    }
    Some(name)
}

/// What the names hold that people give: of connections, mappings, secrets.
pub(crate) fn goes_in_a_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A name that a user gives to something. It takes part in full names, in URLs
/// and on the command line.
pub(crate) fn given_name(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<String>> {
    let name = name(node, diagnostics)?;
    if may_be_given(&name) {
        return Some(name);
    }
    let message = format!("`{}` cannot be a name", name.value);
    let help = "use letters, digits, `_`, `-` and `.`; a folder makes a namespace, so a name has no `/`";
    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &name.place, message).help(help));
    None
}

fn may_be_given(name: &str) -> bool {
    !name.is_empty() && name.chars().all(goes_in_a_name) && !name.starts_with(['.', '-'])
}

/// A name that something had: in the same folder, or with its folders.
pub(crate) fn former_name(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<String>> {
    let name = name(node, diagnostics)?;
    if name.strip_prefix('/').unwrap_or(&name).split('/').all(may_be_given) {
        return Some(name);
    }
    let message = format!("`{}` cannot have been a name", name.value);
    let help =
        "write the name that it had; with its folders where it stood in others, as `acme/clientes` or `/clientes`";
    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &name.place, message).help(help));
    None
}

/// `true` or `false`.
pub(crate) fn boolean(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<bool>> {
    match node.as_scalar().map(super::tree::Scalar::as_bool) {
        Some(Some(value)) => Some(At::new(value, node.place.clone())),
        Some(None) if node.text() != Some("") => {
            let text = node.text().unwrap_or_default();
            let message = match text {
                "true" | "false" => format!("`{text}` in quotes is a text"),
                _ => format!("`{text}` is neither `true` nor `false`"),
            };
            let help = "write `true` or `false`, without quotes";
            diagnostics.push(Diagnostic::error(Code::WRONG_TYPE, &node.place, message).help(help));
            None
        }
        _ => {
            diagnostics.push(mismatch(node, "`true` or `false` is expected"));
            None
        }
    }
}

/// A whole number that is not negative.
pub(crate) fn count(node: &Node, diagnostics: &mut Diagnostics) -> Option<At<u32>> {
    let text = text(node, diagnostics)?;
    if let Ok(number) = text.parse() {
        return Some(At::new(number, text.place));
    }
    let message = format!("`{}` is not a whole number from 0 to {}", text.value, u32::MAX);
    diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &text.place, message));
    None
}

/// Any node, as it stands.
// The form of a reader is given: others of them do report.
#[expect(clippy::unnecessary_wraps, reason = "has the form every reader has")]
pub(crate) fn any(node: &Node, _: &mut Diagnostics) -> Option<Node> {
    Some(node.clone())
}

/// A list, without the items that were reported.
pub(crate) fn list<T>(node: &Node, diagnostics: &mut Diagnostics, read: Reader<T>) -> Option<Vec<T>> {
    if let Some(items) = node.as_list() {
        return Some(items.iter().filter_map(|item| read(item, diagnostics)).collect());
    }
    let first_key = node.as_map().and_then(|entries| entries.first()).and_then(|(key, _)| key.text());
    let help = match (node.text(), first_key) {
        (Some(text), _) if !text.is_empty() => format!("write `[{text}]`"),
        (_, Some(key)) if key.starts_with('-') => "put a blank after each `-`".to_owned(),
        _ => "write `[…]`, or a line starting with `- ` for each item".to_owned(),
    };
    diagnostics.push(mismatch(node, "a list is expected").help(help));
    None
}

/// A list of names, of one at least.
pub(crate) fn names(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<At<String>>> {
    let names = list(node, diagnostics, name)?;
    if node.as_list().is_some_and(<[Node]>::is_empty) {
        let diagnostic = Diagnostic::error(Code::BAD_VALUE, &node.place, "a list that names nothing");
        diagnostics.push(diagnostic.help("name something, or leave the setting out"));
        return None;
    }
    Some(names)
}

/// The diagnostic for a form that a later version builds.
pub(crate) fn not_yet(place: &crate::diagnostic::Place, form: &str) -> Diagnostic {
    Diagnostic::error(Code::NOT_YET, place, format!("{form} comes in a later version"))
        .help("this version would not carry it out, and refuses it rather than ignore it")
}

/// The diagnostic for a node of the wrong kind.
pub(crate) fn mismatch(node: &Node, expected: &str) -> Diagnostic {
    Diagnostic::error(Code::WRONG_TYPE, &node.place, format!("{expected}, but {} stands here", node.kind()))
}

/// The entries of a mapping whose keys a user names, or a report that it is none.
pub(crate) fn entries<'a>(node: &'a Node, what: &str, diagnostics: &mut Diagnostics) -> Option<&'a [(Node, Node)]> {
    let entries = node.as_map();
    if entries.is_none() {
        diagnostics.push(mismatch(node, &format!("{what} is a mapping of names")));
    }
    entries
}
