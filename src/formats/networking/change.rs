//! A change of the networking file as a whole: what must be restarted for it, and whether root may write it.
//!
//! Root does not trust the one who asks: it takes only what follows from the two files alone.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use serde::Serialize;

use super::model::{FUSIONS_OWN, HASH, Model, Network, SUBNET, UUID};
use super::wish::overlap;
use super::{Document, Meaning, Refusal, Row, shown, strict};
use crate::formats::lines::{self, Ending};

/// Bytes of the largest file that root writes; a real one has a few thousand.
const LARGEST: usize = 1 << 20;

/// What of Fusion's services a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The files have the same bytes.
    Nothing,
    /// The bytes differ, but in nothing that a service reads: comments, blank lines, order, spelling, and what
    /// Fusion adds by itself (digests of dhcpd.conf, UUIDs).
    Text,
    /// Besides that, only reservations of the one network differ.
    Reservations,
    /// Anything else.
    Networks,
}

/// Returns what a change concerns, seen from one network.
pub fn scope(before: &[u8], after: &[u8], vmnet: u8) -> Scope {
    if before == after {
        return Scope::Nothing;
    }
    let (Ok(before), Ok(after)) = (Document::parse(before), Document::parse(after)) else {
        return Scope::Networks;
    };
    let read = |document: Document| document.model.without_answers(&[HASH, UUID]);
    let (before, after) = (read(before), read(after));
    if before == after {
        return Scope::Text;
    }
    if before.without_reservations(vmnet) == after.without_reservations(vmnet) {
        return Scope::Reservations;
    }
    Scope::Networks
}

/// Checks that a change keeps within one network: what root writes without trusting the one who asks.
///
/// Every new line is a strictly spelled answer or reservation of that network, a digest that Fusion wrote, a blank
/// line or a comment; and nothing else that the file says is gone, new or different. Comments may go.
///
/// # Errors
/// Everything that is not acceptable.
pub fn confined(before: Option<&[u8]>, after: &[u8], vmnet: u8) -> Result<(), Vec<Refusal>> {
    if FUSIONS_OWN.contains(&vmnet) {
        return Err(vec![whole(format!("vmnet{vmnet} is Fusion's own: 2 to 7 and 9 to 255 can be changed"))]);
    }
    let (before, after) = read(before, after)?;
    accepted(Change { before: &before, after: &after }.outside(vmnet))
}

/// Checks that a file can be put back as a whole: every line that the present one lacks is well formed.
///
/// # Errors
/// Everything that is not acceptable.
pub fn well_formed(before: Option<&[u8]>, after: &[u8]) -> Result<(), Vec<Refusal>> {
    let (before, after) = read(before, after)?;
    accepted(Change { before: &before, after: &after }.lines(strict::of_file))
}

/// Says whether root would write `original` in place of `current` as a change of this network.
pub(super) fn undoable(current: &Document, original: &Document, vmnet: u8) -> bool {
    Change { before: current, after: original }.outside(vmnet).is_empty()
}

fn accepted(refusals: Vec<Refusal>) -> Result<(), Vec<Refusal>> {
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

fn whole(reason: String) -> Refusal {
    Refusal { line: 0, reason }
}

fn read(before: Option<&[u8]>, after: &[u8]) -> Result<(Document, Document), Vec<Refusal>> {
    if after.len() > LARGEST {
        return Err(vec![whole(format!("the new file has {} bytes, more than {LARGEST}", after.len()))]);
    }
    let before = match before.map(Document::parse) {
        None => Document::new(),
        Some(Ok(before)) => before,
        Some(Err(refusal)) => {
            return Err(vec![whole(format!("the file that is there is not one that we know: {refusal}"))]);
        }
    };
    let after = Document::parse(after).map_err(|refusal| vec![refusal])?;
    Ok((before, after))
}

struct Change<'a> {
    before: &'a Document,
    after: &'a Document,
}

