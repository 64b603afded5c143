//! What all lines of the networking file together say: each takes effect in its turn, so the last one wins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::directive::{Directive, Protocol};
use super::{Document, PortForward, Vmnet};
use crate::formats::mac::Mac;

pub(super) const SUBNET: &str = "HOSTONLY_SUBNET";
pub(super) const NETMASK: &str = "HOSTONLY_NETMASK";
pub(super) const NAT: &str = "NAT";
pub(super) const DHCP: &str = "DHCP";
pub(super) const ADAPTER: &str = "VIRTUAL_ADAPTER";
const UUID: &str = "HOSTONLY_UUID";
/// Fusion's digest of the derived dhcpd.conf: it comes anew with every apply and means nothing to us.
const HASH: &str = "DHCP_CFG_HASH";
/// The mask of a network whose mask is not said.
const DEFAULT_NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) answers: BTreeMap<(u8, String), String>,
    pub(super) reservations: BTreeMap<(u8, Mac), Ipv4Addr>,
    pub(super) forwards: BTreeMap<(u8, Protocol, u16), PortForward>,
    pub(super) bridges: BTreeMap<String, u8>,
    pub(super) prefixes: BTreeSet<(u8, String)>,
    /// Lines that are neither blank, nor comments, nor known, in order.
    pub(super) unknown: Vec<String>,
}

impl State {
    pub(super) fn of(document: &Document) -> Self {
        let mut state = Self::default();
        for line in &document.lines {
            match Directive::parse(&line.text) {
                Some(directive) => state.apply(directive),
                None => state.unknown.extend(unknown(&line.text)),
            }
        }
        state
    }

    fn apply(&mut self, directive: Directive<'_>) {
        match directive {
            Directive::Answer { vmnet, key, value } => {
                self.answers.insert((vmnet, key), value.to_owned());
            }
            Directive::RemoveAnswer { vmnet, key } => {
                self.answers.remove(&(vmnet, key));
            }
            Directive::AddForward { vmnet, protocol, host_port, guest, guest_port, description } => {
                let description = description.to_owned();
                let forward = PortForward { protocol, host_port, guest, guest_port, description };
                self.forwards.insert((vmnet, protocol, host_port), forward);
            }
            Directive::RemoveForward { vmnet, protocol, host_port } => {
                self.forwards.remove(&(vmnet, protocol, host_port));
            }
            Directive::AddReservation { vmnet, mac, address } => {
                self.reservations.insert((vmnet, mac), address);
            }
            Directive::RemoveReservation { vmnet, mac } => {
                self.reservations.remove(&(vmnet, mac));
            }
            Directive::AddBridge { interface, vmnet } => {
                self.bridges.insert(interface.to_owned(), vmnet);
            }
            Directive::RemoveBridge { interface } => {
                self.bridges.remove(interface);
            }
            Directive::AddNatPrefix { vmnet, length } => {
                self.prefixes.insert((vmnet, length.to_owned()));
            }
            Directive::RemoveNatPrefix { vmnet, length } => {
                self.prefixes.remove(&(vmnet, length.to_owned()));
            }
        }
    }

    /// Returns every vmnet that is mentioned.
    pub(super) fn numbers(&self) -> BTreeSet<u8> {
        let answers = self.answers.keys().map(|(vmnet, _)| *vmnet);
        let reservations = self.reservations.keys().map(|(vmnet, _)| *vmnet);
        let forwards = self.forwards.keys().map(|(vmnet, ..)| *vmnet);
        let prefixes = self.prefixes.iter().map(|(vmnet, _)| *vmnet);
        answers
            .chain(reservations)
            .chain(forwards)
            .chain(prefixes)
            .chain(self.bridges.values().copied())
            .collect()
    }

    pub(super) fn vmnet(&self, number: u8) -> Vmnet {
        let yes = |key| self.answer(number, key).is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        let exists = self.answer(number, SUBNET).is_some_and(|value| !value.is_empty());
        let bridged_to =
            self.bridges.iter().find(|(_, vmnet)| **vmnet == number).map(|(name, _)| name.clone());
        Vmnet {
            number,
            exists,
            subnet: self.subnet(number),
            nat: yes(NAT),
            dhcp: yes(DHCP),
            adapter: yes(ADAPTER),
            uuid: self.answer(number, UUID).map(str::to_owned),
            husk: !exists && bridged_to.is_none() && self.numbers().contains(&number),
            bridged_to,
        }
    }

    pub(super) fn answer(&self, vmnet: u8, key: &str) -> Option<&str> {
        self.answers.get(&(vmnet, key.to_owned())).map(String::as_str)
    }

    pub(super) fn reservations_of(&self, vmnet: u8) -> impl Iterator<Item = (Mac, Ipv4Addr)> {
        let all = self.reservations.iter();
        all.filter(move |((of, _), _)| *of == vmnet).map(|((_, mac), address)| (*mac, *address))
    }

    fn subnet(&self, vmnet: u8) -> Option<Ipv4Net> {
        let address: Ipv4Addr = self.answer(vmnet, SUBNET)?.parse().ok()?;
        let mask = match self.answer(vmnet, NETMASK) {
            Some(mask) => mask.parse().ok()?,
            None => DEFAULT_NETMASK,
        };
        Some(Ipv4Net::with_netmask(address, mask).ok()?.trunc())
    }

    /// Forgets what Fusion writes anew with every apply, so that two states can be compared.
    pub(super) fn without_hashes(mut self) -> Self {
        self.answers.retain(|(_, key), _| key != HASH);
        self
    }
}

/// Returns a line's text if it could mean something to somebody.
fn unknown(line: &str) -> Option<String> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('#')).then(|| line.to_owned())
}
