use proptest::prelude::*;
use proptest::sample::subsequence;

use super::super::facts::{TemplateFacts, VmState};
use super::super::fixture::World;
use super::super::lint::lint;
use super::*;
use crate::stack::drill::{Record, Scenario};

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
    &["kube.endpoint", "gateway-api.install", "cilium.install", "kube.nodes", "ingress.configure"],
    &["kube.init/k8s-master1", "kubeconfig.write"],
];

fn ids(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.id.0.clone()).collect()
}

/// Says whether a step waits for another, directly or through others.
fn waits(plan: &Plan, step: &str, other: &str) -> bool {
    let step = plan.step(&StepId(step.to_owned())).expect("the step is in the plan");
    step.needs.iter().any(|need| need.0 == other || waits(plan, &need.0, other))
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
    let gate = |id: &str| plan.step(&StepId(id.to_owned())).and_then(|step| step.gate.clone());
    for node in World::empty().lab.nodes {
        assert_eq!(gate(&format!("vm.clone/{}", node.name)), Some(Gate::Parent));
        assert_eq!(gate(&format!("vm.start/{}", node.name)), Some(Gate::PowerOn));
        assert_eq!(gate(&format!("guest.ready/{}", node.name)), Some(Gate::Guest));
    }
}

#[test]
fn a_lab_that_is_as_the_file_says_takes_no_step() {
    let plan = World::complete().up().unwrap();
    assert_eq!(ids(&plan), Vec::<String>::new());
    assert!(!plan.kept.is_empty(), "what stands is said");
}

/// Something that is not as it should be, and every step that follows from it alone.
struct Loss {
    what: &'static str,
    happen: fn(&mut World),
    steps: &'static [&'static str],
}