impl Change<'_> {
    /// Returns everything that does more than change one network's answers and reservations.
    fn outside(&self, vmnet: u8) -> Vec<Refusal> {
        let (before, after) = (&self.before.model, &self.after.model);
        let there = after.vmnet(vmnet);
        let mut refusals = self.lines(|row| strict::of_network(row, vmnet, there.subnet));
        let mut reasons = differences(before, after, vmnet);
        let said = |model: &Model| model.answer(vmnet, SUBNET).unwrap_or_default().to_owned();
        let moved = said(before) != said(after) || before.vmnet(vmnet).subnet != there.subnet;
        if there.exists && moved {
            reasons.extend(strict::subnet(&said(after), there.subnet).err());
            for other in after.vmnets().iter().filter(|other| other.number != vmnet) {
                if let (Some(ours), Some(theirs)) = (there.subnet, other.subnet)
                    && overlap(&ours, &theirs)
                {
                    reasons.push(format!("{ours} overlaps {theirs} of vmnet{}", other.number));
                }
            }
            if let Some(interface) = there.bridged_to {
                reasons.push(format!("vmnet{vmnet} is the bridge to {interface}"));
            }
        }
        refusals.extend(reasons.into_iter().map(whole));
        refusals
    }

    /// Returns what is wrong with the new lines, by themselves and where they stand.
    fn lines(&self, check: impl Fn(&Row) -> Result<(), String>) -> Vec<Refusal> {
        let mut left: HashMap<&[u8], usize> = HashMap::new();
        let mut ended: HashMap<(&[u8], Ending), usize> = HashMap::new();
        for line in &self.before.lines {
            *left.entry(line.text.as_ref()).or_default() += 1;
            *ended.entry((line.text.as_ref(), line.ending)).or_default() += 1;
        }
        // What Fusion reads as one line, and what it reads as two, must not change either.
        let usual = [Ending::Lf, Ending::None, lines::ending_of(&self.before.lines)];
        let heading = |document: &Document| {
            document.lines.iter().position(|line| line.text.meaning == Meaning::Version).unwrap_or_default()
        };
        let mut refusals = Vec::new();
        for (at, line) in self.after.lines.iter().enumerate() {
            let row = &line.text;
            let mut refuse = |reason| refusals.push(Refusal { line: at + 1, reason });
            let keeps_its_ending = take(&mut ended, (row.as_ref(), line.ending));
            if !keeps_its_ending && !usual.contains(&line.ending) {
                refuse(format!("ends otherwise than the lines of the file that is there: {}", shown(row)));
            }
            if take(&mut left, row.as_ref()) {
                continue;
            }
            let mut result = check(row);
            if row.meaning == Meaning::Version && at != heading(self.after) {
                result = Err("a second version".to_owned());
            }
            if let Err(reason) = result {
                refuse(format!("{reason}: {}", shown(row)));
            }
        }
        if heading(self.after) > heading(self.before) {
            refusals.push(Refusal { line: 1, reason: "a blank line above the version".to_owned() });
        }
        refusals
    }
}

/// Takes one of these things, if there is one left.
fn take<T: Eq + Hash>(left: &mut HashMap<T, usize>, thing: T) -> bool {
    left.get_mut(&thing).filter(|left| **left > 0).map(|left| *left -= 1).is_some()
}

