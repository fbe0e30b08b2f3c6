//! Connectors against the real systems.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

mod postgres;
mod postgres_writes;
mod sqlite;
