//! What only so many steps may do at once: clones of one parent, power-ons by processors and free memory, SSH logins.
//!
//! Whoever does not get in is told why; it asks again when something ends, and for memory from time to time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::event::Held;
use crate::host::clock::{self, Instant};
use crate::plan::step::{Action, Gate, Step};

/// SSH logins at once: OpenSSH starts to refuse at ten (facts/crates.md §3).
pub const GUESTS_AT_ONCE: usize = 8;
/// Clones of one parent at once: a clone writes the parent's records (facts/vmrun-vmrest.md §1.5).
const CLONES_AT_ONCE: usize = 1;
/// Power-ons at once on the smallest machine.
const LEAST_POWER_ONS: usize = 2;
const MIB_PER_GIB: f64 = 1024.0;

/// The computer, as far as steps share it.
pub struct Host {
    pub cpus: u32,
    /// Returns the memory that is free now, in MiB; none if the computer does not say, or if nothing takes any.
    pub free_mib: Box<dyn Fn() -> Option<u64>>,
    /// What each machine takes, in MiB.
    pub machines: BTreeMap<String, u32>,
    /// For how long a machine is kept off while it does not fit.
    pub memory_limit: Duration,
}

/// All gates of one run.
pub struct Gates {
    host: Host,
    inside: BTreeMap<Gate, usize>,
    /// Machines that were let power on and do not answer yet, with their MiB: what they take does not show yet.
    promised: BTreeMap<String, u64>,
    /// Since when each machine is kept off for want of memory.
    kept_off: BTreeMap<String, Instant>,
}

/// What becomes of a step at its gate.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    In,
    /// Memory is short, and was for as long as is waited for it; what is to be said of it.
    InAllTheSame(String),
    /// Not now, and why.
    Held(Held),
}

impl Gates {
    pub fn new(host: Host) -> Self {
        Self { host, inside: BTreeMap::new(), promised: BTreeMap::new(), kept_off: BTreeMap::new() }
    }

    /// Lets a step in, if there is room for it.
    pub fn enter(&mut self, step: &Step) -> Entry {
        let Some(gate) = &step.gate else { return Entry::In };
        let inside = self.inside.get(gate).copied().unwrap_or_default();
        if inside >= self.room(gate) {
            return Entry::Held(self.full(gate, &step.action));
        }
        let entry = match &step.action {
            Action::StartVm { node } => self.memory(node),
            _ => Entry::In,
        };
        if !matches!(entry, Entry::Held(_)) {
            *self.inside.entry(gate.clone()).or_default() += 1;
        }
        entry
    }

    /// Takes a step out that has ended. `boots` says whether a machine that it started is still to be waited for.
    pub fn leave(&mut self, step: &Step, boots: bool) {
        if let Some(inside) = step.gate.as_ref().and_then(|gate| self.inside.get_mut(gate)) {
            *inside = inside.saturating_sub(1);
        }
        match &step.action {
            Action::StartVm { node } if !boots => drop(self.promised.remove(node)),
            Action::AwaitGuest { node } => drop(self.promised.remove(node)),
            _ => {}
        }
    }

    /// Says whether a machine is kept off for want of memory, so that the computer is to be looked at again.
    pub fn waits_for_memory(&self) -> bool {
        !self.kept_off.is_empty()
    }

    /// Returns how many steps a gate lets in at a time.
    pub fn room(&self, gate: &Gate) -> usize {
        match gate {
            Gate::Parent => CLONES_AT_ONCE,
            Gate::PowerOn => usize::try_from(self.host.cpus).unwrap_or_default().max(LEAST_POWER_ONS),
            Gate::Guest => GUESTS_AT_ONCE,
        }
    }

    fn full(&self, gate: &Gate, action: &Action) -> Held {
        let room = self.room(gate);
        match gate {
            Gate::Parent if matches!(action, Action::DeleteVm { .. }) => {
                Held::of("the template", "one machine lets go of it at a time")
            }
            Gate::Parent => Held::of("the template", "one clone of it at a time"),
            Gate::PowerOn => Held::of("a CPU", format!("{room} machines power on at a time")),
            Gate::Guest => Held::of("a login", format!("{room} SSH sessions at a time")),
        }
    }

