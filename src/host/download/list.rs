//! Lists of digests as distributions publish them: read, checked against their signature, looked up.

use std::time::Duration;

use reqwest::Client;

use super::client::{Failure, Patience, client};
use super::{Digest, Newest, Tell};
use crate::formats::openpgp;
use crate::host::{HostError, Result};

/// A list of digests is some kilobytes, a signature less than one.
const LARGEST: usize = 4 << 20;

/// Returns what the newest file must be: what its list says, if the list is to be believed.
pub async fn digest(newest: &Newest, stall: Duration, tell: Tell<'_>) -> Result<Digest> {
    // Nobody vouches for a list without a signature but the server, and only over HTTPS is it the server.
    let https_only = newest.signature.is_none();
    if https_only && !newest.list.starts_with("https://") {
        let reason = "it is not signed, so it is believed over HTTPS only".to_owned();
        return Err(HostError::Unsigned { list: newest.list.clone(), reason });
    }
    let client = client(stall, https_only)?;
    let list = get(&client, &newest.list, tell).await.map_err(Failure::into_error)?;
    if let Some(signature) = &newest.signature {
        let unsigned = |reason: String| HostError::Unsigned { list: newest.list.clone(), reason };
        let made = get(&client, &signature.url, tell).await.map_err(|failure| match failure {
            Failure::Gone(error) => unsigned(format!("it has no signature: {error}")),
            other => other.into_error(),
        })?;
        openpgp::verify(&list, &made, signature.keyring, &signature.key)
            .map_err(|refused| unsigned(refused.to_string()))?;
    }
    let name = file_name(&newest.url);
    find(&String::from_utf8_lossy(&list), name).ok_or_else(|| HostError::Download {
        url: newest.list.clone(),
        reason: format!("the list has no digest of {name}"),
    })
}

/// Reads lines such as `<hex> *name`, as sha256sum writes them, and `SHA256 (name) = <hex>`, as BSD's does.
fn find(text: &str, name: &str) -> Option<Digest> {
    text.lines().find_map(|line| {
        let line = line.trim();
        let (hex, listed) = match line.split_once(") = ") {
            Some((head, hex)) => (hex, head.split_once(" (")?.1),
            None => line.split_once(char::is_whitespace)?,
        };
        let listed = listed.trim_start().trim_start_matches('*').trim_start_matches("./");
        if listed == name { Digest::from_hex(hex) } else { None }
    })
}

/// Returns the last segment of a URL's path.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// Reads a small file, trying again where that may help.
async fn get(client: &Client, url: &str, tell: Tell<'_>) -> Result<Vec<u8>, Failure> {
    let mut patience = Patience::default();
    loop {
        match get_once(client, url).await {
            Ok(bytes) => return Ok(bytes),
            Err(failure) => patience.bear(failure, tell).await?,
        }
    }
}

async fn get_once(client: &Client, url: &str) -> Result<Vec<u8>, Failure> {
    let broken = |error: reqwest::Error| Failure::of_request(url, &error);
    let mut response = client.get(url).send().await.map_err(broken)?;
    if !response.status().is_success() {
        return Err(Failure::of_status(url, response.status(), response.headers()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST {
            let reason = "it is too long for a list of digests".to_owned();
            return Err(HostError::Download { url: url.to_owned(), reason }.into());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_lists_are_read() {
        let hex = "a".repeat(64);
        for line in [format!("{hex}  x.img"), format!("{hex} *x.img"), format!("SHA256 (x.img) = {hex}")] {
            assert_eq!(find(&line, "x.img"), Some(Digest::Sha256(hex.clone())), "{line}");
            assert_eq!(find(&line, "y.img"), None);
        }
    }

    #[test]
    fn the_name_is_the_whole_name() {
        let hex = "b".repeat(128);
        let list = format!("{}  x.img.sig\n{hex}  x.img\n", "c".repeat(128));
        assert_eq!(find(&list, "x.img"), Some(Digest::Sha512(hex)));
        assert_eq!(file_name("https://example.org/a/x.img?mirror=1#top"), "x.img");
    }
}
