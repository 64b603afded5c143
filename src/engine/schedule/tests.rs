//! The scheduler's promises: on the engine with its machines, and in virtual time on a world that is told what happens.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::Barrier;

use super::*;
use crate::engine::fixture::{Bench, Machines, clone, plan, start};
use crate::engine::journal::Record;
use crate::lab::limits::LimitName;
use crate::plan::step::Gate;

const NODES: [&str; 3] = ["gateway1", "gateway2", "k8s-master1"];

fn bench(machines: Machines) -> Bench {
    let bench = Bench::new(machines);
    NODES.iter().for_each(|node| bench.machine(node));
    bench
}

fn journal(bench: &Bench) -> Vec<(String, State)> {
    let records = bench.engine.journal.read().unwrap();
    records.into_iter().map(|Record { step, state, .. }| (step, state)).collect()
}

#[tokio::test]
async fn a_failed_step_stops_what_needs_it_and_nothing_else() {
    let mut bench = bench(Machines { refuse: ["gateway1"].into(), ..Machines::default() });
    let plan = plan([
        start("gateway1", &[]),
        start("gateway2", &["vm.start/gateway1"]),
        clone("k8s-master2", &["vm.start/gateway2"]),
        start("k8s-master1", &[]),
    ]);
    let error = run(&bench.engine, &plan).await.unwrap_err();
    let EngineError::Steps { failures, done, skipped, planned } = error else { panic!("{error:?}") };
    assert_eq!((done, skipped, planned), (1, 2, 4));
    let [StepFailure { step, node, error }] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!((step.as_str(), node.as_deref()), ("vm.start/gateway1", Some("gateway1")));
    assert!(error.to_string().contains("The operation was canceled"), "{error}");
    let because = "vm.start/gateway1 failed".to_owned();
    let both = ["vm.start/gateway2", "vm.clone/k8s-master2"].map(|step| (step.to_owned(), because.clone()));
    assert_eq!(skips(bench.events()), both, "the step that failed is named, not the one before in line");
    let failed: Vec<_> = journal(&bench).into_iter().filter(|(_, state)| *state == State::Failed).collect();
    assert_eq!(failed, [("vm.start/gateway1".to_owned(), State::Failed)]);
}

#[tokio::test]
async fn what_need_not_wait_runs_at_once() {
    // None of the starts ends before all three are under way.
    let bench = bench(Machines { together: Some(Barrier::new(3)), ..Machines::default() });
    let plan = plan(NODES.map(|node| start(node, &[])));
    let all = tokio::time::timeout(Duration::from_secs(20), run(&bench.engine, &plan)).await;
    let summary = all.expect("they run beside each other").unwrap();
    assert_eq!((summary.done.len(), summary.changed), (3, 3));
}

#[tokio::test]
async fn two_clones_of_one_parent_never_run_at_once() {
    let bench = bench(Machines::default());
    bench.freeze_template();
    let plan = plan(["k8s-master2", "k8s-master3", "k8s-worker1"].map(|node| clone(node, &[])));
    run(&bench.engine, &plan).await.unwrap();
    assert_eq!(bench.machines.clones_at_most(), 1);
}

#[tokio::test]
async fn a_step_that_finds_its_work_done_changes_nothing() {
    let bench = bench(Machines::default());
    bench.machines.run(&bench.engine.vmx("gateway1"));
    let summary = run(&bench.engine, &plan([start("gateway1", &[])])).await.unwrap();
    assert_eq!((summary.done.len(), summary.changed), (1, 0));
    let both = [State::Started, State::Done].map(|state| ("vm.start/gateway1".to_owned(), state));
    assert_eq!(journal(&bench), both);
}

