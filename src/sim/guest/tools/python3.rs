//! python3: the model's own reading of the one program that the host gives it, the LAN probe.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::formats::mac::Mac;
use crate::sim::guest::network;
use crate::sim::guest::shell::Call;
use crate::sim::seam::Segment;

/// What the probe's own description begins with.
const PROBE: &str = "usage: fusionlab-lan-probe SECONDS ADDRESS[,ADDRESS...] ROUTER_ID LAN_INTERFACE INTERNAL_INTERFACE OWN_MAC...";

/// The probe's arguments.
struct Asked {
    window: Duration,
    addresses: BTreeSet<Ipv4Addr>,
    router_id: u8,
    lan: String,
    internal: String,
    own: BTreeSet<Mac>,
}

pub async fn run(call: &Call<'_>) -> i32 {
    let program = String::from_utf8_lossy(&call.input);
    let is_probe = program.lines().take(2).any(|line| line.contains(PROBE));
    let words = call.words();
    let (["-I", "-", arguments @ ..], true) = (&words[..], is_probe) else {
        return call.fail(1, "python3: the model guest knows no Python but the LAN probe").await;
    };
    let Some(asked) = read(arguments) else { return call.fail(1, PROBE).await };
    if !call.root {
        return call.fail(1, "PermissionError: [Errno 1] Operation not permitted").await;
    }
    let cards = &call.model.hardware.cards;
    for interface in [&asked.lan, &asked.internal] {
        if !cards.iter().any(|card| card.name == *interface) {
            return call.fail(1, "OSError: [Errno 19] No such device").await;
        }
    }
    let is_on_lan = cards.iter().any(|card| card.name == asked.lan && card.segment == Segment::Lan);
    let mut heard = if is_on_lan { of_strangers(call, &asked) } else { BTreeSet::new() };
    heard.extend(of_neighbours(call, &asked));
    for line in heard {
        call.say(line).await;
    }
    call.model.pass(asked.window).await;
    call.say(format!("done={}", asked.window.as_secs())).await;
    0
}

fn read(arguments: &[&str]) -> Option<Asked> {
    let [window, addresses, router_id, lan, internal, own @ ..] = arguments else { return None };
    Some(Asked {
        window: Duration::from_secs(window.parse().ok()?),
        addresses: addresses.split(',').map(|address| address.parse().ok()).collect::<Option<_>>()?,
        router_id: router_id.parse().ok()?,
        lan: (*lan).to_owned(),
        internal: (*internal).to_owned(),
        own: own.iter().map(|mac| mac.parse().ok()).collect::<Option<_>>()?,
    })
}

/// Returns what the home's own machines say.
fn of_strangers(call: &Call<'_>, asked: &Asked) -> BTreeSet<String> {
    let mut heard = BTreeSet::new();
    for stranger in call.model.around.strangers().into_iter().filter(|one| !asked.own.contains(&one.mac)) {
        if asked.addresses.contains(&stranger.address) {
            heard.insert(format!("address={} {}", stranger.address, stranger.mac));
        }
        if stranger.router_id == Some(asked.router_id) {
            let (address, mac) = (stranger.address, stranger.mac);
            heard.insert(format!("router={} {} {address} {mac}", asked.lan, asked.router_id));
        }
    }
    heard
}

/// Returns what other machines of the world say: whoever holds one of the addresses on the LAN.
fn of_neighbours(call: &Call<'_>, asked: &Asked) -> BTreeSet<String> {
    let mut heard = BTreeSet::new();
    for machine in call.model.hears(&Segment::Lan) {
        let held = network::addresses(&machine);
        let is_asked =
            |held: &&network::Held| asked.addresses.contains(&held.address) && held.segment == Segment::Lan;
        for held in held.iter().filter(is_asked) {
            let card = machine.hardware.cards.iter().find(|card| card.name == held.interface);
            if let Some(card) = card.filter(|card| !asked.own.contains(&card.mac)) {
                heard.insert(format!("address={} {}", held.address, card.mac));
            }
        }
    }
    heard
}
