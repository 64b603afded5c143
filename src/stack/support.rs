//! What a helper is given of a lab, as one archive: pieces of text without secrets, looked through once more before they
//! are packed.
//!
//! ```text
//! pieces ──▶ Sealer::seal: the lab's secrets out, strangers' secrets out, `~` for the home folder
//!              └──▶ leaks::Watch: is there any left? then nothing is written ──▶ pack: tar.gz
//! ```

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::identity::StoredFile;
use super::leaks::Watch;
use super::secrets::{self, Secrets};
use crate::formats::tar;

const FILE: u32 = 0o600;
const FOLDER: u32 = 0o700;

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Below the bundle's folder, by `/`.
    pub path: String,
    pub content: Vec<u8>,
}

/// A secret that is still there after all known ones were taken out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} has {secret} in it")]
pub struct Leak {
    /// The piece's.
    pub path: String,
    /// Which one: the name of its file in the lab's identity.
    pub secret: String,
}

/// Takes secrets out, and looks whether there are any left.
pub struct Sealer {
    secrets: Secrets,
    watch: Watch,
    /// With a slash at its end.
    home: Option<String>,
}

impl Sealer {
    /// Knows a lab's secrets by the files of its identity, and the user's home folder, whose path has a name in it.
    pub fn new(files: &[StoredFile], home: Option<&str>) -> Self {
        let home = home.map(|home| format!("{}/", home.trim_end_matches('/'))).filter(|home| home != "/");
        Self { secrets: Secrets::of_files(files), watch: Watch::of(files), home }
    }

    /// Returns the pieces without secrets.
    ///
    /// # Errors
    /// If a secret is left in one of them.
    pub fn seal(&self, pieces: Vec<Piece>) -> Result<Vec<Piece>, Leak> {
        pieces.into_iter().map(|piece| self.sealed(piece)).collect()
    }

    fn sealed(&self, Piece { path, content }: Piece) -> Result<Piece, Leak> {
        let text = self.secrets.conceal(&String::from_utf8_lossy(&content));
        let mut text = secrets::conceal_strangers(&text);
        if let Some(home) = &self.home {
            text = text.replace(home, "~/");
        }
        let found = self.watch.finds(path.as_bytes()).or_else(|| self.watch.finds(text.as_bytes()));
        if let Some(secret) = found.map(str::to_owned) {
            return Err(Leak { path, secret });
        }
        Ok(Piece { path, content: text.into_bytes() })
    }
}

/// Returns pieces as a compressed archive in which they lie in one folder. The same pieces are the same bytes.
///
/// # Errors
/// None but what the compression has; it writes into memory.
pub fn pack(folder: &str, pieces: &[Piece]) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(&tar::folder(&format!("{folder}/"), FOLDER))?;
    for Piece { path, content } in pieces {
        let size = content.len() as u64;
        packer.write_all(&tar::file(&format!("{folder}/{path}"), FILE, size))?;
        packer.write_all(content)?;
        packer.write_all(&tar::padding(size))?;
    }
    packer.write_all(&tar::end())?;
    packer.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::fixture;
    use super::*;
    use crate::formats::tar::{Piece as Found, Reader, TarError};

    fn piece(path: &str, content: impl Into<Vec<u8>>) -> Piece {
        Piece { path: path.to_owned(), content: content.into() }
    }

    fn key() -> (Sealer, String) {
        let files = fixture::document().1.files();
        let key = files.iter().find(|file| file.name == "ca.key").unwrap();
        let key = String::from_utf8(key.content.clone()).unwrap();
        (Sealer::new(&files, Some("/Users/ada")), key)
    }

    #[test]
    fn secrets_and_the_users_name_are_taken_out() {
        let (sealer, key) = key();
        let text = format!("read /Users/ada/lab/x and https://me:pass@mirror/\n{key}after\n");
        let sealed = sealer.seal(vec![piece("a.log", text)]).unwrap();
        let text = String::from_utf8(sealed[0].content.clone()).unwrap();
        assert!(text.starts_with("read ~/lab/x and https://[credentials]@mirror/\n"), "{text}");
        assert!(text.ends_with("after\n") && !text.contains("PRIVATE KEY"), "{text}");
    }

    #[test]
    fn what_is_left_of_a_secret_is_found_and_named() {
        let (sealer, key) = key();
        let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
        let half = &body[50..90];
        let leak = sealer.seal(vec![piece("well.log", "well"), piece("bad.log", half)]).unwrap_err();
        assert_eq!(leak, Leak { path: "bad.log".to_owned(), secret: "ca.key".to_owned() });
        assert_eq!(leak.to_string(), "bad.log has ca.key in it");
    }

    #[test]
    fn what_is_packed_is_unpacked_and_the_same_every_time() {
        let pieces = [piece("a.txt", "one"), piece("deep/b.txt", vec![7; 1000])];
        let packed = pack("support", &pieces).unwrap();
        assert_eq!(packed, pack("support", &pieces).unwrap());
        let mut archive = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut archive).unwrap();
        let (mut reader, mut names) = (Reader::default(), Vec::new());
        let took = reader.take::<TarError>(&archive, &mut |found| {
            if let Found::Head(entry) = found {
                names.push((entry.name, entry.mode, entry.size));
            }
            Ok(())
        });
        took.and_then(|()| reader.finish()).unwrap();
        let expected =
            [("support/", 0o700, 0), ("support/a.txt", 0o600, 3), ("support/deep/b.txt", 0o600, 1000)];
        assert_eq!(names, expected.map(|(name, mode, size)| (name.to_owned(), mode, size)));
    }
}
