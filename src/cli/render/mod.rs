//! What is printed, and how: the only part that knows colour, width and
//! `--format`.
//!
//! A command makes a JSON value and a [`Page`] and hands over both as closures;
//! the one that is asked for is printed. Nothing else of the engine writes to
//! standard output or standard error. A reader that goes away (`| head`) ends
//! the printing and nothing else. Start reading at [`Screen`].

mod diagnostic;
mod mask;
mod page;

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, OnceLock};

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use crate::config::Project;
use crate::config::environment::process_variable;
use crate::diagnostic::{Diagnostic, Place, Severity, without_secrets};

use super::failure::Failure;
use mask::without_passwords;
pub(super) use page::{Cell, Grid, Page, Tone, plural};

/// How a command prints its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text and tables for people.
    Text,
    /// One JSON object.
    Json,
}

/// Where answers, messages and progress go.
#[derive(Clone)]
pub(super) struct Screen {
    format: Format,
    out: Stream,
    err: Stream,
    bars: MultiProgress,
}

/// One of the two outputs. Clones write to the same one.
#[derive(Clone)]
struct Stream {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    /// Why something that was written did not arrive.
    lost: Arc<OnceLock<String>>,
    color: bool,
    terminal: bool,
    /// The columns of the terminal, where it is one and tells.
    width: Option<usize>,
}

impl Screen {
    /// The process's own outputs.
    pub(super) fn standard(format: Format) -> Screen {
        let mut out = Stream::new(std::io::stdout(), std::io::stdout().is_terminal());
        // A terminal without a size (of a CI, of a container) says 0.
        let told = || console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        let columns = || told().or_else(|| process_variable("COLUMNS")?.parse().ok());
        out.width = if out.terminal { columns().filter(|columns| *columns > 0) } else { None };
        let err = Stream::new(std::io::stderr(), std::io::stderr().is_terminal());
        Screen { format, out, err, bars: MultiProgress::new() }
    }

    /// The answer of a command, on standard output.
    pub(super) fn answer(&self, json: impl FnOnce() -> Json, page: impl FnOnce() -> Page) {
        match self.format {
            Format::Json => self.out.write(&format!("{}\n", json())),
            Format::Text => self.out.write(&page().text(self.out.color, self.out.width)),
        }
    }

    /// Why the answer did not arrive, where it was not the reader that went
    /// away: the disk is full.
    pub(super) fn lost(&self) -> Option<&str> {
        self.out.lost.get().map(String::as_str)
    }

    /// True where an answer is for machines.
    pub(super) fn takes_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Text that has one form only, on standard output: a schema, a script.
    pub(super) fn raw(&self, text: &str) {
        self.out.write(text);
    }

    /// Diagnostics as the whole answer of a command.
    pub(super) fn verdict(&self, diagnostics: &[Diagnostic], project: &Project) {
        let wrong = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        self.answer(
            || json!({ "valid": !wrong, "diagnostics": diagnostics.iter().map(diagnostic::json).collect::<Vec<_>>() }),
            || diagnostic::page(diagnostics, project),
        );
    }

    /// Diagnostics in place of the answer that a command cannot give.
    pub(super) fn wrong(&self, diagnostics: &[Diagnostic], project: &Project) {
        match self.format {
            Format::Json => self.verdict(diagnostics, project),
            Format::Text => self.aside(diagnostics, project),
        }
    }

    /// Diagnostics beside the answer of a command, for people.
    pub(super) fn aside(&self, diagnostics: &[Diagnostic], project: &Project) {
        if !diagnostics.is_empty() {
            self.note(&diagnostic::page(diagnostics, project));
        }
    }

    /// Something for people that is not the answer, on standard error.
    pub(super) fn note(&self, page: &Page) {
        let text = page.text(self.err.color, None);
        self.bars.suspend(|| self.err.write(&text));
    }

    /// The command cannot do what was asked.
    pub(super) fn refuse(&self, failure: &Failure) {
        let Failure { code, place, .. } = failure;
        let (message, help) = (without_passwords(&failure.message), failure.help.as_deref().map(without_passwords));
        if self.format == Format::Json {
            let error = json!({
                "code": code, "message": message, "help": help,
                "file": place.as_ref().map(|place| place.file.display().to_string()),
                "line": place.as_ref().map(Place::line), "column": place.as_ref().map(Place::column),
            });
            self.out.write(&format!("{}\n", json!({ "error": error })));
            return;
        }
        let mut page = Page::new();
        let head = code.map_or_else(|| "error".to_owned(), |code| format!("error[{code}]"));
        page.spans([(Tone::Bad, head), (Tone::Strong, format!(": {message}"))]);
        if let Some(place) = place {
            page.spans([(Tone::Faint, "  --> ".to_owned()), (Tone::Plain, place.to_string())]);
        }
        if let Some(help) = help {
            page.spans([(Tone::Good, "  help".to_owned()), (Tone::Plain, format!(": {help}"))]);
        }
        self.note(&page);
    }

    /// Asks a yes-or-no question. `None` where nobody can answer.
    pub(super) fn confirm(&self, question: &str) -> Option<bool> {
        let line = self.ask(&format!("{question} [y/N]"))?;
        Some(matches!(line.to_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for a line, which may be empty. `None` where nobody can answer.
    pub(super) fn ask(&self, question: &str) -> Option<String> {
        if !std::io::stdin().is_terminal() || !self.err.terminal || self.format == Format::Json {
            return None;
        }
        self.err.write(&format!("{question} "));
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }

    /// A line that shows how far something is; only on a terminal.
    pub(super) fn bar(&self, name: &str) -> ProgressBar {
        if !self.err.terminal {
            return ProgressBar::hidden();
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        bar
    }

    /// Where log lines go: standard error, without tearing the progress apart.
    pub(super) fn log_writer(&self) -> LogWriter {
        LogWriter { err: self.err.clone(), bars: self.bars.clone() }
    }

    /// Whether messages may be coloured.
    pub(super) fn colors_logs(&self) -> bool {
        self.err.color
    }
}

impl Stream {
    fn new(writer: impl Write + Send + 'static, terminal: bool) -> Stream {
        let writer: Box<dyn Write + Send> = Box::new(writer);
        Stream {
            writer: Arc::new(Mutex::new(writer)),
            lost: Arc::default(),
            color: colors(terminal),
            terminal,
            width: None,
        }
    }

    /// Writes all of it but for secrets. A reader that went away is no failure of
    /// the command.
    fn write(&self, text: &str) {
        let text = without_secrets(text);
        let mut writer = self.writer.lock().expect("nothing panics while it prints");
        if let Err(error) = writer.write_all(text.as_bytes()).and_then(|()| writer.flush())
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            self.lost.get_or_init(|| error.to_string());
        }
    }
}

/// `NO_COLOR` and `CLICOLOR_FORCE` outrank what the terminal can do.
fn colors(terminal: bool) -> bool {
    let set = |name: &str| process_variable(name).is_some_and(|value| !value.is_empty());
    if set("NO_COLOR") {
        return false;
    }
    if process_variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0") {
        return true;
    }
    terminal && process_variable("TERM").is_none_or(|term| term != "dumb")
}

/// Writes log lines.
#[derive(Clone)]
pub(super) struct LogWriter {
    err: Stream,
    bars: MultiProgress,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bars.suspend(|| self.err.write(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        self.clone()
    }
}
