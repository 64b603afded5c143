//! A guest's console: what it prints goes line by line to the serial console's file.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::sim::seam::Surroundings;

const READ: usize = 4096;
/// A line is cut here, since some program might never end one.
const LONGEST: usize = 4096;

/// Copies on a thread of its own, until the guest's end of the terminal is closed everywhere; returns what tells that.
pub fn copy(master: OwnedFd, around: Arc<dyn Surroundings>) -> io::Result<oneshot::Receiver<()>> {
    let (ended, told) = oneshot::channel();
    std::thread::Builder::new().name("console".to_owned()).spawn(move || {
        copy_lines(File::from(master), &*around);
        // Nobody may wait any more.
        let _ = ended.send(());
    })?;
    Ok(told)
}

fn copy_lines(mut master: File, around: &dyn Surroundings) {
    let mut lines = Lines::default();
    let mut buffer = [0; READ];
    loop {
        match master.read(&mut buffer) {
            Ok(count) if count > 0 => {
                lines.take(&buffer[..count]).iter().for_each(|line| around.console(line))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Input/output error: nobody has the other end open any more.
            Ok(_) | Err(_) => break,
        }
    }
    lines.rest().iter().for_each(|line| around.console(line));
}

/// Bytes on their way to being lines.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => whole.push(self.cut()),
                byte => self.begun.push(*byte),
            }
            if self.begun.len() >= LONGEST {
                whole.push(self.cut());
            }
        }
        whole
    }

    /// Returns what was begun and never ended, if anything was.
    fn rest(&mut self) -> Option<String> {
        (!self.begun.is_empty()).then(|| self.cut())
    }

    fn cut(&mut self) -> String {
        let line = std::mem::take(&mut self.begun);
        String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\r\ntw"), ["one"]);
        assert_eq!(lines.take(b"o\r\n\r\nlogin: "), ["two", ""]);
        assert_eq!(lines.rest().as_deref(), Some("login: "));
        assert_eq!(lines.rest(), None);
        assert_eq!(lines.take(&[b'x'; LONGEST]), ["x".repeat(LONGEST)]);
    }
}
