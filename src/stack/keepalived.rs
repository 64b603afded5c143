//! Keepalived on the gateways: one unicast VRRPv3 instance with both VIPs (facts/test-bench.md §6, column D).

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::lab::{Lab, Node};
use crate::stack::file::GuestFile;
use crate::stack::render::render;

pub const CONFIG: &str = "/etc/keepalived/keepalived.conf";
/// What makes systemd start it again.
pub const RESTART: &str = "/etc/systemd/system/keepalived.service.d/fusionlab.conf";

/// All are asked at once by the check, a few times a second.
const MOST_WITNESSES: usize = 5;
/// A peer takes over after three adverts and a little; by the fourth it has.
const ADVERTS_UNTIL_TAKEN: u16 = 4;
/// systemd waits so long at least, in hundredths of a second.
const SHORTEST_RESTART: u16 = 100;

/// Returns a gateway's configuration. Both gateways have the same priority, so that one which recovers
/// does not take the VIPs back.
pub fn config(lab: &Lab, node: &Node) -> GuestFile {
    let others = || lab.gateways().filter(|other| other.name != node.name);
    let peers: Vec<_> = others().map(Node::address).collect();
    let internal = node.internal();
    let values = json!({
        "router_id": node.name,
        "virtual_router_id": lab.gateway.virtual_router_id,
        "advert_interval": seconds(lab.gateway.advert_centiseconds),
        "peers": peers,
        "internal": {
            "name": internal.guest_name(),
            "address": internal.address,
            "vip": format!("{}/{}", lab.internal.vip, lab.internal.subnet.prefix_len()),
            "witnesses": internal_witnesses(lab),
        },
        "lan": lan(lab, node),
    });
    let source = include_str!("../../cloud-init/guest/keepalived.conf.j2");
    GuestFile::new(CONFIG, 0o644, render("guest/keepalived.conf.j2", source, values))
}

fn lan(lab: &Lab, node: &Node) -> Option<Value> {
    let card = node.lan()?;
    let others = lab.gateways().filter(|other| other.name != node.name);
    let peers = others.filter_map(|other| other.lan().map(|nic| nic.address));
    let candidates = [lab.lan.router].into_iter().chain(peers).chain(lab.lan.dns.iter().copied());
    Some(json!({
        "name": card.guest_name(),
        "vip": format!("{}/{}", lab.lan.vip, lab.lan.subnet.prefix_len()),
        "witnesses": few(candidates),
    }))
}

/// Fusion's two addresses, and the control planes should both keep silent, as a Mac in stealth mode does.
fn internal_witnesses(lab: &Lab) -> Vec<Ipv4Addr> {
    let fusions = [lab.internal.host, lab.internal.nat];
    few(fusions.into_iter().chain(lab.control_planes().map(Node::address)))
}

fn few(candidates: impl Iterator<Item = Ipv4Addr>) -> Vec<Ipv4Addr> {
    let mut witnesses = Vec::new();
    for candidate in candidates {
        if !witnesses.contains(&candidate) && witnesses.len() < MOST_WITNESSES {
            witnesses.push(candidate);
        }
    }
    witnesses
}

/// Returns the drop-in that starts a killed Keepalived again, once its peer has the VIPs.
pub fn restart(lab: &Lab) -> GuestFile {
    let peer_has_them = lab.gateway.advert_centiseconds.saturating_mul(ADVERTS_UNTIL_TAKEN);
    let values = json!({ "seconds": seconds(peer_has_them.max(SHORTEST_RESTART)) });
    let source = include_str!("../../cloud-init/guest/keepalived-restart.conf.j2");
    GuestFile::new(RESTART, 0o644, render("guest/keepalived-restart.conf.j2", source, values))
}

/// Writes hundredths as seconds: 50 is `0.5`.
fn seconds(centiseconds: u16) -> String {
    let text = format!("{}.{:02}", centiseconds / 100, centiseconds % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Role;
    use crate::stack::fixture;

    fn text(lab: &Lab, node: &str) -> String {
        String::from_utf8(config(lab, lab.node(node).unwrap()).content).unwrap()
    }

    #[test]
    fn one_instance_holds_both_vips_with_the_other_gateway_as_peer() {
        fixture::assert_golden("keepalived.conf", &text(&fixture::lab(), "gateway1"));
    }

    #[test]
    fn the_pair_differs_only_in_who_is_who() {
        let lab = fixture::lab();
        let swapped = text(&lab, "gateway2")
            .replace("router_id gateway2", "router_id gateway1")
            .replace("unicast_src_ip 10.10.0.12", "unicast_src_ip 10.10.0.11")
            .replace("        10.10.0.11\n", "        10.10.0.12\n")
            .replace("192.168.68.1 192.168.68.56", "192.168.68.1 192.168.68.57");
        assert_eq!(swapped, text(&lab, "gateway1"));
    }

    #[test]
    fn a_lone_gateway_holds_the_vips_without_peers() {
        let mut lab = fixture::lab();
        lab.nodes.retain(|node| node.role != Role::Gateway || node.number == 1);
        let text = text(&lab, "gateway1");
        assert!(!text.contains("unicast") && text.contains("192.168.68.200/24 dev ens160"));
        // Nobody could take them from it, so that a side which is cut must not cost the other one its VIP.
        assert!(text.contains("chk_nginx") && !text.contains("chk_int") && !text.contains("chk_lan"));
        assert!(!text.contains("track_interface"));
    }

    #[test]
    fn a_killed_one_starts_again_after_its_peer_has_taken_over() {
        let mut lab = fixture::lab();
        let waits = |lab: &Lab| String::from_utf8(restart(lab).content).unwrap();
        assert!(waits(&lab).ends_with("RestartSec=1\n"));
        lab.gateway.advert_centiseconds = 100;
        assert!(waits(&lab).ends_with("RestartSec=4\n"));
    }

    #[test]
    fn adverts_are_written_in_seconds() {
        assert_eq!([20, 50, 100, 125].map(seconds), ["0.2", "0.5", "1", "1.25"]);
    }
}
