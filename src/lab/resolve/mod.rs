//! Fills in what the lab file leaves out, with the networking document's values, and checks the whole.

mod image;
mod machines;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::catalogue::{self, Arch, Version, Versions};
use super::limits::Limits;
use super::lint::{lint, rules};
use super::presets::Preset;
use super::problem::{Problem, Severity};
use super::spec::{self, LabFile, Origin, Spec};
use super::{Cluster, GatewaySettings, Internal, Lab, Lan, Ports};

/// The networking document's home network.
pub const LAN: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 68, 0), 24);

/// A lab that can be brought up.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub lab: Lab,
    /// By their place in the file.
    pub warnings: Vec<Problem>,
    /// Where the file's values stand, for checks that need the host's facts.
    pub origin: Origin,
}

/// Reads a lab file and completes it; without a text it is the networking document's lab. A preset
/// given here comes before the file's.
///
/// # Errors
/// Everything that is wrong, warnings included, by its place in the file, if there is any error.
pub fn resolve(text: Option<&str>, preset: Option<Preset>, arch: Arch) -> Result<Resolved, Vec<Problem>> {
    resolve_remembering(text, preset, &mut |_| None, arch)
}

/// As [`resolve`]; `remembered` is asked, with the lab's name, for a size where neither the preset given here nor the file names one.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_remembering(
    text: Option<&str>,
    preset: Option<Preset>,
    remembered: &mut dyn FnMut(&str) -> Option<Preset>,
    arch: Arch,
) -> Result<Resolved, Vec<Problem>> {
    let LabFile { spec, origin, problems } = text.map(spec::parse).unwrap_or_default();
    // After a syntax error there is nothing to complete, and the defaults' warnings would be noise.
    if problems.iter().any(|problem| problem.rule == rules::YAML_SYNTAX.name) {
        return Err(problems);
    }
    let mut resolver = Resolver { spec: &spec, origin: &origin, problems };
    let preset = preset.or(spec.preset).or_else(|| remembered(&spec.lab_name()));
    let lab = resolver.lab(preset.unwrap_or_default(), arch);
    let mut problems = resolver.problems;
    problems.extend(lint(&lab, &origin, None));
    problems
        .sort_by_key(|problem| (problem.span.is_none(), problem.span, std::cmp::Reverse(problem.severity)));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok(Resolved { lab, warnings: problems, origin })
}

/// Host parts of the document's addresses.
mod host_part {
    pub const LAN_ROUTER: u32 = 1;
    pub const LAN_VIP: u32 = 200;
    /// gateway1 is one more.
    pub const LAN_GATEWAYS: u32 = 55;
    pub const INTERNAL_HOST: u32 = 1;
    pub const INTERNAL_NAT: u32 = 2;
    pub const INTERNAL_VIP: u32 = 10;
    pub const GATEWAYS: u32 = 10;
    pub const CONTROL_PLANES: u32 = 130;
    pub const WORKERS: u32 = 140;
}

/// Returns the address with this host part; in a smaller subnet than the document's the part is cut
/// to what fits, which keeps the document's addresses apart down to a /27.
fn host(subnet: Ipv4Net, part: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()) | (part & u32::from(subnet.hostmask())))
}

/// Returns what Fusion's DHCP server gives away: the upper half, without the broadcast address.
fn dhcp_pool(subnet: Ipv4Net) -> (Ipv4Addr, Ipv4Addr) {
    let mask = u32::from(subnet.hostmask());
    (host(subnet, (mask >> 1) + 1), host(subnet, mask.saturating_sub(1)))
}

struct Resolver<'a> {
    spec: &'a Spec,
    origin: &'a Origin,
    problems: Vec<Problem>,
}

