//! What a command printed: kept up to a size, and handed on line by line.

use std::collections::VecDeque;

use crate::host::LineSink;

/// How much of each stream is kept; of a longer one, its end. The answers that we read are far shorter.
pub const KEPT: usize = 8 * 1024 * 1024;
/// A line without an end is handed on in pieces of this size.
const LONGEST_LINE: usize = 64 * 1024;

/// One stream of a command. Holds no more than [`KEPT`] and `LONGEST_LINE` bytes, whatever comes.
#[derive(Default)]
pub struct Stream {
    kept: VecDeque<u8>,
    left_out: u64,
    line: Vec<u8>,
}

impl Stream {
    pub fn take(&mut self, bytes: &[u8], sink: Option<&LineSink>) {
        self.keep(bytes);
        let Some(sink) = sink else { return };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() > LONGEST_LINE {
                self.hand_on(sink);
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        // Room is made first, so that the buffer never grows beyond what is kept.
        let excess = (self.kept.len() + bytes.len()).saturating_sub(KEPT);
        let from_before = excess.min(self.kept.len());
        self.kept.drain(..from_before);
        self.kept.extend(&bytes[excess - from_before..]);
        self.left_out += excess as u64;
    }

    /// Returns what was kept, and how many bytes before it were not; a last line without an end is handed on first.
    pub fn finish(mut self, sink: Option<&LineSink>) -> (Vec<u8>, u64) {
        if let (Some(sink), false) = (sink, self.line.is_empty()) {
            self.hand_on(sink);
        }
        (self.kept.into(), self.left_out)
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

    fn recorder() -> (Arc<Mutex<Vec<String>>>, LineSink) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        (lines, Box::new(move |line| seen.lock().unwrap().push(line.to_owned())))
    }

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        let (lines, sink) = recorder();
        let mut stream = Stream::default();
        for piece in ["on", "e\r\ntwo\n", "", "thr", "ee"] {
            stream.take(piece.as_bytes(), Some(&sink));
        }
        assert_eq!(stream.finish(Some(&sink)), (b"one\r\ntwo\nthree".to_vec(), 0));
        assert_eq!(*lines.lock().unwrap(), ["one", "two", "three"]);
    }

    #[test]
    fn of_too_much_the_end_is_kept_and_no_more_is_held_meanwhile() {
        let mut stream = Stream::default();
        for number in 0..40_u8 {
            stream.take(&vec![number; 1 << 20], None);
            assert!(stream.kept.capacity() <= KEPT, "{} bytes are held", stream.kept.capacity());
        }
        let (kept, left_out) = stream.finish(None);
        assert_eq!((kept.len(), left_out), (KEPT, 32 << 20));
        assert_eq!((kept.first(), kept.last()), (Some(&32), Some(&39)));
    }

    #[test]
    fn a_piece_that_alone_is_too_much_is_cut_too() {
        let mut stream = Stream::default();
        stream.take(b"before", None);
        stream.take(&vec![1; KEPT + 3], None);
        assert_eq!(stream.finish(None), (vec![1; KEPT], 9));
    }

    #[test]
    fn a_line_without_an_end_is_handed_on_in_pieces_and_what_is_no_text_is_replaced() {
        let (lines, sink) = recorder();
        let mut stream = Stream::default();
        for _ in 0..10 {
            stream.take(&vec![b'x'; LONGEST_LINE], Some(&sink));
            assert!(stream.line.len() <= LONGEST_LINE);
        }
        stream.take(b"\n\xff\xfe\0\x1b[2J\n", Some(&sink));
        stream.finish(Some(&sink));
        let lines = lines.lock().unwrap();
        assert_eq!(
            lines.iter().filter(|line| line.starts_with('x')).map(String::len).sum::<usize>(),
            10 * LONGEST_LINE
        );
        assert_eq!(lines.last().unwrap(), "\u{fffd}\u{fffd}\0\u{1b}[2J");
    }
}
