//! The kinds of value that keys of the lab file take.

use std::net::Ipv4Addr;
use std::time::Duration;

use base64::Engine;
use ipnet::Ipv4Net;
use serde_json::{Value as Json, json};

use super::reader::{Fault, Word};
use crate::lab::catalogue::Version;
use crate::lab::presets::Preset;
use crate::lab::{Addressing, CloneMode, Driver};

/// The form of the file; there is one so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion;

impl Word for FileVersion {
    const KIND: &'static str = "1";

    fn parse(text: &str) -> Result<Self, Fault> {
        if text == "1" {
            return Ok(Self);
        }
        Err(Fault::new(format!("this fusionlab reads version 1, not {text:?}")).help("write `version: 1`"))
    }

    fn schema() -> Json {
        json!({ "const": 1 })
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: u16, const MAX: u16>(pub u16);

impl<const MIN: u16, const MAX: u16> Word for Whole<MIN, MAX> {
    const KIND: &'static str = "number";

    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse()
            .ok()
            .filter(|_| is_number(text))
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| Fault::new(format!("{text:?} is not a whole number from {MIN} to {MAX}")))
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A TCP port.
pub type Port = Whole<1, 65535>;

/// The number of one of Fusion's networks that may be ours (facts/fusion-networking.md §1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vmnet(pub u8);

impl Word for Vmnet {
    const KIND: &'static str = "number";

    fn parse(text: &str) -> Result<Self, Fault> {
        match text.parse() {
            Ok(number @ (2..=7 | 9..=255)) => Ok(Self(number)),
            Ok(number @ (0 | 1 | 8)) => {
                Err(Fault::new(format!("vmnet{number} is Fusion's own (0 bridged, 1 host-only, 8 NAT)"))
                    .help("use 2 to 7 or 9 to 255"))
            }
            _ => Err(Fault::new(format!("{text:?} is not the number of a vmnet, 2 to 7 or 9 to 255"))),
        }
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 2, "maximum": 255, "not": { "const": 8 } })
    }
}

impl Word for bool {
    const KIND: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Fault::new(format!("{text:?} is neither true nor false"))),
        }
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Word for Ipv4Addr {
    const KIND: &'static str = "address";

    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|_| {
            let fault = Fault::new(format!("{text:?} is not an IPv4 address"));
            match text.split_once('/') {
                Some((address, _)) => fault.help(format!("write {address}, without the prefix length")),
                None => fault,
            }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "format": "ipv4" })
    }
}

impl Word for Ipv4Net {
    const KIND: &'static str = "subnet";

    fn parse(text: &str) -> Result<Self, Fault> {
        let subnet: Self = text.parse().map_err(|_| {
            Fault::new(format!("{text:?} is not a subnet in CIDR form")).help("for example 192.168.1.0/24")
        })?;
        if subnet.addr() == subnet.network() {
            return Ok(subnet);
        }
        let whole = subnet.trunc();
        Err(Fault::new(format!("{text} is an address within {whole}, not a subnet"))
            .help(format!("write {whole}")))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^([0-9]{1,3}\\.){3}[0-9]{1,3}/[0-9]{1,2}$" })
    }
}

/// The lab's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(pub String);

/// The most characters of a lab's name: it becomes a part of VM, context and file names.
const LABEL_MAX: usize = 20;

impl Word for Label {
    const KIND: &'static str = "name";

    fn parse(text: &str) -> Result<Self, Fault> {
        if is_dns_label(text) && text.len() <= LABEL_MAX && text.starts_with(|c: char| c.is_ascii_lowercase())
        {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new(format!(
            "{text:?} is not a name: at most {LABEL_MAX} of a-z, 0-9 and -, a letter first, no - last"
        )))
    }

    fn schema() -> Json {
        json!({ "type": "string", "maxLength": LABEL_MAX, "pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$" })
    }
}

/// A DNS name of at least two labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName(pub String);

impl Word for DnsName {
    const KIND: &'static str = "DNS name";

    fn parse(text: &str) -> Result<Self, Fault> {
        let is_address = text.parse::<Ipv4Addr>().is_ok();
        if text.contains('.') && text.len() <= 253 && text.split('.').all(is_dns_label) && !is_address {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new(format!("{text:?} is not a DNS name in lower case with a dot, such as lab.test")))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$" })
    }
}

fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// One of the Mac's network interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface(pub String);

impl Word for Interface {
    const KIND: &'static str = "interface";

    fn parse(text: &str) -> Result<Self, Fault> {
        let digits = text.trim_start_matches(|c: char| c.is_ascii_lowercase());
        let is_name =
            digits.len() < text.len() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if is_name && text.len() <= 15 {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new(format!("{text:?} is not an interface of the Mac, such as en0")))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[a-z]+[0-9]+$" })
    }
}

