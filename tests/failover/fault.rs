//! What can happen to the gateway that holds the VIPs: how it is brought about, and how it is put right.

use std::time::Duration;

use fusionlab::sim::faults::{LINK_DOWN, LINK_SILENT};

use super::pair::{GATEWAYS, INTERNAL_CARD, LAN_CARD, Pair};
use super::watch::Watch;

/// One thing that happens to a gateway.
pub struct Fault {
    pub name: &'static str,
    /// What `facts/test-bench.md` §6, column D, had: seconds, and requests lost to the LAN VIP's API.
    pub column_d: &'static str,
    /// How long the VIPs may be away, on a computer that is busy with other things as well.
    pub bound: Duration,
    strike: fn(&Pair, &str),
    heal: fn(&Pair, &str),
    /// The gateway's time stands still meanwhile.
    still: bool,
}

impl Fault {
    pub fn strike(&self, pair: &Pair, watch: &Watch, gateway: usize) {
        if self.still {
            watch.stands_still(gateway, true);
        }
        (self.strike)(pair, GATEWAYS[gateway]);
    }

    pub fn heal(&self, pair: &Pair, watch: &Watch, gateway: usize) {
        (self.heal)(pair, GATEWAYS[gateway]);
        watch.stands_still(gateway, false);
    }
}

const fn fault(
    (name, column_d, bound): (&'static str, &'static str, u64),
    strike: fn(&Pair, &str),
    heal: fn(&Pair, &str),
) -> Fault {
    Fault { name, column_d, bound: Duration::from_secs(bound), strike, heal, still: false }
}

/// All of them, in the order of the facts' table.
pub const ALL: &[Fault] = &[
    fault(
        ("nginx killed", "0.42 s / 20", 3),
        |pair, gateway| pair.systemctl(gateway, &["kill", "--signal=KILL", "nginx"]),
        |_, _| {},
    ),
    fault(
        ("nginx stopped", "", 5),
        |pair, gateway| pair.systemctl(gateway, &["stop", "nginx"]),
        |pair, gateway| pair.systemctl(gateway, &["start", "nginx"]),
    ),
    fault(
        ("Keepalived stopped", "0.04 s / 1", 3),
        |pair, gateway| pair.systemctl(gateway, &["stop", "keepalived"]),
        |pair, gateway| pair.systemctl(gateway, &["start", "keepalived"]),
    ),
    fault(
        ("Keepalived killed", "0.04 s / 1", 4),
        |pair, gateway| pair.systemctl(gateway, &["kill", "--signal=KILL", "keepalived"]),
        |_, _| {},
    ),
    fault(("LAN link down", "0.04 s / 1", 3), |pair, gateway| cut(pair, gateway, LINK_DOWN, LAN), mend),
    fault(
        ("internal link down", "0.50 s / 24", 4),
        |pair, gateway| cut(pair, gateway, LINK_DOWN, INTERNAL),
        mend,
    ),
    fault(("LAN silently cut", "2.4 s / 119", 6), |pair, gateway| cut(pair, gateway, LINK_SILENT, LAN), mend),
    fault(
        ("internal silently cut", "0.64 s / 31", 4),
        |pair, gateway| cut(pair, gateway, LINK_SILENT, INTERNAL),
        mend,
    ),
    fault(
        ("both silently cut", "0.56 s / 27", 4),
        |pair, gateway| cut(pair, gateway, LINK_SILENT, &[LAN_CARD, INTERNAL_CARD]),
        mend,
    ),
    Fault {
        still: true,
        ..fault(
            ("gateway frozen", "0.50 s / 24", 4),
            |pair, gateway| pair.vmrun("pause", gateway, &[]),
            |pair, gateway| pair.vmrun("unpause", gateway, &[]),
        )
    },
    fault(
        ("power lost", "", 4),
        |pair, gateway| pair.vmrun("stop", gateway, &["hard"]),
        |pair, gateway| pair.vmrun("start", gateway, &["nogui"]),
    ),
];

const LAN: &[&str] = &[LAN_CARD];
const INTERNAL: &[&str] = &[INTERNAL_CARD];

fn cut(pair: &Pair, gateway: &str, how: &str, cards: &[&str]) {
    let links: Vec<_> = cards.iter().map(|card| (how, format!("{gateway}/{card}"))).collect();
    pair.cut(&links);
}

fn mend(pair: &Pair, _: &str) {
    pair.mend();
}
