//! What comes first: the steps' order by the time that everything behind them still takes, and the longest way of a plan.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::plan::kind::Kind;
use crate::plan::step::{Gate, Plan, Step, StepId};

/// How long steps take: as this lab's own last run of each, else as its other machines' runs of the same kind, else as that
/// kind took in labs that are gone, else as the plan supposes.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    by_step: BTreeMap<String, f64>,
    /// Mean seconds.
    by_kind: BTreeMap<Kind, f64>,
}

impl Costs {
    /// Takes in how many seconds each step took when it was last done, and what kinds of steps took in labs that are gone.
    pub fn learned(by_step: BTreeMap<String, f64>, of_gone: BTreeMap<Kind, f64>) -> Self {
        let mut by_kind = of_gone;
        by_kind.extend(means_by_kind(&by_step));
        Self { by_step, by_kind }
    }

    /// Returns how long a step is supposed to take.
    pub fn of(&self, step: &Step) -> Duration {
        self.last(step).map_or(Duration::from_secs(step.cost_seconds.into()), Duration::from_secs_f64)
    }

    /// Says whether that comes from runs on this Mac.
    pub fn knows(&self, step: &Step) -> bool {
        self.last(step).is_some()
    }

    fn last(&self, step: &Step) -> Option<f64> {
        let of_its_kind = || self.by_kind.get(&step.action.kind()).copied();
        let seconds = self.by_step.get(step.id.as_str()).copied().or_else(of_its_kind);
        seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
    }
}

/// Returns the mean seconds of each kind of step that was done. Drills are no kind of which one tells how long another takes.
pub fn means_by_kind(by_step: &BTreeMap<String, f64>) -> BTreeMap<Kind, f64> {
    let mut means: BTreeMap<Kind, (f64, u32)> = BTreeMap::new();
    for (step, seconds) in by_step {
        let Some(kind) = Kind::of_id(step).filter(|kind| *kind != Kind::Drill) else { continue };
        let (mean, count) = means.entry(kind).or_default();
        *count += 1;
        *mean += (seconds - *mean) / f64::from(*count);
    }
    means.into_iter().map(|(kind, (mean, _))| (kind, mean)).collect()
}

/// A plan as a graph, by the steps' places in it.
#[derive(Debug)]
pub struct Order {
    /// What each step needs, and what needs it.
    pub needs: Vec<Vec<usize>>,
    pub needed_by: Vec<Vec<usize>>,
    /// From a step's begin to the end of the longest way that leads on from it.
    pub remaining: Vec<Duration>,
}

impl Order {
    /// Reads the graph off a sound plan, in which what a step needs comes before it.
    pub fn of(plan: &Plan, costs: &Costs) -> Self {
        let places: HashMap<&StepId, usize> =
            plan.steps.iter().enumerate().map(|(place, step)| (&step.id, place)).collect();
        let place = |id: &StepId| *places.get(id).expect("plan::lint has refused needs that are not there");
        let needs: Vec<Vec<usize>> =
            plan.steps.iter().map(|step| step.needs.iter().map(place).collect()).collect();
        let mut needed_by = vec![Vec::new(); plan.steps.len()];
        for (step, needs) in needs.iter().enumerate() {
            needs.iter().for_each(|need| needed_by[*need].push(step));
        }
        let mut remaining = vec![Duration::ZERO; plan.steps.len()];
        for (place, step) in plan.steps.iter().enumerate().rev() {
            let behind = needed_by[place].iter().map(|next| remaining[*next]).max().unwrap_or_default();
            remaining[place] = costs.of(step) + behind;
        }
        Self { needs, needed_by, remaining }
    }

    /// Returns the longest way through a plan and how long it is: no schedule can be shorter.
    pub fn critical_path<'a>(&self, plan: &'a Plan) -> (Duration, Vec<&'a Step>) {
        let longest = |places: &mut dyn Iterator<Item = usize>| {
            // Of several equally long ways, the one that comes first in the plan.
            places.max_by_key(|place| (self.remaining[*place], std::cmp::Reverse(*place)))
        };
        let mut way = Vec::new();
        let mut next = longest(&mut (0..plan.steps.len()));
        let length = next.map(|place| self.remaining[place]).unwrap_or_default();
        while let Some(place) = next {
            way.push(&plan.steps[place]);
            next = longest(&mut self.needed_by[place].iter().copied());
        }
        (length, way)
    }

    /// Returns how long the slowest gate takes to let all its steps through, with the shortest ways before and behind it: no
    /// schedule is shorter than that either. `room` is how many steps a gate lets in at a time.
    pub fn slowest_gate(&self, plan: &Plan, costs: &Costs, room: impl Fn(&Gate) -> usize) -> Duration {
        let mut begins = vec![Duration::ZERO; plan.steps.len()];
        let mut queues: HashMap<&Gate, Vec<usize>> = HashMap::new();
        for (place, step) in plan.steps.iter().enumerate() {
            let ends = |need: &usize| begins[*need] + costs.of(&plan.steps[*need]);
            begins[place] = self.needs[place].iter().map(ends).max().unwrap_or_default();
            step.gate.iter().for_each(|gate| queues.entry(gate).or_default().push(place));
        }
        let length = |(gate, queue): (&Gate, Vec<usize>)| {
            let cost = |place: &usize| costs.of(&plan.steps[*place]);
            let inside: Duration = queue.iter().map(cost).sum();
            let before = queue.iter().map(|place| begins[*place]).min().unwrap_or_default();
            let behind =
                queue.iter().map(|place| self.remaining[*place] - cost(place)).min().unwrap_or_default();
            before + inside / u32::try_from(room(gate)).unwrap_or(u32::MAX) + behind
        };
        queues.into_iter().map(length).max().unwrap_or_default()
    }
}

