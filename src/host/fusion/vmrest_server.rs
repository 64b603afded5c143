//! A `vmrest` process of our own: private credentials, a free port, ended with us.
//!
//! `vmrest` keeps its settings in `$HOME/.vmrestCfg`. It gets a home of its own, so that the user's settings and
//! password stay as they are; the file is written directly, in the form that `vmrest -C` writes
//! (facts/vmrun-vmrest.md §3.1), since that program would ask a terminal.
//!
//! ```text
//! rest/4711-9f3a/lock         held for as long as we live
//! rest/4711-9f3a/server.json  the process that we started
//! rest/4711-9f3a/.vmrestCfg   its settings
//! ```
//!
//! The folder goes with the server. One whose lock is free is of a run that was killed: its server is ended, and the
//! folder taken away.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Child;

use super::verbs::{self, Again, Deadlines, Pauses, Tries};
use crate::host::lock::{self, Lock};
use crate::host::process::{self, Capture, Options};
use crate::host::{HostError, Result, clock, files, system};

const LOCK: &str = "lock";
const RECORD: &str = "server.json";
const RECORD_VERSION: u32 = 1;
const SETTINGS: &str = ".vmrestCfg";
const USER: &str = "fusionlab";
/// What the banner says once requests are taken.
const SERVING: &str = "Serving HTTP on";
/// vmrest's rule: 8 to 12 characters with one of each of these.
const PASSWORD_LENGTH: usize = 12;
const SALT_LENGTH: usize = 16;
const CHARACTERS: [&[u8]; 4] = [
    b"abcdefghijklmnopqrstuvwxyz",
    b"0123456789",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"!#$%&()*+,-./:;<=>?@^_{|}~",
];
/// What Go's bcrypt, which vmrest checks with, uses by default.
const BCRYPT_COST: u32 = 10;

/// How to speak to a server.
#[derive(Clone)]
pub struct Access {
    /// Without a slash at the end: `http://127.0.0.1:8697/api`. Never by the name localhost, which may be ::1.
    pub base: String,
    pub user: String,
    pub password: String,
}

/// Which process was started, for whoever comes after a crash.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    pid: u32,
    /// Tells this boot's processes from those of an earlier one with the same numbers.
    boot: String,
}

/// A running `vmrest`; ended when dropped.
pub struct Server {
    access: Access,
    child: Child,
    _output: [Capture; 2],
    folder: PathBuf,
    _lock: Lock,
}

impl Server {
    /// Starts `program` with a home folder of its own below `home`, and waits until it takes requests.
    pub async fn start(program: &Path, home: &Path, deadlines: &Deadlines) -> Result<Self> {
        files::create_private_dir(home)?;
        sweep(home, program)?;
        let limit = (verbs::SERVE.limit)(deadlines);
        let mut tries = Tries::of(&verbs::SERVE);
        loop {
            match Self::attempt(program, home, limit).await {
                // The port that was free a moment ago may be taken.
                Err(HostError::Program { .. }) if tries.another(Again::Busy).await => {}
                outcome => return outcome,
            }
        }
    }

    pub fn access(&self) -> Access {
        self.access.clone()
    }

    async fn attempt(program: &Path, home: &Path, limit: Duration) -> Result<Self> {
        let folder = home.join(format!("{}-{:08x}", std::process::id(), rand::random::<u32>()));
        files::create_private_dir(&folder)?;
        let started = Self::start_in(program, &folder, limit).await;
        if started.is_err() {
            files::remove_tree(&folder, home)?;
        }
        started
    }

