//! `vars:`: values by name, which texts of the project read as `${var.NAME}`.
//!
//! Owns where they are seen from and the filling in of texts, before anything
//! is read from them: a filled text is as if it had been written.

use super::decode::{entries, name, text};
use super::project::{join, levels};
use super::tree::{At, Content, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use std::collections::HashMap;

const OPEN: &str = "${var.";

/// The values of a project.
#[derive(Debug, Default)]
pub(super) struct Vars {
    /// By the name with its namespace.
    values: HashMap<String, At<String>>,
}

impl Vars {
    /// Takes in what stands under a `vars:`.
    pub(super) fn add(&mut self, node: &Node, namespace: &str, diagnostics: &mut Diagnostics) {
        for (name, value) in given(node, "`vars`", diagnostics) {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if !name.chars().all(plain) {
                let message = format!("`{}` cannot be the name of a value", name.value);
                let help = "use letters, digits, `_` and `-`";
                diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &name.place, message).help(help));
                continue;
            }
            if let Some(first) = self.values.get(&join(namespace, &name)) {
                let message = format!("a second value `{}`", name.value);
                let diagnostic = Diagnostic::error(Code::SAME_NAME, &name.place, message);
                diagnostics.push(diagnostic.related(&first.place, "the first one stands here"));
                continue;
            }
            self.values.insert(join(namespace, &name), value);
        }
    }

    /// Puts values in the place of others, which it tells by their full names:
    /// `acme/company` is the one of the folder `acme`. `whole` where all names
    /// of the project are known.
    pub(super) fn replace(&mut self, node: &Node, whole: bool, diagnostics: &mut Diagnostics) {
        for (name, value) in given(node, "`vars`", diagnostics) {
            if let Some(known) = self.values.get_mut(&name.value) {
                *known = value;
            } else if whole {
                let message = format!("there is no value `{}` to lay this over", name.value);
                let help = match nearest(&name, self.values.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "name it under `vars:` of the project too, with what it is elsewhere".to_owned(),
                };
                diagnostics.push(Diagnostic::error(Code::UNKNOWN_NAME, &name.place, message).help(help));
            }
        }
    }

    /// Fills in a document. What it gives itself may read no other value, which
    /// was said where that was taken in.
    pub(super) fn fill_document(
        &self,
        document: &mut Node,
        entry: Option<&Entry>,
        namespace: &str,
        diagnostics: &mut Diagnostics,
    ) {
        let Content::Map(settings) = &mut document.content else { return };
        for (_, value) in settings.iter_mut().filter(|(key, _)| !matches!(key.text(), Some("vars" | "for_each"))) {
            self.fill(value, entry, namespace, diagnostics);
        }
    }

    /// Fills in every text below a node, as seen from a namespace: the values
    /// of its entry first, then those of the namespace, then those above.
    fn fill(&self, node: &mut Node, entry: Option<&Entry>, namespace: &str, diagnostics: &mut Diagnostics) {
        match &mut node.content {
            Content::List(items) => items.iter_mut().for_each(|item| self.fill(item, entry, namespace, diagnostics)),
            Content::Map(entries) => {
                for (_, value) in entries {
                    self.fill(value, entry, namespace, diagnostics);
                }
            }
            Content::Scalar(scalar) if !scalar.text.contains(OPEN) => {}
            Content::Scalar(scalar) => {
                let own = || entry.into_iter().flat_map(|entry| &entry.values);
                let mut filled = String::with_capacity(scalar.text.len());
                let mut rest = scalar.text.as_str();
                while let Some(at) = rest.find(OPEN) {
                    filled.push_str(&rest[..at]);
                    let inside = &rest[at + OPEN.len()..];
                    let Some(end) = inside.find('}') else {
                        let message = "a `${` without its `}`";
                        let diagnostic = Diagnostic::error(Code::BAD_REFERENCE, &node.place, message);
                        diagnostics.push(diagnostic.help("write `${var.NAME}`"));
                        rest = inside;
                        break;
                    };
                    let name = &inside[..end];
                    let here = own().find(|(known, _)| known.value == name).map(|(_, value)| value.as_str());
                    if let Some(value) = here.or_else(|| self.value(namespace, name)) {
                        filled.push_str(value);
                    } else {
                        let known = self.values.keys().map(|name| name.rsplit('/').next().unwrap_or(name));
                        let known = known.chain(own().map(|(name, _)| name.as_str()));
                        let message = match entry {
                            Some(entry) => format!("there is no value `{name}` for `{}`", entry.name.value),
                            None => format!("there is no value `{name}`"),
                        };
                        let help = match nearest(name, known) {
                            Some(near) => format!("did you mean `${{var.{near}}}`?"),
                            None => "name it under `vars:`, in this folder or one above".to_owned(),
                        };
                        diagnostics.push(Diagnostic::error(Code::UNKNOWN_NAME, &node.place, message).help(help));
                        // It stays as it is written, so that what would follow from it is not told as well.
                        filled.extend([OPEN, name, "}"]);
                    }
                    rest = inside.get(end + 1..).unwrap_or_default();
                }
                filled.push_str(rest);
                scalar.text = filled;
            }
        }
    }

    fn value(&self, namespace: &str, name: &str) -> Option<&str> {
        levels(namespace).find_map(|level| self.values.get(&join(level, name))).map(|value| value.value.as_str())
    }
}

/// One entry of a mapping's `for_each`.
pub(super) struct Entry {
    pub(super) name: At<String>,
    pub(super) values: Given,
}

/// Names, each with its value.
pub(super) type Given = Vec<(At<String>, At<String>)>;

/// The names and values of a `vars:`, or of one entry of `for_each`, those that
/// can be used.
pub(super) fn given(node: &Node, what: &str, diagnostics: &mut Diagnostics) -> Given {
    let mut values = Vec::new();
    for (key, value) in entries(node, what, diagnostics).into_iter().flatten() {
        let (Some(name), Some(value)) = (name(key, diagnostics), text(value, diagnostics)) else { continue };
        if value.contains(OPEN) {
            let message = format!("a value under {what} that reads another one");
            let help = "write it out, or read both where they are used";
            diagnostics.push(Diagnostic::error(Code::BAD_VALUE, &value.place, message).help(help));
            continue;
        }
        values.push((name, value));
    }
    values
}
