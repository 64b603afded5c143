//! `fusionlab sim`: the simulated Fusion itself.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::candidates;
use super::context::Context;
use super::duration;
use super::error::{Failure, Success};
use super::simulated;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.sim/1";

/// The simulated Fusion: look at it, stop it, break it
///
/// It starts by itself when `up` needs it, and keeps its machines until `wipe`.
#[derive(Args, Debug)]
#[command(subcommand_help_heading = "Verbs", subcommand_value_name = "VERB")]
#[command(after_help = "Examples:
  fusionlab sim status              whether it runs, and its machines
  fusionlab sim fault               what can be let go wrong
  fusionlab sim sleep 8h            as if the Mac had slept that long
  fusionlab sim wipe                remove it with all that it holds")]
pub struct SimArgs {
    #[command(subcommand)]
    command: SimCommand,
}

#[derive(Subcommand, Debug)]
pub enum SimCommand {
    /// Show whether it runs, and its machines
    #[command(after_help = "Examples:
  fusionlab sim status")]
    Status,
    /// Start it
    #[command(after_help = "Examples:
  fusionlab sim start
  fusionlab sim start --sim-guests linux    with real guests, as root")]
    Start,
    /// Stop it: to its machines, the power goes
    #[command(after_help = "Examples:
  fusionlab sim stop")]
    Stop,
    /// Stop it and remove all that it holds
    #[command(after_help = "Examples:
  fusionlab sim wipe")]
    Wipe,
    /// Let the Mac sleep: its machines' clocks stand still meanwhile, and what they hold grows old
    ///
    /// The Mac's own clock is this computer's, and stays: what its machines hold is that much older instead.
    #[command(after_help = "Examples:
  fusionlab sim sleep 8h      a night
  fusionlab sim sleep 400d    until certificates have ended")]
    Sleep {
        /// How long, such as 90m, 8h or 400d
        #[arg(value_name = "TIME", value_parser = duration::parse)]
        time: Duration,
    },
    /// Start the Mac anew: its machines lose their power, and Fusion's networks are down
    #[command(after_help = "Examples:
  fusionlab sim reboot")]
    Reboot,
    /// Let something go wrong; without a name, list what can
    ///
    /// A link that is cut stays so until it is cleared.
    #[command(after_help = "Examples:
  fusionlab sim fault                                     what there is
  fusionlab sim fault link-silent --on gateway1/ens160    cut this card off
  fusionlab sim fault --clear                             all is well again")]
    Fault {
        /// What goes wrong
        #[arg(add = candidates::faults())]
        name: Option<String>,

        /// Only for this machine, such as k8s-worker1, this point of its work, such as k8s-worker1:kubelet-start, this card,
        /// such as gateway1/ens160, or this call, such as "vmnet-cli --stop before"
        #[arg(long, add = candidates::machines(), value_name = "NAME")]
        on: Option<String>,

        /// Occasions that pass before it strikes
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u32,

        /// How often; without it, every time
        #[arg(long, value_name = "N")]
        times: Option<u32>,

        /// Take planted faults away: all, or only what the name and --on say
        #[arg(long, conflicts_with_all = ["after", "times"])]
        clear: bool,
    },
    /// The Debian system that real guests start from (--sim-guests)
    #[command(subcommand_help_heading = "Verbs", subcommand_value_name = "VERB")]
    #[command(after_help = "Examples:
  fusionlab sim image build    make it now, as root on Linux
  fusionlab sim image list     those that are there")]
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// Make it like a Mac that has been lived in; without a name, list how
    ///
    /// What is made so stays until `wipe`. Real guests meet other machines of the home's once the simulation is started anew.
    #[command(after_help = "Examples:
  fusionlab sim hazard              what there is
  fusionlab sim hazard vip-taken    somebody has the VIP already")]
    Hazard {
        /// What is in the way there
        #[arg(add = candidates::hazards(), value_name = "NAME")]
        names: Vec<String>,
    },
}

#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// Build it, unless it is there; up does so by itself
    ///
    /// On Linux, as root, with mmdebstrap. It is kept below fusionlab's home, or where FUSIONLAB_SIM_IMAGES says.
    #[command(after_help = "Examples:
  fusionlab sim image build
  fusionlab sim image build --disk    for machines of QEMU")]
    Build {
        /// The Debian release
        #[arg(long, value_name = "SUITE", default_value = "trixie", value_parser = ["bookworm", "trixie"])]
        suite: String,

        /// With a kernel and as a disk, for machines of QEMU
        #[arg(long)]
        disk: bool,

        /// Where the packages come from, such as http://deb.debian.org/debian [default: mmdebstrap's]
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
    /// List those that are there
    #[command(after_help = "Examples:
  fusionlab sim image list")]
    List,
}

pub async fn run(args: SimArgs, context: &Context) -> Result<Success, Failure> {
    let mut answer = simulated::command(context, &args.command).await?;
    if context.json() {
        answer.json["schema"] = SCHEMA.into();
        context.print_json(&answer.json)?;
    } else {
        context.print(answer.lines)?;
    }
    Ok(Success::Done)
}

/// What `fusionlab sim` has to say: for people, and for programs.
pub struct SimAnswer {
    pub lines: Vec<String>,
    pub json: serde_json::Value,
}
