//! How long a run still takes, by what its steps took before on this Mac.

use std::collections::HashMap;
use std::time::Duration;

use crate::engine::event::{Event, PlannedStep};
use crate::plan::step::StepId;

/// Of so many hundredths of all the time that is planned, the last run must be known, or nothing is said.
const TRUSTED: u32 = 80;
/// What is said falls by no more than so many seconds in one: a step that ends early moves it quickly, and does not make it jump.
const STEEPEST: u32 = 5;

/// What is known of one step.
#[derive(Clone, Debug)]
struct Step {
    cost: Duration,
    is_known: bool,
    needs: Vec<usize>,
    started: Option<Duration>,
    has_ended: bool,
}

/// The steps that are ahead, and what was said last of the time that they take. Moments are counted from the start of the run.
#[derive(Clone, Debug, Default)]
pub struct Ahead {
    steps: Vec<Step>,
    places: HashMap<StepId, usize>,
    /// What was said, and when.
    said: Option<(Duration, Duration)>,
}

impl Ahead {
    /// Takes in an event that came at `now`.
    pub fn event(&mut self, event: &Event, now: Duration) {
        match event {
            Event::Planned { steps } => steps.iter().for_each(|step| self.place(step)),
            Event::StepStarted { step } => self.edit(step, |step| step.started = Some(now)),
            Event::StepDone { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepSkipped { step, .. } => self.edit(step, |step| step.has_ended = true),
            _ => return,
        }
        self.tick(now);
    }

    fn place(&mut self, step: &PlannedStep) {
        // What a step needs stands before it in every sound plan.
        let needs = step.needs.iter().filter_map(|need| self.places.get(need).copied()).collect();
        self.places.insert(step.id.clone(), self.steps.len());
        self.steps.push(Step {
            cost: Duration::from_secs(step.cost_seconds.into()),
            is_known: step.known,
            needs,
            started: None,
            has_ended: false,
        });
    }

    fn edit(&mut self, id: &StepId, change: impl FnOnce(&mut Step)) {
        if let Some(place) = self.places.get(id) {
            change(&mut self.steps[*place]);
        }
    }

    /// Lets the time pass: what is said falls, and never rises.
    pub fn tick(&mut self, now: Duration) {
        if !self.is_trusted() {
            return;
        }
        let found = self.longest_way(now);
        let said = match self.said {
            None => found,
            Some(_) if self.has_ended() => Duration::ZERO,
            Some((said, at)) => {
                let lowest = said.saturating_sub(now.saturating_sub(at) * STEEPEST);
                found.clamp(lowest.min(said), said)
            }
        };
        self.said = Some((said, now));
    }

    /// Returns how long the run still takes; none where too little is known of what it does. Nothing is left of a run that takes
    /// longer than the last one did.
    pub fn left(&self) -> Option<Duration> {
        self.said.map(|(said, _)| said)
    }

    fn has_ended(&self) -> bool {
        self.steps.iter().all(|step| step.has_ended)
    }

    fn is_trusted(&self) -> bool {
        let sum = |steps: &mut dyn Iterator<Item = &Step>| steps.map(|step| step.cost).sum::<Duration>();
        let all = sum(&mut self.steps.iter());
        let known = sum(&mut self.steps.iter().filter(|step| step.is_known));
        !all.is_zero() && known * 100 >= all * TRUSTED
    }

    /// Returns the longest way through what has not ended; gates may make it longer.
    fn longest_way(&self, now: Duration) -> Duration {
        let mut ends: Vec<Duration> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let begins = step.needs.iter().map(|need| ends[*need]).max().unwrap_or_default();
            let ran = step.started.map_or(Duration::ZERO, |started| now.saturating_sub(started));
            let rest = if step.has_ended { Duration::ZERO } else { step.cost.saturating_sub(ran) };
            ends.push(begins + rest);
        }
        ends.into_iter().max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::examples::{done, id, planned, start};
    use super::*;
    use crate::plan::step::Phase;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Steps by their costs, whether those are known, and the steps that each needs.
    fn plan(steps: &[(u32, bool, Vec<usize>)]) -> Event {
        let step = |(number, (cost, known, needs)): (usize, &(u32, bool, Vec<usize>))| PlannedStep {
            cost_seconds: *cost,
            known: *known,
            needs: needs.iter().map(|need| id(&format!("vm.start/{need}"))).collect(),
            ..planned(&format!("vm.start/{number}"), Phase::Host, "work")
        };
        Event::Planned { steps: steps.iter().enumerate().map(step).collect() }
    }

    #[test]
    fn the_longest_way_ahead_is_what_is_left() {
        let mut ahead = Ahead::default();
        ahead.event(&plan(&[(10, true, vec![]), (20, true, vec![0]), (5, true, vec![0])]), at(0));
        assert_eq!(ahead.left(), Some(at(30)));
        ahead.event(&start("vm.start/0"), at(0));
        ahead.tick(at(4));
        assert_eq!(ahead.left(), Some(at(26)));
        // It takes longer than it did: what is left stands still, and does not rise.
        ahead.tick(at(14));
        assert_eq!(ahead.left(), Some(at(20)));
        ahead.event(&done("vm.start/0", 15_000), at(15));
        ahead.event(&start("vm.start/1"), at(15));
        ahead.event(&done("vm.start/1", 1_000), at(16));
        // It was done 19 s early: what is left falls, five times as quickly as the time.
        assert_eq!(ahead.left(), Some(at(15)));
        ahead.event(&done("vm.start/2", 1_000), at(17));
        assert_eq!(ahead.left(), Some(at(0)));
    }

    #[test]
    fn nothing_is_said_where_too_little_is_known() {
        let mut ahead = Ahead::default();
        ahead.event(&plan(&[(70, true, vec![]), (30, false, vec![])]), at(0));
        ahead.tick(at(1));
        assert_eq!(ahead.left(), None);
        let mut ahead = Ahead::default();
        ahead.event(&plan(&[(80, true, vec![]), (20, false, vec![])]), at(0));
        assert_eq!(ahead.left(), Some(at(80)));
        assert_eq!(Ahead::default().left(), None);
    }

    proptest! {
        #[test]
        fn it_never_rises_never_jumps_and_ends_at_nothing(
            steps in proptest::collection::vec((0_u32..100, 0_usize..4, 0_u64..200), 1..12),
            looks in proptest::collection::vec(0_u64..60, 0..20),
        ) {
            let planned: Vec<_> = steps
                .iter()
                .enumerate()
                .map(|(number, (cost, back, _))| (*cost + 1, true, (number.saturating_sub(*back)..number).collect()))
                .collect();
            let mut ahead = Ahead::default();
            ahead.event(&plan(&planned), at(0));
            let mut now = at(0);
            let mut last = (ahead.left().unwrap(), now);
            let mut look = |ahead: &Ahead, now: Duration, is_last: bool| {
                let left = ahead.left().unwrap();
                let most = (now - last.1) * STEEPEST;
                let fine = left <= last.0 && (is_last || last.0 - left <= most);
                last = (left, now);
                fine
            };
            for (number, (.., takes)) in steps.iter().enumerate() {
                let name = format!("vm.start/{number}");
                ahead.event(&start(&name), now);
                for pause in looks.iter().map(|pause| at(*pause)).filter(|pause| *pause < at(*takes)) {
                    ahead.tick(now + pause.min(at(*takes)));
                    now += pause.min(at(*takes));
                    prop_assert!(look(&ahead, now, false));
                }
                now += at(*takes);
                ahead.event(&done(&name, 1), now);
                prop_assert!(look(&ahead, now, number + 1 == steps.len()));
            }
            prop_assert_eq!(ahead.left(), Some(Duration::ZERO));
        }
    }
}
