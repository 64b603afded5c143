//! Fusion's networks as a table.

use serde_json::{Value, json};

use super::table::{Cell, Table};
use crate::cli::terminal::Pen;
use crate::formats::networking::{Document, Vmnet};

/// Returns a line for each network that the file mentions, and below each its reservations.
pub fn lines(document: &Document, pen: &Pen) -> Vec<String> {
    let mut table = Table::new(["NETWORK", "SUBNET", "KIND", "DHCP", ">RESERVED"]);
    for vmnet in document.vmnets() {
        let reserved = document.reservations(vmnet.number).len();
        table.row([
            Cell::plain(format!("vmnet{}", vmnet.number)),
            Cell::plain(vmnet.subnet.map_or_else(|| "-".to_owned(), |subnet| subnet.to_string())),
            Cell::plain(kind(&vmnet)),
            Cell::plain(if vmnet.dhcp { "yes" } else { "no" }.to_owned()),
            Cell::plain(if reserved == 0 { "-".to_owned() } else { reserved.to_string() }),
        ]);
    }
    table.lines(pen)
}

/// Returns the JSON form of the same.
pub fn json(document: &Document) -> Vec<Value> {
    let network = |vmnet: Vmnet| {
        let reservations = document.reservations(vmnet.number).into_iter();
        let reservations =
            reservations.map(|(mac, address)| json!({ "mac": mac.to_string(), "address": address }));
        json!({
            "name": format!("vmnet{}", vmnet.number),
            "subnet": vmnet.subnet.map(|subnet| subnet.to_string()),
            "exists": vmnet.exists,
            "nat": vmnet.nat,
            "dhcp": vmnet.dhcp,
            "bridged_to": vmnet.bridged_to,
            "reservations": reservations.collect::<Vec<_>>(),
        })
    };
    document.vmnets().into_iter().map(network).collect()
}

fn kind(vmnet: &Vmnet) -> String {
    match &vmnet.bridged_to {
        Some(interface) => format!("bridged to {interface}"),
        None if !vmnet.exists => "left over".to_owned(),
        None if vmnet.nat => "NAT".to_owned(),
        None => "host-only".to_owned(),
    }
}
