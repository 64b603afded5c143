//! The guest's routes and what hands may change of its addresses: `ip route`, `ip address add` and their like.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Model;
use super::live::Interface;
use super::network::{Held, addresses};
use crate::sim::seam::Card;

/// What the kernel says of something that is not there.
const NO_DEVICE: &str = "Cannot find device";
const NO_ROUTE: &str = "RTNETLINK answers: No such process";
const NO_ADDRESS: &str = "RTNETLINK answers: Cannot assign requested address";
const EXISTS: &str = "RTNETLINK answers: File exists";

/// Returns the cards that a connection may leave by, of one interface or of any: those whose network holds the address,
/// else those with a router.
pub fn ways(model: &Model, interface: Option<&str>, to: Ipv4Addr) -> Vec<Card> {
    let held = addresses(model);
    let interfaces: Vec<Interface> = model.live(|live| live.up().cloned().collect());
    let near = |card: &&Card| {
        let net = |one: &Held| Ipv4Net::new(one.address, one.prefix).is_ok_and(|net| net.contains(&to));
        held.iter().any(|one| one.interface == card.name && net(one))
    };
    let routed = |card: &&Card| interfaces.iter().any(|one| one.name == card.name && one.router.is_some());
    let of = |usable: &dyn Fn(&&Card) -> bool| -> Vec<Card> {
        let named = |card: &&Card| interface.is_none_or(|name| card.name == name);
        model.hardware.cards.iter().filter(named).filter(usable).cloned().collect()
    };
    let near = of(&near);
    if near.is_empty() { of(&routed) } else { near }
}

/// Returns the default routes as `ip -4 route` prints them.
pub fn defaults(model: &Model) -> Vec<String> {
    let interfaces: Vec<Interface> = model.live(|live| live.up().cloned().collect());
    let of = |one: &Interface| Some(format!("default via {} dev {}", one.router?, one.name));
    interfaces.iter().filter_map(of).collect()
}

/// Returns every route as `ip -4 route` prints it.
pub fn all(model: &Model) -> Vec<String> {
    let (interfaces, pods) =
        model.live(|live| (live.up().cloned().collect::<Vec<_>>(), live.pod_routes.clone()));
    let own = |one: &Interface| {
        let of = |(address, prefix): &(Ipv4Addr, u8)| {
            let net = Ipv4Net::new(*address, *prefix).ok()?.trunc();
            Some(format!("{net} dev {} proto kernel scope link src {address}", one.name))
        };
        one.addresses.iter().filter_map(of).collect::<Vec<_>>()
    };
    let device = |via: &Ipv4Addr| {
        let near = |one: &&Interface| within(one, *via);
        interfaces.iter().find(near).map_or("ens160", |one| one.name.as_str()).to_owned()
    };
    let mut lines = defaults(model);
    lines.extend(pods.iter().map(|(part, via)| format!("{part} via {via} dev {} proto kernel", device(via))));
    lines.extend(interfaces.iter().flat_map(own));
    lines
}

/// Says whether an address is of a network that the interface has an address of.
fn within(interface: &Interface, address: Ipv4Addr) -> bool {
    interface
        .addresses
        .iter()
        .any(|(own, prefix)| Ipv4Net::new(*own, *prefix).is_ok_and(|net| net.contains(&address)))
}

/// Adds or deletes an address.
pub fn change_address(model: &Model, add: bool, net: &str, device: &str) -> Result<(), String> {
    let net: Ipv4Net =
        net.parse().map_err(|_| format!("Error: inet prefix is expected rather than \"{net}\"."))?;
    let wanted = (net.addr(), net.prefix_len());
    model.live(|live| {
        let interface = live.interfaces.iter_mut().find(|one| one.name == device);
        let interface = interface.ok_or_else(|| format!("{NO_DEVICE} \"{device}\""))?;
        let held = interface.addresses.contains(&wanted);
        match (add, held) {
            (true, true) => return Err(EXISTS.to_owned()),
            (false, false) => return Err(NO_ADDRESS.to_owned()),
            (true, false) => interface.addresses.push(wanted),
            (false, true) => interface.addresses.retain(|one| *one != wanted),
        }
        // A route by a router that is on no network any more goes with the address.
        if interface.router.is_some_and(|router| !within(interface, router)) {
            interface.router = None;
        }
        Ok(())
    })?;
    model.commons.announce();
    Ok(())
}

/// Adds or deletes a route: the default one, or one to a part of the pod network.
pub fn change_route(model: &Model, add: bool, words: &[&str]) -> Result<(), String> {
    let bad =
        || format!("Error: argument \"{}\" is wrong: not a route that the model knows", words.join(" "));
    let (to, rest) = words.split_first().ok_or_else(bad)?;
    let value = |name: &str| rest.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
    let via: Option<Ipv4Addr> = value("via").map(str::parse).transpose().map_err(|_| bad())?;
    if *to == "default" {
        return change_default(model, add, via, value("dev"));
    }
    let part: Ipv4Net = to.parse().map_err(|_| bad())?;
    model.live(|live| match (add, via) {
        (true, Some(via)) => {
            live.pod_routes.insert(part, via);
            Ok(())
        }
        (true, None) => Err(bad()),
        (false, _) => live.pod_routes.remove(&part).map(drop).ok_or_else(|| NO_ROUTE.to_owned()),
    })
}

fn change_default(
    model: &Model,
    add: bool,
    via: Option<Ipv4Addr>,
    device: Option<&str>,
) -> Result<(), String> {
    model.live(|live| {
        let chosen = |one: &&mut Interface| match (add, device, via) {
            (true, Some(device), _) => one.name == device,
            (true, None, Some(via)) => within(one, via),
            _ => one.router.is_some() && device.is_none_or(|device| one.name == device),
        };
        let interface = live.interfaces.iter_mut().find(chosen).ok_or_else(|| NO_ROUTE.to_owned())?;
        match (add, via) {
            (true, Some(via)) if within(interface, via) => interface.router = Some(via),
            (true, _) => return Err("Error: Nexthop has invalid gateway.".to_owned()),
            (false, _) => interface.router = None,
        }
        Ok(())
    })
}
