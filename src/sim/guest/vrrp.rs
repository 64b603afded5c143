//! keepalived at work: who of the gateways holds the virtual addresses, as they hear each other.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::keepalived::{Instance, Keepalived, Script, Vip};
use super::{Model, lock, network, pace};

/// A VRRP priority of 0 says "I resign"; here also "I am in FAULT".
const FAULT: u8 = 0;
/// Adverts missed before the master counts as gone.
const MISSED: u32 = 3;

/// A running keepalived.
pub struct Vrrp {
    config: Keepalived,
    /// One for each instance of the configuration.
    states: Vec<State>,
    pub stop: CancellationToken,
}

#[derive(Default)]
struct State {
    master: AtomicBool,
    /// The priority after weights; [`FAULT`] if it cannot serve.
    priority: AtomicU8,
    /// Gave the addresses back on its own will.
    resigned: AtomicBool,
    /// Whom it last heard as master.
    heard: Mutex<Option<Peer>>,
}

/// A peer's instance that can be heard.
#[derive(Clone)]
struct Peer {
    vrrp: Arc<Vrrp>,
    index: usize,
    source: Ipv4Addr,
}

impl Peer {
    fn state(&self) -> &State {
        &self.vrrp.states[self.index]
    }

    fn is_master(&self) -> bool {
        self.state().master.load(Ordering::SeqCst)
    }

    /// Says whether it resigned, so that only the skew is waited for.
    fn resigned(&self) -> bool {
        self.state().resigned.load(Ordering::SeqCst)
    }
}

impl Vrrp {
    /// Starts with a configuration; a reload keeps what the former one held.
    pub fn start(model: &Arc<Model>, config: Keepalived, former: Option<&Vrrp>) -> Arc<Self> {
        let kept = |instance: &Instance| {
            let state = State::default();
            let held = former.is_some_and(|former| former.is_master_of(instance.router_id));
            state.master.store(held, Ordering::SeqCst);
            state.priority.store(if held { instance.priority } else { FAULT }, Ordering::SeqCst);
            state
        };
        let vrrp = Arc::new(Self {
            states: config.instances.iter().map(kept).collect(),
            config,
            stop: CancellationToken::new(),
        });
        let (model_held, run) = (Arc::clone(model), Arc::clone(&vrrp));
        model.spawn(async move {
            run.stop.clone().run_until_cancelled(run.run(&model_held)).await.unwrap_or_default()
        });
        vrrp
    }

