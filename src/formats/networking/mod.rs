//! Fusion's networking file: the database of its networks, read as a journal and edited as text.
//!
//! ```text
//! VERSION=1,0
//! answer VNET_2_DHCP yes                                  directive.rs: one line
//! answer VNET_2_HOSTONLY_SUBNET 10.10.0.0                 state.rs: all lines, the last one wins
//! add_dhcp_mac_to_ip 2 00:50:56:00:0b:01 10.10.0.131      edit.rs: the least change for a wish, and back
//! ```
//!
//! Lines that nobody here knows are kept byte for byte (facts/fusion-networking.md §1).

mod directive;
mod edit;
mod state;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::lines::{self, Line};
use super::mac::Mac;
pub use directive::Protocol;
pub use edit::{Conflict, Ours, Wish, restore};
use state::State;

/// The first line of every networking file that we know.
const VERSION: &str = "VERSION=1,0";

/// A networking file. What was parsed renders to exactly the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    lines: Vec<Line>,
}

/// Why a file is not one that we dare to edit.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct Refusal {
    /// Counts from 1.
    pub line: usize,
    pub reason: String,
}

/// What the file says of one of Fusion's networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vmnet {
    pub number: u8,
    /// Whether it has a subnet, which is what makes it a network.
    pub exists: bool,
    /// Its subnet, host bits cleared; none if it has none or one that is not an address.
    pub subnet: Option<Ipv4Net>,
    pub nat: bool,
    pub dhcp: bool,
    /// Whether the Mac itself has an address on it.
    pub adapter: bool,
    /// Given by Fusion; other programs find the network by it.
    pub uuid: Option<String>,
    /// Whether only leavings of a deleted network are there: then the number is free.
    pub husk: bool,
    /// The Mac's interface that it is bridged to.
    pub bridged_to: Option<String>,
}

/// A port of the host that is forwarded into a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortForward {
    pub protocol: Protocol,
    pub host_port: u16,
    pub guest: Ipv4Addr,
    pub guest_port: u16,
    /// Free text, often empty.
    pub description: String,
}

impl Document {
    /// Returns the file that stands for an absent one.
    pub fn new() -> Self {
        Self { lines: lines::split(&format!("{VERSION}\n")) }
    }

    /// Reads a networking file.
    ///
    /// # Errors
    /// If it is binary data, or its first line is not the version that we know.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let line_of = |at: usize| lines::split(&String::from_utf8_lossy(&bytes[..=at])).len();
        let binary = |at: usize| Refusal { line: line_of(at), reason: "binary data".to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|error| binary(error.valid_up_to()))?;
        if let Some(at) = text.find('\0') {
            return Err(binary(at));
        }
        let lines = lines::split(text);
        let first = lines.iter().position(|line| !line.text.trim().is_empty());
        let Some(first) = first else {
            return Err(Refusal { line: 1, reason: format!("the file is empty: expected {VERSION}") });
        };
        let found = lines[first].text.trim();
        if found != VERSION {
            return Err(Refusal { line: first + 1, reason: format!("expected {VERSION}, found {found:?}") });
        }
        Ok(Self { lines })
    }

    /// Returns the file's bytes.
    pub fn render(&self) -> Vec<u8> {
        lines::join(&self.lines).into_bytes()
    }

    /// Appends a line as Fusion does: whole, in the file's own ending, and overruling what it contradicts.
    pub fn append(&mut self, line: &str) {
        assert!(!line.contains(['\r', '\n']), "one line at a time");
        lines::append(&mut self.lines, line.to_owned());
    }

    /// Returns what is said of one network; a network that is not mentioned does not exist.
    pub fn vmnet(&self, number: u8) -> Vmnet {
        State::of(self).vmnet(number)
    }

    /// Returns every network that is mentioned, by answers, reservations, forwards or bridge mappings.
    pub fn vmnets(&self) -> Vec<Vmnet> {
        let state = State::of(self);
        state.numbers().into_iter().map(|number| state.vmnet(number)).collect()
    }

    /// Returns a network's reserved addresses, in order of MAC.
    pub fn reservations(&self, vmnet: u8) -> Vec<(Mac, Ipv4Addr)> {
        State::of(self).reservations_of(vmnet).collect()
    }

    /// Returns a network's forwarded ports, in order of protocol and host port.
    pub fn port_forwards(&self, vmnet: u8) -> Vec<PortForward> {
        let state = State::of(self);
        state.forwards.into_iter().filter(|((of, ..), _)| *of == vmnet).map(|(_, forward)| forward).collect()
    }

    /// Returns a network's answers: the key without `VNET_<n>_`, in upper case, and its value.
    pub fn answers(&self, vmnet: u8) -> BTreeMap<String, String> {
        let state = State::of(self);
        state
            .answers
            .into_iter()
            .filter(|((of, _), _)| *of == vmnet)
            .map(|((_, key), value)| (key, value))
            .collect()
    }
}

