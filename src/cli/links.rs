//! `engine links`: which record is which.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::home::{key_names, mapping_named, open, open_for_run};
use super::keys::{KeyNames, typed};
use super::loaded::load;
use super::log::Teller;
use super::render::{Cell, Grid, Page, Tone, plural};
use super::wire::{Surroundings, Systems, prepare_one};
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::plan::{Link, LinkStatus};
use crate::record::{Both, Key, Side};
use crate::run::{SystemWorld, import_links};
use crate::state::Store;

/// See, keep and take over which source record is which target record.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LinksCommand {
    List(ListArguments),
    /// Write a mapping's links into a file, or print them: comma-separated values with the columns `source.FIELD` and
    /// `target.FIELD`.
    Export(FileArguments),
    /// Take links over from a file, for instance of another integration. They have no history: the next run compares
    /// both sides of each as on their first meeting.
    Import(FileArguments),
}

/// List a mapping's links.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine links list mappings/ customers
  engine links list mappings/ customers --limit 10 --format json")]
pub(super) struct ListArguments {
    /// The project.
    path: ProjectPath,
    /// The mapping.
    mapping: String,
    /// At most so many; 0 for all.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// Carry a mapping's links out of or into the state, as lines of comma-separated values with the columns `source.FIELD`
/// and `target.FIELD`. Imported links have no history: the next run compares both sides of each as on their first meeting.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine links export mappings/ customers links.csv
  engine links import mappings/ customers links.csv

links.csv:
  source.A1_COD,source.A1_LOJA,target.id
  000001,01,42")]
pub(super) struct FileArguments {
    /// The project.
    path: ProjectPath,
    /// The mapping.
    mapping: String,
    /// The file. `export` prints where none is named.
    file: Option<PathBuf>,
}

pub(super) async fn links(command: &LinksCommand, context: Context<'_>) -> Done {
    match command {
        LinksCommand::List(arguments) => list(arguments, context).await,
        LinksCommand::Export(arguments) => export(arguments, context).await,
        LinksCommand::Import(arguments) => import(arguments, context).await,
    }
}

/// All links of a mapping, or the first so many.
async fn all(store: &dyn Store, mapping: &str, limit: usize) -> Result<Vec<Link>, Failure> {
    let mut links: Vec<Link> = Vec::new();
    loop {
        let after = links.last().map_or(0, |link| link.id);
        let page = store.links_after(mapping, after, limit.saturating_sub(links.len()).min(5000)).await?;
        if page.is_empty() {
            return Ok(links);
        }
        links.extend(page);
        if links.len() >= limit {
            return Ok(links);
        }
    }
}

fn status(link: &Link) -> String {
    match link.status {
        LinkStatus::Linked if link.outside => "linked: one was outside of the mapping when last looked at".to_owned(),
        LinkStatus::Linked => "linked".to_owned(),
        LinkStatus::Severed { gone } => format!("severed: gone on the {gone}"),
    }
}

async fn list(arguments: &ListArguments, context: Context<'_>) -> Done {
    let store = open(context, &arguments.path).await?;
    let mapping = mapping_named(&*store, &arguments.mapping).await?;
    let count = store.count_links(&mapping).await?;
    let limit = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let links = all(&*store, &mapping, limit).await?;
    let names = key_names(&*store, &mapping).await?;
    context.screen.answer(
        || links_json(&mapping, count, &links, &names),
        || {
            let mut page = Page::new();
            if links.is_empty() {
                page.line("no links");
                return page;
            }
            let mut grid = Grid::new(&["source", "target", "writes", "status"]);
            for link in &links {
                grid.row(vec![
                    Cell::text(link.keys.source.plain()),
                    Cell::text(link.keys.target.plain()),
                    Cell::number(link.revision),
                    Cell::text(status(link)),
                ]);
            }
            page.grid(grid);
            let more = count.saturating_sub(links.len() as u64);
            if more > 0 {
                page.toned(Tone::Faint, format!("… and {more} more; `--limit 0` shows them"));
            }
            page
        },
    );
    Ok(Exit::Well)
}

fn links_json(mapping: &str, count: u64, links: &[Link], names: &KeyNames) -> Json {
    let link = |link: &Link| {
        json!({
            "source_key": names.json(Side::Source, Some(&link.keys.source)),
            "target_key": names.json(Side::Target, Some(&link.keys.target)),
            "status": if link.status == LinkStatus::Linked { "linked" } else { "severed" },
            "gone": match link.status { LinkStatus::Severed { gone } => Some(gone), LinkStatus::Linked => None },
            "outside": link.outside,
            "revision": link.revision,
        })
    };
    let more = count.saturating_sub(links.len() as u64);
    json!({ "mapping": mapping, "count": count, "more": more, "links": links.iter().map(link).collect::<Vec<_>>() })
}

async fn export(arguments: &FileArguments, context: Context<'_>) -> Done {
    let store = open(context, &arguments.path).await?;
    let mapping = mapping_named(&*store, &arguments.mapping).await?;
    let names = key_names(&*store, &mapping).await?;
    let header =
        Side::BOTH.iter().flat_map(|side| names.of_side(*side).iter().map(move |name| format!("{side}.{name}")));
    let mut out = csv_line(header);
    let links = all(&*store, &mapping, usize::MAX).await?;
    for link in &links {
        let entries = Side::BOTH.iter().flat_map(|side| link.keys[*side].entries());
        out += &csv_line(entries.map(|entry| entry.as_str().map_or_else(|| entry.to_string(), str::to_owned)));
    }
    let Some(file) = &arguments.file else {
        if context.screen.takes_json() {
            context.screen.answer(|| links_json(&mapping, links.len() as u64, &links, &names), Page::new);
        } else {
            context.screen.raw(&out);
        }
        return Ok(Exit::Well);
    };
    let shown = file.display();
    std::fs::write(file, out).map_err(|error| Failure::wrong(format!("`{shown}` cannot be written: {error}")))?;
    let count = links.len() as u64;
    context.screen.answer(
        || json!({ "exported": count, "file": shown.to_string() }),
        || {
            let mut page = Page::new();
            page.line(format!("{} in `{shown}`", plural(count, "link")));
            page
        },
    );
    Ok(Exit::Well)
}

async fn import(arguments: &FileArguments, context: Context<'_>) -> Done {
    let Some(file) = &arguments.file else {
        let help = "lines of comma-separated values; `engine links import --help` shows one";
        return Err(Failure::wrong("which file is to be imported? none is named").help(help));
    };
    let shown = file.display().to_string();
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::wrong(format!("`{shown}` cannot be read: {error}")))?;
    let loaded = load(&arguments.path, context.env());
    let mapping = loaded.one(&arguments.mapping)?;
    // Alone with the state: a run under way would make links of its own.
    let store = open_for_run(context, &loaded.project.root).await?;
    let observer = Arc::new(Teller::new(context.screen));
    let surroundings = Surroundings::new(context, &loaded.project.root, store.clone(), Arc::new(SystemWorld), observer);
    let mut systems = Systems::new(&loaded).remembered_by(&*surroundings.store).await?;
    let setup = prepare_one(mapping, &loaded, &mut systems, &surroundings, context).await?;
    let pairs = pairs(&text, &setup.program)
        .map_err(|Line { line, message }| Failure::wrong(format!("{shown}:{line}: {message}")))?;
    refuse_doubles(&*store, &setup.program.name, &pairs).await.map_err(|Line { line, message }| {
        Failure::wrong(format!("{shown}:{line}: {message}")).help("links are one to one; nothing was imported")
    })?;
    let links: Vec<Both<Key>> = pairs.into_iter().map(|(_, keys)| keys).collect();
    import_links(&setup, &links).await?;
    let count = links.len() as u64;
    context.screen.answer(
        || json!({ "imported": count }),
        || {
            let mut page = Page::new();
            page.line(format!("{} imported; the next run compares both sides of each", plural(count, "link")));
            page
        },
    );
    Ok(Exit::Well)
}

