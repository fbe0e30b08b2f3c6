//! Follows the README as a stranger would: runs every command of its tour, in
//! order, and compares what is printed with what it shows. A line `…` stands
//! for any lines; times, durations and trailing blanks are not compared.

use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../README.md");

#[test]
fn the_tour_prints_what_it_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-R").arg(root.join("mappings")).arg(place.path()).status();
    assert!(copied.unwrap().success());
    for left in ["data", ".engine"] {
        // Somebody may have followed the README in place.
        drop(std::fs::remove_dir_all(place.path().join("mappings").join(left)));
    }
    let (_, tour) = README.split_once("## Two minutes\n").expect("the README has its tour");
    let (tour, _) = tour.split_once("\n## ").expect("the tour ends");
    let mut steps = 0;
    for step in tour.split("```sh\n").skip(1) {
        let (commands, rest) = step.split_once("```\n").expect("the commands' block is closed");
        let (_, shown) = rest.split_once("```text\n").expect("what the commands print is shown");
        let (shown, _) = shown.split_once("```").expect("the shown block is closed");
        let output = Command::new("bash")
            .args(["-c", &commands.replace("cargo run --release --", "\"$ENGINE\"")])
            .current_dir(place.path())
            .env("ENGINE", env!("CARGO_BIN_EXE_engine"))
            .env_remove("ENGINE_STATE")
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let troubles = String::from_utf8_lossy(&output.stderr);
        if let Some(missing) = first_missing(shown, &printed) {
            panic!("{commands}\nshould print\n\n{missing}\n\nbut prints\n\n{printed}\n{troubles}");
        }
        steps += 1;
    }
    assert!(steps > 4, "the tour has {steps} steps");
}

#[test]
fn what_one_writes_is_valid() {
    let (_, written) = README.split_once("```yaml\n").expect("the README shows a mapping");
    let (written, _) = written.split_once("```").expect("the mapping's block is closed");
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("all.yaml"), written).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_engine")).arg("validate").arg(place.path()).output().unwrap();
    let troubles = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{troubles}", String::from_utf8_lossy(&output.stdout));
}

/// The first shown line that is not printed where it should be; none where all are.
fn first_missing(shown: &str, printed: &str) -> Option<String> {
    let (shown, printed) = (lines(shown), lines(printed));
    let mut left = printed.iter();
    let mut skips = false;
    for line in &shown {
        if line.trim() == "…" {
            skips = true;
            continue;
        }
        let found = if skips { left.any(|printed| printed == line) } else { left.next() == Some(line) };
        if !found {
            return Some(line.clone());
        }
        skips = false;
    }
    if skips { None } else { left.next().map(|more| format!("nothing more, instead of: {more}")) }
}

/// The lines that are not blank, without what differs from one run to the next.
fn lines(text: &str) -> Vec<String> {
    let kept = text.lines().map(|line| without_time(without_duration(line.trim_end())).to_owned());
    kept.filter(|line| !line.is_empty()).collect()
}

/// `customers: all well (12 ms)` without its end.
fn without_duration(line: &str) -> &str {
    match line.rsplit_once(" (") {
        Some((before, took)) if took.ends_with("s)") && took.starts_with(|c: char| c.is_ascii_digit()) => before,
        _ => line,
    }
}

/// `  2026-03-01 10:04:12 UTC  updated` without its beginning.
fn without_time(line: &str) -> &str {
    match line.split_once(" UTC  ") {
        Some((time, after)) if time.trim_start().starts_with("20") => after,
        _ => line,
    }
}
