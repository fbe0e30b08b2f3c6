//! When mappings are due, and what waits for what.

mod serving;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::board::{Board, Job, Place};
use super::{History, Timetable};
use crate::config;
use crate::config::model::Schedule;
use crate::diagnostic::Diagnostics;
use crate::record::Both;
use crate::state::RunStatus;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn timetable(yaml: &str) -> Timetable {
    let mut diagnostics = Diagnostics::new();
    let file: Arc<Path> = Arc::from(Path::new("test.yaml"));
    let document = config::parse(&file, yaml, &mut diagnostics).remove(0);
    let schedule = Schedule::decode(&document, &mut diagnostics).expect("a schedule");
    assert_eq!(diagnostics.into_sorted(), [], "{yaml}");
    Timetable::of(&schedule).expect("the clock has a part in it")
}

/// The times at which a mapping runs between two times, each run a second long.
fn times(timetable: &Timetable, from: &str, until: &str) -> Vec<DateTime<Utc>> {
    let (mut now, until, since) = (at(from), at(until), at(from));
    let (mut times, mut history) = (Vec::new(), History::default());
    loop {
        now = timetable.next("m", &history, since).expect("it comes again").max(now);
        if now >= until {
            return times;
        }
        times.push(now);
        history = history.with(RunStatus::Success, now, now + TimeDelta::seconds(1));
    }
}

fn ran(began: &str, ended: &str) -> History {
    History::default().with(RunStatus::Success, at(began), at(ended))
}

#[test]
fn an_interval_goes_from_start_to_start() {
    let every = timetable("every: 5m");
    let now = at("2026-03-01T12:00:00Z");
    assert_eq!(every.next("m", &History::default(), now), Some(now), "what never ran runs at once");
    let history = ran("2026-03-01T12:00:00Z", "2026-03-01T12:01:00Z");
    assert_eq!(every.next("m", &history, now), Some(at("2026-03-01T12:05:00Z")));
}

#[test]
fn a_missed_time_runs_once_or_not_at_all() {
    let since = at("2026-03-04T12:02:00Z");
    let history = ran("2026-03-01T12:00:00Z", "2026-03-01T12:01:00Z");
    for (yaml, next) in [
        ("every: 5m", "2026-03-01T12:05:00Z"),
        ("{ every: 5m, missed: skip }", "2026-03-04T12:05:00Z"),
        ("cron: '0 6 * * *'", "2026-03-02T06:00:00Z"),
        ("{ cron: '0 6 * * *', missed: skip }", "2026-03-05T06:00:00Z"),
    ] {
        assert_eq!(timetable(yaml).next("m", &history, since), Some(at(next)), "{yaml}");
    }
    // However many were missed, one run makes up for them.
    let history = history.with(RunStatus::Success, since, since + TimeDelta::seconds(1));
    assert_eq!(timetable("cron: '0 6 * * *'").next("m", &history, since), Some(at("2026-03-05T06:00:00Z")));
    // A run that took too long: the next one begins where it ends, or at the next time.
    let long = ran("2026-03-04T12:00:00Z", "2026-03-04T12:12:00Z");
    assert_eq!(timetable("every: 5m").next("m", &long, since), Some(at("2026-03-04T12:05:00Z")));
    assert_eq!(timetable("{ every: 5m, missed: skip }").next("m", &long, since), Some(at("2026-03-04T12:15:00Z")));
}

#[test]
fn a_cron_follows_its_zone_through_both_changes_of_the_clock() {
    // On 29 March at 2:00 it is 3:00 in Paris, on 25 October at 3:00 it is 2:00.
    for night in ["30 2 * * *", "0 3 * * *", "30 1 * * *"] {
        let night = timetable(&format!("{{ cron: '{night}', timezone: Europe/Paris }}"));
        for (from, until) in
            [("2026-03-27T12:00:00Z", "2026-04-01T12:00:00Z"), ("2026-10-23T12:00:00Z", "2026-10-28T12:00:00Z")]
        {
            let times = times(&night, from, until);
            assert_eq!(times.len(), 5, "once a day: {times:?}");
        }
    }
    let noon = timetable("{ cron: '0 12 * * *', timezone: Europe/Paris }");
    let utc: Vec<String> =
        times(&noon, "2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z").iter().map(DateTime::to_rfc3339).collect();
    assert_eq!(utc, ["2026-03-28T11:00:00+00:00", "2026-03-29T10:00:00+00:00"]);
    // What runs by the hour runs in each hour there is.
    let hourly = timetable("{ cron: '0 * * * *', timezone: Europe/Paris }");
    assert_eq!(times(&hourly, "2026-10-24T22:00:00Z", "2026-10-25T22:59:00Z").len(), 24);
    assert_eq!(times(&hourly, "2026-03-28T23:30:00Z", "2026-03-29T21:30:00Z").len(), 22);
}

