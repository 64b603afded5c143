//! The last line of a status: what makes the lab, or makes it whole, where machines are not there or do not run.

use super::{Status, Vm};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words::{count, wrap};

impl Status {
    /// Returns an empty line and the way on, or nothing: where all machines run and are well, where somebody works on the lab,
    /// where a run that was cut off is told with its own way on, and where a machine of somebody else's is in the way.
    pub(super) fn way_on(&self, pen: &Pen) -> Vec<String> {
        let Some((words, verb)) = self.lacking() else { return Vec::new() };
        let options = if self.options.is_empty() { String::new() } else { format!("{} ", self.options) };
        let command = pen.paint(Ink::Accent, &format!("fusionlab {options}{verb}"));
        let mut lines = vec![String::new()];
        let one = format!("{words} {command}");
        if console::measure_text_width(&one) <= pen.prose_width() {
            lines.push(one);
        } else {
            lines.extend(wrap(&words, pen.prose_width()));
            lines.push(format!("  {command}"));
        }
        lines
    }

    /// Says what is lacking, and the verb that is the way on.
    fn lacking(&self) -> Option<(String, &'static str)> {
        let number = |state| self.nodes.iter().filter(|node| node.vm == state).count();
        let (absent, off) = (number(Vm::Absent), number(Vm::Stopped));
        let is_told = self.cut_off.is_some() || self.at_work.is_some() || number(Vm::Foreign) > 0;
        if !is_told && !self.not_in_file.is_empty() {
            let words = "the lab file has fewer machines than the lab: put them back into the file, since `up` refuses until \
                         then, or take the whole lab down:";
            return Some((words.to_owned(), "destroy"));
        }
        let words = match (absent, off) {
            _ if is_told => None,
            (0, 0) => {
                (!self.is_whole()).then(|| "not as it should be; what can be mended is mended by:".to_owned())
            }
            (absent, _) if absent == self.nodes.len() => Some("not made yet:".to_owned()),
            (0, off) => Some(format!("{} off; to go on from what stands:", count(off, "machine"))),
            (absent, 0) => Some(format!("{} absent; to go on from what stands:", count(absent, "machine"))),
            (absent, off) => {
                Some(format!("{} absent, {off} off; to go on from what stands:", count(absent, "machine")))
            }
        };
        Some((words?, "up"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{facts, fusion, lab};
    use super::*;
    use crate::engine::home::recovery::Before;
    use crate::engine::journal::runs::CutOff;
    use crate::plan::facts::{Facts, VmState};
    use crate::stack::facts::HelmRelease;

    fn of(facts: &Facts, options: &str) -> Status {
        Status::new(&lab(), facts, &fusion(true)).with_options(options.to_owned())
    }

    fn told(status: &Status) -> String {
        status.way_on(&Pen::plain(80)).join("\n")
    }

    #[test]
    fn what_is_not_made_or_off_has_its_way_on() {
        assert_eq!(told(&of(&Facts::default(), "")), "\nnot made yet: fusionlab up");
        assert_eq!(
            told(&of(&Facts::default(), "--lab mine.yaml")),
            "\nnot made yet: fusionlab --lab mine.yaml up"
        );
        let mut half = facts();
        assert_eq!(told(&of(&half, "")), "\n1 machine off; to go on from what stands: fusionlab up");
        half.vms.remove("k8s-master1");
        let status = of(&half, "");
        assert_eq!(told(&status), "\n1 machine absent, 1 off; to go on from what stands: fusionlab up");
        assert_eq!(
            status.way_on(&Pen::plain(40)),
            ["", "1 machine absent, 1 off; to go on from", "what stands:", "  fusionlab up"]
        );
    }

    #[test]
    fn where_all_runs_or_something_else_is_told_there_is_none() {
        let mut whole = facts();
        whole.vms.get_mut("gateway2").unwrap().running = true;
        let mends = "\nnot as it should be; what can be mended is mended by: fusionlab up";
        assert_eq!(told(&of(&whole, "")), mends, "nobody holds the internal VIP");
        let internal = ("ens192".to_owned(), [10, 10, 0, 10].into());
        whole.guests.get_mut("gateway1").unwrap().addresses.push(internal);
        assert_eq!(told(&of(&whole, "")), mends, "neither Cilium nor its Gateway is there");
        make_cluster_whole(&mut whole);
        assert_eq!(told(&of(&whole, "")), "");
        assert_eq!(told(&of(&Facts { cluster: None, ..whole }, "")), mends);
        let mut foreign = facts();
        foreign.vms.get_mut("gateway1").unwrap().state = VmState::Foreign;
        assert_eq!(told(&of(&foreign, "")), "", "up would stop at it");
        let cut_off = CutOff { verb: "up".to_owned(), pid: 1, at_ms: 0, steps: Vec::new() };
        let before = Before { cut_off: Some(cut_off), ..Before::default() };
        assert_eq!(told(&of(&facts(), "").with(before)), "");
    }

    #[test]
    fn whatever_is_not_as_it_should_be_has_its_way_on() {
        let mut whole = facts();
        whole.vms.get_mut("gateway2").unwrap().running = true;
        let internal = ("ens192".to_owned(), [10, 10, 0, 10].into());
        whole.guests.get_mut("gateway1").unwrap().addresses.push(internal);
        make_cluster_whole(&mut whole);
        assert_eq!(told(&of(&whole, "")), "");
        let mends = "\nnot as it should be; what can be mended is mended by: fusionlab up";
        let but = |change: &dyn Fn(&mut Facts)| {
            let mut facts = whole.clone();
            change(&mut facts);
            told(&of(&facts, ""))
        };
        assert_eq!(but(&|facts| facts.cluster.as_mut().unwrap().nodes.clear()), mends, "not joined");
        let waits = |facts: &mut Facts| {
            facts.cluster.as_mut().unwrap().rollouts.insert("coredns".into(), false);
        };
        assert_eq!(but(&waits), mends, "a rollout waits");
        for unit in ["nginx", "keepalived"] {
            let stops = |facts: &mut Facts| {
                let gateway = facts.guests.get_mut("gateway1").unwrap();
                gateway.units.insert(unit.to_owned(), "inactive".to_owned());
            };
            assert_eq!(but(&stops), mends, "{unit}");
        }
    }

    fn make_cluster_whole(facts: &mut Facts) {
        let cluster = facts.cluster.as_mut().unwrap();
        cluster.cilium = Some(HelmRelease { chart: "cilium-1.20.3".to_owned(), ..HelmRelease::default() });
        cluster.gateway_programmed = true;
    }

    #[test]
    fn programs_are_told_nothing_of_it() {
        let json = serde_json::to_value(of(&Facts::default(), "--sim")).unwrap();
        assert!(json.get("options").is_none());
    }
}
