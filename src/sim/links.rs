//! Cards that lost their link: which they are, and whether their machine can tell.

use std::collections::BTreeMap;

use super::faults;
use super::places::Places;
use super::settings::Settings;

/// What a card is plugged in by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    #[default]
    Whole,
    /// The card has its carrier, but nothing passes.
    Silent,
    /// Nothing passes, and the card has no carrier either.
    Down,
}

/// The links that are not whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links(BTreeMap<(String, String), Link>);

impl Links {
    /// Returns what the planted faults make of the links. Broken settings cut none.
    pub fn load(places: &Places) -> Self {
        Settings::load(places).map(|settings| Self::of_faults(&settings.faults)).unwrap_or_default()
    }

    /// As [`Self::load`], of faults that are known.
    pub fn of_faults(planted: &[faults::Fault]) -> Self {
        let mut links = BTreeMap::new();
        for fault in planted {
            let Some(link) = link_of(&fault.name) else { continue };
            let Some((vm, card)) = fault.target.as_deref().and_then(card) else { continue };
            let known = links.entry((vm.to_owned(), card.to_owned())).or_insert(link);
            // A cable that is cut twice is cut.
            if link == Link::Down {
                *known = link;
            }
        }
        Self(links)
    }

    /// Returns the link of a VM's card, such as gateway1's `ens160`.
    pub fn of(&self, vm: &str, card: &str) -> Link {
        let known = |(of, name): &&(String, String)| of == vm && name == card;
        self.0.keys().find(known).and_then(|key| self.0.get(key)).copied().unwrap_or_default()
    }
}

/// Says whether a fault of this name is a link's state, which lasts until it is cleared.
pub fn is_one(fault: &str) -> bool {
    link_of(fault).is_some()
}

fn link_of(fault: &str) -> Option<Link> {
    match fault {
        faults::LINK_DOWN => Some(Link::Down),
        faults::LINK_SILENT => Some(Link::Silent),
        _ => None,
    }
}

/// Reads the name of a card with its VM's before it: `gateway1/ens160`.
pub fn card(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(vm, card)| !vm.is_empty() && !card.is_empty() && !card.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(name: &str, target: Option<&str>) -> faults::Fault {
        faults::Fault { name: name.to_owned(), target: target.map(str::to_owned), times: None, after: 0 }
    }

    #[test]
    fn a_link_is_what_the_worst_fault_of_its_card_makes_of_it() {
        let links = Links::of_faults(&[
            planted(faults::LINK_DOWN, Some("gateway1/ens160")),
            planted(faults::LINK_SILENT, Some("gateway1/ens160")),
            planted(faults::LINK_SILENT, Some("gateway1/ens192")),
            planted(faults::POWER_LOST, Some("gateway2/ens192")),
            planted(faults::LINK_DOWN, None),
        ]);
        assert_eq!(links.of("gateway1", "ens160"), Link::Down);
        assert_eq!(links.of("gateway1", "ens192"), Link::Silent);
        assert_eq!(links.of("gateway2", "ens192"), Link::Whole);
    }

    #[test]
    fn a_card_is_named_behind_its_machine() {
        assert_eq!(card("gateway1/ens160"), Some(("gateway1", "ens160")));
        for text in ["gateway1", "gateway1/", "/ens160", "a/b/c"] {
            assert_eq!(card(text), None, "{text}");
        }
    }
}