/// What is wrong in a line of a file.
struct Line {
    line: usize,
    message: String,
}

/// The pairs of keys of a file, each with its line.
fn pairs(text: &str, program: &crate::compile::Program) -> Result<Vec<(usize, Both<Key>)>, Line> {
    let at = |line: usize| move |message: String| Line { line, message };
    let mut rows =
        csv_rows(text).map_err(|line| Line { line, message: "a quote that is never closed".into() })?.into_iter();
    let Some((_, header)) = rows.next() else { return Err(at(1)("the file has no header".into())) };
    let names = KeyNames::of(program);
    let mut columns: Both<Vec<usize>> = Both::default();
    for side in Side::BOTH {
        for name in names.of_side(side) {
            let wanted = format!("{side}.{name}");
            let column = header.iter().position(|column| column.trim() == wanted);
            columns[side].push(column.ok_or_else(|| at(1)(format!("no column is called `{wanted}`")))?);
        }
    }
    let mut pairs = Vec::new();
    for (line, row) in rows {
        if row.len() != header.len() {
            return Err(at(line)(format!("{} columns, where the header has {}", row.len(), header.len())));
        }
        let key = |side: Side| {
            let entries: Vec<String> = columns[side].iter().map(|column| row[*column].clone()).collect();
            typed(program, side, &entries).map_err(|failure| at(line)(failure.message))
        };
        pairs.push((line, Both::new(key(Side::Source)?, key(Side::Target)?)));
    }
    Ok(pairs)
}

