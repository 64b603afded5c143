//! What a new lab file is made of: the questions, what was seen before the first, and the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use crate::formats::mac::Mac;
use crate::host::fusion::Fusion;
use crate::host::surroundings::Surroundings;
use crate::lab::presets::Preset;

/// What is asked, in this order: each answer may lean on those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Size,
    Lan,
    Vip,
    Gateways,
    Internal,
    Keys,
    Domain,
    Name,
}

impl Question {
    pub const ALL: [Self; 8] = [
        Self::Size,
        Self::Lan,
        Self::Vip,
        Self::Gateways,
        Self::Internal,
        Self::Keys,
        Self::Domain,
        Self::Name,
    ];
}

/// What was seen before the first question.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub around: Surroundings,
    /// None if there is no Fusion yet: a lab file can be written all the same.
    pub fusion: Option<Fusion>,
    /// The root of Fusion's Mac, whose programs are asked.
    pub root: PathBuf,
    /// Fusion's networks.
    pub networks: Vec<(u8, Option<Ipv4Net>)>,
    /// Where this Mac's routes lead, the default route left out.
    pub routes: Vec<(Ipv4Net, String)>,
    /// The labs that stand.
    pub labs: BTreeSet<String>,
    /// What those in this Fusion have on home networks, running or not, with whose each is: `gateway1 of lab "lab"`.
    pub ours: BTreeMap<Ipv4Addr, String>,
    /// What lies in this folder, so that no file is overwritten.
    pub files: BTreeSet<String>,
    /// Addresses that somebody was looked for at, with whoever answered.
    pub asked: BTreeMap<Ipv4Addr, Option<Mac>>,
    /// Whether there is no way to look for somebody from here.
    pub deaf: bool,
    /// What each size takes: memory in MiB, processors.
    pub sizes: Vec<(Preset, Takes)>,
}

/// What all machines of a lab take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    pub memory_mib: u64,
    pub cpus: u32,
}

/// The home network, as the lab file will have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanAnswer {
    /// None lets Fusion choose, which takes the one of the default route.
    pub interface: Option<String>,
    pub subnet: Ipv4Net,
    pub router: Ipv4Addr,
    pub dns: Vec<Ipv4Addr>,
    /// This Mac's own address in it, if it has one.
    pub own: Option<Ipv4Addr>,
    /// The interface, if it is Wi-Fi.
    pub wifi: Option<String>,
}

impl LanAnswer {
    /// Returns the subnet if this Mac is in it: elsewhere nobody can be looked for, since ARP ends at the router.
    pub fn in_reach(&self) -> Option<Ipv4Net> {
        self.own.map(|_| self.subnet)
    }
}

/// A public key that is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAnswer {
    /// As the user names its file.
    pub file: String,
    /// The one line in it.
    pub line: String,
}

/// All answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    pub preset: Preset,
    pub lan: LanAnswer,
    pub vip: Ipv4Addr,
    pub gateways: Vec<Ipv4Addr>,
    pub internal: (u8, Ipv4Net),
    pub keys: Vec<KeyAnswer>,
    pub domain: String,
    pub name: String,
}

/// What was said by options, question by question, as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub preset: Option<Preset>,
    pub lan: Option<String>,
    pub router: Option<String>,
    pub dns: Option<String>,
    pub interface: Option<String>,
    pub vip: Option<String>,
    pub gateways: Option<String>,
    pub vmnet: Option<String>,
    pub internal: Option<String>,
    pub keys: Option<String>,
    pub domain: Option<String>,
    pub name: Option<String>,
}

impl Given {
    /// Says whether a question is answered already.
    pub fn answers(&self, question: Question) -> bool {
        match question {
            Question::Size => self.preset.is_some(),
            Question::Lan => {
                [&self.lan, &self.router, &self.dns, &self.interface].iter().any(|it| it.is_some())
            }
            Question::Vip => self.vip.is_some(),
            Question::Gateways => self.gateways.is_some(),
            Question::Internal => self.vmnet.is_some() || self.internal.is_some(),
            Question::Keys => self.keys.is_some(),
            Question::Domain => self.domain.is_some(),
            Question::Name => self.name.is_some(),
        }
    }

    /// Returns what was said of the internal network, as one would type it.
    pub fn internal_words(&self) -> Option<String> {
        let words: Vec<&str> =
            [&self.vmnet, &self.internal].into_iter().flatten().map(String::as_str).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}
