//! Files and folders from this machine into a guest, and back: under a passing name until they are whole.
//!
//! ```text
//! file      our bytes ──▶ install /dev/stdin TMP ──▶ mv TMP DESTINATION         cat SOURCE ──▶ our file
//! folder    our tar   ──▶ mkdir TMP, tar -x      ──▶ mv TMP DESTINATION         tar -c SOURCE ──▶ our folder
//! ```

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::formats::command::Command;
use crate::host::tree::{self, Copied, IncomingFile, IncomingFolder};
use crate::host::{self, Flow, HostError, Output, Pipe, files};
use crate::lab::Node;
use crate::lab::limits::NO_LIMIT;

use crate::engine::context::{Engine, command_failed};
use crate::engine::error::{EngineError, Result};
use crate::engine::guests;

/// Pieces that are read ahead of what the guest takes.
const AHEAD: usize = 16;

/// What arrived, and where.
#[derive(Debug)]
pub struct Arrived<P> {
    pub place: P,
    pub copied: Copied,
}

/// Copies a file, or with `deep` a folder, into a guest: to a path, or into a folder that is there.
pub async fn upload(
    engine: &Engine,
    node: &Node,
    from: &Path,
    to: &str,
    deep: bool,
) -> Result<Arrived<String>> {
    let is_folder = files::is_folder(from);
    if is_folder && !deep {
        return Err(EngineError::IsFolder { place: from.display().to_string() });
    }
    let mode = tree::mode(from)?;
    let name = files::name_of(&files::resolved(from));
    let place = match guarded(to) {
        here if here.is_empty() => name,
        there if holds(engine, node, "-d", &there).await? => {
            format!("{}/{name}", there.trim_end_matches('/'))
        }
        there => there.trim_end_matches('/').to_owned(),
    };
    if is_folder && holds(engine, node, "-e", &place).await? {
        return Err(EngineError::Taken { place: format!("{}:{place}", node.name) });
    }
    let passing = passing_name(&place);
    let sent = send(engine, node, from, mode, &passing, is_folder).await;
    let moved = match sent {
        Ok(copied) => must(engine, node, &["mv", "-f", "-T", &passing, &place]).await.map(|_| copied),
        Err(error) => Err(error),
    };
    if moved.is_err() {
        // What is left of it; the failure itself is what is told.
        let _ = ask(engine, node, &Command::new(["rm", "-rf", &passing])).await;
    }
    let copied = moved.map_err(|error| not_copied(node, &place, error))?;
    Ok(Arrived { place, copied })
}

/// Copies a file, or with `deep` a folder, out of a guest: to a path, or into a folder that is there.
pub async fn download(
    engine: &Engine,
    node: &Node,
    from: &str,
    to: &Path,
    deep: bool,
) -> Result<Arrived<PathBuf>> {
    let from = guarded(from);
    let is_folder = holds(engine, node, "-d", &from).await?;
    if is_folder && !deep {
        return Err(EngineError::IsFolder { place: format!("{}:{from}", node.name) });
    }
    let name = from.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let place = if files::is_folder(to) { to.join(name) } else { to.to_owned() };
    let copied = if is_folder {
        let command = Command::new(["tar", "-C", &from, "-c", "-h", "-f", "-", "."]);
        let folder = IncomingFolder::new(&place)?;
        let received = receive(engine, node, &command, folder, IncomingFolder::take).await;
        received.map_err(|error| not_copied(node, &from, error))?.finish()?
    } else {
        let file = IncomingFile::new(&place, mode_of(engine, node, &from).await?)?;
        let received = receive(engine, node, &Command::new(["cat", &from]), file, IncomingFile::take).await;
        received.map_err(|error| not_copied(node, &from, error))?.finish()?
    };
    Ok(Arrived { place, copied })
}

/// Returns a file's mode; that of a file which everybody may read where the guest does not say, as of one that is not there.
async fn mode_of(engine: &Engine, node: &Node, path: &str) -> Result<u32> {
    let said = ask(engine, node, &Command::new(["stat", "-L", "-c", "%a", path])).await?;
    let mode = u32::from_str_radix(said.text().trim(), 8).ok().filter(|_| said.success());
    Ok(mode.unwrap_or(files::PUBLIC_FILE))
}

/// Returns a failed command's error in words of the copy: the place, and why.
fn not_copied(node: &Node, place: &str, error: EngineError) -> EngineError {
    let EngineError::Command { reason, tail, .. } = error else { return error };
    // Programs say `name: what they did: why`; their names for passing files tell nobody anything.
    let why = tail.last().and_then(|line| line.rsplit_once(": ")).map(|(_, why)| why.to_owned());
    let place = format!("{}:{place}", node.name);
    EngineError::NotCopied { node: node.name.clone(), place, reason: why.unwrap_or(reason), tail }
}

/// Sends a file or a folder to its passing name.
async fn send(
    engine: &Engine,
    node: &Node,
    from: &Path,
    mode: u32,
    passing: &str,
    is_folder: bool,
) -> Result<Copied> {
    let command = if is_folder {
        must(engine, node, &["mkdir", passing]).await?;
        Command::new(["tar", "-C", passing, "-x", "--no-same-owner", "-f", "-"])
    } else {
        Command::new(["install", "-m", &format!("{mode:o}"), "/dev/stdin", passing])
    };
    let (sender, receiver) = sync_channel(AHEAD);
    let path = from.to_owned();
    let read = tokio::task::spawn_blocking(move || reading(&path, is_folder, &sender));
    let flow = Flow { input: Some(receiver), output: Box::new(|_, _| {}) };
    let output = guests::attend(engine, node, &command, NO_LIMIT, flow).await;
    // Of the two failures that one brings about, the guest's tells more; but what was not read whole is not whole there.
    succeeded(node, &command, output?)?;
    let copied = read.await.map_err(|panic| HostError::Content {
        path: from.to_owned(),
        reason: format!("reading it ended: {panic}"),
    })?;
    Ok(copied?)
}

