use proptest::prelude::*;
use proptest::sample::subsequence;

use super::super::fixture::World;
use super::super::lint::lint;
use super::losses::LOSSES;
use super::*;
use crate::lab::Role;
use crate::plan::facts::VmState;
use crate::plan::step::Gate;
use crate::stack::validity::Validity;
use crate::stack::vips;

/// The document's lab from nothing.
const FROM_NOTHING: &[&str] = &[
    "identity.create",
    "network.apply",
    "image.fetch",
    "image.convert",
    "template.bake",
    "template.freeze",
    "vm.clone/gateway1",
    "vm.configure/gateway1",
    "vm.start/gateway1",
    "guest.ready/gateway1",
    "vm.clone/gateway2",
    "vm.configure/gateway2",
    "vm.start/gateway2",
    "guest.ready/gateway2",
    "vm.clone/k8s-master1",
    "vm.configure/k8s-master1",
    "vm.start/k8s-master1",
    "guest.ready/k8s-master1",
    "vm.clone/k8s-master2",
    "vm.configure/k8s-master2",
    "vm.start/k8s-master2",
    "guest.ready/k8s-master2",
    "vm.clone/k8s-master3",
    "vm.configure/k8s-master3",
    "vm.start/k8s-master3",
    "guest.ready/k8s-master3",
    "vm.clone/k8s-worker1",
    "vm.configure/k8s-worker1",
    "vm.start/k8s-worker1",
    "guest.ready/k8s-worker1",
    "vm.clone/k8s-worker2",
    "vm.configure/k8s-worker2",
    "vm.start/k8s-worker2",
    "guest.ready/k8s-worker2",
    "lan.probe/gateway1",
    "gateway.configure/gateway1",
    "gateway.configure/gateway2",
    "gateway.vips",
    "node.prepare/k8s-master1",
    "node.prepare/k8s-master2",
    "node.prepare/k8s-master3",
    "node.prepare/k8s-worker1",
    "node.prepare/k8s-worker2",
    "kube.init/k8s-master1",
    "kube.endpoint",
    "kube.join/k8s-master2",
    "kube.join/k8s-master3",
    "kube.join/k8s-worker1",
    "kube.join/k8s-worker2",
    "gateway-api.install",
    "cilium.install",
    "kube.nodes",
    "ingress.configure",
    "kubeconfig.write",
];

/// Chains of steps of which each waits for the one before, directly or through others; `*` is any machine's name.
const CHAINS: &[&[&str]] = &[
    &["image.fetch", "image.convert", "template.bake", "template.freeze"],
    &["network.apply", "template.bake"],
    &["identity.create", "vm.configure/*"],
    &["template.freeze", "vm.clone/*", "vm.configure/*", "vm.start/*", "guest.ready/*"],
    // A reservation is there before its machine first asks for an address.
    &["network.apply", "vm.start/*"],
    &["guest.ready/*", "gateway.configure/*", "gateway.vips", "kube.endpoint"],
    // Nothing takes the VIP before somebody has listened who else has it.
    &["guest.ready/gateway1", "lan.probe/gateway1", "gateway.configure/*"],
    // Nor is it certified before.
    &["lan.probe/gateway1", "kube.init/k8s-master1"],
    &["guest.ready/*", "node.prepare/*", "kube.endpoint"],
    &["kube.init/k8s-master1", "kube.endpoint", "kube.join/*", "kube.nodes"],
    &["kube.join/k8s-master2", "kube.join/k8s-master3"],
    // Cilium's operator looks for the definitions once.
    &["kube.endpoint", "gateway-api.install", "cilium.install", "kube.nodes"],
    &["cilium.install", "ingress.configure"],
    &["kube.join/k8s-worker2", "ingress.configure"],
    &["kube.init/k8s-master1", "kubeconfig.write"],
];

fn ids(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.id.to_string()).collect()
}

/// Says whether a step waits for another, directly or through others.
fn waits(plan: &Plan, step: &str, other: &str) -> bool {
    let step = plan.step(&StepId::read(step)).expect("the step is in the plan");
    step.needs.iter().any(|need| need.as_str() == other || waits(plan, need.as_str(), other))
}