const LOSSES: &[Loss] = &[
    Loss {
        what: "a worker's VM is stopped",
        happen: |world| world.switch_off("k8s-worker1"),
        steps: &[
            "vm.start/k8s-worker1",
            "guest.ready/k8s-worker1",
            "node.prepare/k8s-worker1",
            "kube.endpoint",
            "kube.join/k8s-worker1",
            "kube.nodes",
        ],
    },
    Loss {
        what: "a control plane's VM is stopped",
        happen: |world| world.switch_off("k8s-master2"),
        steps: &[
            "vm.start/k8s-master2",
            "guest.ready/k8s-master2",
            "node.prepare/k8s-master2",
            "kube.endpoint",
            "kube.join/k8s-master2",
            "kube.nodes",
        ],
    },
    Loss {
        what: "a worker was never cloned to its end",
        happen: |world| {
            world.switch_off("k8s-worker2");
            world.vm("k8s-worker2").state = VmState::Unfinished;
            world.vm("k8s-worker2").spec = None;
        },
        steps: &[
            "vm.clone/k8s-worker2",
            "vm.configure/k8s-worker2",
            "vm.start/k8s-worker2",
            "guest.ready/k8s-worker2",
            "node.prepare/k8s-worker2",
            "kube.endpoint",
            "kube.join/k8s-worker2",
            "kube.nodes",
        ],
    },
    Loss {
        what: "a running worker is of another size",
        happen: |world| world.vm("k8s-worker1").spec = Some("another".to_owned()),
        steps: &[
            "vm.stop/k8s-worker1",
            "vm.configure/k8s-worker1",
            "vm.start/k8s-worker1",
            "guest.ready/k8s-worker1",
            "kube.nodes",
        ],
    },
    Loss {
        what: "cloud-init still works on a worker",
        happen: |world| {
            world.guest("k8s-worker1").into_iter().for_each(|guest| guest.cloud_init = "running".into())
        },
        steps: &["guest.ready/k8s-worker1", "kube.nodes"],
    },
    Loss {
        what: "a gateway's nginx.conf differs",
        happen: |world| {
            let files = world.guest("gateway2").map(|guest| &mut guest.files);
            files.into_iter().for_each(|files| {
                files.insert("/etc/nginx/nginx.conf".into(), "another".into());
            });
        },
        steps: &["gateway.configure/gateway2", "gateway.vips", "kube.endpoint", "kube.nodes"],
    },
    Loss {
        what: "keepalived has failed on a gateway",
        happen: |world| {
            let units = world.guest("gateway2").map(|guest| &mut guest.units);
            units.into_iter().for_each(|units| {
                units.insert("keepalived".into(), "failed".into());
            });
        },
        steps: &["gateway.configure/gateway2", "gateway.vips", "kube.endpoint", "kube.nodes"],
    },
    Loss {
        what: "no gateway holds the LAN's VIP",
        happen: |world| {
            let vip = world.lab.lan.vip;
            world
                .guest("gateway1")
                .into_iter()
                .for_each(|guest| guest.addresses.retain(|(_, held)| *held != vip));
        },
        steps: &["lan.probe/gateway1", "gateway.vips", "kube.endpoint", "kube.nodes"],
    },
    Loss {
        what: "containerd is down on a worker",
        happen: |world| world.guest("k8s-worker1").into_iter().for_each(|guest| guest.units.clear()),
        steps: &["node.prepare/k8s-worker1"],
    },
    Loss {
        what: "the API does not know a worker",
        happen: |world| {
            world.cluster().into_iter().for_each(|cluster| {
                cluster.nodes.remove("k8s-worker2");
            });
        },
        steps: &["kube.endpoint", "kube.join/k8s-worker2", "kube.nodes"],
    },
    Loss {
        what: "a node is not Ready",
        happen: |world| {
            let node = world.cluster().and_then(|cluster| cluster.nodes.get_mut("k8s-master3"));
            node.into_iter().for_each(|node| node.ready = false);
        },
        steps: &["kube.nodes"],
    },
    Loss {
        what: "the Gateway API is of another version",
        happen: |world| {
            world.cluster().into_iter().for_each(|cluster| cluster.gateway_api = Some("1.0.0".into()))
        },
        steps: &["gateway-api.install", "cilium.install", "kube.nodes"],
    },
    Loss {
        what: "Cilium has other values",
        happen: |world| {
            let release = world.cluster().and_then(|cluster| cluster.cilium.as_mut());
            release.into_iter().for_each(|release| release.values = Some("another".into()));
        },
        steps: &["cilium.install", "kube.nodes"],
    },
    Loss {
        what: "Cilium's release hangs",
        happen: |world| {
            let release = world.cluster().and_then(|cluster| cluster.cilium.as_mut());
            release.into_iter().for_each(|release| release.status = "pending-install".into());
        },
        steps: &["cilium.install", "kube.nodes"],
    },
    Loss {
        what: "a NodePort moved",
        happen: |world| {
            world.cluster().into_iter().for_each(|cluster| {
                cluster.node_ports.insert(443, 31_111);
            });
        },
        steps: &["ingress.configure"],
    },
    Loss {
        what: "the Gateway is not programmed",
        happen: |world| world.cluster().into_iter().for_each(|cluster| cluster.gateway_programmed = false),
        steps: &["ingress.configure"],
    },
    Loss {
        what: "the kubeconfig was edited",
        happen: |world| world.facts.kubeconfig = Some("another".to_owned()),
        steps: &["kubeconfig.write"],
    },
    Loss {
        what: "Fusion's network services are down",
        happen: |world| world.facts.network_running = false,
        steps: &["network.apply"],
    },
    Loss {
        what: "the template was pruned, and every VM stands",
        happen: |world| world.facts.template = TemplateFacts::default(),
        steps: &[],
    },
    Loss {
        what: "a drill was killed",
        happen: |world| {
            world.facts.drill = Some(Record {
                version: Record::VERSION,
                scenario: Scenario::GatewayNetwork,
                node: "gateway1".to_owned(),
                since: "2026-11-27T10:00:00Z".to_owned(),
            });
        },
        steps: &["drill.restore/gateway1"],
    },
    Loss {
        what: "no API server answers",
        happen: |world| world.facts.cluster = None,
        steps: &[
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
        ],
    },
];

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
    assert_eq!(vip_holder(&world.lab, &world.facts), Some("gateway1"));
    let (lan, internal) = (world.lab.lan.vip, world.lab.internal.vip);
    world.guest("gateway2").unwrap().addresses.push(("card".into(), lan));
    assert_eq!(vip_holder(&world.lab, &world.facts), None, "two hold the LAN's");
    world.guest("gateway1").unwrap().addresses.retain(|(_, held)| *held != lan);
    assert_eq!(vip_holder(&world.lab, &world.facts), None, "they are split");
    world.guest("gateway1").unwrap().addresses.retain(|(_, held)| *held != internal);
    world.guest("gateway2").unwrap().addresses.push(("card".into(), internal));
    assert_eq!(vip_holder(&world.lab, &world.facts), Some("gateway2"));
}

proptest! {
    /// Whatever is lost together: the plan is sound, no step comes before one it needs, and it holds every step that
    /// one of the losses alone would take. (Stopping is left out: a VM that is gone need not be stopped.)
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
        for step in lost.iter().flat_map(|&index| LOSSES[index].steps).filter(|step| !step.starts_with("vm.stop")) {
            prop_assert!(position(&StepId((*step).to_owned())).is_some(), "{step} is missing");
        }
    }
}
