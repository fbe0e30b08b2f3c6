//! The manual of what a user writes, as Markdown, from the JSON Schemas that
//! editors are given: one text serves both.

use std::fmt::{Result, Write};

use serde_json::{Map, Value};

/// The manual of a document from its schema. The definition called `left_out`
/// is explained elsewhere.
pub fn markdown(schema: &Value, left_out: &str) -> String {
    let mut out = String::new();
    let definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
    let manual = Manual { definitions: &definitions };
    manual.write(&mut out, schema, left_out).expect("writing to a string cannot fail");
    out
}

struct Manual<'a> {
    definitions: &'a Map<String, Value>,
}

impl Manual<'_> {
    fn write(&self, out: &mut String, schema: &Value, left_out: &str) -> Result {
        writeln!(out, "# {}\n\n{}\n", text(schema, "title"), text(schema, "description"))?;
        self.settings(out, schema, 0)?;
        for (name, definition) in self.definitions.iter().filter(|(name, _)| *name != left_out) {
            writeln!(out, "\n## {}\n", self.heading(schema, name))?;
            let description = text(definition, "description");
            if !description.is_empty() {
                writeln!(out, "{description}\n")?;
            }
            self.forms(out, definition, 0)?;
        }
        Ok(())
    }

    /// The settings whose value is described under a definition's name.
    fn heading(&self, schema: &Value, definition: &str) -> String {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in self.everything(schema).filter(|(_, property)| refers(property, definition)) {
            let name = format!("`{name}`");
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if !names.is_empty() {
            return names.join(", ");
        }
        let through = self.definitions.iter().find(|(_, through)| refers(through, definition));
        through.map_or_else(|| definition.to_owned(), |(through, _)| self.heading(schema, through))
    }

    /// Every setting there is, with the forms that hold some of their own.
    fn everything<'s>(&'s self, schema: &'s Value) -> impl Iterator<Item = (&'s str, &'s Value)> {
        let all = std::iter::once(schema).chain(self.definitions.values());
        all.flat_map(|schema| std::iter::once(schema).chain(forms(schema)).flat_map(properties))
    }

    /// A value's settings, or each of the forms it may have.
    fn forms(&self, out: &mut String, schema: &Value, depth: usize) -> Result {
        for form in forms(schema) {
            let described = form.get("description").is_some() || form.get("properties").is_some();
            if let Some(constant) = form.get("const") {
                indent(out, depth)?;
                writeln!(out, "- `{}`: {}", plain(constant), text(form, "description"))?;
            } else if described {
                indent(out, depth)?;
                let kind = &form["properties"]["connector"]["const"];
                let name = kind.as_str().map(|kind| format!("`connector: {kind}`: ")).unwrap_or_default();
                let what = text(form, "description");
                writeln!(out, "- {name}{}", if what.is_empty() { "Settings:".into() } else { what })?;
                self.settings(out, form, depth + 1)?;
            }
        }
        self.settings(out, schema, depth)
    }

    fn settings(&self, out: &mut String, schema: &Value, depth: usize) -> Result {
        for (name, property) in properties(schema) {
            // It stands before the settings that come with it.
            if name == "connector" {
                continue;
            }
            indent(out, depth)?;
            let required = schema["required"].as_array().is_some_and(|required| required.contains(&Value::from(name)));
            let required = if required { " Required." } else { "" };
            let examples = property["examples"].as_array();
            let examples = examples.into_iter().flatten().map(|example| format!("`{name}: {}`", written(example)));
            let examples: Vec<String> = examples.collect();
            let examples =
                if examples.is_empty() { String::new() } else { format!(" For example {}.", examples.join(", ")) };
            writeln!(out, "- **`{name}`**: {}{required}{examples}", text(property, "description"))?;
            self.forms(out, property, depth + 1)?;
            if let Some(items) = property.get("items") {
                self.forms(out, items, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn properties(schema: &Value) -> Vec<(&str, &Value)> {
    let own = schema["properties"].as_object().into_iter().flatten();
    own.map(|(name, property)| (name.as_str(), property)).collect()
}

/// True where a value is, or holds, what a definition describes.
fn refers(schema: &Value, definition: &str) -> bool {
    let is_it = |schema: &Value| schema["$ref"].as_str().is_some_and(|to| to.ends_with(&format!("/{definition}")));
    is_it(schema) || is_it(&schema["items"]) || is_it(&schema["additionalProperties"]) || forms(schema).any(is_it)
}

fn forms(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"].iter().filter_map(|word| schema[*word].as_array()).flatten()
}

/// As one paragraph.
fn text(schema: &Value, word: &str) -> String {
    schema[word].as_str().unwrap_or_default().replace("\n\n", " ")
}

fn indent(out: &mut String, depth: usize) -> Result {
    write!(out, "{:width$}", "", width = depth * 2)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value as YAML writes it on one line.
fn written(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(name, value)| format!("{name}: {}", written(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::String(text) if text.contains([':', '#', '\'', '{', '*']) => format!("{text:?}"),
        value => plain(value),
    }
}