#[test]
fn from_nothing_the_documents_lab_takes_these_steps_in_this_order() {
    let plan = World::empty().up().unwrap();
    assert_eq!(lint(&plan), Vec::<String>::new());
    assert_eq!(ids(&plan), FROM_NOTHING);
}

#[test]
fn init_waits_for_the_gateways_only_where_kubeadm_asks_the_endpoint() {
    let mut world = World::empty();
    assert!(!waits(&world.up().unwrap(), "kube.init/k8s-master1", "gateway.vips"));
    world.lab.versions.kubernetes = "1.36.0".to_owned();
    assert!(waits(&world.up().unwrap(), "kube.init/k8s-master1", "gateway.vips"));
}

#[test]
fn an_init_that_was_cut_and_a_join_that_was_not_marked_are_planned_again() {
    let mut world = World::complete();
    let cluster = world.facts.cluster.as_mut().unwrap();
    cluster.rollouts.remove("coredns");
    cluster.nodes.get_mut("k8s-master2").unwrap().control_plane = false;
    let ids = ids(&world.up().unwrap());
    assert!(ids.contains(&"kube.init/k8s-master1".to_owned()), "{ids:?}");
    assert!(ids.contains(&"kube.join/k8s-master2".to_owned()), "{ids:?}");
    assert!(!ids.contains(&"kube.join/k8s-master3".to_owned()), "{ids:?}");
}

#[test]
fn the_labs_own_ports_are_the_ones_that_are_looked_for() {
    let world = World::complete_as(|lab| lab.cluster.ports.http = 8080);
    assert_eq!(ids(&world.up().unwrap()), Vec::<String>::new());
}

#[test]
fn from_nothing_each_step_waits_for_what_it_builds_on() {
    let plan = World::empty().up().unwrap();
    let planned = ids(&plan);
    let lab = World::empty().lab;
    let mut links = 0;
    for node in &lab.nodes {
        for chain in CHAINS {
            let chain = chain.iter().map(|id| id.replace('*', &node.name)).collect::<Vec<_>>();
            // A gateway does not join, and a member is no gateway.
            for pair in chain.windows(2).filter(|pair| pair.iter().all(|id| planned.contains(id))) {
                assert!(waits(&plan, &pair[1], &pair[0]), "{} does not wait for {}", pair[1], pair[0]);
                links += 1;
            }
        }
    }
    assert!(links > 100, "only {links} links were looked at");
}

#[test]
fn machines_are_cloned_one_at_a_time_and_not_more_are_started_than_the_host_bears() {
    let plan = World::empty().up().unwrap();
    let gate = |id: &str| plan.step(&StepId::read(id)).and_then(|step| step.gate.clone());
    for node in World::empty().lab.nodes {
        assert_eq!(gate(&format!("vm.clone/{}", node.name)), Some(Gate::Parent));
        assert_eq!(gate(&format!("vm.start/{}", node.name)), Some(Gate::PowerOn));
        assert_eq!(gate(&format!("guest.ready/{}", node.name)), Some(Gate::Guest));
    }
}

#[test]
fn every_machine_comes_onto_the_network_once_and_is_healthy_once() {
    let reached = |world: &World, phase| {
        let milestones = world.up().unwrap().steps.iter().flat_map(Step::milestones).collect::<Vec<_>>();
        let of_phase = milestones.into_iter().filter(|milestone| milestone.phase == phase);
        let mut nodes: Vec<String> = of_phase.map(|milestone| milestone.node).collect();
        nodes.sort();
        nodes
    };
    let empty = World::empty();
    let mut all: Vec<String> = empty.lab.nodes.iter().map(|node| node.name.clone()).collect();
    all.sort();
    assert_eq!(reached(&empty, Phase::Net), all);
    assert_eq!(reached(&empty, Phase::Healthy), all);
    // A gateway's clock is no matter of the cluster's nodes.
    let mut world = World::complete();
    world.guest("gateway1").unwrap().clock_off_ms = 90_000;
    world.cluster().unwrap().nodes.get_mut("k8s-worker1").unwrap().ready = false;
    assert!(!world.up().unwrap().is_empty());
    assert_eq!(reached(&world, Phase::Healthy), Vec::<String>::new());
}

