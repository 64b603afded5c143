//! The lab's networks as a page for people: what is where, and the way of a packet. `render` writes it for any lab, and
//! docs/networking.md is the built-in lab's, so no address in either can be wrong.

use std::fmt::Write as _;

use super::topology::{self, Diagram};
use crate::cli::terminal::Pen;
use crate::lab::{Addressing, Lab, Nic, Node};

/// The page's file among the rendered ones.
pub const FILE: &str = "networking.md";
/// The picture that it shows.
pub const PICTURE: &str = "topology.svg";
/// Columns of the drawing in it.
const WIDTH: usize = 88;

/// Returns the page; `picture` is where the drawing lies, as seen from it.
pub fn page(lab: &Lab, picture: &str) -> String {
    let mut page = Page { text: String::new() };
    page.opening(lab, picture);
    page.journey(lab);
    page.segments(lab);
    page.machines(lab);
    page.ports(lab);
    page.fusion(lab);
    page.looking();
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    fn lines<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        lines.into_iter().for_each(|line| self.line(line));
    }

    fn heading(&mut self, heading: &str) {
        let _ = write!(self.text, "\n## {heading}\n\n");
    }

    fn table<const N: usize>(&mut self, head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        self.line(format!("| {} |", head.join(" | ")));
        self.line(format!("|{}", "---|".repeat(N)));
        rows.into_iter().for_each(|row| self.line(format!("| {} |", row.join(" | "))));
    }

    fn opening(&mut self, lab: &Lab, picture: &str) {
        self.line(format!("# The networks of the lab `{}`", lab.name));
        self.line("");
        self.line("Written by fusionlab from the lab file; do not edit it.");
        self.line("");
        self.line(format!("![both networks and all machines]({picture})"));
        self.line("");
        self.line("```text");
        let drawing = topology::lines(&Diagram::of(lab, None), &Pen::plain(WIDTH));
        self.lines(drawing.iter().map(String::as_str));
        self.line("```");
        self.line("");
        self.line(format!(
            "The gateways have a card in each network, and {}: what comes from the home network reaches the \
             cluster through nginx on one of them, and the control plane is never seen there. Keepalived keeps {} with a \
             gateway that works, and {} with the same one.",
            both_homed(lab),
            lab.lan.vip,
            lab.internal.vip
        ));
    }

    /// One request, hop by hop; `verify` walks the same way.
    fn journey(&mut self, lab: &Lab) {
        self.heading("The way of a packet");
        let ports = &lab.cluster.ports;
        let workers = names(lab.ingress_nodes());
        self.line(format!(
            "1. A browser asks for `https://myapp.{}`, whose address is {}.",
            lab.cluster.domain, lab.lan.vip
        ));
        self.line(format!(
            "2. The packet arrives at the gateway that holds the VIP, on `{}`.",
            card(lab, Nic::guest_name)
        ));
        self.line(format!(
            "3. nginx takes the connection on port {} as it is, without opening TLS, and chooses one of {workers}.",
            ports.https
        ));
        self.line(format!(
            "4. It leaves by the inner card, through {}, to NodePort {}.",
            lab.vmnet_name(),
            ports.https_node_port
        ));
        self.line(
            "5. Cilium takes it there in eBPF, with no kube-proxy, to Envoy behind the Gateway's listener.",
        );
        self.line("6. The Gateway ends TLS, chooses by the request's host name, and passes it on to a pod of the application.");
        self.line("");
        self.line("`fusionlab verify` goes this way with real requests and says at which hop one is lost.");
    }

    fn segments(&mut self, lab: &Lab) {
        self.heading("Segments");
        let (lan, internal, cluster) = (&lab.lan, &lab.internal, &lab.cluster);
        let row = |name: &str, subnet: String, what: String| [name.to_owned(), subnet, what];
        self.table(
            ["segment", "subnet", "what it is"],
            [
                row(
                    "home network",
                    lan.subnet.to_string(),
                    format!("the gateways are bridged to it; router {}", lan.router),
                ),
                row(
                    &lab.vmnet_name(),
                    internal.subnet.to_string(),
                    format!("made by Fusion: host {}, NAT and DNS {}", internal.host, internal.nat),
                ),
                row("pods", cluster.pods.to_string(), "routed by Cilium without a tunnel".to_owned()),
                row(
                    "services",
                    cluster.services.to_string(),
                    "ClusterIPs, in each node's eBPF maps".to_owned(),
                ),
            ],
        );
    }

    fn machines(&mut self, lab: &Lab) {
        self.heading("Machines");
        let row = |node: &Node| {
            let lan = node.lan().map_or("–".to_owned(), |nic| nic.address.to_string());
            let cards: Vec<String> =
                node.nics.iter().map(|nic| format!("{} `{}`", nic.guest_name(), nic.mac)).collect();
            [
                format!("`{}`", node.name),
                node.role.noun().to_owned(),
                node.address().to_string(),
                lan,
                cards.join(", "),
            ]
        };
        self.table(
            ["machine", "role", &lab.vmnet_name(), "home network", "cards"],
            lab.nodes.iter().map(row),
        );
        self.line("");
        let how = match lab.addressing {
            Addressing::Dhcp => "by a reservation for its MAC in Fusion's DHCP server",
            Addressing::Static => "by its own configuration; a reservation for its MAC keeps it from others",
        };
        self.line(format!(
            "Each has its address on {} {how}. The nodes' way to the API server is `{}`, which their hosts files lead to {}.",
            lab.vmnet_name(),
            lab.control_plane_endpoint(),
            lab.internal.vip
        ));
    }

    fn ports(&mut self, lab: &Lab) {
        self.heading("Ports");
        let ports = &lab.cluster.ports;
        let (masters, workers) = (addresses(lab.control_planes()), addresses(lab.ingress_nodes()));
        let row = |port: u16, service: &str, upstreams: &str, to: u16| {
            [format!("{}:{port}", lab.lan.vip), service.to_owned(), format!("{upstreams}, port {to}")]
        };
        self.table(
            ["from the home network", "service", "upstreams"],
            [
                row(ports.api, "Kubernetes API", &masters, ports.api),
                row(ports.https, "HTTPS", &workers, ports.https_node_port),
                row(ports.http, "HTTP", &workers, ports.http_node_port),
            ],
        );
        self.line("");
        self.table(
            [&format!("on {}", lab.vmnet_name()), "service", "machines"],
            [
                [ports.api.to_string(), "Kubernetes API".into(), "control planes".into()],
                ["2379, 2380".into(), "etcd".into(), "control planes".into()],
                ["10250".into(), "kubelet".into(), "all nodes".into()],
                ["4240, 4244".into(), "Cilium's health and Hubble".into(), "all nodes".into()],
                ["30000 to 32767".into(), "NodePorts".into(), "all nodes".into()],
            ],
        );
    }

    fn fusion(&mut self, lab: &Lab) {
        self.heading("In Fusion");
        let (first, last) = lab.internal.dhcp;
        self.line(format!(
            "{} is a network of VMware Fusion's with NAT and DHCP: {first} to {last} is its pool, {} its NAT gateway, {} this \
             Mac. fusionlab writes it into `/Library/Preferences/VMware Fusion/networking`, line by line, and takes the same \
             lines out again; `fusionlab network plan` shows them.",
            lab.vmnet_name(),
            lab.internal.nat,
            lab.internal.host
        ));
    }

    fn looking(&mut self) {
        self.heading("Where to look");
        self.line("```console");
        self.lines([
            "$ fusionlab verify                                  # every hop, with what was expected and seen",
            "$ fusionlab doctor                                  # this Mac and Fusion's networks",
            "$ fusionlab network show                            # what Fusion has, and whether it runs",
            "$ fusionlab topology --live                         # the drawing above, as it is found now",
            "$ fusionlab exec --role gateway -- ip -br address   # who holds the VIPs, seen from inside",
            "$ fusionlab logs --role gateway --source journal    # what nginx and Keepalived say",
            "$ fusionlab support                                 # all of this in one file, for a helper",
        ]);
        self.line("```");
    }
}

