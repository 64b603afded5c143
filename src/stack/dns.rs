//! The lab's names for the home network: a small name server on each gateway that knows them and nothing else.
//!
//! dnsmasq with a configuration and a unit of our own; the distribution's are not touched. It answers at both VIPs and
//! at the gateways' own addresses, for `*.<domain>` and the API's name, and forwards nothing.

use std::net::Ipv4Addr;

use serde_json::json;

use crate::formats::command::Command;
use crate::lab::{Lab, Node};
use crate::stack::file::GuestFile;
use crate::stack::render::render;

pub const CONFIG: &str = "/etc/fusionlab/dns.conf";
pub const UNIT_FILE: &str = "/etc/systemd/system/fusionlab-dns.service";
pub const UNIT: &str = "fusionlab-dns";
/// Where a name server listens, whichever it is.
pub const PORT: u16 = 53;

/// Returns a gateway's unit and configuration.
pub fn files(lab: &Lab, node: &Node) -> Vec<GuestFile> {
    let own = node.nics.iter().map(|nic| nic.address);
    let addresses: Vec<Ipv4Addr> = [lab.lan.vip, lab.internal.vip].into_iter().chain(own).collect();
    let values = json!({ "addresses": addresses, "zones": zones(lab), "vip": lab.lan.vip });
    let source = include_str!("../../cloud-init/guest/dns.conf.j2");
    vec![
        GuestFile::new(UNIT_FILE, 0o644, include_str!("../../cloud-init/guest/fusionlab-dns.service")),
        GuestFile::new(CONFIG, 0o644, render("guest/dns.conf.j2", source, values)),
    ]
}

/// Returns the names that lead to the LAN VIP, each with everything below it.
pub fn zones(lab: &Lab) -> Vec<&str> {
    vec![&lab.cluster.domain, &lab.cluster.api_name]
}

/// Returns the command that tests a configuration.
pub fn test(path: &str) -> Command {
    Command::new(["dnsmasq", "--test", &format!("--conf-file={path}")]).as_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    #[test]
    fn it_answers_for_the_labs_names_at_every_address_and_asks_nobody() {
        let lab = fixture::lab();
        let files = files(&lab, lab.node("gateway1").unwrap());
        let text = String::from_utf8(files[1].content.clone()).unwrap();
        for line in [
            "no-resolv",
            "listen-address=192.168.68.200",
            "listen-address=10.10.0.10",
            "listen-address=192.168.68.56",
            "listen-address=10.10.0.11",
            "local=/lab.test/",
            "address=/lab.test/192.168.68.200",
            "address=/k8s-api.lab.internal/192.168.68.200",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("server="), "{text}");
        let unit = String::from_utf8(files[0].content.clone()).unwrap();
        assert!(unit.contains(&format!("--conf-file={CONFIG}")), "{unit}");
    }
}
