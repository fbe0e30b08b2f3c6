//! Writes to a PostgreSQL table, a batch in one transaction.
//!
//! Creates go by COPY straight into the table where nothing alters rows on
//! their way in. Everything else, and creates that COPY could not place, go by
//! one statement for each form of change, its values as arrays: the database
//! compares what is expected in its own types, and answers the rows it
//! touched. A statement that a record breaks is undone and tried in halves,
//! until that record is alone. The transaction's id is the batch's token.

use std::collections::{HashMap, HashSet};

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Row};

use super::super::statement::safe;
use super::super::write::{Form, forms, rounds};
use super::allot::allot_keys;
use super::connection::Lease;
use super::read::Opened;
use super::{encode, fault};
use crate::connector::{Action, Change, Fault, Found, Outcome, Recorded, Refusal, Scope, Writing};
use crate::record::{Batch as Rows, Key, Value, same};

pub(super) async fn begin(object: &Opened, allot: usize) -> Result<Batch<'_>, Fault> {
    let doing = object.doing("writing to");
    let failed = |error: sqlx::Error| fault::fault(&doing, &error);
    let mut lease = object.connections.acquire(&doing).await?;
    // Constraints that could wait for the end are checked with each
    // statement: at the end nobody could say which record broke them.
    let connections = &object.connections;
    let begin = sqlx::raw_sql("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET CONSTRAINTS ALL IMMEDIATE");
    connections.answer(begin.execute(&mut *lease)).await.map_err(failed)?;
    let token = sqlx::query_scalar("SELECT pg_current_xact_id()::text");
    let token = connections.answer(token.fetch_one(&mut *lease)).await.map_err(failed)?;
    let keys = if allot == 0 { Vec::new() } else { allot_keys(object, &mut lease, allot).await.map_err(failed)? };
    Ok(Batch { object, lease, token, keys, created: Vec::new() })
}

/// One batch of writes, its transaction open.
pub(super) struct Batch<'o> {
    pub(super) object: &'o Opened,
    pub(super) lease: Lease,
    token: String,
    keys: Vec<Vec<Value>>,
    /// What only created records, once the batch is in effect.
    pub(super) created: Vec<String>,
}

impl Writing for Batch<'_> {
    fn token(&self) -> Option<String> {
        Some(self.token.clone())
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
            let rights = rights(changes);
            let table = self.object.selection.table.clone();
            let failed = |error: sqlx::Error| fault::fault_on(&doing, &rights, &table, &error);
            // Until it commits the server can be sent everything: a client that is gone never does.
            let (outcomes, recorded) = futures::join!(self.make_all(changes), recorded);
            let outcomes = outcomes.map_err(failed)?;
            if !recorded {
                return Err(Fault::not_recorded(doing));
            }
            let Batch { object, mut lease, created, .. } = *self;
            let commit = sqlx::raw_sql("COMMIT").execute(&mut *lease);
            object.connections.answer(commit).await.map_err(|error| {
                if fault::was_rolled_back(&error) { failed(error) } else { failed(error).maybe_applied() }
            })?;
            lease.give_back();
            for xmin in created {
                object.created(xmin);
            }
            Ok(outcomes.into_iter().map(|outcome| outcome.expect("each change has been dealt with")).collect())
        })
    }
}

/// What one has to be granted for these changes, which are looked at before.
fn rights(changes: &[Change]) -> String {
    let needed = [(Action::Create, "INSERT"), (Action::Update, "UPDATE"), (Action::Delete, "DELETE")];
    let of = |action| changes.iter().any(|change: &Change| change.action == action);
    let words = needed.into_iter().filter(|(action, _)| of(*action)).map(|(_, word)| word);
    std::iter::once("SELECT").chain(words).collect::<Vec<_>>().join(", ")
}

/// What an attempt under a savepoint came to.
type Attempt<T> = Result<Result<T, Refusal>, sqlx::Error>;

