//! The way back of a change of one network, though somebody else has written in the file meanwhile: that network as it
//! was, and everything else as it is now.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::change::undoable;
use super::directive::{Directive, Row};
use super::edit::answer;
use super::model::{HASH, Model, UUID};
use super::{Document, strict};
use crate::formats::lines;
use crate::formats::mac::Mac;

/// What becomes of a file when a change is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// The former file, to the byte: nobody but us and Fusion has written since.
    Former,
    /// What is there now with the network as it was: somebody else's words stay.
    Merged(Vec<u8>),
    /// What is there now: the change cannot be told from what somebody else has written.
    Theirs,
}

/// Returns what becomes of the file `there` when the change from the file `former` to `new` is taken back; none stands for no
/// file. `vmnet` is the network that the change is about; none if it is about the whole file.
///
/// Fusion's own notes (digests, UUIDs) are nobody's words, and comments that Fusion dropped come back.
pub fn take_back(there: &[u8], new: Option<&[u8]>, former: Option<&[u8]>, vmnet: Option<u8>) -> Back {
    if new == Some(there) || former == Some(there) {
        return Back::Former;
    }
    let read = |bytes: Option<&[u8]>| bytes.map_or_else(|| Ok(Document::new()), Document::parse);
    let (Ok(now), Ok(made), Ok(was)) = (read(Some(there)), read(new), read(former)) else {
        let known: Vec<&[u8]> = [new, former].into_iter().flatten().flat_map(rows).collect();
        return if rows(there).all(|row| known.contains(&row)) { Back::Former } else { Back::Theirs };
    };
    let known: BTreeSet<&[u8]> = remarks(&made).chain(remarks(&was)).collect();
    let is_silent = remarks(&now).all(|remark| known.contains(remark));
    let Some(vmnet) = vmnet else {
        return if is_silent && meaning(&now) == meaning(&made) { Back::Former } else { Back::Theirs };
    };
    let merged = now.with_network_back(&made.model, &was.model, vmnet);
    if is_silent && meaning(&merged) == meaning(&was) {
        Back::Former
    } else if undoable(&now, &merged, vmnet) {
        Back::Merged(merged.render())
    } else {
        Back::Theirs
    }
}

/// Returns the lines that say something, without what ends them.
fn rows(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|row| !row.iter().all(u8::is_ascii_whitespace))
}

/// Returns the lines that say something to people, or to others: Fusion writes none of them.
fn remarks(document: &Document) -> impl Iterator<Item = &[u8]> {
    let rows = document.lines.iter().map(|line| &line.text);
    rows.filter(|row| row.is_others() || row.as_ref().contains(&b'#')).map(AsRef::as_ref)
}

/// What a file says, Fusion's own notes aside.
fn meaning(document: &Document) -> Model {
    document.model.clone().without_answers(&[HASH, UUID])
}

impl Document {
    /// Returns this file with what a change made of a network taken back, wherever nobody else has changed it since.
    fn with_network_back(&self, made: &Model, was: &Model, vmnet: u8) -> Self {
        let goes = made.vmnet(vmnet).exists && !was.vmnet(vmnet).exists;
        let is_note = |key: &str| key == HASH || key == UUID;
        let (reserved, former) = (reservations(made, vmnet), reservations(was, vmnet));
        let left = self.retaining(|directive| match directive {
            Directive::Answer { vmnet: of, key, .. } | Directive::RemoveAnswer { vmnet: of, key }
                if *of == vmnet && is_note(key) =>
            {
                !goes || was.answer(vmnet, key).is_some()
            }
            Directive::Answer { vmnet: of, key, value } if *of == vmnet => {
                made.answer(vmnet, key) != Some(value) || was.answer(vmnet, key) == Some(value)
            }
            Directive::AddReservation { vmnet: of, mac, address } if *of == vmnet => {
                let this = (*mac, *address);
                !reserved.contains(&this) || former.contains(&this)
            }
            _ => true,
        });
        let mut lines = left.lines.clone();
        let mut answers = was.answers(vmnet);
        answers.retain(|key, value| {
            let is_others = self.model.answer(vmnet, key) != made.answer(vmnet, key);
            key != HASH && !is_others && strict::answer(key, value).is_ok()
        });
        answer(&mut lines, &left.model, vmnet, answers);
        for (mac, address) in former.difference(&reserved) {
            if !left.model.reserved(vmnet).any(|(has, held)| has == *mac || held == *address) {
                let line = format!("add_dhcp_mac_to_ip {vmnet} {mac} {address}");
                lines::append(&mut lines, Row::new(line.as_bytes()));
            }
        }
        Self::of(lines)
    }
}

