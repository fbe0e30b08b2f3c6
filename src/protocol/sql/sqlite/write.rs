//! Writes to a SQLite table, a batch in one transaction.
//!
//! The write lock is held from `begin` on, so a batch first looks at the rows
//! it is about, decides each change by what stands there, and then makes the
//! changes: nobody can come between. Afterwards it looks again, which tells
//! what triggers, defaults and affinity made of what was sent. `OR ABORT`
//! outranks a table's own `ON CONFLICT REPLACE`, which would silently take
//! other rows away.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, Transaction};

use super::super::statement::safe;
use super::super::write::{Form, forms, rounds};
use super::allot::allot_keys;
use super::fault;
use super::read::Opened;
use crate::connector::{Action, Change, Fault, Outcome, Recorded, Refusal, Scope, Writing};
use crate::record::{Key, Value, same};

/// Rows in one INSERT at most.
const ROWS: usize = 500;

/// Parameters in one statement at most: SQLite takes 32,766.
const PARAMETERS: usize = 30_000;

pub(super) async fn begin(object: &Opened, allot: usize) -> Result<Batch<'_>, Fault> {
    let doing = object.doing("writing to");
    let failed = |error: sqlx::Error| fault::fault(&doing, &error);
    let pool = object.inner.pool(&doing).await?;
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let keys =
        if allot == 0 { Vec::new() } else { allot_keys(object, &mut transaction, allot).await.map_err(failed)? };
    Ok(Batch {
        object,
        transaction,
        keys,
        is_saved: false,
        is_single: false,
        trying: Vec::new(),
        lost: None,
        unkept: Vec::new(),
    })
}

/// One batch of writes, its transaction open.
pub(super) struct Batch<'o> {
    pub(super) object: &'o Opened,
    transaction: Transaction<'static, Sqlite>,
    keys: Vec<Vec<Value>>,
    /// What is made can be undone as a whole.
    is_saved: bool,
    /// Each change by a statement of its own: one of them takes the others away.
    is_single: bool,
    /// The changes of the statement under way.
    trying: Vec<usize>,
    /// A trigger has had SQLite roll back everything, with these words.
    lost: Option<Refusal>,
    /// Changes that a trigger has kept from coming into effect without a word.
    unkept: Vec<usize>,
}

impl Writing for Batch<'_> {
    fn token(&self) -> Option<String> {
        None
    }

    fn keys(&self) -> &[Vec<Value>] {
        &self.keys
    }

    fn write<'a>(
        mut self: Box<Self>,
        changes: &'a [Change],
        recorded: Recorded<'a>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let doing = self.object.doing("writing to");
            let failed = |error: sqlx::Error| fault::fault(&doing, &error);
            let mut refused = BTreeMap::new();
            let (outcomes, recorded) = futures::join!(self.make(changes, &mut refused), recorded);
            let mut outcomes = outcomes.map_err(failed)?;
            if !recorded {
                return Err(Fault::not_recorded(doing));
            }
            if self.object.table.defers_references {
                let broken = self.broken_references(changes, &outcomes).await.map_err(failed)?;
                if !broken.is_empty() {
                    // SQLITE_CONSTRAINT_FOREIGNKEY, as the commit would say it.
                    let (native, message) = ("787".to_owned(), "FOREIGN KEY constraint failed".to_owned());
                    let refusal = Refusal { native, message, slot: None };
                    refused.extend(broken.into_iter().map(|index| (index, refusal.clone())));
                    outcomes = self.make(changes, &mut refused).await.map_err(failed)?;
                }
            }
            let Batch { transaction, .. } = *self;
            transaction.commit().await.map_err(|error| match &error {
                // SQLite says why it would not commit; the transaction is rolled back with its connection.
                sqlx::Error::Database(_) if fault::is_busy(&error) || fault::refusal(&error).is_some() => failed(error),
                _ => failed(error).maybe_applied(),
            })?;
            Ok(outcomes.into_iter().map(|outcome| outcome.expect("each change has been dealt with")).collect())
        })
    }
}

