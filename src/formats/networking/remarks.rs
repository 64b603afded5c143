//! What is worth telling about a networking file, though it stops nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::directive::{Directive, Meaning, Protocol, Row};
use super::model::{ADAPTER, DHCP, NAT, NETMASK, SUBNET};
use super::wish::overlap;
use super::{Document, shown, strict};
use crate::formats::lines::Ending;
use crate::formats::mac::Mac;

/// One thing worth telling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Counts from 1; 0 stands for the file as a whole.
    pub line: usize,
    pub text: String,
}

impl Document {
    /// Returns what is worth telling about the file, in order of line: lines that we do not know or that
    /// contradict one another, answers that have no effect, reservations that no guest can get.
    pub fn remarks(&self) -> Vec<Remark> {
        let mut remarks = Remarks { document: self, found: Vec::new() };
        remarks.text();
        remarks.lines();
        remarks.networks();
        remarks.found.sort_by_key(|remark| remark.line);
        remarks.found
    }
}

struct Remarks<'a> {
    document: &'a Document,
    found: Vec<Remark>,
}

impl Remarks<'_> {
    fn tell(&mut self, line: usize, text: impl Into<String>) {
        self.found.push(Remark { line, text: text.into() });
    }

    /// How the file is written.
    fn text(&mut self) {
        let lines = &self.document.lines;
        if let Some(last) = lines.last().filter(|last| last.ending == Ending::None) {
            self.tell(
                lines.len(),
                format!("the last line is not finished with a newline: {}", shown(&last.text)),
            );
        }
        let other = lines.iter().position(|line| {
            line.ending != Ending::None && lines.first().is_some_and(|first| first.ending != line.ending)
        });
        if let Some(at) = other {
            self.tell(at + 1, "from here on, lines end otherwise than the first one does");
        }
        match lines.first().map(|first| first.ending) {
            Some(Ending::CrLf) => self.tell(0, "lines end in CRLF, as on Windows: so will ours"),
            Some(Ending::Cr) => self.tell(0, "lines end in CR, as on old Macs: so will ours"),
            _ => {}
        }
        let comments = lines.iter().filter(|line| has_comment(&line.text)).count();
        if comments > 0 {
            let what = if comments == 1 { "a comment".to_owned() } else { format!("{comments} comments") };
            self.tell(
                0,
                format!("{what}: kept by us, but Fusion may drop comments when it rewrites the file"),
            );
        }
    }

    /// Each line by itself, if it is in effect.
    fn lines(&mut self) {
        let last = self.places_in_effect();
        for (at, line) in self.document.lines.iter().enumerate() {
            let row = &line.text;
            match &row.meaning {
                Meaning::Unknown => self.tell(at + 1, unknown(row)),
                Meaning::Known(directive) => {
                    let is_in_effect = place(directive).is_none_or(|place| last.get(&place) == Some(&at));
                    if let Some(text) = odd(directive).filter(|_| is_in_effect) {
                        self.tell(at + 1, text);
                    }
                }
                _ => {}
            }
        }
        self.reservations(&last);
        self.forwards(&last);
    }

    /// Returns where the line stands that says the last word on each thing.
    fn places_in_effect(&self) -> BTreeMap<Place, usize> {
        let lines = self.document.lines.iter().enumerate();
        lines.filter_map(|(at, line)| Some((place(line.text.directive()?)?, at))).collect()
    }

    fn reservations(&mut self, last: &BTreeMap<Place, usize>) {
        let model = &self.document.model;
        for vmnet in model.vmnets() {
            let mut holders: BTreeMap<Ipv4Addr, Mac> = BTreeMap::new();
            for (mac, address) in model.reserved(vmnet.number) {
                let line = last.get(&Place::Reservation(vmnet.number, mac)).map_or(0, |at| at + 1);
                if let Some(subnet) = vmnet.subnet
                    && let Err(reason) = strict::reservable(address, subnet)
                {
                    self.tell(line, format!("vmnet{} cannot give {mac} its address: {reason}", vmnet.number));
                }
                if let Some(holder) = holders.insert(address, mac) {
                    self.tell(line, format!("{address} is reserved for {holder} and for {mac}"));
                }
            }
        }
    }

    /// Forwards listen on all of the host's interfaces, so a port can be forwarded once only.
    fn forwards(&mut self, last: &BTreeMap<Place, usize>) {
        let mut takers: BTreeMap<(Protocol, u16), u8> = BTreeMap::new();
        for (vmnet, network) in &self.document.model.networks {
            for &(protocol, port) in network.forwards.keys() {
                if let Some(other) = takers.insert((protocol, port), *vmnet) {
                    let line = last.get(&Place::Forward(*vmnet, protocol, port)).map_or(0, |at| at + 1);
                    self.tell(
                        line,
                        format!("host port {port} is forwarded into vmnet{other} and into vmnet{vmnet}"),
                    );
                }
            }
        }
    }

    /// Networks side by side.
    fn networks(&mut self) {
        let vmnets = self.document.model.vmnets();
        for (at, one) in vmnets.iter().enumerate() {
            if one.exists && one.subnet.is_none() {
                self.tell(0, format!("the subnet and mask of vmnet{} are no network", one.number));
            }
            if let Some(interface) = one.bridged_to.as_ref().filter(|_| one.exists) {
                self.tell(
                    0,
                    format!("vmnet{} has a subnet and is the bridge to {interface} too", one.number),
                );
            }
            for other in &vmnets[at + 1..] {
                if let (Some(first), Some(second)) = (one.subnet, other.subnet)
                    && overlap(&first, &second)
                {
                    let (one, other) = (one.number, other.number);
                    self.tell(0, format!("{first} of vmnet{one} overlaps {second} of vmnet{other}"));
                }
            }
        }
    }
}

