//! The gateways: what runs on them, who holds the VIPs, and what each of them forwards.

use crate::formats::command::Command;
use crate::lab::{Lab, Node};

use super::ask::{INTERNET, application, cluster_https, internet, labelled, on_each};
use super::{Check, Expect, Hint, Hop, Probe};

pub fn checks(lab: &Lab) -> Vec<Check> {
    [of_machines(lab), of_forwarding(lab)].concat()
}

fn check(id: &'static str, title: impl Into<String>, probe: Probe, expect: Expect, hint: Hint) -> Check {
    Check { id, title: title.into(), hop: Hop::Gateways, probe, expect, hint }
}

fn of_machines(lab: &Lab) -> Vec<Check> {
    let nodes = lab.gateways().map(|node| node.name.clone()).collect();
    let services = lab.gateways().flat_map(|node: &Node| {
        ["nginx", "keepalived"].map(|unit| {
            let active = Command::new(["systemctl", "is-active", unit]).as_root();
            labelled(&node.name, unit, &node.name, active)
        })
    });
    let route = Command::new(["ip", "-4", "route", "show", "default"]);
    vec![
        check(
            "gateway.services",
            "nginx and Keepalived run on every gateway",
            Probe::GuestEach { commands: services.collect() },
            Expect::Success,
            Hint {
                look: "on the gateway, why the service does not run",
                command: "journalctl -u nginx -u keepalived -n 30",
            },
        ),
        check(
            "gateway.route",
            format!("every gateway's way out is the home router at {}", lab.lan.router),
            on_each(lab.gateways(), "default", &route),
            Expect::DefaultRoute(lab.lan.router),
            Hint {
                look: "on the gateway, which routes it has and who gave them",
                command: "ip -4 route && networkctl status",
            },
        ),
        check(
            "gateway.internet",
            "every gateway reaches the internet through the home network",
            on_each(lab.gateways(), INTERNET, &internet(lab)),
            Expect::AnyHttpStatus,
            Hint {
                look: "on the gateway, whether the home router answers and names resolve",
                command: "ip -4 route && resolvectl status",
            },
        ),
        check(
            "gateway.vips",
            format!("exactly one gateway holds both {} and {}", lab.lan.vip, lab.internal.vip),
            Probe::Facts,
            Expect::OneHolder { nodes, addresses: vec![lab.lan.vip, lab.internal.vip] },
            Hint {
                look: "on both gateways, who became master when, and which check keeps the other from it",
                command: "journalctl -u keepalived -n 30",
            },
        ),
    ]
}

fn of_forwarding(lab: &Lab) -> Vec<Check> {
    let version = Expect::Contains(vec!["gitVersion".into(), lab.versions.kubernetes.clone()]);
    let api = |address| cluster_https(lab, address, "/version");
    let web = lab.gateways().flat_map(|node| [false, true].map(|tls| application(lab, node.address(), tls)));
    let log = Hint {
        look: "on the gateway, whom nginx tried and how that ended",
        command: "tail -n 20 /var/log/nginx/error.log",
    };
    vec![
        check(
            "gateway.api",
            format!("the API answers this Mac at {}:{}", lab.lan.vip, lab.cluster.ports.api),
            Probe::Host { requests: vec![api(lab.lan.vip)] },
            version.clone(),
            Hint {
                look: "on the gateway that holds the VIP, whom nginx tried",
                command: "tail -n 20 /var/log/nginx/error.log",
            },
        ),
        check(
            "gateway.forwards-api",
            format!("each gateway by itself forwards port {} to a control plane", lab.cluster.ports.api),
            Probe::Host { requests: lab.gateways().map(|node| api(node.address())).collect() },
            version,
            log,
        ),
        check(
            "gateway.forwards-web",
            format!(
                "each gateway by itself forwards ports {} and {} to an ingress node",
                lab.cluster.ports.http, lab.cluster.ports.https
            ),
            Probe::Host { requests: web.collect() },
            Expect::Application { host: crate::stack::ingress::application_host(lab) },
            log,
        ),
    ]
}
