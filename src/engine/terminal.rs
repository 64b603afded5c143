//! Who has the terminal: the reporter that draws on it, or a program that asks the user something, such as `sudo`.
//!
//! ```text
//! step                               the reporter's pump
//! hold() ── TerminalTaken ─────────▶ clears its rows and draws no more
//!    ◀───────── cleared() ──────────
//! (the program asks and is answered)
//! drop   ── TerminalBack ──────────▶ draws again
//! ```
//!
//! Where nobody draws, or whoever did has ended, nothing is waited for.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, watch};

use super::event::Event;

/// The terminal of one run.
#[derive(Debug)]
pub struct Terminal {
    /// Counts how often it was taken; locked by whoever has it.
    taken: Arc<Mutex<u64>>,
    /// How often it was cleared since somebody draws; none while nobody does.
    cleared: watch::Sender<Option<u64>>,
}

/// The terminal in the hands of one program; given back when it is dropped.
#[derive(Debug)]
#[must_use = "the terminal is given back at once if nobody keeps this"]
pub struct Held {
    _turn: OwnedMutexGuard<u64>,
    events: mpsc::UnboundedSender<Event>,
}

/// Somebody who draws, from now until this is dropped.
#[derive(Debug)]
pub struct Drawing(Arc<Terminal>);

impl Default for Terminal {
    fn default() -> Self {
        Self { taken: Arc::default(), cleared: watch::Sender::new(None) }
    }
}

impl Terminal {
    /// Waits until nothing is drawn any more. One at a time has the terminal.
    pub async fn hold(&self, events: &mpsc::UnboundedSender<Event>) -> Held {
        let mut turn = self.taken.clone().lock_owned().await;
        *turn += 1;
        let number = *turn;
        // From here on it is given back, whatever happens.
        let held = Held { _turn: turn, events: events.clone() };
        // Nobody listens any more only when the program ends.
        let _ = events.send(Event::TerminalTaken);
        let is_free = |cleared: &Option<u64>| cleared.is_none_or(|cleared| cleared >= number);
        self.cleared.subscribe().wait_for(is_free).await.expect("the sender is our own");
        held
    }

    /// Says that somebody draws who takes in every event of the run.
    pub fn draw(self: &Arc<Self>) -> Drawing {
        self.cleared.send_replace(Some(0));
        Drawing(self.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.events.send(Event::TerminalBack);
    }
}

impl Drawing {
    /// Says that an [`Event::TerminalTaken`] was obeyed.
    pub fn cleared(&self) {
        self.0.cleared.send_modify(|cleared| *cleared = Some(cleared.unwrap_or(0) + 1));
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.0.cleared.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says whether a future is done without anything else having to happen.
    async fn is_done(work: &mut (impl Future + Unpin)) -> bool {
        tokio::select! {
            biased;
            _ = work => true,
            () = tokio::task::yield_now() => false,
        }
    }

    #[tokio::test]
    async fn nobody_waits_where_nobody_draws() {
        let (events, mut seen) = mpsc::unbounded_channel();
        drop(Terminal::default().hold(&events).await);
        assert_eq!(seen.try_recv(), Ok(Event::TerminalTaken));
        assert_eq!(seen.try_recv(), Ok(Event::TerminalBack));
    }

    #[tokio::test]
    async fn the_terminal_is_had_only_once_it_is_clear_each_time_anew() {
        let terminal = Arc::new(Terminal::default());
        let (events, _seen) = mpsc::unbounded_channel();
        let drawing = terminal.draw();
        for _ in 0..2 {
            let mut hold = Box::pin(terminal.hold(&events));
            assert!(!is_done(&mut hold).await);
            drawing.cleared();
            drop(hold.await);
        }
    }

    #[tokio::test]
    async fn who_draws_no_more_keeps_nobody_waiting() {
        let terminal = Arc::new(Terminal::default());
        let (events, _seen) = mpsc::unbounded_channel();
        let drawing = terminal.draw();
        let mut hold = Box::pin(terminal.hold(&events));
        assert!(!is_done(&mut hold).await);
        drop(drawing);
        drop(hold.await);
    }

    #[tokio::test]
    async fn one_at_a_time_has_it() {
        let terminal = Terminal::default();
        let (events, _seen) = mpsc::unbounded_channel();
        let first = terminal.hold(&events).await;
        let mut second = Box::pin(terminal.hold(&events));
        assert!(!is_done(&mut second).await);
        drop(first);
        drop(second.await);
    }
}
