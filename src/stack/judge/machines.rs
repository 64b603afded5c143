//! The machines' facts: addresses, holders of the VIPs, clocks.

use std::net::Ipv4Addr;

use super::Finding;
use crate::stack::certificates;
use crate::stack::checks::Expect;
use crate::stack::facts::GuestFacts;
use crate::stack::validity::Validity;

/// One machine's facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub node: String,
    pub facts: GuestFacts,
    /// The guest's clock minus the host's at the middle of the round trip, in milliseconds.
    pub skew_ms: i64,
}

/// Compares what the machines told. Who is silent fails only what wants an answer of them.
pub fn judge(expect: &Expect, machines: &[Observed], silent: &[(String, String)]) -> Finding {
    let find = |name: &String| machines.iter().find(|machine| machine.node == *name);
    match expect {
        Expect::Answering(nodes) => {
            let why = |name: &String| {
                let reason = silent.iter().find(|(node, _)| node == name).map(|(_, why)| why.as_str());
                format!("{name}: {}", reason.unwrap_or("not asked"))
            };
            let wrong: Vec<_> = nodes.iter().filter(|name| find(name).is_none()).map(why).collect();
            counted(nodes.len(), &wrong)
        }
        Expect::Addresses(wanted) => {
            let asked = wanted.iter().filter_map(|(name, addresses)| Some((find(name)?, addresses)));
            let lacking = |(machine, addresses): (&Observed, &Vec<Ipv4Addr>)| {
                let gone = addresses.iter().filter(|address| !machine.facts.holds(**address));
                let gone: Vec<_> = gone.map(Ipv4Addr::to_string).collect();
                (!gone.is_empty()).then(|| format!("{} lacks {}", machine.node, gone.join(", ")))
            };
            let wrong: Vec<_> = asked.clone().filter_map(lacking).collect();
            counted(asked.count(), &wrong)
        }
        Expect::NoneWithin { nodes, subnet } => {
            let inside: Vec<_> = nodes
                .iter()
                .filter_map(find)
                .filter(|machine| machine.facts.addresses.iter().any(|(_, address)| subnet.contains(address)))
                .map(|machine| machine.node.clone())
                .collect();
            if inside.is_empty() {
                Ok(format!("none in {subnet}"))
            } else {
                Err(format!("{} in {subnet}", inside.join(", ")))
            }
        }
        Expect::OneHolder { nodes, addresses } => holder(nodes.iter().filter_map(find).collect(), addresses),
        Expect::ClocksWithin(limit_ms) => clocks(*limit_ms, machines),
        Expect::Lasting => super::lasting(machines.iter().flat_map(ends)),
        _ => Err("a command's answer is needed".to_owned()),
    }
}

/// Returns what a machine told of its certificates, and what time it was on this machine then.
fn ends(machine: &Observed) -> impl Iterator<Item = (String, Validity, u64)> {
    let now = machine.facts.clock_ms.saturating_add_signed(machine.skew_ms.saturating_neg()) / 1000;
    certificates::first(&machine.node, &machine.facts, now)
        .map(move |(whose, validity)| (whose, validity, now))
}

fn counted(all: usize, wrong: &[String]) -> Finding {
    match (all, wrong) {
        (0, []) => Err("no machine told anything".to_owned()),
        (all, []) => Ok(format!("{all} of {all}")),
        (_, wrong) => Err(wrong.join("; ")),
    }
}

fn holder(machines: Vec<&Observed>, addresses: &[Ipv4Addr]) -> Finding {
    let held = |machine: &&&Observed| addresses.iter().any(|address| machine.facts.holds(*address));
    let holders: Vec<_> = machines.iter().filter(held).collect();
    match holders.as_slice() {
        [] => Err("no gateway holds them".to_owned()),
        [one] => match addresses.iter().find(|address| !one.facts.holds(**address)) {
            None => Ok(one.node.clone()),
            Some(lacking) => Err(format!("{} lacks {lacking}", one.node)),
        },
        several => {
            let names: Vec<_> = several.iter().map(|machine| machine.node.as_str()).collect();
            Err(format!("{} hold them", names.join(" and ")))
        }
    }
}

fn clocks(limit_ms: u64, machines: &[Observed]) -> Finding {
    let earliest = machines.iter().min_by_key(|machine| machine.skew_ms);
    let latest = machines.iter().max_by_key(|machine| machine.skew_ms);
    let (Some(earliest), Some(latest)) = (earliest, latest) else {
        return Err("no machine told its time".to_owned());
    };
    let spread = latest.skew_ms.abs_diff(earliest.skew_ms);
    if spread <= limit_ms {
        Ok(format!("{spread} ms apart"))
    } else {
        Err(format!("{} is {spread} ms ahead of {}", latest.node, earliest.node))
    }
}
