//! Connectors against the real systems.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

mod files;
mod object;
mod postgres;
mod postgres_describe;
mod postgres_horizon;
mod postgres_reading;
mod postgres_silence;
mod postgres_tls;
mod postgres_writes;
mod sqlite;