impl Batch<'_> {
    async fn make_all(&mut self, changes: &[Change]) -> Result<Vec<Option<Outcome>>, sqlx::Error> {
        let mut outcomes = vec![None; changes.len()];
        for members in rounds(changes) {
            for (form, members) in forms(changes, &members) {
                self.make(changes, &form, &members, &mut outcomes).await?;
            }
        }
        if self.object.table.has_triggers {
            self.look_again(changes, &mut outcomes).await?;
        }
        Ok(outcomes)
    }

    /// Makes changes of one form.
    async fn make(
        &mut self,
        changes: &[Change],
        form: &Form,
        members: &[usize],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), sqlx::Error> {
        if form.action == Action::Create && !form.keyed {
            for index in members {
                outcomes[*index] = Some(self.create_one(&changes[*index], form).await?);
            }
            return Ok(());
        }
        let copies = form.action == Action::Create && self.object.table.takes_copy && !self.may_restate(form);
        if copies && self.copy(changes, form, members).await? {
            for index in members {
                outcomes[*index] = Some(Outcome::Done { key: changes[*index].key.clone(), stored: None });
            }
            return Ok(());
        }
        self.state(changes, form, members, outcomes).await?;
        let untouched: Vec<usize> = members.iter().copied().filter(|index| outcomes[*index].is_none()).collect();
        self.classify(changes, form, &untouched, outcomes).await
    }

    /// Makes changes by one statement; where a record breaks it, in halves.
    /// Changes that touched nothing are left without an outcome.
    fn state<'a>(
        &'a mut self,
        changes: &'a [Change],
        form: &'a Form,
        members: &'a [usize],
        outcomes: &'a mut [Option<Outcome>],
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        async move {
            match self.attempt(changes, form, members).await? {
                Ok(done) => {
                    for (index, row) in done {
                        let key = match &row {
                            Some(row) => self.object.access.key.iter().map(|slot| row[*slot].clone()).collect(),
                            None => changes[index].key.clone(),
                        };
                        outcomes[index] = Some(Outcome::Done { key, stored: row });
                    }
                }
                Err(refusal) => match members {
                    [only] if form.action == Action::Create && refusal.native.is_empty() => {
                        outcomes[*only] = Some(self.create_one(&changes[*only], form).await?);
                    }
                    [only] => outcomes[*only] = Some(Outcome::Refused(refusal)),
                    several => {
                        let (first, second) = several.split_at(several.len() / 2);
                        self.state(changes, form, first, outcomes).await?;
                        self.state(changes, form, second, outcomes).await?;
                    }
                },
            }
            Ok(())
        }
        .boxed()
    }

    /// One statement for changes of one form: which of them it made, with the
    /// rows as they stand.
    async fn attempt(
        &mut self,
        changes: &[Change],
        form: &Form,
        members: &[usize],
    ) -> Attempt<Vec<(usize, Option<Vec<Value>>)>> {
        let slots: Vec<usize> = self.object.access.key.iter().chain(&form.set).chain(&form.expect).copied().collect();
        let mut arguments = PgArguments::default();
        for (position, slot) in slots.iter().enumerate() {
            let base = &self.object.columns[*slot].native.base;
            let value = |index: &usize| encode::text(base, nth(&changes[*index], position));
            let texts: Vec<_> = members.iter().map(value).collect();
            arguments.add(texts).map_err(sqlx::Error::Encode)?;
        }
        let sql = self.object.statement(form, &slots);
        self.savepoint().await?;
        let made = sqlx::query_with(safe(sql), arguments).fetch_all(&mut *self.lease);
        let rows = match self.object.connections.answer(made).await {
            Ok(rows) => rows,
            Err(error) => return self.undo(error).await.map(Err),
        };
        let mut done = Vec::with_capacity(rows.len());
        let mut seen = HashSet::with_capacity(rows.len());
        let mut keys = HashSet::with_capacity(rows.len());
        let everything: Vec<usize> = (0..self.object.columns.len()).collect();
        for row in &rows {
            let position: Option<i64> = row.try_get(0)?;
            let index = position.and_then(|position| members.get(usize::try_from(position - 1).ok()?)).copied();
            // A row that answers no change had its key altered on its way in.
            let index = match index.ok_or("a trigger gave the record another key") {
                Ok(index) if seen.insert(index) => Ok(index),
                Ok(_) => Err("several rows have this key"),
                Err(why) => Err(why),
            };
            let stored = if form.action == Action::Delete {
                None
            } else {
                let mut batch = Rows::new(self.object.access.shape.clone());
                self.object.push(&mut batch, row, 1, &everything)?;
                Some(batch.row(0).to_vec())
            };
            let key = |row: &Vec<Value>| {
                Key::new(&self.object.access.key.iter().map(|slot| row[*slot].clone()).collect::<Vec<_>>())
            };
            // The column takes the keys of several changes for the same, so that one row answers them all.
            let again = stored.as_ref().and_then(key).is_some_and(|key| !keys.insert(key));
            let index = match index {
                Ok(index) if !again => index,
                wrong => {
                    let why = wrong.err().unwrap_or("several records have this key");
                    self.say("ROLLBACK TO SAVEPOINT engine_change").await?;
                    return Ok(Err(Refusal { native: String::new(), message: why.into(), slot: None }));
                }
            };
            done.push((index, stored));
        }
        if form.action != Action::Delete {
            let key = |row: &Vec<Value>| self.object.access.key.iter().map(|slot| row[*slot].clone()).collect();
            let keys: Vec<Vec<Value>> = done.iter().filter_map(|(_, row)| row.as_ref().map(key)).collect();
            if let Some(refusal) = self.hidden(&keys).await? {
                return Ok(Err(refusal));
            }
        }
        self.release().await?;
        Ok(Ok(done))
    }

    /// Undoes an attempt where a view does not show what was written through
    /// it: the record would count as deleted from then on.
    async fn hidden(&mut self, keys: &[Vec<Value>]) -> Result<Option<Refusal>, sqlx::Error> {
        if !self.object.table.is_view {
            return Ok(None);
        }
        let probes: Vec<(usize, &[Value])> = keys.iter().map(Vec::as_slice).enumerate().collect();
        let shown: HashSet<usize> = self.find(&probes).await?.probes.into_iter().collect();
        if shown.len() == keys.len() {
            return Ok(None);
        }
        self.say("ROLLBACK TO SAVEPOINT engine_change").await?;
        // WITH_CHECK_OPTION_VIOLATION, as a view says it that checks.
        let message = "the view does not show what would be written to it";
        Ok(Some(Refusal { native: "44000".into(), message: message.into(), slot: None }))
    }

    /// Creates one record whose key, or a part of it, only the answer tells.
    async fn create_one(&mut self, change: &Change, form: &Form) -> Result<Outcome, sqlx::Error> {
        let object = self.object;
        let key = object.access.key.iter().zip(&change.key).filter(|(_, value)| !matches!(value, Value::Missing));
        let given: Vec<(usize, &Value)> = key
            .map(|(slot, value)| (*slot, value))
            .chain(change.set.iter().map(|(slot, value)| (*slot, value)))
            .collect();
        let slots: Vec<usize> = given.iter().map(|(slot, _)| *slot).collect();
        let mut arguments = PgArguments::default();
        for (slot, value) in &given {
            arguments.add(encode::text(&object.columns[*slot].native.base, value)).map_err(sqlx::Error::Encode)?;
        }
        let cast =
            |(number, slot): (usize, &usize)| format!("${}::text::{}", number + 1, object.columns[*slot].native.cast);
        let values = if slots.is_empty() {
            "DEFAULT VALUES".into()
        } else {
            let values: Vec<String> = slots.iter().enumerate().map(cast).collect();
            format!("({}) OVERRIDING SYSTEM VALUE VALUES ({})", self.object.names(&slots), values.join(", "))
        };
        let conflict = if form.keyed { self.object.on_conflict() } else { String::new() };
        let selection = &object.selection;
        let sql =
            format!("INSERT INTO {} {values}{conflict} RETURNING {}", selection.table, selection.selected.join(", "));
        self.savepoint().await?;
        let made = sqlx::query_with(safe(sql), arguments).fetch_optional(&mut *self.lease);
        match object.connections.answer(made).await {
            Err(error) => self.undo(error).await.map(Outcome::Refused),
            Ok(None) if form.keyed => self.release().await.map(|()| Outcome::Exists),
            Ok(None) => {
                self.release().await?;
                Ok(Outcome::Refused(Refusal {
                    native: String::new(),
                    message: "the database did not keep the record (a trigger or rule)".into(),
                    slot: None,
                }))
            }
            Ok(Some(row)) => {
                let everything: Vec<usize> = (0..object.columns.len()).collect();
                let mut batch = Rows::new(object.access.shape.clone());
                object.push(&mut batch, &row, 0, &everything)?;
                let row = batch.row(0).to_vec();
                let key: Vec<Value> = object.access.key.iter().map(|slot| row[*slot].clone()).collect();
                if let Some(refusal) = self.hidden(std::slice::from_ref(&key)).await? {
                    return Ok(Outcome::Refused(refusal));
                }
                self.release().await?;
                Ok(Outcome::Done { key, stored: Some(row) })
            }
        }
    }

    /// What became of changes that touched nothing: one look tells.
    async fn classify(
        &mut self,
        changes: &[Change],
        form: &Form,
        untouched: &[usize],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), sqlx::Error> {
        let keys: Vec<(usize, &[Value])> =
            untouched.iter().map(|index| (*index, changes[*index].key.as_slice())).collect();
        let found = self.find(&keys).await?;
        let there: HashMap<usize, &[Value]> =
            found.probes.iter().enumerate().map(|(position, index)| (*index, found.batch.row(position))).collect();
        let refused =
            |message: &str| Outcome::Refused(Refusal { native: String::new(), message: message.into(), slot: None });
        for index in untouched {
            let stands = |row: &&[Value]| changes[*index].expect.iter().all(|(slot, value)| same(&row[*slot], value));
            outcomes[*index] = Some(match (form.action, there.get(index)) {
                (Action::Create, Some(_)) => Outcome::Exists,
                (Action::Create, None) => refused(
                    "the database did not keep the record: a trigger or rule, or another record whose key it takes for \
                     the same",
                ),
                // All that was expected stands, and yet nothing was touched.
                (Action::Update, Some(row)) if stands(row) => {
                    refused("the database did not change the record (a trigger, rule or policy)")
                }
                (Action::Delete, Some(row)) if stands(row) => {
                    refused("the database did not delete the record (a trigger, rule or policy)")
                }
                (_, Some(_)) => Outcome::Moved,
                (_, None) => Outcome::Gone,
            });
        }
        Ok(())
    }

    /// Reads again what was written: triggers may have altered it afterwards.
    async fn look_again(&mut self, changes: &[Change], outcomes: &mut [Option<Outcome>]) -> Result<(), sqlx::Error> {
        let keys: Vec<(usize, Vec<Value>)> = outcomes
            .iter()
            .enumerate()
            .filter_map(|(index, outcome)| match outcome {
                Some(Outcome::Done { key, .. }) if changes[index].action != Action::Delete => {
                    Some((index, key.clone()))
                }
                _ => None,
            })
            .collect();
        let probes: Vec<(usize, &[Value])> = keys.iter().map(|(index, key)| (*index, key.as_slice())).collect();
        let found = self.find(&probes).await?;
        for (position, index) in found.probes.iter().enumerate() {
            if let Some(Outcome::Done { stored, .. }) = &mut outcomes[*index] {
                *stored = Some(found.batch.row(position).to_vec());
            }
        }
        Ok(())
    }

    /// The rows that stand under these keys, within the transaction.
    async fn find(&mut self, keys: &[(usize, &[Value])]) -> Result<Found, sqlx::Error> {
        let rows = Rows::new(self.object.access.shape.clone());
        let mut found = Found { batch: rows, probes: Vec::new(), within: Vec::new() };
        let whole: Vec<(usize, &[Value])> =
            keys.iter().filter(|(_, key)| !key.is_empty() && !key.iter().any(Value::is_null)).copied().collect();
        self.object.find(&mut self.lease, &self.object.access.key, &whole, Scope::Everything, &mut found).await?;
        Ok(found)
    }

    pub(super) async fn savepoint(&mut self) -> Result<(), sqlx::Error> {
        self.say("SAVEPOINT engine_change").await
    }

    pub(super) async fn release(&mut self) -> Result<(), sqlx::Error> {
        self.say("RELEASE SAVEPOINT engine_change").await
    }

    async fn say(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        let said = sqlx::raw_sql(statement).execute(&mut *self.lease);
        self.object.connections.answer(said).await.map(drop)
    }

    /// Undoes the attempt where the error concerns records; else passes it on.
    pub(super) async fn undo(&mut self, error: sqlx::Error) -> Result<Refusal, sqlx::Error> {
        let Some(mut refusal) = fault::refusal(&error, self.object.table.has_policies) else { return Err(error) };
        refusal.slot = fault::column(&error)
            .and_then(|name| self.object.columns.iter().position(|column| column.field.name == name));
        self.say("ROLLBACK TO SAVEPOINT engine_change").await?;
        Ok(refusal)
    }
}

/// The value of a change at a position: its key, what it sets, what it expects.
fn nth(change: &Change, position: usize) -> &Value {
    let (keys, set) = (change.key.len(), change.set.len());
    if position < keys {
        &change.key[position]
    } else if position < keys + set {
        &change.set[position - keys].1
    } else {
        &change.expect[position - keys - set].1
    }
}