/// Says who besides the gateways is in both networks.
fn both_homed(lab: &Lab) -> String {
    let others: Vec<String> =
        lab.members().filter(|node| node.lan().is_some()).map(|node| format!("`{}`", node.name)).collect();
    if others.is_empty() {
        "nothing else has".to_owned()
    } else {
        format!("so has {}, by the lab file", listed(&others))
    }
}

/// Returns `a`, `a and b`, `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn names<'a>(nodes: impl Iterator<Item = &'a Node>) -> String {
    listed(&nodes.map(|node| format!("`{}` ({})", node.name, node.address())).collect::<Vec<_>>())
}

fn addresses<'a>(nodes: impl Iterator<Item = &'a Node>) -> String {
    nodes.map(|node| node.address().to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns what is asked of a gateway's card on the LAN.
fn card(lab: &Lab, of: impl Fn(&Nic) -> String) -> String {
    lab.gateways().find_map(Node::lan).map(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::topology::svg;
    use super::*;
    use crate::stack::fixture;

    /// `UPDATE_DOCS=1 cargo test --lib screen::document` writes both anew.
    #[test]
    fn the_page_in_docs_is_the_built_in_labs() {
        let lab = fixture::lab();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        for (file, content) in [
            (root.join(FILE), page(&lab, "pictures/topology.svg")),
            (root.join("pictures").join(PICTURE), svg(&Diagram::of(&lab, None))),
        ] {
            if std::env::var_os("UPDATE_DOCS").is_some() {
                crate::host::files::write_atomic(&file, content.as_bytes(), 0o644).unwrap();
            }
            let stored = crate::host::files::read_text(&file).unwrap_or_default();
            assert!(stored == content, "{} is not up to date: UPDATE_DOCS=1 writes it anew", file.display());
        }
    }

    #[test]
    fn every_value_of_the_networking_document_is_on_the_page() {
        let page = page(&fixture::lab(), PICTURE);
        for value in [
            "192.168.68.0/24",
            "192.168.68.200",
            "192.168.68.56",
            "192.168.68.57",
            "10.10.0.0/24",
            "10.10.0.1",
            "10.10.0.2",
            "10.10.0.11",
            "10.10.0.12",
            "10.10.0.131",
            "10.10.0.132",
            "10.10.0.133",
            "10.10.0.141",
            "10.10.0.142",
            "10.10.0.128",
            "10.10.0.254",
            "10.244.0.0/16",
            "10.96.0.0/12",
            ":6443",
            ":443",
            ":80",
            "30443",
            "30080",
            "10250",
            "2379",
            "2380",
            "30000 to 32767",
            "ens160",
            "ens192",
        ] {
            assert!(page.contains(value), "{value}");
        }
    }
}
