//! Writes go to a side: intents first, then the batch, then what became of it.

use super::execute::Work;
use super::fault::{SETTLING, is_harmless};
use super::report::Trouble;
use super::session::Session;
use crate::connector::{Action, Change, Fault, Outcome, Settled};
use crate::plan::{Link, LinkStatus, RecordWrite};
use crate::record::{Key, Side, Value};
use crate::state::{Answered, Intent, IntentField, Intents};

/// A write that is about to be sent.
pub(super) struct Send {
    pub work: usize,
    /// The link as it is before the write; a new one has number 0.
    pub link: Link,
    pub write: RecordWrite,
    /// When people made the change it carries.
    pub people: Option<chrono::DateTime<chrono::Utc>>,
    /// Slots that are set beside the fields (`deletes: { set: … }`).
    pub set: Vec<(usize, Value)>,
    /// Slots that must still stand beside those of the fields.
    pub expect: Vec<(usize, Value)>,
}

impl Session<'_> {
    /// Writes a batch to one side: intents, the write, what came of it. Answers
    /// with the links of the writes that were acknowledged.
    pub(super) async fn send(
        &mut self,
        side: Side,
        sends: Vec<Send>,
        work: &[Work],
    ) -> Result<Vec<(usize, Link)>, Trouble> {
        let mut acknowledged = Vec::new();
        let size = self.program.sides[side].access.batch.max(1);
        let mut rest = sends;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(size));
            self.send_batch(side, rest, work, &mut acknowledged).await?;
            rest = later;
        }
        Ok(acknowledged)
    }

    pub(super) async fn send_batch(
        &mut self,
        side: Side,
        sends: Vec<Send>,
        work: &[Work],
        acknowledged: &mut Vec<(usize, Link)>,
    ) -> Result<(), Trouble> {
        let setup = self.setup;
        let fence = self.fence.clone().expect("a run that writes has taken its mapping");
        let mut attempt = 1;
        loop {
            let allot = if self.program.sides[side].key_is_mapped() {
                0
            } else {
                sends.iter().filter(|send| send.write.action == Action::Create).count()
            };
            let writing = setup.call(side, || setup.objects[side].begin(allot)).await?;
            let (changes, intents) = self.intents(side, &sends, writing.keys(), writing.token());
            let id = setup.store.intend(&fence, &intents).await?;
            match writing.write(&changes).await {
                Ok(outcomes) => return self.answered(side, sends, work, (id, intents), outcomes, acknowledged).await,
                Err(fault) => {
                    let applied = !is_harmless(&fault) && self.settle(side, intents.token.as_deref(), &fault).await?;
                    if applied {
                        let outcomes = changes
                            .iter()
                            .map(|change| Outcome::Done { key: change.key.clone(), stored: None })
                            .collect();
                        return self.answered(side, sends, work, (id, intents), outcomes, acknowledged).await;
                    }
                    // Nothing of it is in effect: the intents are void.
                    self.pending
                        .answered
                        .push(Answered { intents: id, not_made: (0..intents.creates.len()).collect() });
                    self.flush().await?;
                    setup.wait(side, &mut attempt, fault).await?;
                }
            }
        }
    }

    /// Asks a side what became of a batch without an answer. True: it is in
    /// effect; false: it is not. Where only a look can tell, the run ends here,
    /// and the next one recovers.
    pub(super) async fn settle(&mut self, side: Side, token: Option<&str>, fault: &Fault) -> Result<bool, Trouble> {
        let mut waited = std::time::Duration::ZERO;
        let mut pause = std::time::Duration::from_millis(50);
        loop {
            match self.setup.call(side, || self.setup.objects[side].settle(token)).await? {
                Settled::Applied => return Ok(true),
                Settled::NotApplied => return Ok(false),
                Settled::Running if waited < SETTLING => {
                    self.setup.world.sleep(pause).await;
                    waited += pause;
                    pause = (pause * 2).min(std::time::Duration::from_secs(5));
                }
                Settled::Look | Settled::Running => return Err(Trouble::Side(side, fault.clone())),
            }
        }
    }

    /// What is sent, and what is recorded before it is.
    pub(super) fn intents(
        &self,
        side: Side,
        sends: &[Send],
        allotted: &[Vec<Value>],
        token: Option<String>,
    ) -> (Vec<Change>, Intents) {
        let program = &self.program.sides[side];
        let mut allotted = allotted.iter();
        let mut changes = Vec::with_capacity(sends.len());
        let mut intents = Intents { side, token, at: self.setup.world.now(), creates: Vec::new(), changes: Vec::new() };
        for send in sends {
            let write = &send.write;
            let slot = |field: usize| {
                self.program.fields[field].toward[side]
                    .as_ref()
                    .expect("only a field that is written is in a write")
                    .slot
            };
            let set = write.fields.iter().map(|field| (slot(field.field), field.value.clone()));
            if write.action == Action::Create {
                let (in_key, set): (Vec<_>, Vec<_>) = set.partition(|(slot, _)| program.access.key.contains(slot));
                let given = if program.key_is_mapped() { None } else { allotted.next() };
                let key: Vec<Value> = program
                    .access
                    .key
                    .iter()
                    .enumerate()
                    .map(|(position, slot)| {
                        in_key
                            .iter()
                            .find(|(mapped, _)| mapped == slot)
                            .map(|(_, value)| value.clone())
                            .or_else(|| given.map(|given| given[position].clone()))
                            .unwrap_or(Value::Missing)
                    })
                    .collect();
                let mut link = send.link.clone();
                link.keys[side] = Key::new(&key).unwrap_or_else(|| Key::from_canonical(""));
                link.status = LinkStatus::Linked;
                for field in &write.fields {
                    link.bases.set(field.field, field.bases.clone(), self.written(field.field));
                }
                if link.id == 0 {
                    intents.creates.push(link);
                } else {
                    // A record that is made anew for a link that stands.
                    intents.changes.push(Self::intent(&link, write));
                }
                let key = if key.iter().any(Value::is_null) { Vec::new() } else { key };
                changes.push(Change { action: Action::Create, key, set, expect: Vec::new() });
            } else {
                let expect = write
                    .fields
                    .iter()
                    .filter_map(|field| Some((slot(field.field), field.expect.clone()?)))
                    .chain(send.expect.iter().cloned())
                    .collect();
                intents.changes.push(Self::intent(&send.link, write));
                changes.push(Change {
                    action: write.action,
                    key: self.key_values(side, &send.link.keys[side]),
                    set: set.chain(send.set.iter().cloned()).collect(),
                    expect,
                });
            }
        }
        (changes, intents)
    }

    pub(super) fn intent(link: &Link, write: &RecordWrite) -> Intent {
        Intent {
            link: link.id,
            keys: link.keys.clone(),
            revision: link.revision + 1,
            action: write.action,
            fields: write
                .fields
                .iter()
                .map(|field| IntentField {
                    field: field.field,
                    value: field.value.clone(),
                    expect: field.expect.clone(),
                    bases: field.bases.clone(),
                })
                .collect(),
        }
    }
}
