//! A world in which every step lasts as long as it is supposed to and nothing else happens: the scheduler is measured in
//! it, in virtual time, by its tests and by `benches/schedule.rs`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::error::Result;
use crate::engine::event::Event;
use crate::engine::journal::State;
use crate::host::clock;
use crate::lab::catalogue::Arch;
use crate::lab::presets::Preset;
use crate::lab::resolve::resolve;
use crate::lab::{Lab, Node};
use crate::plan::desired::Desired;
use crate::plan::facts::{Facts, TemplateFacts};
use crate::plan::step::{Plan, Step, StepId};
use crate::plan::up;

use super::gates::{Gates, Host};
use super::order::{Costs, Order, one_at_a_time};
use super::{Perform, Terms, carry_out};

/// Processors of the Mac that is supposed: the smallest with Apple silicon.
const CPUS: u32 = 8;
/// Machines of the preset `small`.
const SMALL: usize = 3;

/// What a plan takes in the model.
#[derive(Debug)]
pub struct Forecast<'a> {
    /// From its first step to its last.
    pub total: Duration,
    /// The longest way through it and its length, which no schedule beats.
    pub longest: Duration,
    /// The longer of that and of what the slowest gate takes, which no schedule beats on this computer.
    pub least: Duration,
    pub way: Vec<&'a Step>,
    /// One step after the other.
    pub in_a_row: Duration,
    /// The most steps that ran at once.
    pub at_once: usize,
}

/// Returns what a plan takes. Time passes only where the runtime's clock is paused: nothing here waits for real.
///
/// # Errors
/// None: no step of the model fails.
pub async fn forecast<'a>(lab: &Lab, plan: &'a Plan) -> Result<Forecast<'a>> {
    let costs = Costs::default();
    let order = Order::of(plan, &costs);
    let (longest, way) = order.critical_path(plan);
    let gates = Gates::new(terms(lab).host);
    let least = longest.max(order.slowest_gate(plan, &costs, |gate| gates.room(gate)));
    let in_a_row = one_at_a_time(plan, &costs);
    let model = Rc::new(Model::default());
    let began = clock::monotonic();
    carry_out(model.clone(), plan, terms(lab)).await?;
    Ok(Forecast { total: began.elapsed(), longest, least, way, in_a_row, at_once: model.at_once.get() })
}

/// Returns a lab of that many machines: a preset where there is one of that size, else the document's with more workers.
///
/// # Panics
/// For fewer machines than the document's lab has, unless a preset has as many: nobody measures such a lab.
pub fn lab_of(machines: usize) -> Lab {
    let preset = if machines == SMALL { Preset::Small } else { Preset::Ha };
    let resolved = resolve(None, Some(preset), Arch::Arm64);
    let mut lab = resolved.expect("a preset has no error").lab;
    let pattern = lab.workers().last().expect("these presets have a worker").clone();
    let missing = machines.checked_sub(lab.nodes.len()).expect("the preset has no more machines than that");
    // More than a lab file may name: the names and numbers go on, and nobody looks at the addresses.
    lab.nodes.extend((1..=missing).map(|more| {
        let number = pattern.number + u8::try_from(more).expect("no lab has that many machines");
        Node { name: format!("k8s-worker{number}"), number, ..pattern.clone() }
    }));
    lab
}

/// Returns the plan of a lab's first `up`: on a Mac that has its template already, or on one that has nothing.
///
/// # Panics
/// If something stands in the way, which nothing does on a Mac without anything else.
pub fn first_up(lab: &Lab, template_stands: bool) -> Plan {
    let template = TemplateFacts { frozen: template_stands, ..TemplateFacts::default() };
    let facts = Facts { template, ..Facts::default() };
    let desired = Desired::of(lab, None, &facts, None);
    up::plan(lab, &desired, &facts).expect("nothing is in the way")
}

/// Returns what the model goes by: a computer with memory to spare, and costs as the plan supposes them.
pub fn terms(lab: &Lab) -> Terms {
    Terms {
        costs: Costs::default(),
        host: Host {
            cpus: CPUS,
            free_mib: Box::new(|| None),
            machines: lab.nodes.iter().map(|node| (node.name.clone(), node.memory_mib)).collect(),
            memory_limit: lab.limits.host_memory,
        },
        limits: lab.limits.clone(),
        members: u32::try_from(lab.members().count()).unwrap_or(u32::MAX),
        cancel: CancellationToken::new(),
    }
}

#[derive(Default)]
struct Model {
    costs: Costs,
    now: Cell<usize>,
    at_once: Cell<usize>,
}

impl Perform for Model {
    async fn perform(&self, step: &Arc<Step>) -> Result<bool> {
        self.now.set(self.now.get() + 1);
        self.at_once.set(self.at_once.get().max(self.now.get()));
        clock::pause(self.costs.of(step)).await;
        self.now.set(self.now.get() - 1);
        Ok(true)
    }

    fn record(&self, _: &StepId, _: State, _: Option<Duration>, _: Option<String>) -> Result<()> {
        Ok(())
    }

    fn send(&self, _: Event) {}
}
