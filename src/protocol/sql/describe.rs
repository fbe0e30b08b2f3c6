//! How objects are named, and how a name finds its object.

/// A name as a user writes it: `customers`, `sales.customers`,
/// `"odd.name"."Table 1"`. A dot separates the parts, a part in double quotes
/// is taken whole (a quote in it is doubled), case and blanks are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectName {
    pub(super) parts: Vec<String>,
}

impl ObjectName {
    /// `None` where the text is not a name: an empty part, a quote that is
    /// never closed.
    pub(super) fn parse(text: &str) -> Option<ObjectName> {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let part;
            (part, rest) = if let Some(quoted) = rest.strip_prefix('"') {
                take_quoted(quoted)?
            } else {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            };
            if part.is_empty() {
                return None;
            }
            parts.push(part);
            if rest.is_empty() {
                return Some(ObjectName { parts });
            }
            rest = rest.strip_prefix('.')?;
        }
    }
}

fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        part.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, rest)),
        }
    }
}

/// The name as [`ObjectName::parse`] reads it back: parts are quoted only
/// where a dot or a quote makes it necessary.
pub(super) fn written<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let part = |part: &str| {
        if part.contains(['.', '"']) { super::statement::quote(part) } else { part.to_owned() }
    };
    parts.into_iter().map(part).collect::<Vec<_>>().join(".")
}

/// What a name led to among the candidates.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// The candidate of this index.
    One(usize),
    None,
    /// Several match ignoring case, and none exactly.
    Several(Vec<usize>),
}

/// Finds `name` among `candidates`: the one that is exactly it, else the only
/// one that matches ignoring case.
pub(super) fn pick<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Pick {
    let folded = name.to_lowercase();
    let mut alike = Vec::new();
    for (index, candidate) in candidates.into_iter().enumerate() {
        if candidate == name {
            return Pick::One(index);
        }
        if candidate.to_lowercase() == folded {
            alike.push(index);
        }
    }
    match alike.as_slice() {
        [] => Pick::None,
        [one] => Pick::One(*one),
        _ => Pick::Several(alike),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<Vec<String>> {
        ObjectName::parse(text).map(|name| name.parts)
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (text, expected) in [
            ("customers", vec!["customers"]),
            ("Order Details", vec!["Order Details"]),
            ("sales.order", vec!["sales", "order"]),
            ("\"a.b\".c", vec!["a.b", "c"]),
            ("\"say \"\"hi\"\"\"", vec!["say \"hi\""]),
            ("São Paulo.ação", vec!["São Paulo", "ação"]),
            ("a\"b", vec!["a\"b"]),
        ] {
            assert_eq!(parts(text).unwrap(), expected, "{text}");
        }
        for text in ["", ".", "a.", ".a", "a..b", "\"", "\"a", "\"a\"b", "\"\""] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn a_written_name_is_read_back() {
        for name in [vec!["plain"], vec!["a.b", "c\"d"], vec!["Order Details"]] {
            assert_eq!(parts(&written(name.iter().copied())).unwrap(), name);
        }
    }

    #[test]
    fn an_exact_name_wins_over_one_in_another_case() {
        assert_eq!(pick("Users", ["users", "Users", "USERS"]), Pick::One(1));
        assert_eq!(pick("AÇÃO", ["ação"]), Pick::One(0));
        assert_eq!(pick("users", ["Users", "USERS"]), Pick::Several(vec![0, 1]));
        assert_eq!(pick("user", ["users"]), Pick::None);
    }
}
