//! One JSON object a line on standard output, with a versioned schema.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde::Serialize;

use super::Reporter;
use super::ahead::Ahead;
use super::speed::Speed;
use crate::engine::event::Event;
use crate::host::clock;
use crate::plan::step::StepId;

/// The schema's name; the number rises when a field changes its meaning or goes away.
pub const SCHEMA: &str = "fusionlab.events/1";

/// Writes lines to a stream.
pub struct Json<W> {
    to: W,
    ended: BTreeSet<StepId>,
    total: usize,
    speeds: BTreeMap<StepId, Speed>,
    ahead: Ahead,
    started: clock::Instant,
}

/// What a transfer's progress says besides the bytes.
#[derive(Serialize)]
struct Pace {
    /// Bytes in a second.
    rate: Option<u64>,
    /// Seconds.
    left: Option<u64>,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    /// UTC.
    at: String,
    /// Steps that have ended, of all that are planned.
    ended: usize,
    total: usize,
    /// Seconds to the end of the last step; none where this lab's own runs do not tell.
    remaining: Option<u64>,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(flatten)]
    pace: Option<Pace>,
}

impl<W: Write + Send> Json<W> {
    pub fn new(to: W) -> Self {
        let (ended, speeds) = (BTreeSet::new(), BTreeMap::new());
        Self { to, ended, total: 0, speeds, ahead: Ahead::default(), started: clock::monotonic() }
    }

    fn pace(&mut self, event: &Event) -> Option<Pace> {
        let Event::Progress { step, done, total } = event else { return None };
        let now = self.started.elapsed();
        let speed = self.speeds.entry(step.clone()).or_default();
        speed.take(*done, now);
        let left = total.and_then(|total| speed.left(total, now));
        Some(Pace { rate: speed.rate(now), left: left.map(|left| left.as_secs()) })
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Planned { steps } => self.total += steps.len(),
            Event::StepDone { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepSkipped { step, .. } => {
                self.ended.insert(step.clone());
            }
            _ => {}
        }
        let pace = self.pace(event);
        let now = self.started.elapsed();
        self.ahead.event(event, now);
        self.ahead.tick(now);
        let line = Line {
            schema: SCHEMA,
            at: at(clock::now_ms()),
            ended: self.ended.len(),
            total: self.total,
            remaining: self.ahead.left().map(|left| left.as_secs()),
            event,
            pace,
        };
        let text = serde_json::to_string(&line).expect("an event has string keys and finite numbers");
        // A reader that went away must not stop the run.
        let _ = writeln!(self.to, "{text}").and_then(|()| self.to.flush());
    }

    fn finish(&mut self) {
        let _ = self.to.flush();
    }
}

/// Returns a moment in UTC to the millisecond: `2026-08-01T10:03:07.250Z`.
fn at(unix_ms: u64) -> String {
    let seconds = clock::rfc3339(unix_ms / 1000);
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), unix_ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::super::examples::{done, id, plan, start};
    use super::*;

    #[test]
    fn times_are_utc_to_the_millisecond() {
        assert_eq!(at(1_785_578_587_050), "2026-08-01T10:03:07.050Z");
    }

    #[test]
    fn progress_says_how_quickly_it_goes_once_that_is_known() {
        let mut json = Json::new(Vec::new());
        json.event(&Event::Progress { step: id("image.fetch"), done: 5, total: Some(10) });
        let line: serde_json::Value = serde_json::from_slice(&json.to).unwrap();
        assert_eq!((&line["done"], &line["total"]), (&5.into(), &10.into()));
        let fields = line.as_object().unwrap();
        assert!(fields["rate"].is_null() && fields["left"].is_null(), "{line}");
    }

    #[test]
    fn each_line_is_an_object_with_schema_time_and_count() {
        let mut json = Json::new(Vec::new());
        for event in [plan(), start("network.apply"), done("network.apply", 1234)] {
            json.event(&event);
        }
        let text = String::from_utf8(json.to).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines.iter().all(|line| line["schema"] == SCHEMA && line["at"].as_str().unwrap().ends_with('Z'))
        );
        assert_eq!(lines[2]["event"], "step-done");
        assert_eq!(lines[2]["step"], "network.apply");
        assert_eq!(lines[2]["took"], 1.234);
        assert_eq!((&lines[2]["ended"], &lines[2]["total"]), (&1.into(), &12.into()));
    }
}
