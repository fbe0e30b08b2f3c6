//! Leases: which engine works on which mapping, by the server's clock.
//!
//! A lease keeps two engines from working on one mapping for nothing. What
//! keeps them from spoiling each other's work is the fence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPool;

use super::{Fence, Leased, StoreError};

/// How long a lease lasts without being extended. Long enough that a slow
/// server or a busy machine loses none (three extensions would have to fail
/// first), short enough that people need not step in when an engine dies.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// The fences an engine has, by mapping.
pub(super) type Held = Mutex<BTreeMap<String, u64>>;

const EXTEND: &str = "UPDATE mappings m SET leased_until = clock_timestamp() + $4 * interval '1 millisecond' \
    FROM unnest($1::text[], $2::bigint[]) AS held (name, fence) \
    WHERE m.name = held.name AND m.fence = held.fence AND m.engine = $3";

/// Extends every lease that is held, as long as somebody holds them.
pub(super) async fn keep(pool: PgPool, engine: String, held: Weak<Held>, lease: Duration) {
    let mut beat = tokio::time::interval(lease / 3);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let Some(held) = held.upgrade() else { return };
        let fences = fences(&held);
        drop(held);
        if fences.is_empty() {
            continue;
        }
        if let Err(error) = extend(&pool, &engine, &fences, lease).await {
            tracing::warn!("the leases of the state were not extended: {error}");
        }
    }
}

fn fences(held: &Arc<Held>) -> Vec<(String, u64)> {
    let held = held.lock().expect("nothing panics while it holds the lock");
    held.iter().map(|(name, number)| (name.clone(), *number)).collect()
}

/// One statement for all of them.
pub(super) async fn extend(
    pool: &PgPool,
    engine: &str,
    fences: &[(String, u64)],
    lease: Duration,
) -> Result<u64, StoreError> {
    let names: Vec<&str> = fences.iter().map(|(name, _)| name.as_str()).collect();
    let numbers: Vec<i64> = fences.iter().map(|(_, number)| super::codec::signed(*number)).collect();
    let query = sqlx::query(EXTEND).bind(names).bind(numbers).bind(engine).bind(millis(lease));
    Ok(query.execute(pool).await?.rows_affected())
}

/// Ends the lease of one fence, and voids it.
pub(super) async fn release(pool: &PgPool, engine: &str, fence: &Fence) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE mappings SET fence = fence + 1, engine = NULL, holder = NULL, leased_until = NULL \
         WHERE name = $1 AND fence = $2 AND engine = $3",
    )
    .bind(&fence.mapping)
    .bind(super::codec::signed(fence.number))
    .bind(engine)
    .execute(pool)
    .await?;
    Ok(())
}

/// Refuses where another living engine has the mapping's lease.
pub(super) async fn refuse_leased(
    connection: &mut sqlx::PgConnection,
    engine: &str,
    mapping: &str,
) -> Result<(), StoreError> {
    let row: Option<(Option<String>, DateTime<Utc>)> = sqlx::query_as(
        "SELECT holder, leased_until FROM mappings \
         WHERE name = $1 AND engine <> $2 AND leased_until > clock_timestamp()",
    )
    .bind(mapping)
    .bind(engine)
    .fetch_optional(connection)
    .await?;
    match row {
        None => Ok(()),
        Some((holder, until)) => {
            let by = holder.unwrap_or_else(|| "another process".to_owned());
            Err(StoreError::Leased(Box::new(Leased { mapping: mapping.to_owned(), by, until })))
        }
    }
}

/// Of a lease, as the statements take it.
pub(super) fn millis(lease: Duration) -> f64 {
    lease.as_secs_f64() * 1000.0
}
