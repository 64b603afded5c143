//! How a line must be spelled so that it is written with root's rights.
//!
//! Reading is lenient, since people and other programs write the file too. Writing is not: what we read in one way,
//! Fusion might read in another, so a line that root writes anew has exactly one spelling.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::directive::{Directive, Meaning, Row, VERSION};
use super::model::{ADAPTER, DHCP, HASH, NAT, NETMASK, SUBNET, UUID};
use crate::formats::mac::Mac;

/// Seconds after which a UDP mapping is forgotten.
const UDP_TIMEOUT: &str = "NAT_PARAM_UDP_TIMEOUT";
/// Bytes of a line in a change of one network. A reader with a line buffer must not see two lines in one.
const LONGEST: usize = 200;
/// Bytes of a line in a whole file that is put back: forwards may carry long paths in their descriptions.
const LONGEST_OF_A_FILE: usize = 1000;
/// Characters of the digest of a dhcpd.conf.
const HASH_LENGTH: usize = 40;
/// Characters of the groups of a UUID.
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
/// A timeout of more digits would be years.
const MOST_DIGITS: usize = 6;
/// The greatest length of an IPv6 prefix.
const MAX_PREFIX: u8 = 128;
/// Networks of addresses that are nobody's on the internet: RFC 1918, and RFC 6598's.
const PRIVATE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
];
/// Prefix lengths of a subnet that can be a network of virtual machines.
const PREFIXES: std::ops::RangeInclusive<u8> = 8..=30;

/// Checks a new line of a change of one network, whose subnet is given.
///
/// # Errors
/// Why the line is not acceptable.
pub(super) fn of_network(row: &Row, vmnet: u8, subnet: Option<Ipv4Net>) -> Result<(), String> {
    within(row, LONGEST)?;
    match &row.meaning {
        Meaning::Blank => Ok(()),
        Meaning::Version => exactly(row, VERSION),
        Meaning::Comment => printable(&row.text()),
        Meaning::Unknown => Err("not a line that we know".to_owned()),
        Meaning::Known(directive) => ours(row, directive, vmnet, subnet),
    }
}

fn ours(row: &Row, directive: &Directive, vmnet: u8, subnet: Option<Ipv4Net>) -> Result<(), String> {
    let is_hash = matches!(directive, Directive::Answer { key, .. } | Directive::RemoveAnswer { key, .. } if key == HASH);
    if !is_hash && directive.vmnet() != Some(vmnet) {
        return Err(format!("not about vmnet{vmnet}"));
    }
    match directive {
        Directive::Answer { vmnet, key, value } => {
            answer(key, value)?;
            exactly(row, &format!("answer VNET_{vmnet}_{key} {value}"))
        }
        Directive::RemoveAnswer { vmnet, key } => {
            own_key(key)?;
            exactly(row, &format!("remove_answer VNET_{vmnet}_{key}"))
        }
        Directive::AddReservation { mac, address, .. } => {
            // A network that does not exist gives nothing to anybody: such leavings may come back.
            subnet.map_or(Ok(()), |subnet| reservable(*address, subnet))?;
            reservation(row, "add_dhcp_mac_to_ip", vmnet, *mac, &format!(" {address}"))
        }
        Directive::RemoveReservation { mac, .. } => {
            reservation(row, "remove_dhcp_mac_to_ip", vmnet, *mac, "")
        }
        _ => Err("neither an answer nor a reservation".to_owned()),
    }
}

/// Checks an answer that we, or Fusion on its own, give about our network.
///
/// # Errors
/// Why it is not acceptable.
pub(super) fn answer(key: &str, value: &str) -> Result<(), String> {
    own_key(key)?;
    let hexadecimal =
        |text: &str, length| text.len() == length && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let address = || value.parse::<Ipv4Addr>().ok().filter(|address| address.to_string() == value);
    let fits = match key {
        DHCP | NAT | ADAPTER => matches!(value, "yes" | "no"),
        SUBNET => address().is_some(),
        NETMASK => address().is_some_and(is_mask),
        UUID => {
            let groups: Vec<&str> = value.split('-').collect();
            groups.len() == UUID_GROUPS.len()
                && groups.iter().zip(UUID_GROUPS).all(|(group, length)| hexadecimal(group, length))
        }
        HASH => hexadecimal(value, HASH_LENGTH),
        UDP_TIMEOUT => {
            (1..=MOST_DIGITS).contains(&value.len()) && value.bytes().all(|digit| digit.is_ascii_digit())
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("{key} cannot be {value:?}")) }
}

fn own_key(key: &str) -> Result<(), String> {
    match key {
        DHCP | NAT | ADAPTER | SUBNET | NETMASK | UUID | HASH | UDP_TIMEOUT => Ok(()),
        _ => Err(format!("{key} is no answer that we give")),
    }
}