/// Returns how long a plan would take one step after the other.
pub fn one_at_a_time(plan: &Plan, costs: &Costs) -> Duration {
    plan.steps.iter().map(|step| costs.of(step)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{plan, start};
    use crate::plan::step::Action;

    fn of(node: &str, needs: &[&str], cost_seconds: u32) -> Step {
        Step { cost_seconds, ..start(node, needs) }
    }

    #[test]
    fn a_gate_that_lets_few_in_takes_longer_than_the_longest_way() {
        let gated = |node| Step { gate: Some(Gate::Guest), ..of(node, &["vm.start/a"], 4) };
        let plan = plan([of("a", &[], 1), gated("b"), gated("c"), gated("d"), of("e", &["vm.start/d"], 2)]);
        let (order, costs) = (Order::of(&plan, &Costs::default()), Costs::default());
        assert_eq!(order.critical_path(&plan).0.as_secs(), 7);
        assert_eq!(
            order.slowest_gate(&plan, &costs, |_| 1).as_secs(),
            13,
            "behind the last one may be nothing"
        );
        assert_eq!(order.slowest_gate(&plan, &costs, |_| 3).as_secs(), 5);
    }

    #[test]
    fn the_longest_way_is_that_of_the_costs_and_not_that_of_the_most_steps() {
        let plan = plan([
            of("a", &[], 1),
            of("b", &["vm.start/a"], 1),
            of("c", &["vm.start/b"], 1),
            of("d", &["vm.start/a"], 9),
        ]);
        let costs = Costs::default();
        let order = Order::of(&plan, &costs);
        let (length, way) = order.critical_path(&plan);
        assert_eq!(length, Duration::from_secs(10));
        assert_eq!(way.iter().map(|step| step.id.as_str()).collect::<Vec<_>>(), ["vm.start/a", "vm.start/d"]);
        assert_eq!(one_at_a_time(&plan, &costs), Duration::from_secs(12));
        assert_eq!(order.remaining.iter().map(Duration::as_secs).collect::<Vec<_>>(), [10, 2, 1, 9]);
    }

    #[test]
    fn costs_come_from_the_step_itself_then_from_its_kind_then_from_labs_that_are_gone_then_from_the_plan() {
        let history = [("vm.start/a", 4.0), ("vm.start/b", 8.0), ("kube.endpoint", 2.0)];
        let gone = BTreeMap::from([(Kind::VmStart, 99.0), (Kind::VmClone, 7.0)]);
        let costs = Costs::learned(history.map(|(step, seconds)| (step.to_owned(), seconds)).into(), gone);
        let seconds = |step: &Step| costs.of(step).as_secs_f64();
        assert_eq!(seconds(&of("a", &[], 30)), 4.0);
        assert_eq!(seconds(&of("new", &[], 30)), 6.0);
        let nodes = Step::new(Action::AwaitNodes, "wait", "a test wants it");
        assert!(costs.knows(&of("a", &[], 30)) && costs.knows(&of("new", &[], 30)) && !costs.knows(&nodes));
        assert_eq!(seconds(&nodes), f64::from(nodes.cost_seconds));
        let clone = Step::new(Action::CloneVm { node: "a".to_owned() }, "clone", "a test wants it");
        assert!(costs.knows(&clone) && seconds(&clone) == 7.0, "as in labs that are gone");
        assert_eq!(
            costs.by_kind.len(),
            3,
            "the lab's two kinds, and one that is known of labs that are gone alone"
        );
        let drills = BTreeMap::from([("drill.gateway-vm".to_owned(), 5.0)]);
        assert!(means_by_kind(&drills).is_empty());
        assert_eq!(Costs::default().of(&of("a", &[], 30)).as_secs(), 30);
    }

    #[test]
    fn an_empty_plan_takes_no_time() {
        let plan = Plan::default();
        let order = Order::of(&plan, &Costs::default());
        assert_eq!(order.critical_path(&plan), (Duration::ZERO, Vec::new()));
    }
}
