//! What to do while another run works on the same thing: who it is, whether it works, and how to wait for it.

use super::{Kind, Report};
use crate::cli::words;
use crate::host::lock::{Holder, Life, Occupant};

/// Returns the report about a lock that another run has.
pub fn held(what: &str, by: &Occupant) -> Report {
    let report = Report::new("locked", Kind::Locked, sentence(what, by));
    let report = report.because(match by.life {
        Life::Works => "two runs on one thing would undo each other's work",
        Life::Silent(_) => {
            "a run that works touches its lock every few seconds: this one is stopped, or cannot write"
        }
        Life::Unseen => {
            "the lock is held by a process of another machine or container that shares this folder"
        }
        Life::Outlived => "an order to Fusion that goes on may still put a machine down, or take one away",
    });
    if by.life == Life::Outlived {
        return report
            .advise("let it come to its end; one that hangs is ended by its number, which this tells:")
            .run("pgrep -fl 'vmrun -T fusion'");
    }
    let Some(Holder { pid, .. }) = by.holder else {
        return report.advise("wait for it: the same command with --wait");
    };
    match by.life {
        Life::Works => report
            .advise("wait for it: the same command with --wait; or stop it with Ctrl-C in its window")
            .run(format!("ps -p {pid}")),
        Life::Silent(_) => report
            .advise(
                "let it go on with `fg` in its window; or end it, and the next run goes on from what stands:",
            )
            .run(format!("kill -9 {pid}")),
        Life::Unseen | Life::Outlived => {
            report.advise("wait for it: the same command with --wait; or end it where it runs")
        }
    }
}

/// Returns who has a thing, as a clause: `the lab "lab" is in use by process 7 (fusionlab up), since 14:03:55`.
pub fn sentence(what: &str, by: &Occupant) -> String {
    let what =
        what.strip_prefix("lab ").map_or_else(|| what.to_owned(), |name| format!("the lab \"{name}\""));
    if by.life == Life::Outlived {
        let by =
            by.holder.as_ref().map(|holder| format!(" (process {}, fusionlab {})", holder.pid, holder.verb));
        let by = by.unwrap_or_default();
        return format!("an order to Fusion that a killed run{by} gave for {what} goes on");
    }
    let Some(holder) = &by.holder else {
        return format!("{what} is in use by a process that has no name yet");
    };
    let who = format!("process {} (fusionlab {})", holder.pid, holder.verb);
    let silence = match by.life {
        Life::Silent(silence) => format!(", and has not been heard of for {}", words::duration(silence)),
        Life::Works | Life::Unseen | Life::Outlived => String::new(),
    };
    format!("{what} is in use by {who}, since {}{silence}", holder.since_when())
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use super::*;

    /// A run of `up`.
    pub fn occupant(life: Life) -> Occupant {
        let holder = Holder {
            pid: 7,
            started: "1".to_owned(),
            boot: "b".to_owned(),
            verb: "up".to_owned(),
            since: "2026-11-23T14:23:55Z".to_owned(),
            since_seconds: 0,
        };
        Occupant { holder: Some(holder), life }
    }

    #[test]
    fn a_run_that_works_is_to_be_waited_for_and_a_stopped_one_to_be_woken_or_ended() {
        let works = held("lab one", &occupant(Life::Works));
        assert_eq!(
            works.what,
            "the lab \"one\" is in use by process 7 (fusionlab up), since 2026-11-23T14:23:55Z"
        );
        let shown = format!("{works:?}");
        assert!(shown.contains("--wait") && shown.contains("ps -p 7"), "{shown}");

        let stopped = held("lab one", &occupant(Life::Silent(Duration::from_secs(190))));
        assert!(stopped.what.ends_with("and has not been heard of for 3 min 10 s"), "{}", stopped.what);
        let shown = format!("{stopped:?}");
        assert!(shown.contains("`fg`") && shown.contains("kill -9 7"), "{shown}");

        let elsewhere = format!("{:?}", held("lab one", &occupant(Life::Unseen)));
        assert!(!elsewhere.contains("kill") && !elsewhere.contains("ps -p"), "{elsewhere}");
        let outlived = held("lab one", &occupant(Life::Outlived));
        assert_eq!(
            outlived.what,
            "an order to Fusion that a killed run (process 7, fusionlab up) gave for the lab \"one\" goes on"
        );
        assert!(format!("{outlived:?}").contains("pgrep"), "{outlived:?}");
        let nameless = Occupant { holder: None, life: Life::Works };
        assert!(held("the template", &nameless).what.contains("no name yet"));
    }
}
