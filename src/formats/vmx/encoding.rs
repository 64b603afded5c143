//! The encodings that VMX files are written in: UTF-8 on a Mac, a Windows code page on many PCs.

use std::borrow::Cow;
use std::fmt;

/// An encoding in which ASCII stands for itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    pub const UTF_8: Self = Self(encoding_rs::UTF_8);

    /// Finds an encoding by the name that `.encoding` gives it; none if it is not known, or if ASCII does not stand for
    /// itself in it, as no encoding of VMX files has it.
    pub fn of(name: &str) -> Option<Self> {
        let found = encoding_rs::Encoding::for_label_no_replacement(name.as_bytes())?;
        found.is_ascii_compatible().then_some(Self(found))
    }

    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Decodes bytes; an error is the place of the first byte that means nothing.
    pub fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
        match self.0.decode_without_bom_handling_and_without_replacement(bytes) {
            Some(text) => Ok(text),
            None => Err(self.first_bad(bytes)),
        }
    }

    /// Decodes bytes; those that mean nothing are replaced.
    pub fn decode_loosely(self, bytes: &[u8]) -> String {
        self.0.decode_without_bom_handling(bytes).0.into_owned()
    }

    /// Encodes a text such that decoding gives it back; an error is a character that has no place in this encoding.
    pub fn encode(self, text: &str) -> Result<Cow<'_, [u8]>, char> {
        let (bytes, _, replaced) = self.0.encode(text);
        if !replaced && self.decode(&bytes).as_deref() == Ok(text) {
            return Ok(bytes);
        }
        // Nothing is replaced in ASCII, so a character that is not in the encoding can be found.
        Err(text.chars().find(|char| !self.has(*char)).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn has(self, char: char) -> bool {
        let text = char.to_string();
        let (bytes, _, replaced) = self.0.encode(&text);
        !replaced && self.decode(&bytes).as_deref() == Ok(&text)
    }

    fn first_bad(self, bytes: &[u8]) -> usize {
        let mut decoder = self.0.new_decoder_without_bom_handling();
        let length = decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(0);
        let (result, read, _) = decoder.decode_to_utf8_without_replacement(bytes, &mut vec![0; length], true);
        match result {
            encoding_rs::DecoderResult::Malformed(bad, after) => {
                read.saturating_sub(usize::from(bad) + usize::from(after))
            }
            _ => 0,
        }
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Says why bytes are not text in which ASCII stands for itself; none if nothing tells that.
pub fn wide(bytes: &[u8]) -> Option<String> {
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    utf16.then(|| "the file is UTF-16, which VMware does not load; save it as UTF-8".to_owned())
}
