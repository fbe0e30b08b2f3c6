//! Why a step refused a value, before the caller says of which field.

use super::{Misfitting, Rejection};
use crate::diagnostic::{Code, Place};
use crate::record::Value;

/// A value that a rule or an expression does not take. Boxed wherever it is
/// returned, so that the way of the values that do fit stays narrow.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    pub code: Code,
    /// What is wrong: lower case, backticks around literals.
    pub message: String,
    /// The offending value as text, where there is one.
    pub value: Option<String>,
    /// The rule that refused it, where one did.
    pub rule: Option<&'static str>,
    /// Where in the YAML the rule or expression stands, where it is known.
    pub place: Option<Place>,
}

impl Trouble {
    pub fn new(code: Code, message: impl Into<String>) -> Box<Trouble> {
        Box::new(Trouble { code, message: message.into(), value: None, rule: None, place: None })
    }

    /// Trouble with this value, which is kept as text.
    pub fn with(code: Code, value: &Value, message: impl Into<String>) -> Box<Trouble> {
        let mut trouble = Trouble::new(code, message);
        trouble.value = Some(value.to_string());
        trouble
    }

    /// The rejection of `field`; `place` counts where the step knew none.
    pub fn into_rejection(self, field: impl Into<String>, place: &Place) -> Rejection {
        Rejection::from(Misfitting {
            code: self.code,
            field: field.into(),
            value: self.value,
            rule: self.rule,
            message: self.message,
            place: self.place.unwrap_or_else(|| place.clone()),
        })
    }
}

/// A value as messages show it: its type and, shortened, its text.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Missing | Value::Null | Value::JsonNull => "null".to_owned(),
        Value::List(_) | Value::Map(_) | Value::Bytes(_) => {
            format!("a {}", value.type_name()).replace("a bytes", "bytes")
        }
        other => {
            let text = other.to_string();
            let mut short: String = text.chars().take(60).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            format!("{} `{short}`", other.type_name())
        }
    }
}
