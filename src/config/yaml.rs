//! YAML text to the tree of [`Node`]s, over the events of `granit-parser`.
//!
//! Keeps each scalar as it is written, with its style and place. Undoes
//! anchors, aliases and merge keys; what came through one has the place where
//! the text stands. Whatever the text, it ends: size, nesting and expansion are
//! bounded, and each refusal has a place. Never reads a file and never guesses
//! a type. Start reading at [`parse`].

use super::tree::{Content, Node, Scalar, Style};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, Position, Span};
use granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, StructureStyle, Tag};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The largest file that is read, in bytes.
pub(crate) const MAX_BYTES: u64 = 8 << 20;
/// How deep lists and mappings may lie in each other.
const MAX_DEPTH: usize = 128;
/// The most nodes of one file, those that aliases repeat counted each time.
const MAX_NODES: usize = 1_000_000;
/// So many bytes of a text count as one node.
const LONG_TEXT: usize = 64;
/// The most syntax errors reported of one file, each in a document of its own.
const MAX_SYNTAX_ERRORS: usize = 20;

/// A file's bytes as text, without a byte order mark. What is not UTF-8 is
/// reported with its place.
pub(crate) fn text_of(file: &Arc<Path>, bytes: Vec<u8>, diagnostics: &mut Diagnostics) -> Option<String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let start = Position { line: 1, column: 1, byte: 0 };
        let place = Place::new(file.clone(), Span { start, end: start });
        let diagnostic = Diagnostic::error(Code::FILE_REFUSED, &place, "the file is UTF-16, not UTF-8");
        diagnostics.push(diagnostic.help("save it as UTF-8"));
        return None;
    }
    let mut text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let before = String::from_utf8_lossy(&bytes[..valid]);
            let position = end_of(before.strip_prefix('\u{feff}').unwrap_or(&before));
            let place = Place::new(file.clone(), Span { start: position, end: position });
            let message = format!("the byte 0x{:02X} is not UTF-8", bytes[valid]);
            let help = "save the file as UTF-8; it may be Latin-1 or Windows-1252";
            diagnostics.push(Diagnostic::error(Code::FILE_REFUSED, &place, message).help(help));
            return None;
        }
    };
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Some(text)
}

/// The position after the last character of a text.
fn end_of(text: &str) -> Position {
    let mut position = Position { line: 1, column: 1, byte: 0 };
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        position.byte += u32::try_from(character.len_utf8()).unwrap_or(0);
        if character == '\n' || (character == '\r' && characters.peek() != Some(&'\n')) {
            position.line += 1;
            position.column = 1;
        } else {
            position.column += 1;
        }
    }
    position
}

/// The documents of a text, without those that are empty. A document with a
/// syntax error is reported and left out; the next one is read.
pub fn parse(file: &Arc<Path>, text: &str, diagnostics: &mut Diagnostics) -> Vec<Node> {
    let mut options = Options::default();
    options.emit_comments = false;
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        file: file.clone(),
        text,
        diagnostics,
        frames: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: Vec::new(),
    };
    let mut errors = 0;
    loop {
        let problem = match parser.next_event() {
            None => break,
            Some(Err(error)) => builder.syntax(&error),
            Some(Ok((event, span))) => match builder.take(event, span) {
                Ok(()) => continue,
                Err(diagnostic) => *diagnostic,
            },
        };
        errors += 1;
        builder.diagnostics.push(problem);
        builder.frames.clear();
        builder.anchors.clear();
        let spent = builder.nodes >= MAX_NODES || errors >= MAX_SYNTAX_ERRORS;
        if spent || !parser.proceed_next_document().unwrap_or(false) {
            break;
        }
    }
    builder.documents
}

/// The tree while it grows.
struct Builder<'a> {
    file: Arc<Path>,
    text: &'a str,
    diagnostics: &'a mut Diagnostics,
    /// The open collections, outermost first.
    frames: Vec<Frame>,
    anchors: HashMap<usize, Built>,
    nodes: usize,
    documents: Vec<Node>,
}

/// A finished node with what it counts for.
#[derive(Clone)]
struct Built {
    node: Node,
    /// The number of nodes in it, itself included.
    size: usize,
    /// How deep collections lie in it: 0 for a scalar.
    height: usize,
}

struct Frame {
    items: Items,
    style: StructureStyle,
    anchor: usize,
    start: Position,
    end: Position,
    size: usize,
    height: usize,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<(Node, Node)>, key: Key },
}