fn reservations(model: &Model, vmnet: u8) -> BTreeSet<(Mac, Ipv4Addr)> {
    model.reserved(vmnet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAS: &str =
        "VERSION=1,0\n# theirs\nanswer VNET_8_DHCP yes\nanswer VNET_8_HOSTONLY_SUBNET 172.16.8.0\n";
    const NETWORK: &str = "answer VNET_2_DHCP yes\nanswer VNET_2_HOSTONLY_NETMASK 255.255.255.0\n\
                           answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\nanswer VNET_2_NAT yes\n\
                           add_dhcp_mac_to_ip 2 00:50:56:00:00:01 10.10.0.131\n";
    const NOTES: &str = "answer VNET_2_HOSTONLY_UUID AB-2\nanswer VNET_2_DHCP_CFG_HASH 00\n\
                         answer VNET_8_HOSTONLY_UUID AB-8\nanswer VNET_8_DHCP_CFG_HASH 01\n";

    fn made() -> String {
        format!("{WAS}{NETWORK}")
    }

    fn back(there: &str, new: &str, former: &str) -> Back {
        take_back(there.as_bytes(), Some(new.as_bytes()), Some(former.as_bytes()), Some(2))
    }

    fn merged(back: Back) -> String {
        match back {
            Back::Merged(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("somebody else wrote: {other:?}"),
        }
    }

    #[test]
    fn what_only_we_and_fusion_wrote_gives_way_to_the_former_file() {
        let made = made();
        let uncommented = made.replace("# theirs\n", "");
        for there in [&made, WAS, &format!("{made}{NOTES}"), &format!("{uncommented}{NOTES}")] {
            assert_eq!(back(there, &made, WAS), Back::Former, "{there}");
        }
        let there = format!("{WAS}{NOTES}");
        assert_eq!(back(&there, WAS, &made), Back::Former, "a network that went comes back");
        assert_eq!(take_back(there.as_bytes(), Some(WAS.as_bytes()), None, None), Back::Former);
    }

    #[test]
    fn what_somebody_else_wrote_stays_and_only_our_lines_go() {
        let made = made();
        for theirs in [
            "answer VNET_9_HOSTONLY_SUBNET 172.16.9.0\n",
            "add_dhcp_mac_to_ip 8 00:0C:29:00:00:01 172.16.8.9\n",
            "add_nat_portfwd 2 tcp 2222 10.10.0.131 22 mine\n",
            "# a word\n",
            "answer VNET_8_DHCP yes # a word\n",
            "wonders\n",
        ] {
            assert_eq!(merged(back(&format!("{made}{theirs}"), &made, WAS)), format!("{WAS}{theirs}"));
            let there = format!("{WAS}{theirs}{NETWORK}{NOTES}");
            let left = merged(back(&there, &made, WAS));
            assert!(left.starts_with(&format!("{WAS}{theirs}")) && !left.contains("VNET_2"), "{left}");
        }
        // What they took out is theirs, too.
        let there = made.replace("answer VNET_8_DHCP yes\n", "answer VNET_8_DHCP no\n");
        assert_eq!(merged(back(&there, &made, WAS)), WAS.replace("8_DHCP yes", "8_DHCP no"));
    }

    #[test]
    fn a_network_that_went_comes_back_beside_what_somebody_else_wrote() {
        let theirs = "answer VNET_9_HOSTONLY_SUBNET 172.16.9.0\n";
        let left = merged(back(&format!("{WAS}{theirs}"), WAS, &made()));
        let (left, made) =
            (Document::parse(left.as_bytes()).unwrap(), Document::parse(made().as_bytes()).unwrap());
        assert_eq!(left.answers(2), made.answers(2));
        assert_eq!(left.reservations(2), made.reservations(2));
        assert!(left.vmnet(9).exists);
        // Unless they took its addresses.
        let there = format!("{WAS}answer VNET_9_HOSTONLY_SUBNET 10.10.0.0\n");
        assert_eq!(back(&there, WAS, &String::from_utf8(made.render()).unwrap()), Back::Theirs);
    }

    #[test]
    fn what_somebody_else_changed_of_the_network_itself_stays() {
        let made = made();
        let there = made.replace("answer VNET_2_NAT yes", "answer VNET_2_NAT no")
            + "add_dhcp_mac_to_ip 2 00:0C:29:00:00:01 10.10.0.9\n";
        let left = merged(back(&there, &made, WAS));
        assert_eq!(
            left,
            format!("{WAS}answer VNET_2_NAT no\nadd_dhcp_mac_to_ip 2 00:0C:29:00:00:01 10.10.0.9\n")
        );
        // Of a reservation that we took out, somebody has taken the address.
        let without = made.replace("add_dhcp_mac_to_ip 2 00:50:56:00:00:01 10.10.0.131\n", "");
        let there = format!("{without}add_dhcp_mac_to_ip 2 00:0C:29:00:00:01 10.10.0.131\n");
        assert_eq!(merged(back(&there, &without, &made)), there);
    }

    #[test]
    fn a_file_that_is_no_networking_file_goes_only_if_all_of_it_is_known() {
        let made = made();
        assert_eq!(back("answer VNET_8_DHCP yes\n", &made, WAS), Back::Former, "half of a file");
        assert_eq!(back("", &made, WAS), Back::Former);
        assert_eq!(back("VERSION=2,0\n", &made, WAS), Back::Theirs);
    }

    #[test]
    fn a_whole_file_gives_way_only_if_nobody_wrote_in_it() {
        let made = made();
        let back =
            |there: &str| take_back(there.as_bytes(), Some(made.as_bytes()), Some(WAS.as_bytes()), None);
        assert_eq!(back(&format!("{made}{NOTES}")), Back::Former);
        assert_eq!(back(&format!("{made}# a word\n")), Back::Theirs);
        assert_eq!(back(&format!("{made}answer VNET_9_NAT yes\n")), Back::Theirs);
    }
}
