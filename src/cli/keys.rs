//! Keys as people write and read them.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::Failure;
use crate::compile::Program;
use crate::connector::Description;
use crate::record::{Both, Key, Kind, Side, Value};
use crate::run::key_of_fingerprint;

/// The names of the key fields of both sides; empty where they are not known.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyNames(Both<Vec<String>>);

impl KeyNames {
    pub(super) fn of(program: &Program) -> KeyNames {
        KeyNames(
            program.sides.as_ref().map(|side| {
                side.access.key.iter().map(|slot| side.access.shape.fields[*slot].name.to_string()).collect()
            }),
        )
    }

    /// From what the state keeps of a mapping's sides, see [`fingerprint`].
    pub(super) fn of_fingerprints(fingerprints: &Both<String>) -> KeyNames {
        KeyNames(fingerprints.as_ref().map(|text| {
            key_of_fingerprint(text).map(|names| names.split(", ").map(str::to_owned).collect()).unwrap_or_default()
        }))
    }

    /// The key as an object of its fields.
    pub(super) fn json(&self, side: Side, key: Option<&Key>) -> Json {
        let Some(key) = key.filter(|key| !key.is_empty()) else { return Json::Null };
        let entries = key.shown();
        if self.0[side].len() == entries.len() {
            return Json::Object(self.0[side].iter().cloned().zip(entries).collect());
        }
        let unnamed = entries.into_iter().enumerate();
        Json::Object(unnamed.map(|(index, entry)| (format!("key{}", index + 1), entry)).collect::<Map<_, _>>())
    }

    /// The names of one side's key fields.
    pub(super) fn of_side(&self, side: Side) -> &[String] {
        &self.0[side]
    }

    /// The entries of a key as it was typed: a value, values with commas
    /// between them, or `field=value,field=value` in any order.
    pub(super) fn parse(&self, side: Side, typed: &str) -> Result<Vec<String>, Failure> {
        let names = &self.0[side];
        let pairs: Vec<(Option<&str>, String)> = parts(typed)
            .into_iter()
            .map(|part| match part.split_once('=') {
                Some((name, value)) if names.is_empty() || names.iter().any(|known| known == name.trim()) => {
                    (Some(name.trim()), unquote(value))
                }
                _ => (None, unquote(part)),
            })
            .collect();
        let named = pairs.iter().filter(|(name, _)| name.is_some()).count();
        if named == 0 {
            return match names.len() {
                0 => Ok(pairs.into_iter().map(|(_, value)| value).collect()),
                1 => Ok(vec![unquote(typed)]),
                wanted if wanted == pairs.len() => Ok(pairs.into_iter().map(|(_, value)| value).collect()),
                _ => Err(self.wrong(side, typed)),
            };
        }
        if names.is_empty() && named == pairs.len() {
            return Ok(pairs.into_iter().map(|(_, value)| value).collect());
        }
        let value = |name: &String| {
            let mut found = pairs.iter().filter(|(given, _)| *given == Some(name));
            found.next().filter(|_| found.next().is_none()).map(|(_, value)| value.clone())
        };
        let values: Option<Vec<String>> = names.iter().map(value).collect();
        values.filter(|values| values.len() == pairs.len()).ok_or_else(|| self.wrong(side, typed))
    }

    /// What stands where the name of a key field should in `name=value`.
    pub(super) fn stranger<'a>(&self, side: Side, typed: &'a str) -> Option<&'a str> {
        let names = &self.0[side];
        let given = parts(typed).into_iter().filter_map(|part| Some(part.split_once('=')?.0.trim()));
        given.into_iter().find(|given| !names.is_empty() && !names.iter().any(|name| name == given))
    }

    fn wrong(&self, side: Side, typed: &str) -> Failure {
        let names = &self.0[side];
        let form = names.iter().map(|name| format!("{name}=…")).collect::<Vec<_>>().join(",");
        Failure::wrong(format!("`{typed}` is not a key of the {side}")).help(format!("write `{form}`"))
    }
}

