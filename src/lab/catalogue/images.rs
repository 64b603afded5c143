//! Cloud images: where each is, what its file must be, and who says what is newest.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Arch, CATALOGUE};

/// A cloud image to make the template from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The catalogue's name, such as `ubuntu-24.04`, or `custom`.
    pub name: String,
    pub arch: Arch,
    /// `https://…`, or `file:///…` for one that is already here.
    pub url: String,
    /// Hexadecimal SHA-256 or SHA-512 of the file; its length says which. None only where `newest` tells it.
    pub digest: Option<String>,
    /// Bytes of the file, if they are known.
    pub size: Option<u64>,
    /// What the distribution publishes in its place, once the file is gone.
    pub newest: Option<Newest>,
    /// The beginning of the URLs that a mirror replaces; none for an image of the user's own.
    pub server: Option<String>,
    /// Fusion's `guestOS` word, such as `arm-ubuntu-64`.
    pub guest_os: String,
}

/// A file that a distribution replaces at every release, and the list that says what it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Newest {
    pub url: String,
    /// The URL of a list such as `SHA256SUMS`, which has the file under its own name.
    pub list: String,
    /// None where the distribution publishes none: then the list is believed only over HTTPS.
    pub signature: Option<Signature>,
}

/// The detached OpenPGP signature of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    pub url: String,
    /// The key's fingerprint in hexadecimal.
    pub key: String,
    /// The keyring that has it: a name for [`keyring`].
    pub keyring: String,
}

/// The name of the image that a lab gets if its file says nothing.
pub const DEFAULT_IMAGE: &str = "ubuntu-24.04";
/// The name of an image that the lab file describes itself.
pub const CUSTOM_IMAGE: &str = "custom";

/// The name of the image that the simulated Fusion brings along.
pub const SIMULATED_IMAGE: &str = "simulated";

/// Keyrings by their names in the catalogue, compiled in.
const KEYRINGS: &[(&str, &[u8])] = &[(
    "ubuntu-cloudimage-keyring.gpg",
    include_bytes!("../../../vm-templates/keys/ubuntu-cloudimage-keyring.gpg"),
)];

impl Image {
    /// Returns what it is called in a sentence.
    pub fn noun(&self) -> String {
        match self.name.as_str() {
            SIMULATED_IMAGE => "the simulated cloud image".to_owned(),
            CUSTOM_IMAGE => "the lab file's cloud image".to_owned(),
            name => format!("the cloud image {name}"),
        }
    }

    /// Returns the same image from another server with the same folders, whose URL takes the place of the catalogue's.
    /// Where the file comes from does not change what it must be: a list that nobody signed is asked of the distribution's server
    /// all the same. An image of the user's own stays where it is.
    #[must_use]
    pub fn mirrored(self, mirror: &str) -> Self {
        let Some(server) = self.server else { return self };
        let base = format!("{}/", mirror.trim_end_matches('/'));
        let moved = |url: &str| match url.strip_prefix(&server) {
            Some(path) => format!("{base}{path}"),
            None => url.to_owned(),
        };
        let newest = self.newest.map(|newest| Newest {
            url: moved(&newest.url),
            list: if newest.signature.is_some() { moved(&newest.list) } else { newest.list },
            signature: newest.signature.map(|it| Signature { url: moved(&it.url), ..it }),
        });
        Self { url: moved(&self.url), newest, server: Some(base.clone()), ..self }
    }

    /// Returns the image with its file's whole path, if it is a local one: a path begins at the lab file's folder, and
    /// one with `~/` at the user's home. None for a `~` where no home is known.
    pub fn located(self, folder: &Path, home: Option<&Path>) -> Option<Self> {
        let path = match self.url.strip_prefix("file:") {
            Some(path) if !path.starts_with("//") => path,
            _ => return Some(self),
        };
        let whole = match path.strip_prefix("~/") {
            Some(rest) => home?.join(rest),
            None => folder.join(path.strip_prefix("./").unwrap_or(path)),
        };
        Some(Self { url: format!("file://{}", whole.display()), ..self })
    }

    /// Returns what tells its content from any other's, wherever it comes from: the digest, or for one that moves the
    /// URL at its own server.
    pub fn content(&self) -> &str {
        self.digest.as_deref().unwrap_or(&self.url)
    }

    /// Says whether its file never changes: what it must be is known beforehand.
    pub fn is_pinned(&self) -> bool {
        self.digest.is_some()
    }
}

/// An image of the catalogue, for those who list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub image: Image,
    /// One line about it.
    pub summary: &'static str,
    /// Whether a lab gets it if its file says nothing.
    pub is_default: bool,
}

/// Returns every image of the catalogue for this architecture, the default first.
pub fn entries(arch: Arch) -> Vec<Entry> {
    let entry = |entry: &'static ImageEntry| Entry {
        image: entry.image(arch),
        summary: &entry.summary,
        is_default: entry.name == DEFAULT_IMAGE,
    };
    CATALOGUE.images.iter().map(entry).collect()
}

/// Returns the catalogue's image of this name for this architecture.
pub fn image(name: &str, arch: Arch) -> Option<Image> {
    CATALOGUE.images.iter().find(|entry| entry.name == name).map(|entry| entry.image(arch))
}

/// Returns the name and the one-line description of every image, the default first.
pub fn images() -> impl Iterator<Item = (&'static str, &'static str)> {
    CATALOGUE.images.iter().map(|entry| (entry.name.as_str(), entry.summary.as_str()))
}

