//! One element of an XML document, as a record.
//!
//! Names are compared without their prefixes. What is not a field of an element
//! stays in it as it is.

use std::borrow::Cow;
use std::fmt;

use quick_xml::escape::partial_escape;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Elements nested more deeply are not read.
pub(super) const DEEPEST: usize = 128;

/// A name without its prefix.
pub(super) fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// An element with everything in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    nodes: Vec<Node>,
    /// The blanks before it, in its parent.
    blanks: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Element(Element),
    Text(String),
    /// A comment or an instruction, as it is written.
    Other(String),
}

impl Element {
    /// A new one without anything in it.
    pub(super) fn new(name: &str, blanks: &str) -> Element {
        Element { name: name.to_owned(), blanks: blanks.to_owned(), ..Element::default() }
    }

    /// Reads the one element of a record's bytes.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn read(bytes: &[u8]) -> Result<Element, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        let mut reader = Reader::from_str(text);
        // The last one holds what stands at the top.
        let mut stack = vec![Element::default()];
        loop {
            let mut ended = match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) => {
                    if stack.len() > DEEPEST {
                        return Err("elements are nested too deeply".into());
                    }
                    stack.push(Element::begin(&start)?);
                    continue;
                }
                Event::Empty(start) => Element::begin(&start)?,
                Event::End(_) => stack.pop().unwrap_or_default(),
                Event::Eof => return Err("it has no end".into()),
                other => {
                    if let Some(within) = stack.last_mut() {
                        within.add(other)?;
                    }
                    continue;
                }
            };
            let is_record = stack.len() == 1;
            let Some(parent) = stack.last_mut() else { return Ok(ended) };
            // The blanks before an element belong to it.
            if let Some(Node::Text(blanks)) =
                parent.nodes.pop_if(|node| matches!(node, Node::Text(text) if is_blank(text)))
            {
                ended.blanks = blanks;
            }
            if is_record {
                return Ok(ended);
            }
            parent.nodes.push(Node::Element(ended));
        }
    }

    fn begin(start: &BytesStart<'_>) -> Result<Element, String> {
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
        }
        Ok(Element { attributes, ..Element::new(start.name().as_ref(), "") })
    }

    fn add(&mut self, event: Event<'_>) -> Result<(), String> {
        let text = match event {
            Event::Text(text) => text.xml10_content().into_owned(),
            Event::CData(text) => text.xml10_content().into_owned(),
            Event::GeneralRef(reference) => resolved(&reference)?.to_string(),
            Event::Comment(comment) => {
                self.nodes.push(Node::Other(format!("<!--{}-->", &*comment)));
                return Ok(());
            }
            Event::PI(instruction) => {
                self.nodes.push(Node::Other(format!("<?{}?>", &*instruction)));
                return Ok(());
            }
            _ => return Ok(()),
        };
        match self.nodes.last_mut() {
            Some(Node::Text(before)) => before.push_str(&text),
            _ => self.nodes.push(Node::Text(text)),
        }
        Ok(())
    }

    fn children(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) | Node::Other(_) => None,
        })
    }

    /// The text at the end of a path: of elements, or of an attribute (`@name`);
    /// `None` where there is none.
    ///
    /// # Errors
    /// Why nobody can say which it is, for people.
    pub(super) fn text(&self, path: &[String]) -> Result<Option<Cow<'_, str>>, String> {
        match path {
            [] => {
                let is_nil =
                    |(name, value): &(String, String)| local(name) == "nil" && matches!(value.as_str(), "true" | "1");
                if self.attributes.iter().any(is_nil) {
                    return Ok(None);
                }
                if let Some(inner) = self.children().next() {
                    return Err(format!("it holds the element `{}`, and no text alone", inner.name));
                }
                let texts = self.nodes.iter().filter_map(|node| match node {
                    Node::Text(text) => Some(text.as_str()),
                    Node::Element(_) | Node::Other(_) => None,
                });
                Ok(Some(texts.collect::<String>().into()))
            }
            [last] if last.starts_with('@') => {
                let wanted = &last[1..];
                let found = self.attributes.iter().find(|(name, _)| name == wanted || local(name) == wanted);
                Ok(found.map(|(_, value)| value.as_str().into()))
            }
            [step, rest @ ..] => {
                let mut alike = self.children().filter(|child| local(&child.name) == step);
                match (alike.next(), alike.next()) {
                    (None, _) => Ok(None),
                    (Some(child), None) => child.text(rest),
                    (Some(_), Some(_)) => Err(format!("`{step}` stands there more than once")),
                }
            }
        }
    }

    /// Puts a text at the end of a path, whose elements are made where they are
    /// missing.
    pub(super) fn set(&mut self, path: &[String], text: Option<&str>) {
        match path {
            [] => {
                self.attributes.retain(|(name, _)| local(name) != "nil");
                self.nodes.retain(|node| matches!(node, Node::Other(_)));
                self.nodes.extend(text.map(|text| Node::Text(text.to_owned())));
            }
            [last] if last.starts_with('@') => {
                let wanted = &last[1..];
                let place = self.attributes.iter().position(|(name, _)| name == wanted || local(name) == wanted);
                match (place, text) {
                    (Some(place), Some(text)) => text.clone_into(&mut self.attributes[place].1),
                    (Some(place), None) => drop(self.attributes.remove(place)),
                    (None, Some(text)) => self.attributes.push((wanted.to_owned(), text.to_owned())),
                    (None, None) => {}
                }
            }
            [step, rest @ ..] => {
                let is_it = |node: &Node| matches!(node, Node::Element(child) if local(&child.name) == step);
                if !self.nodes.iter().any(is_it) {
                    if text.is_none() {
                        return;
                    }
                    self.make(step);
                }
                if let Some(Node::Element(child)) = self.nodes.iter_mut().find(|node| is_it(node)) {
                    child.set(rest, text);
                }
            }
        }
    }

    /// A new element in this one, behind those that are there; on a line of its
    /// own where they are.
    fn make(&mut self, name: &str) {
        let behind = self.nodes.pop_if(|node| matches!(node, Node::Text(text) if is_blank(text)));
        let own = self.blanks.contains('\n').then(|| self.blanks.clone());
        let blanks = match self.children().last() {
            Some(sibling) => sibling.blanks.clone(),
            None => own.as_ref().map(|own| format!("{own}  ")).unwrap_or_default(),
        };
        let prefix = self.name.rsplit_once(':').map(|(prefix, _)| format!("{prefix}:")).unwrap_or_default();
        let behind = behind.or_else(|| own.filter(|_| !blanks.is_empty()).map(Node::Text));
        self.nodes.push(Node::Element(Element::new(&format!("{prefix}{name}"), &blanks)));
        self.nodes.extend(behind);
    }

    /// The fields that it has: the ways to texts and attributes that stand there
    /// once.
    pub(super) fn fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        self.gather("", &mut fields);
        fields
    }

    fn gather(&self, before: &str, into: &mut Vec<String>) {
        let is_its_own = |name: &str| {
            name.starts_with("xmlns") || local(name) == "nil" || local(name) == "type" && name.contains(':')
        };
        let attributes = self.attributes.iter().filter(|(name, _)| !is_its_own(name));
        into.extend(attributes.map(|(name, _)| format!("{before}@{}", local(name))));
        for child in self.children() {
            let name = local(&child.name);
            if self.children().filter(|other| local(&other.name) == name).count() > 1 {
                continue;
            }
            if child.children().next().is_none() {
                into.push(format!("{before}{name}"));
            }
            child.gather(&format!("{before}{name}/"), into);
        }
    }
}

