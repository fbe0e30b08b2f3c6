//! JSON Schemas of what a user writes, for editors and for `engine schema`.
//!
//! They come from the structs of [`model`](super::model), so that the comments
//! there are what an editor shows. They are for completion and explanation:
//! what is right and wrong is said by the reading, with better words.

use super::model::{ConnectionsDocument, Mapping};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// The schema of a mapping document. `rule` is the schema of one entry of
/// `rules`, `reverse` and `equal`; `$defs` of its own are taken over.
pub fn mapping(mut rule: Value) -> Value {
    let mut schema = generate::<Mapping>();
    if let (Some(definitions), Some(rule)) = (schema["$defs"].as_object_mut(), rule.as_object_mut()) {
        if let Some(Value::Object(own)) = rule.remove("$defs") {
            definitions.extend(own);
        }
        definitions.insert("Rule".to_owned(), Value::Object(std::mem::take(rule)));
    }
    schema
}

/// The schema of a document of connections.
pub fn connections() -> Value {
    generate::<ConnectionsDocument>()
}

/// The schema of a rule whatever its name, for [`mapping`].
pub fn any_rule() -> Value {
    json!({
        "description": "One step of a field: the rule's name, or its name with its argument and any options beside it.",
        "anyOf": [{ "type": "string" }, { "type": "object", "minProperties": 1 }],
        "examples": ["trim", { "multiply": "1.1", "scale": 2 }]
    })
}

fn generate<T: JsonSchema>() -> Value {
    let schema: Schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    tidy(&mut schema);
    schema
}

/// Makes the schema fit what is read: nothing may be null, any single value is
/// a text, and descriptions are not broken into lines.
fn tidy(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    if let Some(Value::String(description)) = map.get_mut("description") {
        *description = description.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    without_null(map);
    let plain = !["const", "enum", "pattern", "format"].iter().any(|name| map.contains_key(*name));
    if plain && map.get("type") == Some(&json!("string")) {
        map.insert("type".to_owned(), json!(["string", "number", "boolean"]));
    }
    // A width in bits says nothing to an editor.
    if map.get("type") == Some(&json!("integer")) {
        map.remove("format");
    }
    for (word, value) in map.iter_mut() {
        match (word.as_str(), value) {
            ("properties" | "$defs", Value::Object(named)) => named.values_mut().for_each(tidy),
            ("anyOf" | "oneOf" | "allOf", Value::Array(kinds)) => kinds.iter_mut().for_each(tidy),
            ("items" | "additionalProperties", value) => tidy(value),
            // The rest are values, not schemas.
            _ => {}
        }
    }
}

/// Takes the null out of a schema that allows it beside something else.
fn without_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    for word in ["anyOf", "oneOf"] {
        let Some(Value::Array(kinds)) = map.get_mut(word) else { continue };
        kinds.retain(|kind| kind.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = kinds.as_mut_slice() {
            let only = std::mem::take(only);
            map.remove(word);
            // What stands beside it says more about this use of it.
            for (name, value) in only {
                map.entry(name).or_insert(value);
            }
        }
    }
}
