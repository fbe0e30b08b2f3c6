//! The published schemas are those of the structs, and allow what is right.

use super::harness::{GOOD, load};
use engine::config::schema;
use serde_json::Value;
use std::path::Path;

/// Compares a published schema; `UPDATE_SCHEMAS=1` writes it instead.
fn drift(name: &str, now: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    let now = format!("{}\n", serde_json::to_string_pretty(now).unwrap());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == now, "schema/{name} is not what the structs say: run the tests with UPDATE_SCHEMAS=1");
}

#[test]
fn published_schemas_are_those_of_the_structs() {
    drift("mapping.schema.json", &schema::mapping(schema::any_rule()));
    drift("connections.schema.json", &schema::connections());
}
