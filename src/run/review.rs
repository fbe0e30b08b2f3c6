//! Plans that are kept, and runs that do only what somebody has looked at.

use std::fmt::Debug;

use super::execute::Work;
use super::report::{Planned, Trouble};
use super::session::Session;
use crate::diagnostic::Code;
use crate::plan::Verdict;
use crate::record::{Both, Key, Side};

/// Takes the changes of a dry run as they are planned.
pub trait PlanSink: Debug + Send + Sync {
    fn planned(&self, change: &Planned);
}

/// The changes that a run may make, each as a dry run planned it.
pub trait Review: Debug + Send + Sync {
    /// Some of the records to look at, by the side they are read from, no key
    /// twice; `None` once there are no more.
    ///
    /// # Errors
    /// Where they cannot be read: why.
    fn next(&self) -> Result<Option<Both<Vec<Key>>>, String>;

    /// Whether all changes of one record may be made; they are made then.
    fn allows(&self, changes: &[Planned]) -> bool;
}

impl Session<'_> {
    /// Only the changes of a review, in its order.
    pub(super) async fn only_reviewed(&mut self, review: &dyn Review) -> Result<(), Trouble> {
        let broken = |message| Trouble::Refused { code: Code::PLAN_BROKEN, side: None, message };
        while let Some(keys) = review.next().map_err(broken)? {
            for side in Side::BOTH {
                self.visit(side, keys[side].clone(), true).await?;
            }
        }
        self.look_again().await?;
        self.flush_deletes().await?;
        self.bring_all_into_effect().await
    }

    /// The pairs that may be dealt with: of a review those whose changes stand in
    /// it as they would be made now.
    pub(super) async fn reviewed(&mut self, mut work: Vec<Work>) -> Result<Vec<Work>, Trouble> {
        let Some(review) = self.options.review.clone() else { return Ok(work) };
        for item in &mut work {
            self.carry_over(item);
        }
        let open = self.open_conflicts(&work).await?;
        let mut allowed = Vec::with_capacity(work.len());
        for item in work {
            let decision = self.decide(&item, &open);
            let delete = match (&decision.verdict, &item.link) {
                (Verdict::Reject { .. }, _) => continue,
                (Verdict::Delete { on }, Some(link)) => Some((*on, self.delete(0, &item, link, *on))),
                _ => None,
            };
            // What was allowed when it was noticed is carried out later, where it is still to be deleted.
            let approved = delete.is_some() && item.link.as_ref().is_some_and(|link| self.approved.contains(&link.id));
            let mut changes = Vec::new();
            if let Some((on, send)) = &delete {
                changes.push(self.foreseen(*on, send.action(), item.all_keys(), self.changes(*on, send)));
            }
            for side in Side::BOTH {
                changes.extend(decision.writes[side].as_ref().map(|write| {
                    self.foreseen(side, write.action, item.all_keys(), self.field_changes(write).collect())
                }));
            }
            // Where nothing is to be written any more, what else there is to note is for the next run.
            if approved || !changes.is_empty() && review.allows(&changes) {
                self.approved.extend(item.link.as_ref().filter(|_| delete.is_some()).map(|link| link.id));
                allowed.push(item);
            }
        }
        Ok(allowed)
    }
}
