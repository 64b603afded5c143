//! What the product takes for its computer: virtual time, Fusion's programs as tasks, and files that may fail.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddrV4;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::process::Process;
use super::{Inside, State, draw};
use crate::host::dial::Stream;
use crate::host::lock::Share;
use crate::host::process::{Finished, Options};
use crate::host::stand_in::{Computer, Doing, Effect, Refused};
use crate::sim::pace::{Operation, Pace};
use crate::sim::places::vm_name;
use crate::sim::programs::caller::{self, Moment};
use crate::sim::programs::{self, Screen};

/// Where an exit status stands in what `wait` returns.
const EXIT_STATUS_SHIFT: u32 = 8;

impl Computer for Inside {
    fn now_ms(&self) -> u64 {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.epoch_ms.saturating_add(since).saturating_add_signed(self.state().jumped_ms)
    }

    fn before(&self, effect: Effect<'_>) -> Result<(), Refused> {
        let process = self.process();
        if process.as_ref().is_some_and(Process::has_died) {
            return Err(gone());
        }
        if let Some(dies) = process.filter(Process::is_last_effect) {
            self.kill(&dies, &format!("at {}", described(effect, self.places.root())));
            let mut state = self.state();
            let torn_after = match effect {
                Effect::Write(_, length) => state.part_of(length),
                _ => 0,
            };
            if torn_after > 0 {
                state.unsynced.note(effect);
            }
            return Err(Refused { torn_after, ..gone() });
        }
        let refused = self.state().refuses();
        if let Some(errno) = refused {
            let error = io::Error::from_raw_os_error(errno);
            self.note(format!("{error}: {}", described(effect, self.places.root())));
            let mut state = self.state();
            let torn_after = match effect {
                Effect::Write(_, length) if errno == libc::ENOSPC => state.part_of(length),
                _ => 0,
            };
            return Err(Refused { torn_after, error });
        }
        self.state().unsynced.note(effect);
        Ok(())
    }

    fn run(&self, program: PathBuf, args: Vec<OsString>, options: &Options) -> Doing<io::Result<Finished>> {
        let called = options.called.clone().map_or(program, PathBuf::from);
        let name = called.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Box::pin(run(self.arc(), name, args, options.share.clone()))
    }

    fn connect(&self, to: SocketAddrV4) -> Doing<io::Result<Stream>> {
        let inside = self.arc();
        Box::pin(async move {
            if inside.has_died() {
                return Err(gone().error);
            }
            let Some(world) = inside.world() else {
                Pace::new(1.0).take(Operation::Unreachable).await;
                return Err(io::ErrorKind::TimedOut.into());
            };
            let (wire, _) = world.connect_from_host(to).await?;
            Ok(Box::new(wire) as Stream)
        })
    }

    fn is_dead(&self) -> bool {
        self.has_died()
    }
}

fn gone() -> Refused {
    Refused { torn_after: 0, error: io::Error::other("the process was killed") }
}

impl State {
    /// Says with which error an effect is refused, if it is.
    fn refuses(&mut self) -> Option<i32> {
        let fault = self.refusal.as_mut()?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        if fault.times == 0 {
            self.refusal = None;
            return None;
        }
        fault.times -= 1;
        Some(fault.errno)
    }

    /// Returns some length up to this one.
    fn part_of(&mut self, length: usize) -> usize {
        let room = u64::try_from(length).unwrap_or(u64::MAX).saturating_add(1);
        usize::try_from(draw(&mut self.draws) % room).unwrap_or(0)
    }
}

fn described(effect: Effect<'_>, root: &Path) -> String {
    let below = |path: &Path| {
        let home = root.parent().unwrap_or(root);
        path.strip_prefix(home).unwrap_or(path).display().to_string()
    };
    match effect {
        Effect::Create(path) => format!("creating {}", below(path)),
        Effect::Write(path, length) => format!("writing {length} bytes to {}", below(path)),
        Effect::Sync(path) => format!("syncing {}", below(path)),
        Effect::Rename { from, to } => format!("renaming {} to {}", below(from), below(to)),
        Effect::SyncFolder(path) => format!("syncing the folder {}", below(path)),
        Effect::Remove(path) => format!("removing {}", below(path)),
        Effect::SetMode(path) => format!("setting the mode of {}", below(path)),
    }
}

/// A program that runs as a task. It outlives the process that called it if that is killed, and is killed if that only
/// wants no more of it.
struct Running {
    process: Option<Process>,
    task: JoinHandle<(u8, Screen)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.process.as_ref().is_some_and(Process::has_died) {
            self.task.abort();
        }
    }
}

/// `share` is the program's until it ends, as a descriptor is.
async fn run(
    inside: Arc<Inside>,
    name: String,
    args: Vec<String>,
    share: Option<Arc<Share>>,
) -> io::Result<Finished> {
    let process = inside.process();
    if process.as_ref().is_some_and(Process::has_died) {
        return Err(gone().error);
    }
    if !programs::NAMES.contains(&name.as_str()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let call = caller::call(&name, &args);
    if caller::dies(&inside.places, &call, Moment::Before) {
        process.iter().for_each(|caller| inside.kill(caller, &format!("before {call}")));
        return Err(gone().error);
    }
    let died = process.as_ref().map_or_else(CancellationToken::new, Process::died);
    let (places, calls, whole) = (inside.places.clone(), call.clone(), brief(&call, &args));
    let power = inside.state().power.clone();
    let patience = inside.state().patience.clone();
    let mut running = Running {
        process: process.clone(),
        task: tokio::spawn(async move {
            let mut screen = Screen::default();
            let hangs =
                async |moment| patience.run_until_cancelled(caller::hangs(&places, &calls, moment)).await;
            let work = async {
                hangs(Moment::Before).await?;
                let status = programs::run(&name, &places, &args, &mut screen).await;
                hangs(Moment::After).await?;
                Some(status)
            };
            let status = power.run_until_cancelled(work).await.flatten().unwrap_or(programs::FAILED);
            drop(share);
            (status, screen)
        }),
    };
    let ended = tokio::select! {
        biased;
        ended = &mut running.task => ended,
        () = died.cancelled() => return Err(gone().error),
    };
    let (status, screen) = ended.map_err(io::Error::other)?;
    if status != 0 || ORDERS.iter().any(|order| call.ends_with(order)) {
        inside.note(format!("{whole}: exit status {status}"));
    }
    if caller::dies(&inside.places, &call, Moment::After) {
        process.iter().for_each(|caller| inside.kill(caller, &format!("after {call}")));
        return Err(gone().error);
    }
    let status = ExitStatus::from_raw(i32::from(status) << EXIT_STATUS_SHIFT);
    Ok(Finished { status, stdout: screen.out.into_bytes(), stderr: screen.err.into_bytes() })
}

/// Calls that change something, and so are worth telling.
const ORDERS: &[&str] = &[
    "start",
    "stop",
    "snapshot",
    "clone",
    "deleteVM",
    "--start",
    "--stop",
    "--configure",
    "updatedhcpfromconfig",
];

/// Returns a call with the names of the VMs that it is about.
fn brief(call: &str, args: &[String]) -> String {
    let vms = args.iter().map(Path::new).filter(|path| path.extension().is_some_and(|kind| kind == "vmx"));
    let vms: Vec<String> = vms.map(vm_name).collect();
    [call.to_owned()].into_iter().chain(vms).collect::<Vec<_>>().join(" ")
}
