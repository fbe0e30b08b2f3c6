//! What may not be shown, whoever read it.

use std::borrow::Cow;
use std::sync::Mutex;

/// What stands in place of a secret.
pub(crate) const HIDDEN: &str = "***";

/// What is shorter hides nothing: it would stand everywhere.
const SHORTEST: usize = 4;

static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on this text is shown nowhere.
pub(crate) fn keep_secret(text: &str) {
    let mut secrets = SECRETS.lock().expect("nothing panics while it holds the lock");
    if text.len() >= SHORTEST && !secrets.iter().any(|known| known == text) {
        secrets.push(text.to_owned());
    }
}

/// A text that is about to be shown or stored, without any secret this process
/// has read, also where it stands in a text of JSON.
pub(crate) fn without_secrets(text: &str) -> Cow<'_, str> {
    let secrets = SECRETS.lock().expect("nothing panics while it holds the lock");
    let mut shown = Cow::Borrowed(text);
    for secret in secrets.iter() {
        let in_json = serde_json::Value::from(secret.as_str()).to_string();
        for hidden in [secret.as_str(), &in_json[1..in_json.len() - 1]] {
            if shown.contains(hidden) {
                shown = Cow::Owned(shown.replace(hidden, HIDDEN));
            }
        }
    }
    shown
}
