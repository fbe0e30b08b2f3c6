//! Connectors against the real systems.

mod sqlite;
