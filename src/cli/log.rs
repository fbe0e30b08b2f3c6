//! Structured logs on standard error, and the progress of a run.
//!
//! Every fact of a run is an event at the target `engine::event`: what a person
//! has to decide as a warning, what a policy or a person decided as
//! information, each write and the rest for debugging. All of them are kept in
//! the state as well, where `engine trace` reads them.

use std::collections::HashMap;
use std::sync::Mutex;

use clap::ValueEnum;
use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;

use super::render::Screen;
use super::{Common, Failure};
use crate::plan::ConflictOutcome;
use crate::run::{Event, Fact, Observer};
use crate::state::RunCounts;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the process.
pub(super) fn start(common: &Common, screen: &Screen) -> Result<(), Failure> {
    let by_verbosity = match common.verbose {
        0 => "warn",
        1 => "engine=info,warn",
        2 => "engine=debug,info",
        _ => "trace",
    };
    let filter = common.log_filter.as_deref().filter(|filter| !filter.is_empty() && common.verbose == 0);
    let filter = EnvFilter::try_new(filter.unwrap_or(by_verbosity)).map_err(|error| {
        Failure::wrong(format!("`ENGINE_LOG` cannot be read: {error}"))
            .help("write a level, as in `ENGINE_LOG=info`, or `ENGINE_LOG=engine=debug,warn`")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(screen.log_writer());
    // A second start in one process changes nothing.
    let _started = match common.log {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(screen.colors_logs()).try_init(),
    };
    Ok(())
}

/// Tells of a run while it lasts: progress on the terminal, facts in the log.
pub(super) struct Teller {
    screen: Screen,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl Teller {
    pub(super) fn new(screen: &Screen) -> Teller {
        Teller { screen: screen.clone(), bars: Mutex::default() }
    }

    /// The mapping is done: its progress goes from the terminal.
    pub(super) fn done(&self, mapping: &str) {
        if let Some(bar) = self.bars.lock().expect("nothing panics while it draws").remove(mapping) {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Teller {
    fn progress(&self, mapping: &str, counts: &RunCounts) {
        let mut bars = self.bars.lock().expect("nothing panics while it draws");
        let bar = bars.entry(mapping.to_owned()).or_insert_with(|| self.screen.bar(mapping));
        if bar.is_hidden() {
            return;
        }
        let (there, back) = (&counts.to_target, &counts.to_source);
        bar.set_message(format!(
            "{} read, {} created, {} updated",
            there.read + back.read,
            there.created + back.created,
            there.updated + back.updated,
        ));
        bar.tick();
    }

    fn event(&self, mapping: &str, run: &str, event: &Event) {
        let kind = event.fact.kind();
        let source_key = event.keys.source.as_ref().map(crate::record::Key::as_str);
        let target_key = event.keys.target.as_ref().map(crate::record::Key::as_str);
        // The level of an event is part of where it stands in the code.
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    target: "engine::event",
                    mapping,
                    run,
                    kind,
                    source_key,
                    target_key,
                    detail = %event.fact.detail(),
                )
            };
        }
        match &event.fact {
            Fact::Conflict { outcome, .. } => match outcome {
                ConflictOutcome::Opened | ConflictOutcome::Moved => tell!(warn),
                ConflictOutcome::Decided | ConflictOutcome::Resolved | ConflictOutcome::Closed => tell!(info),
                ConflictOutcome::Waiting => tell!(debug),
            },
            Fact::Held { .. } => tell!(warn),
            Fact::Parked(_) | Fact::Recovered { .. } => tell!(info),
            _ => tell!(debug),
        }
    }
}