/// What a mapping waits for.
enum Key {
    Awaited,
    /// A key, whose value comes next.
    Read(Node),
    /// A key that was reported: its value is dropped.
    Refused,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: granit_parser::Span) -> Result<(), Box<Diagnostic>> {
        let (start, end) = (position(span.start), position(span.end));
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // A long text counts for more than one: aliases may repeat it as well.
                let size = 1 + text.len() / LONG_TEXT;
                self.count(size, start, end)?;
                let mut style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                if self.tag(tag.as_deref(), "str", start, end) && style == Style::Plain {
                    style = Style::Quoted;
                }
                let content = Content::Scalar(Scalar { text: text.into_owned(), style });
                let end = if style == Style::Block { self.end_of_block(start, end) } else { end };
                let mut node = self.node(content, start, end);
                if end.line > start.line
                    && let Content::Scalar(scalar) = &node.content
                {
                    node.place.lines = self.lines_of(scalar, start, end);
                }
                let built = Built { node, size, height: 0 };
                self.finish(built, anchor, None, end)?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.tag(tag.as_deref(), "seq", start, end);
                self.open(Items::List(Vec::new()), style, anchor, start, end)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                self.tag(tag.as_deref(), "map", start, end);
                self.open(Items::Map { entries: Vec::new(), key: Key::Awaited }, style, anchor, start, end)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(end)?,
            Event::Alias(anchor) => {
                let Some(built) = self.anchors.get(&anchor) else {
                    let message = "an alias stands inside the block that its anchor names";
                    return Err(Box::new(self.error(Code::SYNTAX, start, end, message)));
                };
                // Counted before it is copied: the copy is what a bomb is after.
                let (size, height) = (built.size, built.height);
                self.count(size, start, end)?;
                self.nest(height, start, end)?;
                let built = self.anchors[&anchor].clone();
                self.finish(built, 0, None, end)?;
            }
            Event::DocumentEnd => {
                self.anchors.clear();
            }
            _ => {}
        }
        Ok(())
    }

    /// Where the last line of a block of lines ends, which is told at the next
    /// token, after blank lines.
    fn end_of_block(&self, start: Position, end: Position) -> Position {
        let written = self.text.get(start.byte as usize..end.byte as usize).unwrap_or_default().trim_end();
        let within = end_of(written);
        let is_one_line = within.line == 1;
        Position {
            line: start.line + within.line - 1,
            column: if is_one_line { start.column + within.column - 1 } else { within.column },
            byte: start.byte + within.byte,
        }
    }

    /// Where each line of a text that stands on several begins. Folding changes
    /// nothing but blanks and line ends; `None` where more is otherwise in the
    /// file than it reads (escapes).
    fn lines_of(&self, scalar: &Scalar, start: Position, end: Position) -> Option<Arc<Vec<(u32, Position)>>> {
        let mut written = self.text.get(start.byte as usize..end.byte as usize)?.chars();
        let mut at = start;
        let mut step = || {
            let (here, letter) = (at, written.next()?);
            at.byte += u32::try_from(letter.len_utf8()).ok()?;
            (at.line, at.column) = if letter == '\n' { (at.line + 1, 1) } else { (at.line, at.column + 1) };
            Some((here, letter))
        };
        let quote = if scalar.style == Style::Quoted { Some(step()?.1) } else { None };
        let mut lines: Vec<(u32, Position)> = Vec::new();
        for (offset, letter) in scalar.text.char_indices().filter(|(_, letter)| !letter.is_whitespace()) {
            let (here, found) = std::iter::from_fn(&mut step).find(|(_, found)| !found.is_whitespace())?;
            if found != letter || found == '\\' && quote == Some('"') {
                return None;
            }
            if found == '\'' && quote == Some('\'') {
                // A quote inside quotes stands twice.
                step().filter(|(_, again)| *again == '\'')?;
            }
            if lines.last().is_none_or(|(_, line)| line.line < here.line) {
                lines.push((u32::try_from(offset).ok()?, here));
            }
        }
        Some(Arc::new(lines))
    }

    fn open(
        &mut self,
        items: Items,
        style: StructureStyle,
        anchor: usize,
        start: Position,
        end: Position,
    ) -> Result<(), Box<Diagnostic>> {
        self.count(1, start, end)?;
        self.nest(1, start, end)?;
        self.frames.push(Frame { items, style, anchor, start, end: start, size: 1, height: 0 });
        Ok(())
    }

    fn close(&mut self, end: Position) -> Result<(), Box<Diagnostic>> {
        let frame = self.frames.pop().expect("the parser closes only what it opened");
        // The end of a block is told at the next token, after blank lines.
        let end = if frame.style == StructureStyle::Flow { end } else { frame.end };
        let content = match frame.items {
            Items::List(items) => Content::List(items),
            Items::Map { entries, .. } => Content::Map(self.merged(entries)),
        };
        let built = Built { node: self.node(content, frame.start, end), size: frame.size, height: frame.height + 1 };
        self.finish(built, frame.anchor, Some(frame.style), end)
    }

    /// Puts a finished node where it belongs.
    fn finish(
        &mut self,
        built: Built,
        anchor: usize,
        style: Option<StructureStyle>,
        end: Position,
    ) -> Result<(), Box<Diagnostic>> {
        if anchor != 0 {
            self.count(built.size, built.node.place.span.start, end)?;
            self.anchors.insert(anchor, built.clone());
        }
        let Some(frame) = self.frames.last_mut() else {
            if !built.node.as_scalar().is_some_and(Scalar::is_null) {
                self.documents.push(built.node);
            }
            return Ok(());
        };
        frame.size += built.size;
        frame.height = frame.height.max(built.height);
        frame.end = end;
        match &mut frame.items {
            Items::List(items) => items.push(built.node),
            Items::Map { entries, key } => match std::mem::replace(key, Key::Awaited) {
                Key::Read(name) => entries.push((name, built.node)),
                Key::Refused => {}
                Key::Awaited if built.node.as_scalar().is_some() => *key = Key::Read(built.node),
                Key::Awaited => {
                    *key = Key::Refused;
                    let braces = style == Some(StructureStyle::Flow) && frame.style == StructureStyle::Flow;
                    let message = format!("a key is a single value, but {} stands here", built.node.kind());
                    let mut diagnostic = Diagnostic::error(Code::WRONG_TYPE, &built.node.place, message);
                    if braces && built.node.as_map().is_some() {
                        diagnostic = diagnostic.help("put a template in quotes: `\"{{ … }}\"`");
                    }
                    self.diagnostics.push(diagnostic);
                }
            },
        }
        Ok(())
    }

    /// The entries without the keys that stand twice, and with what merge keys
    /// bring. A key that is written beats a merged one, an earlier merged
    /// mapping a later one.
    fn merged(&mut self, entries: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
        let mut seen: HashMap<String, Place> = HashMap::with_capacity(entries.len());
        let mut merges = false;
        let mut unique = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let text = key.text().unwrap_or_default().to_owned();
            if let Some(first) = seen.get(&text) {
                let message = format!("the key `{text}` stands twice");
                let diagnostic = Diagnostic::error(Code::DUPLICATE_KEY, &key.place, message);
                self.diagnostics.push(diagnostic.help("remove one of the two").related(first, "it stands here first"));
                continue;
            }
            seen.insert(text, key.place.clone());
            merges |= is_merge(&key);
            unique.push((key, value));
        }
        if !merges {
            return unique;
        }
        let mut all = Vec::with_capacity(unique.len());
        for (key, value) in unique {
            if !is_merge(&key) {
                all.push((key, value));
                continue;
            }
            let blocks = match value.content {
                Content::List(items) => items,
                _ => vec![value],
            };
            for block in blocks {
                let Content::Map(entries) = block.content else {
                    let message =
                        format!("`<<` takes a mapping or a list of mappings, but {} stands here", block.kind());
                    self.diagnostics.push(Diagnostic::error(Code::WRONG_TYPE, &block.place, message));
                    continue;
                };
                for (key, value) in entries {
                    let text = key.text().unwrap_or_default();
                    if !seen.contains_key(text) {
                        seen.insert(text.to_owned(), key.place.clone());
                        all.push((key, value));
                    }
                }
            }
        }
        all
    }

    /// Reports a tag that would change what is read. True for `!!str` and the
    /// like, which say what a node is anyway.
    fn tag(&mut self, tag: Option<&Tag>, own: &str, start: Position, end: Position) -> bool {
        let Some(tag) = tag else { return false };
        if tag.core_suffix() == Some(own) || tag.original() == "!" {
            return true;
        }
        let message = format!("the tag `{}` has no meaning here", tag.original());
        let help = "leave it out: a value gets its type from where it is used";
        let diagnostic = self.error(Code::SYNTAX, start, end, message).help(help);
        self.diagnostics.push(diagnostic);
        false
    }

    fn count(&mut self, nodes: usize, start: Position, end: Position) -> Result<(), Box<Diagnostic>> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes < MAX_NODES {
            return Ok(());
        }
        let message = format!("the file has more than {MAX_NODES} values, those that aliases repeat included");
        Err(Box::new(
            self.error(Code::FILE_REFUSED, start, end, message).help("split the file, or repeat less through aliases"),
        ))
    }

    fn nest(&self, more: usize, start: Position, end: Position) -> Result<(), Box<Diagnostic>> {
        if self.frames.len() + more <= MAX_DEPTH {
            return Ok(());
        }
        Err(Box::new(self.error(Code::FILE_REFUSED, start, end, too_deep())))
    }

    fn node(&self, content: Content, start: Position, end: Position) -> Node {
        Node { content, place: Place::new(self.file.clone(), Span { start, end }) }
    }

    fn error(&self, code: Code, start: Position, end: Position, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, &Place::new(self.file.clone(), Span { start, end }), message)
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let text = self.text;
        let mut start = position(*error.marker());
        // A tab is told where the value before it ended, or behind it.
        let told = start.byte as usize;
        let behind = || {
            text.get(..told).filter(|before| before.ends_with('\t')).map(|before| before.trim_end_matches('\t').len())
        };
        let ahead = || text.get(told..).and_then(|rest| rest.find('\t')).map(|tab| told + tab);
        if is_tab(error.kind())
            && let Some(tab) = behind().or_else(ahead)
        {
            start = end_of(&text[..tab]);
        }
        // A pair in a list is a map without brackets of its own.
        let stands_at = |frame: &&Frame| {
            text.get(frame.start.byte as usize..).is_some_and(|rest| rest.starts_with(frame.brackets().0))
        };
        let open = self.frames.iter().rev().filter(|frame| frame.style == StructureStyle::Flow).find(stands_at);
        let (mut message, mut help) = explain(error.kind());
        let unexplained = help.is_none() && *error.kind() != ErrorKind::RecursionLimitExceeded;
        if let Some(frame) = open.filter(|_| unexplained) {
            let (bracket, close) = frame.brackets();
            message = format!("`,` or `{close}` is expected here");
            help = Some(if bracket == '{' { "close the `{` with `}`" } else { "close the `[` with `]`" });
        }
        let code = if *error.kind() == ErrorKind::RecursionLimitExceeded { Code::FILE_REFUSED } else { Code::SYNTAX };
        let mut diagnostic = self.error(code, start, start, message);
        let opened = match (error.kind(), open) {
            (ErrorKind::InvalidTrailingDoubleQuotedScalar, _) => {
                opening_quote(text, '"', start).map(|at| (at, "the text in quotes begins here".to_owned()))
            }
            (ErrorKind::InvalidTrailingSingleQuotedScalar, _) => {
                opening_quote(text, '\'', start).map(|at| (at, "the text in quotes begins here".to_owned()))
            }
            (ErrorKind::InvalidQuotedScalarIndent, _) => {
                let opens = text.get(..start.byte as usize).and_then(|before| before.rfind(['"', '\'']));
                opens.map(|at| (end_of(&text[..at]), "the text in quotes begins here".to_owned()))
            }
            (_, Some(frame)) if frame.start.line < start.line => {
                Some((frame.start, format!("the `{}` that is open stands here", frame.brackets().0)))
            }
            _ => None,
        };
        if let Some((at, word)) = opened.filter(|(at, _)| at.line < start.line) {
            let end = Position { column: at.column + 1, byte: at.byte + 1, ..at };
            diagnostic = diagnostic.related(&Place::new(self.file.clone(), Span { start: at, end }), word);
        }
        match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}

