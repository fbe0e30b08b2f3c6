//! Holds the source to the module order: reads every `crate::` and `super::`
//! path below `src` and fails on an arrow the order does not allow.
//!
//! Owns the order itself ([`ORDER`]) and its exceptions ([`narrowed`]). If an
//! arrow is needed that they refuse, change them here and say why in
//! ARCHITECTURE.md. Start reading at [`check`].

use std::path::{Path, PathBuf};

/// The folders of `src`. Each may use those above it.
const ORDER: &[&str] = &[
    "record",
    "diagnostic",
    "config",
    "connector",
    "compile",
    "plan",
    "state",
    "run",
    "work",
    "serve",
    "protocol",
    "cli",
];

/// The files at the top of `src`: they only tie the folders together.
const ROOTS: &[&str] = &["lib", "main"];

/// What a folder may see of one above it, where that is less than all.
enum Seen {
    Nothing,
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

fn narrowed(from: &str, to: &str) -> Option<Seen> {
    match (from, to) {
        // Planning is pure: plain data of the contract, never a handle that does IO.
        ("plan", "connector") => Some(Seen::AllBut(&["Connector", "Object", "Writing"])),
        // A protocol knows the YAML it is configured with, and no mapping.
        ("protocol", "config") => Some(Seen::Only(&["tree", "At"])),
        ("protocol", "compile" | "plan" | "state" | "run" | "work" | "serve") => Some(Seen::Nothing),
        _ => None,
    }
}

#[test]
fn every_arrow_points_up_the_module_order() {
    let files = read_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(files.len() > 10, "the source was not found");
    let wrong = check(&files);
    assert!(wrong.is_empty(), "arrows against the module order:\n{}", wrong.join("\n"));
}

/// Every wrong arrow of a tree of (path below `src`, text), as `file:line: why`.
fn check(files: &[(PathBuf, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in files {
        let module = module_of(path);
        let from = module.first().map_or("lib", String::as_str);
        if !ORDER.contains(&from) && !ROOTS.contains(&from) {
            wrong.push(format!("{}:1: `{from}` has no place in the module order", path.display()));
            continue;
        }
        for arrow in arrows(text, &module) {
            if let Err(why) = judge(from, &arrow.path) {
                wrong.push(format!("{}:{}: {why}", path.display(), arrow.line));
            }
        }
        if from == "lib" {
            let declared: Vec<String> = declared_modules(text);
            let mut sorted = declared.clone();
            sorted.sort_by_key(|name| ORDER.iter().position(|folder| folder == name));
            if declared != sorted {
                wrong.push(format!("{}:1: the modules are not declared in the module order", path.display()));
            }
        }
    }
    wrong
}

/// Whether `from` may name `path`, a path from the crate's root.
fn judge(from: &str, path: &[String]) -> Result<(), String> {
    let Some(to) = path.first().map(String::as_str) else {
        return Err("the crate's root is named as a whole; name the folder".into());
    };
    if ROOTS.contains(&from) || from == to {
        return Ok(());
    }
    let Some(target) = ORDER.iter().position(|folder| *folder == to) else {
        return Err(format!("`{to}` has no place in the module order"));
    };
    if ORDER.iter().position(|folder| *folder == from) < Some(target) {
        return Err(format!("`{from}` may not use `{to}`, which stands below it"));
    }
    let item = path.get(1).map(String::as_str);
    let seen = match (narrowed(from, to), item) {
        (None, _) => true,
        (Some(Seen::Nothing), _) | (Some(_), None | Some("*")) => false,
        (Some(Seen::Only(names)), Some(item)) => names.contains(&item),
        (Some(Seen::AllBut(names)), Some(item)) => !names.contains(&item),
    };
    if seen { Ok(()) } else { Err(format!("`{from}` may not see `{}`", path.join("::"))) }
}

/// The module a file holds, as segments: `compile/rule/trim.rs` is
/// `compile`, `rule`, `trim`; `lib.rs` and `main.rs` are themselves.
fn module_of(path: &Path) -> Vec<String> {
    let mut segments: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "mod") {
        segments.pop();
    }
    segments
}

fn read_tree(root: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the source can be listed") {
            let path = entry.expect("an entry of the source can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a file of the source can be read");
                files.push((path.strip_prefix(root).expect("it lies below the root").to_path_buf(), text));
            }
        }
    }
    files.sort();
    files
}

/// A path from the crate's root that a file names.
#[derive(Debug, PartialEq)]
struct Arrow {
    path: Vec<String>,
    line: usize,
}