/// A key in the kinds of its fields.
pub(super) fn typed(program: &Program, side: Side, entries: &[String]) -> Result<Key, Failure> {
    let side_program = &program.sides[side];
    let kinds: Vec<&Kind> =
        side_program.access.key.iter().map(|slot| &side_program.access.shape.fields[*slot].kind).collect();
    if kinds.len() != entries.len() {
        return Err(KeyNames::of(program).wrong(side, &entries.join(",")));
    }
    let mut values = Vec::with_capacity(entries.len());
    for (kind, entry) in kinds.into_iter().zip(entries) {
        let value = kind.fit(Value::text(entry)).map_err(|misfit| Failure::wrong(misfit.message))?;
        values.push(value);
    }
    Key::new(&values).ok_or_else(|| Failure::wrong(format!("a key of the {side} has an empty part")))
}

/// Every key that what was typed may mean while the kinds of its fields are not
/// known: each entry as text, and as the number it looks like.
pub(super) fn candidates(entries: &[String]) -> Vec<Key> {
    let mut all: Vec<Vec<Value>> = vec![Vec::new()];
    for entry in entries.iter().take(8) {
        let mut forms = vec![Value::text(entry)];
        if let Ok(number) = entry.parse::<i64>()
            && number.to_string() == *entry
        {
            forms.push(Value::Integer(number));
        }
        let longer = |known: &Vec<Value>| {
            forms.iter().map(|form| known.iter().cloned().chain([form.clone()]).collect()).collect::<Vec<Vec<Value>>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all.iter().filter_map(Key::new).collect()
}

/// What a side of a mapping is, as the state keeps it: the links belong to
/// exactly this. What lies in the folder `home` goes with it where that is
/// moved.
pub(super) fn fingerprint(program: &Program, side: Side, described: &Description, home: Option<&Path>) -> String {
    let Description { identity, name, .. } = described;
    let at_home = identity.split_once(':').and_then(|(kind, place)| {
        let within = Path::new(place).strip_prefix(home?).ok()?;
        Some(format!("{kind}:./{}", within.display()))
    });
    let identity = at_home.as_deref().unwrap_or(identity);
    format!("{identity} {name} ({})", KeyNames::of(program).0[side].join(", "))
}

/// At the commas that do not stand in double quotes.
fn parts(typed: &str) -> Vec<&str> {
    let mut quoted = false;
    typed
        .split(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .collect()
}

fn unquote(text: &str) -> String {
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inside.unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> KeyNames {
        KeyNames(Both::from_fn(|_| names.iter().map(|name| (*name).to_owned()).collect()))
    }

    #[test]
    fn keys_are_typed_in_three_forms() {
        let one = |names: &KeyNames, typed: &str| names.parse(Side::Source, typed).map_err(|failure| failure.message);
        let two = names(&["A", "B"]);
        for typed in ["A=1,B=2", "B=2,A=1", "1,2", "A=\"1\",B=2"] {
            assert_eq!(one(&two, typed), Ok(vec!["1".to_owned(), "2".to_owned()]), "{typed}");
        }
        assert_eq!(one(&two, "A=\"x,y\",B=z"), Ok(vec!["x,y".to_owned(), "z".to_owned()]));
        for typed in ["1", "A=1", "A=1,A=2", "A=1,B=2,A=1", "1,2,3"] {
            assert_eq!(one(&two, typed), Err(format!("`{typed}` is not a key of the source")), "{typed}");
        }
        let single = names(&["id"]);
        assert_eq!(one(&single, "a,b"), Ok(vec!["a,b".to_owned()]));
        assert_eq!(one(&single, "id=7"), Ok(vec!["7".to_owned()]));
        assert_eq!(one(&single, "x=7"), Ok(vec!["x=7".to_owned()]));
    }

    #[test]
    fn what_looks_like_a_number_may_be_either() {
        let texts = |entries: &[&str]| {
            let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
            candidates(&entries).iter().map(|key| key.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&["000001"]), [r#"["000001"]"#]);
        assert_eq!(texts(&["7", "a"]), [r#"["7","a"]"#, r#"[7,"a"]"#]);
    }

    #[test]
    fn names_come_back_from_fingerprints() {
        let stored = Both::new("sqlite:/x (old)/a.db SA1 (A1_COD, A1_LOJA)".to_owned(), String::new());
        let names = KeyNames::of_fingerprints(&stored);
        let key = Key::from_canonical(r#"["1","01"]"#);
        assert_eq!(names.json(Side::Source, Some(&key)).to_string(), r#"{"A1_COD":"1","A1_LOJA":"01"}"#);
        assert_eq!(names.json(Side::Target, Some(&key)).to_string(), r#"{"key1":"1","key2":"01"}"#);
        assert_eq!(names.json(Side::Target, None), Json::Null);
    }
}
