//! Changes of records, which are staged; and a new file in the place of the old
//! one, which brings them into effect.

use std::time::Duration;

use futures::future::BoxFuture;

use super::place;
use super::read::Opened;
use super::stage::Stage;
use crate::connector::{Action, Change, Fault, Outcome, Recorded, Refusal, Retry, Writing, unrecorded};
use crate::record::{Value, same};

/// A file that somebody edits is looked at again after this time.
const EDITED: Duration = Duration::from_secs(5);

/// A batch that is about to be written.
pub(super) struct Batch<'o> {
    pub(super) object: &'o Opened,
}

impl Writing for Batch<'_> {
    fn token(&self) -> Option<String> {
        None
    }

    fn keys(&self) -> &[Vec<Value>] {
        &[]
    }

    fn write<'a>(
        self: Box<Self>,
        changes: &'a [Change],
        recorded: Recorded<'a>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let object = self.object;
            let doing = object.doing("writing");
            refuse_edited(object, &doing)?;
            let stage = object.stage(&doing).await?;
            if !recorded.await {
                return Err(Fault::not_recorded(doing));
            }
            let written = prepare(object, &stage, changes).await;
            match &written {
                Ok(outcomes) if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Done { .. })) => {
                    stage.goes_ahead();
                }
                Ok(_) => {}
                Err(_) => object.forget().await,
            }
            written
        })
    }
}

/// Nobody's edits are overwritten with what a program will save, nor saved over
/// what the engine wrote.
fn refuse_edited(object: &Opened, doing: &str) -> Result<(), Fault> {
    let Some(editor) = place::editor(&object.found.path) else { return Ok(()) };
    let message = format!("a program has it open for somebody who edits it, as `{}` shows", editor.display());
    Err(Fault { retry: Retry::Later(EDITED), ..Fault::external(doing, "", message) })
}

async fn prepare(object: &Opened, stage: &Stage, changes: &[Change]) -> Result<Vec<Outcome>, Fault> {
    let width = object.access.shape.len();
    let mut outcomes: Vec<Option<Outcome>> = changes.iter().map(|change| refusal(object, stage, change)).collect();
    let open: Vec<usize> = (0..changes.len()).filter(|index| outcomes[*index].is_none()).collect();
    let staged: Vec<Change> = open.iter().map(|index| staged(object, &changes[*index])).collect();
    let told = stage.records.begin(0).await?.write(&staged, unrecorded()).await?;
    for ((index, change), outcome) in open.into_iter().zip(&staged).zip(told) {
        outcomes[index] = Some(match outcome {
            Outcome::Done { key, stored } => {
                let as_sent = |row: &Vec<Value>| {
                    change.action == Action::Create && change.set.iter().all(|(slot, value)| same(&row[*slot], value))
                };
                let stored = stored.filter(|row| !as_sent(row)).map(|mut row| {
                    row.truncate(width);
                    row
                });
                Outcome::Done { key, stored }
            }
            other => other,
        });
    }
    Ok(outcomes.into_iter().flatten().collect())
}

/// Puts a file with all that was staged in the place of the one that was read.
pub(super) async fn finish(object: &Opened) -> Result<(), Fault> {
    let doing = object.doing("writing");
    if object.is_lost() {
        let message = "what was prepared is lost, and nothing of it stands in the file";
        return Err(given_up(object, Fault::external(doing, "", message)).await);
    }
    let Some(stage) = object.prepared().await else { return Ok(()) };
    refuse_edited(object, &doing)?;
    let draft = stage.draft(&object.found.path, &doing).await?;
    let before = stage.stamp();
    let placed = tokio::task::spawn_blocking(move || draft.put_in_place(before.as_ref())).await;
    let placed = placed.map_err(|error| Fault::internal(&doing, "", error.to_string()).maybe_applied())?;
    match placed {
        Ok(Some(stamp)) => {
            object.is_in_place(&stage, stamp);
            Ok(())
        }
        Ok(None) => {
            let message = "somebody has changed it meanwhile; nothing was written over that";
            Err(given_up(object, Fault::external(doing, "", message)).await)
        }
        Err(error) => {
            let message = format!("`{}` cannot be written: {error}", object.found.path.display());
            Err(given_up(object, Fault::external(doing, "", message).maybe_applied()).await)
        }
    }
}

/// What was prepared is let go of, which this fault tells.
async fn given_up(object: &Opened, fault: Fault) -> Fault {
    object.forget().await;
    object.is_lost();
    Fault { retry: Retry::Never, ..fault }
}

/// A change as the stage takes it.
fn staged(object: &Opened, change: &Change) -> Change {
    let inward_at = |(slot, value): &(usize, Value)| (*slot, object.inward(*slot, value));
    let key = object.access.key.iter().zip(&change.key);
    Change {
        action: change.action,
        key: key.map(|(slot, value)| object.inward(*slot, value)).collect(),
        set: change.set.iter().map(inward_at).collect(),
        expect: change.expect.iter().map(inward_at).collect(),
    }
}

/// What the file's encoding, or the form of its dates and times, cannot hold.
fn refusal(object: &Opened, stage: &Stage, change: &Change) -> Option<Outcome> {
    let keys = object.access.key.iter().copied().zip(&change.key);
    let set = change.set.iter().map(|(slot, value)| (*slot, value));
    keys.chain(set).find_map(|(slot, value)| {
        let field = &object.access.shape.fields[slot].name;
        let message = match (stage.loses(field, value), value) {
            (Some(form), _) => format!("`{value}` of `{field}` cannot be written whole by the form `{form}`"),
            (None, value) => match (stage.too_narrow(field, value), value) {
                (Some(width), _) => format!("`{value}` is longer than the {width} characters of `{field}`"),
                (None, Value::Text(text)) => format!("{}, which stands in `{field}`", stage.lacks(text)?),
                (None, _) => return None,
            },
        };
        Some(Outcome::Refused(Refusal { native: String::new(), message, slot: Some(slot) }))
    })
}