/// Returns a keyring that came with the program.
pub fn keyring(name: &str) -> Option<&'static [u8]> {
    KEYRINGS.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageEntry {
    name: String,
    summary: String,
    server: String,
    newest: NewestFolder,
    arm64: ImageFile,
    amd64: ImageFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewestFolder {
    folder: String,
    list: String,
    signed: Option<Signed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    signature: String,
    keyring: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageFile {
    guest_os: String,
    /// The file's name in the folder of what is newest.
    newest: String,
    pinned: Option<Pinned>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pinned {
    path: String,
    digest: String,
    size: Option<u64>,
}

impl ImageEntry {
    fn image(&self, arch: Arch) -> Image {
        let file = match arch {
            Arch::Arm64 => &self.arm64,
            Arch::Amd64 => &self.amd64,
        };
        let newest = |name: &str| format!("{}{}{name}", self.server, self.newest.folder);
        let pinned = file.pinned.as_ref();
        Image {
            name: self.name.clone(),
            arch,
            url: pinned.map_or_else(|| newest(&file.newest), |it| format!("{}{}", self.server, it.path)),
            digest: pinned.map(|it| it.digest.clone()),
            size: pinned.and_then(|it| it.size),
            newest: Some(Newest {
                url: newest(&file.newest),
                list: newest(&self.newest.list),
                signature: self.newest.signed.as_ref().map(|it| Signature {
                    url: newest(&it.signature),
                    key: it.key.clone(),
                    keyring: it.keyring.clone(),
                }),
            }),
            server: Some(self.server.clone()),
            guest_os: file.guest_os.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::openpgp;

    const ARCHES: [Arch; 2] = [Arch::Arm64, Arch::Amd64];

    #[test]
    fn every_image_can_be_had_and_checked() {
        for arch in ARCHES {
            for Entry { image, .. } in entries(arch) {
                let name = &image.name;
                let newest = image.newest.unwrap();
                for url in [&image.url, &newest.url, &newest.list] {
                    assert!(url.starts_with("https://"), "{name}");
                }
                assert_eq!(image.guest_os.starts_with("arm-"), arch == Arch::Arm64, "{name}");
                let digest = image.digest.unwrap();
                assert!(matches!(digest.len(), 64 | 128) && hex::decode(&digest).is_ok(), "{name}");
                assert_ne!(image.url, newest.url, "{name}: a file that is replaced has no digest of its own");
            }
        }
        assert_eq!(images().next().map(|(name, _)| name), Some(DEFAULT_IMAGE));
        assert_eq!(entries(Arch::Arm64).iter().filter(|entry| entry.is_default).count(), 1);
        assert_eq!(image("ubuntu-24.10", Arch::Arm64), None);
    }

    #[test]
    fn every_signing_key_is_in_its_keyring() {
        for Entry { image, .. } in entries(Arch::Arm64) {
            let Some(signature) = image.newest.and_then(|newest| newest.signature) else { continue };
            let keyring = keyring(&signature.keyring).expect("it came with the program");
            // With the key there, the empty signature is what is refused.
            let refused = openpgp::verify(b"", b"", keyring, &signature.key).unwrap_err();
            assert!(matches!(refused, openpgp::Refused::Malformed(_)), "{refused}");
        }
    }

    #[test]
    fn debian_is_generic_because_its_cloud_kernel_lacks_drivers() {
        for arch in ARCHES {
            let debian = image("debian-13", arch).unwrap();
            assert!(
                !debian.url.contains("genericcloud") && !debian.newest.unwrap().url.contains("genericcloud")
            );
        }
    }

    #[test]
    fn a_mirror_replaces_the_server_and_nothing_else() {
        let image = image(DEFAULT_IMAGE, Arch::Amd64).unwrap();
        for mirror in ["http://mirror.lan/ubuntu", "http://mirror.lan/ubuntu/"] {
            let moved = image.clone().mirrored(mirror);
            assert!(moved.url.starts_with("http://mirror.lan/ubuntu/releases/noble/"), "{}", moved.url);
            assert_eq!((&moved.digest, moved.size), (&image.digest, image.size));
            let newest = moved.newest.clone().unwrap();
            assert_eq!(newest.list, "http://mirror.lan/ubuntu/releases/noble/release/SHA256SUMS");
            assert_eq!(newest.signature.unwrap().url, format!("{}.gpg", newest.list));
            assert_eq!(moved.mirrored("https://cloud-images.ubuntu.com"), image);
        }
        let own = Image { server: None, ..image };
        assert_eq!(own.clone().mirrored("http://mirror.lan"), own);
    }

    #[test]
    fn a_mirror_does_not_vouch_for_itself() {
        let newest = image("debian-13", Arch::Amd64).unwrap().mirrored("https://mirror.lan/").newest.unwrap();
        assert!(newest.url.starts_with("https://mirror.lan/"), "{}", newest.url);
        assert_eq!(newest.signature, None, "so nothing but its own server speaks for the list");
        assert!(newest.list.starts_with("https://cloud.debian.org/"), "{}", newest.list);
    }

    #[test]
    fn a_path_begins_at_the_lab_file_or_at_home() {
        let own = image(DEFAULT_IMAGE, Arch::Amd64).unwrap();
        let located = |url: &str, home: Option<&str>| {
            let image = Image { url: url.to_owned(), ..own.clone() };
            image.located(Path::new("/labs/one"), home.map(Path::new)).map(|image| image.url)
        };
        for (url, whole) in [
            ("file:./a b.img", "file:///labs/one/a b.img"),
            ("file:images/a.img", "file:///labs/one/images/a.img"),
            ("file:../a.img", "file:///labs/one/../a.img"),
            ("file:~/a.img", "file:///home/me/a.img"),
            ("file:///a.img", "file:///a.img"),
            ("https://example.org/a.img", "https://example.org/a.img"),
        ] {
            assert_eq!(located(url, Some("/home/me")).as_deref(), Some(whole), "{url}");
        }
        assert_eq!(located("file:~/a.img", None), None);
    }
}
