//! Mappings without a good run for too long: told once, until they have one.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::loaded::Loaded;
use super::notices::{Happened, Notices};
use crate::config::model::{Mapping, NotifyEvent};
use crate::run::World;
use crate::state::{RunRecord, RunStatus, Store, StoreError};

/// What was told of mappings that had no good run for too long.
pub(super) struct Watch {
    /// Since when there is somebody who could have run them.
    began: DateTime<Utc>,
    /// By mapping and place among its `notify`: the good run that was too long
    /// ago.
    told: BTreeMap<(String, usize), Option<DateTime<Utc>>>,
}

impl Watch {
    /// It is looked this often at least.
    pub(super) const LATER: Duration = Duration::from_mins(1);

    pub(super) fn new(world: &dyn World) -> Watch {
        Watch { began: world.now(), told: BTreeMap::new() }
    }

    /// Tells of those that are stale now. Answers with when to look again.
    pub(super) async fn look(
        &mut self,
        loaded: &Loaded,
        mappings: &[&Mapping],
        store: &dyn Store,
        notices: &Notices,
        now: DateTime<Utc>,
    ) -> Result<Duration, StoreError> {
        let mut again = Watch::LATER;
        for mapping in mappings {
            let wanted = mapping.notify.iter().enumerate().filter(|(_, one)| one.tells_of(NotifyEvent::Stale));
            let mut wanted = wanted.peekable();
            if wanted.peek().is_none() {
                continue;
            }
            let name = &mapping.full_name;
            let newest = store.runs(Some(name), 1).await?.into_iter().next();
            let good = match newest.as_ref().filter(|run| is_good(run)) {
                Some(run) => Some(ended(run)),
                None => store.runs(Some(name), usize::MAX).await?.iter().find(|run| is_good(run)).map(ended),
            };
            // An engine that has just begun lets it run first.
            let has_run = newest.is_some_and(|run| run.status.has_ended() && run.started_at >= self.began);
            for (place, notify) in wanted {
                let after = notify.stale_after();
                again = again.min(after / 4);
                let after = TimeDelta::from_std(after).unwrap_or(TimeDelta::MAX);
                let since =
                    if has_run { good.unwrap_or(self.began) } else { good.unwrap_or(self.began).max(self.began) };
                let key = (name.clone(), place);
                if now - since <= after {
                    continue;
                }
                if self.told.get(&key) != Some(&good) {
                    notices.tell_one(loaded, mapping, notify, &Happened::is_stale(name, good));
                    self.told.insert(key, good);
                }
            }
        }
        Ok(again.max(Duration::from_millis(100)))
    }
}

fn is_good(run: &RunRecord) -> bool {
    matches!(run.status, RunStatus::Success | RunStatus::Partial)
}

fn ended(run: &RunRecord) -> DateTime<Utc> {
    run.started_at + TimeDelta::milliseconds(i64::try_from(run.duration_ms).unwrap_or(i64::MAX))
}
