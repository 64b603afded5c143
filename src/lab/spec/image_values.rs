//! The kinds of value that describe an image: where it is, what it must be, what Fusion calls its system.

use serde_json::{Value as Json, json};

use super::reader::{Fault, Word};

/// Where an image of one's own is: a URL of the web, or `file:` and a path. A path that is not absolute begins at the
/// lab file's folder, or with `~/` at the user's home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUrl(pub String);

/// What begins a path, so that a mistyped URL is not taken for one.
const PATHS: [&str; 4] = ["/", "./", "../", "~/"];

impl Word for ImageUrl {
    const KIND: &'static str = "URL or path";

    fn parse(text: &str) -> Result<Self, Fault> {
        if PATHS.iter().any(|begin| text.starts_with(begin)) {
            return local(text);
        }
        if let Some(rest) = text.strip_prefix("file:") {
            let path = match rest.strip_prefix("//") {
                None => rest,
                Some(path) if path.starts_with('/') => path,
                Some(path) => {
                    let fault =
                        Fault::new(format!("{text:?} names a server, not a file: after // stands its name"));
                    return Err(fault.help(format!("write file:{path}, or file:/// and the whole path")));
                }
            };
            return local(
                &decoded(path).ok_or_else(|| Fault::new(format!("{text:?} has a % without two digits")))?,
            );
        }
        if is_web(text) {
            return without_password(text).map(Self);
        }
        let fault = Fault::new(format!("{text:?} is neither an https:// URL nor a path"));
        Err(match text.split_once("://") {
            Some(_) => fault.help("only https://, http:// and file: are known"),
            None if text.contains('/') => {
                fault.help(format!("write https://{text}, or ./{text} for a file beside this one"))
            }
            None => fault.help(format!("for a file beside this one write ./{text}")),
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(https?://[^ ]+|file:.+|~?/.+|\\.\\.?/.+)$" })
    }
}

fn local(path: &str) -> Result<ImageUrl, Fault> {
    if path.ends_with('/') || path.trim().is_empty() {
        return Err(Fault::new(format!("{path:?} is a folder, not an image")));
    }
    let begin = if path.starts_with('/') { "file://" } else { "file:" };
    Ok(ImageUrl(format!("{begin}{path}")))
}

/// Returns a URL's path with `%20` and the like as what they stand for.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn is_web(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control())
}

/// Refuses a URL that holds a user's name or password: URLs are shown and logged.
fn without_password(text: &str) -> Result<String, Fault> {
    let server = text.split('/').nth(2).unwrap_or_default();
    match server.contains('@') {
        false => Ok(text.to_owned()),
        true => Err(Fault::new(
            "a user's name or password may not stand in a URL here, since URLs are shown and logged",
        )
        .help("download the image by other means, and name it by its path")),
    }
}

/// A name of the catalogue; which there are is for `resolve` to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName(pub String);

impl Word for ImageName {
    const KIND: &'static str = "name";

    fn parse(text: &str) -> Result<Self, Fault> {
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

/// The URL of a server that has the catalogue's images in the same folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror(pub String);

impl Word for Mirror {
    const KIND: &'static str = "URL";

    fn parse(text: &str) -> Result<Self, Fault> {
        if is_web(text) && !text.contains(['?', '#']) {
            return without_password(text).map(Self);
        }
        Err(Fault::new(format!("{text:?} is no https:// or http:// URL")).help(
            "a mirror is a server's URL with the folder that stands for https://cloud-images.ubuntu.com/",
        ))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^https?://[^ ?#]+$" })
    }
}

/// SHA-256 or SHA-512 in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(pub String);

impl Word for Digest {
    const KIND: &'static str = "digest";

    fn parse(text: &str) -> Result<Self, Fault> {
        const OTHERS: [(usize, &str); 4] = [(32, "MD5"), (40, "SHA-1"), (56, "SHA-224"), (96, "SHA-384")];
        let bare = text.strip_prefix("sha256:").or_else(|| text.strip_prefix("sha512:")).unwrap_or(text);
        let is_hex = bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && matches!(bare.len(), 64 | 128) {
            return Ok(Self(bare.to_ascii_lowercase()));
        }
        let fault = Fault::new("not a SHA-256 or SHA-512 digest: 64 or 128 hexadecimal digits");
        if let Some((_, other)) = OTHERS.iter().find(|(digits, _)| is_hex && *digits == bare.len()) {
            return Err(
                fault.help(format!("it has as many digits as {other}: write what `shasum -a 256` prints"))
            );
        }
        if bare.contains(char::is_whitespace) {
            return Err(fault.help("write the digits alone, without the file's name"));
        }
        Err(match is_hex {
            true => {
                fault.help(format!("it has {} digits: some are missing, or too many were copied", bare.len()))
            }
            false => fault,
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(sha256:|sha512:)?([0-9A-Fa-f]{64}|[0-9A-Fa-f]{128})$" })
    }
}

/// A `guestOS` word of Fusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestOs(pub String);

impl Word for GuestOs {
    const KIND: &'static str = "guest system";

    fn parse(text: &str) -> Result<Self, Fault> {
        if !text.is_empty() && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new(format!("{text:?} is not a guest system's id, such as arm-ubuntu-64")))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9-]+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_url_or_by_path() {
        for (text, url) in [
            ("https://example.org/a.img", "https://example.org/a.img"),
            ("http://10.0.0.1:8000/a.img", "http://10.0.0.1:8000/a.img"),
            ("/images/a b.img", "file:///images/a b.img"),
            ("./a.img", "file:./a.img"),
            ("../a.img", "file:../a.img"),
            ("~/Downloads/a.img", "file:~/Downloads/a.img"),
            ("file:///images/a%20b.img", "file:///images/a b.img"),
            ("file:/images/a.img", "file:///images/a.img"),
            ("file:images/a.img", "file:images/a.img"),
        ] {
            assert_eq!(ImageUrl::parse(text), Ok(ImageUrl(url.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_told_what_was_probably_meant() {
        let help = |text: &str| ImageUrl::parse(text).unwrap_err().help.unwrap_or_default();
        assert_eq!(help("noble.img"), "for a file beside this one write ./noble.img");
        assert!(help("example.org/noble.img").starts_with("write https://example.org/noble.img, or ./"));
        assert_eq!(help("file://images/a.img"), "write file:images/a.img, or file:/// and the whole path");
        assert!(help("ftp://example.org/a.img").starts_with("only https://"));
        for text in ["", "https://", "https:///a.img", "https://example.org/a b.img", "./images/", "file:%2"]
        {
            assert!(ImageUrl::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_mirror_is_a_servers_url() {
        assert!(
            Mirror::parse("http://mirror.lan/ubuntu").is_ok() && Mirror::parse("https://m.example/").is_ok()
        );
        for text in [
            "http://me:secret@mirror.lan/",
            "mirror.lan",
            "file:///srv/mirror",
            "https://m.example/?path=",
            "",
        ] {
            assert!(Mirror::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_digest_of_another_kind_is_named() {
        let hex = "AB".repeat(32);
        assert_eq!(Digest::parse(&format!("sha256:{hex}")), Ok(Digest(hex.to_lowercase())));
        let help = |text: &str| Digest::parse(text).unwrap_err().help.unwrap_or_default();
        assert!(help(&"a".repeat(40)).contains("SHA-1"));
        assert!(help(&format!("{hex}  noble.img")).contains("without the file's name"));
        assert!(help(&hex[1..]).contains("63 digits"));
        assert_eq!(help("latest"), "");
    }
}