/// Returns what two files say differently, one network's answers and reservations aside, and digests that Fusion
/// writes anew.
fn differences(before: &Model, after: &Model, vmnet: u8) -> Vec<String> {
    let none = Network::default();
    let numbers: BTreeSet<u8> = before.networks.keys().chain(after.networks.keys()).copied().collect();
    let mut reasons = Vec::new();
    for number in numbers {
        let old = before.networks.get(&number).unwrap_or(&none);
        let new = after.networks.get(&number).unwrap_or(&none);
        let is_ours = number == vmnet;
        let answers = |network: &Network| {
            let mut answers = network.answers.clone();
            answers.remove(HASH);
            answers
        };
        let parts = [
            ("answers", is_ours || answers(old) == answers(new)),
            ("reservations", is_ours || old.reservations == new.reservations),
            ("forwarded ports", old.forwards == new.forwards),
            ("NAT prefixes", old.prefixes == new.prefixes),
        ];
        let changed = parts.into_iter().filter(|(_, same)| !same);
        reasons.extend(changed.map(|(what, _)| format!("the {what} of vmnet{number} would be others")));
    }
    let parts = [
        ("the bridge mappings", before.bridges == after.bridges),
        ("the answers that are about no vmnet", before.settings == after.settings),
        ("the lines that we do not know", before.unknown == after.unknown),
    ];
    let changed = parts.into_iter().filter(|(_, same)| !same);
    reasons.extend(changed.map(|(what, _)| format!("{what} would be others")));
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::networking::{Ours, Wish, restore};

    const LIVE: &str = include_str!("live.txt");

    fn lab() -> Wish {
        let reservations =
            vec![("00:50:56:00:0b:83".parse().unwrap(), std::net::Ipv4Addr::new(10, 10, 0, 131))];
        Wish { vmnet: 5, subnet: "10.10.0.0/24".parse().unwrap(), reservations }
    }

    fn made() -> String {
        let document = Document::parse(LIVE.as_bytes()).unwrap().ensure(&lab(), Ours::default()).unwrap();
        String::from_utf8(document.render()).unwrap()
    }

    fn reasons(before: &str, after: &str) -> Vec<String> {
        let result = confined(Some(before.as_bytes()), after.as_bytes(), 5);
        result.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_scope_is_no_wider_than_the_change() {
        let scope = |after: &str| scope(made().as_bytes(), after.as_bytes(), 5);
        let plus = |line: &str| made() + line + "\n";
        assert_eq!(scope(&made()), Scope::Nothing);
        assert_eq!(scope(&plus("# seen")), Scope::Text);
        assert_eq!(scope(&made().replace('\n', "\r\n")), Scope::Text);
        assert_eq!(scope(&plus("remove_answer VNET_1_DHCP_CFG_HASH")), Scope::Text);
        assert_eq!(scope(&plus("answer VNET_5_HOSTONLY_UUID 8E2D9F10")), Scope::Text);
        let one_more = plus("add_dhcp_mac_to_ip 5 00:50:56:00:0b:84 10.10.0.5");
        assert_eq!(scope(&one_more), Scope::Reservations);
        assert_eq!(scope(&one_more.replace("_ip 5", "_ip 8")), Scope::Networks);
        assert_eq!(scope(&plus("answer VNET_5_NAT no")), Scope::Networks);
        assert_eq!(scope(&plus("frobnicate 5")), Scope::Networks);
        assert_eq!(super::scope(b"", LIVE.as_bytes(), 5), Scope::Networks);
        assert_eq!(serde_json::to_string(&Scope::Reservations).unwrap(), "\"reservations\"");
    }

    #[test]
    fn what_we_make_is_confined_and_so_is_the_way_back() {
        assert_eq!(reasons(LIVE, &made()), [""; 0]);
        assert_eq!(
            confined(None, Document::new().ensure(&lab(), Ours::default()).unwrap().render().as_slice(), 5),
            Ok(())
        );
        let applied = made() + "answer VNET_5_HOSTONLY_UUID 5B7C1D3A-7B5E-4A0F-9C53-1F0E2D3C4B5A\n";
        let back = restore(applied.as_bytes(), Some(LIVE.as_bytes()), 5, true, &lab().reservations);
        assert_eq!(back, LIVE.as_bytes());
        assert_eq!(reasons(&applied, LIVE), [""; 0]);
    }

    #[test]
    fn a_change_of_one_network_touches_nothing_else() {
        for (added, reason) in [
            ("answer VNET_8_NAT no", "not about vmnet5"),
            ("answer VNET_50_NAT no", "not about vmnet5"),
            ("answer VNET_5_DISPLAY_NAME x", "DISPLAY_NAME is no answer that we give"),
            ("answer VNET_5_NAT YES", "NAT cannot be \"YES\""),
            ("answer VNET_5_NAT yes # x", "spelled otherwise"),
            ("answer  VNET_5_NAT yes", "spelled otherwise"),
            ("answer VNET_5_HOSTONLY_UUID x", "HOSTONLY_UUID cannot be"),
            ("answer VNET_8_DHCP_CFG_HASH 00", "DHCP_CFG_HASH cannot be"),
            ("answer VNET_5_HOSTONLY_NETMASK 255.0.255.0", "HOSTONLY_NETMASK cannot be"),
            ("answer VNET_5_HOSTONLY_SUBNET 10.10.0.1", "not the first address"),
            ("answer VNET_5_HOSTONLY_SUBNET 8.8.8.0", "8.8.8.0/24 is not private"),
            ("answer VNET_5_HOSTONLY_SUBNET 192.168.215.0", "overlaps 192.168.215.0/24 of vmnet8"),
            ("answer VNET_5_HOSTONLY_NETMASK 255.255.255.255", "HOSTONLY_NETMASK cannot be"),
            ("add_dhcp_mac_to_ip 5 0:50:56:0:b:84 10.10.0.5", "spelled otherwise"),
            ("ADD_dhcp_mac_to_ip 5 00:50:56:00:0b:84 10.10.0.5", "spelled otherwise"),
            ("add_dhcp_mac_to_ip 5 00:50:56:00:0b:84 10.10.0.2", "the NAT service's"),
            ("add_dhcp_mac_to_ip 5 00:50:56:00:0b:84 10.10.0.255", "the broadcast"),
            ("add_dhcp_mac_to_ip 5 00:50:56:00:0b:84 10.10.1.5", "not in 10.10.0.0/24"),
            ("add_nat_portfwd 5 tcp 22 10.10.0.5 22", "neither an answer nor a reservation"),
            ("add_bridge_mapping en0 5", "neither an answer nor a reservation"),
            ("remove_bridge_mapping en0", "not about vmnet5"),
            ("answer VNL_DEFAULT_BRIDGE_VNET 5", "not about vmnet5"),
            ("frobnicate", "not a line that we know"),
            ("# \u{1b}[31m", "control character"),
            ("VERSION=1,0", "a second version"),
        ] {
            let found = reasons(LIVE, &format!("{}{added}\n", made()));
            assert!(found.iter().any(|found| found.contains(reason)), "{added}: {found:?}");
        }
        let long = format!("{}#{}answer VNET_8_NAT no\n", made(), " ".repeat(300));
        assert!(reasons(LIVE, &long)[0].contains("longer than 200 bytes"));
    }

    #[test]
    fn nothing_of_others_vanishes() {
        for line in LIVE.lines().filter(|line| {
            line.contains("VNET_8_DHCP ")
                || line.contains("en0")
                || line.contains("2222")
                || line.contains("/64")
                || line.ends_with("215.4")
        }) {
            let found = reasons(LIVE, &made().replace(&format!("{line}\n"), ""));
            assert!(found.iter().any(|found| found.contains("would be others")), "{line}: {found:?}");
        }
        let odd = LIVE.to_owned() + "frobnicate 8\nanswer VNL_DEFAULT_BRIDGE_VNET -1\n";
        assert_eq!(
            reasons(&odd, LIVE),
            [
                "the answers that are about no vmnet would be others",
                "the lines that we do not know would be others"
            ]
        );
        let moved = LIVE
            .replace("VERSION=1,0\n", "VERSION=1,0\nadd_dhcp_mac_to_ip 8 12:34:56:78:9A:AB 192.168.215.4\n");
        assert!(reasons(LIVE, &moved)[0].contains("not about vmnet5"), "a line twice is a new line");
        let glued = LIVE.replacen("answer VNET_8_DHCP yes\n", "answer VNET_8_DHCP yes\r", 1);
        assert!(reasons(LIVE, &glued)[0].contains("ends otherwise"), "{:?}", reasons(LIVE, &glued));
        assert!(reasons(LIVE, &format!("\n{LIVE}"))[0].contains("a blank line above the version"));
    }

    #[test]
    fn what_cannot_be_judged_is_refused_as_a_whole() {
        assert_eq!(confined(None, LIVE.as_bytes(), 8).unwrap_err()[0].line, 0);
        assert_eq!(
            reasons("nonsense", LIVE),
            [
                "the file that is there is not one that we know: line 1: expected VERSION=1,0, found \"nonsense\""
            ]
        );
        assert_eq!(reasons(LIVE, "VERSION=2,0\n"), ["line 1: expected VERSION=1,0, found \"VERSION=2,0\""]);
        let large = LIVE.to_owned() + &"# x\n".repeat(1 << 18);
        assert!(reasons(LIVE, &large)[0].contains("more than 1048576"));
    }

    #[test]
    fn a_whole_file_is_put_back_if_its_lines_are_well_formed() {
        let check = |line: &str| well_formed(None, format!("VERSION=1,0\n{line}\n").as_bytes());
        assert_eq!(well_formed(None, LIVE.as_bytes()), Ok(()));
        for good in [
            "answer VNL_DEFAULT_BRIDGE_VNET -1",
            "answer VNET_1_DISPLAY_NAME ",
            "answer VNET_8_DHCP yes # mine",
            "# hallo",
            "",
            "add_bridge_mapping en12 3",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "frobnicate",
            "add_bridge_mapping ../x 3",
            "add_nat_portfwd 8 tcp 0 1.2.3.4 22",
            "answer VNET_8_DHCP maybe",
            "answer X a\u{7}b",
            "add_nat_prefix 8 /640",
            "answer VNET_8_X-Y 1",
        ] {
            assert_eq!(check(bad).unwrap_err()[0].line, 2, "{bad}");
            let there = format!("VERSION=1,0\n{bad}\n");
            assert_eq!(
                well_formed(Some(there.as_bytes()), there.as_bytes()),
                Ok(()),
                "what is there may stay"
            );
        }
    }
}
