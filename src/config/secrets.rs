//! The secrets of a project, encrypted: what `${secret:NAME}` reads.
//!
//! Owns the file they lie in (`secrets.json` beside the state, readable by its
//! owner only), its encryption (AES-256-GCM, each secret with a nonce of its
//! own and bound to its name), and the key, which is never in it. Names and
//! times stand in the file as they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::decode::goes_in_a_name;
use super::environment::Environment;
use super::files::state_folder;
use super::private;
use crate::diagnostic::keep_secret;

/// The file, beside the state.
const FILE: &str = "secrets.json";

/// How the file is laid out.
const VERSION: u32 = 1;

/// The variables that hold the key, or say which file holds it.
pub const KEY: &str = "ENGINE_SECRETS_KEY";
pub const KEY_FILE: &str = "ENGINE_SECRETS_KEY_FILE";

/// Why a secret cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretsError {
    NoKey,
    /// Where it comes from, and what is wrong with it.
    BadKey(String),
    /// The file was encrypted with another key.
    OtherKey(PathBuf),
    Unknown {
        name: String,
        known: Vec<String>,
    },
    /// The file cannot be read or written, or is none of ours.
    Broken(String),
}

impl std::fmt::Display for SecretsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretsError::NoKey => {
                write!(f, "the key of the secrets is not there: neither `{KEY}` nor `{KEY_FILE}` is set")
            }
            SecretsError::BadKey(why) => write!(f, "{why}"),
            SecretsError::OtherKey(path) => write!(f, "`{}` was encrypted with another key", path.display()),
            SecretsError::Unknown { name, .. } => write!(f, "there is no secret `{name}`"),
            SecretsError::Broken(why) => write!(f, "{why}"),
        }
    }
}

impl SecretsError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            SecretsError::NoKey => {
                format!("`engine secrets key` makes one; `{KEY}` holds it, or `{KEY_FILE}` names the file that does")
            }
            SecretsError::BadKey(_) => "a key is 32 bytes in base64, as `engine secrets key` makes it".into(),
            SecretsError::OtherKey(_) => {
                format!("set `{KEY}` to the key it was encrypted with; `engine secrets rotate` changes keys")
            }
            SecretsError::Unknown { known, .. } if known.is_empty() => {
                "`engine secrets set PATH NAME` stores it".into()
            }
            SecretsError::Unknown { known, .. } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                format!("`engine secrets set PATH NAME` stores it; there are {}", crate::diagnostic::quoted(&known))
            }
            SecretsError::Broken(_) => "put back a copy of it, or remove it and store the secrets anew".into(),
        }
    }
}

/// The key that secrets are encrypted with.
pub struct Key {
    key: RandomizedNonceKey,
    /// Tells keys apart, and says nothing about them.
    print: String,
}

impl Key {
    /// A fresh key as text: 32 bytes in base64.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn make() -> Result<String, SecretsError> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| SecretsError::Broken("the system gives no random bytes".into()))?;
        Ok(BASE64_STANDARD.encode(bytes))
    }

    /// The key of this process.
    ///
    /// # Errors
    /// There is none, or it is no key.
    pub fn of(environment: &Environment) -> Result<Key, SecretsError> {
        if let Some(text) = environment.get(KEY).filter(|text| !text.is_empty()) {
            return Key::parse(&text, &format!("`{KEY}`"));
        }
        match environment.get(KEY_FILE).filter(|path| !path.is_empty()) {
            Some(path) => Key::read(Path::new(&path)),
            None => Err(SecretsError::NoKey),
        }
    }

    /// The key in a file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key.
    pub fn read(path: &Path) -> Result<Key, SecretsError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            SecretsError::BadKey(format!("the key in `{}` cannot be read: {error}", path.display()))
        })?;
        Key::parse(&text, &format!("what `{}` holds", path.display()))
    }

    fn parse(text: &str, whence: &str) -> Result<Key, SecretsError> {
        keep_secret(text.trim());
        let bad = || SecretsError::BadKey(format!("{whence} is no key"));
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| bad())?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| bad())?;
        let print = digest::digest(&digest::SHA256, &[b"engine secrets ", bytes.as_slice()].concat());
        Ok(Key { key, print: BASE64_STANDARD.encode(&print.as_ref()[..9]) })
    }
}

