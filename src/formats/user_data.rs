//! What cloud-init must find at the beginning of its files to take them for what they are meant to be.

/// What a user-data may begin with (cloud-init's documentation, "User data formats").
const HEADERS: [&str; 8] = [
    "#cloud-config",
    "#!",
    "#include",
    "#cloud-boothook",
    "#part-handler",
    "## template: jinja",
    "#upstart-job",
    "Content-Type: multipart/",
];
/// Two more that mail has: cloud-init asks Python's parser for the kind of what follows.
const MAIL: [&str; 2] = ["MIME-Version:", "From nobody "];
const GZIP: &[u8] = b"\x1f\x8b";

/// Says whether cloud-init would take this for a user-data.
///
/// # Errors
/// With what is missing.
pub fn check_user_data(bytes: &[u8]) -> Result<(), &'static str> {
    let begins = |header: &&str| {
        bytes.get(..header.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(header.as_bytes()))
    };
    if bytes.starts_with(GZIP) || HEADERS.iter().chain(&MAIL).any(begins) {
        return Ok(());
    }
    Err("the user-data does not begin with `#cloud-config` or another header of cloud-init")
}

/// Says whether a meta-data names an instance.
///
/// # Errors
/// With what is missing.
pub fn check_meta_data(bytes: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the meta-data is not UTF-8")?;
    // YAML as it is written there, or JSON, which is YAML as well.
    let names = |line: &str| {
        let line = line.trim_start().trim_start_matches(['{', ' ']);
        let key = line.split_once(':').filter(|(_, value)| !value.trim().is_empty());
        key.is_some_and(|(key, _)| key.trim().trim_matches(['"', '\'']) == "instance-id")
    };
    if text.split(['\n', ',']).any(names) { Ok(()) } else { Err("the meta-data has no `instance-id`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cloud_init_understands_is_a_user_data() {
        for good in ["#cloud-config\nusers: []\n", "#!/bin/sh\n", "Content-Type: multipart/mixed; x\n"] {
            assert_eq!(check_user_data(good.as_bytes()), Ok(()), "{good}");
        }
        assert_eq!(check_user_data(b"\x1f\x8b\x08"), Ok(()));
        for bad in ["", "users: []\n", "\n#cloud-config\n", "# cloud-config\n"] {
            assert!(check_user_data(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_meta_data_names_its_instance() {
        for good in ["local-hostname: a\ninstance-id: i-1\n", "{\"instance-id\": \"i-1\"}", "instance-id:  x"]
        {
            assert_eq!(check_meta_data(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["", "local-hostname: a\n", "instance-id:\n", "# instance-id: x\n"] {
            assert!(check_meta_data(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
