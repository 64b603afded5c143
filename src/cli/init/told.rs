//! The answers where nobody is asked: from options, and for the rest as found here. All that is wrong is told together.

use std::path::Path;

use super::answers::{Answers, Given, KeyAnswer, LanAnswer, Seen};
use super::check::{self, Refused};
use super::defaults;
use crate::lab::presets::Preset;

/// Answers, and what was proposed and not said: a label and the value each.
pub type Told = (Answers, Vec<(&'static str, String)>);

/// Reads the files of keys, as one would type them, with what is in them.
pub type ReadKeys<'a> = &'a dyn Fn(&str) -> Result<Vec<KeyAnswer>, Refused>;

/// Completes what options say. `lan` was judged before, because addresses are looked for in it.
///
/// # Errors
/// A line for each option that cannot be used.
pub fn complete(
    given: &Given,
    lan: Result<LanAnswer, Vec<(&'static str, Refused)>>,
    seen: &Seen,
    read_keys: ReadKeys<'_>,
    shown: impl Fn(&Path) -> String,
) -> Result<Told, Vec<String>> {
    let mut notes = Notes::default();
    let preset = notes.preset(given, seen);
    let lan = notes.lan(given, lan);
    // Addresses of a network that was not understood cause no second finding.
    let addresses = lan.as_ref().and_then(|lan| notes.addresses(given, preset, lan, seen));
    let internal = lan.as_ref().and_then(|lan| {
        let proposed = defaults::internal(lan, seen);
        let usual = proposed.map(|(number, subnet)| format!("vmnet{number} {subnet}"));
        let option = if given.internal.is_some() { "--internal" } else { "--vmnet" };
        let text = notes.text(given.internal_words(), option, "internal network", usual)?;
        notes.keep(option, check::internal(&text, proposed, lan, seen))
    });
    let keys = notes.text(given.keys.clone(), "--ssh-key", "SSH key", Some(defaults::keys(seen, shown)));
    let keys = keys.and_then(|text| notes.keep("--ssh-key", read_keys(&text)));
    let domain =
        notes.text(given.domain.clone(), "--domain", "domain", Some(defaults::domain(&called(given, seen))));
    let domain = domain.and_then(|text| notes.keep("--domain", check::domain(&text)));
    let name = notes.text(given.name.clone(), "--name", "name", Some(defaults::name(seen)));
    let name = name.and_then(|text| notes.keep("--name", check::name(&text, seen)));
    match (lan, addresses, internal, keys, domain, name) {
        (Some(lan), Some((vip, gateways)), Some(internal), Some(keys), Some(domain), Some(name)) => {
            Ok((Answers { preset, lan, vip, gateways, internal, keys, domain, name }, notes.assumed))
        }
        _ => Err(notes.refused),
    }
}

/// Returns what the lab will be called, unless somebody says otherwise.
pub fn called(given: &Given, seen: &Seen) -> String {
    given.name.clone().filter(|name| check::name(name, seen).is_ok()).unwrap_or_else(|| defaults::name(seen))
}

#[derive(Default)]
struct Notes {
    refused: Vec<String>,
    assumed: Vec<(&'static str, String)>,
}

impl Notes {
    fn refuse(&mut self, option: &str, reason: &str) {
        self.refused.push(format!("{option}: {reason}"));
    }

    fn keep<T>(&mut self, option: &str, judged: Result<T, Refused>) -> Option<T> {
        judged.map_err(|reason| self.refuse(option, &reason)).ok()
    }

    /// Returns what was said, or what is proposed, which is noted.
    fn text(
        &mut self,
        given: Option<String>,
        option: &str,
        label: &'static str,
        usual: Option<String>,
    ) -> Option<String> {
        match (given, usual) {
            (Some(text), _) => Some(text),
            (None, Some(usual)) => {
                self.assumed.push((label, usual.clone()));
                Some(usual)
            }
            (None, None) => {
                self.refuse(option, "nothing free was found to propose; say one");
                None
            }
        }
    }

    fn preset(&mut self, given: &Given, seen: &Seen) -> Preset {
        given.preset.unwrap_or_else(|| {
            let preset = defaults::size(seen);
            self.assumed.push(("size", preset.to_string()));
            preset
        })
    }

    fn lan(
        &mut self,
        given: &Given,
        lan: Result<LanAnswer, Vec<(&'static str, Refused)>>,
    ) -> Option<LanAnswer> {
        match lan {
            Ok(lan) => {
                if given.lan.is_none() {
                    self.assumed.push(("home network", format!("{}, router {}", lan.subnet, lan.router)));
                }
                Some(lan)
            }
            Err(refused) => {
                refused.iter().for_each(|(option, reason)| self.refuse(option, reason));
                None
            }
        }
    }

    fn addresses(
        &mut self,
        given: &Given,
        preset: Preset,
        lan: &LanAnswer,
        seen: &Seen,
    ) -> Option<(std::net::Ipv4Addr, Vec<std::net::Ipv4Addr>)> {
        let usual = defaults::vip(lan, seen).map(|vip| vip.to_string());
        let vip = self.text(given.vip.clone(), "--vip", "VIP", usual);
        let vip = vip.and_then(|text| self.keep("--vip", check::vip(&text, lan, seen)));
        let usual = defaults::gateways(preset, lan, vip, seen).map(|found| list(&found));
        let gateways = self.text(given.gateways.clone(), "--gateways", "gateways", usual);
        let gateways = gateways
            .and_then(|text| self.keep("--gateways", check::gateways(&text, (preset, lan, vip), seen)));
        Some((vip?, gateways?))
    }
}

/// Returns addresses as one types them.
pub fn list(addresses: &[std::net::Ipv4Addr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
