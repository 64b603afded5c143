//! What makes checks of machines, gateways and the control plane fail: each cause with the checks that must notice it and
//! those that depend on it as well.

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use serde_json::json;

use super::bench::Bench;

/// Stands for every check, where half the lab depends on what was done.
pub const ANY: &str = "*";

/// One thing that is brought about.
pub struct Cause {
    pub what: &'static str,
    /// The checks that must fail.
    pub must: &'static [&'static str],
    /// Those that may fail as well.
    pub may: &'static [&'static str],
    pub bring: fn(&Bench),
    pub mend: fn(&Bench),
}

const NETWORKING: &str = "Library/Preferences/VMware Fusion/networking";
const DHCPD_CONF: &str = "Library/Preferences/VMware Fusion/vmnet2/dhcpd.conf";
const LEASES: &str = "var/db/vmware/vmnet-dhcpd-vmnet2.leases";
const STRANGERS_LEASE: &str = "lease 10.10.0.142 {\n\tstarts 4 2026/01/01 00:00:00;\n\tends 4 2099/01/01 00:00:00;\n\
    \thardware ethernet 00:50:56:3a:00:01;\n}\n";

pub const CAUSES: &[Cause] = &[
    Cause {
        what: "a machine has an address on the LAN that it was not given",
        must: &["machine.segmentation"],
        may: &[],
        bring: |bench| drop(bench.guest("k8s-worker2", "ip address add 192.168.68.77/24 dev ens160")),
        mend: |bench| drop(bench.guest("k8s-worker2", "ip address del 192.168.68.77/24 dev ens160")),
    },
    Cause {
        what: "a machine answers no echo request",
        must: &["machine.ping"],
        may: &[],
        bring: |bench| drop(bench.guest("k8s-worker2", "sysctl -w net.ipv4.icmp_echo_ignore_all=1")),
        mend: |bench| drop(bench.guest("k8s-worker2", "sysctl -w net.ipv4.icmp_echo_ignore_all=0")),
    },
    Cause {
        what: "a machine's clock is wrong",
        must: &["machine.clock"],
        may: &[],
        bring: |bench| drop(bench.guest("k8s-worker1", "date -s @1700000000")),
        mend: |bench| drop(bench.guest("k8s-worker1", "chronyc makestep")),
    },
    Cause {
        what: "a machine has no way out",
        must: &["machine.route", "machine.internet", "pods.internet"],
        may: &[],
        bring: |bench| drop(bench.guest("k8s-worker2", "ip route del default")),
        mend: |bench| drop(bench.guest("k8s-worker2", "ip route add default via 10.10.0.2 dev ens160")),
    },
    Cause {
        what: "a machine asks somebody else for names",
        must: &["machine.dns"],
        may: &[],
        bring: |bench| drop(bench.guest("k8s-master2", "resolvectl dns ens160 192.0.2.1")),
        mend: |bench| drop(bench.guest("k8s-master2", "resolvectl dns ens160 10.10.0.2")),
    },
    Cause {
        what: "the networking file wants no NAT",
        must: &["vmnet.config"],
        may: &[],
        bring: |bench| bench.edit(NETWORKING, |text| text.replace("VNET_2_NAT yes", "VNET_2_NAT no")),
        mend: |bench| bench.restore(NETWORKING),
    },
    Cause {
        what: "the DHCP server's file has another range",
        must: &["vmnet.dhcp"],
        may: &[],
        bring: |bench| bench.edit(DHCPD_CONF, |text| text.replace("range 10.10.0.128", "range 10.10.0.100")),
        mend: |bench| bench.restore(DHCPD_CONF),
    },
    Cause {
        what: "a reservation is gone",
        must: &["vmnet.reservations"],
        may: &[],
        bring: |bench| {
            let own = |line: &&str| !line.ends_with(" 10.10.0.141");
            bench.edit(NETWORKING, |text| text.lines().filter(own).map(|line| format!("{line}\n")).collect());
        },
        mend: |bench| bench.restore(NETWORKING),
    },
    Cause {
        what: "a machine's address is leased to a stranger",
        must: &["vmnet.leases"],
        may: &[],
        bring: |bench| bench.edit(LEASES, |text| format!("{text}{STRANGERS_LEASE}")),
        mend: |bench| bench.restore(LEASES),
    },
    Cause {
        what: "NAT does not run",
        must: &["vmnet.services", "vmnet.ways", "machine.internet", "pods.internet"],
        may: &[],
        bring: |bench| bench.program("vmnet-cfgcli", &["servicestop", "vmnet2", "nat"]),
        mend: |bench| bench.program("vmnet-cfgcli", &["servicestart", "vmnet2", "nat"]),
    },
    Cause {
        what: "the gateway that waits lost its address on the LAN",
        must: &["machine.address", "gateway.route", "gateway.internet", "lan.neighbour"],
        may: &[],
        bring: |bench| {
            let (_, waiting) = bench.gateways();
            let address = lan_address(waiting);
            bench.guest(waiting, &format!("ip address del {address}/24 dev ens160"));
        },
        mend: |bench| {
            let (_, waiting) = bench.gateways();
            let address = lan_address(waiting);
            bench.guest(waiting, &format!("ip address add {address}/24 dev ens160"));
            bench.guest(waiting, "ip route add default via 192.168.68.1 dev ens160");
        },
    },
    Cause {
        what: "both gateways hold the VIP",
        must: &["gateway.vips"],
        may: &[],
        bring: |bench| {
            let (_, waiting) = bench.gateways();
            bench.guest(waiting, "ip address add 192.168.68.200/24 dev ens160");
        },
        mend: |bench| {
            for gateway in ["gateway1", "gateway2"] {
                if !bench.guest(gateway, "ip -4 address").contains("10.10.0.10/") {
                    bench.guest(gateway, "ip address del 192.168.68.200/24 dev ens160");
                }
            }
        },
    },
    Cause {
        what: "nginx does not run on the gateway that waits",
        must: &["gateway.services", "gateway.forwards-api", "gateway.forwards-web", "api.certificate"],
        may: &[],
        bring: |bench| drop(bench.guest(bench.gateways().1, "systemctl stop nginx")),
        mend: |bench| {
            for gateway in ["gateway1", "gateway2"] {
                bench.guest(gateway, "systemctl start nginx");
            }
        },
    },
    Cause {
        what: "a gateway's name server does not run",
        must: &["lan.dns"],
        may: &[],
        bring: |bench| drop(bench.guest("gateway2", "systemctl stop fusionlab-dns")),
        mend: |bench| drop(bench.guest("gateway2", "systemctl start fusionlab-dns")),
    },
    Cause {
        what: "Keepalived runs nowhere, so nobody holds the VIPs",
        must: &[
            "gateway.services",
            "gateway.vips",
            "gateway.api",
            "api.endpoint",
            "lan.dns",
            "lan.http",
            "lan.https",
            "lan.spread",
            "lan.routing",
            "lan.neighbour",
        ],
        may: &[ANY],
        bring: |bench| {
            for gateway in ["gateway1", "gateway2"] {
                bench.guest(gateway, "systemctl stop keepalived");
            }
        },
        mend: |bench| {
            for gateway in ["gateway1", "gateway2"] {
                bench.guest(gateway, "systemctl start keepalived");
            }
        },
    },
    Cause {
        what: "a member takes the API's name for another address",
        must: &["api.endpoint"],
        may: &[],
        bring: |bench| {
            let hosts = bench.guest("k8s-worker2", "cat /etc/hosts");
            bench.put("k8s-worker2", "/etc/hosts.kept", "0644", &hosts);
            bench.put("k8s-worker2", "/etc/hosts", "0644", &hosts.replace("10.10.0.10 ", "10.10.0.99 "));
        },
        mend: |bench| drop(bench.guest("k8s-worker2", "mv -f /etc/hosts.kept /etc/hosts")),
    },
    Cause {
        what: "the API's certificates lack the gateways' addresses",
        must: &["api.certificate", "gateway.forwards-api"],
        may: &[],
        bring: short_certificates,
        mend: |bench| {
            for node in bench.lab.control_planes() {
                for ending in ["crt", "key"] {
                    let path = format!("/etc/kubernetes/pki/apiserver.{ending}");
                    bench.guest(&node.name, &format!("mv -f {path}.kept {path}"));
                }
            }
        },
    },
    Cause {
        what: "who joins is sent to one control plane",
        must: &["api.cluster-info"],
        may: &[],
        bring: |bench| cluster_info(bench, "https://k8s-api.lab.internal:6443", "https://10.10.0.131:6443"),
        mend: |bench| cluster_info(bench, "https://10.10.0.131:6443", "https://k8s-api.lab.internal:6443"),
    },
    Cause {
        what: "a worker's kubelet does not run",
        must: &["nodes.ready", "ports.kubelet"],
        may: &[ANY],
        bring: |bench| drop(bench.guest("k8s-worker2", "systemctl stop kubelet")),
        mend: |bench| drop(bench.guest("k8s-worker2", "systemctl start kubelet")),
    },
    Cause {
        what: "a control plane lost its power",
        must: &[
            "host.access",
            "api.livez",
            "api.certificate",
            "etcd.members",
            "nodes.ready",
            "ports.etcd",
            "ports.kubelet",
            "machine.ping",
            "cilium.datapath",
            "hubble.flows",
        ],
        may: &[ANY],
        bring: |bench| bench.program("vmrun", &["-T", "fusion", "stop", &bench.vmx("k8s-master3"), "hard"]),
        mend: Bench::put_right,
    },
];

