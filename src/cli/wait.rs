//! `--wait`: a verb that changes something waits for the run that has the lab, in place of giving up.

use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::error::from_lock;
use super::{duration, words};
use crate::engine::home::lab_lock;
use crate::host::lock::{Life, Occupant};
use crate::lab::limits::Limits;

/// What every verb takes that has a lab to itself.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct WaitArgs {
    /// Wait for another run on the same lab, an hour or as long as is said: 30s, 10m, 2h
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = duration::parse)]
    wait: Option<Option<Duration>>,
}

/// How a verb that changes something takes its lab: it does not wait for another run at all without `--wait`.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub lab_lock::Patience);

impl WaitArgs {
    pub fn patience(self, limits: &Limits) -> Patience {
        let run = self.wait.map_or(Duration::ZERO, |said| said.unwrap_or(limits.turn));
        Patience(lab_lock::Patience { run, order: limits.vm_clone })
    }
}

impl Patience {
    /// Says whom it waits for, and for how long at most.
    pub fn tell(self, context: &Context, what: &str, by: &Occupant) {
        let most = words::duration(if by.life == Life::Outlived { self.0.order } else { self.0.run });
        let waits = format!("{}; waiting for it, at most {most}", from_lock::sentence(what, by));
        context.say(words::wrap(&waits, context.terminal.err.prose_width()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_option_nobody_is_waited_for_and_without_a_duration_as_long_as_the_lab_file_says() {
        let limits = Limits::default();
        let limit = |wait| WaitArgs { wait }.patience(&limits).0.run;
        assert_eq!(limit(None), Duration::ZERO);
        assert_eq!(limit(Some(None)), limits.turn);
        assert_eq!(limit(Some(Some(Duration::from_secs(7)))), Duration::from_secs(7));
    }
}
