//! Looking again and again: on a terminal in its second screen, which is gone afterwards; elsewhere block after block.

use std::io::{self, Write};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

use super::context::Context;
use super::error::{Failure, Kind, Success};
use super::screen;
use super::signals::received;
use super::terminal::{Ink, Pen, Terminal};
use crate::host::terminal::Modes;
use crate::host::{clock, input, terminal};

/// To the second screen, without a cursor; and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// Places the cursor at the top, clears what is left of a line, and what is left of the screen.
const TOP: &str = "\u{1b}[H";
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";

/// Rows below what was seen: a blank line and the foot.
const BELOW: usize = 2;

/// Something seen, which can be drawn in any width.
pub trait View {
    fn lines(&self, pen: &Pen) -> Vec<String>;
    /// The same for a window of so many rows: what says least gives way. More lines than rows are cut off.
    fn within(&self, rows: usize, pen: &Pen) -> Vec<String>;
    fn json(&self) -> serde_json::Value;
}

/// Looks and shows what is seen, until Ctrl-C, another signal that ends, or `q`, which all end well. So much time lies between
/// two looks.
///
/// # Errors
/// If the first look fails, or nobody takes the output any more. Of a later look that fails, the reason is shown, and looking
/// goes on.
pub async fn watch<V: View>(
    context: &Context,
    every: Duration,
    mut look: impl AsyncFnMut() -> Result<V, Failure>,
) -> Result<Success, Failure> {
    let mut shown = Shown::begin(context, every)?;
    let mut is_first = true;
    loop {
        let seen = match shown.meanwhile(look()).await? {
            None => return Ok(Success::Done),
            Some(Err(failure)) if failure.kind() == Kind::Interrupted => return Ok(Success::Done),
            Some(Err(failure)) if is_first => return Err(failure),
            Some(seen) => seen,
        };
        match seen {
            Ok(view) => shown.show(view)?,
            Err(failure) => shown.fail(&failure)?,
        }
        is_first = false;
        if shown.meanwhile(clock::pause(every)).await?.is_none() {
            return Ok(Success::Done);
        }
    }
}

/// What was seen last, and where it is shown.
struct Shown<'a, V> {
    context: &'a Context,
    every: Duration,
    screen: Option<Screen>,
    last: Option<V>,
    /// When that was, in seconds since 1970.
    at: u64,
    failed: Vec<String>,
}

impl<'a, V: View> Shown<'a, V> {
    fn begin(context: &'a Context, every: Duration) -> Result<Self, Failure> {
        let redraws = context.terminal.redraws && !context.json();
        let screen = if redraws { Some(Screen::begin()) } else { None };
        let shown = Self { context, every, screen, last: None, at: 0, failed: Vec::new() };
        shown.draw()?;
        Ok(shown)
    }

    /// Does something, and obeys the terminal meanwhile; none if the user wants the end.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>, Failure> {
        tokio::pin!(work);
        loop {
            let wish = async {
                match &mut self.screen {
                    Some(screen) => screen.wish().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.context.cancel.cancelled() => return Ok(None),
                wish = wish => match wish {
                    Wish::End => return Ok(None),
                    Wish::Sleep => self.sleep()?,
                    Wish::Draw => self.draw()?,
                },
                done = &mut work => return Ok(Some(done)),
            }
        }
    }

    fn show(&mut self, view: V) -> Result<(), Failure> {
        self.failed.clear();
        self.at = clock::now();
        if self.context.json() {
            return self.context.print_json(&view.json());
        }
        if self.screen.is_some() {
            self.last = Some(view);
            return self.draw();
        }
        let pen = &self.context.terminal.out;
        let head = pen.paint(Ink::Dim, &format!("at {}", clock::time_of_day(self.at)));
        let lines = view.lines(pen);
        self.context.print([head].into_iter().chain(lines).chain([String::new()]))
    }

    fn fail(&mut self, failure: &Failure) -> Result<(), Failure> {
        let pen = self.pen();
        self.failed = screen::error::lines(failure, &pen);
        if self.screen.is_some() {
            return self.draw();
        }
        if self.context.json() {
            return self.context.print_json(&screen::error::json(failure));
        }
        self.context.complain(&self.failed);
        Ok(())
    }

    fn pen(&self) -> Pen {
        // The window may have been made wider or narrower since.
        match &self.screen {
            Some(_) => Terminal::detect(self.context.options.color, self.context.options.plain).out,
            None => self.context.terminal.out,
        }
    }

