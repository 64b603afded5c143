//! Consumers of the engine's events, equal among themselves: live bars, plain lines, JSON lines, silence.
//!
//! ```text
//! engine ──Event──▶ pump ──▶ Summary           what the screens after a run are made from
//!                     └────▶ dyn Reporter      bars.rs | plain.rs | json.rs | quiet, and log.rs beside them
//! ```
//!
//! [`board`] holds the state of the rows and [`layout`] turns it into lines; both are pure.

pub mod ahead;
pub mod bars;
pub mod board;
pub mod cell;
pub mod json;
pub mod layout;
pub mod log;
pub mod plain;
pub mod speed;
pub mod standing;
pub mod summary;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::terminal::Terminal as Screen;
use crate::engine::event::Event;
use crate::engine::terminal::{Drawing, Terminal};
use crate::host::clock;
use summary::Summary;

/// How often running stopwatches are redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Said at the first Ctrl-C.
const STOPPING: &str =
    "stopping: what runs is finished or cut off within seconds; Ctrl-C again leaves at once";

/// Shows what happens while it happens.
pub trait Reporter: Send {
    fn event(&mut self, event: &Event);

    /// Time has passed; whoever shows stopwatches redraws them.
    fn tick(&mut self) {}

    /// A program is about to use the terminal: whoever draws there clears it and stays silent.
    fn suspend(&mut self) {}

    /// The terminal is free again.
    fn resume(&mut self) {}

    /// Nothing more will come.
    fn finish(&mut self);
}

/// Says nothing; failures are told by the error screen.
pub struct Quiet;

impl Reporter for Quiet {
    fn event(&mut self, _event: &Event) {}

    fn finish(&mut self) {}
}

/// Chooses the reporter: JSON if asked for, silence if asked for, bars on a terminal, lines elsewhere.
pub fn choose(json: bool, quiet: bool, terminal: &Screen) -> Box<dyn Reporter> {
    match (json, quiet, terminal.live) {
        (true, ..) => Box::new(json::Json::new(std::io::stdout())),
        (_, true, _) => Box::new(Quiet),
        (.., true) => Box::new(bars::Bars::new(terminal.err)),
        _ => Box::new(plain::Plain::new(std::io::stderr(), terminal.err)),
    }
}

/// A reporter at work beside the engine.
pub struct Reporting {
    pumping: JoinHandle<Summary>,
    ended: CancellationToken,
}

impl Reporting {
    /// Starts to hand events to a reporter. `cancel` is the user's wish to stop, which is told once; `terminal` is
    /// what other programs take from the reporter.
    pub fn start(
        events: mpsc::UnboundedReceiver<Event>,
        reporter: Box<dyn Reporter>,
        cancel: CancellationToken,
        terminal: &Arc<Terminal>,
    ) -> Self {
        let ended = CancellationToken::new();
        let drawing = terminal.draw();
        Self { pumping: tokio::spawn(pump(events, reporter, cancel, drawing, ended.clone())), ended }
    }

