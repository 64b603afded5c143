//! Networks by verbs: made, changed, removed, and what they are bridged to.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Call, FAILED, Outcome, SUCCEEDED, UNKNOWN, number};
use crate::formats::lines;
use crate::sim::configure;
use crate::sim::files;
use crate::sim::network;

/// vmnets that there can be.
const COUNT: u16 = 256;
/// Fusion's own NAT network, which is never given away.
const NAT_VMNET: u8 = 8;
/// The first network that is given away.
const FIRST_FREE: u8 = 2;
const NETMASK: &str = "255.255.255.0";
/// What a deleted network leaves behind (facts/fusion-networking.md §1.5).
const HUSK: &[&str] = &["DHCP", "NAT", "VIRTUAL_ADAPTER"];
const UUID: &str = "HOSTONLY_UUID";
/// The answer that is about no network: which one a bridged card is on if its VM does not say.
const DEFAULT_BRIDGE: &str = "VNL_DEFAULT_BRIDGE_VNET";
/// What the answer is while Fusion chooses by itself.
const AUTOMATIC: &str = "-1";

impl Call<'_> {
    /// Does a verb that is about networks.
    pub(super) fn adapters(&mut self, name: &str, args: &[&str]) -> Outcome {
        match (name, args) {
            ("getvmnetcount", []) => return self.show(Some(COUNT.to_string())),
            ("getunusedvnet", []) => {
                let unused = self.unused()?;
                return self.show(unused.map(|number| format!("vmnet: vmnet{number}")));
            }
            ("getunusedsubnet", []) => {
                let subnet = self.free_subnet(FIRST_FREE)?;
                return self.show(subnet.map(described));
            }
            ("gethostadapterlist", []) => {
                self.list_adapters()?;
                return SUCCEEDED;
            }
            ("getdefaultbridge", []) => {
                let bridge = self.default_bridge()?;
                return self.show(Some(bridge));
            }
            ("setdefaultbridge", [value]) => {
                let fits = *value == AUTOMATIC || value.parse::<u8>().is_ok();
                return if fits { self.append(&format!("answer {DEFAULT_BRIDGE} {value}")) } else { FAILED };
            }
            _ => {}
        }
        let ([vmnet] | [vmnet, _]) = args else { return UNKNOWN };
        let Some(vmnet) = number(vmnet) else {
            let always_succeeds = matches!(name, "disablehostonlyadap" | "updateadapterfromconfig");
            return if is_adapters(name) { Ok(Some(always_succeeds)) } else { UNKNOWN };
        };
        match (name, &args[1..]) {
            ("addadapter", []) => self.add(vmnet),
            ("removeadapter" | "deletevnet", []) => self.remove(vmnet),
            ("assignsubnet", []) => self.assign_subnet(vmnet),
            ("setsubnetaddr", [value]) => self.set_address(vmnet, "HOSTONLY_SUBNET", value),
            ("setsubnetmask", [value]) => self.set_address(vmnet, "HOSTONLY_NETMASK", value),
            ("enablehostonlyadap", []) => self.answer(vmnet, "VIRTUAL_ADAPTER", "yes"),
            ("disablehostonlyadap", []) => self.answer(vmnet, "VIRTUAL_ADAPTER", "no"),
            ("updateadapterfromconfig", []) => {
                // It succeeds whatever comes of it (facts/fusion-networking.md §2.3).
                let _ = configure::configure(self.places);
                SUCCEEDED
            }
            _ => UNKNOWN,
        }
    }

    fn set_address(&self, vmnet: u8, key: &str, value: &str) -> Outcome {
        if value.parse::<Ipv4Addr>().is_err() {
            return FAILED;
        }
        self.answer(vmnet, key, value)
    }

    fn unused(&self) -> io::Result<Option<u8>> {
        let used = network::database(self.places)?.vmnets();
        let is_free = |number: &u8| used.iter().all(|vmnet| vmnet.number != *number || vmnet.husk);
        Ok((FIRST_FREE..=u8::MAX).find(|number| *number != NAT_VMNET && is_free(number)))
    }

    /// Returns the first subnet that is nobody's: 172.16 for even networks, 192.168 for odd ones.
    fn free_subnet(&self, vmnet: u8) -> io::Result<Option<Ipv4Net>> {
        let used: Vec<Ipv4Net> =
            network::database(self.places)?.vmnets().iter().filter_map(|vmnet| vmnet.subnet).collect();
        let [high, low] = if vmnet.is_multiple_of(2) { [172, 16] } else { [192, 168] };
        let subnets = (vmnet..=u8::MAX).map(|third| Ipv4Net::new_assert([high, low, third, 0].into(), 24));
        Ok(subnets.into_iter().find(|subnet| {
            !used.iter().any(|used| used.contains(&subnet.network()) || subnet.contains(&used.network()))
        }))
    }

    /// Adds a network with a subnet of its own.
    fn add(&self, vmnet: u8) -> Outcome {
        if network::database(self.places)?.vmnet(vmnet).exists {
            return FAILED;
        }
        let Some(subnet) = self.free_subnet(vmnet)? else { return FAILED };
        self.answer(vmnet, "HOSTONLY_NETMASK", NETMASK)?;
        self.answer(vmnet, "HOSTONLY_SUBNET", &subnet.network().to_string())
    }

    /// Shows a network's subnet; one that has none is given one.
    fn assign_subnet(&mut self, vmnet: u8) -> Outcome {
        self.add(vmnet)?;
        let subnet = network::database(self.places)?.vmnet(vmnet).subnet;
        self.show(subnet.map(described))
    }

    /// Removes a network; some keys stay, all saying no.
    fn remove(&self, vmnet: u8) -> Outcome {
        let document = network::database(self.places)?;
        if !document.vmnet(vmnet).exists {
            return FAILED;
        }
        let text = files::read(&self.places.networking())?.unwrap_or_default();
        let mut all = lines::split(&text);
        for key in document.answers(vmnet).keys().filter(|key| *key != UUID) {
            let line = if HUSK.contains(&key.as_str()) {
                format!("answer VNET_{vmnet}_{key} no")
            } else {
                format!("remove_answer VNET_{vmnet}_{key}")
            };
            lines::append(&mut all, line);
        }
        files::write(&self.places.networking(), lines::join(&all))?;
        SUCCEEDED
    }

    /// Lists the Mac's own interfaces that networks are bridged to.
    fn list_adapters(&mut self) -> io::Result<()> {
        for vmnet in network::database(self.places)?.vmnets() {
            if let Some(interface) = vmnet.bridged_to {
                self.screen.line(&format!("vmnet{}: {interface}", vmnet.number));
            }
        }
        Ok(())
    }

    fn default_bridge(&self) -> io::Result<String> {
        let text = files::read(&self.places.networking())?.unwrap_or_default();
        let said = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["answer", DEFAULT_BRIDGE, value] = words[..] else { return None };
            Some(value.to_owned())
        };
        Ok(text.lines().rev().find_map(said).unwrap_or_else(|| AUTOMATIC.to_owned()))
    }
}

fn is_adapters(name: &str) -> bool {
    matches!(
        name,
        "addadapter"
            | "removeadapter"
            | "deletevnet"
            | "assignsubnet"
            | "setsubnetaddr"
            | "setsubnetmask"
            | "enablehostonlyadap"
            | "disablehostonlyadap"
            | "updateadapterfromconfig"
    )
}

fn described(subnet: Ipv4Net) -> String {
    format!("subnet: {}, mask: {}", subnet.network(), subnet.netmask())
}
