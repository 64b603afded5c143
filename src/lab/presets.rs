//! The three sizes of a lab, and the commented lab file that a newcomer starts from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::spec::{ANY_NODE, Key, Usual, keys};

/// A ready-made size of lab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The networking document: 2 gateways, 3 control planes, 2 workers.
    #[default]
    Ha,
    /// One gateway, one control plane, one worker.
    Small,
    /// One gateway, and one control plane that takes workloads.
    Solo,
}

impl Preset {
    pub const ALL: [Self; 3] = [Self::Ha, Self::Small, Self::Solo];

    /// Returns the number of gateways, control planes and workers.
    pub fn counts(self) -> (u8, u8, u8) {
        match self {
            Self::Ha => (2, 3, 2),
            Self::Small => (1, 1, 1),
            Self::Solo => (1, 1, 0),
        }
    }

    /// Returns one line about it, for the wizard.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Ha => "2 gateways, 3 control planes, 2 workers: the networking document",
            Self::Small => "1 gateway, 1 control plane, 1 worker",
            Self::Solo => "1 gateway, 1 control plane that takes workloads",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ha => "ha",
            Self::Small => "small",
            Self::Solo => "solo",
        })
    }
}

/// Why a text is not a preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a preset: ha, small or solo")]
pub struct BadPreset(pub String);

impl FromStr for Preset {
    type Err = BadPreset;

    fn from_str(text: &str) -> Result<Self, BadPreset> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.to_string() == text)
            .ok_or_else(|| BadPreset(text.to_owned()))
    }
}

/// Returns a lab file with every key, its meaning and its default.
///
/// Keys that follow from others stand in comments (`#key: value`; prose is `# words`), so that a
/// change of a subnet moves every address in it.
pub fn commented_file(preset: Preset) -> String {
    commented_file_with(preset, &[])
}

/// Returns the same file with some keys set: a dotted path and its value as YAML, such as
/// `("lan.subnet", "192.168.1.0/24")`. A path that is no key is left out.
pub fn commented_file_with(preset: Preset, set: &[(&str, &str)]) -> String {
    let preset_word = preset.to_string();
    let (gateways, control_planes, workers) = preset.counts();
    let counts = [gateways, control_planes, workers].map(|count| count.to_string());
    let schedulable = (workers == 0).to_string();
    let of_preset = [
        ("preset", preset_word.as_str()),
        ("gateways.count", &counts[0]),
        ("control_planes.count", &counts[1]),
        ("control_planes.schedulable", &schedulable),
        ("workers.count", &counts[2]),
    ];
    let value = |path: &str, pairs: &[(&str, &str)]| {
        pairs.iter().find(|(key, _)| *key == path).map(|(_, value)| (*value).to_owned())
    };
    let mut file = String::from(HEADER);
    for key in keys() {
        match value(&key.path, set) {
            Some(value) => entry(&mut file, &key, &value, true),
            None => entry_as_usual(&mut file, &key, value(&key.path, &of_preset)),
        }
    }
    file
}

const HEADER: &str = "\
# The lab file of fusionlab: what `fusionlab up` brings up and `fusionlab destroy` takes down.
# Every key but `version` may be left out. What stands after `#` without a blank is the default of a
# key that follows from others, or an example. `fusionlab schema` prints this file's JSON Schema.
";

fn entry_as_usual(file: &mut String, key: &Key, of_preset: Option<String>) {
    match key.usual {
        Usual::Section => section(file, key),
        Usual::Live(usual) => entry(file, key, of_preset.as_deref().unwrap_or(usual), true),
        Usual::Derived(usual) => entry(file, key, of_preset.as_deref().unwrap_or(usual), false),
        Usual::Example(usual) => entry(file, key, usual, false),
        Usual::Limit(seconds) => entry(file, key, &seconds.to_string(), false),
    }
}

fn section(file: &mut String, key: &Key) {
    file.push('\n');
    comment(file, "", key.doc);
    file.push_str(&format!("{}:\n", key.path));
    if key.path == "nodes" {
        file.push_str("  #k8s-worker1:\n");
    }
}