#[test]
fn a_lab_that_is_as_the_file_says_takes_no_step() {
    let plan = World::complete().up().unwrap();
    assert_eq!(ids(&plan), Vec::<String>::new());
    assert!(!plan.kept.is_empty(), "what stands is said");
}

#[test]
fn one_loss_takes_exactly_the_steps_that_follow_from_it() {
    let complete = World::complete();
    for loss in LOSSES {
        let mut world = complete.clone();
        (loss.happen)(&mut world);
        assert_eq!(world.steps(), loss.steps, "{}", loss.what);
    }
}

#[test]
fn each_step_says_what_was_found() {
    let mut world = World::complete();
    world.vm("k8s-worker1").parts.insert("numvcpus".into(), "1".into());
    world.guest("gateway2").unwrap().units.insert("keepalived".into(), "failed".into());
    let files = &mut world.guest("k8s-worker2").unwrap().files;
    files.insert("/etc/hosts".into(), "another".into());
    world.guest("k8s-master3").unwrap().kubernetes.retain(|mark| mark != "manifest-etcd");
    let cluster = world.cluster().unwrap();
    cluster.nodes.remove("k8s-master2");
    cluster.node_ports.insert(80, 31_000);
    let plan = world.up().unwrap();
    for (id, why) in [
        ("vm.stop/k8s-worker1", "its CPUs are 1, not 2"),
        ("vm.configure/k8s-worker1", "its CPUs are 1, not 2"),
        ("gateway.configure/gateway2", "keepalived is failed"),
        ("node.prepare/k8s-worker2", "/etc/hosts differs from the lab's"),
        ("kube.join/k8s-master2", "the cluster does not know it, though its kubelet has joined"),
        ("kube.join/k8s-master3", "the manifest of etcd is gone"),
        ("ingress.configure", "NodePort of 80 is 31000, not 30080"),
    ] {
        let step = plan.step(&StepId::read(id)).unwrap_or_else(|| panic!("{id} is missing"));
        assert_eq!(step.why, why, "{id}");
    }
}

#[test]
fn a_lab_that_slept_gets_its_clocks_before_its_certificates_and_control_planes_take_turns() {
    let mut world = World::complete();
    world.facts.now = 2_000_000_000;
    for (name, guest) in &mut world.facts.guests {
        guest.clock_off_ms = -400 * 24 * 3_600_000;
        if name.starts_with("k8s") {
            guest
                .certificates
                .insert("/etc/kubernetes/kubelet.conf".into(), Validity { begins: 0, ends: 1_990_000_000 });
        }
        if name.starts_with("k8s-master") {
            guest
                .certificates
                .insert("/etc/kubernetes/admin.conf".into(), Validity { begins: 0, ends: 1_990_000_000 });
        }
    }
    // Nobody can ask an API server whose certificates have ended.
    world.facts.cluster = None;
    let plan = world.up().unwrap();
    assert_eq!(lint(&plan), Vec::<String>::new());
    for node in World::complete().lab.members() {
        let renewal = format!("kube.certificates/{}", node.name);
        for other in &World::complete().lab.nodes {
            assert!(waits(&plan, &renewal, &format!("guest.clock/{}", other.name)), "{renewal}");
        }
        assert!(waits(&plan, "kube.init/k8s-master1", &renewal) && waits(&plan, "kube.endpoint", &renewal));
    }
    let turns = ["k8s-master1", "k8s-master2", "k8s-master3"].map(|name| format!("kube.certificates/{name}"));
    assert!(turns.windows(2).all(|pair| waits(&plan, &pair[1], &pair[0])));
    let workers = ["k8s-worker1", "k8s-worker2"].map(|name| format!("kube.certificates/{name}"));
    assert!(workers.iter().all(|worker| waits(&plan, worker, &turns[2])));
    assert!(!waits(&plan, &workers[1], &workers[0]), "workers need not wait for one another");
}

/// Every machine's memory was changed by hand.
fn resized() -> World {
    let mut world = World::complete();
    for vm in world.facts.vms.values_mut() {
        vm.parts.insert("memsize".into(), "1536".into());
    }
    world
}

