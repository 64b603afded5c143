//! A file of macOS's `/etc/resolver`: which name server the names below one domain are asked of (resolver(5)).

use std::net::Ipv4Addr;

/// What the first line begins with; the lab's name in quotes follows.
const MARK: &str = "# Written by fusionlab for the lab ";
const UNDO: &str = "# `fusionlab names --no-resolver` or `fusionlab destroy` removes it.";

/// The file that sends a domain's names to a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    pub lab: String,
    pub nameserver: Ipv4Addr,
}

impl Resolver {
    pub fn render(&self) -> String {
        format!("{MARK}\"{}\".\n{UNDO}\nnameserver {}\n", self.lab, self.nameserver)
    }

    /// Reads a file that we wrote and nobody has changed since; none if it is any other.
    pub fn read(text: &str) -> Option<Self> {
        let lab = text.lines().next()?.strip_prefix(MARK)?.trim_matches(['"', '.']).to_owned();
        let nameserver = text.lines().find_map(|line| line.strip_prefix("nameserver "))?.parse().ok()?;
        let read = Self { lab, nameserver };
        (read.render() == text).then_some(read)
    }
}

/// Says whether a domain may name a file in that folder, and is not a whole top-level domain of the world.
pub fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    const OURS_ALONE: [&str; 2] = ["test", "internal"];
    domain.len() <= 253
        && domain.split('.').all(is_label)
        && (domain.contains('.') || OURS_ALONE.contains(&domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_wrote_and_nobody_changed_is_ours() {
        let ours = Resolver { lab: "lab".to_owned(), nameserver: Ipv4Addr::new(10, 10, 0, 10) };
        let text = ours.render();
        assert!(text.ends_with("\nnameserver 10.10.0.10\n"), "{text}");
        assert_eq!(Resolver::read(&text), Some(ours));
        for other in [
            "nameserver 10.10.0.10\n".to_owned(),
            text.clone() + "port 53\n",
            text.replace("10.10.0.10", "dns"),
            text.replace("nameserver", "search"),
            String::new(),
        ] {
            assert_eq!(Resolver::read(&other), None, "{other}");
        }
    }

    #[test]
    fn a_domain_is_a_plain_file_name_and_never_the_worlds() {
        for domain in ["lab.test", "test", "a-b.lab.internal"] {
            assert!(is_domain(domain), "{domain}");
        }
        for domain in ["", ".", "..", "a/b", "../x.y", "com", "a..b", "-a.b", "A.test", "a_b.test"] {
            assert!(!is_domain(domain), "{domain}");
        }
    }
}
