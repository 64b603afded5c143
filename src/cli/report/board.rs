//! The state behind the live rows: one row for the host, one for each node, one for the cluster.

use std::time::Duration;

use super::ahead::Ahead;
use super::cell::{Cell, Detail, State, StepState, head};
use super::speed::Speed;
use crate::engine::event::{Event, Held, PlannedStep, Unmet};
use crate::plan::kind::Kind;
use crate::plan::step::{Phase, StepId};
use crate::stack::judge::Outcome;

/// One line of the board.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub cells: Vec<Cell>,
    first_start: Option<Duration>,
    last_end: Duration,
}

/// All rows of a run.
#[derive(Clone, Debug, Default)]
pub struct Board {
    pub rows: Vec<Row>,
    /// Checks of the proof so far.
    pub proof: Proof,
    /// What the steps still take.
    pub ahead: Ahead,
}

/// Steps by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub done: usize,
    pub failed: usize,
    pub skipped: usize,
    pub all: usize,
}

/// How the proof goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    pub passed: usize,
    pub failed: usize,
    /// Those that nobody could be asked about.
    pub not_asked: usize,
}

/// A transfer in progress.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transfer {
    pub done: u64,
    pub total: Option<u64>,
    /// Bytes in a second; none before there is a speed.
    pub rate: Option<u64>,
    /// Time to the end at that speed.
    pub left: Option<Duration>,
}

/// What to say at a row's right end.
#[derive(Clone, Debug, PartialEq)]
pub enum Doing {
    Nothing,
    Text(String),
    Held(Held),
    Waiting(Unmet),
    Transfer { text: String, transfer: Transfer },
}

pub const MAC_ROW: &str = "Mac";
pub const CLUSTER_ROW: &str = "cluster";

/// Returns the row that a step belongs to: its machine's, the Mac's, the whole cluster's, or a drill's own.
pub fn row_of(step: &PlannedStep) -> &str {
    match (&step.node, step.phase) {
        (_, Phase::Cluster) => CLUSTER_ROW,
        (Some(node), phase) if phase != Phase::Host => node,
        (None, Phase::Drill) => step.id.as_str().trim_start_matches("drill."),
        _ => MAC_ROW,
    }
}

impl Board {
    /// Takes in an event that came at `now`, counted from the start of the run.
    pub fn event(&mut self, event: &Event, now: Duration) {
        self.ahead.event(event, now);
        match event {
            Event::Planned { steps } => steps.iter().for_each(|step| self.place(step)),
            Event::StepStarted { step } => {
                self.edit(step, now, |step| {
                    step.state = State::Running;
                    step.started = now;
                    step.detail = Detail::None;
                });
                self.mark(step, State::Running);
            }
            Event::StepHeld { step, because } => {
                if let Some((_, step)) = self.find(step) {
                    step.detail = Detail::Held(because.clone());
                }
            }
            Event::StepRetried { step, attempt, of, because } => {
                let unmet = Unmet { what: format!("try {attempt} of {of}"), seen: because.clone() };
                self.edit(step, now, |step| step.detail = Detail::Waiting(unmet));
            }
            Event::Waiting { step, requirement } => {
                self.edit(step, now, |step| step.detail = Detail::Waiting(requirement.clone()));
            }
            Event::Progress { step, done, total } => self.edit(step, now, |step| {
                let mut speed = match std::mem::replace(&mut step.detail, Detail::None) {
                    Detail::Bytes { speed, .. } => speed,
                    _ => Speed::default(),
                };
                speed.take(*done, now);
                step.detail = Detail::Bytes { done: *done, total: *total, speed };
            }),
            Event::Reached { step, node, phase } => self.reached(step, node, *phase, now),
            Event::StepDone { step, .. } => self.end(step, State::Done, now),
            Event::StepFailed { step, .. } => self.end(step, State::Failed, now),
            Event::StepSkipped { step, .. } => self.end(step, State::Skipped, now),
            Event::Checked(proven) => match proven.outcome {
                Outcome::Passed => self.proof.passed += 1,
                Outcome::Failed => self.proof.failed += 1,
                Outcome::NotAsked => self.proof.not_asked += 1,
            },
            Event::Drilled(_)
            | Event::Line { .. }
            | Event::Note { .. }
            | Event::TerminalTaken
            | Event::TerminalBack => {}
        }
    }