#[test]
fn machines_whose_hardware_changes_are_stopped_one_of_each_role_at_a_time() {
    let plan = resized().up().unwrap();
    assert_eq!(lint(&plan), Vec::<String>::new());
    for role in [
        &["gateway1", "gateway2"][..],
        &["k8s-master1", "k8s-master2", "k8s-master3"],
        &["k8s-worker1", "k8s-worker2"],
    ] {
        for pair in role.windows(2) {
            let (back, stop) = (format!("node.back/{}", pair[0]), format!("vm.stop/{}", pair[1]));
            assert!(waits(&plan, &stop, &back), "{stop} does not wait for {back}");
            assert!(waits(&plan, &back, &format!("guest.ready/{}", pair[0])), "{back}");
        }
        let first = plan.step(&StepId::read(&format!("vm.stop/{}", role[0]))).expect("it is stopped");
        assert_eq!(first.needs, [], "the roles need not wait for one another");
    }
}

#[test]
fn a_machine_without_power_comes_back_before_another_of_its_role_is_stopped() {
    let mut world = World::complete();
    world.switch_off("k8s-master3");
    world.vm("k8s-master1").parts.insert("memsize".into(), "1024".into());
    let plan = world.up().unwrap();
    assert!(waits(&plan, "vm.stop/k8s-master1", "node.back/k8s-master3"));
    world.facts.cluster = None;
    let plan = world.up().unwrap();
    assert!(
        waits(&plan, "vm.stop/k8s-master1", "guest.ready/k8s-master3"),
        "whether it is a member is not known"
    );
    assert!(!ids(&plan).iter().any(|id| id.starts_with("node.back")));
}

#[test]
fn what_asks_the_cluster_waits_for_control_planes_that_take_turns() {
    let mut world = resized();
    world.facts.now = 2_000_000_000;
    for name in ["k8s-master1", "k8s-master2"] {
        let guest = world.guest(name).unwrap();
        guest
            .certificates
            .insert("/etc/kubernetes/admin.conf".into(), Validity { begins: 0, ends: 2_000_000_000 });
    }
    let cluster = world.cluster().unwrap();
    cluster.gateway_api = None;
    cluster.gateway_programmed = false;
    let plan = world.up().unwrap();
    for step in
        ["kube.certificates/k8s-master1", "gateway-api.install", "cilium.install", "ingress.configure"]
    {
        for master in ["k8s-master1", "k8s-master2", "k8s-master3"] {
            assert!(waits(&plan, step, &format!("node.back/{master}")), "{step} {master}");
        }
    }
}

#[test]
fn where_the_networks_restart_all_machines_are_off_and_nobody_has_a_turn() {
    let mut world = resized();
    world.facts.networking = Some(super::super::fixture::NETWORKING.into());
    let plan = world.up().unwrap();
    assert_eq!(lint(&plan), Vec::<String>::new());
    let stops = plan.steps.iter().filter(|step| step.id.as_str().starts_with("vm.stop"));
    assert_eq!(stops.inspect(|stop| assert_eq!(stop.needs, [])).count(), 7);
    assert!(!ids(&plan).iter().any(|id| id.starts_with("node.back")));
    // The API servers start anew, and what asks them comes after they answer.
    for before in ["guest.ready/k8s-master1", "guest.ready/gateway1"] {
        assert!(waits(&plan, "kube.endpoint", before), "{before}");
    }
    assert!(waits(&plan, "kube.nodes", "kube.endpoint"));
}

#[test]
fn the_test_application_is_spread_anew_where_a_node_comes_back_that_is_to_serve_it() {
    let mut world = World::complete_as(|lab| {
        lab.nodes.retain(|node| node.role != Role::Worker);
        lab.nodes.iter_mut().for_each(|node| node.schedulable = node.role == Role::ControlPlane);
    });
    assert_eq!(world.steps(), Vec::<String>::new());
    world.switch_off("k8s-master1");
    world.vm("k8s-master1").state = VmState::Absent;
    let steps = world.steps();
    for step in ["kube.init/k8s-master1", "ingress.configure"] {
        assert!(steps.iter().any(|planned| planned == step), "{step}: {steps:?}");
    }
}

