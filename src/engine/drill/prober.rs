//! Asks every way into the lab at a steady rate, each time by a connection of its own, and keeps the count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::tally::Tally;
use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::observe::ask;
use crate::host::clock;
use crate::host::http;
use crate::stack::drill::{Fared, Way};

/// Requests a second to each way: an outage is known to a tenth of a second, and a laptop hardly feels them.
pub const RATE: u32 = 10;
const INTERVAL: Duration = Duration::from_millis(1000 / RATE as u64);
/// Two answers that are no further apart than this are no outage.
const GRAIN: Duration = Duration::from_millis(2 * INTERVAL.as_millis() as u64);

/// The requests that go on in the background until this is dropped.
pub struct Prober {
    ways: Vec<Way>,
    counts: Arc<Counts>,
    requests: TaskTracker,
    stop: CancellationToken,
    _stop: DropGuard,
}

struct Counts {
    started: clock::Instant,
    tallies: Mutex<Vec<Tally>>,
}

impl Counts {
    fn tallies(&self) -> MutexGuard<'_, Vec<Tally>> {
        // Each change is one assignment, so a panic elsewhere leaves none half done.
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prober {
    /// Begins to ask.
    pub fn start(engine: &Arc<Engine>, ways: Vec<Way>) -> Result<Self> {
        let probes = ways.iter().map(|way| probe(engine, way)).collect::<Result<Vec<_>>>()?;
        let tallies = vec![Tally::default(); ways.len()];
        let counts = Arc::new(Counts { started: clock::monotonic(), tallies: Mutex::new(tallies) });
        let (requests, stop) = (TaskTracker::new(), CancellationToken::new());
        for (index, probe) in probes.into_iter().enumerate() {
            let line = Line {
                engine: engine.clone(),
                way: ways[index].clone(),
                probe: Arc::new(probe),
                index,
                counts: counts.clone(),
                requests: requests.clone(),
            };
            tokio::spawn(stop.clone().run_until_cancelled_owned(line.ask_steadily()));
        }
        Ok(Self { ways, counts, requests, _stop: stop.clone().drop_guard(), stop })
    }

    /// Counts from here on.
    pub fn begin(&self) {
        let at = self.counts.started.elapsed();
        self.counts.tallies().iter_mut().for_each(|tally| tally.begin(at));
    }

    /// Counts answers in a row from here on.
    pub fn forget_rows(&self) {
        self.counts.tallies().iter_mut().for_each(Tally::forget_row);
    }

    /// Says which ways were not answered so many times in a row; none if all were. How often they were would be
    /// another sentence at each look.
    pub fn unsteady(&self, row: u32) -> Option<String> {
        let tallies = self.counts.tallies();
        let rows = self.ways.iter().zip(tallies.iter()).filter(|(_, tally)| tally.in_a_row() < row);
        let short: Vec<&str> = rows.map(|(way, _)| way.id).collect();
        (!short.is_empty()).then(|| format!("{} not answered {row} times in a row", short.join(", ")))
    }

    /// Stops asking, waits for the requests under way, and returns how each way fared.
    pub async fn end(self) -> Vec<Fared> {
        let at = self.counts.started.elapsed();
        self.stop.cancel();
        self.requests.close();
        self.requests.wait().await;
        let tallies = self.counts.tallies();
        let fared = |(way, tally): (&Way, &Tally)| {
            let (sent, lost, outage) = tally.end(at, GRAIN);
            Fared { way: way.id, address: way.request.address, sent, lost, outage }
        };
        self.ways.iter().zip(tallies.iter()).map(fared).collect()
    }
}

/// One way with what asks it.
struct Line {
    engine: Arc<Engine>,
    way: Way,
    probe: Arc<http::Probe>,
    index: usize,
    counts: Arc<Counts>,
    requests: TaskTracker,
}

impl Line {
    /// Begins a request each interval, however long those before it take.
    async fn ask_steadily(self) {
        let line = Arc::new(self);
        for number in 1_u32.. {
            line.requests.spawn(line.clone().ask_once());
            let next = INTERVAL * number;
            let began = line.counts.started;
            clock::pause(next.saturating_sub(began.elapsed())).await;
        }
    }

    async fn ask_once(self: Arc<Self>) {
        let answered = ask(&self.engine, &self.way, &self.probe).await;
        let at = self.counts.started.elapsed();
        self.counts.tallies()[self.index].settle(at, answered);
    }
}

/// Returns what asks a way.
pub fn probe(engine: &Engine, way: &Way) -> Result<http::Probe> {
    ask::probe(engine, &way.request, engine.lab.limits.drill_request)
}

/// Asks a way once; that nobody answers is no answer.
pub async fn ask(engine: &Engine, way: &Way, probe: &http::Probe) -> bool {
    ask::send(engine, probe).await.is_ok_and(|answer| way.is_answered_by(answer.status))
}
