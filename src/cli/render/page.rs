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

/// A table.
#[derive(Debug, Default)]
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

    fn text(&self, color: bool, fit: bool) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_content_arrangement(if fit { ContentArrangement::Dynamic } else { ContentArrangement::Disabled });
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

    pub(super) fn text(&self, color: bool, fit: bool) -> String {
        let mut out = String::new();
        for block in &self.blocks {
            match block {
                Block::Line(spans) => {
                    let line: String = spans.iter().map(|(tone, text)| tone.paint(text, color)).collect();
                    out.push_str(line.trim_end_matches(' '));
                    out.push('\n');
                }
                Block::Grid(grid) => out.push_str(&grid.text(color, fit)),
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
        let text = grid.text(false, false);
        let column = |line: &str| line.chars().count();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(column(lines[1]), column(lines[2]));
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(plural(1, "conflict"), "1 conflict");
        assert_eq!(plural(0, "delete"), "0 deletes");
        assert_eq!(plural(2, "query"), "2 queries");
        assert_eq!(plural(2, "key"), "2 keys");
    }
}