#[tokio::test]
async fn an_interruption_lets_what_runs_come_to_its_end_and_begins_nothing_new() {
    let release = CancellationToken::new();
    let bench = bench(Machines { hold_starts: Some(release.clone()), ..Machines::default() });
    let plan = plan([start("gateway1", &[]), start("gateway2", &["vm.start/gateway1"])]);
    let engine = bench.engine.clone();
    let user = async {
        while bench.engine.journal.read().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        engine.cancel.cancel();
        release.cancel();
    };
    let (ended, ()) = tokio::join!(run(&bench.engine, &plan), user);
    assert!(matches!(ended, Err(EngineError::Interrupted { done: 1, planned: 2 })), "{ended:?}");
    let both = [State::Started, State::Done].map(|state| ("vm.start/gateway1".to_owned(), state));
    assert_eq!(journal(&bench), both);
}

#[tokio::test]
async fn what_was_interrupted_before_it_began_does_nothing() {
    let bench = bench(Machines::default());
    bench.engine.cancel.cancel();
    let ended = run(&bench.engine, &plan(NODES.map(|node| start(node, &[])))).await;
    assert!(matches!(ended, Err(EngineError::Interrupted { done: 0, planned: 3 })), "{ended:?}");
    assert_eq!(journal(&bench), []);
}

#[tokio::test]
async fn estimates_come_from_what_steps_took_last() {
    let mut bench = bench(Machines::default());
    let slow = StepId::read("vm.start/gateway1");
    bench.engine.journal.write(&slow, State::Done, Some(Duration::from_millis(41_200)), None).unwrap();
    let plan = plan([start("gateway1", &[]), start("gateway2", &[])]);
    run(&bench.engine, &plan).await.unwrap();
    let Some(Event::Planned { steps }) = bench.events().into_iter().next() else {
        panic!("the plan is said first");
    };
    let costs: Vec<u32> = steps.iter().map(|step| step.cost_seconds).collect();
    assert!(steps.iter().all(|step| step.known));
    assert_eq!(costs, [42, 42], "a machine without a history takes as long as the others");
}

/// A world that is told how long each step takes and how its tries end; a step that is not told of takes what it costs.
#[derive(Default)]
struct Told {
    takes: BTreeMap<&'static str, u64>,
    fails: RefCell<BTreeMap<&'static str, VecDeque<EngineError>>>,
    events: RefCell<Vec<(u64, Event)>>,
    /// Of this step the journal does not take any more how it ended.
    unwritten: Option<&'static str>,
    began: Option<Instant>,
}

impl Perform for Told {
    async fn perform(&self, step: &Arc<Step>) -> Result<bool> {
        let id = step.id.as_str();
        clock::pause(Duration::from_secs(self.takes.get(id).copied().unwrap_or(step.cost_seconds.into())))
            .await;
        match self.fails.borrow_mut().get_mut(id).and_then(VecDeque::pop_front) {
            Some(error) => Err(error),
            None => Ok(true),
        }
    }

    fn record(&self, step: &StepId, state: State, _: Option<Duration>, _: Option<String>) -> Result<()> {
        if state != State::Started && self.unwritten == Some(step.as_str()) {
            return Err(EngineError::Host(HostError::Content {
                path: "journal".into(),
                reason: "full".into(),
            }));
        }
        Ok(())
    }

    fn send(&self, event: Event) {
        let now = self.began.map(|began| began.elapsed().as_secs()).unwrap_or_default();
        self.events.borrow_mut().push((now, event));
    }
}

impl Told {
    fn new(takes: impl IntoIterator<Item = (&'static str, u64)>) -> Self {
        Self { takes: takes.into_iter().collect(), began: Some(clock::monotonic()), ..Self::default() }
    }

    fn failing(self, step: &'static str, errors: impl IntoIterator<Item = EngineError>) -> Self {
        self.fails.borrow_mut().insert(step, errors.into_iter().collect());
        self
    }

    /// Carries out a plan on the document's terms, changed.
    async fn carry_out(self, plan: &Plan, change: impl FnOnce(&mut Terms)) -> Outcome {
        let mut terms = model::terms(&model::lab_of(7));
        change(&mut terms);
        let world = Rc::new(self);
        let result = carry_out(world.clone(), plan, terms).await;
        let took = world.began.expect("it was made by `new`").elapsed();
        Outcome { result, took, events: world.events.take() }
    }
}

struct Outcome {
    result: Result<Summary>,
    took: Duration,
    events: Vec<(u64, Event)>,
}

impl Outcome {
    /// Returns when each step began, in seconds.
    fn starts(&self) -> Vec<(u64, &str)> {
        self.events
            .iter()
            .filter_map(|(at, event)| match event {
                Event::StepStarted { step } => Some((*at, step.as_str())),
                _ => None,
            })
            .collect()
    }

