//! What one network has many of: reserved addresses and forwarded ports.

use std::net::Ipv4Addr;

use super::{Call, FAILED, Outcome, SUCCEEDED, UNKNOWN, number};
use crate::formats::mac::Mac;
use crate::formats::networking::PortForward;
use crate::sim::configure;
use crate::sim::network;

impl Call<'_> {
    /// Does a verb that is about reservations or forwards.
    pub(super) fn entries(&mut self, name: &str, args: &[&str]) -> Outcome {
        let ("setdhcpmac2ip" | "getdhcpmac2ip" | "enumdhcpmac2ip" | "setnatportfwd" | "getnatportfwd"
        | "enumportfwd") = name
        else {
            return UNKNOWN;
        };
        let Some((vmnet, rest)) = args.split_first() else { return UNKNOWN };
        let Some(vmnet) = number(vmnet) else { return FAILED };
        match (name, rest) {
            ("setdhcpmac2ip", [mac, address @ ..]) => self.reserve(vmnet, mac, address),
            ("getdhcpmac2ip", [mac]) => self.show_reservation(vmnet, mac),
            ("enumdhcpmac2ip", []) => {
                for (mac, address) in network::database(self.places)?.reservations(vmnet) {
                    self.screen.line(&format!("MAC: {mac}, IP: {address}"));
                }
                SUCCEEDED
            }
            ("setnatportfwd", [protocol, port, guest @ ..]) => self.forward(vmnet, protocol, port, guest),
            ("getnatportfwd", [protocol, port]) => {
                let forwards = self.forwards(vmnet, Some(protocol))?;
                let wanted = |forward: &&PortForward| forward.host_port.to_string() == **port;
                self.show(forwards.iter().find(wanted).map(target))
            }
            ("enumportfwd", protocol @ ([] | [_])) => {
                for forward in self.forwards(vmnet, protocol.first().copied())? {
                    let (protocol, port) = (configure::word(forward.protocol), forward.host_port);
                    self.screen.line(&format!("{protocol} {port}: {}", target(&forward)));
                }
                SUCCEEDED
            }
            _ => UNKNOWN,
        }
    }

    /// Reserves an address; without one the reservation goes.
    fn reserve(&self, vmnet: u8, mac: &str, address: &[&str]) -> Outcome {
        let held = |mac: Mac| {
            let reservations = network::database(self.places).map(|database| database.reservations(vmnet));
            reservations.map(|held| held.iter().any(|(held, _)| *held == mac))
        };
        match (mac.parse::<Mac>(), address) {
            (Ok(parsed), []) if held(parsed)? => self.append(&format!("remove_dhcp_mac_to_ip {vmnet} {mac}")),
            (Ok(_), [address]) if address.parse::<Ipv4Addr>().is_ok() => {
                self.append(&format!("add_dhcp_mac_to_ip {vmnet} {mac} {address}"))
            }
            _ => FAILED,
        }
    }

    fn show_reservation(&mut self, vmnet: u8, mac: &str) -> Outcome {
        let Ok(mac) = mac.parse::<Mac>() else { return FAILED };
        let all = network::database(self.places)?.reservations(vmnet);
        let found = all.iter().find(|(held, _)| *held == mac);
        self.show(found.map(|(_, address)| format!("IP: {address}")))
    }

    /// Forwards a port of the host; without a guest the forward goes. A description cannot be given.
    fn forward(&self, vmnet: u8, protocol: &str, port: &str, guest: &[&str]) -> Outcome {
        if !matches!(protocol, "tcp" | "udp") || !is_port(port) {
            return FAILED;
        }
        match guest {
            [] => self.append(&format!("remove_nat_portfwd {vmnet} {protocol} {port}")),
            [guest, guest_port] if guest.parse::<Ipv4Addr>().is_ok() && is_port(guest_port) => {
                self.append(&format!("add_nat_portfwd {vmnet} {protocol} {port} {guest} {guest_port}"))
            }
            _ => FAILED,
        }
    }

    fn forwards(&self, vmnet: u8, protocol: Option<&str>) -> std::io::Result<Vec<PortForward>> {
        let mut forwards = network::database(self.places)?.port_forwards(vmnet);
        forwards
            .retain(|forward| protocol.is_none_or(|protocol| configure::word(forward.protocol) == protocol));
        Ok(forwards)
    }
}

fn target(forward: &PortForward) -> String {
    format!("IP: {}, Port: {}", forward.guest, forward.guest_port)
}

fn is_port(word: &str) -> bool {
    word.parse::<u16>().is_ok_and(|port| port > 0)
}
