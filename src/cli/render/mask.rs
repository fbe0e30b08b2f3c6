//! Secrets in what is shown of a user's own text.
//!
//! An excerpt shows a line as it was written, and messages repeat literals:
//! the value of a setting that holds a secret, and the password in an address,
//! stand there as [`HIDDEN`]. Works on text, not on the tree, since what is
//! shown may be text that is no YAML.

use std::ops::Range;

use crate::diagnostic::nearest;

pub(super) use crate::diagnostic::HIDDEN;

/// Settings whose values are secrets, also of connectors that come later.
const SECRET: &[&str] = &["password", "passwd", "secret", "client_secret", "token", "access_token", "api_key"];

/// A file's lines, each with its head: the line above it that it is indented
/// below, where there is one. A value may stand below its setting.
pub(super) struct Lines<'a> {
    lines: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let mut open: Vec<&str> = Vec::new();
        let lines = text.lines().map(|line| {
            if line.trim().is_empty() {
                return (line, None);
            }
            while open.last().is_some_and(|above| indent(above) >= indent(line)) {
                open.pop();
            }
            let head = open.last().copied();
            open.push(line);
            (line, head)
        });
        Self { lines: lines.collect() }
    }

    /// A line, counted from one, and its head.
    pub(super) fn at(&self, number: usize) -> Option<(&'a str, Option<&'a str>)> {
        self.lines.get(number.checked_sub(1)?).copied()
    }
}

/// The parts of a line that hold secrets, in characters.
pub(super) fn secrets(head: Option<&str>, line: &str) -> Vec<Range<usize>> {
    let letters: Vec<char> = line.chars().collect();
    let mut found = Vec::new();
    if head.is_some_and(begins_secret) {
        let start = letters.iter().take_while(|letter| letter.is_whitespace()).count();
        found.push(start..letters.len());
        return found;
    }
    for colon in (0..letters.len()).filter(|at| letters[*at] == ':') {
        let ends = letters.get(colon + 1).is_none_or(|next| next.is_whitespace());
        if ends && is_secret(&name_before(&letters[..colon])) {
            found.extend(value_after(&letters, colon + 1));
        }
    }
    found.extend(passwords(&letters));
    found.sort_by_key(|range| range.start);
    found.dedup_by(|later, earlier| {
        let overlap = later.start < earlier.end;
        if overlap {
            earlier.end = earlier.end.max(later.end);
        }
        overlap
    });
    found
}

/// A text without the passwords of the addresses in it.
pub(super) fn without_passwords(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for range in passwords(&letters) {
        out.extend(&letters[from..range.start]);
        out.push_str(HIDDEN);
        from = range.end;
    }
    out.extend(&letters[from..]);
    visible(out)
}

/// What would move the cursor or change a terminal's colours, spelt out.
fn visible(text: String) -> String {
    let acts = |letter: &char| letter.is_control() && *letter != '\n';
    if !text.chars().any(|letter| acts(&letter)) {
        return text;
    }
    let shown = |letter: char| if acts(&letter) { letter.escape_default().to_string() } else { letter.to_string() };
    text.chars().map(shown).collect()
}

/// A setting of the language whose name looks like that of a secret.
const INNOCENT: &str = "then";

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    if name == INNOCENT {
        return false;
    }
    SECRET.iter().any(|secret| name.contains(secret)) || nearest(&name, SECRET.iter().copied()).is_some()
}

/// The last word, without the quotes it may stand in.
fn name_before(letters: &[char]) -> String {
    let plain = |letter: &char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
    let quotes = letters.iter().rev().take_while(|letter| matches!(letter, '"' | '\'' | ' ')).count();
    let name: Vec<char> = letters[..letters.len() - quotes].iter().rev().copied().take_while(plain).collect();
    name.into_iter().rev().collect()
}

/// The value that begins at `from`, unless it only names where the secret is.
fn value_after(letters: &[char], from: usize) -> Option<Range<usize>> {
    let blanks = letters[from..].iter().take_while(|letter| letter.is_whitespace()).count();
    let start = from + blanks;
    let quote = letters.get(start).copied().filter(|letter| matches!(letter, '"' | '\''));
    let (start, end) = match quote {
        Some(quote) => {
            let inside = letters[start + 1..].iter().position(|letter| *letter == quote);
            (start + 1, inside.map_or(letters.len(), |at| start + 1 + at))
        }
        // In braces a comma or a brace ends it; in doubt more is hidden rather than less.
        None => {
            let mut end = start;
            let mut depth = 0;
            while end < letters.len() {
                match letters[end] {
                    '{' if end > 0 && letters[end - 1] == '$' => depth += 1,
                    '}' if depth > 0 => depth -= 1,
                    ',' | '}' | ']'
                        if depth == 0 && letters[..from].iter().any(|letter| matches!(letter, '{' | '[')) =>
                    {
                        break;
                    }
                    '#' if end > start && letters[end - 1].is_whitespace() => break,
                    _ => {}
                }
                end += 1;
            }
            (start, end)
        }
    };
    let value: String = letters[start..end].iter().collect();
    let kept = value.trim_end();
    let end = start + kept.chars().count();
    let named = kept.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let refers = named.is_some_and(|name| !name.contains(['$', '{', '}']) && !name.contains(":-"));
    let nothing = kept.is_empty() || matches!(kept.chars().next(), Some('|' | '>') if kept.len() <= 3);
    (!refers && !nothing).then_some(start..end)
}

