//! `vmnet-cfgcli`: the networks' database by verbs. It exits with 1 for success and 0 for failure
//! (facts/fusion-networking.md §2.3).

use std::io;
use std::net::Ipv4Addr;

use super::Screen;
use crate::formats::lines;
use crate::formats::mac::Mac;
use crate::sim::files;
use crate::sim::network::{self, Networks, ServiceKind};
use crate::sim::places::Places;

const SUCCESS: u8 = 1;
const FAILURE: u8 = 0;
/// vmnets that there can be.
const COUNT: u16 = 256;
/// What a deleted network leaves behind (facts/fusion-networking.md §1.5).
const HUSK: &[&str] = &["DHCP", "NAT", "VIRTUAL_ADAPTER"];

/// Runs one verb.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match verb(places, &words, screen) {
        Ok(Some(true)) => SUCCESS,
        Ok(Some(false)) => FAILURE,
        Ok(None) => {
            screen.line("Invalid command or wrong number of arguments");
            FAILURE
        }
        Err(error) => {
            screen.error_line(&error.to_string());
            FAILURE
        }
    }
}

/// Says whether the verb succeeded; none if it is unknown.
fn verb(places: &Places, words: &[&str], screen: &mut Screen) -> io::Result<Option<bool>> {
    let Some((&name, args)) = words.split_first() else { return Ok(None) };
    let vmnet = args.first().and_then(|word| word.strip_prefix("vmnet")).and_then(|word| word.parse().ok());
    let answer = |key: &str, value: &str| match vmnet {
        Some(number) => set(places, number, key, value).map(|()| Some(true)),
        None => Ok(Some(false)),
    };
    match (name, args) {
        ("getvmnetcount", _) => screen.line(&COUNT.to_string()),
        ("getunusedvnet", _) => return Ok(Some(unused(places, screen)?)),
        ("addadapter", [_]) => return add(places, vmnet).map(Some),
        ("removeadapter" | "deletevnet", [_]) => return remove(places, vmnet).map(Some),
        ("setsubnetaddr", [_, value]) if value.parse::<Ipv4Addr>().is_ok() => {
            return answer("HOSTONLY_SUBNET", value);
        }
        ("setsubnetmask", [_, value]) if value.parse::<Ipv4Addr>().is_ok() => {
            return answer("HOSTONLY_NETMASK", value);
        }
        ("setnatusage", [_, value @ ("yes" | "no")]) => return answer("NAT", value),
        ("setdhcpusage", [_, value @ ("yes" | "no")]) => return answer("DHCP", value),
        ("enablehostonlyadap", [_]) => return answer("VIRTUAL_ADAPTER", "yes"),
        ("disablehostonlyadap", [_]) => {
            answer("VIRTUAL_ADAPTER", "no")?;
        }
        ("updateadapterfromconfig", [_]) => network::configure(places)?,
        ("updatedhcpfromconfig", [_]) => return update(places, vmnet, ServiceKind::Dhcp).map(Some),
        ("updatenatfromconfig", [_]) => return update(places, vmnet, ServiceKind::Nat).map(Some),
        ("servicestart" | "servicestop", [_, kind]) => {
            let (Some(number), Some(kind)) = (vmnet, service(kind)) else { return Ok(Some(false)) };
            return network::switch(places, number, kind, name == "servicestart").map(Some);
        }
        ("servicestatus", [_, kind]) => return Ok(Some(runs(places, vmnet, kind)?)),
        ("setdhcpmac2ip", [_, mac, rest @ ..]) => return reserve(places, vmnet, mac, rest).map(Some),
        ("getdhcpmac2ip", [_, mac]) => return show_reservation(places, vmnet, mac, screen).map(Some),
        ("enumdhcpmac2ip", [_]) => {
            for (mac, address) in network::database(places)?.reservations(vmnet.unwrap_or(0)) {
                screen.line(&format!("MAC: {mac}, IP: {address}"));
            }
        }
        ("vnetcfgadd", [key, value]) => append(places, &format!("answer {key} {value}"))?,
        ("vnetcfgremove", [key]) => append(places, &format!("remove_answer {key}"))?,
        ("vnetcfgget", [key]) => return show_answer(places, key, screen).map(Some),
        ("createdb", []) => files::write(&places.networking(), "VERSION=1,0\n")?,
        _ => return Ok(None),
    }
    Ok(Some(true))
}

fn set(places: &Places, vmnet: u8, key: &str, value: &str) -> io::Result<()> {
    let document = network::database(places)?;
    if document.answers(vmnet).get(key).is_some_and(|there| there == value) {
        return Ok(());
    }
    append(places, &format!("answer VNET_{vmnet}_{key} {value}"))
}