impl Batch<'_> {
    /// Makes the changes but for those that are refused already, and adds those
    /// that triggers refuse for the whole batch or in silence. Undoes what an
    /// earlier attempt has made.
    async fn make(
        &mut self,
        changes: &[Change],
        refused: &mut BTreeMap<usize, Refusal>,
    ) -> Result<Vec<Option<Outcome>>, sqlx::Error> {
        loop {
            let made = self.make_once(changes, refused).await;
            if let Some(refusal) = self.lost.take() {
                sqlx::query("BEGIN IMMEDIATE").execute(&mut *self.transaction).await?;
                self.is_saved = false;
                match self.trying[..] {
                    [only] => drop(refused.insert(only, refusal)),
                    _ => self.is_single = true,
                }
                continue;
            }
            let made = made?;
            if self.unkept.is_empty() {
                return Ok(made);
            }
            for index in std::mem::take(&mut self.unkept) {
                let message = if changes[index].action == Action::Delete {
                    "the database did not delete the record (a trigger)"
                } else {
                    "the database did not keep the record (a trigger, or a view that does not show it)"
                };
                let message = message.to_owned();
                refused.insert(index, Refusal { native: String::new(), message, slot: None });
            }
        }
    }

    async fn make_once(
        &mut self,
        changes: &[Change],
        refused: &BTreeMap<usize, Refusal>,
    ) -> Result<Vec<Option<Outcome>>, sqlx::Error> {
        let undo = if self.is_saved { "ROLLBACK TO engine_batch" } else { "SAVEPOINT engine_batch" };
        sqlx::query(undo).execute(&mut *self.transaction).await?;
        self.is_saved = true;
        self.unkept.clear();
        let mut outcomes = vec![None; changes.len()];
        for (index, refusal) in refused {
            outcomes[*index] = Some(Outcome::Refused(refusal.clone()));
        }
        for mut members in rounds(changes) {
            members.retain(|index| !refused.contains_key(index));
            self.round(changes, members, &mut outcomes).await?;
        }
        Ok(outcomes)
    }

    /// The changes that left a reference to nothing, where SQLite would only
    /// say so of the whole batch when it commits.
    async fn broken_references(
        &mut self,
        changes: &[Change],
        outcomes: &[Option<Outcome>],
    ) -> Result<HashSet<usize>, sqlx::Error> {
        let object = self.object;
        let key: Vec<&str> = object.access.key.iter().map(|slot| object.selection.columns[*slot].as_str()).collect();
        let sql = format!(
            "SELECT {} FROM (SELECT DISTINCT rowid AS engine_row FROM pragma_foreign_key_check(?1)) AS engine_broken \
             CROSS JOIN {table} WHERE {table}.rowid = engine_broken.engine_row",
            key.join(", "),
            table = object.selection.table,
        );
        let rows = sqlx::query(safe(sql)).bind(&object.table.name).fetch_all(&mut *self.transaction).await?;
        let mut broken = HashSet::with_capacity(rows.len());
        for row in &rows {
            let (_, values) = object.decode(row, 0, &object.access.key)?;
            broken.extend(Key::new(object.access.key.iter().map(|slot| &values[*slot])));
        }
        let is_broken = |index: &usize| match (&outcomes[*index], changes[*index].action) {
            (Some(Outcome::Done { key, .. }), Action::Create | Action::Update) => {
                Key::new(key).is_some_and(|key| broken.contains(&key))
            }
            _ => false,
        };
        Ok((0..changes.len()).filter(is_broken).collect())
    }

    /// Makes the changes of one round, no two of which have the same key.
    async fn round(
        &mut self,
        changes: &[Change],
        members: Vec<usize>,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), sqlx::Error> {
        let standing = self.look(changes, &members, |change| Some(change.key.clone())).await?;
        let mut open = Vec::with_capacity(members.len());
        for index in members {
            let rows = standing.get(&index).map_or(&[][..], Vec::as_slice);
            outcomes[index] = decide(&changes[index], rows);
            if outcomes[index].is_none() {
                open.push(index);
            }
        }
        for (form, members) in forms(changes, &open) {
            if self.object.goes_together(&form) && !self.is_single {
                let width = form.key.len() + form.set.len();
                let rows = ROWS.min(PARAMETERS / width.max(1)).max(1);
                for chunk in members.chunks(rows) {
                    self.together(changes, &form, chunk, outcomes).await?;
                }
            } else {
                for index in members {
                    self.trying = vec![index];
                    outcomes[index] = Some(self.change(&changes[index], &form).await?);
                }
            }
        }
        self.tell_stored(changes, &open, outcomes).await
    }

    /// The rows that stand under the keys of these changes.
    async fn look(
        &mut self,
        changes: &[Change],
        members: &[usize],
        key: impl Fn(&Change) -> Option<Vec<Value>>,
    ) -> Result<HashMap<usize, Vec<Vec<Value>>>, sqlx::Error> {
        let width = self.object.access.key.len();
        let (indexes, probes): (Vec<usize>, Vec<Vec<Value>>) = members
            .iter()
            .filter_map(|index| Some((*index, key(&changes[*index]).filter(|key| key.len() == width)?)))
            .unzip();
        let found =
            self.object.find(&mut self.transaction, &self.object.access.key, &probes, Scope::Everything).await?;
        let mut rows: HashMap<usize, Vec<Vec<Value>>> = HashMap::with_capacity(found.batch.len());
        for (position, probe) in found.probes.iter().enumerate() {
            let (index, row) = (indexes[*probe], found.batch.row(position));
            if changes[index].action == Action::Create || !self.object.is_marked(row) {
                rows.entry(index).or_default().push(row.to_vec());
            }
        }
        Ok(rows)
    }

    /// Makes changes by one statement; where that fails, in halves, until the
    /// record at fault is alone.
    fn together<'a>(
        &'a mut self,
        changes: &'a [Change],
        form: &'a Form,
        members: &'a [usize],
        outcomes: &'a mut [Option<Outcome>],
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        async move {
            let slots: Vec<usize> = self.object.access.key.iter().chain(&form.set).copied().collect();
            let mut arguments = SqliteArguments::default();
            for index in members {
                let change = &changes[*index];
                for (slot, value) in
                    slots.iter().zip(change.key.iter().chain(change.set.iter().map(|(_, value)| value)))
                {
                    self.object.columns[*slot].store(value).bind(&mut arguments);
                }
            }
            let sql = self.object.statement(form, members.len());
            self.trying = members.to_vec();
            match self.attempt(sql, arguments).await? {
                Ok(_) => {
                    for index in members {
                        outcomes[*index] = Some(Outcome::Done { key: changes[*index].key.clone(), stored: None });
                    }
                }
                Err(refusal) => match members {
                    [only] => outcomes[*only] = Some(Outcome::Refused(refusal)),
                    several => {
                        let (first, second) = several.split_at(several.len() / 2);
                        self.together(changes, form, first, outcomes).await?;
                        self.together(changes, form, second, outcomes).await?;
                    }
                },
            }
            Ok(())
        }
        .boxed()
    }

    /// Runs one statement under a savepoint: a refusal leaves nothing of it.
    pub(super) async fn attempt(
        &mut self,
        sql: String,
        arguments: SqliteArguments,
    ) -> Result<Result<Option<sqlx::sqlite::SqliteRow>, Refusal>, sqlx::Error> {
        // A statement that breaks a constraint undoes itself (the default of
        // `ON CONFLICT`); one that a trigger ends with RAISE(FAIL) does not.
        let triggers = self.object.table.has_triggers;
        if triggers {
            sqlx::query("SAVEPOINT engine_change").execute(&mut *self.transaction).await?;
        }
        let done = sqlx::query_with(safe(sql), arguments).fetch_optional(&mut *self.transaction).await;
        let (done, end) = match done {
            Ok(row) => (Ok(row), "RELEASE engine_change"),
            Err(error) => match fault::refusal(&error) {
                Some(refusal) => (Err(refusal), "ROLLBACK TO engine_change"),
                None => return Err(error),
            },
        };
        if triggers {
            let ended = sqlx::query(end).execute(&mut *self.transaction).await;
            // There is nothing to go back to: RAISE(ROLLBACK) has taken the whole transaction away.
            if let (Err(error), Err(refusal)) = (ended.map(drop), &done) {
                self.lost = Some(refusal.clone());
                return Err(error);
            }
        }
        Ok(done)
    }

    /// Fills in what stands in the rows that were written, and notes what did not
    /// come into effect.
    async fn tell_stored(
        &mut self,
        changes: &[Change],
        members: &[usize],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), sqlx::Error> {
        let watches = self.object.table.has_triggers;
        let is_delete = |index: usize| changes[index].action == Action::Delete;
        let (indexes, probes): (Vec<usize>, Vec<Vec<Value>>) = members
            .iter()
            .filter_map(|index| match &outcomes[*index] {
                // A key that nobody told can be looked for by nobody.
                Some(Outcome::Done { key, .. }) if Key::new(key).is_some() && (watches || !is_delete(*index)) => {
                    Some((*index, key.clone()))
                }
                _ => None,
            })
            .unzip();
        let found =
            self.object.find(&mut self.transaction, &self.object.access.key, &probes, Scope::Everything).await?;
        let mut there = vec![false; indexes.len()];
        for (position, probe) in found.probes.iter().enumerate() {
            let (row, index) = (found.batch.row(position), indexes[*probe]);
            let is_marked = self.object.is_marked(row);
            there[*probe] |= !(is_marked && is_delete(index));
            if is_marked || is_delete(index) {
                continue;
            }
            let key = self.object.access.key.iter().map(|slot| row[*slot].clone()).collect();
            outcomes[index] = Some(Outcome::Done { key, stored: Some(row.to_vec()) });
        }
        if watches {
            let of = indexes.iter().zip(there).filter(|(index, there)| *there == is_delete(**index));
            self.unkept.extend(of.map(|(index, _)| *index));
        }
        Ok(())
    }
}

/// What a look at the standing rows already decides; `None`: go ahead.
fn decide(change: &Change, rows: &[Vec<Value>]) -> Option<Outcome> {
    match (change.action, rows) {
        (Action::Create, []) => None,
        (Action::Create, _) => Some(Outcome::Exists),
        (Action::Update | Action::Delete, []) => Some(Outcome::Gone),
        (Action::Update | Action::Delete, [row]) => {
            let stands = change.expect.iter().all(|(slot, value)| same(&row[*slot], value));
            (!stands).then_some(Outcome::Moved)
        }
        (Action::Update | Action::Delete, _) => Some(Outcome::Refused(Refusal {
            native: String::new(),
            message: "several rows have this key".into(),
            slot: None,
        })),
    }
}
