//! The terminal's modes, kept while a question waits: whoever reads single keys changes them, and a signal that ends the
//! program meanwhile would leave a terminal that shows nothing of what is typed.

use std::mem::MaybeUninit;

/// The modes of standard input as they were; nothing if it is no terminal.
#[derive(Clone, Copy)]
pub struct Modes(Option<libc::termios>);

impl Modes {
    /// Notes the modes of now.
    pub fn kept() -> Self {
        let mut modes = MaybeUninit::uninit();
        // SAFETY: tcgetattr fills the place that it is given, or says that it did not.
        let told = unsafe { libc::tcgetattr(libc::STDIN_FILENO, modes.as_mut_ptr()) } == 0;
        // SAFETY: it was filled.
        Self(told.then(|| unsafe { modes.assume_init() }))
    }

    /// Has every key told as it is typed, and not shown. Those that send a signal still do.
    pub fn take_single_keys(self) {
        let Some(mut modes) = self.0 else { return };
        modes.c_lflag &= !(libc::ICANON | libc::ECHO);
        modes.c_cc[libc::VMIN] = 1;
        modes.c_cc[libc::VTIME] = 0;
        // SAFETY: as in [`Self::put_back`].
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const modes) };
    }

    /// Puts them back at once.
    pub fn put_back(self) {
        let Some(modes) = self.0 else { return };
        // SAFETY: the modes live longer than the call. A terminal that is gone has no modes to put back.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const modes) };
    }
}

/// The signal of Ctrl-Z.
pub const STOP: i32 = libc::SIGTSTP;

/// Stops this process as that signal does, and returns once it is to go on.
pub fn stop_here() {
    // SAFETY: raise takes a number.
    unsafe { libc::raise(libc::SIGSTOP) };
}
