//! A seed's user-data as cloud-init reads it: what is known, what is wrong, what is merely warned of.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::yaml;

/// Keys of cloud-init's modules, as its schema knows them.
const KEYS: &[&str] = &[
    "apt",
    "bootcmd",
    "ca_certs",
    "chpasswd",
    "disable_root",
    "disable_root_opts",
    "final_message",
    "fqdn",
    "growpart",
    "hostname",
    "locale",
    "manage_etc_hosts",
    "merge_how",
    "mounts",
    "no_ssh_fingerprints",
    "ntp",
    "output",
    "package_reboot_if_required",
    "package_update",
    "package_upgrade",
    "packages",
    "power_state",
    "prefer_fqdn_over_hostname",
    "preserve_hostname",
    "random_seed",
    "resize_rootfs",
    "runcmd",
    "ssh",
    "ssh_authorized_keys",
    "ssh_deletekeys",
    "ssh_genkeytypes",
    "ssh_keys",
    "ssh_pwauth",
    "ssh_quiet_keygen",
    "swap",
    "timezone",
    "updates",
    "users",
    "write_files",
];

const USER_KEYS: &[&str] = &[
    "name",
    "gecos",
    "groups",
    "homedir",
    "lock_passwd",
    "no_create_home",
    "no_user_group",
    "primary_group",
    "shell",
    "ssh_authorized_keys",
    "sudo",
    "system",
    "uid",
];

const FILE_KEYS: &[&str] = &["path", "content", "encoding", "permissions", "owner", "append", "defer"];

/// What the seed wants of the machine.
#[derive(Clone, Debug, Default)]
pub struct UserData {
    pub hostname: Option<String>,
    pub manage_etc_hosts: Option<ManageHosts>,
    pub users: Vec<User>,
    pub host_key: Option<String>,
    pub files: Vec<WriteFile>,
    pub bootcmd: Vec<Run>,
    pub runcmd: Vec<Run>,
    pub packages: Vec<String>,
    /// What the schema warns of.
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManageHosts {
    /// The whole file is written from a template.
    Template,
    /// Only 127.0.1.1 is kept right.
    Localhost,
}

#[derive(Clone, Debug)]
pub struct User {
    pub name: String,
    pub keys: Vec<String>,
    pub sudo: Option<String>,
}

#[derive(Clone, Debug)]
pub struct WriteFile {
    pub path: String,
    pub content: Vec<u8>,
    pub mode: u32,
    pub owner: String,
    pub append: bool,
    pub defer: bool,
}

/// One entry of `runcmd`: an argv, or a line for `sh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    Argv(Vec<String>),
    Line(String),
}

impl UserData {
    /// Reads user-data; an error means that cloud-init can use nothing of it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let bytes = inflate(bytes)?;
        let text = String::from_utf8(bytes).map_err(|_| "user-data is not UTF-8".to_owned())?;
        if text.lines().next().map(str::trim_end) != Some("#cloud-config") {
            return Err("Unhandled non-multipart (text/x-not-multipart) userdata: it does not start with #cloud-config".into());
        }
        let value = yaml::document(&text).map_err(|why| format!("Failed loading yaml blob: {why}"))?;
        let Value::Object(map) = value else {
            return Err("Failed loading yaml blob: the top level is not a mapping".into());
        };
        let mut data = Self::default();
        for (key, value) in &map {
            if !KEYS.contains(&key.as_str()) {
                data.warn(format!("Additional properties are not allowed ('{key}' was unexpected)"));
            }
            data.take(key, value);
        }
        Ok(data)
    }

    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    fn take(&mut self, key: &str, value: &Value) {
        match key {
            "hostname" => self.hostname = value.as_str().map(str::to_owned),
            "manage_etc_hosts" => {
                self.manage_etc_hosts = match value {
                    Value::Bool(true) => Some(ManageHosts::Template),
                    Value::String(word) if word == "localhost" => Some(ManageHosts::Localhost),
                    _ => None,
                };
            }
            "users" => list(value).for_each(|user| self.take_user(user)),
            "ssh_keys" => self.host_key = value["ed25519_private"].as_str().map(str::to_owned),
            "write_files" => list(value).for_each(|file| self.take_file(file)),
            "bootcmd" => self.bootcmd = list(value).filter_map(run).collect(),
            "runcmd" => {
                self.runcmd = list(value).filter_map(run).collect();
                if self.runcmd.len() != list(value).count() {
                    self.warn("runcmd: each entry must be a string or a list of strings".into());
                }
            }
            "packages" => self.packages = list(value).filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => {}
        }
    }

    fn take_user(&mut self, value: &Value) {
        let Some(map) = value.as_object() else {
            if value.as_str() != Some("default") {
                self.warn(format!("users: {value} is not a user"));
            }
            return;
        };
        for key in map.keys().filter(|key| !USER_KEYS.contains(&key.as_str())) {
            self.warn(format!("users: Additional properties are not allowed ('{key}' was unexpected)"));
        }
        let Some(name) = value["name"].as_str() else {
            return self.warn("users: 'name' is a required property".into());
        };
        let sudo = match &value["sudo"] {
            Value::String(rule) => Some(rule.clone()),
            Value::Array(rules) => rules.first().and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let keys =
            list(&value["ssh_authorized_keys"]).filter_map(Value::as_str).map(|key| key.trim().to_owned());
        self.users.push(User { name: name.to_owned(), keys: keys.collect(), sudo });
    }

    fn take_file(&mut self, value: &Value) {
        for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
            if !FILE_KEYS.contains(&key.as_str()) {
                self.warn(format!(
                    "write_files: Additional properties are not allowed ('{key}' was unexpected)"
                ));
            }
        }
        match file(value) {
            Ok(file) => self.files.push(file),
            Err(why) => self.warn(format!("write_files: {why}")),
        }
    }
}