fn append(places: &Places, line: &str) -> io::Result<()> {
    network::append_lines(places, &[line.to_owned()])
}

fn unused(places: &Places, screen: &mut Screen) -> io::Result<bool> {
    let used = network::database(places)?.vmnets();
    let free = (2..=u8::MAX)
        .find(|number| *number != 8 && used.iter().all(|vmnet| vmnet.number != *number || vmnet.husk));
    if let Some(free) = free {
        screen.line(&format!("vmnet: vmnet{free}"));
    }
    Ok(free.is_some())
}

/// Adds a network with a subnet of its own: even numbers in 172.16, odd ones in 192.168.
fn add(places: &Places, vmnet: Option<u8>) -> io::Result<bool> {
    let Some(number) =
        vmnet.filter(|number| !network::database(places).is_ok_and(|db| db.vmnet(*number).exists))
    else {
        return Ok(false);
    };
    let subnet = if number % 2 == 0 { format!("172.16.{number}.0") } else { format!("192.168.{number}.0") };
    set(places, number, "HOSTONLY_NETMASK", "255.255.255.0")?;
    set(places, number, "HOSTONLY_SUBNET", &subnet)?;
    Ok(true)
}

/// Removes a network; some keys stay, all saying no.
fn remove(places: &Places, vmnet: Option<u8>) -> io::Result<bool> {
    let document = network::database(places)?;
    let Some(number) = vmnet.filter(|number| document.vmnet(*number).exists) else { return Ok(false) };
    let keys = document.answers(number);
    let kept = |key: &str| HUSK.contains(&key) || key == "HOSTONLY_UUID";
    let text = files::read(&places.networking())?.unwrap_or_default();
    let mut all = lines::split(&text);
    for key in keys.keys() {
        let line = match key.as_str() {
            key if HUSK.contains(&key) => format!("answer VNET_{number}_{key} no"),
            key if kept(key) => continue,
            key => format!("remove_answer VNET_{number}_{key}"),
        };
        lines::append(&mut all, line);
    }
    files::write(&places.networking(), lines::join(&all))?;
    Ok(true)
}

/// Derives a service's file; DHCP must be stopped for it.
fn update(places: &Places, vmnet: Option<u8>, kind: ServiceKind) -> io::Result<bool> {
    let Some(number) = vmnet else { return Ok(false) };
    let networks = Networks::load(places)?;
    if kind == ServiceKind::Dhcp && networks.running(number).is_some_and(|network| network.dhcp) {
        return Ok(false);
    }
    network::configure(places)?;
    Ok(true)
}

fn service(word: &str) -> Option<ServiceKind> {
    match word {
        "dhcp" => Some(ServiceKind::Dhcp),
        "nat" => Some(ServiceKind::Nat),
        _ => None,
    }
}

fn runs(places: &Places, vmnet: Option<u8>, kind: &str) -> io::Result<bool> {
    let networks = Networks::load(places)?;
    let Some(network) = vmnet.and_then(|number| networks.running(number)) else { return Ok(false) };
    Ok(match service(kind) {
        Some(ServiceKind::Dhcp) => network.dhcp,
        Some(ServiceKind::Nat) => network.nat,
        _ => false,
    })
}

/// Reserves an address; without one the reservation goes.
fn reserve(places: &Places, vmnet: Option<u8>, mac: &str, rest: &[&str]) -> io::Result<bool> {
    let (Some(number), Ok(_)) = (vmnet, mac.parse::<Mac>()) else { return Ok(false) };
    match rest {
        [] => append(places, &format!("remove_dhcp_mac_to_ip {number} {mac}"))?,
        [address] if address.parse::<Ipv4Addr>().is_ok() => {
            append(places, &format!("add_dhcp_mac_to_ip {number} {mac} {address}"))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn show_reservation(places: &Places, vmnet: Option<u8>, mac: &str, screen: &mut Screen) -> io::Result<bool> {
    let (Some(number), Ok(mac)) = (vmnet, mac.parse::<Mac>()) else { return Ok(false) };
    let all = network::database(places)?.reservations(number);
    let found = all.iter().find(|(held, _)| *held == mac);
    if let Some((_, address)) = found {
        screen.line(&format!("IP: {address}"));
    }
    Ok(found.is_some())
}

fn show_answer(places: &Places, key: &str, screen: &mut Screen) -> io::Result<bool> {
    let Some((number, key)) = key.strip_prefix("VNET_").and_then(|rest| rest.split_once('_')) else {
        return Ok(false);
    };
    let Ok(number) = number.parse() else { return Ok(false) };
    let answer = network::database(places)?.answers(number).remove(key);
    if let Some(answer) = &answer {
        screen.line(answer);
    }
    Ok(answer.is_some())
}
