//! A file that we put into a guest.

use sha2::{Digest, Sha256};

use crate::formats::command::Command;

/// Owned by root; whoever reads it is decided by the mode.
#[derive(Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Absolute.
    pub path: String,
    /// Permission bits, such as `0o644`.
    pub mode: u32,
    pub content: Vec<u8>,
    /// Whether `render` and logs must not show the content.
    pub secret: bool,
}

impl GuestFile {
    pub fn new(path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, content: content.into(), secret: false }
    }

    /// A file only root reads, whose content is never shown.
    pub fn secret(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o600, content: content.into(), secret: true }
    }

    /// Returns the SHA-256 of the content in hexadecimal, as `fusionlab-facts` reports it.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(&self.content))
    }

    /// Returns where the file lies before it takes its place; it can be tested there.
    pub fn staged(&self) -> String {
        format!("{}.fusionlab-new", self.path)
    }

    /// Returns the commands that put the file there: written beside its place with owner and mode,
    /// then renamed, so that no reader ever sees half a file.
    pub fn install(&self) -> [Command; 2] {
        let beside = self.staged();
        let mode = format!("{:04o}", self.mode);
        let mut write =
            Command::new(["install", "-D", "-o", "root", "-g", "root", "-m", &mode, "/dev/stdin", &beside])
                .as_root();
        write.input.clone_from(&self.content);
        write.secret_input = self.secret;
        [write, Command::new(["mv", "-f", &beside, &self.path]).as_root()]
    }
}

impl std::fmt::Debug for GuestFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GuestFile({} {:04o}, {} bytes)", self.path, self.mode, self.content.len())
    }
}