    /// Puts a planned step into its row and cell, and what it reaches on its way into the rows of those machines; rows
    /// stand in the order Mac, nodes, cluster.
    fn place(&mut self, step: &PlannedStep) {
        let (before, after): (Vec<_>, Vec<_>) =
            step.reaches.iter().partition(|milestone| milestone.phase < step.phase);
        for milestone in before {
            self.row(&milestone.node).cell(head(milestone.phase)).passed_by(&step.id);
        }
        let name = row_of(step);
        let row = self.row(name);
        let cell = if [MAC_ROW, CLUSTER_ROW].contains(&name) { area(&step.id) } else { head(step.phase) };
        row.cell(cell).push(step);
        for milestone in after {
            self.row(&milestone.node).cell(head(milestone.phase)).passed_by(&step.id);
        }
    }

    /// Returns a row by its name, made where it is to stand if there is none yet.
    fn row(&mut self, name: &str) -> &mut Row {
        let at = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            let cluster = self.rows.iter().position(|row| row.name == CLUSTER_ROW);
            let at = if name == MAC_ROW { 0 } else { cluster.unwrap_or(self.rows.len()) };
            self.rows.insert(at, Row::new(name));
            at
        });
        &mut self.rows[at]
    }

    /// Returns a step with its row's place.
    fn find(&mut self, id: &StepId) -> Option<(usize, &mut StepState)> {
        let steps = self.rows.iter_mut().enumerate().flat_map(|(at, row)| {
            row.cells.iter_mut().flat_map(|cell| &mut cell.steps).map(move |step| (at, step))
        });
        steps.into_iter().find(|(_, step)| step.id == *id)
    }

    fn edit(&mut self, id: &StepId, now: Duration, change: impl FnOnce(&mut StepState)) {
        if let Some((at, step)) = self.find(id) {
            change(step);
            let row = &mut self.rows[at];
            row.first_start.get_or_insert(now);
            row.last_end = now;
        }
    }

    /// Ends a step, and with it what it was still to reach on its way.
    fn end(&mut self, id: &StepId, state: State, now: Duration) {
        self.edit(id, now, |step| {
            step.state = state;
            step.is_ahead &= state != State::Done;
        });
        self.mark(id, state);
    }

    /// Puts what a step has still to reach into a state.
    fn mark(&mut self, id: &StepId, state: State) {
        for cell in self.rows.iter_mut().flat_map(|row| &mut row.cells) {
            cell.mark(id, state);
        }
    }

    /// Takes in that a step has brought a machine through a phase.
    fn reached(&mut self, id: &StepId, node: &str, phase: Phase, now: Duration) {
        let Some(row) = self.rows.iter_mut().find(|row| row.name == node) else { return };
        row.cell(head(phase)).mark(id, State::Done);
        row.last_end = now;
        if let Some((_, step)) = self.find(id) {
            step.is_ahead &= step.node.as_deref() != Some(node);
        }
    }

    /// Returns what became of the steps so far.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for step in self.rows.iter().flat_map(|row| &row.cells).flat_map(|cell| &cell.steps) {
            count.all += 1;
            match step.state {
                State::Done => count.done += 1,
                State::Failed => count.failed += 1,
                State::Skipped => count.skipped += 1,
                State::Pending | State::Running => {}
            }
        }
        count
    }
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), cells: Vec::new(), first_start: None, last_end: Duration::ZERO }
    }

    /// Returns the cell below a head, made if there is none yet.
    fn cell(&mut self, head: &str) -> &mut Cell {
        let at = self.cells.iter().position(|cell| cell.head == head).unwrap_or_else(|| {
            self.cells.push(Cell::new(head));
            self.cells.len() - 1
        });
        &mut self.cells[at]
    }

    /// Returns the state of the whole row.
    pub fn state(&self) -> State {
        let any = |state| self.cells.iter().any(|cell| cell.state() == state);
        let running = self.running().is_some();
        match () {
            () if running => State::Running,
            () if any(State::Failed) => State::Failed,
            () if any(State::Pending) || any(State::Running) => State::Pending,
            () if any(State::Skipped) => State::Skipped,
            () => State::Done,
        }
    }

    /// Returns the running step that was started last.
    fn running(&self) -> Option<&StepState> {
        self.cells
            .iter()
            .flat_map(|cell| &cell.steps)
            .filter(|step| step.state == State::Running)
            .max_by_key(|step| step.started)
    }

    /// Returns why the next of its steps does not begin; none if that is not known.
    fn held(&self) -> Option<&Held> {
        let next =
            self.cells.iter().flat_map(|cell| &cell.steps).find(|step| step.state == State::Pending)?;
        if let Detail::Held(because) = &next.detail { Some(because) } else { None }
    }

    /// Returns the stopwatch: of the running step, or of the whole row once nothing runs; none before it starts.
    pub fn elapsed(&self, now: Duration) -> Option<Duration> {
        match self.running() {
            Some(step) => Some(now.saturating_sub(step.started)),
            None => self.first_start.map(|start| self.last_end.saturating_sub(start)),
        }
    }

    /// Returns what the running step says.
    pub fn doing(&self, now: Duration) -> Doing {
        let Some(step) = self.running() else {
            return self.held().map_or(Doing::Nothing, |because| Doing::Held(because.clone()));
        };
        match &step.detail {
            Detail::None | Detail::Held(_) => Doing::Text(step.text.clone()),
            Detail::Waiting(unmet) => Doing::Waiting(unmet.clone()),
            Detail::Bytes { done, total, speed } => {
                let left = total.and_then(|total| speed.left(total, now));
                let transfer = Transfer { done: *done, total: *total, rate: speed.rate(now), left };
                Doing::Transfer { text: step.text.clone(), transfer }
            }
        }
    }
}