    fn held(&self) -> Vec<(&str, String)> {
        let held = self.events.iter().filter_map(|(_, event)| match event {
            Event::StepHeld { step, because } => Some((step.as_str(), because.to_string())),
            _ => None,
        });
        held.collect()
    }
}

fn skips(events: impl IntoIterator<Item = Event>) -> Vec<(String, String)> {
    let skip = |event| match event {
        Event::StepSkipped { step, because } => Some((step.to_string(), because)),
        _ => None,
    };
    events.into_iter().filter_map(skip).collect()
}

fn costing(step: Step, cost_seconds: u32) -> Step {
    Step { cost_seconds, ..step }
}

fn of(action: Action, needs: &[&str], cost_seconds: u32) -> Step {
    let node = action.node().map(str::to_owned);
    Step { id: action.id(), node, action, ..costing(start("x", needs), cost_seconds) }
}

fn lost() -> EngineError {
    HostError::Lost { node: "gateway1".into(), command: "nginx -t".into(), reason: "reset".into() }.into()
}

#[tokio::test(start_paused = true)]
async fn of_those_that_queue_the_one_with_the_longest_way_ahead_goes_first() {
    let plan = plan([
        costing(clone("a", &[]), 3),
        costing(clone("b", &[]), 3),
        costing(clone("c", &[]), 3),
        costing(start("a", &["vm.clone/a"]), 1),
        costing(start("b", &["vm.clone/b"]), 1),
        costing(start("c", &["vm.clone/c"]), 50),
    ]);
    let outcome = Told::new([]).carry_out(&plan, |_| ()).await;
    outcome.result.as_ref().unwrap();
    assert_eq!(outcome.starts()[..3], [(0, "vm.clone/c"), (3, "vm.start/c"), (3, "vm.clone/a")]);
    assert_eq!(outcome.took.as_secs(), 53, "as long as the longest way");
    let waits = || "waits for the template: one clone of it at a time".to_owned();
    assert_eq!(outcome.held(), [("vm.clone/a", waits()), ("vm.clone/b", waits())], "each is said once");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_has_done_its_own_says_what_it_waits_for_elsewhere() {
    let join = |node: &str, needs: &[&str]| of(Action::JoinControlPlane { node: node.to_owned() }, needs, 40);
    let prepare = |node: &str| of(Action::PrepareNode { node: node.to_owned() }, &[], 5);
    let plan = plan([
        of(Action::AwaitEndpoint, &[], 9),
        prepare("m2"),
        prepare("m3"),
        join("m2", &["kube.endpoint", "node.prepare/m2"]),
        join("m3", &["kube.join/m2", "node.prepare/m3"]),
    ]);
    let outcome = Told::new([]).carry_out(&plan, |_| ()).await;
    let expected = [
        ("kube.join/m2", "waits for the VIPs: vm.start x".to_owned()),
        ("kube.join/m3", "waits for m2: one etcd learner at a time".to_owned()),
    ];
    assert_eq!(outcome.held(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_guest_whose_connection_broke_is_gone_to_again_and_a_refusal_is_not() {
    let plan = plan([
        of(Action::ConfigureGateway { node: "g1".into() }, &[], 3),
        of(Action::ConfigureGateway { node: "g2".into() }, &[], 3),
    ]);
    let refused = EngineError::guest("g2", "no");
    let told = Told::new([]).failing("gateway.configure/g1", [lost(), lost()]);
    let outcome = told.failing("gateway.configure/g2", [refused]).carry_out(&plan, |_| ()).await;
    let Err(EngineError::Steps { failures, done: 1, .. }) = &outcome.result else {
        panic!("{:?}", outcome.result)
    };
    assert_eq!(failures[0].step.as_str(), "gateway.configure/g2");
    let retried = outcome.events.iter().filter_map(|(_, event)| match event {
        Event::StepRetried { step, attempt, of, because } => {
            Some((step.as_str(), *attempt, *of, because.as_str()))
        }
        _ => None,
    });
    let because = "the connection to gateway1 broke during `nginx -t`: reset";
    let step = "gateway.configure/g1";
    assert_eq!(retried.collect::<Vec<_>>(), [(step, 2, 3, because), (step, 3, 3, because)]);
    assert_eq!(outcome.took.as_secs(), 3 + 1 + 3 + 2 + 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_again_and_again_fails_with_its_last_words() {
    let plan = plan([of(Action::ConfigureGateway { node: "g1".into() }, &[], 3)]);
    let told = Told::new([]).failing("gateway.configure/g1", [lost(), lost(), lost(), lost()]);
    let outcome = told.carry_out(&plan, |_| ()).await;
    let Err(EngineError::Steps { failures, .. }) = &outcome.result else { panic!("{:?}", outcome.result) };
    assert!(matches!(failures[0].error, EngineError::Host(HostError::Lost { .. })), "{failures:?}");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_is_ended_at_its_deadline_and_the_others_went_on() {
    let plan = plan([start("gateway1", &[]), start("gateway2", &[])]);
    let outcome = Told::new([("vm.start/gateway1", 1_000_000)]).carry_out(&plan, |_| ()).await;
    let limits = Limits::default();
    let deadline = policy::of(&plan.steps[0].action, &limits, 5).deadline.unwrap();
    assert_eq!(outcome.took, deadline.duration());
    let Err(EngineError::Steps { failures, done: 1, .. }) = &outcome.result else {
        panic!("{:?}", outcome.result)
    };
    let EngineError::Requirement { requirement, .. } = &failures[0].error else { panic!("{failures:?}") };
    assert_eq!((requirement.limit, deadline.name()), (deadline, LimitName::StepSlack));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_written_leaves_no_network_half_changed() {
    let scope = crate::formats::networking::Scope::Networks;
    let plan = plan([
        costing(start("quick", &[]), 12),
        costing(start("next", &["vm.start/quick"]), 1),
        of(Action::ApplyNetwork { diff: String::new(), scope }, &[], 40),
    ]);
    let world = Told { unwritten: Some("vm.start/quick"), ..Told::new([]) };
    let outcome = world.carry_out(&plan, |_| {}).await;
    assert!(
        matches!(outcome.result, Err(EngineError::Host(HostError::Content { .. }))),
        "{:?}",
        outcome.result
    );
    assert_eq!(outcome.took.as_secs(), 40, "Fusion's networks are brought to their end");
    assert!(outcome.starts().iter().all(|(_, step)| *step != "vm.start/next"), "nothing new begins");
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_told_also_where_the_journal_cannot_be_written() {
    let plan = plan([costing(start("lame", &[]), 1), costing(start("quick", &[]), 12)]);
    for unwritten in ["vm.start/lame", "vm.start/quick"] {
        let lame = EngineError::cluster("it limps");
        let world = Told { unwritten: Some(unwritten), ..Told::new([]).failing("vm.start/lame", [lame]) };
        let outcome = world.carry_out(&plan, |_| {}).await;
        let Err(EngineError::Steps { failures, .. }) = outcome.result else { panic!("{:?}", outcome.result) };
        let [first, second] = failures.as_slice() else { panic!("{failures:?}") };
        assert_eq!((first.step.as_str(), first.error.to_string()), ("vm.start/lame", "it limps".to_owned()));
        assert!(second.step.as_str() == unwritten && second.error.to_string().contains("full"), "{second:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn five_seconds_after_the_wish_to_stop_what_still_runs_is_cut_off() {
    let scope = crate::formats::networking::Scope::Networks;
    let plan = plan([
        costing(start("quick", &[]), 12),
        costing(start("slow", &[]), 300),
        costing(start("next", &["vm.start/quick"]), 1),
        of(Action::ApplyNetwork { diff: String::new(), scope }, &[], 40),
    ]);
    let cancel = CancellationToken::new();
    let user = async {
        clock::pause(Duration::from_secs(10)).await;
        cancel.cancel();
    };
    let work = Told::new([]).carry_out(&plan, |terms| terms.cancel = cancel.clone());
    let (outcome, ()) = tokio::join!(work, user);
    assert!(
        matches!(outcome.result, Err(EngineError::Interrupted { done: 2, planned: 4 })),
        "{:?}",
        outcome.result
    );
    let skipped: Vec<(u64, String, String)> = outcome
        .events
        .iter()
        .filter_map(|(at, event)| match event {
            Event::StepSkipped { step, because } => Some((*at, step.to_string(), because.clone())),
            _ => None,
        })
        .collect();
    let cut_off = "interrupted: cut off 5 s after the wish to stop";
    assert_eq!(
        skipped,
        [
            (10, "vm.start/next".to_owned(), "interrupted".to_owned()),
            (15, "vm.start/slow".to_owned(), cut_off.to_owned())
        ]
    );
    assert_eq!(outcome.took.as_secs(), 40, "Fusion's networks are not left half changed");
}

#[tokio::test(start_paused = true)]
async fn a_machine_waits_for_memory_that_comes_free_and_starts_then() {
    let free = Rc::new(std::cell::Cell::new(5000_u64));
    let power_on = |node| Step { gate: Some(Gate::PowerOn), ..costing(start(node, &[]), 10) };
    let plan = plan([power_on("k8s-master1"), power_on("k8s-master2")]);
    let seen = free.clone();
    let others = async {
        clock::pause(Duration::from_millis(20_500)).await;
        free.set(9000);
    };
    // What the first machine takes shows as soon as it is started.
    let work = Told::new([]).carry_out(&plan, |terms| {
        let began = clock::monotonic();
        terms.host.free_mib = Box::new(move || {
            let taken = if began.elapsed().as_secs() >= 10 { 4096 } else { 0 };
            Some(seen.get().saturating_sub(taken))
        });
    });
    let (outcome, ()) = tokio::join!(work, others);
    outcome.result.as_ref().unwrap();
    assert_eq!(outcome.starts(), [(0, "vm.start/k8s-master1"), (21, "vm.start/k8s-master2")]);
    assert_eq!(outcome.held(), [("vm.start/k8s-master2", "waits for memory: it takes 4.0 GiB".to_owned())]);
}

/// What the issue asks for: within 5 % of the longest way, and at most 45 % of one step after the other.
#[tokio::test(start_paused = true)]
async fn the_documents_lab_takes_hardly_longer_than_its_longest_way() {
    let lab = model::lab_of(7);
    for template_stands in [true, false] {
        let plan = model::first_up(&lab, template_stands);
        let forecast = model::forecast(&lab, &plan).await.unwrap();
        let of = |whole: Duration| forecast.total.as_secs_f64() / whole.as_secs_f64();
        assert!(of(forecast.longest) <= 1.05, "{forecast:?}");
        // A Mac without a template bakes one first, which nothing else can run beside.
        assert!(!template_stands || of(forecast.in_a_row) <= 0.45, "{forecast:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lab_of_fifty_machines_still_runs_as_much_at_once_as_the_gates_allow() {
    let lab = model::lab_of(50);
    let plan = model::first_up(&lab, true);
    let forecast = model::forecast(&lab, &plan).await.unwrap();
    assert!(forecast.total.as_secs_f64() <= 0.45 * forecast.in_a_row.as_secs_f64(), "{forecast:?}");
    assert!(forecast.at_once > 8, "{forecast:?}");
}
