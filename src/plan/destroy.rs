//! The list that takes a lab down: only what bears this lab's mark, and only our lines.

use super::facts::{Facts, ResolverRecord, VmFacts, VmState};
use super::kind::Kind;
use super::networks::{self, NetworkEdit};
use super::obstacle::{self, Obstacle};
use super::step::{Action, Plan, Step, StepId};

/// Why a machine goes, and why anything else does.
const MARKED: &str = "it bears this lab's mark";
const MADE: &str = "this lab made it";

/// Plans the removal of the lab of this name: `network` is what Fusion's networking file becomes.
///
/// # Errors
/// What must not be while Fusion's networks restart, and machines that others' VMs hang on; nothing was changed.
pub fn plan(lab: &str, facts: &Facts, network: &NetworkEdit) -> Result<Plan, Vec<Obstacle>> {
    let mut obstacles = obstacle::of_undo(network, facts);
    obstacles.extend(obstacle::of_removal(facts));
    if obstacles.is_empty() { Ok(list(lab, facts, network)) } else { Err(obstacles) }
}

fn list(lab: &str, facts: &Facts, network: &NetworkEdit) -> Plan {
    let mut plan = Plan::default();
    let ours = |vm: &VmFacts| matches!(vm.state, VmState::Ours | VmState::Unfinished);
    for (name, vm) in facts.vms.iter().filter(|(_, vm)| ours(vm)) {
        if vm.running {
            let stop = Action::StopVm { node: name.clone() };
            plan.steps.push(Step::new(stop, format!("stop {name}"), MARKED));
        }
        let needs = vm.running.then(|| Kind::VmStop.on(name)).into_iter().collect();
        let delete = Action::DeleteVm { node: name.clone() };
        plan.steps.push(Step { needs, ..Step::new(delete, format!("delete {name}"), MARKED) });
    }
    let foreign = facts.vms.iter().filter(|(_, vm)| vm.state == VmState::Foreign);
    plan.kept.extend(foreign.map(|(_, vm)| format!("{}: not ours, left alone", vm.vmx.display())));
    if facts.template.present && !facts.template.frozen {
        let text = "remove the template, which was not finished";
        plan.steps.push(Step::new(Action::DiscardTemplate, text, MADE));
    }
    let machines: Vec<StepId> = plan.steps.iter().map(|step| step.id.clone()).collect();
    if let Some(step) = networks::restore_step(network, facts) {
        // The networks restart when nothing of ours runs on them.
        plan.steps.push(Step { needs: machines, ..step });
    }
    if !facts.merged_kubeconfigs.is_empty() {
        let files = facts.merged_kubeconfigs.clone();
        let named: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let text = format!("take {lab} out of {}", named.join(" and "));
        plan.steps.push(Step::new(Action::UnmergeKubeconfig { files }, text, MADE));
    }
    if let Some(ResolverRecord { file, domain, .. }) = &facts.resolver {
        let action = Action::RemoveResolver { file: file.clone(), domain: domain.clone() };
        plan.steps.push(Step::new(action, format!("remove {}", file.display()), MADE));
    }
    // This very run's journal lies there as well, once there is something to do.
    if facts.lab_folder || !plan.steps.is_empty() {
        let needs = plan.steps.iter().map(|step| step.id.clone()).collect();
        let text = format!("remove the keys, kubeconfig and records of {lab}");
        plan.steps.push(Step { needs, ..Step::new(Action::ForgetLab, text, MADE) });
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::super::fixture::World;
    use super::super::lint::lint;
    use super::super::text;
    use super::*;

    fn planned(world: &World, before: Option<&[u8]>) -> Plan {
        let originals: Vec<&[u8]> = before.into_iter().collect();
        let edit = networks::without(&world.facts, &originals);
        plan(&world.lab.name, &world.facts, &edit).expect("nothing stands in the way")
    }

    fn ids(plan: &Plan) -> Vec<String> {
        plan.steps.iter().map(|step| step.id.to_string()).collect()
    }

    #[test]
    fn where_there_is_no_lab_nothing_is_removed() {
        assert!(planned(&World::empty(), None).is_empty());
    }

    #[test]
    fn a_machine_that_somebody_has_linked_clones_of_is_not_removed() {
        let mut world = World::complete();
        world.vm("k8s-worker1").hanging = vec!["/library/mine.vmwarevm/mine.vmx".into()];
        let refused = plan(&world.lab.name, &world.facts, &networks::without(&world.facts, &[])).unwrap_err();
        let said: Vec<String> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["mine hangs on the disk of k8s-worker1"]);
    }

    #[test]
    fn each_machine_is_stopped_then_deleted_and_the_network_and_the_keys_go_last() {
        let world = World::complete();
        let plan = planned(&world, None);
        assert_eq!(lint(&plan), Vec::<String>::new());
        let machines = world.lab.nodes.iter().map(|node| &node.name);
        let mut expected: Vec<String> =
            machines.flat_map(|name| [format!("vm.stop/{name}"), format!("vm.delete/{name}")]).collect();
        expected.extend(["network.restore", "lab.forget"].map(str::to_owned));
        assert_eq!(ids(&plan), expected);
        let needs = |id: &str| plan.step(&StepId::read(id)).unwrap().needs.len();
        assert_eq!(needs("vm.delete/gateway1"), 1);
        assert_eq!(
            needs("network.restore"),
            2 * world.lab.nodes.len(),
            "nothing of ours runs on it any more"
        );
        assert_eq!(
            needs("lab.forget"),
            plan.steps.len() - 1,
            "the records go when nothing is left to record"
        );
    }

    #[test]
    fn a_vm_without_our_mark_is_named_and_never_in_a_step() {
        let mut world = World::complete();
        world.vm("k8s-worker1").state = VmState::Foreign;
        world.switch_off("k8s-worker1");
        world.switch_off("k8s-worker2");
        world.vm("k8s-worker2").state = VmState::Absent;
        let plan = planned(&world, None);
        let text = format!("{:?}", plan.steps);
        assert!(!text.contains("k8s-worker"), "{text}");
        assert_eq!(plan.kept, ["/library/lab/k8s-worker1.vmwarevm/k8s-worker1.vmx: not ours, left alone"]);
    }

    #[test]
    fn machines_that_do_not_run_or_were_never_finished_or_left_the_lab_file_go_too() {
        let mut world = World::complete();
        world.switch_off("gateway1");
        world.switch_off("gateway2");
        world.vm("gateway2").state = VmState::Unfinished;
        world.lab.nodes.retain(|node| node.name != "k8s-worker2");
        let steps = ids(&planned(&world, None));
        let about = |name: &str| steps.iter().filter(|id| id.ends_with(name)).cloned().collect::<Vec<_>>();
        assert_eq!(about("gateway1"), ["vm.delete/gateway1"]);
        assert_eq!(about("gateway2"), ["vm.delete/gateway2"]);
        assert_eq!(about("k8s-worker2"), ["vm.stop/k8s-worker2", "vm.delete/k8s-worker2"]);
    }

    #[test]
    fn the_networks_are_restarted_only_if_lines_of_ours_are_left() {
        let mut world = World::complete();
        let shown = text::text(&planned(&world, None), &world.lab, text::Detail::Brief);
        assert!(shown.contains("-answer VNET_2_NAT yes"), "what is taken out is shown:\n{shown}");
        world.facts.networking = World::empty().facts.networking;
        assert!(!ids(&planned(&world, None)).iter().any(|id| id == "network.restore"));
        world.facts.network_record = None;
        world.facts.networking = World::complete().facts.networking;
        let steps = ids(&planned(&world, None));
        assert!(!steps.iter().any(|id| id == "network.restore"), "lines that we did not record are not ours");
    }

    #[test]
    fn the_users_kubeconfigs_and_the_domains_file_are_put_right_before_the_records_go() {
        let mut world = World::complete();
        world.facts.merged_kubeconfigs = vec!["/Users/me/.kube/config".into()];
        let file = "/etc/resolver/lab.test".into();
        world.facts.resolver = Some(ResolverRecord { version: 1, file, domain: "lab.test".to_owned() });
        let plan = planned(&world, None);
        assert_eq!(lint(&plan), Vec::<String>::new());
        let last = plan.steps.last().unwrap();
        assert_eq!(last.action, Action::ForgetLab);
        for id in ["kubeconfig.unmerge", "names.unresolve"] {
            assert!(last.needs.contains(&StepId::read(id)), "{id}");
        }
        let shown = text::text(&plan, &world.lab, text::Detail::Brief);
        assert!(shown.contains("  - take lab out of /Users/me/.kube/config\n"), "{shown}");
        assert!(shown.contains("  - remove /etc/resolver/lab.test\n"), "{shown}");
    }

    #[test]
    fn a_template_that_was_not_finished_goes_and_a_finished_one_is_for_the_next_lab() {
        let mut world = World::complete();
        let discards = |world: &World| ids(&planned(world, None)).contains(&"template.discard".to_owned());
        assert!(!discards(&world));
        world.facts.template.frozen = false;
        assert!(discards(&world));
        world.facts.template.present = false;
        assert!(!discards(&world));
    }
}
