//! The stream of events is as docs/json.md says, each field of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::heal;
use crate::support::session::{Ended, Session};

/// What every event has.
const COMMON: [&str; 6] = ["schema", "at", "event", "ended", "total", "remaining"];

/// Reads the table of events: the fields of each by its name, and the fields of a planned step.
fn documented() -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let page = include_str!("../docs/json.md");
    let section = page.split("\n## Events\n").nth(1).expect("the page has that part");
    let section = section.split("\n## ").next().unwrap_or_default();
    let (mut events, mut of_steps) = (BTreeMap::new(), BTreeSet::new());
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split('|');
        let (names, fields) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let (own, inner) = fields.split_once('(').unwrap_or((fields, ""));
        of_steps.extend(quoted(inner));
        for name in quoted(names) {
            // A drill's is described by the one of `drill`.
            if name != "drilled" {
                events.insert(name, quoted(own));
            }
        }
    }
    (events, of_steps)
}

/// Returns what stands in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

fn lines(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[test]
fn every_event_has_the_fields_that_are_documented_and_no_others() {
    let (events, of_steps) = documented();
    let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: solo\n");
    let run = |words: &[&str]| session.clone().args(["--output", "json"]).args(words).run().exits(0);
    let (mut seen, mut told_of_the_rest) = (BTreeSet::new(), Vec::new());
    for words in ["up", "up", "destroy", "up"] {
        if told_of_the_rest.len() == 1 {
            heal::stop(&session, "gateway1");
        }
        told_of_the_rest.push(0);
        let all = lines(&run(&[words, "--yes"]));
        let (last, told) = all.split_last().expect("there are lines");
        assert_ne!(last["schema"], "fusionlab.events/1");
        let mut remaining = u64::MAX;
        for line in told {
            assert_eq!(line["schema"], "fusionlab.events/1", "{line}");
            let name = line["event"].as_str().expect("an event has a name").to_owned();
            let mut expected: BTreeSet<String> = COMMON.map(str::to_owned).into();
            expected.extend(events.get(&name).unwrap_or_else(|| panic!("{name} is not documented")).clone());
            assert_eq!(names(line), expected, "{line}");
            for step in line["steps"].as_array().into_iter().flatten() {
                assert_eq!(names(step), of_steps, "{step}");
            }
            if let Some(now) = line["remaining"].as_u64() {
                assert!(now <= remaining, "it rises: {line}");
                remaining = now;
                *told_of_the_rest.last_mut().expect("a run") += 1;
            }
            seen.insert(name);
        }
        let ends = told.iter().rev().find(|line| line["event"] == "step-done").expect("steps were done");
        assert!(ends["remaining"].is_null() || ends["remaining"] == 0, "{ends}");
    }
    assert!(told_of_the_rest[0] == 0, "nobody knows how long a first run takes");
    assert!(told_of_the_rest[1] > 0, "a machine that is started again takes what it took");
    assert!(told_of_the_rest[3] > 0, "and a lab that is made again what it took before it was gone");
    for name in ["planned", "step-held", "step-started", "waiting", "progress", "step-done", "checked"] {
        assert!(seen.contains(name), "{name} was not seen: {seen:?}");
    }
}
