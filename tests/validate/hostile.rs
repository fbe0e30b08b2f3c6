//! Whatever the bytes, reading ends, with a place.

use super::harness::{load, rendered};
use proptest::prelude::*;
use std::fmt::Write;

/// What is said of one file, with the file's name.
fn told(bytes: impl AsRef<[u8]>) -> String {
    let (project, diagnostics, folder) = load([("a.yaml", bytes)]);
    rendered(&project, &diagnostics, folder.path())
}

#[test]
fn five_thousand_levels_are_refused() {
    let deep = "lists and mappings lie in each other more than 128 deep";
    for (open, close, column) in [("[", "]", 132), ("{a: ", "}", 512)] {
        let told = told(format!("a: {}{}", open.repeat(5_000), close.repeat(5_000)));
        assert!(told.starts_with(&format!("error E0108: {deep}\n   at a.yaml:1:{column}")), "{told}");
    }
    // As deep as fits into a file of the largest size.
    let lines = (0..4_000).fold(String::new(), |mut text, level| {
        writeln!(text, "{}a:", " ".repeat(level)).unwrap();
        text
    });
    let told_of_lines = told(lines);
    assert!(told_of_lines.starts_with(&format!("error E0108: {deep}\n   at a.yaml:129:")), "{told_of_lines}");
    let dashes = told(format!("{}a", "- ".repeat(5_000)));
    assert!(dashes.starts_with(&format!("error E0108: {deep}\n")), "{dashes}");
}

#[test]
fn levels_do_not_grow_through_aliases() {
    let mut text = String::from("a0: &a0 x\n");
    for level in 1..100 {
        writeln!(text, "a{level}: &a{level} [[[[[*a{}]]]]]", level - 1).unwrap();
    }
    insta::assert_snapshot!(told(text));
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        writeln!(text, "a{level}: &a{level} [{}]", [before.as_str(); 9].join(", ")).unwrap();
    }
    insta::assert_snapshot!(told(text));
}

#[test]
fn a_bomb_of_merge_keys_is_refused() {
    let mut text = String::from("a0: &a0 { k: v }\n");
    for level in 1..40 {
        let before = level - 1;
        writeln!(text, "a{level}: &a{level} {{ <<: [*a{before}, *a{before}], k{level}: [*a{before}, *a{before}] }}")
            .unwrap();
    }
    let told = told(text);
    assert!(told.starts_with("error E0108: the file has more than 1000000 values"), "{told}");
}

#[test]
fn an_anchor_cannot_hold_itself() {
    insta::assert_snapshot!(told("a: &a [1, *a]\n"));
}

#[test]
fn a_large_file_is_refused() {
    insta::assert_snapshot!(told(vec![b'#'; 50 << 20]));
}

#[test]
fn a_file_just_small_enough_is_read() {
    let mut text = String::from("- 1\n");
    text.push_str(&"# nothing is said of a comment\n".repeat((8 << 20) / 31));
    text.push_str(&"#".repeat((8 << 20) - text.len()));
    insta::assert_snapshot!(told(&text));
    text.push('#');
    assert!(told(&text).contains("larger than 8 MiB"));
}

#[test]
fn ten_thousand_problems_are_all_told() {
    let entries = "  - { source: a, target: b }\n".repeat(10_001);
    let told = told(format!("mapping: m\nfields:\n{entries}"));
    assert_eq!(told.matches("a second entry writes the target's field `b`").count(), 10_000);
}

#[test]
fn what_is_not_utf8_is_refused_where_it_stands() {
    insta::assert_snapshot!(told(b"# a\r\nmapping: S\xe3o Paulo\n"));
    insta::assert_snapshot!(told(b"\xef\xbb\xbf\xc3\xa9\xff"));
    insta::assert_snapshot!(told(b"\xff\xfem\0a\0"));
}

#[test]
fn the_next_document_and_file_are_read_after_an_error() {
    let (project, diagnostics, folder) = load([
        ("a.yaml", "mapping: [x\n---\nmapping: a\nfields: 1\n---\n\"\n"),
        ("b.yaml", "mapping: b\n\tfields: 1\n"),
        ("c.yaml", "mapping: c\nfields: 2\n"),
    ]);
    insta::assert_snapshot!(rendered(&project, &diagnostics, folder.path()));
}

#[test]
fn empty_files_and_documents_are_nothing() {
    for text in ["", "# only a comment\n", "---\n---\n...\n", "\u{feff}", "~\n", "\r\n\r\n"] {
        assert_eq!(told(text), "", "{text:?}");
    }
}

#[test]
fn thousands_of_errors_are_cut_short() {
    let told = told("]\n---\n".repeat(100_000));
    assert_eq!(told.matches("error E0101").count(), 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pieces of YAML in any order: no panic, and each place is in the file.
    #[test]
    fn any_text_is_read_to_its_end(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "mapping: ", "fields:", "source: ", "connections:", "a: ", "- ", "  ", "\n", "\r\n", "\r", "\t", "[", "]", "{",
            "}", ", ", "\"", "'", "|\n", ">-\n", "&a ", "*a", "<<: ", "? ", ": ", "#", "!x ", "---\n", "...\n", "%YAML 1.2\n",
            "é", "\u{feff}", "\0", "\u{2028}", "~", "${", "}", "{{ x }}", "@", "`", "copy: ", "rules: ", "\\", "😀",
        ]), 0..40))
    {
        told(pieces.concat());
    }

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        told(bytes);
    }
}

/// Issue 2: a long text that aliases repeat took all memory there is.
#[test]
fn a_bomb_of_one_long_text_is_refused() {
    let text = format!("x: &a \"{}\"\ny: [{}]\n", "z".repeat(1_000_000), vec!["*a"; 3_000].join(", "));
    let told = told(text);
    assert!(told.starts_with("error E0108: the file has more than 1000000 values"), "{told}");
}
