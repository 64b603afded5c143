//! The database as Fusion rewrites it from time to time: each thing once, in an order of Fusion's own, and without what
//! its own model of it does not hold (facts/fusion-networking.md §1.1).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Directives that `add_` and `remove_` begin, each with how many operands say which thing it is, and how many are
/// kept of an addition.
const THINGS: &[(&str, usize, usize)] =
    &[("dhcp_mac_to_ip", 2, 3), ("nat_portfwd", 3, 5), ("bridge_mapping", 1, 2), ("nat_prefix", 2, 2)];

/// Returns the compacted text: answers by network and key, then reservations, forwards, bridges and prefixes. Comments,
/// repetitions, descriptions and unknown directives are gone.
pub fn compacted(text: &str) -> String {
    // An answer that is about no network comes before those that are.
    let mut answers: BTreeMap<(Option<u8>, String), String> = BTreeMap::new();
    let mut things: Vec<(usize, Vec<String>)> = Vec::new();
    let mut lines = text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty());
    let version = lines.next().unwrap_or_default();
    for line in lines {
        let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (keyword.split_once('_'), keyword) {
            (_, "answer") => {
                let (key, value) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
                answers.insert((number_of(key), key.to_owned()), without_comment(value));
            }
            (Some((_, "answer")), _) => {
                let key = rest.split_whitespace().next().unwrap_or_default();
                answers.remove(&(number_of(key), key.to_owned()));
            }
            (Some((verb @ ("add" | "remove"), name)), _) => change(&mut things, verb, name, rest),
            _ => {}
        }
    }
    let answers = answers.iter().map(|((_, key), value)| format!("answer {key} {value}"));
    things.sort_by_key(|(kind, _)| *kind);
    let things = things.iter().map(|(kind, words)| format!("add_{} {}", THINGS[*kind].0, words.join(" ")));
    let all = std::iter::once(version.to_owned()).chain(answers).chain(things);
    all.map(|line| line + "\n").collect()
}

/// Lets one directive take effect; what is incomplete has none.
fn change(things: &mut Vec<(usize, Vec<String>)>, verb: &str, name: &str, rest: &str) {
    let Some(kind) = THINGS.iter().position(|(known, ..)| *known == name) else { return };
    let (_, identity, kept) = THINGS[kind];
    let words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
    if words.len() < identity {
        return;
    }
    let is_same = |(of, there): &(usize, Vec<String>)| {
        let pairs = || there.iter().zip(&words).take(identity);
        *of == kind && pairs().all(|(one, other)| one.eq_ignore_ascii_case(other))
    };
    let is_whole = words.len() >= kept && (name != "dhcp_mac_to_ip" || words[2].parse::<Ipv4Addr>().is_ok());
    if verb == "remove" || is_whole {
        things.retain(|there| !is_same(there));
    }
    if verb == "add" && is_whole {
        things.push((kind, words.into_iter().take(kept).collect()));
    }
}

/// Returns the network that a key is about.
fn number_of(key: &str) -> Option<u8> {
    key.strip_prefix("VNET_")?.split_once('_')?.0.parse().ok()
}

fn without_comment(value: &str) -> String {
    value.split(" #").next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::networking::Document;

    const JOURNAL: &str = "VERSION=1,0\r\n# mine\r\nanswer VNET_10_NAT yes\r\nanswer VNET_2_NAT no # not yet\r\n\
        answer VNET_2_DHCP yes\r\nanswer VNET_2_NAT yes\r\nanswer VNL_DEFAULT_BRIDGE_VNET -1\r\n\
        answer VNET_2_DISPLAY_NAME \r\nadd_nat_portfwd 8 tcp 2222 10.0.0.3 22 vagrant: /my box\r\n\
        add_dhcp_mac_to_ip 2 00:50:56:00:00:0A 10.10.0.3\r\nadd_dhcp_mac_to_ip 2 00:50:56:00:00:0a 10.10.0.4\r\n\
        add_dhcp_mac_to_ip 2 00:50:56:00:00:0b 10.10.0.5add_dhcp_mac_to_ip 2 00:50:56:00:00:0c 10.10.0.6\r\n\
        add_bridge_mapping en0 3\r\nremove_answer VNET_2_DHCP_CFG_HASH\r\nadd_bridge_mapping en1 4\r\n\
        remove_bridge_mapping en1\r\nadd_nat_prefix 2 /64\r\nset_wonders on\r\n";

    #[test]
    fn a_journal_is_grouped_and_what_fusion_does_not_know_is_gone() {
        let expected = "VERSION=1,0\nanswer VNL_DEFAULT_BRIDGE_VNET -1\nanswer VNET_2_DHCP yes\n\
            answer VNET_2_DISPLAY_NAME \nanswer VNET_2_NAT yes\nanswer VNET_10_NAT yes\n\
            add_dhcp_mac_to_ip 2 00:50:56:00:00:0a 10.10.0.4\nadd_nat_portfwd 8 tcp 2222 10.0.0.3 22\n\
            add_bridge_mapping en0 3\nadd_nat_prefix 2 /64\n";
        assert_eq!(compacted(JOURNAL), expected);
        assert_eq!(compacted(expected), expected);
    }

    #[test]
    fn a_compacted_file_means_the_same_but_for_descriptions() {
        let parse = |text: &str| Document::parse(text.as_bytes()).unwrap();
        let (before, after) = (parse(JOURNAL), parse(&compacted(JOURNAL)));
        assert_eq!(before.vmnets(), after.vmnets());
        assert_eq!(before.reservations(2), after.reservations(2));
        assert_eq!(before.answers(2), after.answers(2));
        assert_eq!(after.port_forwards(8)[0].description, "");
    }
}
