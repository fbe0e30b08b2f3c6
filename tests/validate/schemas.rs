//! The published schemas and manuals are those of the structs, and the schemas
//! allow what is right.

use super::harness::{GOOD, load};
use engine::config::tree::{Content, Node, Style};
use engine::config::{reference, schema};
use engine::diagnostic::Diagnostics;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Compares what is published; `UPDATE_SCHEMAS=1` writes it instead.
fn drift(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, now).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == now, "schema/{name} is not what the structs say: run the tests with UPDATE_SCHEMAS=1");
}

/// The schema of mappings as it is published.
fn mapping_schema() -> Value {
    schema::mapping(engine::compile::rule::schema())
}

#[test]
fn published_schemas_are_those_of_the_structs() {
    drift("mapping.schema.json", &format!("{:#}\n", mapping_schema()));
    drift("connections.schema.json", &format!("{:#}\n", schema::connections()));
}

/// The manual explains every setting and every rule that the schemas know.
#[test]
fn the_published_manuals_are_those_of_the_structs() {
    let mapping = reference::markdown(&mapping_schema(), "Rule");
    let connections = reference::markdown(&schema::connections(), "");
    drift("mapping.md", &format!("{mapping}\n{}", engine::compile::rule::manual()));
    drift("connections.md", &connections);
    for (schema, manual) in [(mapping_schema(), &mapping), (schema::connections(), &connections)] {
        let mut names = BTreeSet::new();
        settings(&schema, &mut names);
        let missing: Vec<_> = names.iter().filter(|name| !manual.contains(&format!("**`{name}`**"))).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

/// The names of all settings but those of rules.
fn settings(schema: &Value, names: &mut BTreeSet<String>) {
    for (word, value) in schema.as_object().into_iter().flatten() {
        match (word.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                names.extend(properties.keys().filter(|name| *name != "connector").cloned());
                properties.values().for_each(|property| settings(property, names));
            }
            ("$defs", Value::Object(definitions)) => {
                definitions.iter().filter(|(name, _)| *name != "Rule").for_each(|(_, it)| settings(it, names));
            }
            ("anyOf" | "oneOf", Value::Array(forms)) => forms.iter().for_each(|form| settings(form, names)),
            ("items" | "additionalProperties", value) => settings(value, names),
            _ => {}
        }
    }
}

/// A node as an editor sees it: plain scalars have the types of YAML's core
/// schema.
fn seen(node: &Node) -> Value {
    match &node.content {
        Content::List(items) => items.iter().map(seen).collect(),
        Content::Map(entries) => {
            entries.iter().map(|(key, value)| (key.text().unwrap().to_owned(), seen(value))).collect()
        }
        Content::Scalar(scalar) if scalar.is_null() => Value::Null,
        Content::Scalar(scalar) => match scalar.as_bool() {
            Some(truth) => truth.into(),
            None if scalar.style == Style::Plain => match serde_json::from_str::<serde_json::Number>(&scalar.text) {
                Ok(number) => number.into(),
                Err(_) => scalar.text.clone().into(),
            },
            None => scalar.text.clone().into(),
        },
    }
}

/// What the schemas say of a text of documents.
fn said(text: &str) -> Vec<String> {
    let mut diagnostics = Diagnostics::new();
    let documents = engine::config::parse(&Arc::from(Path::new("a.yaml")), text, &mut diagnostics);
    assert!(diagnostics.is_empty());
    let mapping = jsonschema::validator_for(&mapping_schema()).unwrap();
    let connections = jsonschema::validator_for(&schema::connections()).unwrap();
    let of = |document: &Node| {
        let document = seen(document);
        let schema = if document.get("connections").is_some() { &connections } else { &mapping };
        schema.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect::<Vec<_>>()
    };
    documents.iter().flat_map(of).collect()
}

#[test]
fn the_schemas_allow_what_is_right() {
    for (name, text) in GOOD.iter().filter(|(name, _)| *name != "erp.sql") {
        assert_eq!(said(text), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_schemas_refuse_what_no_struct_has() {
    let (_, good) = GOOD[1];
    for (find, replace) in [
        ("direction: bidirectional", "dirction: bidirectional"),
        ("direction: bidirectional", "direction: both"),
        ("direction: bidirectional", "direction: ~"),
        ("every: 5m", "every: 5 minutes"),
        ("update: 50%", "update: half"),
        ("conflict: target", "conflict: tagret"),
        ("key: [id]", "key: id"),
        ("required: true", "required: 1"),
        ("required: true", "required: true, targt: x"),
    ] {
        assert!(!said(&good.replace(find, replace)).is_empty(), "{replace}");
    }
    let (_, good) = GOOD[0];
    for (find, replace) in [
        ("create_from: erp.sql", "host: localhost"),
        ("connector: sqlite", "connector: sqlight"),
        ("attempts: 5", "attempts: five"),
        ("timezone: America/Sao_Paulo", "timezone: 3"),
    ] {
        assert!(!said(&good.replace(find, replace)).is_empty(), "{replace}");
    }
}

/// The names a schema has at one level: of its properties, whatever the form.
fn names(schema: &Value, root: &Value, into: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        names(root.pointer(reference.trim_start_matches('#')).unwrap(), root, into);
    }
    into.extend(schema["properties"].as_object().iter().flat_map(|named| named.keys().cloned()));
    for form in ["anyOf", "oneOf"].iter().filter_map(|word| schema[*word].as_array()).flatten() {
        names(form, root, into);
    }
}

/// The names the reading knows at one level: it lists them where an unknown
/// name has no likeness to any.
fn known(text: &str) -> BTreeSet<String> {
    let (_, diagnostics, _folder) = load([("a.yaml", text)]);
    let unknown = diagnostics.iter().find(|diagnostic| diagnostic.message.ends_with("no setting `#`"));
    let help = unknown.and_then(|diagnostic| diagnostic.help.as_deref()).expect("the unknown name is reported");
    let list = help.strip_prefix("known here: ").expect("the help lists the names");
    list.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

#[test]
fn the_reading_knows_the_names_that_the_schemas_have() {
    let mapping = mapping_schema();
    let connections = schema::connections();
    let connection = "/$defs/Connection/anyOf";
    for (root, pointer, text) in [
        (&mapping, "", "{ mapping: m, '#': 1 }"),
        (&mapping, "/properties/source", "{ mapping: m, source: { '#': 1 } }"),
        (&mapping, "/$defs/Cursor", "{ mapping: m, source: { cursor: { '#': 1 } } }"),
        (&mapping, "/$defs/Deleted", "{ mapping: m, source: { deleted: { '#': 1 } } }"),
        (&mapping, "/$defs/Allow", "{ mapping: m, allow: { '#': 1 } }"),
        (&mapping, "/$defs/Schedule", "{ mapping: m, schedule: { '#': 1 } }"),
        (&mapping, "/$defs/When", "{ mapping: m, when: { '#': 1 } }"),
        (&mapping, "/$defs/FieldSpec", "{ mapping: m, fields: [{ '#': 1 }] }"),
        (&mapping, "/$defs/CopySpec", "{ mapping: m, fields: [{ copy: [], '#': 1 }] }"),
        (&mapping, "/$defs/Conflicts", "{ mapping: m, conflicts: { '#': 1 } }"),
        (&mapping, "/$defs/Deletes", "{ mapping: m, deletes: { '#': 1 } }"),
        (&mapping, "/$defs/Deletes/properties/to_target", "{ mapping: m, deletes: { to_target: { '#': 1 } } }"),
        (&mapping, "/$defs/Limits", "{ mapping: m, limits: { '#': 1 } }"),
        (&connections, "", "{ connections: {}, '#': 1 }"),
        (&connections, &format!("{connection}/0"), "connections: { c: { connector: sqlite, '#': 1 } }"),
        (&connections, &format!("{connection}/1"), "connections: { c: { connector: postgres, '#': 1 } }"),
        (&connections, "/$defs/Retry", "connections: { c: { connector: sqlite, retry: { '#': 1 } } }"),
        (&connections, "/$defs/ObjectSpec", "connections: { c: { connector: sqlite, objects: { o: { '#': 1 } } } }"),
    ] {
        let mut expected = BTreeSet::new();
        names(root.pointer(pointer).unwrap(), root, &mut expected);
        assert_eq!(known(text), expected, "{text}");
    }
}

/// The words a schema allows at one place.
fn words(schema: &Value) -> Vec<&str> {
    let one = schema["const"].as_str();
    one.into_iter().chain(schema["oneOf"].as_array().into_iter().flatten().flat_map(words)).collect()
}

#[test]
fn the_reading_knows_the_words_that_the_schemas_have() {
    let mapping = mapping_schema();
    for (pointer, text) in [
        ("/properties/direction", "{ mapping: m, direction: '#' }"),
        ("/$defs/FieldSpec/properties/conflict", "{ mapping: m, fields: [{ conflict: '#' }] }"),
        ("/$defs/FieldSpec/properties/drift", "{ mapping: m, fields: [{ drift: '#' }] }"),
        ("/$defs/FieldSpec/properties/write", "{ mapping: m, fields: [{ write: '#' }] }"),
        ("/$defs/Conflicts/properties/first", "{ mapping: m, conflicts: { first: '#' } }"),
        ("/$defs/Allow/properties/to_target/items", "{ mapping: m, allow: { to_target: ['#'] } }"),
    ] {
        let (_, diagnostics, _folder) = load([("a.yaml", text)]);
        let refused = diagnostics.iter().find(|diagnostic| diagnostic.message.starts_with("`#` is not")).unwrap();
        let list = refused.help.as_deref().unwrap().strip_prefix("write ").unwrap();
        let known: Vec<&str> = list.split(", ").map(|word| word.trim_matches('`')).collect();
        assert_eq!(known, words(mapping.pointer(pointer).unwrap()), "{text}");
    }
}

#[test]
fn every_setting_is_explained() {
    fn undescribed(schema: &Value, path: &str, into: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if property["description"].as_str().is_none_or(|text| !text.contains('.')) && property["const"].is_null() {
                into.push(format!("{path}/{name}"));
            }
        }
        for (name, inner) in schema.as_object().into_iter().flatten() {
            undescribed(inner, &format!("{path}/{name}"), into);
        }
        for inner in schema.as_array().into_iter().flatten() {
            undescribed(inner, path, into);
        }
    }
    let mut missing = Vec::new();
    undescribed(&mapping_schema(), "mapping", &mut missing);
    undescribed(&schema::connections(), "connections", &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn a_schema_of_rules_is_taken_over() {
    let rule = serde_json::json!({ "anyOf": [{ "$ref": "#/$defs/trim" }], "$defs": { "trim": { "const": "trim" } } });
    let schema = schema::mapping(rule);
    assert_eq!(schema["$defs"]["Rule"], serde_json::json!({ "anyOf": [{ "$ref": "#/$defs/trim" }] }));
    assert_eq!(schema["$defs"]["trim"], serde_json::json!({ "const": "trim" }));
}