#[test]
fn a_template_that_stopped_on_its_way_goes_on_from_there() {
    let mut world = World::empty();
    let host = |world: &World| -> Vec<String> {
        let steps = world.steps();
        steps.into_iter().filter(|id| id.starts_with("image") || id.starts_with("template")).collect()
    };
    assert_eq!(host(&world), ["image.fetch", "image.convert", "template.bake", "template.freeze"]);
    world.facts.template.image_cached = true;
    assert_eq!(host(&world), ["image.convert", "template.bake", "template.freeze"]);
    world.facts.template.disk_written = true;
    assert_eq!(host(&world), ["template.bake", "template.freeze"]);
    world.facts.template.baked = true;
    assert_eq!(host(&world), ["template.freeze"]);
    world.facts.template.frozen = true;
    assert_eq!(host(&world), Vec::<String>::new());
}

#[test]
fn exactly_one_gateway_holds_both_vips_or_none_does() {
    let mut world = World::complete();
    assert_eq!(vips::holder(&world.lab, &world.facts.guests), Some("gateway1"));
    let (lan, internal) = (world.lab.lan.vip, world.lab.internal.vip);
    world.guest("gateway2").unwrap().addresses.push(("card".into(), lan));
    assert_eq!(vips::holder(&world.lab, &world.facts.guests), None, "two hold the LAN's");
    world.guest("gateway1").unwrap().addresses.retain(|(_, held)| *held != lan);
    assert_eq!(vips::holder(&world.lab, &world.facts.guests), None, "they are split");
    world.guest("gateway1").unwrap().addresses.retain(|(_, held)| *held != internal);
    world.guest("gateway2").unwrap().addresses.push(("card".into(), internal));
    assert_eq!(vips::holder(&world.lab, &world.facts.guests), Some("gateway2"));
}

#[test]
fn a_vip_that_nobody_holds_or_two_hold_is_waited_for_and_told() {
    let why = |world: &World| {
        let plan = world.up().unwrap();
        plan.steps.iter().find(|step| step.id.as_str() == "gateway.vips").map(|step| step.why.clone())
    };
    let mut world = World::complete();
    assert_eq!(why(&world), None);
    let (lan, internal) = (world.lab.lan.vip, world.lab.internal.vip);
    world.guest("gateway2").unwrap().addresses.push(("card".into(), lan));
    let two = format!("{lan} is held by gateway1 and gateway2, {internal} by gateway1");
    assert_eq!(why(&world).unwrap(), two);
    for name in ["gateway1", "gateway2"] {
        world.guest(name).unwrap().addresses.retain(|(_, held)| *held != lan && *held != internal);
    }
    assert_eq!(why(&world).unwrap(), format!("{lan} is held by nobody, {internal} by nobody"));
}

proptest! {
    /// Whatever is lost together: the plan is sound, no step comes before one it needs, and it holds every step that
    /// one of the losses alone would take. (Left out are stopping, since a VM that is gone need not be stopped, and its
    /// return; and clocks, since a machine that starts takes the time from its hardware.)
    #[test]
    fn any_losses_together_make_a_sound_plan(lost in subsequence((0..LOSSES.len()).collect::<Vec<_>>(), 0..=LOSSES.len())) {
        let mut world = World::complete();
        for &index in &lost {
            (LOSSES[index].happen)(&mut world);
        }
        let plan = world.up().unwrap();
        prop_assert_eq!(lint(&plan), Vec::<String>::new());
        let position = |id: &StepId| plan.steps.iter().position(|step| step.id == *id);
        for (index, step) in plan.steps.iter().enumerate() {
            prop_assert!(step.needs.iter().all(|need| position(need).is_some_and(|at| at < index)), "{}", step.id);
        }
        let depends = |step: &&str| ["vm.stop", "node.back", "guest.clock"].iter().any(|kind| step.starts_with(kind));
        for step in lost.iter().flat_map(|&index| LOSSES[index].steps.iter().copied()).filter(|step| !depends(step)) {
            prop_assert!(position(&StepId::read(step)).is_some(), "{step} is missing");
        }
    }
}