/// What stands below belongs to a secret: a block of text, or a value on a
/// line of its own.
fn begins_secret(head: &str) -> bool {
    let Some((name, value)) = head.split_once(':') else { return false };
    let name: Vec<char> = name.chars().collect();
    let value = value.trim();
    is_secret(&name_before(&name)) && (value.is_empty() || value.starts_with(['|', '>']))
}

/// The passwords of addresses: `scheme://user:PASSWORD@host` and
/// `?password=PASSWORD`.
fn passwords(letters: &[char]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let starts = |at: usize, word: &str| letters[at..].iter().copied().take(word.len()).eq(word.chars());
    let ends = |letter: &char| letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | ',' | ';');
    let mut at = 0;
    while at < letters.len() {
        if starts(at, "://") {
            let from = at + 3;
            let until = letters[from..].iter().position(ends).map_or(letters.len(), |end| from + end);
            // A password may hold an `@` or a `/` that should have been escaped: the last `@` counts.
            let host = letters[from..until].iter().rposition(|letter| *letter == '@').map(|end| from + end);
            let colon = host.and_then(|host| letters[from..host].iter().position(|letter| *letter == ':'));
            if let (Some(host), Some(colon)) = (host, colon)
                && from + colon + 1 < host
                && !refers(&letters[from + colon + 1..host])
            {
                found.push(from + colon + 1..host);
                at = host;
                continue;
            }
        }
        if (at == 0 || matches!(letters[at - 1], '?' | '&')) && at > 0 && starts(at, "password=") {
            let from = at + "password=".len();
            let until = letters[from..].iter().position(|letter| ends(letter) || matches!(letter, '&' | '}'));
            let until = until.map_or(letters.len(), |end| from + end);
            if from < until && !refers(&letters[from..until]) {
                found.push(from..until);
            }
            at = until;
            continue;
        }
        at += 1;
    }
    found
}

/// Nothing but a name of the environment, which is no secret.
fn refers(letters: &[char]) -> bool {
    let text: String = letters.iter().collect();
    let named = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    named.is_some_and(|name| !name.contains(['$', '{', '}']) && !name.contains(":-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(above: &str, line: &str) -> String {
        let letters: Vec<char> = line.chars().collect();
        let mut out = String::new();
        let mut from = 0;
        let text = format!("{above}{line}");
        let (_, head) = Lines::new(&text).at(text.lines().count()).unwrap();
        for range in secrets(head, line) {
            out.extend(&letters[from..range.start]);
            out.push_str(HIDDEN);
            from = range.end;
        }
        out.extend(&letters[from..]);
        out
    }

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        for (line, expected) in [
            ("{ host: x, password: TOP, pasword: y }", "{ host: x, password: ***, pasword: *** }"),
            ("  password: 'a, b' # c", "  password: '***' # c"),
            ("  \"password\" : \"a", "  \"password\" : \"***"),
            ("  password: a: b, c", "  password: ***"),
            ("{ password: ${A:-TOP}, port: 1 }", "{ password: ***, port: 1 }"),
            ("password: ${DB_PASSWORD}", "password: ${DB_PASSWORD}"),
            ("url: postgres://me:TOP@h/db?x=1", "url: postgres://me:***@h/db?x=1"),
            ("url: postgres://me:T@/P@h/db, host: x", "url: postgres://me:***@h/db, host: x"),
            ("url: \"${U:-postgres://me:TOP@h/db}\"", "url: \"${U:-postgres://me:***@h/db}\""),
            ("url: postgres://me:${P}@h/db", "url: postgres://me:${P}@h/db"),
            ("url: postgres://h/db?user=a&password=TOP&x=1", "url: postgres://h/db?user=a&password=***&x=1"),
            ("url: postgres://h:5432/db", "url: postgres://h:5432/db"),
            ("key: [id]", "key: [id]"),
            ("- { source: PASS, target: name }", "- { source: PASS, target: name }"),
        ] {
            assert_eq!(shown("", line), expected);
        }
        assert_eq!(shown("  password: |\n    ONE\n", "    TWO"), "    ***");
        assert_eq!(shown("  password:\n", "    TWO"), "    ***");
        assert_eq!(shown("  password: a\n", "  host: b"), "  host: b");
        assert_eq!(without_passwords("cannot read `postgres://me:TOP@h/db`"), "cannot read `postgres://me:***@h/db`");
    }
}