    fn draw(&self) -> Result<(), Failure> {
        let Some(screen) = &self.screen else { return Ok(()) };
        let pen = self.pen();
        let rows = rows();
        let below = if self.failed.is_empty() { 0 } else { self.failed.len() + 1 };
        let room = rows.saturating_sub(BELOW + below);
        let mut lines = self.last.as_ref().map_or_else(Vec::new, |view| view.within(room, &pen));
        if !self.failed.is_empty() {
            lines.push(String::new());
            lines.extend(self.failed.iter().cloned());
        }
        let foot = self.foot(&pen);
        screen.draw(&page(&lines, &foot, rows, &pen))
    }

    fn foot(&self, pen: &Pen) -> String {
        // As it was said: in whole seconds.
        let every = match self.every.as_secs() {
            seconds @ 0..60 => format!("{seconds} s"),
            _ => super::words::duration(self.every),
        };
        let text = match self.at {
            0 => "looking for the first time; q ends".to_owned(),
            at => format!("looked at {}, again every {every}; q ends", clock::time_of_day(at)),
        };
        pen.paint(Ink::Dim, &pen.fit(&text, pen.width))
    }

    /// Gives the terminal back while the program is stopped.
    fn sleep(&mut self) -> Result<(), Failure> {
        if let Some(screen) = &self.screen {
            screen.leave();
            terminal::stop_here();
            screen.enter();
        }
        self.draw()
    }
}

fn rows() -> usize {
    console::Term::stdout().size().0.into()
}

/// Puts lines and a foot on a page of so many rows: where they are more, the last ones give way to their number.
fn page(lines: &[String], foot: &str, rows: usize, pen: &Pen) -> Vec<String> {
    let room = rows.saturating_sub(BELOW).max(1);
    let mut page: Vec<String> = lines.to_vec();
    if lines.len() > room {
        page.truncate(room - 1);
        let more = super::words::count(lines.len() - page.len(), "more line");
        page.push(pen.paint(Ink::Warn, &pen.fit(&format!("{more}: the window is too low"), pen.width)));
    }
    page.extend([String::new(), foot.to_owned()]);
    page
}

/// What the terminal asks for.
enum Wish {
    End,
    /// The program is to be stopped, as Ctrl-Z does.
    Sleep,
    /// The window has another size.
    Draw,
}

/// The terminal's second screen, until it is dropped.
struct Screen {
    modes: Modes,
    keys: Option<UnboundedReceiver<u8>>,
    window: Option<Signal>,
    stop: Option<Signal>,
    quit: Option<Signal>,
}

impl Screen {
    fn begin() -> Self {
        let of = |kind| signal(kind).ok();
        let screen = Self {
            modes: Modes::kept(),
            keys: input::is_terminal().then(input::keys),
            window: of(SignalKind::window_change()),
            stop: of(SignalKind::from_raw(terminal::STOP)),
            quit: of(SignalKind::quit()),
        };
        screen.enter();
        screen
    }

    fn enter(&self) {
        self.modes.take_single_keys();
        write(ENTER);
    }

    fn leave(&self) {
        write(LEAVE);
        self.modes.put_back();
    }

    async fn wish(&mut self) -> Wish {
        let Self { keys, window, stop, quit, .. } = self;
        tokio::select! {
            () = typed(keys) => Wish::End,
            () = received(quit) => Wish::End,
            () = received(stop) => Wish::Sleep,
            () = received(window) => Wish::Draw,
        }
    }

    /// Draws a page over the one before, at once, so that nothing flickers.
    fn draw(&self, lines: &[String]) -> Result<(), Failure> {
        let page = lines.join(&format!("{REST_OF_LINE}\r\n"));
        if write(&format!("{TOP}{page}{REST_OF_LINE}{REST_OF_SCREEN}")) {
            Ok(())
        } else {
            Err(Failure::OutputClosed)
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Says whether the terminal is still there.
fn write(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Waits for the key that ends; for ever where nobody types.
async fn typed(keys: &mut Option<UnboundedReceiver<u8>>) {
    while let Some(keys) = keys {
        match keys.recv().await {
            Some(b'q' | b'Q') => return,
            Some(_) => {}
            None => break,
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("line {number}")).collect()
    }

    #[test]
    fn a_page_is_never_higher_than_the_window() {
        let pen = Pen::plain(80);
        assert_eq!(page(&lines(2), "foot", 24, &pen), ["line 1", "line 2", "", "foot"]);
        assert_eq!(page(&lines(3), "foot", 5, &pen), ["line 1", "line 2", "line 3", "", "foot"]);
        let low = page(&lines(9), "foot", 5, &pen);
        assert_eq!(low, ["line 1", "line 2", "7 more lines: the window is too low", "", "foot"]);
        for rows in 3..12 {
            assert!(page(&lines(9), "foot", rows, &pen).len() <= rows, "{rows}");
        }
        assert_eq!(page(&lines(9), "foot", 0, &Pen::plain(20))[0], "9 more lines: the w…");
    }
}