impl Resolver<'_> {
    fn lab(&mut self, preset: Preset, arch: Arch) -> Lab {
        let (spec, name) = (self.spec, self.spec.lab_name());
        let (lan, internal) = (self.lan(), self.internal());
        let clone = spec.clone.unwrap_or_default();
        let nodes = self.nodes(preset, clone, &name, &lan, &internal);
        let gateways = spec.gateways.clone().unwrap_or_default();
        let ssh = spec.ssh.clone().unwrap_or_default();
        Lab {
            name,
            lan,
            internal,
            cluster: self.cluster(),
            gateway: GatewaySettings {
                advert_centiseconds: gateways.advert.map_or(20, |advert| advert.0),
                virtual_router_id: gateways.router_id.map_or(51, |id| narrow(id.0)),
            },
            nodes,
            image: self.image(arch),
            versions: self.versions(),
            clone,
            driver: spec.driver.unwrap_or_default(),
            addressing: spec.addressing.unwrap_or_default(),
            authorized_keys: ssh.authorized_keys.unwrap_or_default().into_iter().map(|key| key.0).collect(),
            limits: self.limits(),
        }
    }

    fn lan(&self) -> Lan {
        let lan = self.spec.lan.clone().unwrap_or_default();
        let subnet = lan.subnet.unwrap_or(LAN);
        let router = lan.router.unwrap_or(host(subnet, host_part::LAN_ROUTER));
        Lan {
            subnet,
            router,
            dns: lan.dns.unwrap_or_else(|| vec![router]),
            vip: lan.vip.unwrap_or(host(subnet, host_part::LAN_VIP)),
            interface: lan.interface.map(|interface| interface.0),
        }
    }

    fn internal(&self) -> Internal {
        let internal = self.spec.internal.clone().unwrap_or_default();
        let subnet = internal.subnet.unwrap_or(Ipv4Net::new_assert(Ipv4Addr::new(10, 10, 0, 0), 24));
        Internal {
            vmnet: internal.vmnet.map_or(2, |vmnet| vmnet.0),
            subnet,
            host: host(subnet, host_part::INTERNAL_HOST),
            nat: host(subnet, host_part::INTERNAL_NAT),
            dhcp: dhcp_pool(subnet),
            vip: internal.vip.unwrap_or(host(subnet, host_part::INTERNAL_VIP)),
        }
    }

    fn cluster(&self) -> Cluster {
        let kubernetes = self.spec.kubernetes.clone().unwrap_or_default();
        let ports = self.spec.ports.clone().unwrap_or_default();
        Cluster {
            pods: kubernetes.pods.unwrap_or(Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16)),
            services: kubernetes.services.unwrap_or(Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12)),
            api_name: kubernetes.api_name.map_or_else(|| "k8s-api.lab.internal".to_owned(), |name| name.0),
            api_names: kubernetes.api_names.unwrap_or_default().into_iter().map(|name| name.0).collect(),
            domain: self.spec.domain.as_ref().map_or_else(|| "lab.test".to_owned(), |name| name.0.clone()),
            ports: Ports {
                api: ports.api.map_or(6443, |port| port.0),
                http: ports.http.map_or(80, |port| port.0),
                http_node_port: ports.http_node_port.map_or(30080, |port| port.0),
                https: ports.https.map_or(443, |port| port.0),
                https_node_port: ports.https_node_port.map_or(30443, |port| port.0),
            },
            proxy_protocol: kubernetes.proxy_protocol.unwrap_or_default(),
        }
    }

    fn versions(&self) -> Versions {
        let own = self.spec.kubernetes.clone().unwrap_or_default();
        let usual = catalogue::versions();
        let or = |own: Option<Version>, usual: String| own.map_or(usual, |version| version.to_string());
        let kubernetes = or(own.version, usual.kubernetes);
        Versions {
            pause: catalogue::pause(&kubernetes).to_owned(),
            kubernetes,
            cilium: or(own.cilium, usual.cilium),
            gateway_api: or(own.gateway_api, usual.gateway_api),
            helm: or(own.helm, usual.helm),
            containerd: or(own.containerd, usual.containerd),
        }
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (name, value) in self.spec.limits.iter().flat_map(|limits| &limits.0) {
            limits.set(name, *value);
        }
        limits
    }
}