/// The secrets of one project, in one environment.
pub struct Secrets {
    path: PathBuf,
    kept: Kept,
    /// Held while they are changed.
    _lock: Option<File>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// The print of the key; empty where there is no secret.
    key: String,
    secrets: BTreeMap<String, Sealed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// Nonce, text and tag, in base64.
    sealed: String,
    changed_at: DateTime<Utc>,
}

impl Secrets {
    /// Whether a secret can have this name.
    pub fn is_name(name: &str) -> bool {
        !name.is_empty() && name.chars().all(goes_in_a_name)
    }

    /// Where the secrets of a project lie.
    pub fn path(root: &Path, env: Option<&str>) -> PathBuf {
        state_folder(root, env).join(FILE)
    }

    /// Opens them to read. Where there is no file, there are none.
    ///
    /// # Errors
    /// The file cannot be read, or is none of ours.
    pub fn open(path: &Path) -> Result<Secrets, SecretsError> {
        let broken = |why: String| SecretsError::Broken(format!("`{}` cannot be read: {why}", path.display()));
        let kept = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept { version: VERSION, ..Kept::default() },
            Err(error) => return Err(broken(error.to_string())),
        };
        if kept.version != VERSION {
            return Err(broken(format!("it has the layout {}, and {VERSION} is known", kept.version)));
        }
        Ok(Secrets { path: path.to_owned(), kept, _lock: None })
    }

    /// Opens them to change; nobody else changes them meanwhile.
    ///
    /// # Errors
    /// As [`Secrets::open`], and where the folder cannot be made.
    pub fn open_to_change(path: &Path) -> Result<Secrets, SecretsError> {
        let broken = |error: std::io::Error| SecretsError::Broken(format!("`{}`: {error}", path.display()));
        private::folder(path.parent().unwrap_or(Path::new("."))).map_err(broken)?;
        let lock = private::file(&path.with_extension("lock")).map_err(broken)?;
        lock.lock().map_err(broken)?;
        Ok(Secrets { _lock: Some(lock), ..Secrets::open(path)? })
    }

    /// The names there are, and when each was last set.
    pub fn names(&self) -> impl Iterator<Item = (&str, DateTime<Utc>)> {
        self.kept.secrets.iter().map(|(name, sealed)| (name.as_str(), sealed.changed_at))
    }

    /// What a secret holds.
    ///
    /// # Errors
    /// There is none of this name, or it was encrypted with another key.
    pub fn get(&self, name: &str, key: &Key) -> Result<String, SecretsError> {
        let Some(sealed) = self.kept.secrets.get(name) else {
            let known = self.kept.secrets.keys().cloned().collect();
            return Err(SecretsError::Unknown { name: name.to_owned(), known });
        };
        self.fits(key)?;
        let broken = || SecretsError::Broken(format!("the secret `{name}` in `{}` was changed", self.path.display()));
        let mut bytes = BASE64_STANDARD.decode(&sealed.sealed).map_err(|_| broken())?;
        let nonce = bytes.get(..NONCE_LEN).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let opened = key.key.open_in_place(nonce, Aad::from(name), &mut bytes[NONCE_LEN..]).map_err(|_| broken())?;
        String::from_utf8(opened.to_vec()).map_err(|_| broken())
    }

    /// Sets a secret, and writes the file.
    ///
    /// # Errors
    /// The others were encrypted with another key, or the file cannot be written.
    pub fn set(&mut self, name: &str, value: &str, key: &Key, now: DateTime<Utc>) -> Result<(), SecretsError> {
        self.fits(key)?;
        self.kept.key.clone_from(&key.print);
        self.seal(name, value, key, now)?;
        self.save()
    }

    /// Removes a secret, and writes the file.
    ///
    /// # Errors
    /// There is none of this name, or the file cannot be written.
    pub fn remove(&mut self, name: &str) -> Result<(), SecretsError> {
        if self.kept.secrets.remove(name).is_none() {
            let known = self.kept.secrets.keys().cloned().collect();
            return Err(SecretsError::Unknown { name: name.to_owned(), known });
        }
        self.save()
    }

    /// Encrypts all of them with another key, and writes the file. Answers with
    /// how many there are.
    ///
    /// # Errors
    /// They were not encrypted with `key`, or the file cannot be written.
    pub fn rotate(&mut self, key: &Key, new: &Key) -> Result<usize, SecretsError> {
        let all: Vec<(String, DateTime<Utc>)> = self.names().map(|(name, at)| (name.to_owned(), at)).collect();
        let opened = all.iter().map(|(name, _)| self.get(name, key)).collect::<Result<Vec<_>, _>>()?;
        self.kept.key.clone_from(&new.print);
        for ((name, at), value) in all.iter().zip(opened) {
            self.seal(name, &value, new, *at)?;
        }
        self.save()?;
        Ok(all.len())
    }

    fn fits(&self, key: &Key) -> Result<(), SecretsError> {
        if self.kept.secrets.is_empty() || self.kept.key == key.print {
            return Ok(());
        }
        Err(SecretsError::OtherKey(self.path.clone()))
    }

    fn seal(&mut self, name: &str, value: &str, key: &Key, at: DateTime<Utc>) -> Result<(), SecretsError> {
        let mut text = value.as_bytes().to_vec();
        let nonce = key
            .key
            .seal_in_place_append_tag(Aad::from(name), &mut text)
            .map_err(|_| SecretsError::Broken("the system cannot encrypt".into()))?;
        let sealed = BASE64_STANDARD.encode([nonce.as_ref().as_slice(), &text].concat());
        self.kept.secrets.insert(name.to_owned(), Sealed { sealed, changed_at: at });
        Ok(())
    }

    /// The file is there whole, with what was or with what is.
    fn save(&self) -> Result<(), SecretsError> {
        let broken = |error: std::io::Error| SecretsError::Broken(format!("`{}`: {error}", self.path.display()));
        let beside = self.path.with_extension("new");
        let text = serde_json::to_string_pretty(&self.kept).expect("names and texts are JSON");
        let mut file = private::file(&beside).map_err(broken)?;
        file.set_len(0).map_err(broken)?;
        file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(broken)?;
        std::fs::rename(&beside, &self.path).map_err(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::parse(&Key::make().unwrap(), "it").unwrap()
    }

    #[test]
    fn a_secret_comes_back_by_its_name_and_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = Secrets::path(folder.path(), Some("live"));
        let (mine, other, now) = (key(), key(), DateTime::UNIX_EPOCH);
        let mut secrets = Secrets::open_to_change(&path).unwrap();
        for (name, value) in [("a", "Grün"), ("b", ""), ("c", "x")] {
            secrets.set(name, value, &mine, now).unwrap();
        }
        secrets.remove("c").unwrap();
        drop(secrets);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("Grün") && text.contains("\"a\""), "{text}");
        let mut secrets = Secrets::open_to_change(&path).unwrap();
        assert_eq!((secrets.get("a", &mine), secrets.get("b", &mine)), (Ok("Grün".into()), Ok(String::new())));
        let known = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(secrets.get("c", &mine), Err(SecretsError::Unknown { name: "c".into(), known }));
        assert_eq!(secrets.get("a", &other), Err(SecretsError::OtherKey(path.clone())));
        assert_eq!(secrets.set("d", "x", &other, now), Err(SecretsError::OtherKey(path.clone())));
        assert_eq!(secrets.rotate(&mine, &other), Ok(2));
        assert_eq!(secrets.get("a", &other), Ok("Grün".into()));
        drop(secrets);

        // What stands under another name, or was changed, is none.
        let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut swapped = kept.clone();
        swapped["secrets"]["b"] = kept["secrets"]["a"].clone();
        std::fs::write(&path, swapped.to_string()).unwrap();
        let error = Secrets::open(&path).unwrap().get("b", &other).unwrap_err();
        assert!(matches!(error, SecretsError::Broken(_)), "{error}");
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Secrets::open(&path), Err(SecretsError::Broken(_))));
    }

    #[test]
    fn a_key_is_32_bytes() {
        for text in ["", "secret", "AAAA", "%%%", &BASE64_STANDARD.encode([0; 31])] {
            assert!(matches!(Key::parse(text, "it"), Err(SecretsError::BadKey(_))), "{text}");
        }
        assert!(Key::parse(&format!(" {}\n", Key::make().unwrap()), "it").is_ok());
    }
}
