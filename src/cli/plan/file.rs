//! The file that a plan is kept in: a line of JSON for each change, between one
//! that says what is planned and one that says that this is all.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{change_json, planned_json};
use crate::cli::Failure;
use crate::cli::keys::KeyNames;
use crate::diagnostic::Code;
use crate::record::{Both, Key, Side};
use crate::run::{PlanSink, Planned, Review};

/// The form of these files.
const VERSION: u64 = 1;

/// So many changes are looked at at once.
const BATCH: usize = 1000;

/// What is planned: for which project, and how.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Header {
    pub path: PathBuf,
    pub env: Option<String>,
    pub over_limit: bool,
}

/// A plan that is being written.
#[derive(Debug)]
pub(in crate::cli) struct PlanWriter {
    path: PathBuf,
    file: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    out: BufWriter<File>,
    changes: u64,
    /// What went wrong first.
    error: Option<std::io::Error>,
}

impl Written {
    fn line(&mut self, line: &Json) {
        if self.error.is_none() {
            self.error = writeln!(self.out, "{line}").err();
        }
    }
}

impl PlanWriter {
    /// Makes the file, in place of one that is there.
    pub(in crate::cli) fn new(path: &Path, header: &Header, made_at: &str) -> Result<Arc<PlanWriter>, Failure> {
        let file = File::create(path).map_err(|error| not_written(path, &error))?;
        let mut written = Written { out: BufWriter::new(file), changes: 0, error: None };
        written.line(&json!({
            "plan": VERSION, "engine": env!("CARGO_PKG_VERSION"), "made_at": made_at, "project": header.path,
            "env": header.env, "over_limit": header.over_limit,
        }));
        Ok(Arc::new(PlanWriter { path: path.to_owned(), file: Mutex::new(written) }))
    }

    /// Takes the changes of one mapping.
    pub(in crate::cli) fn of(self: &Arc<Self>, mapping: &str, names: KeyNames) -> Arc<dyn PlanSink> {
        Arc::new(MappingWriter { plan: self.clone(), mapping: mapping.to_owned(), names })
    }

    /// Says that this is all.
    pub(in crate::cli) fn finish(&self) -> Result<u64, Failure> {
        let mut written = self.file.lock().expect("nothing panics while it writes");
        let changes = written.changes;
        written.line(&json!({ "end": true, "changes": changes }));
        let ended = match written.error.take() {
            Some(error) => Err(error),
            None => written.out.flush().and_then(|()| written.out.get_ref().sync_all()),
        };
        ended.map(|()| changes).map_err(|error| not_written(&self.path, &error))
    }
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    Failure::wrong(format!("the plan cannot be written to `{}`: {error}", path.display()))
}

/// Takes the changes of one mapping.
#[derive(Debug)]
struct MappingWriter {
    plan: Arc<PlanWriter>,
    mapping: String,
    names: KeyNames,
}

impl PlanSink for MappingWriter {
    fn planned(&self, change: &Planned) {
        let mut line = planned_json(&self.mapping, change, &self.names);
        let from = change.side.other();
        // Where it is known, the record that causes the write tells it; else the one that is written.
        let side = if change.keys[from].is_some() { from } else { change.side };
        line["read"] = json!({ "side": side, "key": change.keys[side].as_ref().map(Key::as_str) });
        let mut written = self.plan.file.lock().expect("nothing panics while it writes");
        written.changes += 1;
        written.line(&line);
    }
}

/// What a line has to hold to be the same change, by each key that tells the
/// record: the other may have been written by an earlier change of the plan.
fn digests(change: &Json) -> impl Iterator<Item = u64> {
    let fields = change["fields"].as_array().into_iter().flatten();
    let fields: Vec<Json> =
        fields.map(|field| json!([field["field"], field["before"], field["after"], field["policy"]])).collect();
    let keys = ["source_key", "target_key"].into_iter().filter(|name| !change[*name].is_null());
    keys.map(move |name| {
        let text = json!([change["action"], change["side"], name, change[name], fields]);
        xxh3_64(text.to_string().as_bytes())
    })
}

/// A plan as it was kept, checked as a whole; its changes stay in the file.
#[derive(Debug)]
pub(in crate::cli) struct KeptPlan {
    pub header: Header,
    /// The mappings that have changes, in their order.
    pub mappings: Vec<Arc<KeptChanges>>,
}

/// The changes of one mapping.
#[derive(Debug)]
pub(in crate::cli) struct KeptChanges {
    pub mapping: String,
    path: PathBuf,
    /// Where the line of each change begins in the file.
    begins: Vec<u64>,
    /// The number of the change with this digest, see [`digests`].
    by_digest: HashMap<u64, usize>,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    looked_at: usize,
    made: Vec<bool>,
    /// The names of the mapping's keys, once they are known.
    names: KeyNames,
}