async fn refuse_doubles(store: &dyn Store, mapping: &str, pairs: &[(usize, Both<Key>)]) -> Result<(), Line> {
    for side in Side::BOTH {
        let mut first: HashMap<&Key, usize> = HashMap::with_capacity(pairs.len());
        for (line, keys) in pairs {
            if let Some(first) = first.insert(&keys[side], *line) {
                let message = format!("the {side} key {} stands in line {first} already", keys[side]);
                return Err(Line { line: *line, message });
            }
        }
        for chunk in pairs.chunks(1000) {
            let keys: Vec<Key> = chunk.iter().map(|(_, keys)| keys[side].clone()).collect();
            let linked = store
                .links(mapping, side, &keys)
                .await
                .map_err(|error| Line { line: 1, message: error.to_string() })?;
            if let Some(at) = linked.iter().position(Option::is_some) {
                return Err(Line {
                    line: chunk[at].0,
                    message: format!("the {side} key {} is linked already", keys[at]),
                });
            }
        }
    }
    Ok(())
}

/// A line of comma-separated values, each in quotes where it needs them.
pub(super) fn csv_line<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let mut out = String::new();
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let cell = cell.as_ref();
        let blank = cell.starts_with(char::is_whitespace) || cell.ends_with(char::is_whitespace);
        if blank || cell.contains(['"', ',', '\n', '\r']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(cell);
        }
    }
    out.push('\n');
    out
}

/// The rows of a text of comma-separated values with the line each starts at;
/// empty lines are none. `Err` is the line of a quote that is never closed.
fn csv_rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut start) = (1, 1);
    let mut quoted = None;
    let mut characters = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    while let Some(character) = characters.next() {
        line += usize::from(character == '\n');
        match character {
            '"' if quoted.is_some() && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted.is_some() => quoted = None,
            '"' if cell.is_empty() => quoted = Some(line),
            ',' if quoted.is_none() => row.push(std::mem::take(&mut cell)),
            '\r' if quoted.is_none() && characters.peek() == Some(&'\n') => {}
            '\n' if quoted.is_none() => {
                row.push(std::mem::take(&mut cell));
                let row = std::mem::take(&mut row);
                if row.iter().any(|cell| !cell.is_empty()) {
                    rows.push((start, row));
                }
                start = line;
            }
            other => cell.push(other),
        }
    }
    if let Some(line) = quoted {
        return Err(line);
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push((start, row));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comma_separated_values_come_back() {
        let rows = [vec!["a".to_owned(), "b,\"c\"".to_owned()], vec![" x ".to_owned(), "1\n2".to_owned()]];
        let text: String = rows.iter().map(csv_line).collect();
        let read: Vec<Vec<String>> = csv_rows(&text).unwrap().into_iter().map(|(_, row)| row).collect();
        assert_eq!(read, rows);
    }

    #[test]
    fn lines_are_counted_and_quotes_are_closed() {
        let rows = csv_rows("\u{feff}a,b\r\n\r\n\"x\ny\",2\r\n3,4").unwrap();
        assert_eq!(rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 5]);
        assert_eq!(rows[1].1, ["x\ny", "2"]);
        assert_eq!(csv_rows("a\n\"b\nc"), Err(2));
    }
}
