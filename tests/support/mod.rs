//! What several tests need: servers of their own.

pub(crate) mod hook;
pub(crate) mod postgres;
pub(crate) mod sql;
