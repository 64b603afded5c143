//! What is proposed where nothing was said: the largest lab that this Mac carries, and addresses that are free.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::answers::{LanAnswer, Seen, Takes};
use super::check;
use crate::lab::presets::Preset;

const NAME: &str = "lab";
/// Of the lab that is called [`NAME`]: reserved for tests (RFC 6761 §6.2), so that nobody else has it.
pub const DOMAIN: &str = "lab.test";

/// Host parts to look for the VIP and the gateways at: the networking document's, and those after them.
const VIPS: std::ops::Range<u32> = 200..208;
const GATEWAYS: std::ops::Range<u32> = 56..64;
/// In a subnet with no more hosts than this, each of them is looked at.
const FEW: usize = 14;
/// Above this part of the memory macOS begins to swap (`lab::lint::machines` warns there, too).
const COMFORTABLE_PERCENT: u64 = 75;
/// Virtual processors for each real one that still work well: machines of a lab are idle most of the time.
const CPUS_FOR_EACH: u32 = 2;
/// Subnets for the internal network, the document's first; each stands for the 100 that begin there.
const SUBNETS: [(u8, u8); 3] = [(10, 10), (172, 30), (192, 168)];

/// Returns the largest size that this Mac carries with ease; the smallest if it carries none.
pub fn size(seen: &Seen) -> Preset {
    let fits = |takes: &Takes| fits(takes, seen);
    let found = seen.sizes.iter().find(|(_, takes)| fits(takes));
    found.map_or(Preset::Solo, |(preset, _)| *preset)
}

/// Says whether this Mac carries a lab with ease; one that does not tell its memory is taken for large enough. A
/// simulated Fusion's machines take nothing of it.
pub fn fits(takes: &Takes, seen: &Seen) -> bool {
    let around = &seen.around;
    if seen.fusion.as_ref().is_some_and(|fusion| fusion.simulated) {
        return true;
    }
    let memory = around.memory_mib == 0 || takes.memory_mib <= around.memory_mib * COMFORTABLE_PERCENT / 100;
    memory && takes.cpus <= around.cpus * CPUS_FOR_EACH
}

/// Returns the addresses among which the VIP and the gateways are looked for.
pub fn candidates(lan: &LanAnswer) -> Vec<Ipv4Addr> {
    let mut all = vip_candidates(lan);
    all.extend(gateway_candidates(lan));
    all.sort();
    all.dedup();
    all.retain(|address| *address != lan.router && Some(*address) != lan.own);
    all
}

fn vip_candidates(lan: &LanAnswer) -> Vec<Ipv4Addr> {
    at(lan.subnet, VIPS)
}

fn gateway_candidates(lan: &LanAnswer) -> Vec<Ipv4Addr> {
    at(lan.subnet, GATEWAYS)
}

fn at(subnet: Ipv4Net, parts: std::ops::Range<u32>) -> Vec<Ipv4Addr> {
    let hosts: Vec<Ipv4Addr> = subnet.hosts().take(FEW + 1).collect();
    if hosts.len() <= FEW {
        return hosts;
    }
    let mask = u32::from(subnet.hostmask());
    parts.map(|part| Ipv4Addr::from(u32::from(subnet.network()) | (part & mask))).collect()
}

/// Returns a VIP that nobody answers at.
pub fn vip(lan: &LanAnswer, seen: &Seen) -> Option<Ipv4Addr> {
    // In a small subnet the gateways' places come first, so the VIP takes the last.
    let mut found = vip_candidates(lan);
    if found == gateway_candidates(lan) {
        found.reverse();
    }
    found.into_iter().find(|address| check::vip(&address.to_string(), lan, seen).is_ok())
}

/// Returns addresses for the gateways that nobody answers at; none if there are too few.
pub fn gateways(
    preset: Preset,
    lan: &LanAnswer,
    vip: Option<Ipv4Addr>,
    seen: &Seen,
) -> Option<Vec<Ipv4Addr>> {
    let wanted = usize::from(preset.counts().0);
    let is_free =
        |address: &Ipv4Addr| Some(*address) != vip && check::vip(&address.to_string(), lan, seen).is_ok();
    let found: Vec<_> = gateway_candidates(lan).into_iter().filter(is_free).take(wanted).collect();
    (found.len() == wanted).then_some(found)
}

/// Returns a network that Fusion does not have, and a subnet that nothing here leads to.
pub fn internal(lan: &LanAnswer, seen: &Seen) -> Option<(u8, Ipv4Net)> {
    let is_free = |number: &u8| seen.networks.iter().all(|(other, _)| other != number);
    let number = (2..=7).chain(9..=255).find(is_free)?;
    let subnets = SUBNETS
        .iter()
        .flat_map(|(a, b)| (0..100).map(|third| Ipv4Net::new_assert(Ipv4Addr::new(*a, *b, third, 0), 24)));
    let mut free = subnets
        .filter_map(|subnet| check::internal(&subnet.to_string(), Some((number, subnet)), lan, seen).ok());
    free.next()
}

/// Returns `lab`, or the first of `lab2`, `lab3`, … that does not stand.
pub fn name(seen: &Seen) -> String {
    let numbered = (2..).map(|number: u32| format!("{NAME}{number}"));
    let mut names = std::iter::once(NAME.to_owned()).chain(numbered);
    names.find(|name| !seen.labs.contains(name)).expect("there are more names than labs")
}

/// Returns a domain that no other lab has whose domain was proposed: named like the lab.
pub fn domain(name: &str) -> String {
    format!("{name}.test")
}

/// Returns what is proposed of the user's keys, as one would type it.
pub fn keys(seen: &Seen, shown: impl Fn(&std::path::Path) -> String) -> String {
    seen.around.ssh_keys.first().map_or_else(|| check::NONE.to_owned(), |path| shown(path))
}