fn lan_address(gateway: &str) -> &'static str {
    if gateway == "gateway1" { "192.168.68.56" } else { "192.168.68.57" }
}

fn cluster_info(bench: &Bench, from: &str, to: &str) {
    let map = bench.object("kube-public", "configmaps", "cluster-info");
    let text = map["data"]["kubeconfig"].as_str().expect("it has one").replace(from, to);
    bench.patch(
        ("kube-public", "configmaps"),
        "cluster-info",
        &json!({ "data": { "kubeconfig": text } }).to_string(),
    );
}

/// Gives every control plane a certificate with its own names and the VIPs', but without the gateways'.
fn short_certificates(bench: &Bench) {
    let authority = &bench.identity.cluster_ca;
    let key = KeyPair::from_pem(secrecy::ExposeSecret::expose_secret(&authority.key)).expect("our own key");
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, key).expect("our own authority");
    let all: Vec<String> = bench.lab.control_planes().map(|node| node.address().to_string()).collect();
    for node in bench.lab.control_planes() {
        let own = ["192.168.68.200", "10.10.0.10", "k8s-api.lab.internal", "127.0.0.1", "10.96.0.1"];
        let names: Vec<String> = own.iter().map(|name| (*name).to_owned()).chain(all.clone()).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
        for (ending, content) in [("crt", certificate), ("key", key.serialize_pem())] {
            let path = format!("/etc/kubernetes/pki/apiserver.{ending}");
            let before = bench.guest(&node.name, &format!("cat {path}"));
            bench.put(&node.name, &format!("{path}.kept"), "0600", &before);
            bench.put(&node.name, &path, "0600", &content);
        }
    }
}