/// Memory in MiB. VMware wants a multiple of four (facts/vm-images-cloudinit.md §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub u32);

impl Word for Memory {
    const KIND: &'static str = "memory";

    fn parse(text: &str) -> Result<Self, Fault> {
        match mebibytes(text)? {
            mib @ 256..=1_048_576 if mib.is_multiple_of(4) => Ok(Self(mib)),
            mib if !mib.is_multiple_of(4) => {
                Err(Fault::new(format!("{text} is not a multiple of 4 MiB, as VMware wants it"))
                    .help(format!("write {}MiB", mib / 4 * 4)))
            }
            _ => Err(Fault::new(format!("{text} is not between 256MiB and 1TiB"))),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": SIZE_PATTERN })
    }
}

/// A disk in GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk(pub u32);

impl Word for Disk {
    const KIND: &'static str = "disk size";

    fn parse(text: &str) -> Result<Self, Fault> {
        let mib = mebibytes(text)?;
        match mib / MIB_PER_GIB {
            gib @ 8..=2048 if mib.is_multiple_of(MIB_PER_GIB) => Ok(Self(gib)),
            _ => Err(Fault::new(format!("{text} is not a whole number of GiB from 8GiB to 2TiB"))),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": SIZE_PATTERN })
    }
}

const SIZE_PATTERN: &str = "^[0-9]+ ?(MiB|GiB|TiB)$";
const MIB_PER_GIB: u32 = 1024;

fn mebibytes(text: &str) -> Result<u32, Fault> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].trim_start();
    let fault = || Fault::new(format!("{text:?} is not a size"));
    let number: u32 = Some(digits)
        .filter(|digits| is_number(digits))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| fault().help("write a whole number and MiB or GiB, such as 4GiB"))?;
    let factor = match unit {
        "MiB" => 1,
        "GiB" => MIB_PER_GIB,
        "TiB" => MIB_PER_GIB * MIB_PER_GIB,
        "" => return Err(fault().help(format!("add the unit: {number}MiB or {number}GiB"))),
        _ => {
            let meant = match unit.to_ascii_uppercase().chars().next() {
                Some('G') => "GiB",
                Some('T') => "TiB",
                _ => "MiB",
            };
            return Err(fault().help(format!("write {number}{meant}")));
        }
    };
    number.checked_mul(factor).ok_or_else(fault)
}

/// Seconds between VRRP adverts, in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert(pub u16);

impl Word for Advert {
    const KIND: &'static str = "seconds";

    fn parse(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("{text:?} is not a time from 0.1 to 40 seconds in hundredths, such as 0.5"))
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if fraction.is_empty() || fraction.len() > 2 || ![whole, fraction].iter().all(|part| is_number(part))
        {
            return Err(fault());
        }
        let seconds: u16 = whole.parse().map_err(|_| fault())?;
        let hundredths: u16 = format!("{fraction:0<2}").parse().map_err(|_| fault())?;
        let advert =
            seconds.checked_mul(100).and_then(|all| all.checked_add(hundredths)).ok_or_else(fault)?;
        if (10..=4000).contains(&advert) { Ok(Self(advert)) } else { Err(fault()) }
    }

    fn schema() -> Json {
        json!({ "type": "number", "minimum": 0.1, "maximum": 40 })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A deadline in whole seconds.
impl Word for Duration {
    const KIND: &'static str = "seconds";

    fn parse(text: &str) -> Result<Self, Fault> {
        match text.parse() {
            Ok(seconds @ 1..=86_400) if is_number(text) => Ok(Self::from_secs(seconds)),
            _ => Err(Fault::new(format!("{text:?} is not a whole number of seconds from 1 to 86400"))),
        }
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": 86_400 })
    }
}

impl Word for Version {
    const KIND: &'static str = "version";

    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|error: crate::lab::catalogue::BadVersion| Fault::new(error.to_string()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^v?[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.]+)?$" })
    }
}

/// A public key in OpenSSH's one-line form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey(pub String);

impl Word for AuthorizedKey {
    const KIND: &'static str = "public key";

    fn parse(text: &str) -> Result<Self, Fault> {
        if text.contains("PRIVATE KEY") {
            return Err(
                Fault::new("this is a private key, which belongs in no lab file").help("paste the .pub file")
            );
        }
        let mut words = text.split_whitespace();
        let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let known = ["ssh-", "ecdsa-sha2-", "sk-"].iter().any(|prefix| kind.starts_with(prefix));
        let decoded = base64::engine::general_purpose::STANDARD.decode(body).unwrap_or_default();
        // A key's body begins with its type's name after four bytes of length.
        if known && !text.contains('\n') && decoded.get(4..4 + kind.len()) == Some(kind.as_bytes()) {
            return Ok(Self(text.trim().to_owned()));
        }
        Err(Fault::new("not a public key in OpenSSH's one-line form")
            .help("paste the one line of a .pub file"))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(ssh-|ecdsa-sha2-|sk-)[^ ]+ [A-Za-z0-9+/=]+( .*)?$" })
    }
}

