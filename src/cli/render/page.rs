//! Text for people: lines and tables, before colour and width are known.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// What a piece of text means; colour follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Warn,
    Bad,
}

impl Tone {
    fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
        };
        if color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Blocks of text, one below the other.
#[derive(Debug, Default)]
pub(in crate::cli) struct Page {
    blocks: Vec<Block>,
}

#[derive(Debug)]
enum Block {
    Line(Vec<(Tone, String)>),
    Grid(Grid),
}

/// Blanks between two columns.
const GAP: usize = 2;

/// What a wrapped column needs at least to be readable.
const NARROWEST: usize = 24;

/// A table.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Grid {
    header: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// One cell of a table. Numbers stand at the right.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    pub(in crate::cli) fn text(text: impl Into<String>) -> Cell {
        Cell { text: one_line(&text.into()), tone: Tone::Plain, right: false }
    }

    pub(in crate::cli) fn number(number: u64) -> Cell {
        Cell { text: number.to_string(), tone: if number == 0 { Tone::Faint } else { Tone::Plain }, right: true }
    }

    pub(in crate::cli) fn tone(self, tone: Tone) -> Cell {
        Cell { tone, ..self }
    }
}

impl Grid {
    pub(in crate::cli) fn new(header: &[&str]) -> Grid {
        Grid { header: header.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    pub(in crate::cli) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// `width` is what the terminal has; `None` where nobody looks at columns.
    fn text(&self, color: bool, width: Option<usize>) -> String {
        match width.map(|width| self.fitted(width)) {
            None => self.table(color),
            Some(Some(fitted)) => fitted.table(color),
            Some(None) => self.paragraphs(color),
        }
    }

    /// The grid in this width: as it is, or with its widest column wrapped
    /// between words. `None` where that column would be left too little.
    fn fitted(&self, width: usize) -> Option<std::borrow::Cow<'_, Grid>> {
        let measure = |text: &str| console::measure_text_width(text);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> = self
            .header
            .iter()
            .enumerate()
            .map(|(column, name)| cells(column).map(|cell| measure(&cell.text)).max().unwrap_or(0).max(measure(name)))
            .collect();
        let whole: usize = widths.iter().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP);
        if whole <= width {
            return Some(std::borrow::Cow::Borrowed(self));
        }
        let (widest, own) = widths.iter().copied().enumerate().max_by_key(|(_, own)| *own)?;
        let left = width.checked_sub(whole - own).filter(|left| *left >= NARROWEST)?;
        let mut wrapped = self.clone();
        for cell in wrapped.rows.iter_mut().filter_map(|row| row.get_mut(widest)) {
            cell.text = wrap(&cell.text, left);
        }
        Some(std::borrow::Cow::Owned(wrapped))
    }

    /// Each row as a paragraph, a line for each cell.
    fn paragraphs(&self, color: bool) -> String {
        let mut out = String::new();
        for row in &self.rows {
            if !out.is_empty() {
                out.push('\n');
            }
            let mut indent = "";
            for (name, cell) in self.header.iter().zip(row).filter(|(_, cell)| !cell.text.is_empty()) {
                out.push_str(indent);
                if !name.is_empty() {
                    out.push_str(&Tone::Faint.paint(&format!("{name}: "), color));
                }
                out.push_str(&cell.tone.paint(&cell.text, color));
                out.push('\n');
                indent = "  ";
            }
        }
        out
    }

