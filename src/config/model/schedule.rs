//! When a mapping runs by itself.

use super::scalar::{Cron, Duration, Timezone};
use crate::config::decode::{Choice, Table, choice, names};
use crate::config::tree::{At, Node};
use crate::diagnostic::{Diagnostics, Place};
use schemars::JsonSchema;
use serde::Serialize;

/// When a mapping runs under `engine run` without `--once`.
///
/// With `every` or `cron`, and any `after`; with `after` alone it runs
/// whenever all of those mappings have run since its own last run, and none
/// of them failed. A mapping that fails several times in a row is tried less
/// and less often, at least once an hour or as often as it is due.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1))]
pub struct Schedule {
    #[schemars(skip)]
    pub place: Place,
    /// False where a part of it was reported and left out.
    #[schemars(skip)]
    pub complete: bool,
    /// The time from the start of one run to the start of the next, such as
    /// `30s`, `5m` or `1h30m`. A run that takes longer is not overlapped.
    #[schemars(example = &"5m")]
    pub every: Option<At<Duration>>,
    /// A cron pattern instead of `every`: minute, hour, day of the month, month
    /// and day of the week; six parts have the second before them. A part takes
    /// `*`, lists, ranges and steps; days also `L` (the last), `15W` (the workday
    /// nearest to it) and `5#2` (the second Friday). `@hourly`, `@daily`,
    /// `@weekly`, `@monthly` and `@yearly` are patterns too. Default: none.
    #[schemars(example = &"0 6,12,18 * * *")]
    pub cron: Option<At<Cron>>,
    /// The zone in which `cron` is meant, by its IANA name. Default: `UTC`.
    #[schemars(example = &"America/Sao_Paulo")]
    pub timezone: Option<At<Timezone>>,
    /// The mappings that run before this one where both are due. They are
    /// named as seen from this mapping's folder. Default: none.
    #[schemars(default, example = ["sellers"])]
    pub after: Vec<At<String>>,
    /// Each run by the clock starts up to so much later, so that what is due
    /// at the same time does not start at once. Default: none.
    #[schemars(example = &"30s")]
    pub jitter: Option<At<Duration>>,
    /// What becomes of a time that was missed, for the engine did not run or
    /// the run before took too long. Default: `run`.
    pub missed: Option<At<Missed>>,
}

/// What becomes of times that were missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Missed {
    /// The mapping runs once, as soon as it can, however many were missed.
    #[default]
    Run,
    /// It runs at the next time.
    Skip,
}

impl Choice for Missed {
    const WHAT: &'static str = "a way to treat missed times";
    const WORDS: &'static [(&'static str, Missed)] = &[("run", Missed::Run), ("skip", Missed::Skip)];
}

impl Schedule {
    pub(crate) fn decode(node: &Node, diagnostics: &mut Diagnostics) -> Option<Schedule> {
        let mut table = Table::open(node, "a schedule", diagnostics)?;
        let mut schedule = Schedule {
            place: node.place.clone(),
            complete: true,
            every: table.optional("every", Duration::decode_positive),
            cron: table.optional("cron", Cron::decode),
            timezone: table.optional("timezone", Timezone::decode),
            after: table.optional("after", names).unwrap_or_default(),
            jitter: table.optional("jitter", Duration::decode),
            missed: table.optional("missed", choice),
        };
        schedule.complete = table.finish();
        Some(schedule)
    }
}
