//! The DHCP servers: Fusion's, one for each network, and the home router's.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::network::{Network, Networks};
use super::seam::{Card, Client, Lease, Segment};
use super::world::World;
use super::{files, now_ms};
use crate::formats::dhcp;
use crate::formats::mac::Mac;

/// Seconds of a first lease, and of one that its holder asks for again (facts/fusion-networking.md §3.3).
const FIRST_LEASE: u64 = 1800;
const RENEWED_LEASE: u64 = 7200;
/// Where the home router's pool begins within its subnet: low addresses are the user's own.
const ROUTER_POOL: u32 = 100;

/// Answers a card's request; none where no server is.
pub fn lease(world: &Arc<World>, card: &Card, client: &Client) -> Option<Lease> {
    match card.segment {
        Segment::Lan => Some(router_lease(world, card.mac)),
        Segment::Vmnet(number) => {
            let networks = Networks::load(&world.places).ok()?;
            let network = networks.running(number).filter(|network| network.dhcp)?;
            let address = match reserved(network, card.mac) {
                // A reserved address never enters the leases file (facts/fusion-networking.md §4).
                Some(address) => address,
                None => lend(world, number, network, card, client)?,
            };
            let server = nth(network.subnet, if network.nat { 2 } else { 1 });
            Some(Lease {
                address,
                prefix: network.subnet.prefix_len(),
                router: network.nat.then_some(server),
                dns: vec![server],
            })
        }
    }
}

fn reserved(network: &Network, mac: Mac) -> Option<Ipv4Addr> {
    dhcp::hosts(&network.dhcpd_conf).into_iter().find(|host| host.mac == mac).map(|host| host.address)
}

/// Lends an address of the pool: the client's last one, or else the lowest that nobody has and nobody answers on.
/// Reserved addresses are not spared: ISC's server gives them to strangers (facts/test-bench.md §4).
fn lend(world: &Arc<World>, number: u8, network: &Network, card: &Card, client: &Client) -> Option<Ipv4Addr> {
    let path = world.places.leases(number);
    let now = now_ms() / 1000;
    let lent = dhcp::leases(&files::read(&path).ok()??);
    let held = world.addresses_on(&card.segment);
    let (first, last) = dhcp::pool(network.subnet);
    let mine = lent.iter().rev().find(|lease| lease.mac == card.mac);
    let free = |address: &Ipv4Addr| {
        let latest = lent.iter().rev().find(|lease| lease.address == *address);
        !held.contains(address) && latest.is_none_or(|lease| lease.ends <= now || lease.mac == card.mac)
    };
    let pool = (u32::from(first)..=u32::from(last)).map(Ipv4Addr::from);
    let last_address = mine.map(|lease| lease.address).filter(free);
    let address = last_address.or_else(|| pool.into_iter().find(free))?;
    let is_renewal = mine.is_some_and(|lease| lease.address == address && lease.ends > now);
    let ends = now + if is_renewal { RENEWED_LEASE } else { FIRST_LEASE };
    let hostname = client.hostname.clone();
    let lease = dhcp::Lease { address, mac: card.mac, starts: now, ends, hostname };
    files::append(&path, block(&lease, client)).ok()?;
    Some(address)
}

/// Takes a lease back that a guest returns as it shuts down: its last block ends when it starts. Whoever has a reserved
/// address has no lease to return.
pub fn release(world: &World, card: &Card) {
    let Segment::Vmnet(number) = card.segment else { return };
    let hears = |networks: &Networks| networks.running(number).is_some_and(|network| network.dhcp);
    if !Networks::load(&world.places).is_ok_and(|networks| hears(&networks)) {
        return;
    }
    let path = world.places.leases(number);
    let Ok(Some(text)) = files::read(&path) else { return };
    let now = now_ms() / 1000;
    let lent = dhcp::leases(&text);
    if let Some(last) = lent.iter().rev().find(|lease| lease.mac == card.mac && lease.ends > now) {
        let returned = dhcp::Lease { starts: now, ends: now, ..last.clone() };
        // A file that cannot be written keeps the lease until it ends by itself.
        let _ = files::append(&path, returned.render());
    }
}

/// Returns a lease's block, with the identifier that the client gave.
fn block(lease: &dhcp::Lease, client: &Client) -> String {
    let block = lease.render();
    match &client.uid {
        Some(uid) => block.replacen(&format!("uid 01:{};", lease.mac), &format!("uid {uid};"), 1),
        None => block,
    }
}

/// Lends an address of the home network: always the same to the same card.
fn router_lease(world: &World, mac: Mac) -> Lease {
    let lan = world.settings.lan;
    let held = world.addresses_on(&Segment::Lan);
    let [.., high, low] = mac.bytes();
    let size = u32::from(lan.broadcast()) - u32::from(lan.network());
    let room = size.saturating_sub(ROUTER_POOL + 1).max(1);
    let wanted = u32::from(u16::from_be_bytes([high, low])) % room;
    let pool = (0..room).map(|step| nth(lan, (ROUTER_POOL + (wanted + step) % room).min(size - 1)));
    let address = pool.into_iter().find(|address| !held.contains(address)).unwrap_or(nth(lan, ROUTER_POOL));
    let router = nth(lan, 1);
    Lease { address, prefix: lan.prefix_len(), router: Some(router), dns: vec![router] }
}

/// Returns the address at this place of a subnet.
fn nth(subnet: Ipv4Net, place: u32) -> Ipv4Addr {
    u32::from(subnet.network()).wrapping_add(place).into()
}
