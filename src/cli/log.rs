//! Structured logs on standard error, and the progress of a run.
//!
//! Every fact of a run is an event at the target `engine::event`: what a person
//! has to decide as a warning, what a policy or a person decided as
//! information, each write and the rest for debugging. Without `--log` they
//! are not printed: the report tells people what happened. All of them are
//! kept in the state as well, where `engine trace` reads them.

use std::collections::HashMap;
use std::sync::Mutex;

use clap::ValueEnum;
use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;

use super::keys::KeyNames;
use super::log_line::JsonLine;
use super::render::Screen;
use super::{Common, Failure};
use crate::plan::ConflictOutcome;
use crate::record::Both;
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
    // A policy's decision is worth a line to who asked for lines; to people the report says what happened.
    let by_verbosity = match common.verbose {
        0 if common.log.is_none() => "engine::event=off,warn",
        0 => "engine::event=info,warn",
        1 => "engine::event=debug,engine=info,warn",
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
    let _started = match common.log.unwrap_or(LogFormat::Text) {
        LogFormat::Json => builder.event_format(JsonLine).try_init(),
        LogFormat::Text => builder.with_ansi(screen.colors_logs()).try_init(),
    };
    Ok(())
}

/// Tells of a run while it lasts: progress on the terminal, facts in the log.
pub(super) struct Teller {
    screen: Screen,
    bars: Mutex<HashMap<String, ProgressBar>>,
    known: Mutex<HashMap<String, Known>>,
}

/// What is known of a mapping that runs.
#[derive(Default)]
struct Known {
    names: KeyNames,
    /// Records found on both sides and linked.
    adopted: u64,
    /// Sides that show no record at all, and how many links there are.
    emptied: Both<Option<u64>>,
}

impl Teller {
    pub(super) fn new(screen: &Screen) -> Teller {
        Teller { screen: screen.clone(), bars: Mutex::default(), known: Mutex::default() }
    }

    /// A mapping is about to run, and its keys have these names.
    pub(super) fn begins(&self, mapping: &str, names: KeyNames) {
        let mut known = self.known.lock().expect("nothing panics while it counts");
        known.insert(mapping.to_owned(), Known { names, ..Known::default() });
    }

    /// The sides that showed no record at all, and how many links there are.
    pub(super) fn emptied(&self, mapping: &str) -> Both<Option<u64>> {
        let known = self.known.lock().expect("nothing panics while it counts");
        known.get(mapping).map(|known| known.emptied).unwrap_or_default()
    }

    /// How many records were found on both sides and linked.
    pub(super) fn adopted(&self, mapping: &str) -> u64 {
        self.known.lock().expect("nothing panics while it counts").get(mapping).map_or(0, |known| known.adopted)
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
        if matches!(event.fact, Fact::Adopted | Fact::Emptied { .. }) {
            let mut all = self.known.lock().expect("nothing panics while it counts");
            let known = all.entry(mapping.to_owned()).or_default();
            match event.fact {
                Fact::Emptied { side, links } => known.emptied[side] = Some(links),
                _ => known.adopted += 1,
            }
        }
        // Most of a first sync is told to nobody: nothing is made of it then.
        if !tracing::enabled!(target: "engine::event", tracing::Level::WARN) {
            return;
        }
        let keys = {
            let known = self.known.lock().expect("nothing panics while it counts");
            let names = known.get(mapping).map(|known| &known.names);
            Both::from_fn(|side| {
                let key = event.keys[side].as_ref()?;
                Some(names.map_or_else(|| key.as_str().to_owned(), |names| names.json(side, Some(key)).to_string()))
            })
        };
        let (source_key, target_key) = (keys.source.as_deref(), keys.target.as_deref());
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
            Fact::Held { .. } | Fact::Emptied { .. } => tell!(warn),
            Fact::Parked(_) | Fact::Recovered { .. } => tell!(info),
            Fact::Written { fields, .. } if fields.iter().any(|field| field.over) => tell!(info),
            _ => tell!(debug),
        }
    }
}
