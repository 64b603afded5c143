//! A `vmrest` process of our own: private credentials, a free port, ended with us.
//!
//! `vmrest` keeps its settings in `$HOME/.vmrestCfg`. It gets a home of its own, so that the user's settings and
//! password stay as they are; the file is written directly, in the form that `vmrest -C` writes
//! (facts/vmrun-vmrest.md §3.1), since that program would ask a terminal.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::process::Child;

use super::observe::Pauses;
use crate::host::process::{self, Capture, Options};
use crate::host::{HostError, Result, clock, files};

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
/// A port that was free a moment ago may be taken; so often another one is tried.
const TRIES: u32 = 3;

/// How to speak to a server.
#[derive(Clone)]
pub struct Access {
    /// Without a slash at the end: `http://127.0.0.1:8697/api`. Never by the name localhost, which may be ::1.
    pub base: String,
    pub user: String,
    pub password: String,
}

/// A running `vmrest`; killed when dropped.
pub struct Server {
    access: Access,
    _child: Child,
    _output: [Capture; 2],
}

impl Server {
    /// Starts `program` with the home folder `home`, and waits until it takes requests.
    pub async fn start(program: &Path, home: &Path, limit: Duration) -> Result<Self> {
        files::create_private_dir(home)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::attempt(program, home, limit).await {
                Err(HostError::Program { .. }) if tries < TRIES => {}
                outcome => return outcome,
            }
        }
    }

    pub fn access(&self) -> Access {
        self.access.clone()
    }

    async fn attempt(program: &Path, home: &Path, limit: Duration) -> Result<Self> {
        let port = free_port().map_err(HostError::file("find a free port for", program))?;
        let password = random_text(PASSWORD_LENGTH);
        let settings = settings(port, USER, &password)?;
        files::write_atomic(&home.join(SETTINGS), settings.as_bytes(), files::PRIVATE_FILE)?;
        let mut options = Options::limit(limit);
        options.env = vec![("HOME".into(), home.into())];
        options.cwd = Some(home.to_owned());
        let none: [&str; 0] = [];
        let mut child = process::spawn_serving(program, none, &options)?;
        let output = [process::capture(child.stdout.take()), process::capture(child.stderr.take())];
        await_serving(&mut child, &output, program, limit).await?;
        let base = format!("http://{}:{port}/api", Ipv4Addr::LOCALHOST);
        let access = Access { base, user: USER.to_owned(), password };
        Ok(Self { access, _child: child, _output: output })
    }
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
        let limit = Duration::from_secs(10);
        let server = Server::start(&fake.fusion().program("vmrest"), &home, limit).await.unwrap();
        assert!(server.access().base.starts_with("http://127.0.0.1:"));
        assert_eq!(files::ownership(&home).unwrap().mode, 0o700);
        assert_eq!(files::ownership(&home.join(SETTINGS)).unwrap().mode, 0o600);
        drop(server);
        let pid = files::read_text(&fake.root().join("pid")).unwrap();
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
        let started = Server::start(&fake.fusion().program("vmrest"), &home, Duration::from_secs(10)).await;
        let Err(error) = started else { panic!("it exited") };
        assert!(error.to_string().contains("Not listening"), "{error}");
        assert_eq!(fake.orders(&[]).len(), 3, "another port is tried");
    }
}
