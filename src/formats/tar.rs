//! Folders as one stream of bytes: tar archives (POSIX ustar, with GNU's long names), written and read piece by piece.
//!
//! What is written has no owner's name and no dates, so that the same content is the same bytes. Links are neither written nor
//! read: a link could lead whoever unpacks out of the folder.

use std::borrow::Cow;

const BLOCK: usize = 512;
const NAME_LENGTH: usize = 100;
const FILE: u8 = b'0';
const FOLDER: u8 = b'5';
/// The next entry's name (GNU), and its attributes (POSIX pax).
const LONG_NAME: u8 = b'L';
const ATTRIBUTES: u8 = b'x';
/// A long name is no longer than this, so that a hostile archive fills no memory.
const LONGEST_NAME: u64 = 64 * 1024;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// A link, a device or something newer: its content is passed over.
    Other,
}

/// The head of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// A path, by `/`, as the archive has it: not to be trusted.
    pub name: String,
    pub mode: u32,
    /// Bytes of content that follow.
    pub size: u64,
}

/// What the reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Head(Entry),
    /// Content of the entry before.
    Content(&'a [u8]),
    /// The entry's content is complete.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    #[error("not a tar archive: a header's checksum is wrong")]
    Checksum,
    #[error("a tar archive with a number that is none")]
    Number,
    #[error("a tar archive with a name of {0} bytes")]
    Name(u64),
    #[error("a tar archive that breaks off")]
    CutShort,
}

/// Returns what stands before a folder's entries.
pub fn folder(name: &str, mode: u32) -> Vec<u8> {
    head(FOLDER, name, mode, 0)
}

/// Returns what stands before a file's content of so many bytes; [`padding`] follows that.
pub fn file(name: &str, mode: u32, size: u64) -> Vec<u8> {
    head(FILE, name, mode, size)
}

/// Returns what fills a file's last block.
pub fn padding(size: u64) -> Vec<u8> {
    vec![0; (size.next_multiple_of(BLOCK as u64) - size) as usize]
}

/// Returns an archive's end.
pub fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

fn head(kind: u8, name: &str, mode: u32, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if name.len() >= NAME_LENGTH {
        let long = [name.as_bytes(), &[0]].concat();
        bytes.extend(block(LONG_NAME, b"././@LongLink", 0o644, long.len() as u64));
        bytes.extend(&long);
        bytes.extend(padding(long.len() as u64));
    }
    bytes.extend(block(kind, &name.as_bytes()[..name.len().min(NAME_LENGTH - 1)], mode, size));
    bytes
}

