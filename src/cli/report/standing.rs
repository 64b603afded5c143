//! What stands after a run that did not get through: how far each machine came, and what comes next there.

use super::board::{CLUSTER_ROW, row_of};
use super::summary::{End, StepRun, Summary};

/// How far the steps of one machine, of the Mac or of the cluster came.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reached {
    All,
    /// The kind of the last step that was done, if any was, and of the first one that was not.
    Upto {
        last: Option<String>,
        next: String,
        failed: bool,
    },
}

/// Returns a line for all that came equally far, the complete ones first, the cluster last; nothing if every step was done.
pub fn lines(summary: &Summary) -> Vec<String> {
    let mut places: Vec<(&str, Vec<&StepRun>)> = Vec::new();
    for run in &summary.steps {
        let place = row_of(&run.planned);
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, steps)) => steps.push(run),
            None => places.push((place, vec![run])),
        }
    }
    let mut groups: Vec<(Reached, Vec<&str>)> = Vec::new();
    for (place, steps) in places {
        let reached = reached(&steps);
        match groups.iter_mut().find(|(known, _)| *known == reached) {
            Some((_, names)) => names.push(place),
            None => groups.push((reached, vec![place])),
        }
    }
    if groups.iter().all(|(reached, _)| *reached == Reached::All) {
        return Vec::new();
    }
    groups.sort_by_key(|(reached, names)| (*reached != Reached::All, names == &[CLUSTER_ROW]));
    groups.into_iter().map(|(reached, names)| format!("{}: {}", names.join(", "), words(&reached))).collect()
}

/// Returns how many steps are left.
pub fn left(summary: &Summary) -> usize {
    summary.steps.iter().filter(|run| !is_done(run)).count()
}

fn reached(steps: &[&StepRun]) -> Reached {
    let Some(next) = steps.iter().find(|run| !is_done(run)) else { return Reached::All };
    // A failure says more than a step that merely was not reached.
    let failed = steps.iter().find(|run| matches!(run.end, End::Failed { .. }));
    let last = steps.iter().rev().find(|run| is_done(run));
    let kind = |run: &&StepRun| run.planned.id.without_node().to_owned();
    Reached::Upto { last: last.map(kind), next: kind(failed.unwrap_or(next)), failed: failed.is_some() }
}

fn words(reached: &Reached) -> String {
    match reached {
        Reached::All => "done".to_owned(),
        Reached::Upto { last, next, failed } => {
            let done = last.as_ref().map_or("as it was".to_owned(), |last| format!("up to {last}"));
            if *failed { format!("{done}; {next} failed") } else { format!("{done}; next is {next}") }
        }
    }
}

fn is_done(run: &StepRun) -> bool {
    matches!(run.end, End::Done { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::examples::{done, failed, plan, start};
    use super::*;
    use crate::engine::event::Event;

    fn after(events: impl IntoIterator<Item = Event>) -> Summary {
        let mut summary = Summary::default();
        summary.event(&plan(), Duration::ZERO);
        events.into_iter().for_each(|event| summary.event(&event, Duration::ZERO));
        summary
    }

    #[test]
    fn what_came_equally_far_is_one_line_and_what_failed_is_named() {
        let summary = after([
            done("network.apply", 1),
            done("image.fetch", 1),
            done("vm.clone/gateway1", 1),
            failed("vm.start/gateway1", 1),
            done("vm.clone/k8s-master1", 1),
            start("vm.start/k8s-master1"),
        ]);
        assert_eq!(
            lines(&summary),
            [
                "Mac: done",
                "gateway1: up to vm.clone; vm.start failed",
                "k8s-master1: up to vm.clone; next is vm.start",
                "cluster: as it was; next is cilium.install",
            ]
        );
        assert_eq!(left(&summary), 8);
    }

    #[test]
    fn machines_with_the_same_fate_are_told_together() {
        let summary = after([done("network.apply", 1)]);
        assert_eq!(
            lines(&summary)[1..],
            [
                "gateway1, k8s-master1: as it was; next is vm.clone".to_owned(),
                "cluster: as it was; next is cilium.install".to_owned()
            ]
        );
    }

    #[test]
    fn where_every_step_was_done_there_is_nothing_to_say() {
        let all: Vec<Event> = match plan() {
            Event::Planned { steps } => steps.iter().map(|step| done(step.id.as_str(), 1)).collect(),
            _ => Vec::new(),
        };
        let summary = after(all);
        assert_eq!((lines(&summary), left(&summary)), (Vec::new(), 0));
        assert_eq!(lines(&Summary::default()), Vec::<String>::new());
    }
}
