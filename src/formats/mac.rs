//! MAC addresses as VMware spells them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 48-bit Ethernet address; displayed in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// Why a text is not a MAC address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a MAC address: six hexadecimal bytes with colons, such as 00:50:56:00:00:01")]
pub struct BadMac(pub String);

impl Mac {
    /// Returns the address made of these six bytes.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Returns the six bytes in transmission order.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Says whether VMware accepts this address as a static one: 00:50:56:00:00:00 to 00:50:56:3f:ff:ff
    /// (facts/vm-images-cloudinit.md §1.4).
    pub const fn is_vmware_static(self) -> bool {
        matches!(self.0, [0x00, 0x50, 0x56, 0x00..=0x3f, _, _])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = BadMac;

    /// Reads either case, and single digits as Apple's lease files write them (`0:50:56:0:1:a`).
    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len())).ok_or_else(bad)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            return Err(bad());
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_vmware_and_apple_write() {
        let mac: Mac = "00:50:56:3F:0a:01".parse().unwrap();
        assert_eq!(mac.to_string(), "00:50:56:3f:0a:01");
        assert_eq!("0:50:56:3f:a:1".parse(), Ok(mac));
        assert!(mac.is_vmware_static());
    }

    #[test]
    fn refuses_what_is_not_six_bytes() {
        for text in [
            "",
            "00:50:56",
            "00:50:56:00:00:01:02",
            "00:50:56:00:00:xx",
            "00-50-56-00-00-01",
            "000:0:0:0:0:0",
            "+1:0:0:0:0:0",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(BadMac(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn the_static_range_ends_at_3f() {
        assert!(!"00:50:56:40:00:00".parse::<Mac>().unwrap().is_vmware_static());
        assert!(!"00:0c:29:00:00:00".parse::<Mac>().unwrap().is_vmware_static());
    }
}
