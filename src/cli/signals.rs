//! The user's wish to stop, as signals: Ctrl-C, a polite kill, a terminal that is closed.
//!
//! ```text
//! first    nothing new begins; what runs is finished or cut off within `limits.stop`; what stands is said
//! second   the program ends at once, which is safe at any point
//! ```

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::error::Kind;
use crate::host::{clock, system};

/// For how long the program tries to leave in good order at the second signal.
const LEAVING: Duration = Duration::from_secs(1);

/// Asks for a stop at the first signal, by `cancel`; returns what is cancelled at the second.
pub fn obeyed(cancel: CancellationToken) -> CancellationToken {
    let leave = CancellationToken::new();
    tokio::spawn(obey(cancel, leave.clone()));
    leave
}

async fn obey(cancel: CancellationToken, leave: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers a signal ends the program at once.
        return;
    };
    // Under nohup the terminal may go and the program stays.
    let mut hangup = if system::ignores_hangup() { None } else { signal(SignalKind::hangup()).ok() };
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = received(&mut hangup) => {}
        }
    };
    next().await;
    cancel.cancel();
    next().await;
    // Bars and questions hide the cursor. A file has none.
    let term = console::Term::stderr();
    if term.is_term() {
        // Rows are left with the cursor at the beginning of the last one; what comes next stands below.
        let _ = term.write_line("");
        let _ = term.show_cursor();
    }
    leave.cancel();
    // Whoever works without ever waiting does not see that.
    clock::pause(LEAVING).await;
    std::process::exit(Kind::Interrupted.exit_code().into());
}

/// Waits for a signal; for ever where none is listened for.
pub async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
