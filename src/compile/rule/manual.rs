//! The catalogue for readers: Markdown for people, JSON Schema for editors.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::{Class, Definition, Parameter, RULES, Takes};

/// The manual of all rules, as Markdown.
pub fn manual() -> String {
    let mut out = String::from("# Rules\n");
    for rule in RULES {
        section(&mut out, rule).expect("writing to a string cannot fail");
    }
    out
}

fn section(out: &mut String, rule: &Definition) -> std::fmt::Result {
    writeln!(out, "\n## `{}`\n\n{}\n", rule.name, rule.manual)?;
    match rule.class {
        Class::Invertible => writeln!(out, "Invertible.")?,
        Class::Normalising => writeln!(out, "Normalising: its way back is the value itself.")?,
        Class::Lossy(what) => writeln!(out, "Lossy: it loses {what}.")?,
        Class::Depends(how) => writeln!(out, "{how}")?,
    }
    if !rule.parameters.is_empty() {
        writeln!(out, "\n| parameter | takes | |\n| --- | --- | --- |")?;
        for parameter in rule.parameters {
            let name =
                if parameter.name.is_empty() { "(argument)".to_owned() } else { format!("`{}`", parameter.name) };
            let required = if parameter.required { " Required." } else { "" };
            writeln!(out, "| {name} | {} | {}{required} |", parameter.takes.word(), parameter.manual)?;
        }
    }
    for example in rule.examples {
        writeln!(out, "\n```yaml\nrules: [{}]\n```\n", example.rule)?;
        for (input, output) in example.values {
            writeln!(out, "- `{input}` becomes `{output}`")?;
        }
    }
    Ok(())
}

impl Takes {
    fn word(self) -> String {
        match self {
            Takes::Text => "a text".into(),
            Takes::Count => "a whole number".into(),
            Takes::Number => "a number".into(),
            Takes::Choice(words) => format!("`{}`", words.join("`, `")),
            Takes::Value => "a value".into(),
            Takes::Texts => "a text or a list of texts".into(),
            Takes::Map => "a mapping".into(),
            Takes::TextOrMap => "a text or a mapping".into(),
            Takes::Switch => "`true` or `false`".into(),
        }
    }

    fn schema(self) -> Map<String, Json> {
        let scalar = json!(["string", "number", "boolean"]);
        let schema = match self {
            // An unquoted number or word is text to the engine, and not to an editor.
            Takes::Text => json!({ "type": scalar }),
            Takes::Count => {
                json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+$" }] })
            }
            Takes::Number => {
                json!({ "anyOf": [{ "type": "number" }, { "type": "string", "pattern": r"^[-+]?[0-9]*\.?[0-9]*$" }] })
            }
            Takes::Choice(words) => json!({ "enum": words }),
            Takes::Value => json!({ "type": ["string", "number", "boolean", "null"] }),
            Takes::Texts => json!({ "anyOf": [{ "type": scalar }, { "type": "array", "items": { "type": scalar } }] }),
            Takes::Map => json!({ "type": "object" }),
            Takes::TextOrMap => json!({ "anyOf": [{ "type": scalar }, { "type": "object" }] }),
            Takes::Switch => json!({ "type": "boolean" }),
        };
        match schema {
            Json::Object(map) => map,
            _ => unreachable!("every parameter's schema is an object"),
        }
    }
}

/// The JSON Schema of one item of `rules:`.
pub fn schema() -> Json {
    let names: Vec<Json> = RULES
        .iter()
        .filter(|rule| !rule.parameters.iter().any(|parameter| parameter.required))
        .map(|rule| json!({ "const": rule.name, "description": rule.manual }))
        .collect();
    let objects = RULES.iter().map(|rule| object(rule));
    json!({
        "description": "One transformation step of a field: the rule's name, or its name with its argument and options.",
        "anyOf": names.into_iter().chain(objects).collect::<Vec<_>>(),
    })
}

fn object(rule: &Definition) -> Json {
    let described = |parameter: &Parameter| {
        let mut schema = parameter.takes.schema();
        if parameter.name.is_empty() && !parameter.required {
            schema = Map::from_iter([("anyOf".to_owned(), json!([schema, { "type": "null" }]))]);
        }
        let text = if parameter.name.is_empty() {
            format!("{} Argument: {}", rule.manual, parameter.manual)
        } else {
            parameter.manual.to_owned()
        };
        schema.insert("description".to_owned(), Json::from(text));
        Json::Object(schema)
    };
    let mut properties = Map::new();
    let argument = rule.parameters.iter().find(|parameter| parameter.name.is_empty());
    let bare = || json!({ "type": "null", "description": rule.manual });
    properties.insert(rule.name.to_owned(), argument.map_or_else(bare, described));
    let mut required = vec![rule.name];
    for option in rule.parameters.iter().filter(|parameter| !parameter.name.is_empty()) {
        properties.insert(option.name.to_owned(), described(option));
        if option.required {
            required.push(option.name);
        }
    }
    json!({
        "title": rule.name, "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}
