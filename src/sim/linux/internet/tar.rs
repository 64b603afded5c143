//! Writes tar archives (POSIX ustar) whose files belong to root and have no dates: the same content is the same bytes.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

const BLOCK: usize = 512;
const NAME_LENGTH: usize = 100;
const FILE: u8 = b'0';
const LINK: u8 = b'2';
const FOLDER: u8 = b'5';

/// An archive that is being written.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn folder(&mut self, name: &str) {
        self.entry(FOLDER, name, 0o755, "", &[]);
    }

    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(FILE, name, mode, "", content);
    }

    pub fn link(&mut self, name: &str, to: &str) {
        self.entry(LINK, name, 0o777, to, &[]);
    }

    fn entry(&mut self, kind: u8, name: &str, mode: u32, link: &str, content: &[u8]) {
        assert!(name.len() < NAME_LENGTH && link.len() < NAME_LENGTH, "ours are short: {name}");
        let mut head = [0_u8; BLOCK];
        let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", content.len()).as_bytes());
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(265, b"root");
        put(297, b"root");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(head);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }

    /// Ends the archive and compresses it.
    pub fn gzip(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        gzip(&self.0)
    }
}

/// Compresses; without a date.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).and_then(|()| packer.finish()).expect("writing to memory does not fail")
}