/// Every path of `text` that starts at `crate`, or reaches the crate's root
/// by `super`. Comments and strings do not count; inline modules do.
fn arrows(text: &str, module: &[String]) -> Vec<Arrow> {
    let tokens = tokens(text);
    let depth = if ROOTS.contains(&module[0].as_str()) { 0 } else { module.len() };
    let mut found = Vec::new();
    // For each open brace, whether it opened an inline module.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let text = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text.as_str());
        match text(0) {
            "{" => braces.push(at >= 2 && tokens[at - 2].text == "mod"),
            "}" => {
                braces.pop();
            }
            "crate" if text(1) == "::" => {
                at = tree(&tokens, at + 2, &[], &mut found);
                continue;
            }
            "use" if text(1) == "crate" && text(2) != "::" => {
                found.push(Arrow { path: Vec::new(), line: tokens[at].line });
            }
            "super" if text(1) == "::" && (at == 0 || tokens[at - 1].text != "::") => {
                let mut ups = 0;
                while tokens.get(at).is_some_and(|token| token.text == "super") {
                    ups += 1;
                    at += 2;
                }
                if ups >= depth + braces.iter().filter(|inline| **inline).count() {
                    at = tree(&tokens, at, &[], &mut found);
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads a path, or a group of them, from `at`; returns where it ends.
fn tree(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Arrow>) -> usize {
    let mut path = before.to_vec();
    let Some(line) = tokens.get(at).map(|token| token.line) else { return at };
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    let before = at;
                    at = tree(tokens, at, &path, found);
                    // Over the comma, a rename, or whatever is no path.
                    while at == before || tokens.get(at).is_some_and(|token| !["}", ","].contains(&token.text.as_str()))
                    {
                        at += 1;
                        if at >= tokens.len() {
                            return at;
                        }
                    }
                    if tokens[at].text == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "self" => at += 1,
            name if name == "*" || is_name(name) => {
                path.push(name.to_owned());
                at += 1;
            }
            _ => break,
        }
        if tokens.get(at).is_some_and(|token| token.text == "::") {
            at += 1;
        } else {
            break;
        }
    }
    found.push(Arrow { path, line });
    at
}

fn declared_modules(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    tokens
        .windows(3)
        .filter(|window| window[0].text == "mod" && window[2].text == ";")
        .map(|window| window[1].text.clone())
        .collect()
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

struct Token {
    text: String,
    line: usize,
}

/// Names, `::` and single signs of a Rust text, without comments and literals.
fn tokens(text: &str) -> Vec<Token> {
    let signs: Vec<char> = text.chars().collect();
    let is = |at: usize, sign: char| signs.get(at) == Some(&sign);
    let (mut found, mut line, mut at) = (Vec::new(), 1, 0);
    while at < signs.len() {
        let start = at;
        match signs[at] {
            '/' if is(at + 1, '/') => {
                while at < signs.len() && signs[at] != '\n' {
                    at += 1;
                }
            }
            '/' if is(at + 1, '*') => {
                let mut open = 0;
                loop {
                    if is(at, '/') && is(at + 1, '*') {
                        open += 1;
                        at += 2;
                    } else if is(at, '*') && is(at + 1, '/') {
                        open -= 1;
                        at += 2;
                    } else {
                        at += 1;
                    }
                    if open == 0 || at >= signs.len() {
                        break;
                    }
                }
            }
            '"' => at = after_string(&signs, at),
            'r' if is(at + 1, '"') || (is(at + 1, '#') && (is(at + 2, '"') || is(at + 2, '#'))) => {
                at = after_raw_string(&signs, at + 1);
            }
            // A lifetime has no closing quote after its first sign; a character has.
            '\'' if is(at + 1, '\\') => {
                at += 3;
                while at < signs.len() && signs[at] != '\'' {
                    at += 1;
                }
                at += 1;
            }
            '\'' if is(at + 2, '\'') => at += 3,
            ':' if is(at + 1, ':') => {
                found.push(Token { text: "::".into(), line });
                at += 2;
            }
            sign if sign.is_alphanumeric() || sign == '_' => {
                while at < signs.len() && (signs[at].is_alphanumeric() || signs[at] == '_') {
                    at += 1;
                }
                // `b"…"` and `br"…"`: the prefix is no name.
                let name: String = signs[start..at].iter().collect();
                if name == "br" && (is(at, '"') || is(at, '#')) {
                    at = after_raw_string(&signs, at);
                } else {
                    found.push(Token { text: name, line });
                }
            }
            sign => {
                if !sign.is_whitespace() {
                    found.push(Token { text: sign.to_string(), line });
                }
                at += 1;
            }
        }
        line += signs[start..at.min(signs.len())].iter().filter(|sign| **sign == '\n').count();
    }
    found
}

/// Where the string that opens at `at` is over.
fn after_string(signs: &[char], mut at: usize) -> usize {
    at += 1;
    while at < signs.len() && signs[at] != '"' {
        at += if signs[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Where the raw string whose hashes or quote stand at `at` is over.
fn after_raw_string(signs: &[char], mut at: usize) -> usize {
    let hashes = signs[at..].iter().take_while(|sign| **sign == '#').count();
    at += hashes + 1;
    while at < signs.len() {
        let closing =
            signs[at] == '"' && signs[at + 1..].iter().take(hashes).filter(|sign| **sign == '#').count() == hashes;
        at += 1;
        if closing {
            return at + hashes;
        }
    }
    at
}

#[cfg(test)]
mod checker {
    use super::*;

    /// What is wrong with one file among others that are right.
    fn wrong(path: &str, text: &str) -> Vec<String> {
        let files = [
            ("lib.rs", "pub mod record;\npub mod diagnostic;\npub mod config;\n"),
            ("record/mod.rs", "pub struct Value;"),
            (path, text),
        ];
        check(&files.map(|(path, text)| (PathBuf::from(path), text.to_owned())))
    }

    fn assert_wrong(path: &str, text: &str, line: usize, why: &str) {
        let found = wrong(path, text);
        assert_eq!(found, [format!("{path}:{line}: {why}")], "for {text}");
    }

    #[test]
    fn arrows_upwards_pass() {
        let nothing: [String; 0] = [];
        for (path, text) in [
            ("config/mod.rs", "use crate::record::{Value, Key};\nuse crate::diagnostic;"),
            ("compile/mod.rs", "use crate::{record::Value, config::{self, tree::Node}, connector as systems};"),
            (
                "plan/diff.rs",
                "use crate::connector::{Action, Change};\npub(crate) fn f() {}\npub(in crate::plan) struct X;",
            ),
            ("plan/diff.rs", "use super::pair::Pair;\nmod tests { use super::*; use super::super::pair; }"),
            ("protocol/sql/read.rs", "use super::super::http; use crate::config::tree::Node; use crate::config::At;"),
            ("cli/run.rs", "fn f() { crate::protocol::catalog(); crate::state::open() }"),
            ("main.rs", "fn main() { crate::anything(); }"),
            (
                "record/key.rs",
                "// use crate::run::X;\n/* /* crate::run */ crate::run */ const A: &str = \"use crate::run\"; const B: &str = r#\"\"crate::run\"#;",
            ),
            (
                "record/key.rs",
                "fn f<'a>(x: &'a str) -> char { '\"' } const C: &[u8] = br\"crate::run\"; const D: char = '\\'';",
            ),
        ] {
            assert_eq!(wrong(path, text), nothing, "for {text}");
        }
    }

    #[test]
    fn arrows_downwards_are_found() {
        let below = "`record` may not use `config`, which stands below it";
        assert_wrong("record/key.rs", "\nuse crate::config::At;", 2, below);
        assert_wrong("record/key.rs", "fn f() -> crate::config::At {}", 1, below);
        assert_wrong("record/key.rs", "use crate::{\n    record::Value,\n    config::At as Placed,\n};", 3, below);
        assert_wrong("record/key.rs", "use super::super::config::At;", 1, below);
        assert_wrong("record/mod.rs", "use super::config;", 1, below);
        assert_wrong("record/mod.rs", "#[cfg(test)]\nmod tests {\n    use super::super::config::At;\n}", 3, below);
        assert_wrong(
            "record/key.rs",
            "const A: &str = \"\\\"\"; macro_rules! m { () => { $crate::config::At } }",
            1,
            below,
        );
        assert_wrong("run/mod.rs", "use crate::cli;", 1, "`run` may not use `cli`, which stands below it");
        assert_wrong(
            "serve/mod.rs",
            "use crate::protocol::sql;",
            1,
            "`serve` may not use `protocol`, which stands below it",
        );
    }

    #[test]
    fn what_is_narrowed_is_held() {
        assert_wrong(
            "plan/mod.rs",
            "use crate::connector::{Action, Object};",
            1,
            "`plan` may not see `connector::Object`",
        );
        assert_wrong("plan/mod.rs", "use crate::connector::*;", 1, "`plan` may not see `connector::*`");
        assert_wrong("plan/mod.rs", "use crate::connector;", 1, "`plan` may not see `connector`");
        assert_wrong("plan/mod.rs", "use crate::state::Store;", 1, "`plan` may not use `state`, which stands below it");
        assert_wrong("protocol/sql/mod.rs", "use crate::plan::Plan;", 1, "`protocol` may not see `plan::Plan`");
        assert_wrong(
            "protocol/sql/mod.rs",
            "use crate::config::Mapping;",
            1,
            "`protocol` may not see `config::Mapping`",
        );
    }

    #[test]
    fn what_has_no_place_is_refused() {
        assert_wrong("util/mod.rs", "", 1, "`util` has no place in the module order");
        assert_wrong("run/mod.rs", "use crate::util::x;", 1, "`util` has no place in the module order");
        assert_wrong("run/mod.rs", "use crate::*;", 1, "`*` has no place in the module order");
        assert_wrong("run/mod.rs", "use crate as engine;", 1, "the crate's root is named as a whole; name the folder");
        let files = [(PathBuf::from("lib.rs"), "pub mod config;\npub mod record;".to_owned())];
        assert_eq!(check(&files), ["lib.rs:1: the modules are not declared in the module order"]);
    }
}
