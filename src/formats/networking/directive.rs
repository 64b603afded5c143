//! One line of the networking file (facts/fusion-networking.md §1.3).

use std::net::Ipv4Addr;

use crate::formats::mac::Mac;

/// The first line of every networking file that we know.
pub(super) const VERSION: &str = "VERSION=1,0";
/// What separates the words of a line.
const BLANKS: [char; 2] = [' ', '\t'];

/// The transport protocol of a forwarded port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A line's bytes, and what they say. It is read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    bytes: Vec<u8>,
    pub(super) meaning: Meaning,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Version,
    Blank,
    Comment,
    Known(Directive),
    /// Kept without being understood.
    Unknown,
}

/// A line that means something to us. VNET keys are in upper case and without `VNET_<n>_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    Answer {
        vmnet: u8,
        key: String,
        value: String,
    },
    RemoveAnswer {
        vmnet: u8,
        key: String,
    },
    /// An answer that is not about a vmnet; the key is in upper case.
    Setting {
        key: String,
        value: String,
    },
    RemoveSetting {
        key: String,
    },
    AddForward {
        vmnet: u8,
        protocol: Protocol,
        host_port: u16,
        guest: Ipv4Addr,
        guest_port: u16,
        description: String,
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
        interface: String,
        vmnet: u8,
    },
    RemoveBridge {
        interface: String,
    },
    AddNatPrefix {
        vmnet: u8,
        length: String,
    },
    RemoveNatPrefix {
        vmnet: u8,
        length: String,
    },
}

impl Row {
    /// Reads a line without its ending.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), meaning: Meaning::of(bytes) }
    }

    pub(super) fn directive(&self) -> Option<&Directive> {
        match &self.meaning {
            Meaning::Known(directive) => Some(directive),
            _ => None,
        }
    }

    /// Says whether the line means nothing to us, and so something to whoever wrote it.
    pub(super) fn is_others(&self) -> bool {
        matches!(self.meaning, Meaning::Comment | Meaning::Unknown)
    }

    /// Returns the line as text; what is not UTF-8 shows as replacement characters.
    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

impl AsRef<[u8]> for Row {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Meaning {
    fn of(line: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(line) else { return Self::Unknown };
        match text.trim_matches(BLANKS) {
            "" => Self::Blank,
            VERSION => Self::Version,
            comment if comment.starts_with('#') => Self::Comment,
            _ => Directive::parse(text).map_or(Self::Unknown, Self::Known),
        }
    }
}

impl Directive {
    /// Reads a line; none if we do not know it.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = Words(line);
        let keyword = words.next()?.to_ascii_lowercase();
        Some(match keyword.as_str() {
            "answer" => match words.key()? {
                (Some(vmnet), key) => Self::Answer { vmnet, key, value: words.value().to_owned() },
                (None, key) => Self::Setting { key, value: words.value().to_owned() },
            },
            "remove_answer" => match words.key()? {
                (Some(vmnet), key) => Self::RemoveAnswer { vmnet, key },
                (None, key) => Self::RemoveSetting { key },
            },
            "add_nat_portfwd" => Self::AddForward {
                vmnet: number(words.next()?)?,
                protocol: protocol(words.next()?)?,
                host_port: words.next()?.parse().ok()?,
                guest: words.next()?.parse().ok()?,
                guest_port: words.next()?.parse().ok()?,
                description: words.0.trim_matches(BLANKS).to_owned(),
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
                Self::AddBridge { interface: words.next()?.to_owned(), vmnet: number(words.last()?)? }
            }
            "remove_bridge_mapping" => Self::RemoveBridge { interface: words.last()?.to_owned() },
            "add_nat_prefix" => Self::AddNatPrefix { vmnet: number(words.next()?)?, length: words.prefix()? },
            "remove_nat_prefix" => {
                Self::RemoveNatPrefix { vmnet: number(words.next()?)?, length: words.prefix()? }
            }
            _ => return None,
        })
    }

    /// Returns the vmnet that the line is about; none for a setting, and for a bridge that is removed by its
    /// interface alone.
    pub(super) fn vmnet(&self) -> Option<u8> {
        match self {
            Self::Answer { vmnet, .. }
            | Self::RemoveAnswer { vmnet, .. }
            | Self::AddForward { vmnet, .. }
            | Self::RemoveForward { vmnet, .. }
            | Self::AddReservation { vmnet, .. }
            | Self::RemoveReservation { vmnet, .. }
            | Self::AddBridge { vmnet, .. }
            | Self::AddNatPrefix { vmnet, .. }
            | Self::RemoveNatPrefix { vmnet, .. } => Some(*vmnet),
            Self::Setting { .. } | Self::RemoveSetting { .. } | Self::RemoveBridge { .. } => None,
        }
    }
}

/// The words of a line, separated by spaces and tabs.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches(BLANKS);
        let end = rest.find(BLANKS).unwrap_or(rest.len());
        self.0 = &rest[end..];
        Some(&rest[..end]).filter(|word| !word.is_empty())
    }

    /// Returns the next word if nothing but a comment follows it.
    fn last(&mut self) -> Option<&'a str> {
        let word = self.next()?;
        let rest = self.0.trim_start_matches(BLANKS);
        (rest.is_empty() || rest.starts_with('#')).then_some(word)
    }

    /// Returns the key of an answer in upper case, split into vmnet and the rest if it is about one.
    fn key(&mut self) -> Option<(Option<u8>, String)> {
        let word = self.next()?.to_ascii_uppercase();
        let of_vmnet = word.strip_prefix("VNET_").and_then(|rest| {
            let (vmnet, key) = rest.split_once('_')?;
            Some((Some(number(vmnet)?), key.to_owned())).filter(|(_, key)| !key.is_empty())
        });
        Some(of_vmnet.unwrap_or((None, word)))
    }

    /// Returns the last word, `/<length>`.
    fn prefix(&mut self) -> Option<String> {
        self.last().filter(|word| word.starts_with('/')).map(str::to_owned)
    }

    /// Returns the rest of the line without a trailing comment.
    fn value(&self) -> &'a str {
        let mut after_blank = false;
        for (at, char) in self.0.char_indices() {
            if char == '#' && after_blank {
                return self.0[..at].trim_matches(BLANKS);
            }
            after_blank = BLANKS.contains(&char);
        }
        self.0.trim_matches(BLANKS)
    }
}

/// Reads a vmnet's number, without leading zeros: Fusion does not write any.
fn number(word: &str) -> Option<u8> {
    let is_plain = word == "0" || word.starts_with(|first: char| matches!(first, '1'..='9'));
    word.parse().ok().filter(|_| is_plain)
}

fn protocol(word: &str) -> Option<Protocol> {
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}
