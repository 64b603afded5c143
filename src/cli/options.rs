//! What every verb takes.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::candidates;
use super::terminal::ColorChoice;
use crate::lab::spec::{Mirror, Word};

pub const FUSION_VARIABLE: &str = "FUSIONLAB_FUSION";
const GUESTS_VARIABLE: &str = "FUSIONLAB_SIM_GUESTS";
pub const LAB_VARIABLE: &str = "FUSIONLAB_LAB";
pub const HOME_VARIABLE: &str = "FUSIONLAB_HOME";
const MIRROR_VARIABLE: &str = "FUSIONLAB_IMAGE_MIRROR";

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    #[default]
    Text,
    /// One object a line on standard output, with a versioned `schema` field.
    Json,
    /// JUnit's XML; of `verify` alone.
    Junit,
}

/// What the simulated Fusion's machines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GuestsName {
    /// Models, anywhere
    Model,
    /// Real Debian systems in namespaces; on Linux, as root
    Linux,
    /// Machines of QEMU; on Linux, as root
    Qemu,
}

/// Options that may stand before or after the verb.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Options of every verb")]
pub struct Options {
    /// The lab file [default: fusionlab.yaml if it is there, else what the lab was made from, else the built-in lab] [env:
    /// FUSIONLAB_LAB]
    #[arg(long, global = true, value_name = "FILE", env = LAB_VARIABLE, hide_env = true)]
    pub lab: Option<PathBuf>,

    /// Where VMware Fusion is: the app, or a folder laid out like a Mac's root [env: FUSIONLAB_FUSION]
    #[arg(long, global = true, value_name = "PATH", env = FUSION_VARIABLE, hide_env = true)]
    pub fusion: Option<PathBuf>,

    /// Where fusionlab keeps its files [default: ~/.fusionlab] [env: FUSIONLAB_HOME]
    #[arg(long, global = true, value_name = "DIR", env = HOME_VARIABLE, hide_env = true)]
    pub home: Option<PathBuf>,

    /// A server that has the catalogue's images in the same folders [env: FUSIONLAB_IMAGE_MIRROR]
    #[arg(long, global = true, value_name = "URL", env = MIRROR_VARIABLE, hide_env = true, value_parser = mirror)]
    pub image_mirror: Option<Mirror>,

    /// Form of what is printed: text or json, and junit of verify [default: text]
    #[arg(
        long,
        global = true,
        value_enum,
        add = candidates::forms(),
        value_name = "FORM",
        default_value_t,
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub output: OutputForm,

    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Colours: auto, always or never [default: auto]
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub color: ColorChoice,

    /// Whole lines without colours and symbols, as for a screen reader [env: FUSIONLAB_PLAIN]
    #[arg(
        long,
        global = true,
        env = "FUSIONLAB_PLAIN",
        hide_env = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub plain: bool,

    /// Use the simulated Fusion, even where there is a real one
    #[arg(long, global = true)]
    pub sim: bool,

    /// What the simulated Fusion's machines are, until it is said anew [env: FUSIONLAB_SIM_GUESTS]
    #[arg(long, global = true, value_enum, value_name = "KIND", env = GUESTS_VARIABLE, hide_env = true)]
    pub sim_guests: Option<GuestsName>,

    /// How much faster than a Mac the simulated Fusion works, until it is said anew
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sim_speed: Option<u32>,
}

impl Options {
    pub fn json(&self) -> bool {
        self.output == OutputForm::Json
    }

    /// Says whether the lab file was named by FUSIONLAB_LAB, as it seems: an option that says the same is no other name.
    pub fn lab_is_of_environment(&self) -> bool {
        self.lab.as_ref().is_some_and(|path| is_from(LAB_VARIABLE, path))
    }

    /// Returns the options that another command needs to find the same lab and Fusion, ready to be pasted.
    pub fn again(&self) -> String {
        let mut words = Vec::new();
        if let Some(lab) = self.lab.as_ref().filter(|path| !is_from(LAB_VARIABLE, path)) {
            words.extend(["--lab".to_owned(), quoted(lab)]);
        }
        if let Some(fusion) = self.fusion.as_ref().filter(|path| !is_from(FUSION_VARIABLE, path)) {
            words.extend(["--fusion".to_owned(), quoted(fusion)]);
        }
        if let Some(home) = self.home.as_ref().filter(|path| !is_from(HOME_VARIABLE, path)) {
            words.extend(["--home".to_owned(), quoted(home)]);
        }
        if let Some(mirror) =
            self.image_mirror.as_ref().filter(|it| !is_from(MIRROR_VARIABLE, Path::new(&it.0)))
        {
            words.extend(["--image-mirror".to_owned(), quoted(Path::new(&mirror.0))]);
        }
        if self.sim {
            words.push("--sim".to_owned());
        }
        words.join(" ")
    }
}

/// Says whether a value is the environment's, which the next command has as well.
fn is_from(variable: &str, value: &Path) -> bool {
    std::env::var_os(variable).is_some_and(|set| Path::new(&set) == value)
}

fn mirror(text: &str) -> Result<Mirror, String> {
    Mirror::parse(text).map_err(|fault| fault.help.unwrap_or(fault.message))
}

fn quoted(path: &Path) -> String {
    crate::formats::command::quote(&path.display().to_string())
}