    /// Stops in order: the addresses go and the peers are told.
    pub fn resign(&self) {
        self.stop.cancel();
        for state in &self.states {
            state.resigned.store(state.master.swap(false, Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    /// Ends as a process that is killed does: nobody is told, and what it held stays on the interfaces
    /// (facts/test-bench.md §6 point 6). Returns that.
    pub fn die(&self) -> Vec<Vip> {
        self.stop.cancel();
        self.holds()
    }

    /// Returns the addresses that this gateway holds now.
    pub fn holds(&self) -> Vec<Vip> {
        let masters = self
            .config
            .instances
            .iter()
            .zip(&self.states)
            .filter(|(_, state)| state.master.load(Ordering::SeqCst));
        masters.flat_map(|(instance, _)| instance.addresses.clone()).collect()
    }

    fn is_master_of(&self, router_id: u8) -> bool {
        let of = |(instance, state): (&Instance, &State)| {
            instance.router_id == router_id && state.master.load(Ordering::SeqCst)
        };
        self.config.instances.iter().zip(&self.states).any(of)
    }

    async fn run(self: &Arc<Self>, model: &Arc<Model>) {
        let mut outcomes: Vec<Option<bool>> = vec![None; self.config.scripts.len()];
        loop {
            let news = model.commons.news();
            self.look(model, &mut outcomes).await;
            for index in 0..self.states.len() {
                self.elect(model, index).await;
            }
            tokio::select! {
                () = news => {}
                () = model.look_again(pace::VRRP_LOOK) => {}
            }
            tokio::task::yield_now().await;
        }
    }

    /// Runs the checks and sets each instance's priority from them.
    async fn look(&self, model: &Model, outcomes: &mut [Option<bool>]) {
        for (script, known) in self.config.scripts.iter().zip(outcomes.iter_mut()) {
            let seen = run_check(model, script).await;
            if let Some(before) = known.filter(|before| *before != seen) {
                let needed = if seen { script.rise } else { script.fall };
                model.pass(script.interval * needed.saturating_sub(1)).await;
                let still = run_check(model, script).await;
                *known = Some(if still == seen { seen } else { before });
                let word = if seen { "succeeded" } else { "failed" };
                model.log("keepalived", format!("Script `{}` now {word}", script.name));
            } else {
                *known = Some(seen);
            }
        }
        for (instance, state) in self.config.instances.iter().zip(&self.states) {
            let priority = self.priority(model, instance, outcomes);
            state.priority.store(priority, Ordering::SeqCst);
        }
    }

    fn priority(&self, model: &Model, instance: &Instance, outcomes: &[Option<bool>]) -> u8 {
        let up = |name: &String| {
            model.live(|live| live.up().any(|interface| interface.name == *name))
                && model.around.carrier(name)
        };
        if !up(&instance.interface) || !instance.interfaces.iter().all(up) {
            return FAULT;
        }
        let scripts = self.config.scripts.iter().zip(outcomes);
        let scripts = scripts.filter(|(script, _)| instance.scripts.contains(&script.name));
        let scripts = scripts.map(|(script, outcome)| (*outcome == Some(true), script.weight));
        let runs = |name: &str| model.live(|live| live.unit_active(name));
        let processes =
            self.config.processes.iter().filter(|process| instance.processes.contains(&process.name));
        let processes = processes.map(|process| (runs(&process.process), process.weight));
        let mut priority = i32::from(instance.priority);
        for (good, weight) in scripts.chain(processes) {
            match (good, weight) {
                (false, 0) => return FAULT,
                (false, weight) if weight < 0 => priority += weight,
                (true, weight) if weight > 0 => priority += weight,
                _ => {}
            }
        }
        u8::try_from(priority.clamp(1, 254)).unwrap_or(1)
    }

    /// Takes the addresses, keeps them or gives them up, by what is heard now.
    async fn elect(self: &Arc<Self>, model: &Arc<Model>, index: usize) {
        let (instance, state) = (&self.config.instances[index], &self.states[index]);
        let priority = state.priority.load(Ordering::SeqCst);
        if priority == FAULT {
            return self.enter_fault(model, instance, state);
        }
        let master = self.heard(model, instance).into_iter().find(Peer::is_master);
        if state.master.load(Ordering::SeqCst) {
            return self.defend(model, instance, state, master);
        }
        let wait = match &master {
            Some(peer) if instance.nopreempt || peer.state().priority.load(Ordering::SeqCst) >= priority => {
                *lock(&state.heard) = master;
                return;
            }
            Some(_) => down_time(instance, priority),
            None if lock(&state.heard).as_ref().is_some_and(Peer::resigned) => skew(instance, priority),
            None => down_time(instance, priority),
        };
        model.pass(wait).await;
        self.take(model, instance, state);
    }

    fn enter_fault(&self, model: &Model, instance: &Instance, state: &State) {
        if state.master.swap(false, Ordering::SeqCst) {
            state.resigned.store(true, Ordering::SeqCst);
            model.log("keepalived", format!("({}) Entering FAULT STATE", instance.name));
            model.commons.announce();
        }
    }

    /// A master that hears a better one steps down; equal priorities compare addresses.
    fn defend(&self, model: &Model, instance: &Instance, state: &State, other: Option<Peer>) {
        let Some(other) = other else { return };
        let mine = (state.priority.load(Ordering::SeqCst), instance.source);
        let theirs = (other.state().priority.load(Ordering::SeqCst), Some(other.source));
        let _election = lock(&model.commons.election);
        if theirs > mine && other.is_master() && state.master.swap(false, Ordering::SeqCst) {
            model.log(
                "keepalived",
                format!(
                    "({}) Master received advert with higher priority, entering BACKUP STATE",
                    instance.name
                ),
            );
            model.commons.announce();
        }
    }

    fn take(self: &Arc<Self>, model: &Model, instance: &Instance, state: &State) {
        let _election = lock(&model.commons.election);
        let priority = state.priority.load(Ordering::SeqCst);
        if self.stop.is_cancelled() || priority == FAULT {
            return;
        }
        for peer in self.heard(model, instance).into_iter().filter(Peer::is_master) {
            if instance.nopreempt || peer.state().priority.load(Ordering::SeqCst) >= priority {
                return;
            }
            peer.state().master.store(false, Ordering::SeqCst);
        }
        state.resigned.store(false, Ordering::SeqCst);
        *lock(&state.heard) = None;
        state.master.store(true, Ordering::SeqCst);
        model.log("keepalived", format!("({}) Entering MASTER STATE", instance.name));
        model.commons.announce();
    }

    /// Returns the peers whose adverts arrive: they run, know us, and we know them.
    fn heard(&self, model: &Model, instance: &Instance) -> Vec<Peer> {
        let Some(source) = instance.source else { return Vec::new() };
        let Some(segment) = model.live(|live| {
            live.up().find(|interface| interface.name == instance.interface).map(|one| one.segment.clone())
        }) else {
            return Vec::new();
        };
        let mut heard = Vec::new();
        for machine in model.hears(&segment) {
            let Some(vrrp) = machine.live(|live| live.vrrp.clone()).filter(|vrrp| !vrrp.stop.is_cancelled())
            else {
                continue;
            };
            for (index, theirs) in vrrp.config.instances.iter().enumerate() {
                let Some(address) = theirs.source else { continue };
                let mutual = instance.peers.contains(&address) && theirs.peers.contains(&source);
                if mutual && theirs.router_id == instance.router_id && network::is_own(&machine, address) {
                    heard.push(Peer { vrrp: Arc::clone(&vrrp), index, source: address });
                }
            }
        }
        heard
    }
}

fn skew(instance: &Instance, priority: u8) -> Duration {
    instance.advert * (256 - u32::from(priority)) / 256
}

/// How long a silent master is waited for (facts/test-bench.md §6).
fn down_time(instance: &Instance, priority: u8) -> Duration {
    instance.advert * MISSED + skew(instance, priority)
}

/// Runs a check script as far as the model can read it: a connection to a loopback port that must be served, or
/// witnesses of which one must answer a ping. Any other script fails and says so in the journal.
async fn run_check(model: &Model, script: &Script) -> bool {
    let path = script.command.split_whitespace().next().unwrap_or_default();
    let Some(text) = model.disk(|disk| disk.text(path)) else { return false };
    let code = || text.lines().filter(|line| !line.trim_start().starts_with('#'));
    if let Some(port) = code().find_map(loopback_port) {
        let nginx = model.live(|live| live.unit_active("nginx").then(|| live.nginx.clone()).flatten());
        let to = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        return nginx.is_some_and(|nginx| nginx.listener(to).is_some());
    }
    if code().any(|line| line.contains("ping ")) {
        let given = script.command.split_whitespace().skip(1);
        let interface = given.clone().find(|word| model.hardware.cards.iter().any(|card| card.name == *word));
        let all: Vec<&str> = code()
            .flat_map(|line| line.split(|char: char| !char.is_ascii_digit() && char != '.'))
            .chain(given)
            .collect();
        for witness in all.into_iter().filter_map(|word| word.parse::<Ipv4Addr>().ok()) {
            if network::ping(model, witness, interface).await {
                return true;
            }
        }
        return false;
    }
    model.log("keepalived", format!("the model cannot interpret {path}: the check fails"));
    false
}

fn loopback_port(line: &str) -> Option<u16> {
    const PLACE: &str = "/dev/tcp/127.0.0.1/";
    let rest = &line[line.find(PLACE)? + PLACE.len()..];
    rest[..rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}