/// Checks that a subnet can be that of a network of ours.
///
/// # Errors
/// Why it cannot.
pub(super) fn subnet(address: &str, subnet: Option<Ipv4Net>) -> Result<(), String> {
    let Some(subnet) = subnet else { return Err(format!("{address} with its mask is no network")) };
    if subnet.network().to_string() != address {
        return Err(format!("{address} is not the first address of {subnet}"));
    }
    if !PREFIXES.contains(&subnet.prefix_len()) {
        return Err(format!("{subnet} is not between /{} and /{}", PREFIXES.start(), PREFIXES.end()));
    }
    let is_private = PRIVATE.iter().any(|(network, prefix)| {
        Ipv4Net::new(*network, *prefix).is_ok_and(|private| private.contains(&subnet))
    });
    if is_private { Ok(()) } else { Err(format!("{subnet} is not private")) }
}

/// Checks that an address can be a guest's: the first and last of a subnet, the host's and the NAT service's cannot.
///
/// # Errors
/// Why it cannot.
pub(super) fn reservable(address: Ipv4Addr, subnet: Ipv4Net) -> Result<(), String> {
    if !subnet.contains(&address) {
        return Err(format!("{address} is not in {subnet}"));
    }
    let place = u32::from(address) - u32::from(subnet.network());
    let role = match place {
        0 => "the network's own",
        1 => "the host's",
        2 => "the NAT service's",
        _ if address == subnet.broadcast() => "the broadcast",
        _ => return Ok(()),
    };
    Err(format!("{address} is {role} address in {subnet}"))
}

fn is_mask(mask: Ipv4Addr) -> bool {
    ipnet::ipv4_mask_to_prefix(mask).is_ok_and(|length| PREFIXES.contains(&length))
}

fn reservation(row: &Row, keyword: &str, vmnet: u8, mac: Mac, rest: &str) -> Result<(), String> {
    let expected = format!("{keyword} {vmnet} {mac}{rest}");
    let text = row.text();
    // Fusion keeps a MAC's case as it was given.
    if text.starts_with(keyword) && text.eq_ignore_ascii_case(&expected) {
        return Ok(());
    }
    Err(format!("spelled otherwise than {expected:?}"))
}

fn exactly(row: &Row, expected: &str) -> Result<(), String> {
    if row.as_ref() == expected.as_bytes() {
        Ok(())
    } else {
        Err(format!("spelled otherwise than {expected:?}"))
    }
}

fn within(row: &Row, longest: usize) -> Result<(), String> {
    if row.as_ref().len() > longest {
        return Err(format!("longer than {longest} bytes"));
    }
    Ok(())
}

fn printable(text: &str) -> Result<(), String> {
    match text.chars().find(|char| char.is_control() && *char != '\t') {
        Some(control) => Err(format!("holds the control character {control:?}")),
        None => Ok(()),
    }
}

/// Checks a new line of a whole file that is put back: any known directive, in a spelling that people use too.
///
/// # Errors
/// Why the line is not acceptable.
pub(super) fn of_file(row: &Row) -> Result<(), String> {
    within(row, LONGEST_OF_A_FILE)?;
    printable(&row.text())?;
    let directive = match &row.meaning {
        Meaning::Blank | Meaning::Version | Meaning::Comment => return Ok(()),
        Meaning::Unknown => return Err("not a line that we know".to_owned()),
        Meaning::Known(directive) => directive,
    };
    match directive {
        Directive::Answer { key, value, .. } if own_key(key).is_ok() && !value.is_empty() => {
            answer(key, value)
        }
        Directive::Answer { key, .. }
        | Directive::RemoveAnswer { key, .. }
        | Directive::RemoveSetting { key } => plain_key(key),
        Directive::Setting { key, value } => {
            plain_key(key)?;
            let plain = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
            if plain { Ok(()) } else { Err(format!("{value:?} is not plain text")) }
        }
        Directive::AddForward { host_port, guest_port, .. } if *host_port == 0 || *guest_port == 0 => {
            Err("0 is no port".to_owned())
        }
        Directive::AddBridge { interface, .. } | Directive::RemoveBridge { interface } => {
            let name = interface.trim_end_matches(|digit: char| digit.is_ascii_digit());
            let fits = !name.is_empty()
                && name.len() < interface.len()
                && name.bytes().all(|letter| letter.is_ascii_lowercase());
            if fits { Ok(()) } else { Err(format!("{interface:?} is no interface, such as en0")) }
        }
        Directive::AddNatPrefix { length, .. } | Directive::RemoveNatPrefix { length, .. } => {
            let fits = length[1..].parse::<u8>().is_ok_and(|length| length <= MAX_PREFIX);
            if fits { Ok(()) } else { Err(format!("{length:?} is no prefix length, such as /64")) }
        }
        _ => Ok(()),
    }
}

fn plain_key(key: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if key.bytes().all(plain) { Ok(()) } else { Err(format!("{key:?} is no key")) }
}