pub(super) fn is_blank(text: &str) -> bool {
    text.trim_matches([' ', '\t', '\r', '\n']).is_empty()
}

/// The character that a reference stands for.
fn resolved(reference: &BytesRef<'_>) -> Result<char, String> {
    let unknown = || format!("nothing says what `&{};` stands for", &**reference);
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character),
        Ok(None) => match &**reference {
            "lt" => Ok('<'),
            "gt" => Ok('>'),
            "amp" => Ok('&'),
            "apos" => Ok('\''),
            "quot" => Ok('"'),
            _ => Err(unknown()),
        },
        Err(_) => Err(unknown()),
    }
}

/// True for a character that a document can hold.
pub(super) fn may_hold(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

impl fmt::Display for Element {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}<{}", self.blanks, self.name)?;
        for (name, value) in &self.attributes {
            let value = partial_escape(value.as_str()).replace('"', "&quot;");
            let value = value.replace('\r', "&#13;").replace('\n', "&#10;").replace('\t', "&#9;");
            write!(out, " {name}=\"{value}\"")?;
        }
        if self.nodes.is_empty() {
            return out.write_str("/>");
        }
        out.write_str(">")?;
        for node in &self.nodes {
            match node {
                Node::Element(element) => write!(out, "{element}")?,
                Node::Text(text) => out.write_str(&partial_escape(text.as_str()).replace('\r', "&#13;"))?,
                Node::Other(written) => out.write_str(written)?,
            }
        }
        write!(out, "</{}>", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn what_is_no_field_of_an_element_stays_in_it() {
        let text = "\n  <n:order id=\"7 &amp; 8\" note='x'>\n    <n:name>S\u{e3}o &lt;b&gt; &#233;</n:name>\n    <!-- kept -->\n    <n:to><n:city><![CDATA[a<b]]></n:city></n:to>\n  </n:order>";
        let mut element = Element::read(text.as_bytes()).unwrap();
        assert_eq!(element.fields(), ["@id", "@note", "name", "to/city"]);
        let told = |element: &Element, path: &str| element.text(&way(path)).map(|text| text.map(Cow::into_owned));
        for (path, expected) in [
            ("@id", Some("7 & 8")),
            ("name", Some("S\u{e3}o <b> \u{e9}")),
            ("to/city", Some("a<b")),
            ("to/zip", None),
            ("@no", None),
        ] {
            assert_eq!(told(&element, path), Ok(expected.map(str::to_owned)), "{path}");
        }
        assert!(told(&element, "to").is_err_and(|why| why.contains("holds the element")));
        element.set(&way("name"), Some("A & <B>"));
        element.set(&way("to/zip"), Some("01"));
        element.set(&way("paid/@at"), Some("1\n\"2\""));
        element.set(&way("@note"), None);
        element.set(&way("gone/where"), None);
        let expected = "\n  <n:order id=\"7 &amp; 8\">\n    <n:name>A &amp; &lt;B&gt;</n:name>\n    <!-- kept -->\n    <n:to><n:city>a&lt;b</n:city><n:zip>01</n:zip></n:to>\n    <n:paid at=\"1&#10;&quot;2&quot;\"/>\n  </n:order>";
        assert_eq!(element.to_string(), expected);
        assert_eq!(Element::read(expected.as_bytes()), Ok(element.clone()), "it is read as it was written");
        element.set(&way("name"), None);
        assert_eq!(told(&element, "name"), Ok(Some(String::new())));
        assert!(
            told(&Element::read(b"<a><b/><b/></a>").unwrap(), "b").is_err_and(|why| why.contains("more than once"))
        );
        assert_eq!(told(&Element::read(b"<a><b x:nil='true'/></a>").unwrap(), "b"), Ok(None));
        assert!(Element::read(b"<a>&what;</a>").is_err_and(|why| why.contains("&what;")));
        let deep = "<a>".repeat(5000) + &"</a>".repeat(5000);
        assert!(Element::read(deep.as_bytes()).is_err());
    }
}
