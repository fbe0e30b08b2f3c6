//! Random histories: people edit both sides, runs come between, some are
//! killed; then all is quiet, and every promise is held against what happened.

use std::time::Duration;

use engine::record::{Both, Side};
use serde_json::Value as Json;

use super::check::{Doubts, promises};
use super::project::{
    POSTGRES_POSTGRES, Pair, Project, Ran, SQLITE_POSTGRES, SQLITE_SQLITE, Terms, count, end, written,
};
use super::system::Edit;
use super::{asked, asked_number};
use crate::seed::Seed;

/// Seeds of each pair of systems.
const SEEDS: u64 = 4;

/// What people do next. Codes are entered once on a side, values once ever.
pub(super) struct People {
    pub(super) seed: Seed,
    /// Keeps the values of several people apart.
    name: String,
    entered: u64,
    codes: Both<Vec<String>>,
    /// Made since the last run.
    fresh: Both<Vec<String>>,
}

impl People {
    pub(super) fn new(name: &str, seed: Seed) -> People {
        People { seed, name: name.to_owned(), entered: 0, codes: Both::default(), fresh: Both::default() }
    }

    fn value(&mut self) -> String {
        self.entered += 1;
        format!("{}{}", self.name, self.entered)
    }

    /// An edit on a side, of a record that may never have come there.
    pub(super) fn draw(&mut self, side: Side, deletes: bool) -> Edit {
        let known = self.codes.source.len() + self.codes.target.len();
        let code = |people: &mut People| {
            let all: Vec<&String> = people.codes.source.iter().chain(&people.codes.target).collect();
            (*people.seed.pick(&all)).clone()
        };
        match self.seed.below(100) {
            chance if chance < 25 || known == 0 => {
                let code = format!("{}-{known}", self.name);
                self.codes[side].push(code.clone());
                self.fresh[side].push(code.clone());
                Edit::Create { code, values: [self.value(), self.value()] }
            }
            chance if chance < 35 && deletes => Edit::Delete { code: code(self) },
            _ => {
                let (code, field) = (code(self), self.seed.index(2));
                Edit::Set { code, field, value: self.value() }
            }
        }
    }

    /// A record that one side has just made, made by the other as well.
    fn twin(&mut self, side: Side) -> Option<Edit> {
        let code = self.fresh[side.other()].pop()?;
        Some(Edit::Twin { code, values: [self.value(), self.value()] })
    }

    /// A run comes between: from now on it may have carried over what is there.
    fn step(&mut self) {
        self.fresh = Both::default();
    }
}

fn draw_terms(seed: &mut Seed) -> Terms {
    Terms {
        cursor: Both::from_fn(|_| seed.percent(60)),
        policy: seed.pick::<&str>(&["manual", "manual", "manual", "source", "target", "newest"]),
        deletes: seed.percent(70),
    }
}

/// What a side's history says the engine did since an entry.
async fn done_since(project: &Project, since: Both<i64>) -> Both<[u64; 3]> {
    let mut done = Both::default();
    for side in Side::BOTH {
        let entries = project.systems[side].history().await;
        let own = || entries.iter().filter(|entry| entry.n > since[side] && entry.engine);
        done[side] =
            ["INSERT", "UPDATE", "DELETE"].map(|action| own().filter(|entry| entry.action == action).count() as u64);
    }
    done
}

/// What a run did, and what it says it did.
pub(super) struct Watch {
    pub(super) doubts: Doubts,
    /// Where the histories stood at the end of the last run that ended.
    ended: Both<i64>,
    pub(super) broken: Vec<String>,
    pub(super) trace: Vec<String>,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch { doubts: Both::default(), ended: Both::default(), broken: Vec::new(), trace: Vec::new() }
    }

    pub(super) async fn now(project: &Project) -> Both<i64> {
        Both::new(project.systems.source.last_entry().await, project.systems.target.last_entry().await)
    }

    /// Takes in how a run ended that began when the histories stood at
    /// `began`, with nobody else at work.
    pub(super) async fn ended(&mut self, project: &Project, began: Both<i64>, ran: &Ran) {
        let now = Watch::now(project).await;
        let Some(code) = ran.code else {
            self.trace.push(format!("killed; the histories stand at {now:?}"));
            return;
        };
        let report = ran.report();
        self.trace.push(format!("ended with {code}: {report}"));
        // What runs without an end did is doubted until this one has looked.
        for side in Side::BOTH {
            if began[side] > self.ended[side] || now[side] > began[side] {
                self.doubts[side].push((self.ended[side] + 1, began[side]));
            }
        }
        let own = done_since(project, began).await;
        let with_doubt = done_since(project, self.ended).await;
        for side in Side::BOTH {
            for (index, what) in ["created", "updated", "deleted"].into_iter().enumerate() {
                let said = count(&report, side, what);
                if said < own[side][index] || said > with_doubt[side][index] {
                    self.broken.push(format!(
                        "a run says {said} were {what} in the {side}, and there it did {} ({} with those before it that were \
                         killed): {report}",
                        own[side][index], with_doubt[side][index],
                    ));
                }
            }
        }
        self.says_how_it_ended(code, &report);
        self.ended = now;
    }

    /// What is new: what was parked, came into conflict, or waits again for a
    /// decision because the one that was taken is out of date.
    fn says_how_it_ended(&mut self, code: i32, report: &Json) {
        let parked = Side::BOTH.iter().map(|side| count(report, *side, "parked") + count(report, *side, "failed"));
        let waits_again = |error: &&Json| error["reason"] == "conflict";
        let undecided = report["errors"].as_array().unwrap().iter().filter(waits_again).count() as u64;
        let news = parked.sum::<u64>() + report["conflicts"].as_u64().unwrap_or(0) + undecided;
        let expected = if news == 0 { (0, "success") } else { (1, "partial") };
        if (code, report["status"].as_str().unwrap_or_default()) != expected {
            self.broken.push(format!("a run ended with {code}: {report}"));
        }
    }
}

