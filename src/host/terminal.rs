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

    /// Puts them back at once.
    pub fn put_back(self) {
        let Some(modes) = self.0 else { return };
        // SAFETY: the modes live longer than the call. A terminal that is gone has no modes to put back.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const modes) };
    }
}