fn entry(file: &mut String, key: &Key, value: &str, live: bool) {
    let name = key.path.rsplit('.').next().unwrap_or_default();
    if key.path.contains(ANY_NODE) {
        file.push_str(&format!("  #  {:<27} # {}\n", format!("{name}: {value}"), key.doc));
        return;
    }
    if key.path.starts_with("image.") {
        // Keys that exclude each other are shown as two mappings.
        file.push_str(match name {
            "name" => "#image:\n",
            "url" => "# An image of your own:\n#image:\n",
            _ => "",
        });
        file.push_str(&format!("#  {name}: {value}\n"));
        return;
    }
    let indent = "  ".repeat(key.path.matches('.').count());
    if indent.is_empty() {
        file.push('\n');
    }
    comment(file, &indent, key.doc);
    let hash = if live { "" } else { "#" };
    file.push_str(&format!("{indent}{hash}{name}: {value}\n"));
}

const WIDTH: usize = 100;

/// Adds a comment, wrapped.
fn comment(file: &mut String, indent: &str, words: &str) {
    let mut line = format!("{indent}#");
    for word in words.split_whitespace() {
        if line.chars().count() + word.chars().count() + 1 > WIDTH {
            file.push_str(&line);
            file.push('\n');
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    file.push_str(&line);
    file.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::catalogue::Arch;
    use crate::lab::resolve::resolve;

    /// Turns every `#key: value` into `key: value`; the examples of single machines and of the
    /// bridged interface stay comments, because they change the lab.
    fn uncommented(file: &str) -> String {
        let is_example = |line: &str| {
            line.starts_with("#image:") || line.starts_with("  #k8s-") || line.contains("#interface")
        };
        let line = |line: &str| match line.trim_start().strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') && !is_example(line) => line.replacen('#', "", 1),
            _ => line.to_owned(),
        };
        file.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_commented_file_says_what_the_defaults_are() {
        for preset in Preset::ALL {
            let expected = resolve(None, Some(preset), Arch::Arm64).unwrap().lab;
            let file = commented_file(preset);
            for text in [uncommented(&file), file] {
                let resolved = resolve(Some(&text), None, Arch::Arm64)
                    .unwrap_or_else(|found| panic!("{found:#?}\n{text}"));
                assert_eq!(resolved.lab, expected, "{text}");
            }
        }
    }

    #[test]
    fn the_commented_file_has_every_key() {
        let file = commented_file(Preset::Ha);
        for key in keys() {
            let name = key.path.rsplit('.').next().unwrap();
            assert!(file.contains(&format!("{name}:")), "{}", key.path);
        }
        assert!(file.lines().all(|line| line.chars().count() <= WIDTH), "too wide:\n{file}");
    }

    #[test]
    fn keys_that_are_set_are_live_and_move_the_others() {
        let file =
            commented_file_with(Preset::Small, &[("lan.subnet", "10.0.1.0/24"), ("lan.interface", "en0")]);
        let lab = resolve(Some(&file), None, Arch::Arm64).unwrap().lab;
        assert_eq!(
            (lab.lan.vip.to_string().as_str(), lab.lan.interface.as_deref()),
            ("10.0.1.200", Some("en0"))
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test brings the checked-in files up to date on request")]
    fn the_ready_lab_files_are_what_the_program_writes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vm-templates/labs");
        for preset in Preset::ALL {
            let (path, file) = (format!("{folder}/{preset}.yaml"), commented_file(preset));
            if std::env::var_os("UPDATE_LABS").is_some() {
                std::fs::write(&path, &file).unwrap();
            }
            assert!(
                std::fs::read_to_string(&path).unwrap() == file,
                "{path} is out of date: see vm-templates/README.md"
            );
        }
    }

    #[test]
    fn the_short_lab_file_keeps_out_of_the_pool() {
        let text = include_str!("../../vm-templates/labs/outside-the-pool.yaml");
        assert_eq!(resolve(Some(text), None, Arch::Arm64).unwrap().warnings, []);
    }

    #[test]
    fn presets_are_spelt_one_way() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse(), Ok(preset));
        }
        assert_eq!("HA".parse::<Preset>(), Err(BadPreset("HA".to_owned())));
    }
}