    fn memory(&mut self, node: &str) -> Entry {
        let needed = u64::from(self.host.machines.get(node).copied().unwrap_or_default());
        let promised: u64 = self.promised.values().sum();
        let free = (self.host.free_mib)().map(|free| free.saturating_sub(promised));
        let short = free.filter(|free| *free < needed);
        let waited =
            short.map(|_| self.kept_off.entry(node.to_owned()).or_insert_with(clock::monotonic).elapsed());
        let entry = match (short, waited) {
            // Without the figure of the moment: it is said once, and not on each look.
            (Some(_), Some(waited)) if waited < self.host.memory_limit => {
                Entry::Held(Held::of("memory", format!("it takes {}", gib(needed))))
            }
            (Some(free), _) => Entry::InAllTheSame(format!(
                "{node} takes {} and {} are free; it is started all the same, and may be slow: close other programs",
                gib(needed),
                gib(free)
            )),
            (None, _) => Entry::In,
        };
        if !matches!(entry, Entry::Held(_)) {
            self.kept_off.remove(node);
            self.promised.insert(node.to_owned(), needed);
        }
        entry
    }
}

fn gib(mib: u64) -> String {
    format!("{:.1} GiB", mib as f64 / MIB_PER_GIB)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::engine::fixture::{clone, start};

    const LIMIT: Duration = Duration::from_secs(60);

    fn gates(cpus: u32, free: Option<&Rc<Cell<u64>>>) -> Gates {
        let free = free.cloned();
        let machines = ["a", "b", "c"].map(|name| (name.to_owned(), 4096)).into();
        let free_mib = Box::new(move || free.as_ref().map(|free| free.get()));
        Gates::new(Host { cpus, free_mib, machines, memory_limit: LIMIT })
    }

    fn power_on(node: &str) -> Step {
        Step { gate: Some(Gate::PowerOn), ..start(node, &[]) }
    }

    fn held(entry: Entry) -> String {
        let Entry::Held(because) = entry else { panic!("{entry:?}") };
        because.to_string()
    }

    #[test]
    fn one_clone_of_a_parent_at_a_time_and_the_next_when_it_is_done() {
        let mut gates = gates(8, None);
        let (one, two) = (clone("a", &[]), clone("b", &[]));
        assert_eq!(gates.enter(&one), Entry::In);
        assert_eq!(held(gates.enter(&two)), "waits for the template: one clone of it at a time");
        gates.leave(&one, false);
        assert_eq!(gates.enter(&two), Entry::In);
        assert_eq!(gates.enter(&start("c", &[])), Entry::In, "what has no gate passes none");
    }

    #[test]
    fn as_many_machines_power_on_at_once_as_there_are_processors_and_two_on_the_smallest() {
        let mut gates = gates(1, None);
        assert_eq!(gates.enter(&power_on("a")), Entry::In);
        assert_eq!(gates.enter(&power_on("b")), Entry::In);
        assert!(held(gates.enter(&power_on("c"))).contains("2 machines power on at a time"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_powers_on_only_while_its_memory_is_free_and_those_that_boot_have_theirs() {
        let free = Rc::new(Cell::new(9000));
        let mut gates = gates(8, Some(&free));
        assert_eq!(gates.enter(&power_on("a")), Entry::In);
        assert_eq!(gates.enter(&power_on("b")), Entry::In);
        assert_eq!(held(gates.enter(&power_on("c"))), "waits for memory: it takes 4.0 GiB");
        assert!(gates.waits_for_memory());
        // The start is over, and its guest still boots: what it takes does not show yet.
        gates.leave(&power_on("a"), true);
        assert!(matches!(gates.enter(&power_on("c")), Entry::Held(_)));
        let answers = Step { action: Action::AwaitGuest { node: "a".to_owned() }, ..start("a", &[]) };
        gates.leave(&answers, false);
        assert_eq!(gates.enter(&power_on("c")), Entry::In);
        assert!(!gates.waits_for_memory());
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_never_fits_is_started_after_the_limit_and_that_is_said() {
        let free = Rc::new(Cell::new(1024));
        let mut gates = gates(8, Some(&free));
        assert!(matches!(gates.enter(&power_on("a")), Entry::Held(_)));
        clock::pause(LIMIT).await;
        let entry = gates.enter(&power_on("a"));
        let Entry::InAllTheSame(said) = entry else { panic!("{entry:?}") };
        assert!(said.contains("a takes 4.0 GiB and 1.0 GiB are free"), "{said}");
        assert!(!gates.waits_for_memory());
    }

    #[test]
    fn a_computer_that_does_not_say_keeps_nobody_off() {
        let mut gates = gates(8, None);
        for node in ["a", "b", "c"] {
            assert_eq!(gates.enter(&power_on(node)), Entry::In);
        }
    }
}
