//! What is lost already, or would be, when a lab is made whole again: said before anybody answers `up`'s question.

use crate::lab::lint::rules;
use crate::lab::problem::Problem;
use crate::lab::{Lab, Node, Role};

use super::facts::{Facts, VmState};

/// Warns of machines that were there and are not any more. They are made anew, and what was on their disks does not come
/// back by that.
pub fn warnings(lab: &Lab, facts: &Facts) -> Vec<Problem> {
    let stands = |node: &&Node| facts.vms.get(&node.name).is_some_and(|vm| vm.state == VmState::Ours);
    // The kubeconfig is written once there is a cluster: before that nobody had anything to lose.
    if facts.kubeconfig.is_none() {
        return Vec::new();
    }
    let gone = |role| lab.of_role(role).filter(|node| !stands(node)).map(|node| node.name.clone());
    let control_planes: Vec<String> = gone(Role::ControlPlane).collect();
    let known = |name: &String| facts.cluster.as_ref().is_none_or(|cluster| cluster.nodes.contains_key(name));
    let workers: Vec<String> = gone(Role::Worker).filter(known).collect();
    let mut warnings = Vec::new();
    if lab.control_planes().all(|node| control_planes.contains(&node.name)) {
        let message = format!(
            "{} is gone, and all that the cluster held with it: up makes a new, empty cluster; a machine that is in the Trash \
             or in a backup is to be put back before",
            control_planes.join(" and ")
        );
        warnings.push(rules::MACHINE_GONE.problem(None, message));
    }
    if !workers.is_empty() {
        let (is, its) = if workers.len() == 1 { ("is", "its disk") } else { ("are", "their disks") };
        let message =
            format!("{} {is} gone: up makes it anew, without what was on {its}", workers.join(" and "));
        warnings.push(rules::MACHINE_GONE.problem(None, message));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::fixture::World;
    use super::*;

    fn told(world: &World) -> Vec<String> {
        warnings(&world.lab, &world.facts).into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn a_machine_that_vanished_is_told_with_what_went_with_it() {
        let mut world = World::complete();
        assert_eq!(told(&world), Vec::<String>::new());
        assert_eq!(told(&World::empty()), Vec::<String>::new(), "nothing was there");
        world.facts.vms.remove("k8s-worker2");
        assert_eq!(told(&world), ["k8s-worker2 is gone: up makes it anew, without what was on its disk"]);
        world.facts.vms.remove("k8s-master1");
        assert_eq!(told(&world).len(), 1, "the others hold the cluster's data");
        for name in ["k8s-master2", "k8s-master3"] {
            world.facts.vms.remove(name);
        }
        world.facts.cluster = None;
        assert!(told(&world)[0].contains("a new, empty cluster"), "{:?}", told(&world));
    }

    #[test]
    fn a_worker_that_is_new_in_the_lab_file_was_never_there() {
        let mut world = World::complete();
        world.facts.vms.remove("k8s-worker2");
        world.cluster().unwrap().nodes.remove("k8s-worker2");
        assert_eq!(told(&world), Vec::<String>::new());
    }
}
