//! Whether this Mac is in the home network that a lab wants. Where it is not, the gateways are bridged to a network in which their
//! addresses and the VIP mean nothing, and answer to nobody.

use ipnet::Ipv4Net;

use super::facts::{Facts, VmState};
use crate::formats::networking::overlap;
use crate::lab::Lab;
use crate::lab::lint::rules;
use crate::lab::problem::{Problem, Span};

/// Where this Mac is, as seen from a lab's LAN. Words name the interfaces with their networks, and what the lab wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In it, by this interface.
    Inside(String),
    /// In a network that has addresses in common with it, such as a larger one around it.
    Beside(String),
    /// In networks that have nothing to do with it.
    Elsewhere(String),
    /// This Mac tells of no network.
    Unknown,
}

/// Finds this Mac's place: `here` are the networks of its interfaces.
pub fn place(lab: &Lab, here: &[(String, Ipv4Net)]) -> Place {
    let wished = lab.lan.subnet;
    if let Some((interface, _)) = here.iter().find(|(_, subnet)| *subnet == wished) {
        return Place::Inside(interface.clone());
    }
    if here.is_empty() {
        return Place::Unknown;
    }
    let named: Vec<String> =
        here.iter().map(|(interface, subnet)| format!("{interface} is in {subnet}")).collect();
    let words = format!("{}, the lab wants {wished}", named.join(", "));
    if here.iter().any(|(_, subnet)| overlap(subnet, &wished)) {
        Place::Beside(words)
    } else {
        Place::Elsewhere(words)
    }
}

/// Says whether the place is worth a look: until the lab has been whole once. From then on `doctor` and `verify` tell of it, since
/// the lab was made where it belongs.
pub fn is_open(facts: &Facts) -> bool {
    facts.kubeconfig.is_none()
}

/// What a Mac in another network means for a lab that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Somebody chose this LAN, or machines of the lab stand already.
    Warn(String),
    /// Nobody chose it, and nothing is there that it could be right for.
    Refuse(String),
}

/// Judges it. `guessed` says that the LAN is nobody's choice: there is no lab file, and Fusion is a real one.
pub fn verdict(lab: &Lab, facts: &Facts, guessed: bool) -> Verdict {
    let Place::Elsewhere(words) = place(lab, &facts.host.lan) else { return Verdict::Fine };
    let stands = facts.vms.values().any(|vm| vm.state == VmState::Ours);
    match (is_open(facts), guessed && !stands) {
        (false, _) => Verdict::Fine,
        (true, false) => Verdict::Warn(words),
        (true, true) => Verdict::Refuse(words),
    }
}

/// Warns of another network. `span` is where the lab file says the LAN; none if it does not.
pub fn warning(lab: &Lab, facts: &Facts, span: Option<Span>) -> Option<Problem> {
    let Verdict::Warn(words) = verdict(lab, facts, false) else { return None };
    let here = facts.host.lan.first().map_or(lab.lan.subnet, |(_, subnet)| *subnet);
    let message = format!(
        "this Mac is not in the lab's home network: {words}; gateways and VIP would answer to nobody"
    );
    let help = format!(
        "`fusionlab init` finds this network and writes a lab file for it; or go to the lab's, or write `lan: {{subnet: {here}}}` with \
         addresses in it"
    );
    Some(rules::OTHER_LAN.problem(span, message).help(help))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::World;
    use super::*;

    fn in_networks(mut world: World, here: &[&str]) -> World {
        let named = here.iter().map(|subnet| ("en0".to_owned(), subnet.parse().unwrap()));
        world.facts.host.lan = named.collect();
        world
    }

    fn judged(world: &World, guessed: bool) -> Verdict {
        verdict(&world.lab, &world.facts, guessed)
    }

    #[test]
    fn a_network_that_has_addresses_of_the_lan_is_no_other_one() {
        let found = |here: &[&str]| {
            let world = in_networks(World::empty(), here);
            place(&world.lab, &world.facts.host.lan)
        };
        assert_eq!(found(&["10.1.0.0/16", "192.168.68.0/24"]), Place::Inside("en0".to_owned()));
        assert_eq!(found(&[]), Place::Unknown);
        for larger_or_smaller in ["192.168.68.0/22", "192.168.68.128/25"] {
            assert!(matches!(found(&[larger_or_smaller]), Place::Beside(_)), "{larger_or_smaller}");
        }
        let words = "en0 is in 192.168.1.0/24, the lab wants 192.168.68.0/24";
        assert_eq!(found(&["192.168.1.0/24"]), Place::Elsewhere(words.to_owned()));
    }

    #[test]
    fn a_lan_that_nobody_chose_is_refused_and_a_chosen_one_warned_of() {
        let elsewhere = in_networks(World::empty(), &["192.168.1.0/24"]);
        assert!(
            matches!(judged(&elsewhere, true), Verdict::Refuse(words) if words.contains("192.168.1.0/24"))
        );
        assert!(matches!(judged(&elsewhere, false), Verdict::Warn(_)));
        for fine in [&[][..], &["192.168.68.0/24"], &["192.168.68.0/22"], &["10.0.0.0/8", "192.168.68.0/24"]]
        {
            for guessed in [true, false] {
                assert_eq!(judged(&in_networks(World::empty(), fine), guessed), Verdict::Fine, "{fine:?}");
            }
        }
    }

    #[test]
    fn a_lab_that_stands_is_not_nagged_about() {
        let mut world = in_networks(World::complete(), &["192.168.1.0/24"]);
        assert_eq!(judged(&world, true), Verdict::Fine, "it was whole once");
        world.facts.kubeconfig = None;
        assert!(matches!(judged(&world, true), Verdict::Warn(_)), "it is half made, and not ours to refuse");
    }

    #[test]
    fn the_warning_says_what_where_why_and_what_to_do() {
        let world = in_networks(World::empty(), &["192.168.1.0/24"]);
        let span = Span { line: 3, column: 9, length: 15 };
        let warned = warning(&world.lab, &world.facts, Some(span)).unwrap();
        assert_eq!((warned.rule, warned.span), ("other-lan", Some(span)));
        assert!(warned.message.contains("answer to nobody"), "{}", warned.message);
        assert!(warned.help.unwrap().contains("lan: {subnet: 192.168.1.0/24}"));
        let home = in_networks(World::empty(), &["192.168.68.0/24"]);
        assert_eq!(warning(&home.lab, &home.facts, None), None);
    }
}
