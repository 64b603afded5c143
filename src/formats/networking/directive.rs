//! One line of the networking file (facts/fusion-networking.md §1.3).

use std::net::Ipv4Addr;

use crate::formats::mac::Mac;

/// The transport protocol of a forwarded port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A line that means something to us. Everything else is kept without being understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Directive<'a> {
    /// The key is in upper case and without `VNET_<n>_`.
    Answer {
        vmnet: u8,
        key: String,
        value: &'a str,
    },
    RemoveAnswer {
        vmnet: u8,
        key: String,
    },
    AddForward {
        vmnet: u8,
        protocol: Protocol,
        host_port: u16,
        guest: Ipv4Addr,
        guest_port: u16,
        description: &'a str,
    },
    RemoveForward {
        vmnet: u8,
        protocol: Protocol,
        host_port: u16,
    },
    AddReservation {
        vmnet: u8,
        mac: Mac,
        address: Ipv4Addr,
    },
    RemoveReservation {
        vmnet: u8,
        mac: Mac,
    },
    AddBridge {
        interface: &'a str,
        vmnet: u8,
    },
    RemoveBridge {
        interface: &'a str,
    },
    AddNatPrefix {
        vmnet: u8,
        length: &'a str,
    },
    RemoveNatPrefix {
        vmnet: u8,
        length: &'a str,
    },
}

impl<'a> Directive<'a> {
    /// Reads a line; none if we do not know it.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let mut words = Words(line);
        let keyword = words.next()?.to_ascii_lowercase();
        Some(match keyword.as_str() {
            "answer" => {
                let (vmnet, key) = vnet_key(words.next()?)?;
                Self::Answer { vmnet, key, value: words.value() }
            }
            "remove_answer" => {
                let (vmnet, key) = vnet_key(words.next()?)?;
                Self::RemoveAnswer { vmnet, key }
            }
            "add_nat_portfwd" => Self::AddForward {
                vmnet: number(words.next()?)?,
                protocol: protocol(words.next()?)?,
                host_port: words.next()?.parse().ok()?,
                guest: words.next()?.parse().ok()?,
                guest_port: words.next()?.parse().ok()?,
                description: words.0.trim(),
            },
            // Vagrant writes all operands of the forward that it removes; three say which one it is.
            "remove_nat_portfwd" => Self::RemoveForward {
                vmnet: number(words.next()?)?,
                protocol: protocol(words.next()?)?,
                host_port: words.next()?.parse().ok()?,
            },
            "add_dhcp_mac_to_ip" => Self::AddReservation {
                vmnet: number(words.next()?)?,
                mac: words.next()?.parse().ok()?,
                address: words.last()?.parse().ok()?,
            },
            "remove_dhcp_mac_to_ip" => {
                Self::RemoveReservation { vmnet: number(words.next()?)?, mac: words.last()?.parse().ok()? }
            }
            "add_bridge_mapping" => {
                Self::AddBridge { interface: words.next()?, vmnet: number(words.last()?)? }
            }
            "remove_bridge_mapping" => Self::RemoveBridge { interface: words.last()? },
            "add_nat_prefix" => Self::AddNatPrefix { vmnet: number(words.next()?)?, length: words.last()? },
            "remove_nat_prefix" => {
                Self::RemoveNatPrefix { vmnet: number(words.next()?)?, length: words.last()? }
            }
            _ => return None,
        })
    }
}

/// The words of a line, separated by spaces and tabs.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.0 = &rest[end..];
        Some(&rest[..end]).filter(|word| !word.is_empty())
    }

    /// Returns the next word if nothing but a comment follows it.
    fn last(&mut self) -> Option<&'a str> {
        let word = self.next()?;
        let rest = self.0.trim_start();
        (rest.is_empty() || rest.starts_with('#')).then_some(word)
    }

    /// Returns the rest of the line without a trailing comment.
    fn value(&self) -> &'a str {
        let mut after_space = false;
        for (at, char) in self.0.char_indices() {
            if char == '#' && after_space {
                return self.0[..at].trim();
            }
            after_space = char.is_whitespace();
        }
        self.0.trim()
    }
}

/// Splits `VNET_<n>_<KEY>`.
fn vnet_key(word: &str) -> Option<(u8, String)> {
    let word = word.to_ascii_uppercase();
    let (vmnet, key) = word.strip_prefix("VNET_")?.split_once('_')?;
    Some((number(vmnet)?, key.to_owned())).filter(|(_, key)| !key.is_empty())
}

/// Reads a vmnet's number, without leading zeros: Fusion does not write any.
fn number(word: &str) -> Option<u8> {
    let number: u8 = word.parse().ok()?;
    (number.to_string() == word).then_some(number)
}

fn protocol(word: &str) -> Option<Protocol> {
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}
