//! Connectors against the real systems.

mod postgres;
mod sqlite;
