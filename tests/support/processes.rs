//! Processes that work in a folder: a session must not leave one behind.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How often processes are looked for while they may still be leaving.
const POLL: Duration = Duration::from_millis(20);

/// A process that has to do with a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub id: u32,
    pub command: String,
}

/// Returns the processes, but for this one, that were started by a path in the folder, name it in their arguments or
/// environment, or stand in it.
pub fn working_in(folder: &Path) -> Vec<Process> {
    let mut found = if cfg!(target_os = "linux") { by_proc(folder) } else { by_ps(folder) };
    found.retain(|process| process.id != std::process::id());
    found
}

/// Waits until nobody works in the folder; returns who still does when the time is up.
pub fn wait_until_none(folder: &Path, limit: Duration) -> Vec<Process> {
    let until = Instant::now() + limit;
    loop {
        let found = working_in(folder);
        if found.is_empty() || Instant::now() >= until {
            return found;
        }
        std::thread::sleep(POLL);
    }
}

/// Ends a process at once.
pub fn kill(process: &Process) {
    // It may be gone by now: then there is nothing to end.
    let _ = Command::new("kill").args(["-9", &process.id.to_string()]).output();
}

fn by_proc(folder: &Path) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let needle = folder.to_string_lossy().into_owned();
    entries
        .flatten()
        .filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let link = |name: &str| std::fs::read_link(entry.path().join(name)).unwrap_or_default();
            let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let concerned = command.contains(&needle)
                || String::from_utf8_lossy(&read("environ")).contains(&needle)
                || link("cwd").starts_with(folder)
                || link("exe").starts_with(folder);
            concerned.then(|| Process { id, command: command.trim_end().to_owned() })
        })
        .collect()
}

fn by_ps(folder: &Path) -> Vec<Process> {
    let needle = folder.to_string_lossy().into_owned();
    let output = Command::new("ps").args(["-axwwE", "-o", "pid=,command="]).output().expect("ps runs");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains(&needle))
        .filter_map(|line| {
            let (id, command) = line.trim_start().split_once(' ')?;
            Some(Process { id: id.parse().ok()?, command: command.to_owned() })
        })
        .collect()
}

#[test]
fn a_process_is_found_by_its_environment_and_can_be_ended() {
    let folder = tempfile::Builder::new().prefix("fl-").tempdir_in("/tmp").expect("/tmp takes a folder");
    assert_eq!(working_in(folder.path()), []);
    let mut sleeper = Command::new("sleep").arg("60").env("MARK", folder.path()).spawn().expect("sleep runs");
    let found = loop {
        // While the child becomes `sleep`, it has no command line for a moment.
        match &working_in(folder.path())[..] {
            [found] if !found.command.is_empty() => break found.clone(),
            _ => std::thread::sleep(POLL),
        }
    };
    assert_eq!((found.id, found.command.split(' ').next()), (sleeper.id(), Some("sleep")));
    assert_eq!(wait_until_none(folder.path(), Duration::ZERO), std::slice::from_ref(&found));
    kill(&found);
    sleeper.wait().expect("the sleeper is ours");
    assert_eq!(wait_until_none(folder.path(), Duration::from_secs(10)), []);
}