    fn table(&self, color: bool) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let right = |column: usize| self.rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.right));
        table.set_header(self.header.iter().enumerate().map(|(column, name)| {
            let cell = comfy_table::Cell::new(name);
            let cell = if right(column) { cell.set_alignment(CellAlignment::Right) } else { cell };
            if color { cell.add_attribute(comfy_table::Attribute::Dim) } else { cell }
        }));
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| {
                let shown = comfy_table::Cell::new(&cell.text);
                let shown = if cell.right { shown.set_alignment(CellAlignment::Right) } else { shown };
                if color { styled(shown, cell.tone) } else { shown }
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut out = String::new();
        for line in table.lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn styled(cell: comfy_table::Cell, tone: Tone) -> comfy_table::Cell {
    use comfy_table::{Attribute, Color};
    match tone {
        Tone::Plain => cell,
        Tone::Strong => cell.add_attribute(Attribute::Bold),
        Tone::Faint => cell.add_attribute(Attribute::Dim),
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Warn => cell.fg(Color::DarkYellow),
        Tone::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
    }
}

impl Page {
    pub(in crate::cli) fn new() -> Page {
        Page::default()
    }

    pub(in crate::cli) fn line(&mut self, text: impl Into<String>) -> &mut Page {
        self.spans([(Tone::Plain, text.into())])
    }

    pub(in crate::cli) fn toned(&mut self, tone: Tone, text: impl Into<String>) -> &mut Page {
        self.spans([(tone, text.into())])
    }

    pub(in crate::cli) fn spans(&mut self, spans: impl IntoIterator<Item = (Tone, String)>) -> &mut Page {
        self.blocks.push(Block::Line(spans.into_iter().collect()));
        self
    }

    /// An empty line, unless the page is empty.
    pub(in crate::cli) fn gap(&mut self) -> &mut Page {
        if !self.blocks.is_empty() {
            self.blocks.push(Block::Line(Vec::new()));
        }
        self
    }

    pub(in crate::cli) fn grid(&mut self, grid: Grid) -> &mut Page {
        self.blocks.push(Block::Grid(grid));
        self
    }

    pub(super) fn text(&self, color: bool, width: Option<usize>) -> String {
        let mut out = String::new();
        for block in &self.blocks {
            match block {
                Block::Line(spans) => {
                    let line: String = spans.iter().map(|(tone, text)| tone.paint(text, color)).collect();
                    out.push_str(line.trim_end_matches(' '));
                    out.push('\n');
                }
                Block::Grid(grid) => out.push_str(&grid.text(color, width)),
            }
        }
        out
    }
}

/// `1 conflict`, `2 conflicts`.
pub(in crate::cli) fn plural(count: u64, one: &str) -> String {
    match (count, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {one}s"),
    }
}

/// Lines of at most this width, broken between words; a word that is longer
/// than a line is cut.
fn wrap(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let long = console::measure_text_width(word);
        if used > 0 && used + 1 + long > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for letter in word.chars() {
            let columns = console::measure_text_width(letter.encode_utf8(&mut [0; 4]));
            if used + columns > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(letter);
            used += columns;
        }
    }
    lines.push(line);
    lines.join("\n")
}

/// A foreign text in a table: control characters would tear it apart, or talk
/// to the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_whatever_the_letters() {
        let mut grid = Grid::new(&["name", "n"]);
        grid.row(vec![Cell::text("Conceição"), Cell::number(7)]);
        grid.row(vec![Cell::text("Bia\n\u{1b}[31m"), Cell::number(12)]);
        let text = grid.text(false, None);
        let column = |line: &str| line.chars().count();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(column(lines[1]), column(lines[2]));
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_narrow_terminal_wraps_the_long_column_or_gets_paragraphs() {
        let mut grid = Grid::new(&["id", "reason", "what"]);
        grid.row(vec![Cell::text("7"), Cell::text("rejected"), Cell::text("the name is longer than forty letters")]);
        let wide = grid.text(false, None);
        assert_eq!(wide.lines().count(), 2);
        assert_eq!(grid.text(false, Some(80)), wide);
        let narrow = grid.text(false, Some(40));
        assert_eq!(narrow, "id  reason    what\n7   rejected  the name is longer than\n              forty letters\n");
        assert_eq!(
            grid.text(false, Some(30)),
            "id: 7\n  reason: rejected\n  what: the name is longer than forty letters\n"
        );
        assert_eq!(wrap("abcdef gh", 4), "abcd\nef\ngh");
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(plural(1, "conflict"), "1 conflict");
        assert_eq!(plural(0, "delete"), "0 deletes");
        assert_eq!(plural(2, "query"), "2 queries");
        assert_eq!(plural(2, "key"), "2 keys");
    }
}