    async fn start_in(program: &Path, folder: &Path, limit: Duration) -> Result<Self> {
        let lock = lock::acquire(&folder.join(LOCK), "vmrest", "rest")?;
        let port = free_port().map_err(HostError::file("find a free port for", program))?;
        let password = random_text(PASSWORD_LENGTH);
        let settings = settings(port, USER, &password)?;
        files::write_atomic(&folder.join(SETTINGS), settings.as_bytes(), files::PRIVATE_FILE)?;
        let mut options = Options::limit(limit);
        options.env = vec![("HOME".into(), folder.into())];
        options.cwd = Some(folder.to_owned());
        let none: [&str; 0] = [];
        let mut child = process::spawn_serving(program, none, &options)?;
        let record =
            Record { version: RECORD_VERSION, pid: child.id().unwrap_or(0), boot: system::boot_id() };
        let record = serde_json::to_vec(&record).expect("a record is plain data");
        files::write_atomic(&folder.join(RECORD), &record, files::PRIVATE_FILE)?;
        let output = [process::capture(child.stdout.take()), process::capture(child.stderr.take())];
        await_serving(&mut child, &output, program, limit).await?;
        let base = format!("http://{}:{port}/api", Ipv4Addr::LOCALHOST);
        let access = Access { base, user: USER.to_owned(), password };
        Ok(Self { access, child, _output: output, folder: folder.to_owned(), _lock: lock })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that ended by itself cannot be ended; a folder that stays is swept by the next run.
        let _ = self.child.start_kill();
        if let Some(home) = self.folder.parent() {
            let _ = files::remove_tree(&self.folder, home);
        }
    }
}

/// Ends the servers of runs that were killed, and takes their folders away.
fn sweep(home: &Path, program: &Path) -> Result<()> {
    for folder in files::list(home)?.into_iter().filter(|folder| files::exists(&folder.join(LOCK))) {
        // Held: its run lives. Any other trouble is that of whoever owns it.
        let Ok(_lock) = lock::acquire(&folder.join(LOCK), "vmrest", "rest") else { continue };
        let record = files::read_if_exists(&folder.join(RECORD))?;
        if let Some(record) = record.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok())
            && record.boot == system::boot_id()
            && system::program_of(record.pid) == Some(files::resolved(program))
        {
            system::end_process(record.pid);
        }
        files::remove_tree(&folder, home)?;
    }
    Ok(())
}

