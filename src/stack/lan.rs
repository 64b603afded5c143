//! Whether the LAN VIP, the gateways' own addresses there and the VRRP router id are free: the probe that a gateway makes before
//! it takes the VIP.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::formats::command::Command;
use crate::formats::mac::Mac;
use crate::lab::{Lab, Node};

/// The program, which runs from standard input: nothing of it stays on the gateway.
const PROBE: &str = include_str!("../../cloud-init/guest/fusionlab-lan-probe.py");

/// What the probe heard of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Who answers for the VIP or a gateway's address, or is about to take it.
    pub addresses: BTreeMap<Ipv4Addr, Mac>,
    pub router: Option<Router>,
}

/// Somebody else's VRRP router of our id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// The gateway's card that heard it.
    pub interface: String,
    pub id: u8,
    pub address: Ipv4Addr,
    pub mac: Mac,
}

/// An answer that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProbe {
    #[error("the LAN probe said {0:?}")]
    Line(String),
    #[error("the LAN probe did not come to its end")]
    Cut,
}

/// Returns the command that listens on a gateway's networks for as long as `lan_probe` says; none for a gateway that
/// is not on the LAN.
pub fn probe(lab: &Lab, gateway: &Node) -> Option<Command> {
    let own = lab.gateways().flat_map(|gateway| &gateway.nics).map(|nic| nic.mac.to_string());
    let taken = lab.gateways().filter_map(|gateway| Some(gateway.lan()?.address));
    let addresses: Vec<String> = [lab.lan.vip].into_iter().chain(taken).map(|one| one.to_string()).collect();
    let words = [
        "python3".to_owned(),
        // Apart from the user's settings and modules.
        "-I".to_owned(),
        "-".to_owned(),
        lab.limits.lan_probe.as_secs().to_string(),
        addresses.join(","),
        lab.gateway.virtual_router_id.to_string(),
        gateway.lan()?.guest_name(),
        gateway.internal().guest_name(),
    ];
    Some(Command::new(words.into_iter().chain(own)).as_root().with_input(PROBE))
}

/// Reads what [`probe`] printed.
pub fn parse(text: &str) -> Result<Heard, BadProbe> {
    let mut heard = Heard::default();
    let mut done = false;
    for line in text.lines() {
        let understood = match line.split_once('=') {
            Some(("address", claim)) => parse_claim(claim).map(|claim| heard.addresses.extend([claim])),
            Some(("router", router)) => parse_router(router).map(|router| heard.router = Some(router)),
            Some(("done", _)) => {
                done = true;
                Some(())
            }
            _ => None,
        };
        understood.ok_or_else(|| BadProbe::Line(line.to_owned()))?;
    }
    if done { Ok(heard) } else { Err(BadProbe::Cut) }
}

fn parse_claim(text: &str) -> Option<(Ipv4Addr, Mac)> {
    let (address, mac) = text.split_once(' ')?;
    Some((address.parse().ok()?, mac.parse().ok()?))
}

fn parse_router(text: &str) -> Option<Router> {
    let words: Vec<&str> = text.split(' ').collect();
    let [interface, id, address, mac] = words[..] else { return None };
    Some(Router {
        interface: interface.to_owned(),
        id: id.parse().ok()?,
        address: address.parse().ok()?,
        mac: mac.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    #[test]
    fn the_probe_asks_from_the_lan_card_and_knows_both_gateways_as_ours() {
        let lab = fixture::lab();
        let command = probe(&lab, lab.node("gateway1").unwrap()).unwrap();
        let line = command.shell_line();
        assert!(
            line.starts_with(
                "sudo -n python3 -I - 4 192.168.68.200,192.168.68.56,192.168.68.57 51 ens160 ens192 00:50:56:"
            ),
            "{line}"
        );
        assert_eq!(command.argv.len(), 14, "four cards of our own: {line}");
        assert!(String::from_utf8(command.input).unwrap().starts_with("#!/usr/bin/env python3\n"));
        assert!(probe(&lab, lab.node("k8s-worker1").unwrap()).is_none());
    }

    #[test]
    fn what_was_heard_is_understood_and_what_was_cut_is_no_answer() {
        assert_eq!(parse("done=4\n"), Ok(Heard::default()));
        let heard = parse(
            "address=192.168.68.200 00:11:22:33:44:55\nrouter=ens160 51 192.168.68.9 00:00:5e:00:01:33\ndone=4\n",
        );
        let heard = heard.unwrap();
        let vip = Ipv4Addr::new(192, 168, 68, 200);
        assert_eq!(heard.addresses, [(vip, "00:11:22:33:44:55".parse().unwrap())].into());
        assert_eq!(heard.router.unwrap().address, Ipv4Addr::new(192, 168, 68, 9));
        assert_eq!(parse("address=192.168.68.200 00:11:22:33:44:55\n"), Err(BadProbe::Cut));
        assert!(parse("address=00:11:22:33:44:55\ndone=4\n").is_err(), "whose?");
        assert_eq!(parse("Traceback\n"), Err(BadProbe::Line("Traceback".to_owned())));
        assert!(parse("router=ens160 999 a b\ndone=4\n").is_err());
    }
}