/// Reads `meta-data`: the instance-id and the host name.
pub fn meta_data(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "meta-data is not UTF-8".to_owned())?;
    let value = yaml::document(text)?;
    let map = value.as_object().ok_or("meta-data is not a mapping")?;
    Ok(map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
}

fn file(value: &Value) -> Result<WriteFile, String> {
    let path = value["path"].as_str().ok_or("'path' is a required property")?;
    if !path.starts_with('/') {
        return Err(format!("{path} is not an absolute path"));
    }
    let content = value["content"].as_str().unwrap_or_default();
    let mode = match &value["permissions"] {
        Value::Null => 0o644,
        Value::String(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8)
            .map_err(|_| format!("{path}: permissions {text} are not octal"))?,
        other => return Err(format!("{path}: {other} is not of type 'string'")),
    };
    Ok(WriteFile {
        path: path.to_owned(),
        content: decode(content, value["encoding"].as_str().unwrap_or("text/plain"))
            .map_err(|why| format!("{path}: {why}"))?,
        mode,
        owner: value["owner"].as_str().unwrap_or("root:root").to_owned(),
        append: value["append"].as_bool().unwrap_or_default(),
        defer: value["defer"].as_bool().unwrap_or_default(),
    })
}

fn decode(content: &str, encoding: &str) -> Result<Vec<u8>, String> {
    let compact = || content.split_whitespace().collect::<String>();
    let base64 = || STANDARD.decode(compact()).map_err(|error| format!("content is not base64: {error}"));
    match encoding {
        "text/plain" => Ok(content.as_bytes().to_vec()),
        "b64" | "base64" => base64(),
        "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => inflate(&base64()?),
        other => Err(format!("unknown encoding {other}")),
    }
}

/// Unpacks gzip; anything else stays as it is.
fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes.to_vec());
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .map_err(|error| format!("bad gzip: {error}"))?;
    Ok(plain)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn run(value: &Value) -> Option<Run> {
    match value {
        Value::String(line) => Some(Run::Line(line.clone())),
        Value::Array(words) => {
            let word = |word: &Value| match word {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            words
                .iter()
                .map(word)
                .collect::<Option<Vec<_>>>()
                .filter(|words| !words.is_empty())
                .map(Run::Argv)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_must_say_what_it_is() {
        assert!(UserData::read(b"hostname: a\n").unwrap_err().contains("#cloud-config"));
        assert_eq!(UserData::read(b"#cloud-config\nhostname: a\n").unwrap().hostname.as_deref(), Some("a"));
    }

    #[test]
    fn unknown_keys_are_warned_of() {
        let data = UserData::read(b"#cloud-config\nruncmds: []\nusers: [{name: a, key: b}]\n").unwrap();
        assert_eq!(data.warnings.len(), 2, "{:?}", data.warnings);
    }

    #[test]
    fn files_are_decoded_with_their_mode() {
        let text = "#cloud-config\nwrite_files:\n- {path: /a, content: aGk=, encoding: b64, permissions: '0750'}\n- {path: b}\n";
        let data = UserData::read(text.as_bytes()).unwrap();
        assert_eq!((data.files[0].content.as_slice(), data.files[0].mode), (b"hi".as_slice(), 0o750));
        assert_eq!(data.warnings, ["write_files: b is not an absolute path"]);
    }
}