fn reading(path: &Path, is_folder: bool, to: &SyncSender<Vec<u8>>) -> host::Result<Copied> {
    if is_folder { tree::send_folder(path, to) } else { tree::send_file(path, to) }
}

/// Has what a command prints taken as it comes; returns whoever took it, if all went well.
async fn receive<T: Send + 'static>(
    engine: &Engine,
    node: &Node,
    command: &Command,
    taker: T,
    take: fn(&mut T, &[u8]) -> host::Result<()>,
) -> Result<T> {
    let lent = Lent::new(taker);
    let theirs = lent.0.clone();
    let output = Box::new(move |pipe, bytes: &[u8]| {
        let mut theirs = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(taker), failure @ None) = &mut *theirs
            && pipe == Pipe::Stdout
        {
            *failure = take(taker, bytes).err();
        }
    });
    let output = guests::attend(engine, node, command, NO_LIMIT, Flow { input: None, output }).await?;
    succeeded(node, command, output)?;
    match lent.back() {
        (None, Some(taker)) => Ok(taker),
        (Some(failure), _) => Err(failure.into()),
        (None, None) => unreachable!("it is taken back once, here"),
    }
}

/// Whoever takes what comes, and the first failure to do so; shared with the thread that carries it.
///
/// That thread may hold its end for a while after all has come, or after nobody waits for it any more. Whatever happens here,
/// the taker goes with us: a half-made copy would stay where the program ends before the thread does.
struct Lent<T>(Arc<Mutex<(Option<T>, Option<HostError>)>>);

impl<T> Lent<T> {
    fn new(taker: T) -> Self {
        Self(Arc::new(Mutex::new((Some(taker), None))))
    }

    fn back(&self) -> (Option<HostError>, Option<T>) {
        let mut lent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (lent.1.take(), lent.0.take())
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        drop(self.back());
    }
}

async fn holds(engine: &Engine, node: &Node, test: &str, path: &str) -> Result<bool> {
    Ok(ask(engine, node, &Command::new(["test", test, path])).await?.success())
}

async fn must(engine: &Engine, node: &Node, words: &[&str]) -> Result<Output> {
    let command = Command::new(words.iter().copied());
    succeeded(node, &command, ask(engine, node, &command).await?)
}

async fn ask(engine: &Engine, node: &Node, command: &Command) -> Result<Output> {
    let flow = Flow { input: None, output: Box::new(|_, _| {}) };
    guests::attend(engine, node, command, engine.lab.limits.guest_command, flow).await
}

fn succeeded(node: &Node, command: &Command, output: Output) -> Result<Output> {
    if output.success() {
        return Ok(output);
    }
    // What came on standard output is a file's content.
    let output = Output { stdout: Vec::new(), ..output };
    Err(command_failed(&node.name, command, &output))
}

/// Returns a path that no program takes for an option.
fn guarded(path: &str) -> String {
    if path.starts_with('-') { format!("./{path}") } else { path.to_owned() }
}

/// Returns the name beside a place that a file has until it is whole.
fn passing_name(place: &str) -> String {
    let (folder, name) = place.rsplit_once('/').map_or(("", place), |(folder, name)| (folder, name));
    let slash = if place.contains('/') { "/" } else { "" };
    format!("{folder}{slash}.{name}.fusionlab-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_was_copied_is_said_of_the_place_that_was_named() {
        let (lab, _) = crate::stack::fixture::document();
        let failed = |tail: &[&str]| EngineError::Command {
            node: "gateway1".to_owned(),
            program: "install".to_owned(),
            command: "install -m 644 /dev/stdin /etc/.x.fusionlab-1".to_owned(),
            reason: "exit status 1".to_owned(),
            tail: tail.iter().map(|line| (*line).to_owned()).collect(),
        };
        let said = |tail: &[&str]| not_copied(&lab.nodes[0], "/etc/x", failed(tail)).to_string();
        let line = "install: cannot create regular file '/etc/.x.fusionlab-1': Permission denied";
        assert_eq!(said(&[line]), "gateway1:/etc/x: Permission denied");
        assert_eq!(said(&[]), "gateway1:/etc/x: exit status 1");
    }

    #[test]
    fn what_is_half_done_goes_though_somebody_still_carries_it() {
        let folder = tempfile::tempdir().unwrap();
        let lent = Lent::new(IncomingFile::new(&folder.path().join("x"), 0o644).unwrap());
        let theirs = lent.0.clone();
        let there = || std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(there(), 1);
        drop(lent);
        assert_eq!(there(), 0);
        drop(theirs);
    }

    #[test]
    fn a_passing_name_stands_beside_its_place() {
        let id = std::process::id();
        assert_eq!(passing_name("/tmp/a"), format!("/tmp/.a.fusionlab-{id}"));
        assert_eq!(passing_name("/a"), format!("/.a.fusionlab-{id}"));
        assert_eq!(passing_name("a"), format!(".a.fusionlab-{id}"));
        assert_eq!(guarded("-rf"), "./-rf");
    }
}