impl Default for Document {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIVE: &str = include_str!("live.txt");

    fn parse(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_live_file_is_understood() {
        let document = parse(LIVE);
        assert_eq!(document.render(), LIVE.as_bytes());
        let numbers: Vec<u8> = document.vmnets().iter().map(|vmnet| vmnet.number).collect();
        assert_eq!(numbers, [1, 2, 3, 8, 10]);
        let nat = document.vmnet(8);
        assert_eq!(nat.subnet, Some("192.168.215.0/24".parse().unwrap()));
        assert!(nat.exists && nat.nat && nat.dhcp && nat.adapter && !nat.husk);
        assert_eq!(nat.uuid.as_deref(), Some("9F1C5A27-0B6E-4C1B-8A57-2D0B3C4E5F60"));
        let bridge = document.vmnet(2);
        assert!(!bridge.exists && !bridge.husk);
        assert_eq!(bridge.bridged_to.as_deref(), Some("en0"));
        let husk = document.vmnet(3);
        assert!(!husk.exists && husk.husk);
        assert!(!document.vmnet(10).nat, "vmnet10 is not vmnet1");
        assert_eq!(document.answers(10)["DISPLAY_NAME"], "vSphere");
        assert_eq!(document.answers(1)["DHCP_CFG_HASH"], "F1AB0000000000000000000000000000000000AA");
    }

    #[test]
    fn reservations_and_forwards_follow_the_journal() {
        let document = parse(LIVE);
        let mac: Mac = "12:34:56:78:9a:ab".parse().unwrap();
        assert_eq!(document.reservations(8), [(mac, "192.168.215.4".parse().unwrap())]);
        let forwards = document.port_forwards(8);
        assert_eq!(forwards.len(), 1);
        assert_eq!((forwards[0].host_port, forwards[0].guest_port), (2222, 22));
        assert_eq!(forwards[0].description, "vagrant: /Users/me/my box");
    }

    #[test]
    fn comments_case_and_spacing_are_tolerated() {
        let text = "\r\nVERSION=1,0\r\n\tANSWER  vnet_2_dhcp\tyes # mine\r\nanswer VNET_2_DISPLAY_NAME \r\n\
                    answer VNET_2_HOSTONLY_SUBNET 10.10.0.1\r\nanswer VNET_2_HOSTONLY_NETMASK 255.255.255.128\r\n\
                    answer VNET_999_NAT yes\r\nadd_dhcp_mac_to_ip 2 0:50:56:0:b:1 10.10.0.3 # web";
        let document = parse(text);
        assert_eq!(document.render(), text.as_bytes());
        let vmnet = document.vmnet(2);
        assert!(vmnet.dhcp);
        assert_eq!(vmnet.subnet, Some("10.10.0.0/25".parse().unwrap()));
        assert_eq!(document.answers(2)["DISPLAY_NAME"], "");
        assert_eq!(document.reservations(2).len(), 1);
        assert_eq!(document.vmnets().len(), 1);
    }

    #[test]
    fn a_file_that_is_not_ours_to_edit_is_refused_with_its_line() {
        let refusal = |bytes: &[u8]| Document::parse(bytes).unwrap_err();
        assert_eq!(refusal(b"VERSION=1,0\n\xff\xfe").line, 2);
        assert_eq!(refusal(b"VERSION=1,0\nanswer \0").reason, "binary data");
        assert_eq!(refusal(b"\nVERSION=2,0\n").line, 2);
        assert_eq!(refusal(b"answer VNET_1_DHCP yes\n").line, 1);
        assert_eq!(refusal(b"").line, 1);
    }

    proptest! {
        #[test]
        fn what_is_parsed_renders_to_the_same_bytes(text in "(\r?\n){0,2}VERSION=1,0([\r\n]{1,2}(\\PC{0,12}|answer VNET_[0-9]_(NAT|DHCP) (yes|no)|(add|remove)_[a-z_ 0-9]{0,20})){0,6}") {
            prop_assert_eq!(parse(&text).render(), text.clone().into_bytes());
            parse(&text).vmnets();
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(document) = Document::parse(&bytes) {
                prop_assert_eq!(document.render(), bytes);
            }
        }
    }
}