/// Runs until nothing moves any more; the last report.
pub(super) async fn rest(project: &Project, watch: &mut Watch) -> Json {
    for _ in 0..8 {
        let began = Watch::now(project).await;
        let ran = project.run_full();
        watch.ended(project, began, &ran).await;
        let report = ran.report();
        if written(&report) == 0 && ran.code == Some(0) {
            return report;
        }
    }
    watch.broken.push("it does not come to rest".into());
    Json::Null
}

/// Kills a run after a while of its own length; it may have ended before.
pub(super) fn run_and_kill(project: &Project, after: Duration) -> Ran {
    let mut child = project.start(&[]);
    std::thread::sleep(after);
    child.kill().unwrap();
    end(child)
}

async fn play(pair: Pair, number: u64) -> Watch {
    let mut seed = Seed::new(number);
    let terms = draw_terms(&mut seed);
    let project = Project::new(pair, &terms, true).await;
    let mut watch = Watch::new();
    watch.trace.push(format!("{pair:?} {terms:?}"));
    let mut people = People::new("v", Seed::new(seed.next()));
    let mut hands = Both::new(project.systems.source.hand().await, project.systems.target.hand().await);
    for _ in 0..6 {
        for _ in 0..2 + seed.below(10) {
            let side = *seed.pick(&Side::BOTH);
            let twin = if seed.percent(10) { people.twin(side) } else { None };
            let edit = twin.unwrap_or_else(|| people.draw(side, terms.deletes));
            watch.trace.push(format!("{side}: {edit:?}"));
            hands[side].edit(&edit).await;
        }
        people.step();
        let began = Watch::now(&project).await;
        // Runs take a tenth of a second; most of that reads and compares.
        let ran = if seed.percent(50) {
            run_and_kill(&project, Duration::from_millis(10 + seed.below(120)))
        } else {
            project.run()
        };
        watch.ended(&project, began, &ran).await;
        if seed.percent(30) {
            decide(&project, &mut seed, &mut watch);
        }
    }
    let last = rest(&project, &mut watch).await;
    if !last.is_null() {
        let broken = promises(&project, &terms, &last, watch.doubts.clone()).await;
        watch.broken.extend(broken);
    }
    watch
}

/// Somebody decides about some of the open conflicts.
fn decide(project: &Project, seed: &mut Seed, watch: &mut Watch) {
    let open = project.ask(&["conflicts", "list", "."]);
    for conflict in open["conflicts"].as_array().unwrap() {
        if seed.percent(50) {
            let id = conflict["id"].as_str().unwrap();
            let take = *seed.pick(&["source", "target"]);
            project.ask(&["conflicts", "resolve", ".", id, "--take", take]);
            watch.trace.push(format!("{take} is right in {conflict}"));
        }
    }
}

async fn seeds(pair: Pair) {
    let (seeds, traced) = match asked_number("ENGINE_SERVERS_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..asked_number("ENGINE_SERVERS_SEEDS").unwrap_or(SEEDS), asked("ENGINE_SERVERS_TRACE").is_some()),
    };
    for seed in seeds {
        let played = play(pair, seed).await;
        if traced || !played.broken.is_empty() {
            #[expect(clippy::print_stderr, reason = "the trace of a seed that is looked at, or of one that failed")]
            {
                eprintln!("seed {seed}\n{}", played.trace.join("\n"));
            }
        }
        assert_eq!(played.broken, Vec::<String>::new(), "broken with {pair:?} and ENGINE_SERVERS_SEED={seed}");
    }
}

#[tokio::test]
async fn every_promise_is_kept_between_sqlite_and_sqlite() {
    seeds(SQLITE_SQLITE).await;
}

#[tokio::test]
async fn every_promise_is_kept_between_sqlite_and_postgres() {
    seeds(SQLITE_POSTGRES).await;
}

#[tokio::test]
async fn every_promise_is_kept_between_postgres_and_postgres() {
    seeds(POSTGRES_POSTGRES).await;
}
