//! How long a lab's first `up` takes by the plan's own figures, and what planning and scheduling it costs.
//!
//!     cargo bench --bench schedule
//!
//! The steps last as long as the plan supposes, in virtual time, so the first table is the same on every machine. The
//! second is measured: the whole run has nothing to wait for, and what it takes is the scheduler's own work. A bound that is
//! broken is the exit status.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fusionlab::engine::schedule::model::{first_up, forecast, lab_of};
use tokio::runtime::Builder;

/// Machines of the labs: the preset `small`, the document's, and two that no Mac holds.
const SIZES: [usize; 4] = [3, 7, 20, 50];
/// What planning and scheduling may take for the largest.
const LIMIT: Duration = Duration::from_millis(50);
/// Each figure of the overhead is the best of so many.
const ROUNDS: usize = 9;
/// The most that a run may take: of its longest way, and of one step after the other.
const OF_LONGEST: f64 = 1.05;
const OF_IN_A_ROW: f64 = 0.45;

fn main() -> ExitCode {
    println!("virtual time, by the plan's figures");
    println!();
    println!(
        "machines  template  steps  in a row  longest way  with gates   total  of longest  of least  of in a row  at once"
    );
    for machines in SIZES {
        for template_stands in [true, false] {
            times(machines, template_stands);
        }
    }
    println!();
    let keeps_to_the_way = longest_way();
    println!();
    if overhead() && keeps_to_the_way { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A runtime on which time passes at once.
fn virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(work)
}

fn times(machines: usize, template_stands: bool) {
    let lab = lab_of(machines);
    let plan = first_up(&lab, template_stands);
    let run = virtual_time(forecast(&lab, &plan)).expect("no step of the model fails");
    let part = |whole: Duration| run.total.as_secs_f64() / whole.as_secs_f64();
    println!(
        "{machines:>8}  {:>8}  {:>5}  {:>6} s  {:>9} s  {:>8} s  {:>4} s  {:>10.3}  {:>8.3}  {:>11.3}  {:>7}",
        if template_stands { "stands" } else { "baked" },
        plan.steps.len(),
        run.in_a_row.as_secs(),
        run.longest.as_secs(),
        run.least.as_secs(),
        run.total.as_secs(),
        part(run.longest),
        part(run.least),
        part(run.in_a_row),
        run.at_once,
    );
}

/// The document's lab on a Mac that has its template: what the issue judges by.
fn longest_way() -> bool {
    let lab = lab_of(7);
    let plan = first_up(&lab, true);
    let run = virtual_time(forecast(&lab, &plan)).expect("no step of the model fails");
    println!("the longest way of the document's lab");
    println!();
    for step in &run.way {
        println!("{:>6} s  {}", step.cost_seconds, step.id);
    }
    let (total, longest, in_a_row) =
        (run.total.as_secs_f64(), run.longest.as_secs_f64(), run.in_a_row.as_secs_f64());
    println!("{longest:>6} s  in all; the run takes {total} s");
    println!();
    let bounds = [total <= OF_LONGEST * longest, total <= OF_IN_A_ROW * in_a_row];
    let [of_longest, of_in_a_row] = bounds.map(|good| if good { "holds" } else { "BROKEN" });
    println!("at most {OF_LONGEST} of the longest way: {of_longest}");
    println!("at most {OF_IN_A_ROW} of one step after the other: {of_in_a_row}");
    bounds == [true, true]
}

fn overhead() -> bool {
    println!("planning and scheduling, best of {ROUNDS}");
    println!();
    println!("machines  steps  planning  scheduling       sum  each step");
    let mut sum = Duration::ZERO;
    for machines in SIZES {
        let lab = lab_of(machines);
        let planning = best(|| {
            first_up(&lab, true);
        });
        let plan = first_up(&lab, true);
        let scheduling = best(|| {
            virtual_time(forecast(&lab, &plan)).expect("no step of the model fails");
        });
        sum = planning + scheduling;
        println!(
            "{machines:>8}  {:>5}  {:>5.2} ms  {:>7.2} ms  {:>5.2} ms  {:>6.1} µs",
            plan.steps.len(),
            planning.as_secs_f64() * 1e3,
            scheduling.as_secs_f64() * 1e3,
            sum.as_secs_f64() * 1e3,
            sum.as_secs_f64() * 1e6 / plan.steps.len() as f64,
        );
    }
    let holds = sum <= LIMIT;
    let verdict = if holds { "holds" } else { "BROKEN (is this a release build, on a quiet machine?)" };
    println!();
    println!("at most {} ms for the largest: {verdict}", LIMIT.as_millis());
    holds
}

fn best(mut work: impl FnMut()) -> Duration {
    let round = |_| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}