fn block(kind: u8, name: &[u8], mode: u32, size: u64) -> [u8; BLOCK] {
    let mut head = [0_u8; BLOCK];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name);
    put(100, format!("{:07o}", mode & 0o7777).as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    // GNU's binary form, where eleven octal digits are too few (8 GiB).
    if size < 1 << 33 {
        put(124, format!("{size:011o}").as_bytes());
    } else {
        put(124, &[0x80]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum = checksum(&head);
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

/// The sum of a header's bytes, its own field counted as spaces.
fn checksum(head: &[u8]) -> u32 {
    let byte = |(at, byte): (usize, &u8)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
    head.iter().enumerate().map(byte).sum()
}

/// Reads an archive as its bytes come.
#[derive(Default)]
pub struct Reader {
    /// Bytes of a block that is not whole, or of a long name.
    held: Vec<u8>,
    state: State,
    /// The name that the next entry has.
    long: Option<String>,
    is_over: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Head,
    /// Bytes of content left, and bytes that fill the block after it.
    Content {
        left: u64,
        padding: u64,
        is_shown: bool,
    },
    Name {
        kind: u8,
        left: u64,
        padding: u64,
    },
    Padding(u64),
}

impl Reader {
    /// Takes bytes; tells `tell` what they hold.
    pub fn take<E: From<TarError>>(
        &mut self,
        mut bytes: &[u8],
        tell: &mut dyn FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() && !self.is_over {
            let used = match &mut self.state {
                State::Head => {
                    let count = bytes.len().min(BLOCK - self.held.len());
                    self.held.extend(&bytes[..count]);
                    if self.held.len() == BLOCK {
                        let block = std::mem::take(&mut self.held);
                        self.begin(&block, tell)?;
                    }
                    count
                }
                State::Content { left, padding, is_shown } => {
                    let count = part(bytes, *left);
                    if *is_shown {
                        tell(Piece::Content(&bytes[..count]))?;
                    }
                    *left -= count as u64;
                    if *left == 0 {
                        let (padding, is_shown) = (*padding, *is_shown);
                        self.state = after(padding);
                        if is_shown {
                            tell(Piece::End)?;
                        }
                    }
                    count
                }
                State::Name { kind, left, padding } => {
                    let count = part(bytes, *left);
                    self.held.extend(&bytes[..count]);
                    *left -= count as u64;
                    if *left == 0 {
                        let (kind, padding) = (*kind, *padding);
                        let text = std::mem::take(&mut self.held);
                        self.long = name_of(kind, &text).or(self.long.take());
                        self.state = after(padding);
                    }
                    count
                }
                State::Padding(left) => {
                    let count = part(bytes, *left);
                    *left -= count as u64;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                    count
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Says whether the archive came to its end.
    pub fn finish(self) -> Result<(), TarError> {
        if self.is_over { Ok(()) } else { Err(TarError::CutShort) }
    }

    fn begin<E: From<TarError>>(
        &mut self,
        block: &[u8],
        tell: &mut dyn FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if block.iter().all(|byte| *byte == 0) {
            self.is_over = true;
            return Ok(());
        }
        if number(&block[148..156])? != u64::from(checksum(block)) {
            return Err(TarError::Checksum.into());
        }
        let (kind, size) = (block[156], number(&block[124..136])?);
        let padding = size.checked_next_multiple_of(BLOCK as u64).ok_or(TarError::Number)? - size;
        if [LONG_NAME, ATTRIBUTES].contains(&kind) {
            if size > LONGEST_NAME {
                return Err(TarError::Name(size).into());
            }
            self.state = if size == 0 { State::Head } else { State::Name { kind, left: size, padding } };
            return Ok(());
        }
        let kind = match kind {
            FILE | 0 => Kind::File,
            FOLDER => Kind::Folder,
            _ => Kind::Other,
        };
        let name = self.long.take().unwrap_or_else(|| short_name(block));
        let mode = u32::try_from(number(&block[100..108])? & 0o7777).unwrap_or_default();
        let is_shown = kind == Kind::File;
        tell(Piece::Head(Entry { kind, name, mode, size }))?;
        if size > 0 {
            self.state = State::Content { left: size, padding, is_shown };
        } else if is_shown {
            tell(Piece::End)?;
        }
        Ok(())
    }
}

fn part(bytes: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

fn after(padding: u64) -> State {
    if padding == 0 { State::Head } else { State::Padding(padding) }
}

/// Returns a header's own name, with ustar's prefix before it.
fn short_name(block: &[u8]) -> String {
    let prefix = if &block[257..263] == b"ustar\0" { text(&block[345..500]) } else { Cow::Borrowed("") };
    let name = text(&block[..NAME_LENGTH]);
    if prefix.is_empty() { name.into_owned() } else { format!("{prefix}/{name}") }
}

fn text(field: &[u8]) -> Cow<'_, str> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end])
}

/// Returns the name that GNU's or pax's entry gives the next one.
fn name_of(kind: u8, content: &[u8]) -> Option<String> {
    if kind == LONG_NAME {
        return Some(text(content).into_owned());
    }
    // Records such as `30 path=a/long/name`, each with its length and a line's end.
    let content = String::from_utf8_lossy(content);
    content.lines().find_map(|line| Some(line.split_once(' ')?.1.strip_prefix("path=")?.to_owned()))
}

/// Reads an octal number, or GNU's binary one.
fn number(field: &[u8]) -> Result<u64, TarError> {
    if field[0] & 0x80 != 0 {
        // A field may be as short as the number itself.
        let mut bytes = field.to_vec();
        bytes[0] &= 0x7f;
        let (above, low) = bytes.split_at(bytes.len() - size_of::<u64>());
        if above.iter().any(|byte| *byte != 0) {
            return Err(TarError::Number);
        }
        return low.try_into().map(u64::from_be_bytes).map_err(|_| TarError::Number);
    }
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() { Ok(0) } else { u64::from_str_radix(digits, 8).map_err(|_| TarError::Number) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads an archive that comes in pieces of so many bytes; returns its entries with their content.
    fn read(archive: &[u8], piece: usize) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
        let (mut reader, mut found) = (Reader::default(), Vec::new());
        for bytes in archive.chunks(piece) {
            reader.take::<TarError>(bytes, &mut |piece| {
                match piece {
                    Piece::Head(entry) => found.push((entry, Vec::new())),
                    Piece::Content(bytes) => found.last_mut().expect("a head came").1.extend(bytes),
                    Piece::End => {
                        let (entry, content) = found.last().expect("a head came");
                        assert_eq!(entry.size, content.len() as u64);
                    }
                }
                Ok(())
            })?;
        }
        reader.finish()?;
        Ok(found)
    }

    fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = folder("a/", 0o755);
        for (name, content) in files {
            let size = content.len() as u64;
            bytes.extend(file(name, 0o640, size));
            bytes.extend(content);
            bytes.extend(padding(size));
        }
        bytes.extend(end());
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_however_it_comes(
            files in proptest::collection::vec(("[a-zä/ ]{1,180}", proptest::collection::vec(any::<u8>(), 0..1200)), 0..4),
            piece in 1_usize..2000,
        ) {
            let found = read(&archive(&files), piece).expect("it is whole");
            prop_assert_eq!(&found[0].0, &Entry { kind: Kind::Folder, name: "a/".into(), mode: 0o755, size: 0 });
            let seen: Vec<_> = found.into_iter().skip(1).map(|(entry, content)| (entry.name, content)).collect();
            prop_assert_eq!(seen, files);
        }

        #[test]
        fn nothing_that_comes_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000), piece in 1_usize..700) {
            let _ = read(&bytes, piece);
        }
    }

    #[test]
    fn an_archive_that_breaks_off_or_is_none_is_no_archive() {
        let whole = archive(&[("a/b".into(), b"content".to_vec())]);
        assert_eq!(read(&whole[..600], 600), Err(TarError::CutShort));
        assert_eq!(read(&[b'x'; 600], 600), Err(TarError::Number));
        let mut changed = whole;
        changed[0] = b'b';
        assert_eq!(read(&changed, 600), Err(TarError::Checksum));
    }

    #[test]
    fn what_is_larger_than_octal_digits_can_say_is_said_in_binary() {
        let head = file("big", 0o644, 1 << 40);
        assert_eq!(number(&head[124..136]), Ok(1 << 40));
        assert_eq!(number(&file("small", 0o644, 7)[124..136]), Ok(7));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Ok(256), "in the shortest field, too");
        assert_eq!(number(&[0xff; 12]), Err(TarError::Number), "a negative one");
    }
}
