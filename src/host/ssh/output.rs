//! What a command printed: kept up to a size, and handed on line by line.

use crate::host::LineSink;
use crate::host::process::trim_to_end;

/// How much of each stream is kept; of a longer one, its end.
const KEPT: usize = 8 * 1024 * 1024;
/// A line without an end is handed on in pieces of this size.
const LONGEST_LINE: usize = 64 * 1024;

/// One stream of a command.
#[derive(Default)]
pub struct Stream {
    kept: Vec<u8>,
    line: Vec<u8>,
}

impl Stream {
    pub fn take(&mut self, bytes: &[u8], sink: Option<&LineSink>) {
        self.kept.extend_from_slice(bytes);
        trim_to_end(&mut self.kept, KEPT);
        let Some(sink) = sink else { return };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() > LONGEST_LINE {
                self.hand_on(sink);
            }
        }
    }

    /// Returns what was kept; a last line without an end is handed on first.
    pub fn finish(mut self, sink: Option<&LineSink>) -> Vec<u8> {
        if let (Some(sink), false) = (sink, self.line.is_empty()) {
            self.hand_on(sink);
        }
        let excess = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..excess);
        self.kept
    }

    fn hand_on(&mut self, sink: &LineSink) {
        sink(String::from_utf8_lossy(&self.line).trim_end_matches(['\r', '\n']));
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let sink: LineSink = Box::new(move |line| seen.lock().unwrap().push(line.to_owned()));
        let mut stream = Stream::default();
        for piece in ["on", "e\r\ntwo\n", "", "thr", "ee"] {
            stream.take(piece.as_bytes(), Some(&sink));
        }
        assert_eq!(stream.finish(Some(&sink)), b"one\r\ntwo\nthree");
        assert_eq!(*lines.lock().unwrap(), ["one", "two", "three"]);
    }

    #[test]
    fn of_too_much_the_end_is_kept() {
        let mut stream = Stream::default();
        for number in 0..40_u8 {
            stream.take(&vec![number; 1 << 20], None);
        }
        let kept = stream.finish(None);
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept.last(), Some(&39));
    }
}
