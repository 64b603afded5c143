//! Who answers at which address of the same network, as the system remembers it: its ARP table.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::mac::Mac;

/// The flag of an entry that was answered (`ATF_COM`, arp(7)).
const COMPLETE: u32 = 0x2;

/// Reads what `arp -an` of macOS prints, such as `? (192.168.68.1) at a4:83:e7:1:2:3 on en0 ifscope [ethernet]`; an address
/// at which nobody answered is `(incomplete)` there (print_entry in arp.c of Apple's network_cmds).
pub fn of_mac(text: &str) -> BTreeMap<Ipv4Addr, Mac> {
    let entry = |line: &str| {
        let (_, rest) = line.split_once('(')?;
        let (address, rest) = rest.split_once(") at ")?;
        Some((address.parse().ok()?, rest.split_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

/// Reads Linux's `/proc/net/arp` (arp(7), proc_net(5)).
pub fn of_linux(text: &str) -> BTreeMap<Ipv4Addr, Mac> {
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _, flags, mac, ..] = words[..] else { return None };
        let flags = u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
        Some((address.parse().ok()?, mac.parse().ok()?)).filter(|_| flags & COMPLETE != 0)
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(found: &BTreeMap<Ipv4Addr, Mac>) -> Vec<String> {
        found.iter().map(|(address, mac)| format!("{address} {mac}")).collect()
    }

    #[test]
    fn whoever_answered_is_known_and_the_silent_are_not() {
        let mac = "? (172.20.10.1) at 3a:e1:3d:5a:1a:64 on en0 ifscope [ethernet]\n\
                   ? (172.20.10.2) at (incomplete) on en0 ifscope [ethernet]\n\
                   mac.home (172.20.10.8) at 8a:cb:1d:e9:70:f8 on en0 ifscope permanent [ethernet]\n\
                   ? (192.168.2.105) at 90:48:9a:16:df:4 on bridge100 ifscope [bridge]\n\
                   172.20.10.9 (172.20.10.9) -- no entry\n";
        assert_eq!(
            shown(&of_mac(mac)),
            [
                "172.20.10.1 3a:e1:3d:5a:1a:64",
                "172.20.10.8 8a:cb:1d:e9:70:f8",
                "192.168.2.105 90:48:9a:16:df:04"
            ]
        );
        let linux = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     192.168.68.1     0x1         0x2         38:94:ed:56:6f:8d     *        eth0\n\
                     192.168.68.57    0x1         0x0         00:00:00:00:00:00     *        eth0\n";
        assert_eq!(shown(&of_linux(linux)), ["192.168.68.1 38:94:ed:56:6f:8d"]);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "([?( )]|at |\\PC|0x2|10.0.0.1|\n){0,30}") {
            of_mac(&text);
            of_linux(&text);
        }
    }
}