/// Narrows a number whose key's bounds fit a byte.
fn narrow(number: u16) -> u8 {
    u8::try_from(number).expect("the key's upper bound is below 256")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::lab::Network;

    fn lab(body: &str) -> Lab {
        resolve(Some(&format!("version: 1\n{body}")), None, Arch::Arm64)
            .unwrap_or_else(|found| panic!("{found:#?}"))
            .lab
    }

    fn errors(text: &str) -> Vec<Problem> {
        resolve(Some(text), None, Arch::Arm64).unwrap_err()
    }

    const HOSTILE: &[&str] = &[
        "0",
        "1",
        "2",
        "7",
        "255",
        "256",
        "65535",
        "65536",
        "-1",
        "+1",
        "0.5",
        "1e9",
        "~",
        "x",
        "ha",
        "solo",
        "small",
        "full",
        "cow",
        "static",
        "true",
        "1.35.1",
        "1.37.0-rc.1",
        "4GiB",
        "1MiB",
        "4096TiB",
        "0.0.0.0",
        "0.0.0.0/0",
        "255.255.255.255/32",
        "10.10.0.131",
        "10.10.0.0/24",
        "10.0.0.0/31",
        "192.168.68.200",
        "a.local",
        "en0",
    ];

    #[test]
    fn without_a_file_it_is_the_documents_lab() {
        let lab = resolve(None, None, Arch::Arm64).unwrap().lab;
        let places: Vec<_> = lab
            .nodes
            .iter()
            .map(|node| {
                let outside = node
                    .lan()
                    .map(|nic| format!("{} on {}, ", nic.address, nic.guest_name()))
                    .unwrap_or_default();
                format!("{}: {outside}{} on {}", node.name, node.address(), node.internal().guest_name())
            })
            .collect();
        assert_eq!(
            places,
            [
                "gateway1: 192.168.68.56 on ens160, 10.10.0.11 on ens192",
                "gateway2: 192.168.68.57 on ens160, 10.10.0.12 on ens192",
                "k8s-master1: 10.10.0.131 on ens160",
                "k8s-master2: 10.10.0.132 on ens160",
                "k8s-master3: 10.10.0.133 on ens160",
                "k8s-worker1: 10.10.0.141 on ens160",
                "k8s-worker2: 10.10.0.142 on ens160",
            ]
        );
        let text = |address: Ipv4Addr| address.to_string();
        assert_eq!(
            (lab.lan.subnet.to_string(), text(lab.lan.router), text(lab.lan.vip)),
            ("192.168.68.0/24".into(), "192.168.68.1".into(), "192.168.68.200".into())
        );
        let internal = &lab.internal;
        assert_eq!(
            [internal.host, internal.nat, internal.dhcp.0, internal.dhcp.1, internal.vip].map(text),
            ["10.10.0.1", "10.10.0.2", "10.10.0.128", "10.10.0.254", "10.10.0.10"]
        );
        assert_eq!((lab.vmnet_name(), internal.subnet.to_string()), ("vmnet2".into(), "10.10.0.0/24".into()));
        assert_eq!(
            (lab.cluster.pods.to_string(), lab.cluster.services.to_string()),
            ("10.244.0.0/16".into(), "10.96.0.0/12".into())
        );
        let ports = &lab.cluster.ports;
        assert_eq!(
            [ports.api, ports.https, ports.https_node_port, ports.http, ports.http_node_port],
            [6443, 443, 30443, 80, 30080]
        );
        assert_eq!(lab.control_plane_endpoint(), "k8s-api.lab.internal:6443");
        assert_eq!(lab, self::lab(""), "a file that says nothing but its version is the same lab");
    }

    #[test]
    fn a_subnet_moves_every_address_in_it() {
        let lab = lab("lan: {subnet: 192.168.1.0/24}\ninternal: {subnet: 10.20.0.0/16}\n");
        assert_eq!(lab.lan.vip.to_string(), "192.168.1.200");
        assert_eq!(lab.lan.dns, [lab.lan.router]);
        assert_eq!(lab.node("k8s-worker2").unwrap().address().to_string(), "10.20.0.142");
        assert_eq!(
            [lab.internal.dhcp.0, lab.internal.dhcp.1].map(|end| end.to_string()),
            ["10.20.128.0", "10.20.255.254"]
        );
    }

    #[test]
    fn the_presets_are_what_they_say() {
        let counts = |preset| {
            let lab = resolve(Some("version: 1\npreset: ha\n"), Some(preset), Arch::Amd64).unwrap().lab;
            (lab.gateways().count() as u8, lab.control_planes().count() as u8, lab.workers().count() as u8)
        };
        for preset in Preset::ALL {
            assert_eq!(counts(preset), preset.counts(), "{preset}");
        }
        let remembered = |text: Option<&str>, preset| {
            let mut asked = Vec::new();
            let mut solo = |name: &str| {
                asked.push(name.to_owned());
                Some(Preset::Solo)
            };
            let lab = resolve_remembering(text, preset, &mut solo, Arch::Arm64).unwrap().lab;
            (lab.nodes.len(), asked.join(" "))
        };
        assert_eq!(remembered(None, None), (2, "lab".to_owned()));
        assert_eq!(
            remembered(Some("version: 1\nname: mine\nworkers: {count: 1}\n"), None),
            (3, "mine".to_owned())
        );
        assert_eq!(
            remembered(Some("version: 1\npreset: small\n"), None),
            (3, String::new()),
            "the file comes before"
        );
        assert_eq!(remembered(None, Some(Preset::Ha)), (7, String::new()), "and the option before both");
        let solo = lab("preset: solo\n");
        assert!(solo.first_control_plane().schedulable);
        assert_eq!(solo.ingress_nodes().count(), 1);
        assert_eq!(lab("preset: small\nworkers: {count: 3}\n").workers().count(), 3);
    }

    #[test]
    fn four_mistakes_are_one_report_with_four_places() {
        let text = "\
version: 1
nam: x
lan:
  subnet: 192.168.68.0/33
  vip: 192.168.68.201
nodes:
  k8s-worker1: {address: 10.10.0.50}
  k8s-worker2: {address: 10.10.0.50}
kubernetes:
  version: 1.36
";
        let found: Vec<_> = errors(text)
            .into_iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| {
                let span = problem.span.unwrap();
                (problem.rule, span.line, span.column, span.length)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("unknown-key", 2, 1, 3),
                ("bad-value", 4, 11, 15),
                ("address-used-twice", 8, 26, 10),
                ("bad-value", 10, 12, 4),
            ]
        );
    }

    #[test]
    fn a_value_that_was_not_understood_causes_no_second_finding() {
        let found = errors("version: 1\nlan: {subnet: 10.0.0/24, vip: 10.0.0.200, router: 10.0.0.138}\n");
        let rules: Vec<_> =
            found.iter().filter(|found| found.severity == Severity::Error).map(|found| found.rule).collect();
        assert_eq!(rules, ["bad-value"]);
    }

    #[test]
    fn linked_clones_share_one_disk_size() {
        assert!(lab("").nodes.iter().all(|node| node.disk_gib == 40));
        assert!(lab("control_planes: {disk: 60GiB}\n").nodes.iter().all(|node| node.disk_gib == 60));
        assert_eq!(errors("version: 1\ngateways: {disk: 10GiB}\n")[0].rule, "disk-size-differs");
        assert_eq!(errors("version: 1\nnodes: {k8s-worker1: {disk: 80GiB}}\n")[0].rule, "disk-size-differs");
        let full = lab("clone: full\nnodes: {k8s-worker1: {disk: 80GiB}}\n");
        assert_eq!(
            (full.node("gateway1").unwrap().disk_gib, full.node("k8s-worker1").unwrap().disk_gib),
            (10, 80)
        );
    }

    #[test]
    fn exceptions_are_for_machines_that_exist() {
        let found = errors("version: 1\nnodes:\n  k8s-worker3: {cpus: 4}\n");
        let rules: Vec<_> = found.iter().map(|found| found.rule).collect();
        assert_eq!(rules[0], "unknown-node");
        let at = found[0].span.unwrap();
        assert_eq!((at.line, at.column, at.length), (3, 3, "k8s-worker3".len()), "the name is what is wrong");
        assert_eq!(
            lab("nodes: {k8s-worker2: {cpus: 4, memory: 8GiB}}\n").node("k8s-worker2").unwrap().memory_mib,
            8192
        );
    }

    #[test]
    fn a_node_with_a_lan_address_has_a_second_card() {
        let lab = lab("nodes: {k8s-worker1: {lan_address: 192.168.68.58}}\n");
        let cards = |name: &str| -> Vec<_> {
            let nics = &lab.node(name).unwrap().nics;
            nics.iter().map(|nic| (nic.network, nic.pci_slot, nic.address.to_string())).collect()
        };
        let inside = (Network::Internal, 160, "10.10.0.141".to_owned());
        assert_eq!(cards("k8s-worker1"), [inside, (Network::Lan, 192, "192.168.68.58".to_owned())]);
        assert_eq!(cards("k8s-worker2").len(), 1);
    }

    #[test]
    fn versions_carry_no_v_and_bring_their_pause_image() {
        let versions = lab("kubernetes: {version: v1.35.9}\n").versions;
        assert_eq!((versions.kubernetes.as_str(), versions.pause.as_str()), ("1.35.9", "3.10.1"));
    }

    #[test]
    fn limits_are_overridden_by_name() {
        assert_eq!(lab("limits: {guest_ssh: 900}\n").limits.guest_ssh.as_secs(), 900);
    }

    #[test]
    fn macs_are_stable_distinct_and_vmwares() {
        let lab = lab("control_planes: {count: 7}\nworkers: {count: 9}\n");
        let macs: Vec<_> = lab.nodes.iter().flat_map(|node| &node.nics).map(|nic| nic.mac).collect();
        assert_eq!(macs.iter().collect::<BTreeSet<_>>().len(), 2 * 2 + 7 + 9);
        assert!(macs.iter().all(|mac| mac.is_vmware_static()));
        assert_eq!(macs[0].to_string(), "00:50:56:25:11:00", "known to users' routers: it must never change");
    }

    #[test]
    fn a_syntax_error_stands_alone() {
        let found = errors("version: 1\nlan: [\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rule, "yaml-syntax");
    }

    proptest! {
        #[test]
        fn every_usable_subnet_keeps_the_documents_addresses_apart(prefix in 8_u8..=27, bits in any::<u32>()) {
            let subnet = Ipv4Net::new_assert(Ipv4Addr::from(bits), prefix).trunc();
            let text = format!("version: 1\ninternal: {{subnet: {subnet}}}\ncontrol_planes: {{count: 7}}\nworkers: {{count: 9}}\n");
            let problems = resolve(Some(&text), None, Arch::Arm64).map_or_else(|found| found, |resolved| resolved.warnings);
            let about_addresses = problems.iter().filter(|found| found.rule.starts_with("address-")).count();
            prop_assert_eq!(about_addresses, 0, "{:#?}", problems);
        }

        #[test]
        fn whatever_the_keys_hold_the_answer_is_a_lab_or_known_findings(
            picks in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(HOSTILE)), 1..6),
        ) {
            let keys = spec::keys();
            let mut text = String::from("version: 1\n");
            for (key, value) in picks {
                let path = keys[key.index(keys.len())].path.replace(spec::ANY_NODE, "k8s-worker1");
                text = spec::edit::set(&text, &path, value).unwrap_or(text);
            }
            let problems = resolve(Some(&text), None, Arch::Amd64).map_or_else(|found| found, |resolved| resolved.warnings);
            for problem in problems {
                prop_assert!(super::super::lint::rules::rule(problem.rule).is_some(), "{}", problem.rule);
            }
        }

        #[test]
        fn no_value_of_a_subnet_makes_it_panic(prefix in 0_u8..=32, bits in any::<u32>()) {
            let subnet = Ipv4Net::new_assert(Ipv4Addr::from(bits), prefix).trunc();
            for key in ["internal: {subnet: S}", "lan: {subnet: S}", "kubernetes: {pods: S}", "kubernetes: {services: S}"] {
                let _ = resolve(Some(&format!("version: 1\n{}\n", key.replace('S', &subnet.to_string()))), None, Arch::Arm64);
            }
        }
    }
}