impl Frame {
    /// How a flow collection is opened and closed.
    fn brackets(&self) -> (char, char) {
        match self.items {
            Items::List(_) => ('[', ']'),
            Items::Map { .. } => ('{', '}'),
        }
    }
}

/// Where the text in quotes begins whose closing quote stands before `end`.
fn opening_quote(text: &str, quote: char, end: Position) -> Option<Position> {
    let before = text.get(..end.byte as usize)?;
    let close = before.rfind(quote)?;
    let open = before[..close].rfind(quote)?;
    Some(end_of(&text[..open]))
}

fn is_merge(key: &Node) -> bool {
    key.as_scalar().is_some_and(|scalar| scalar.style == Style::Plain && scalar.text == "<<")
}

fn too_deep() -> String {
    format!("lists and mappings lie in each other more than {MAX_DEPTH} deep")
}

fn position(marker: Marker) -> Position {
    let number = |n: usize| u32::try_from(n).expect("the size of a file is bounded");
    Position {
        line: number(marker.line()),
        column: number(marker.col() + 1),
        byte: number(marker.byte_offset().unwrap_or_else(|| marker.index())),
    }
}

fn is_tab(kind: &ErrorKind) -> bool {
    use ErrorKind as K;
    matches!(kind, K::TabInIndentation | K::TabInBlockIndentation | K::TabNotAllowed | K::TabInPlainScalar)
}