async fn await_serving(
    child: &mut Child,
    output: &[Capture; 2],
    program: &Path,
    limit: Duration,
) -> Result<()> {
    let until = clock::monotonic() + limit;
    let said = || output.iter().map(Capture::so_far).collect::<Vec<_>>().join("");
    let mut pauses = Pauses::default();
    loop {
        if said().contains(SERVING) {
            return Ok(());
        }
        if let Some(status) = child.try_wait().map_err(HostError::file("wait for", program))? {
            // Its last words may still be in the pipe.
            pauses.next().await;
            let output = said().trim().to_owned();
            let status = status.to_string();
            return Err(HostError::Program { program: program.to_owned(), args: Vec::new(), status, output });
        }
        if clock::monotonic() >= until {
            return Err(HostError::Deadline { what: format!("the start of {}", program.display()), limit });
        }
        pauses.next().await;
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Returns the settings file's text: the password as the bcrypt hash of salt and password.
pub fn settings(port: u16, user: &str, password: &str) -> Result<String> {
    let salt = random_text(SALT_LENGTH);
    let hash = bcrypt::hash_with_result(format!("{salt}{password}"), BCRYPT_COST)
        .map_err(|error| HostError::Content { path: SETTINGS.into(), reason: error.to_string() })?
        .format_for_version(bcrypt::Version::TwoA);
    Ok(format!("port={port}\r\nusername={user}\r\npassword={hash}\r\nsalt={salt}\r\n"))
}

/// Draws a text in which each kind of character comes up in turn.
fn random_text(length: usize) -> String {
    let draw = |set: &[u8]| char::from(set[rand::random_range(..set.len())]);
    (0..length).map(|place| draw(CHARACTERS[place % CHARACTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fusion::fake::Fake;

    #[test]
    fn the_settings_hold_a_hash_that_the_password_opens() {
        let text = settings(8697, "fusionlab", "aB3!aB3!aB3!").unwrap();
        let value = |key: &str| {
            let line = text.split("\r\n").find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap().to_owned()
        };
        assert_eq!((value("port").as_str(), value("username").as_str()), ("8697", "fusionlab"));
        assert!(value("password").starts_with("$2a$10$"));
        assert_eq!(value("salt").len(), SALT_LENGTH);
        let salted = format!("{}aB3!aB3!aB3!", value("salt"));
        assert!(bcrypt::verify(salted, &value("password")).unwrap());
    }

    #[tokio::test]
    async fn a_server_has_a_home_of_its_own_and_ends_with_us() {
        let fake = Fake::new();
        fake.program(
            "vmrest",
            "echo $$ > \"$FOLDER/pid\"; echo 'VMware Fusion REST API'; grep -q port= \"$HOME/.vmrestCfg\" && \
             echo 'Serving HTTP on 127.0.0.1:1'; sleep 60",
        );
        let home = fake.root().join("rest");
        let program = fake.fusion().program("vmrest");
        let server = Server::start(&program, &home, &fake.deadlines()).await.unwrap();
        assert!(server.access().base.starts_with("http://127.0.0.1:"));
        assert_eq!(files::ownership(&home).unwrap().mode, 0o700);
        let folder = files::list(&home).unwrap().remove(0);
        assert_eq!(files::ownership(&folder).unwrap().mode, 0o700);
        assert_eq!(files::ownership(&folder.join(SETTINGS)).unwrap().mode, 0o600);
        let another = Server::start(&program, &home, &fake.deadlines()).await.unwrap();
        assert_eq!(files::list(&home).unwrap().len(), 2, "another run leaves ours alone");
        let pid = files::read_text(&fake.root().join("pid")).unwrap();
        drop(another);
        drop(server);
        assert_eq!(files::list(&home).unwrap().len(), 0);
        ended(&pid).await;
    }

    #[tokio::test]
    async fn the_server_of_a_run_that_was_killed_is_ended() {
        let fake = Fake::new();
        fake.program("vmrest", "echo 'Serving HTTP on 127.0.0.1:1'; exec sleep 60");
        let home = fake.root().join("rest");
        // As a killed run leaves it: nobody holds the lock, and the server runs on. A shell program's program is the shell.
        let sleep = files::canonicalize(Path::new("/bin/sleep")).unwrap();
        let mut stale =
            process::spawn_serving(&sleep, ["60"], &Options::limit(Duration::from_secs(60))).unwrap();
        let pid = stale.id().unwrap();
        let left = |name: &str, pid: u32| {
            let record = Record { version: RECORD_VERSION, pid, boot: system::boot_id() };
            fake.write(&home.join(name).join(RECORD), &serde_json::to_string(&record).unwrap());
            fake.write(&home.join(name).join(LOCK), "");
        };
        left("1-aaaaaaaa", pid);
        left("2-bbbbbbbb", std::process::id());
        sweep(&home, &sleep).unwrap();
        assert_eq!(files::list(&home).unwrap().len(), 0, "and we, who are another program, still live");
        assert!(!stale.wait().await.unwrap().success());
    }

    async fn ended(pid: &str) {
        let stat = format!("/proc/{}/stat", pid.trim());
        for _ in 0..200 {
            let state = files::read_text(Path::new(&stat)).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            clock::pause(Duration::from_millis(10)).await;
        }
        panic!("vmrest still runs");
    }

    #[tokio::test]
    async fn a_server_that_gives_up_is_quoted() {
        let fake = Fake::new();
        fake.program("vmrest", "echo 'Not listening to either Unix Socket or TCP port, exiting'; exit 1");
        let home = fake.root().join("rest");
        let started = Server::start(&fake.fusion().program("vmrest"), &home, &fake.deadlines()).await;
        let Err(error) = started else { panic!("it exited") };
        assert!(error.to_string().contains("Not listening"), "{error}");
        assert_eq!(fake.orders(&[]).len(), 3, "another port is tried");
        assert_eq!(files::list(&home).unwrap().len(), 0);
    }
}