impl KeptPlan {
    /// Reads a plan through once.
    pub(in crate::cli) fn read(path: &Path) -> Result<KeptPlan, Failure> {
        let broken = |line: u64, why: &str| {
            let message = format!("{}:{line}: {why}", path.display());
            let failure = Failure::wrong(message).help("make the plan anew: `engine plan PATH --out FILE`");
            Failure { code: Some(Code::PLAN_BROKEN), ..failure }
        };
        let file = File::open(path)
            .map_err(|error| Failure::wrong(format!("`{}` cannot be read: {error}", path.display())))?;
        let mut file = BufReader::new(file);
        let (mut header, mut end) = (None, false);
        let mut mappings: Vec<KeptChanges> = Vec::new();
        let (mut text, mut begins) = (Vec::new(), 0);
        for number in 1.. {
            text.clear();
            let length = file.read_until(b'\n', &mut text).map_err(|error| broken(number, &error.to_string()))?;
            if length == 0 {
                break;
            }
            let at = begins;
            begins += length as u64;
            if text.trim_ascii().is_empty() {
                continue;
            }
            let line: Json = serde_json::from_slice(&text).map_err(|_| broken(number, "this is no line of a plan"))?;
            if end {
                return Err(broken(number, "something stands behind the end of the plan"));
            }
            if header.is_none() {
                header = Some(Header::read(&line).map_err(|why| broken(number, &why))?);
            } else if line["end"] == json!(true) {
                end = true;
            } else {
                let name = line["mapping"].as_str().filter(|_| read_by(&line).is_some());
                let name = name.ok_or_else(|| broken(number, "this is no change of a plan"))?;
                let place = mappings.iter().position(|known| known.mapping == name).unwrap_or_else(|| {
                    mappings.push(KeptChanges::new(name, path));
                    mappings.len() - 1
                });
                let known = &mut mappings[place];
                known.by_digest.extend(digests(&line).map(|digest| (digest, known.begins.len())));
                known.begins.push(at);
            }
        }
        let Some(header) = header else { return Err(broken(1, "the file is empty")) };
        if !end {
            return Err(broken(1, "the plan is cut off: its last line, which says that it is whole, is not there"));
        }
        Ok(KeptPlan { header, mappings: mappings.into_iter().map(KeptChanges::ready).collect() })
    }
}

impl Header {
    fn read(line: &Json) -> Result<Header, String> {
        if line["plan"].as_u64() != Some(VERSION) {
            return Err("this is not a plan of this engine".to_owned());
        }
        let path = line["project"].as_str().ok_or("the plan does not say of which project it is")?;
        Ok(Header {
            path: path.into(),
            env: line["env"].as_str().map(str::to_owned),
            over_limit: line["over_limit"] == json!(true),
        })
    }
}

/// The side and the key by which the record of a change is looked at.
fn read_by(line: &Json) -> Option<(Side, Key)> {
    let side = Side::BOTH.into_iter().find(|side| line["read"]["side"] == json!(side))?;
    let key = line["read"]["key"].as_str()?;
    serde_json::from_str::<Vec<Json>>(key).ok().filter(|entries| !entries.is_empty())?;
    Some((side, Key::from_canonical(key)))
}

impl KeptChanges {
    fn new(mapping: &str, path: &Path) -> KeptChanges {
        KeptChanges {
            mapping: mapping.to_owned(),
            path: path.to_owned(),
            begins: Vec::new(),
            by_digest: HashMap::new(),
            progress: Mutex::default(),
        }
    }

    fn ready(mut self) -> Arc<KeptChanges> {
        let made = vec![false; self.begins.len()];
        self.progress = Mutex::new(Progress { made, ..Progress::default() });
        Arc::new(self)
    }

    /// The same changes for a run, whose keys have these names.
    pub(in crate::cli) fn review(self: &Arc<Self>, names: KeyNames) -> Arc<dyn Review> {
        self.progress.lock().expect("nothing panics while it looks").names = names;
        self.clone()
    }

    /// How many changes were not made, and the first of them.
    pub(in crate::cli) fn not_made(&self, named: usize) -> std::io::Result<(usize, Vec<Json>)> {
        let progress = self.progress.lock().expect("nothing panics while it looks");
        let left = || (0..progress.made.len()).filter(|number| !progress.made[*number]);
        let lines = self.lines(left().take(named))?;
        Ok((left().count(), lines))
    }

    /// The changes of these numbers, in order.
    fn lines(&self, numbers: impl Iterator<Item = usize>) -> std::io::Result<Vec<Json>> {
        let mut file = BufReader::new(File::open(&self.path)?);
        let (mut lines, mut text, mut at) = (Vec::new(), Vec::new(), 0);
        for number in numbers {
            let begins = self.begins[number];
            // What lies between stays in the buffer where it is near.
            file.seek_relative(i64::try_from(begins).unwrap_or(i64::MAX) - at)?;
            text.clear();
            let length = file.read_until(b'\n', &mut text)?;
            at = i64::try_from(begins).unwrap_or(i64::MAX) + i64::try_from(length).unwrap_or(0);
            lines.push(serde_json::from_slice(&text)?);
        }
        Ok(lines)
    }
}

impl Review for KeptChanges {
    fn next(&self) -> Result<Option<Both<Vec<Key>>>, String> {
        let mut progress = self.progress.lock().expect("nothing panics while it looks");
        let numbers = progress.looked_at..self.begins.len().min(progress.looked_at + BATCH);
        if numbers.is_empty() {
            return Ok(None);
        }
        progress.looked_at = numbers.end;
        let lines = self.lines(numbers).map_err(|error| format!("`{}`: {error}", self.path.display()))?;
        let mut keys: Both<Vec<Key>> = Both::default();
        for line in &lines {
            let (side, key) = read_by(line).ok_or_else(|| format!("`{}` has changed", self.path.display()))?;
            keys[side].push(key);
        }
        for side in Side::BOTH {
            keys[side].sort();
            keys[side].dedup();
        }
        Ok(Some(keys))
    }

    fn allows(&self, changes: &[Planned]) -> bool {
        let mut progress = self.progress.lock().expect("nothing panics while it looks");
        let numbers: Option<Vec<usize>> = changes
            .iter()
            .map(|change| {
                let change = change_json(change, &progress.names);
                digests(&change).find_map(|digest| self.by_digest.get(&digest).copied())
            })
            .collect();
        let Some(numbers) = numbers else { return false };
        for number in numbers {
            progress.made[number] = true;
        }
        true
    }
}
