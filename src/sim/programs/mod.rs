//! Fusion's programs as the simulation plays them: same names, arguments, output shapes, exit codes and quirks. And
//! those of macOS that tell what a Mac's own folders do not: its networks, its neighbours, its processes and how it is doing.

pub mod arp;
pub mod caller;
pub mod netstat;
pub mod networksetup;
pub mod pgrep;
pub mod ping;
pub mod pmset;
mod rest_calls;
pub mod sysctl;
pub mod system_profiler;
pub mod vdiskmanager;
pub mod vm_stat;
pub mod vmnet_cfgcli;
pub mod vmnet_cli;
pub mod vmrest;
pub mod vmrun;
pub mod vmx;

use std::io::Write;
use std::process::ExitCode;

use super::control::{self, Reply, Request};
use super::places::{Places, called_as};
use super::refusal::Refusal;
use caller::{Caller, Moment};

/// Every program that this binary plays.
pub const NAMES: &[&str] = &[
    "vmrun",
    "vmnet-cli",
    "vmnet-cfgcli",
    "vmrest",
    "vmware-vdiskmanager",
    "vmware-vmx",
    "netstat",
    "networksetup",
    "pgrep",
    "arp",
    "ping",
    "system_profiler",
    "sysctl",
    "vm_stat",
    "pmset",
];

/// The exit status of a program that failed: -1 as a byte.
pub const FAILED: u8 = 255;

/// What a program says. It is kept for tests, and shown at once when the program is a process of its own.
#[derive(Debug, Default)]
pub struct Screen {
    pub out: String,
    pub err: String,
    live: bool,
}

impl Screen {
    pub fn live() -> Self {
        Self { live: true, ..Self::default() }
    }

    pub fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
        if self.live {
            let mut stdout = std::io::stdout().lock();
            // A reader that went away is told by the exit status of its own pipe.
            let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        }
    }

    pub fn error_line(&mut self, text: &str) {
        self.err.push_str(text);
        self.err.push('\n');
        if self.live {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// Runs the program that this process was started as; none if it is none of Fusion's.
pub fn run_as_called() -> Option<ExitCode> {
    let called = called_as()?;
    let name = called.file_name()?.to_str()?.to_owned();
    if !NAMES.contains(&name.as_str()) {
        return None;
    }
    let Some(places) = Places::of_program(&called) else {
        Screen::live().error_line(&format!("{name}: not where a simulated Mac has it"));
        return Some(ExitCode::from(FAILED));
    };
    let args: Vec<String> = std::env::args().skip(1).collect();
    // The world serves many machines at once; the small programs do one thing.
    let runtime = if name == "vmware-vmx" {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    };
    let Ok(runtime) = runtime else { return Some(ExitCode::from(FAILED)) };
    let caller = Caller::of_this_process(&places, &name, &args);
    let status = match caller.dies(Moment::Before) {
        true => FAILED,
        false => runtime.block_on(async {
            caller.hangs(Moment::Before).await;
            let status = run(&name, &places, &args, &mut Screen::live()).await;
            caller.hangs(Moment::After).await;
            status
        }),
    };
    caller.dies(Moment::After);
    runtime.shutdown_background();
    Some(ExitCode::from(status))
}

/// Runs a program by its name.
pub async fn run(name: &str, places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    let status = match name {
        "vmrun" => vmrun::run(places, args, screen).await,
        "vmnet-cli" => vmnet_cli::run(places, args, screen).await,
        "vmnet-cfgcli" => vmnet_cfgcli::run(places, args, screen).await,
        "vmrest" => vmrest::run(places, args, screen).await,
        "vmware-vdiskmanager" => vdiskmanager::run(places, args, screen).await,
        "vmware-vmx" => vmx::run(places, args, screen).await,
        "netstat" => netstat::run(places, args, screen).await,
        "networksetup" => networksetup::run(places, args, screen).await,
        "pgrep" => pgrep::run(places, args, screen).await,
        "arp" => arp::run(places, args, screen).await,
        "ping" => ping::run(places, args, screen).await,
        "system_profiler" => system_profiler::run(places, args, screen),
        "sysctl" => sysctl::run(places, args, screen),
        "vm_stat" => vm_stat::run(places, args, screen).await,
        "pmset" => pmset::run(places, args, screen),
        _ => FAILED,
    };
    if name.starts_with("vmnet-") {
        tell_world(places, screen).await;
    }
    status
}

/// Tells a world that runs what its networks are now.
async fn tell_world(places: &Places, screen: &mut Screen) {
    match control::ask(places, &Request::Networks).await {
        Ok(Some(Reply::Refused(Refusal::Unknown(why)))) => screen.error_line(&why),
        Ok(_) => {}
        Err(error) => screen.error_line(&format!("vmware-vmx does not answer: {error}")),
    }
}
