//! A run is at its end: what it did goes on record and into its report.

use std::collections::BTreeMap;

use super::report::{RunReport, Trouble, Undecided};
use super::session::Session;
use crate::plan::Resolution;
use crate::state::{ConflictFilter, RunRecord, RunStatus};

impl Session<'_> {
    /// Decisions for values that still stand, and yet were not applied, did not
    /// fit: they are asked for again, and not tried by every run.
    async fn take_back(&self) -> Result<(), Trouble> {
        let refused = |undecided: &&Undecided| undecided.decided_for == undecided.now;
        let refused: BTreeMap<i64, &Resolution> =
            self.undecided.iter().filter(refused).map(|undecided| (undecided.conflict, &undecided.decision)).collect();
        if refused.is_empty() || self.options.dry {
            return Ok(());
        }
        // Meanwhile somebody may have decided something else.
        let filter = ConflictFilter { ids: refused.keys().copied().collect(), ..ConflictFilter::default() };
        let mut known = self.setup.store.conflicts(&filter).await?;
        known.retain(|conflict| refused.get(&conflict.id).copied() == conflict.resolution.as_ref());
        let ids: Vec<i64> = known.into_iter().map(|conflict| conflict.id).collect();
        self.setup.store.resolve(&ids, None).await?;
        Ok(())
    }

    /// A trouble, as the list of runs has it.
    fn on_record(&self, trouble: &Trouble) -> String {
        match trouble {
            Trouble::Side(side, fault) => {
                format!("{side}: connection `{}`: {fault}", self.program.sides[*side].connection)
            }
            Trouble::State(_) | Trouble::Refused { .. } | Trouble::Stopped => trouble.to_string(),
        }
    }

    /// The run as it stands now.
    pub(super) fn as_it_stands(&self, status: RunStatus) -> RunRecord {
        RunRecord {
            run: self.run.clone(),
            mapping: self.program.name.to_string(),
            number: self.state.runs,
            status,
            started_at: self.started,
            duration_ms: self.duration_ms(),
            counts: self.counts,
            errors: self.troubles.iter().map(|trouble| self.on_record(trouble)).collect(),
        }
    }

    pub(super) fn duration_ms(&self) -> u64 {
        u64::try_from((self.setup.world.now() - self.started).num_milliseconds()).unwrap_or(0)
    }

    pub(super) async fn finish(mut self) -> RunReport {
        let duration_ms = self.duration_ms();
        match self.setup.store.count_owed(&self.program.name).await {
            Ok(owed) => self.counts.owed = owed.all(),
            Err(error) => self.troubles.push(error.into()),
        }
        let counts = &self.counts;
        let failed = counts.to_target.failed + counts.to_source.failed;
        let newly = counts.to_target.parked + counts.to_source.parked + counts.conflicts + self.undecided.len() as u64;
        let status = if !self.troubles.is_empty() {
            RunStatus::Failure
        } else if self.stopped {
            RunStatus::Interrupted
        } else if failed + newly + self.held_anew > 0 {
            RunStatus::Partial
        } else {
            RunStatus::Success
        };
        self.pending.run = Some(RunRecord { duration_ms, ..self.as_it_stands(status) });
        if self.troubles.is_empty() && !self.stopped {
            self.pending.mapping = Some(self.state.clone());
        }
        let mut status = status;
        if let Err(trouble) = self.flush().await {
            status = RunStatus::Failure;
            self.troubles.push(trouble);
        }
        if let Err(trouble) = self.take_back().await {
            status = RunStatus::Failure;
            self.troubles.push(trouble);
        }
        RunReport {
            mapping: self.program.name.to_string(),
            run: self.run,
            status,
            started_at: self.started,
            duration_ms,
            counts: self.counts,
            parked: self.parked,
            troubles: self.troubles,
            planned: self.planned,
            planned_in_all: self.planned_in_all,
            disputed: self.disputed,
            unanswered: self.unanswered,
            held: self.held,
            held_anew: self.held_anew,
            newly_held: self.newly_held,
            undecided: self.undecided,
        }
    }
}