    /// Shows what is left to show, and returns what all events add up to.
    ///
    /// Does not wait for the senders to go away: a guest's last words may still hold one.
    pub async fn end(self) -> Summary {
        self.ended.cancel();
        self.pumping.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

async fn pump(
    mut events: mpsc::UnboundedReceiver<Event>,
    mut reporter: Box<dyn Reporter>,
    cancel: CancellationToken,
    drawing: Drawing,
    ended: CancellationToken,
) -> Summary {
    let started = clock::monotonic();
    let mut summary = Summary::default();
    let mut redraw = tokio::time::interval(REDRAW);
    let mut stopping = false;
    loop {
        tokio::select! {
            // In this order: what was sent before the end is shown before the end.
            biased;
            event = events.recv() => match event {
                Some(event) => {
                    summary.event(&event, started.elapsed());
                    reporter.event(&event);
                    match event {
                        Event::TerminalTaken => {
                            reporter.suspend();
                            drawing.cleared();
                        }
                        Event::TerminalBack => reporter.resume(),
                        _ => {}
                    }
                }
                None => break,
            },
            () = ended.cancelled() => break,
            _ = redraw.tick() => reporter.tick(),
            () = cancel.cancelled(), if !stopping => {
                stopping = true;
                reporter.event(&Event::Note { step: None, text: STOPPING.to_owned() });
            }
        }
    }
    reporter.finish();
    summary.took = started.elapsed();
    summary
}

#[cfg(test)]
pub(crate) mod examples {
    //! A short run as events, for the tests of all reporters.

    use super::*;
    use crate::engine::event::{PlannedStep, Proven, Unmet};
    use crate::plan::step::{Milestone, Phase, StepId};
    use crate::stack::checks::{Hint, Hop};
    use crate::stack::judge;

    pub fn id(id: &str) -> StepId {
        StepId::read(id)
    }

    pub fn planned(name: &str, phase: Phase, text: &str) -> PlannedStep {
        let node = name.split_once('/').map(|(_, node)| node.to_owned());
        let (text, needs, reaches) = (text.to_owned(), Vec::new(), Vec::new());
        PlannedStep { id: id(name), node, phase, text, needs, reaches, cost_seconds: 1, known: false }
    }

    pub fn plan() -> Event {
        let mut steps = vec![
            planned("network.apply", Phase::Host, "make vmnet2"),
            planned("image.fetch", Phase::Host, "download ubuntu-24.04"),
        ];
        for (node, prepare) in [("gateway1", "gateway.configure"), ("k8s-master1", "node.prepare")] {
            steps.push(planned(&format!("vm.clone/{node}"), Phase::Clone, &format!("clone {node}")));
            steps.push(planned(&format!("vm.start/{node}"), Phase::Boot, &format!("start {node}")));
            let wait = planned(&format!("guest.ready/{node}"), Phase::Ready, &format!("wait for {node}"));
            steps.push(PlannedStep { reaches: vec![milestone(node, Phase::Net)], ..wait });
            steps.push(planned(&format!("{prepare}/{node}"), Phase::Configure, &format!("prepare {node}")));
        }
        steps.push(planned("kube.init/k8s-master1", Phase::Join, "start the cluster"));
        let reaches = ["gateway1", "k8s-master1"].map(|node| milestone(node, Phase::Healthy)).into();
        steps.push(PlannedStep { reaches, ..planned("cilium.install", Phase::Cluster, "install Cilium") });
        Event::Planned { steps }
    }

    pub fn start(name: &str) -> Event {
        Event::StepStarted { step: id(name) }
    }

    pub fn done(name: &str, millis: u64) -> Event {
        Event::StepDone { step: id(name), took: Duration::from_millis(millis), changed: true }
    }

    pub fn failed(name: &str, millis: u64) -> Event {
        Event::StepFailed {
            step: id(name),
            took: Duration::from_millis(millis),
            message: "vmrun failed".to_owned(),
        }
    }

    pub fn checked(title: &str, passed: bool) -> Event {
        Event::Checked(Box::new(Proven {
            id: "lan.https",
            hop: Hop::EndToEnd,
            check: title.to_owned(),
            outcome: if passed { judge::Outcome::Passed } else { judge::Outcome::Failed },
            expected: String::new(),
            detail: String::new(),
            hint: Hint { look: "", command: "" },
            took: Duration::ZERO,
        }))
    }

    fn milestone(node: &str, phase: Phase) -> Milestone {
        Milestone { node: node.to_owned(), phase }
    }

    pub fn reached(name: &str, node: &str, phase: Phase) -> Event {
        Event::Reached { step: id(name), node: node.to_owned(), phase }
    }

    pub fn waiting(name: &str, what: &str, seen: &str) -> Event {
        let requirement = Unmet { what: what.to_owned(), seen: seen.to_owned() };
        Event::Waiting { step: id(name), requirement }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Recorder(mpsc::UnboundedSender<String>);

    impl Reporter for Recorder {
        fn event(&mut self, event: &Event) {
            self.0.send(serde_json::to_value(event).unwrap()["event"].to_string()).unwrap();
        }

        fn suspend(&mut self) {
            self.0.send("suspend".to_owned()).unwrap();
        }

        fn resume(&mut self) {
            self.0.send("resume".to_owned()).unwrap();
        }

        fn finish(&mut self) {
            self.0.send("finish".to_owned()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_program_has_the_terminal_only_after_the_reporter_let_go_of_it() {
        let (events, receiver) = mpsc::unbounded_channel();
        let (seen, mut log) = mpsc::unbounded_channel();
        let terminal = Arc::default();
        let recorder = Box::new(Recorder(seen));
        let reporting = Reporting::start(receiver, recorder, CancellationToken::new(), &terminal);
        events.send(examples::start("network.apply")).unwrap();
        let held = terminal.hold(&events).await;
        let mut before = Vec::new();
        while let Ok(line) = log.try_recv() {
            before.push(line);
        }
        assert_eq!(before, ["\"step-started\"", "\"terminal-taken\"", "suspend"]);
        drop(held);
        assert_eq!(log.recv().await.unwrap(), "\"terminal-back\"");
        assert_eq!(log.recv().await.unwrap(), "resume");
        reporting.end().await;
        drop(terminal.hold(&events).await);
    }

    #[tokio::test]
    async fn every_event_arrives_in_order_and_a_wish_to_stop_is_said_once() {
        let (events, receiver) = mpsc::unbounded_channel();
        let (seen, mut log) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let reporting = Reporting::start(receiver, Box::new(Recorder(seen)), cancel.clone(), &Arc::default());
        events.send(examples::plan()).unwrap();
        assert_eq!(log.recv().await.unwrap(), "\"planned\"");
        cancel.cancel();
        assert_eq!(log.recv().await.unwrap(), "\"note\"");
        events.send(examples::start("network.apply")).unwrap();
        events.send(examples::done("network.apply", 5)).unwrap();
        let summary = reporting.end().await;
        let mut rest = Vec::new();
        while let Some(line) = log.recv().await {
            rest.push(line);
        }
        assert_eq!(rest, ["\"step-started\"", "\"step-done\"", "finish"]);
        assert_eq!(summary.steps.len(), 12);
    }
}
