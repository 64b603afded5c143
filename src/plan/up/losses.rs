//! What can be lost of a lab, or changed by hand, with the steps that each takes: the table of this list's tests.

use crate::plan::facts::{TemplateFacts, VmState};
use crate::plan::fixture::World;
use crate::stack::drill::{Record, Scenario};
use crate::stack::identity::{Leaf, Stale};
use crate::stack::validity::Validity;

/// Something that is not as it should be, and every step that follows from it alone.
pub struct Loss {
    pub what: &'static str,
    pub happen: fn(&mut World),
    pub steps: &'static [&'static str],
}

/// Each alone takes exactly its steps.
pub const LOSSES: &[Loss] = &[
    Loss {
        what: "a worker's VM is stopped",
        happen: |world| world.switch_off("k8s-worker1"),
        steps: &[
            "vm.start/k8s-worker1",
            "guest.ready/k8s-worker1",
            "node.prepare/k8s-worker1",
            "kube.certificates/k8s-worker1",
            "kube.endpoint",
            "kube.join/k8s-worker1",
            "kube.nodes",
            "ingress.configure",
        ],
    },
    Loss {
        what: "a control plane's VM is stopped",
        happen: |world| world.switch_off("k8s-master2"),
        steps: &[
            "vm.start/k8s-master2",
            "guest.ready/k8s-master2",
            "node.prepare/k8s-master2",
            "kube.certificates/k8s-master2",
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
            "ingress.configure",
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
            "node.back/k8s-worker1",
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
        steps: &["kube.endpoint", "kube.join/k8s-worker2", "kube.nodes", "ingress.configure"],
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
        what: "a worker's memory was changed by hand",
        happen: |world| drop(world.vm("k8s-worker1").parts.insert("memsize".into(), "1024".into())),
        steps: &[
            "vm.stop/k8s-worker1",
            "vm.configure/k8s-worker1",
            "vm.start/k8s-worker1",
            "guest.ready/k8s-worker1",
            "node.back/k8s-worker1",
            "kube.nodes",
        ],
    },
    Loss {
        what: "a worker's kubelet would not start at the next boot",
        happen: |world| {
            let guest = world.guest("k8s-worker2");
            guest
                .into_iter()
                .for_each(|guest| drop(guest.enabled.insert("kubelet".into(), "disabled".into())));
        },
        steps: &["node.prepare/k8s-worker2"],
    },
    Loss {
        what: "a worker's clock stood still",
        happen: |world| {
            world.guest("k8s-worker2").into_iter().for_each(|guest| guest.clock_off_ms = -3_600_000);
        },
        steps: &["guest.clock/k8s-worker2"],
    },
    Loss {
        what: "the certificates of two control planes end soon",
        happen: |world| {
            for name in ["k8s-master2", "k8s-master3"] {
                let ends = world.facts.now + 24 * 3600;
                let guest = world.guest(name);
                guest.into_iter().for_each(|guest| {
                    guest
                        .certificates
                        .insert("/etc/kubernetes/pki/apiserver.crt".into(), Validity { begins: 0, ends });
                });
            }
        },
        steps: &["kube.certificates/k8s-master2", "kube.certificates/k8s-master3", "kube.nodes"],
    },
    Loss {
        what: "a control plane's scheduler has no manifest",
        happen: |world| {
            let guest = world.guest("k8s-master3");
            let is_it = |mark: &String| mark == "manifest-kube-scheduler";
            guest.into_iter().for_each(|guest| guest.kubernetes.retain(|mark| !is_it(mark)));
        },
        steps: &["kube.endpoint", "kube.join/k8s-master3", "kube.nodes"],
    },
    Loss {
        what: "one of Cilium's settings was changed by hand",
        happen: |world| {
            world.cluster().into_iter().for_each(|cluster| {
                cluster.cilium_settings.insert("routing-mode".into(), "tunnel".into());
            });
        },
        steps: &["cilium.install", "kube.nodes"],
    },
    Loss {
        what: "the certificates of the user and of the sites end soon",
        happen: |world| {
            let ends = Stale::Due(Validity { begins: 0, ends: world.facts.now + 24 * 3600 });
            world.facts.stale_identity = vec![(Leaf::Admin, ends), (Leaf::LabServer, ends)];
        },
        steps: &["identity.create", "ingress.configure", "kubeconfig.write"],
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