/// What a syntax error means to somebody who writes YAML, and what to do.
fn explain(kind: &ErrorKind) -> (String, Option<&'static str>) {
    use ErrorKind as K;
    let (message, help) = match kind {
        tab if is_tab(tab) => ("a tab stands where only blanks may", "indent with blanks"),
        K::TabAtBlockScalarStart => ("the text starts with a tab", "indent with blanks"),
        K::UnclosedQuotedScalar => {
            ("the quote that starts here is never closed", "close it, or double it to write a quote")
        }
        K::UnexpectedEofFlowSequence | K::UnclosedFlowCollection { open: '[' } => {
            ("the `[` is never closed", "close it with `]`")
        }
        K::UnexpectedEofFlowMapping | K::UnexpectedEofImplicitFlowMapping | K::UnclosedFlowCollection { .. } => {
            ("the `{` is never closed", "close it with `}`")
        }
        K::ExpectedFlowMappingSeparator => (
            "`,` or `}` is expected here",
            "close the `{` above, or put a text with commas, colons or brackets in quotes",
        ),
        K::ExpectedFlowSequenceSeparator => (
            "`,` or `]` is expected here",
            "close the `[` above, or put a text with commas, colons or brackets in quotes",
        ),
        K::ExpectedBlockMappingKey => {
            ("a setting is expected here", "write `name: value` on the same indentation as the settings above")
        }
        K::ExpectedBlockSequenceEntry => ("`- ` is expected here", "indent the items of a list alike"),
        K::SimpleKeyExpected | K::InvalidSimpleKey => {
            ("a setting without a colon", "write `name: value`, with a blank after the colon")
        }
        K::InvalidIndentation => ("the indentation does not fit the lines above", "indent what belongs together alike"),
        K::MappingValueNotAllowed | K::InvalidColonPlacement => (
            "a colon that cannot stand here",
            "put a text that has `: ` in it in quotes, indent settings alike, and close brackets and quotes above",
        ),
        K::InvalidQuotedScalarIndent => {
            ("a text in quotes goes on here without indentation", "close the quote in a line above, or indent the text")
        }
        K::UnknownAnchor => {
            ("an alias of an anchor that does not exist", "write the anchor, `&name`, above it in the same document")
        }
        K::UnknownQuotedScalarEscape => {
            ("an unknown escape in double quotes", "write `\\\\` for a backslash, or use single quotes")
        }
        K::BlockSequenceEntryNotAllowed => ("an item of a list cannot stand here", "put it on a line of its own"),
        K::DocumentIndicatorInQuotedScalar => ("a document ends inside quotes", "close the quote above"),
        K::InvalidTrailingDoubleQuotedScalar | K::InvalidTrailingSingleQuotedScalar => {
            ("text after the closing quote", "put the whole text in quotes, and double a quote inside single ones")
        }
        K::MisplacedFlowCollectionEnd => {
            ("a bracket is closed that was not opened", "remove it, or put the text in quotes")
        }
        K::MismatchedFlowCollectionEnd { open, close } => {
            return (format!("`{open}` is closed with `{close}`"), Some("close the brackets in order"));
        }
        K::UnexpectedCharacter { character } if character.is_control() => {
            let message = format!("the control character `{}` cannot stand here", character.escape_default());
            return (message, Some("remove it, or write it as `\\xNN` inside double quotes, with its number"));
        }
        K::UnexpectedCharacter { character } => {
            return (format!("a value cannot start with `{character}`"), Some("put the text in quotes"));
        }
        K::RecursionLimitExceeded => return (too_deep(), None),
        other => {
            let text = other.to_string();
            return (text.rsplit_once(", ").map_or(text.clone(), |(_, end)| end.to_owned()), None);
        }
    };
    (message.to_owned(), Some(help))
}