/// What a line decides on; of several lines for one, the last has the word.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Answer(u8, String),
    Reservation(u8, Mac),
    Forward(u8, Protocol, u16),
}

fn place(directive: &Directive) -> Option<Place> {
    Some(match directive {
        Directive::Answer { vmnet, key, .. } | Directive::RemoveAnswer { vmnet, key } => {
            Place::Answer(*vmnet, key.clone())
        }
        Directive::AddReservation { vmnet, mac, .. } | Directive::RemoveReservation { vmnet, mac } => {
            Place::Reservation(*vmnet, *mac)
        }
        Directive::AddForward { vmnet, protocol, host_port, .. }
        | Directive::RemoveForward { vmnet, protocol, host_port } => {
            Place::Forward(*vmnet, *protocol, *host_port)
        }
        _ => return None,
    })
}

/// Returns what is odd about a known line.
fn odd(directive: &Directive) -> Option<String> {
    match directive {
        // facts/fusion-networking.md §1.1.
        Directive::AddForward { host_port, description, .. } if !description.is_empty() => {
            Some(format!("the description of port {host_port}: Fusion may drop it when it rewrites the file"))
        }
        Directive::Answer { vmnet, key, value } => odd_answer(*vmnet, key, value),
        Directive::Setting { key, .. } if key.starts_with("VNET_") => {
            Some(format!("{key} names no vmnet, 0 to 255: kept as it is"))
        }
        _ => None,
    }
}

fn odd_answer(vmnet: u8, key: &str, value: &str) -> Option<String> {
    match key {
        DHCP | NAT | ADAPTER if !value.eq_ignore_ascii_case("yes") && !value.eq_ignore_ascii_case("no") => {
            Some(format!("{key} of vmnet{vmnet} is {value:?}, neither yes nor no: it counts as no"))
        }
        SUBNET | NETMASK if !value.is_empty() && value.parse::<Ipv4Addr>().is_err() => {
            Some(format!("{key} of vmnet{vmnet} is {value:?}, which is no address"))
        }
        _ if value.is_empty() => Some(format!("VNET_{vmnet}_{key} has no value: kept as it is")),
        _ if key.starts_with("DHCP_PARAM_") => {
            Some(format!("{key} of vmnet{vmnet} was set by hand; Fusion is known to lose such lines"))
        }
        _ => None,
    }
}

/// Says whether a line is a comment, or has one behind its words.
fn has_comment(row: &Row) -> bool {
    let text = row.text();
    let free_text =
        matches!(row.directive(), Some(Directive::AddForward { .. } | Directive::RemoveForward { .. }));
    matches!(row.meaning, Meaning::Comment)
        || (row.directive().is_some() && !free_text && text.contains(" #"))
}

/// Returns what we make of a line that we do not know.
fn unknown(row: &Row) -> String {
    const RESERVE: &str = "add_dhcp_mac_to_ip";
    let text = row.text();
    if text.matches(RESERVE).count() > 1 {
        // hashicorp/vagrant-vmware-desktop writes no newline after a reservation.
        return format!(
            "several reservations glued into one line, as Vagrant writes them: none of them counts: {}",
            shown(row)
        );
    }
    if std::str::from_utf8(row.as_ref()).is_err() {
        return format!("not UTF-8 text, kept as it is: {}", shown(row));
    }
    format!("not a line that we know, kept as it is: {}", shown(row))
}