/// Reads a word out of a closed set.
macro_rules! choice {
    ($type:ty, $kind:literal, $($word:literal => $value:expr),+) => {
        impl Word for $type {
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Result<Self, Fault> {
                match text {
                    $($word => Ok($value),)+
                    _ => {
                        let fault = Fault::new(format!("{text:?} is none of {}", [$($word),+].join(", ")));
                        match super::reader::closest(text, [$($word),+].into_iter()) {
                            Some(meant) => Err(fault.help(format!("did you mean {meant}?"))),
                            None => Err(fault),
                        }
                    }
                }
            }

            fn schema() -> Json {
                json!({ "enum": [$($word),+] })
            }
        }
    };
}

choice!(Preset, "ha, small or solo", "ha" => Self::Ha, "small" => Self::Small, "solo" => Self::Solo);
choice!(CloneMode, "linked, full or cow", "linked" => Self::Linked, "full" => Self::Full, "cow" => Self::Cow);
choice!(Driver, "vmrun or rest", "vmrun" => Self::Vmrun, "rest" => Self::Rest);
choice!(Addressing, "dhcp or static", "dhcp" => Self::Dhcp, "static" => Self::Static);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_binary_unit() {
        assert_eq!(Memory::parse("4GiB"), Ok(Memory(4096)));
        assert_eq!(Memory::parse("4096MiB"), Ok(Memory(4096)));
        assert_eq!(Memory::parse("4 GiB"), Ok(Memory(4096)));
        assert_eq!(Disk::parse("40GiB"), Ok(Disk(40)));
        for (text, help) in
            [("4GB", "write 4GiB"), ("4g", "write 4GiB"), ("512", "add the unit: 512MiB or 512GiB")]
        {
            assert_eq!(Memory::parse(text).unwrap_err().help.as_deref(), Some(help), "{text}");
        }
        assert_eq!(Memory::parse("1023MiB").unwrap_err().help.as_deref(), Some("write 1020MiB"));
        for text in ["", "GiB", "-4GiB", "+4GiB", "4.5GiB", "99999999TiB", "1MiB"] {
            assert!(Memory::parse(text).is_err(), "{text}");
        }
        assert!(Disk::parse("1536MiB").is_err() && Disk::parse("4GiB").is_err());
    }

    #[test]
    fn a_subnet_has_no_host_bits() {
        assert!(Ipv4Net::parse("10.10.0.0/24").is_ok());
        assert_eq!(Ipv4Net::parse("10.10.0.1/24").unwrap_err().help.as_deref(), Some("write 10.10.0.0/24"));
        for text in ["10.10.0.0", "10.10.0.0/33", "10.10.0/24", "fd00::/8"] {
            assert!(Ipv4Net::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn adverts_are_hundredths_of_a_second() {
        for (text, hundredths) in [("0.5", 50), ("0.25", 25), ("1", 100), ("40", 4000), ("0.10", 10)] {
            assert_eq!(Advert::parse(text), Ok(Advert(hundredths)), "{text}");
        }
        for text in ["0.05", "41", "0.555", "-1", ".5", "1.", "1e1", "99999", "+1"] {
            assert!(Advert::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fusions_own_networks_are_refused() {
        for number in ["0", "1", "8", "256", "two"] {
            assert!(Vmnet::parse(number).is_err(), "{number}");
        }
        assert_eq!(Vmnet::parse("2"), Ok(Vmnet(2)));
    }

    #[test]
    fn a_private_key_is_never_accepted() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7JJBKIsMBBJOXjTRuWMx4HjUkNvLk6yzOUUjGtbTVZ me@mac";
        assert_eq!(AuthorizedKey::parse(key), Ok(AuthorizedKey(key.to_owned())));
        for text in [
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "ssh-ed25519 AAAA",
            "hello",
            &key.replace("ed25519 ", "rsa "),
        ] {
            assert!(AuthorizedKey::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_dns_labels() {
        assert!(Label::parse("lab").is_ok() && Label::parse("my-lab2").is_ok());
        for text in ["", "Lab", "2lab", "lab-", "a_b", "a.b", &"a".repeat(21)] {
            assert!(Label::parse(text).is_err(), "{text}");
        }
        assert!(DnsName::parse("lab.test").is_ok());
        for text in ["lab", "lab..test", "10.0.0.1", "-a.test"] {
            assert!(DnsName::parse(text).is_err(), "{text}");
        }
        assert!(
            Interface::parse("en0").is_ok()
                && Interface::parse("en").is_err()
                && Interface::parse("0").is_err()
        );
    }
}
