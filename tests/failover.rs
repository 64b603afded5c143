//! Fail-over of the gateways, measured on real guests with the very files that the program generates.
//!
//! ```text
//! load ─ 50 new connections/s each ─▶ LAN VIP :6443, LAN VIP :80, internal VIP :6443     from the Mac's namespace
//! watch ─ every 10 ms ─▶ who holds the VIPs                                              from the gateways' own
//! fault ─▶ the gateway that holds them ─▶ put right ─▶ settled: the next
//! ```
//!
//! The short form, one run of each fault with bounds that a busy computer keeps, is a test that `.ci/run guests` switches
//! on. The long form, with figures, is `just bench-gateway`. Both take root and Linux.

mod fault;
mod load;
mod pair;
mod report;
mod watch;

use std::time::{Duration, Instant};

use fault::Fault;
use fusionlab::sim::faults::LINK_SILENT;
use load::Load;
use pair::{LAN_CARD, Pair};
use report::{Fared, Run};
use watch::{Holders, Watch};

/// Set by `.ci/run`: without it the test says that it is skipped.
const SWITCH: &str = "FUSIONLAB_TEST_GUESTS";
/// How long the load lasts before anything happens.
const LEAD: Duration = Duration::from_secs(1);
/// How long a fault lasts: longer than any take-over may take.
const LASTS: Duration = Duration::from_secs(8);
/// nginx's `fail_timeout`, for which it does not ask a server that failed it.
const FAIL_TIMEOUT: Duration = Duration::from_secs(5);
/// How many of those a worker is away.
const FAIL_TIMEOUTS: u32 = 6;

/// What the long form does, each by a variable of the environment.
struct Wishes {
    runs: usize,
    control_planes: u32,
    soak: Duration,
    /// Only faults whose name holds this.
    only: String,
}

impl Wishes {
    fn of_environment() -> Self {
        let number = |name: &str, default: u64| {
            let given = std::env::var(name).ok().filter(|text| !text.is_empty());
            given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
        };
        Self {
            runs: number("FUSIONLAB_BENCH_RUNS", 5) as usize,
            control_planes: number("FUSIONLAB_BENCH_CONTROL_PLANES", 3) as u32,
            soak: Duration::from_secs(number("FUSIONLAB_BENCH_SOAK", 600)),
            only: std::env::var("FUSIONLAB_BENCH_ONLY").unwrap_or_default(),
        }
    }

    /// Returns the faults that are meant.
    fn faults(&self) -> impl Iterator<Item = &'static Fault> {
        fault::ALL.iter().filter(|fault| fault.name.contains(&self.only))
    }
}

#[test]
fn the_vips_survive_what_happens_to_a_gateway() {
    if std::env::var_os(SWITCH).is_none() {
        println!("skipped: {SWITCH} is not set");
        return;
    }
    let pair = Pair::up(1);
    println!("{}", report::HEADING);
    for fault in fault::ALL {
        let run = strike(&pair, fault);
        println!("{}", report::row(fault.name, fault.column_d, std::slice::from_ref(&run)));
        let name = fault.name;
        assert!(run.struck.iter().all(|fared| fared.recovered), "{name}: not all answer again: {run:#?}");
        assert!(run.outage() < fault.bound, "{name}: away for {:?}: {run:#?}", run.outage());
        assert!(
            run.healed.iter().all(|fared| fared.recovered),
            "{name}: not all answer at the end: {run:#?}"
        );
    }
    let gone = worker_gone(&pair);
    let later: usize = gone[1..].iter().sum();
    assert!(later < gone.len(), "more than one request is lost each fail_timeout: {gone:?}");
    pair.down();
}

#[test]
#[ignore = "measures for many minutes: just bench-gateway"]
fn bench() {
    let wishes = Wishes::of_environment();
    let pair = Pair::up(wishes.control_planes);
    println!("{}", report::HEADING);
    for fault in wishes.faults() {
        let runs: Vec<Run> = (0..wishes.runs).map(|_| strike(&pair, fault)).collect();
        println!("{}", report::row(fault.name, fault.column_d, &runs));
    }
    if wishes.only.is_empty() {
        worker_gone(&pair);
    }
    if !wishes.soak.is_zero() {
        let moves = soak(&pair, wishes.soak, wishes.control_planes);
        assert_eq!(moves, 0, "the VIPs moved without a reason");
    }
    pair.down();
}

/// Lets a fault happen under load, puts it right, and waits until the gateways are a pair again.
fn strike(pair: &Pair, fault: &Fault) -> Run {
    let holder = pair.settle();
    let watch = Watch::start(pair);
    let load = Load::start(&pair.mac(), pair.targets());
    std::thread::sleep(LEAD);
    let struck = Instant::now();
    fault.strike(pair, &watch, holder);
    std::thread::sleep(LASTS.saturating_sub(struck.elapsed()));
    let healed = Instant::now();
    fault.heal(pair, &watch, holder);
    pair.settle();
    let ended = Instant::now();
    let (requests, looks) = (load.end(), watch.end());
    let fared = |from, to| requests.iter().map(|of| Fared::between(of, from, to)).collect();
    Run {
        struck: fared(struck, healed),
        healed: fared(healed, ended),
        while_struck: Holders::between(&looks, struck, healed),
        while_healed: Holders::between(&looks, healed, ended),
    }
}

/// Takes one of two workers away, which no longer answers anything, and returns how many requests failed in each of
/// nginx's fail_timeouts.
fn worker_gone(pair: &Pair) -> Vec<usize> {
    pair.settle();
    let load = Load::start(&pair.mac(), vec![pair.http()]);
    std::thread::sleep(LEAD);
    let began = Instant::now();
    pair.cut(&[(LINK_SILENT, format!("k8s-worker1/{LAN_CARD}"))]);
    std::thread::sleep(FAIL_TIMEOUT * FAIL_TIMEOUTS);
    let ended = Instant::now();
    pair.mend();
    let requests = load.end().swap_remove(0);
    let failed = report::failed_per(&requests, began, ended, FAIL_TIMEOUT);
    let fared = Fared::between(&requests, began, ended);
    println!(
        "one worker of two gone for {} s at {} requests/s: {} of {} failed; in each fail_timeout of {} s: {failed:?}",
        (ended - began).as_secs(),
        1000 / load::SPACING.as_millis(),
        fared.lost,
        fared.sent,
        FAIL_TIMEOUT.as_secs(),
    );
    failed
}

/// Holds the load on with one control plane down, and returns how often the VIPs moved.
fn soak(pair: &Pair, lasts: Duration, control_planes: u32) -> usize {
    let down = format!("k8s-master{control_planes}");
    pair.settle();
    pair.vmrun("stop", &down, &["hard"]);
    let watch = Watch::start(pair);
    let load = Load::start(&pair.mac(), pair.targets());
    let began = Instant::now();
    std::thread::sleep(lasts);
    let ended = Instant::now();
    let (requests, looks) = (load.end(), watch.end());
    let holders = Holders::between(&looks, began, ended);
    println!("{} s of load with {down} down: {} moves of the VIPs", lasts.as_secs(), holders.moves);
    for (target, requests) in pair.targets().iter().zip(&requests) {
        let Fared { gap, lost, sent, .. } = Fared::between(requests, began, ended);
        let gap = gap.as_secs_f64();
        println!("  {}: {lost} of {sent} lost, longest gap {gap:.2} s", target.name);
    }
    pair.vmrun("start", &down, &["nogui"]);
    holders.moves + usize::from(holders.two + holders.none > 0.0)
}