#[test]
fn jitter_is_the_same_for_all_who_ask_and_not_too_much() {
    let since = at("2026-03-01T12:00:00Z");
    let shaken = timetable("{ cron: '0 6 * * *', jitter: 30s }");
    let due = at("2026-03-02T06:00:00Z");
    let shifts: Vec<TimeDelta> = (0..50)
        .map(|number| shaken.next(&format!("m{number}"), &History::default(), since).expect("it comes") - due)
        .collect();
    assert!(shifts.iter().all(|shift| (0..=30).contains(&shift.num_seconds())), "{shifts:?}");
    assert!(shifts.iter().max() > shifts.iter().min(), "they do not all start at once");
    assert_eq!(shaken.next("m7", &History::default(), since), Some(due + shifts[7]));
}

#[test]
fn what_fails_again_and_again_is_tried_less_often() {
    let every = timetable("every: 10s");
    let (mut history, mut now) = (History::default(), at("2026-03-01T12:00:00Z"));
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let ended = now + TimeDelta::seconds(1);
        history = history.with(RunStatus::Failure, now, ended);
        now = every.next("m", &history, now).expect("it comes again");
        pauses.push((now - ended).num_seconds());
    }
    assert_eq!(pauses, [9, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    history = history.with(RunStatus::Partial, now, now);
    assert_eq!((history.failures, every.next("m", &history, now)), (0, Some(now + TimeDelta::seconds(10))));
    // A cron keeps to its times.
    let cron = timetable("cron: '* * * * *'");
    let failed = (0..3).fold(History::default(), |history, _| history.with(RunStatus::Failure, now, now));
    let next = cron.next("m", &failed, now).expect("it comes again");
    assert!(next > now + TimeDelta::minutes(2) && next.timestamp() % 60 == 0, "{next}");
}

#[test]
fn a_run_that_was_interrupted_has_not_been() {
    let every = timetable("every: 1h");
    let history = ran("2026-03-01T12:00:00Z", "2026-03-01T12:01:00Z");
    let now = at("2026-03-01T13:00:00Z");
    assert_eq!(history.with(RunStatus::Interrupted, now, now), history);
    assert_eq!(every.next("m", &history, now), Some(now));
}

fn place(object: &str, address: &str, system: &str) -> Place {
    let system = (!system.is_empty()).then(|| system.to_owned());
    Place { object: object.to_owned(), address: address.to_owned(), system }
}

fn job(mapping: &str, yaml: &str, after: &[&str], group: usize) -> Job {
    Job {
        mapping: mapping.to_owned(),
        timetable: (!yaml.is_empty()).then(|| timetable(yaml)),
        after: after.iter().map(|&name| name.to_owned()).collect(),
        objects: Both::new(place(&format!("object {group}"), "", ""), place(&format!("{mapping} there"), "", "")),
        connections: Both::new(format!("from {group}"), format!("to {group}")),
        history: History::default(),
    }
}

#[test]
fn what_is_due_together_runs_in_the_order_of_after() {
    let now = at("2026-03-01T12:00:00Z");
    let jobs = vec![
        job("sellers", "every: 5m", &[], 0),
        job("customers", "every: 1m", &["sellers"], 1),
        job("orders", "", &["sellers", "customers"], 2),
    ];
    let mut board = Board::new(jobs, now, 4);
    assert_eq!(board.begin(now), ["sellers"]);
    assert!(board.begin(now).is_empty(), "the others wait for it");
    let then = now + TimeDelta::seconds(5);
    board.end("sellers", RunStatus::Partial, now, then);
    assert_eq!(board.begin(then), ["customers"]);
    let later = then + TimeDelta::seconds(5);
    board.end("customers", RunStatus::Success, then, later);
    assert_eq!(board.begin(later), ["orders"], "all of its list have run");
    board.end("orders", RunStatus::Success, later, later);
    // One of its list has run since, not both.
    let minute = now + TimeDelta::minutes(2);
    assert_eq!(board.begin(minute), ["customers"]);
    board.end("customers", RunStatus::Success, minute, minute);
    assert!(board.begin(minute).is_empty());
    // What failed sets off nothing.
    let five = now + TimeDelta::minutes(5);
    assert_eq!(board.begin(five), ["sellers"]);
    board.end("sellers", RunStatus::Failure, five, five);
    let begun = board.begin(five);
    assert_eq!(begun, ["customers"], "it goes by the clock as well");
    board.end("customers", RunStatus::Success, five, five);
    assert!(board.begin(five).is_empty());
}

#[test]
fn one_mapping_and_one_object_run_once_at_a_time() {
    let now = at("2026-03-01T12:00:00Z");
    let jobs = vec![job("a", "every: 1s", &[], 0), job("b", "every: 1s", &[], 0), job("c", "every: 1s", &[], 1)];
    let mut board = Board::new(jobs, now, 9);
    assert_eq!(board.begin(now), ["a", "c"]);
    let later = now + TimeDelta::minutes(1);
    assert!(board.begin(later).is_empty());
    board.end("a", RunStatus::Success, now, later);
    assert_eq!(board.begin(later), ["b"], "who has waited longest");
    // It goes on to its end, though no file has it any more; and nothing that shares its object begins.
    board.replace(vec![job("a", "every: 1s", &[], 0), job("d", "every: 1s", &[], 2)], later);
    let next = later + TimeDelta::minutes(1);
    assert_eq!(board.begin(next), ["d"]);
    board.end("b", RunStatus::Success, later, next);
    assert_eq!(board.begin(next), ["a"]);
}

#[test]
fn what_fails_takes_no_place_of_what_does_not() {
    let now = at("2026-03-01T12:00:00Z");
    let names: Vec<String> = (0..6).map(|number| format!("m{number}")).collect();
    let jobs = names.iter().enumerate().map(|(group, name)| job(name, "every: 1s", &[], group)).collect();
    let mut board = Board::new(jobs, now, 2);
    assert_eq!(board.begin(now).len(), 2);
    for failing in ["m0", "m1"] {
        board.end(failing, RunStatus::Failure, now, now);
    }
    let later = now + TimeDelta::seconds(10);
    let begun = board.begin(later);
    assert_eq!(begun.len(), 4, "two that failed, and two besides: {begun:?}");
}

#[test]
fn one_system_takes_not_every_place() {
    let now = at("2026-03-01T12:00:00Z");
    let on = |name: &str, group: usize, system: &str| {
        let connections = Both::new("erp".to_owned() + system, "shop".to_owned() + system);
        Job { connections, ..job(name, "every: 1s", &[], group) }
    };
    let jobs = vec![on("a", 0, ""), on("b", 1, ""), on("c", 2, ""), on("d", 3, " of another")];
    assert_eq!(Board::new(jobs, now, 3).begin(now), ["a", "b", "d"]);
}

#[test]
fn the_board_sleeps_until_something_is_due() {
    let now = at("2026-03-01T12:00:00Z");
    let mut board = Board::new(vec![job("a", "every: 10s", &[], 0)], now, 1);
    board.begin(now);
    assert_eq!(board.until_next(now), None, "what runs is not waited for by the clock");
    let (next, failures) = board.end("a", RunStatus::Success, now, now);
    assert_eq!((next, failures), (Some(now + TimeDelta::seconds(10)), 0));
    assert_eq!(board.until_next(now), Some(Duration::from_secs(10)));
}

#[test]
fn who_is_always_at_it_holds_up_nobody_for_ever() {
    let mut now = at("2026-03-01T12:00:00Z");
    let jobs = vec![job("a", "every: 1m", &[], 0), job("b", "", &["a"], 1), job("c", "every: 1h", &["a"], 2)];
    let mut board = Board::new(jobs, now, 4);
    let mut begun = board.begin(now);
    for _ in 0..2 {
        let began = now;
        now += TimeDelta::minutes(3);
        board.end("a", RunStatus::Success, began, now);
        begun.extend(board.begin(now));
    }
    assert_eq!(begun[0], "a");
    assert!(begun.contains(&"b".to_owned()) && begun.contains(&"c".to_owned()), "{begun:?}");
}

#[test]
fn an_edit_drops_no_time_that_is_due() {
    let began = at("2026-03-01T12:00:00Z");
    let nightly = || job("nightly", "cron: '0 2 * * *'", &[], 0);
    let mut board = Board::new(vec![nightly(), job("long", "every: 1m", &[], 0)], began, 4);
    assert_eq!(board.begin(began), ["long"]);
    let night = at("2026-03-02T02:01:00Z");
    assert!(board.begin(night).is_empty(), "it waits for the object");
    board.replace(vec![nightly(), job("new", "cron: '0 1 * * *'", &[], 1)], night);
    board.end("long", RunStatus::Success, began, night);
    assert_eq!(board.begin(night), ["nightly"], "and what is new has missed nothing");
}

#[test]
fn a_clock_that_is_set_back_puts_nobody_off() {
    let ahead = at("2026-03-02T12:00:00Z");
    let mut board = Board::new(vec![job("a", "every: 10m", &[], 0), job("b", "", &["a"], 1)], ahead, 4);
    board.begin(ahead);
    board.end("a", RunStatus::Success, ahead, ahead);
    let right = at("2026-03-01T12:00:00Z");
    assert_eq!(board.begin(right), ["b"]);
    assert_eq!(board.until_next(right), Some(Duration::from_mins(10)));
}

#[test]
fn what_never_runs_by_itself_is_known() {
    let jobs = [
        job("a", "every: 10m", &[], 0),
        job("b", "", &["a"], 1),
        job("c", "", &["b", "a"], 2),
        job("d", "", &[], 3),
        job("e", "", &["d"], 4),
        job("f", "", &["another"], 5),
    ];
    assert_eq!(super::idle(&jobs), ["d", "e", "f"]);
}

/// Issue 3: two that took turns on its objects kept a third from ever running.
#[test]
fn who_needs_two_objects_gets_both_in_the_end() {
    let mut now = at("2026-03-01T12:00:00Z");
    let on = |mapping: &str, source: &str, target: &str| Job {
        objects: Both::new(place(source, "", ""), place(target, "", "")),
        ..job(mapping, "every: 5m", &[], 0)
    };
    let ran = History::default().with(RunStatus::Success, now - TimeDelta::minutes(5), now);
    let both = Job { history: ran, ..on("both", "a", "b") };
    let mut board = Board::new(vec![on("p", "a", "x"), on("q", "b", "y"), both], now, 4);
    assert_eq!(board.begin(now), ["p", "q"]);
    let began = now;
    for (ends, expected) in [("p", &[][..]), ("q", &["both"][..])] {
        now += TimeDelta::minutes(6);
        board.end(ends, RunStatus::Success, began, now);
        assert_eq!(board.begin(now), expected, "after {ends}");
    }
}

#[test]
fn objects_are_told_apart_by_what_is_known_of_their_systems() {
    let known = place("items", "localhost:5432", "postgres:1");
    for (object, address, system, is_same) in [
        ("items", "127.0.0.1:5432", "postgres:1", true),
        ("items", "localhost:5432", "postgres:2", false),
        ("items", "localhost:5432", "", true),
        ("items", "another:5432", "", false),
        ("goods", "localhost:5432", "postgres:1", false),
    ] {
        assert_eq!(known.is_same(&place(object, address, system)), is_same, "{object} {address} {system}");
    }
}

/// Issue 3: a mapping that was put right waited as long as one that is wrong.
#[test]
fn an_edit_has_what_failed_tried_again() {
    let began = at("2026-03-01T12:00:00Z");
    let mut board = Board::new(vec![job("a", "every: 1m", &[], 0)], began, 4);
    let mut now = began;
    for _ in 0..8 {
        now += TimeDelta::hours(2);
        assert_eq!(board.begin(now), ["a"]);
        board.end("a", RunStatus::Failure, now, now);
    }
    assert_eq!(board.until_next(now), Some(Duration::from_hours(1)));
    board.replace(vec![job("a", "every: 1m", &[], 0)], now);
    assert_eq!(board.until_next(now), Some(Duration::from_mins(1)));
    now += TimeDelta::minutes(1);
    board.begin(now);
    board.end("a", RunStatus::Failure, now, now);
    assert_eq!(board.until_next(now), Some(Duration::from_hours(1)), "it was wrong all the same");
}

/// Issue 3: each with a jitter of its own, the one that comes after came first.
#[test]
fn jitter_turns_no_order_round() {
    let since = at("2026-03-01T12:00:01Z");
    let shaken = "{ cron: '*/5 * * * *', jitter: 4m }";
    let mut board = Board::new(vec![job("a", shaken, &[], 0), job("b", shaken, &["a"], 1)], since, 4);
    let (mut now, mut begun) = (since, Vec::new());
    for _ in 0..3600 {
        now += TimeDelta::seconds(1);
        for mapping in board.begin(now) {
            board.end(&mapping, RunStatus::Success, now, now);
            begun.push(mapping);
        }
    }
    assert!(begun.len() >= 22, "{begun:?}");
    assert!(begun.chunks(2).all(|pair| pair[0] == "a" && pair.get(1).is_none_or(|then| then == "b")), "{begun:?}");
}
