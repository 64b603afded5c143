//! The image: one of the catalogue, from its server or a mirror, or one that the lab file describes.

use super::Resolver;
use crate::lab::catalogue::{self, Arch, CUSTOM_IMAGE, DEFAULT_IMAGE, Image};
use crate::lab::lint::rules;
use crate::lab::spec::{self, ImageKeys, ImageSpec};

impl Resolver<'_> {
    pub(super) fn image(&mut self, arch: Arch) -> Image {
        match self.spec.image.clone() {
            None => usual(arch),
            Some(ImageSpec::Named(name)) => self.named("image", &name, arch),
            Some(ImageSpec::Described(keys)) => self.described(&keys, arch),
        }
    }

    fn named(&mut self, key: &str, name: &str, arch: Arch) -> Image {
        catalogue::image(name, arch).unwrap_or_else(|| {
            let names: Vec<_> = catalogue::images().map(|(name, _)| name).collect();
            let found = format!("the catalogue has no image {name:?}");
            let problem = rules::UNKNOWN_IMAGE.problem(self.origin.span(key), found);
            self.problems.push(problem.help(match spec::closest(name, names.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("it has {}", names.join(", ")),
            }));
            usual(arch)
        })
    }

    fn described(&mut self, keys: &ImageKeys, arch: Arch) -> Image {
        // A key that cannot be used was meant, too.
        let has = |key: &str, there: bool| there || self.origin.is_unusable(&format!("image.{key}"));
        let (url, digest) = (has("url", keys.url.is_some()), has("digest", keys.digest.is_some()));
        let image = if url || digest {
            self.own(keys, url, digest, arch)
        } else {
            let named = match &keys.name {
                Some(name) => self.named("image.name", &name.0, arch),
                None => usual(arch),
            };
            match &keys.mirror {
                Some(mirror) => named.mirrored(&mirror.0),
                None => named,
            }
        };
        match &keys.guest_os {
            Some(word) => Image { guest_os: word.0.clone(), ..image },
            None => image,
        }
    }

    /// An image of one's own. Its digest must stand in the file: nobody else vouches for it.
    fn own(&mut self, keys: &ImageKeys, has_url: bool, has_digest: bool, arch: Arch) -> Image {
        let span = self.origin.span("image");
        if !has_url {
            let problem =
                rules::BAD_VALUE.problem(span, "image: the key url is missing, whose digest is given");
            self.problems.push(problem.help("the catalogue knows the digests of its own images"));
        }
        if !has_digest {
            let problem = rules::IMAGE_NEEDS_DIGEST.problem(span, "image: the key digest is missing");
            self.problems.push(problem.help("add what `shasum -a 256` prints of the image"));
        }
        for (key, there) in [("name", keys.name.is_some()), ("mirror", keys.mirror.is_some())] {
            if there {
                let span = self.origin.span(&format!("image.{key}"));
                let found =
                    format!("image.{key}: it is for an image of the catalogue, and url names another one");
                self.problems.push(
                    rules::BAD_VALUE.problem(span, found).help(format!("take out {key}, or url and digest")),
                );
            }
        }
        Image {
            name: CUSTOM_IMAGE.to_owned(),
            arch,
            url: keys.url.as_ref().map(|url| url.0.clone()).unwrap_or_default(),
            digest: keys.digest.as_ref().map(|digest| digest.0.clone()),
            size: None,
            newest: None,
            server: None,
            guest_os: usual(arch).guest_os,
        }
    }
}

fn usual(arch: Arch) -> Image {
    catalogue::image(DEFAULT_IMAGE, arch).expect("the catalogue has the default image: a test holds that")
}

#[cfg(test)]
mod tests {
    use super::super::resolve;
    use super::*;
    use crate::lab::problem::{Problem, Severity};

    fn image(body: &str) -> Image {
        let resolved = resolve(Some(&format!("version: 1\nimage: {body}\n")), None, Arch::Arm64);
        resolved.unwrap_or_else(|found| panic!("{found:#?}")).lab.image
    }

    fn errors(body: &str) -> Vec<Problem> {
        let text = format!("version: 1\nimage: {body}\n");
        let mut found = resolve(Some(&text), None, Arch::Arm64).unwrap_err();
        found.retain(|problem| problem.severity == Severity::Error);
        found
    }

    fn digest() -> String {
        "a".repeat(64)
    }

    #[test]
    fn an_image_of_ones_own_needs_a_digest() {
        assert_eq!(errors("{url: 'https://example.org/a.img'}")[0].rule, "image-needs-digest");
        let own = image(&format!("{{url: 'file:///a.img', digest: {}}}", digest()));
        assert_eq!((own.name.as_str(), own.digest, own.size), ("custom", Some(digest()), None));
        assert_eq!(own.guest_os, "arm-ubuntu-64");
        let own = image(&format!("{{url: ./a.img, digest: {}, guest_os: arm-fedora-64}}", digest()));
        assert_eq!((own.url.as_str(), own.guest_os.as_str()), ("file:./a.img", "arm-fedora-64"));
        let found = errors(&format!("{{digest: {}}}", digest()));
        assert!(found[0].message.contains("url is missing"), "{found:?}");
    }

    #[test]
    fn an_image_of_the_catalogue_is_named_alone_or_with_a_mirror() {
        assert_eq!(image("debian-13").guest_os, "arm-debian12-64");
        assert_eq!(image("{name: debian-13}"), image("debian-13"));
        let mirrored = image("{mirror: 'http://mirror.lan/ubuntu'}");
        assert_eq!(mirrored, image("ubuntu-24.04").mirrored("http://mirror.lan/ubuntu"));
        assert_eq!(errors("ubuntu-24.4")[0].help.as_deref(), Some("did you mean ubuntu-24.04?"));
        let found = errors("{name: ubuntu-24.4, mirror: here}");
        let rules: Vec<_> = found.iter().map(|found| found.rule).collect();
        assert_eq!(rules, ["unknown-image", "bad-value"]);
    }

    #[test]
    fn an_image_is_of_the_catalogue_or_ones_own() {
        let found =
            errors(&format!("{{name: debian-13, url: /a.img, digest: {}, mirror: 'http://m/'}}", digest()));
        assert_eq!(found.len(), 2);
        assert!(found[0].message.starts_with("image.name: it is for an image of the catalogue"), "{found:?}");
        // A url that cannot be read is a url all the same.
        let found = errors("{url: noble.img}");
        let rules: Vec<_> = found.iter().map(|found| found.rule).collect();
        assert_eq!(rules, ["image-needs-digest", "bad-value"]);
    }
}
