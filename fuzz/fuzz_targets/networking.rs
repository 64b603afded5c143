//! Any bytes as a networking file, and any edits of it: it renders to itself, foreign lines stay, and the way back is
//! exact.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use std::net::Ipv4Addr;

use formats::lines;
use formats::mac::Mac;
use formats::networking::{Document, Ours, Wish, confined, restore, scope, well_formed};
use libfuzzer_sys::fuzz_target;

/// The network that is wished.
const VMNET: u8 = 5;

// The first two bytes choose the hosts of two wishes; the rest is the file, once as it is and once with its
// version, which chance would hardly find.
fuzz_target!(|data: &[u8]| {
    let [first, second, file @ ..] = data else { return };
    check(file, *first, *second);
    check(&[b"VERSION=1,0\n", file].concat(), *first, *second);
});

fn check(file: &[u8], first: u8, second: u8) {
    // Whatever is asked, root answers.
    let _ = confined(Some(file), data_without_version(file), VMNET);
    let _ = well_formed(None, file);
    let Ok(document) = Document::parse(file) else { return };
    assert_eq!(document.render(), file, "rendering gives back what was read");
    let _ = (document.remarks(), document.vmnets());
    let _ = confined(None, file, VMNET);

    let (old, new) = (wish(first), wish(second));
    let Ok(once) = document.ensure(&old, Ours::default()) else { return };
    assert_eq!(once.ensure(&old, ours(&old)).as_ref(), Ok(&once), "a second time changes nothing");
    keeps_foreign_lines(file, &once.render());
    assert_eq!(once.vmnet(VMNET).subnet, Some(old.subnet));
    assert_eq!(confined(Some(file), &once.render(), VMNET), Ok(()), "root writes what we make");
    let _ = scope(file, &once.render(), VMNET);

    let back = restore(&once.render(), Some(file), VMNET, !document.vmnet(VMNET).exists, &old.reservations);
    assert_eq!(confined(Some(&once.render()), &back, VMNET), Ok(()), "root writes the way back");
    if !mentions_ours(file) {
        assert_eq!(back, file, "the way back is exact");
    }
    if let Ok(twice) = once.ensure(&new, ours(&old)) {
        keeps_foreign_lines(file, &twice.render());
        assert_eq!(confined(Some(&once.render()), &twice.render(), VMNET), Ok(()));
        let gone = twice.without(VMNET, true, &[]);
        assert!(gone.reservations(VMNET).is_empty() && !gone.vmnet(VMNET).exists);
        keeps_foreign_lines(file, &gone.render());
    }
}

fn data_without_version(file: &[u8]) -> &[u8] {
    file.strip_prefix(b"VERSION=1,0\n").unwrap_or(file)
}

fn wish(hosts: u8) -> Wish {
    let count = hosts % 8;
    let net = hosts / 64;
    let host = |at: u8| (Mac::new([0, 0x50, 0x56, 0, 0x0b, at]), Ipv4Addr::new(10, 10, net, 3 + at));
    Wish {
        vmnet: VMNET,
        subnet: format!("10.10.{net}.0/24").parse().expect("a subnet"),
        reservations: (0..count).map(host).collect(),
    }
}

fn ours(wish: &Wish) -> Ours {
    Ours { vmnet: true, reservations: wish.reservations.clone() }
}

/// Says whether a line could be about our network, however it is spelled.
fn is_ours(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line).to_ascii_uppercase();
    line.contains("VNET_5_") || line.contains("DHCP_MAC_TO_IP")
}

fn mentions_ours(file: &[u8]) -> bool {
    lines::split_bytes(file, is_ours).iter().any(|line| line.text)
}

fn keeps_foreign_lines(before: &[u8], after: &[u8]) {
    let foreign = |file: &[u8]| -> Vec<Vec<u8>> {
        let lines = lines::split_bytes(file, <[u8]>::to_vec).into_iter();
        lines.map(|line| line.text).filter(|line| !is_ours(line)).collect()
    };
    assert_eq!(foreign(before), foreign(after), "foreign lines stay, byte for byte and in order");
}
