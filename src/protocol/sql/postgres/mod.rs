//! PostgreSQL.

use std::sync::Arc;

use super::SqlSettings;
use crate::connector::{Connector, Fault};

pub fn connect_postgres(settings: SqlSettings) -> Result<Arc<dyn Connector>, Fault> {
    Err(Fault::internal("connecting", "", format!("{settings:?}")))
}