/// Returns what a step of the host or the cluster concerns, in a word that leaves room for the others.
fn area(id: &StepId) -> &str {
    match id.kind() {
        Some(Kind::IdentityCreate) => "Keys",
        Some(Kind::NetworkApply | Kind::NetworkRestore) => "Network",
        Some(Kind::ImageFetch | Kind::ImageConvert) => "Image",
        Some(Kind::TemplateBake | Kind::TemplateFreeze | Kind::TemplateDiscard | Kind::TemplateRemove) => {
            "Template"
        }
        Some(Kind::NamesUnresolve) => "Names",
        Some(Kind::LabForget) => "Records",
        Some(Kind::GatewayVips | Kind::KubeEndpoint) => "VIPs",
        Some(Kind::GatewayApiInstall | Kind::CiliumInstall | Kind::KubeNodes) => "Cilium",
        Some(Kind::IngressConfigure) => "Ingress",
        Some(Kind::KubeconfigWrite | Kind::KubeconfigUnmerge) => "Access",
        // What has a row of its own.
        Some(
            Kind::Drill
            | Kind::VmClone
            | Kind::VmConfigure
            | Kind::VmStart
            | Kind::VmStop
            | Kind::VmDelete
            | Kind::GuestReady
            | Kind::GuestClock
            | Kind::NodeBack
            | Kind::LanProbe
            | Kind::GatewayConfigure
            | Kind::NodePrepare
            | Kind::KubeCertificates
            | Kind::KubeInit
            | Kind::KubeJoin
            | Kind::DrillRestore,
        )
        | None => id.as_str().split(['.', '/']).next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{done, failed, id, plan, planned, reached, start, waiting};
    use super::*;

    fn board(events: &[(u64, Event)]) -> Board {
        let mut board = Board::default();
        board.event(&plan(), Duration::ZERO);
        for (second, event) in events {
            board.event(event, Duration::from_secs(*second));
        }
        board
    }

    fn row<'a>(board: &'a Board, name: &str) -> &'a Row {
        board.rows.iter().find(|row| row.name == name).unwrap()
    }

    #[test]
    fn rows_are_host_nodes_cluster_and_cells_the_phases_planned() {
        let board = board(&[]);
        let names: Vec<&str> = board.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["Mac", "gateway1", "k8s-master1", "cluster"]);
        let cells: Vec<&str> = row(&board, "gateway1").cells.iter().map(|cell| cell.label.as_str()).collect();
        assert_eq!(cells, ["Clone", "Boot", "Net", "Ready", "Configure", "Healthy"]);
        assert_eq!(board.count(), Count { all: 12, ..Count::default() });
    }

    #[test]
    fn what_the_mac_does_is_called_by_what_it_concerns() {
        let names = ["kubeconfig.unmerge", "names.unresolve", "lab.forget"];
        let steps = names.map(|name| planned(name, Phase::Host, "")).into();
        let mut board = Board::default();
        board.event(&Event::Planned { steps }, Duration::ZERO);
        let cells: Vec<&str> = row(&board, MAC_ROW).cells.iter().map(|cell| cell.label.as_str()).collect();
        assert_eq!(cells, ["Access", "Names", "Records"]);
    }

    #[test]
    fn a_running_step_has_its_own_stopwatch_and_its_reason() {
        let board = board(&[
            (1, start("vm.clone/gateway1")),
            (3, done("vm.clone/gateway1", 2000)),
            (4, start("guest.ready/gateway1")),
            (5, waiting("guest.ready/gateway1", "cloud-init is done", "it runs")),
        ]);
        let row = row(&board, "gateway1");
        let now = Duration::from_secs(10);
        assert_eq!(row.elapsed(now), Some(Duration::from_secs(6)));
        let Doing::Waiting(unmet) = row.doing(now) else { panic!("it waits") };
        assert_eq!((unmet.what.as_str(), unmet.seen.as_str()), ("cloud-init is done", "it runs"));
        assert_eq!(row.cells[0].state(), State::Done);
        assert_eq!(row.state(), State::Running);
    }

    #[test]
    fn a_machine_is_on_the_network_before_it_is_ready_and_healthy_when_the_cluster_says_so() {
        let cells = |events: &[(u64, Event)]| -> String {
            let board = board(events);
            let states = row(&board, "k8s-master1").cells.iter().map(|cell| match cell.state() {
                State::Pending => '.',
                State::Running => 'o',
                State::Done => '+',
                State::Failed => 'x',
                State::Skipped => '-',
            });
            states.collect()
        };
        let wait = "guest.ready/k8s-master1";
        let (begun, is_on) = ((1, start(wait)), (2, reached(wait, "k8s-master1", Phase::Net)));
        assert_eq!(cells(std::slice::from_ref(&begun)), "..o...");
        assert_eq!(cells(&[begun.clone(), is_on.clone()]), "..+o..");
        assert_eq!(cells(&[begun.clone(), (3, failed(wait, 2000))]), "..x-..");
        assert_eq!(cells(&[begun.clone(), is_on.clone(), (3, failed(wait, 2000))]), "..+x..");
        assert_eq!(
            cells(&[begun, (3, done(wait, 2000))]),
            "..++..",
            "who says nothing has reached it at the end"
        );
        let (begun, healthy) =
            ((4, start("cilium.install")), (5, reached("cilium.install", "k8s-master1", Phase::Healthy)));
        assert_eq!(cells(std::slice::from_ref(&begun)), ".....o");
        assert_eq!(cells(&[begun.clone(), healthy]), ".....+");
        assert_eq!(cells(&[begun, (6, failed("cilium.install", 2000))]), ".....x");
    }

    #[test]
    fn a_row_in_which_nothing_runs_says_what_its_next_step_waits_for() {
        let step = id("vm.start/gateway1");
        let because = Held::of("the network", "make vmnet2");
        let board = board(&[
            (1, start("vm.clone/gateway1")),
            (3, done("vm.clone/gateway1", 2000)),
            (9, Event::StepHeld { step: step.clone(), because: because.clone() }),
        ]);
        let gateway = row(&board, "gateway1");
        assert_eq!(gateway.doing(Duration::from_secs(10)), Doing::Held(because));
        assert_eq!(
            gateway.elapsed(Duration::from_secs(10)),
            Some(Duration::from_secs(2)),
            "nothing ran since"
        );
        let mut board = board.clone();
        board.event(&start(step.as_str()), Duration::from_secs(10));
        assert_eq!(
            row(&board, "gateway1").doing(Duration::from_secs(10)),
            Doing::Text("powering on".to_owned())
        );
    }

    #[test]
    fn a_failed_row_stands_still() {
        let board = board(&[(1, start("vm.clone/gateway1")), (3, failed("vm.clone/gateway1", 2000))]);
        let row = row(&board, "gateway1");
        assert_eq!(row.state(), State::Failed);
        assert_eq!((board.count().done, board.count().failed), (0, 1));
        assert_eq!(row.elapsed(Duration::from_secs(99)), Some(Duration::from_secs(2)));
        assert_eq!(row.doing(Duration::from_secs(99)), Doing::Nothing);
    }

    #[test]
    fn time_left_comes_from_the_speed_of_this_run_not_from_what_was_there_already() {
        let progress = |done| Event::Progress { step: id("image.fetch"), done, total: Some(1000) };
        let board = board(&[(0, start("image.fetch")), (0, progress(500)), (10, progress(600))]);
        let Doing::Transfer { transfer, .. } = row(&board, "Mac").doing(Duration::from_secs(10)) else {
            panic!("a transfer runs");
        };
        assert_eq!((transfer.rate, transfer.left), (Some(10), Some(Duration::from_secs(40))));
    }
}
