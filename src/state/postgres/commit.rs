//! What is told together becomes part of the state together: the statements of
//! a [`Commit`], and of intents with the commit that goes before them.

use sqlx::PgConnection;

use super::mappings::MappingRow;
use super::{Commit, Intents, IntentsId, StoreError, conflicts, intents, ledger, links, mappings, parked, written};

pub(super) async fn intend(
    connection: &mut PgConnection,
    mapping: &mut MappingRow,
    before: &Commit,
    intents: &Intents,
) -> Result<IntentsId, StoreError> {
    if *before != Commit::default() {
        apply(connection, mapping, before).await?;
    }
    let id = intents::store(connection, mapping, intents).await?;
    mapping.save(connection).await?;
    Ok(id)
}

pub(super) async fn store(
    connection: &mut PgConnection,
    mapping: &mut MappingRow,
    commit: &Commit,
) -> Result<(), StoreError> {
    apply(connection, mapping, commit).await?;
    mapping.save(connection).await
}

/// In the order of the fields of [`Commit`].
async fn apply(connection: &mut PgConnection, mapping: &mut MappingRow, commit: &Commit) -> Result<(), StoreError> {
    let mut made = Vec::new();
    for answered in &commit.answered {
        made.push(intents::answer(connection, mapping, answered).await?);
    }
    links::forget(connection, mapping, &commit.forget).await?;
    let before = mapping.last_link();
    links::store(connection, mapping, &commit.links).await?;
    made.push((before + 1, mapping.last_link()));
    if let Some(by) = &commit.made {
        ledger::store_made(connection, by, &made).await?;
    }
    let number = mapping.mapping;
    parked::unpark(connection, number, &commit.unpark, &commit.park).await?;
    parked::park(connection, number, &commit.park).await?;
    conflicts::store(connection, number, &commit.conflicts).await?;
    written::store(connection, number, &commit.overtaken, &commit.written).await?;
    ledger::unspool(connection, &commit.unspool).await?;
    ledger::spool(connection, mapping, &commit.spool).await?;
    ledger::store_events(connection, number, &commit.events).await?;
    mappings::store(connection, mapping, commit).await?;
    if let Some(run) = &commit.run {
        ledger::store_run(connection, number, run).await?;
    }
    Ok(())
}
