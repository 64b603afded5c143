//! The stand-in's side: one process in the guest, under a program's name.
//!
//! It knows its version by itself; everything else it is told by the world, and does as the user that it runs as.

mod act;
mod alone;
mod listen;
pub mod look;
mod place;
mod words;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::protocol::{self, Ask, Hello, Reply, Role, ToGuest, ToWorld};
use super::{NAMES, PROGRAM};
use crate::sim::guest::services::Stream;
use listen::Listeners;
use place::Here;
pub use place::Place;

/// The exit status of a stand-in that finds no world.
const NO_WORLD: i32 = 1;
/// The exit status of a Go program whose reader went away: 128 and SIGPIPE.
const BROKEN_PIPE: i32 = 141;

/// What a process was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    pub program: String,
    /// Helm is no package: its file says the version.
    pub version: Option<String>,
    pub args: Vec<String>,
}

impl Called {
    /// Reads an argv: a stand-in's link, or this program as the interpreter of a file that begins with
    /// `#!/usr/lib/fusionlab-sim/fusionlab @helm v3.18.6`.
    fn read(mut argv: Vec<String>) -> Option<Self> {
        if argv.is_empty() {
            return None;
        }
        let called = argv.remove(0);
        if called == PROGRAM && argv.len() >= 2 && argv[0].starts_with('@') {
            let told = argv.remove(0);
            argv.remove(0);
            let (program, version) = told[1..].split_once(' ')?;
            return Some(Self { program: program.into(), version: Some(version.into()), args: argv });
        }
        let program = Path::new(&called).file_name()?.to_str()?.to_owned();
        NAMES.contains(&program.as_str()).then_some(Self { program, version: None, args: argv })
    }
}

/// Runs the program that this process was started as, if it is a stand-in's name in a guest.
pub fn run_as_called() -> Option<ExitCode> {
    let argv = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let called = Called::read(argv)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let status = match runtime {
        Ok(runtime) => {
            let status = runtime.block_on(run(Arc::new(Here), called));
            runtime.shutdown_background();
            status
        }
        Err(error) => {
            let _ = Here.err(format!("{}: {error}\n", called.program).as_bytes());
            NO_WORLD
        }
    };
    Some(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}

/// Runs a stand-in to its end.
pub async fn run(place: Arc<dyn Place>, called: Called) -> i32 {
    if let Some(answer) = alone::answer(place.root(), &called) {
        return if place.out(answer.as_bytes()).is_ok() { 0 } else { BROKEN_PIPE };
    }
    let stream = match place.connect().await {
        Ok(stream) => stream,
        Err(error) => {
            let why = format!(
                "{}: the simulated world does not answer at {}: {error}\n",
                called.program,
                super::SOCKET
            );
            let _ = place.err(why.as_bytes());
            return NO_WORLD;
        }
    };
    match converse(&place, &called, stream).await {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => BROKEN_PIPE,
        Err(error) => {
            let _ =
                place.err(format!("{}: the simulated world is gone: {error}\n", called.program).as_bytes());
            NO_WORLD
        }
    }
}

fn role(called: &Called) -> Role {
    let plain = called.args.iter().find(|word| !word.starts_with('-'));
    match called.program.as_str() {
        "kubelet" => Role::Kubelet,
        "containerd" if plain.is_none() => Role::Containerd,
        "containerd-shim-runc-v2" => Role::Shim,
        _ => Role::Tool,
    }
}

/// Says who it is, then does what the world says.
async fn converse(place: &Arc<dyn Place>, called: &Called, mut stream: Box<dyn Stream>) -> io::Result<i32> {
    let role = role(called);
    let args = match role {
        Role::Tool => words::complete(&**place, called),
        _ => called.args.clone(),
    };
    let input = if words::reads_input(&args) { place.input()? } else { Vec::new() };
    let hello = Hello {
        version: protocol::VERSION,
        role,
        program: called.program.clone(),
        args,
        root: place.is_root(),
        input,
    };
    protocol::write(&mut stream, &hello).await?;
    let mut listeners = Listeners::new(Arc::clone(place));
    loop {
        match protocol::read(&mut stream).await? {
            ToGuest::Out(bytes) => place.out(&bytes)?,
            ToGuest::Err(bytes) => place.err(&bytes)?,
            ToGuest::Ready => place.ready(),
            ToGuest::Spawn(program) => {
                if let Err(error) = place.spawn(&program) {
                    place.err(format!("cannot start {program}: {error}\n").as_bytes())?;
                }
            }
            ToGuest::Ask { id, ask } => {
                let reply = answer(place, &mut listeners, ask).await;
                protocol::write(&mut stream, &ToWorld { id, reply }).await?;
            }
            ToGuest::Exit(status) => return Ok(status),
            ToGuest::Accepted | ToGuest::Refused => {}
        }
    }
}

async fn answer(place: &Arc<dyn Place>, listeners: &mut Listeners, ask: Ask) -> Reply {
    match ask {
        Ask::Observe { paths, known } => {
            Reply::Seen(Box::new(look::observe(place.root(), place.is_root(), &paths, &known)))
        }
        Ask::Apply(effects) => match act::apply(place.root(), &effects) {
            Ok(()) => Reply::Done,
            Err(why) => Reply::Failed(why),
        },
        Ask::Run(argv) => match place.run(&argv).await {
            Ok((status, text)) => Reply::Ran(status, text),
            Err(error) => Reply::Failed(format!("{}: {error}", argv.join(" "))),
        },
        Ask::Listen(addresses) => Reply::Listening(listeners.set(addresses).await),
    }
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn a_stand_in_knows_its_name_by_its_link_or_by_its_first_line() {
        let read = |line: &str| Called::read(line.split('|').map(str::to_owned).collect());
        let link = read("/usr/bin/kubeadm|init").unwrap();
        assert_eq!((link.program.as_str(), link.version), ("kubeadm", None));
        let script = read(&format!("{PROGRAM}|@helm v3.18.6|/usr/local/bin/helm|version")).unwrap();
        assert_eq!(script.version.as_deref(), Some("v3.18.6"));
        assert_eq!(script.args, ["version"]);
        assert_eq!(read("/usr/local/bin/fusionlab|up"), None);
        assert_eq!(read(&format!("{PROGRAM}|up")), None);
    }

    #[test]
    fn containerd_is_a_unit_and_a_command() {
        let called = |program: &str, args: &[&str]| Called {
            program: program.into(),
            version: None,
            args: args.iter().map(|word| (*word).to_owned()).collect(),
        };
        assert_eq!(role(&called("containerd", &[])), Role::Containerd);
        assert_eq!(role(&called("containerd", &["config", "default"])), Role::Tool);
        assert_eq!(role(&called("kubectl", &[])), Role::Tool);
    }
}
