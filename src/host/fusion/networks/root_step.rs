//! The one thing that takes root: replacing Fusion's networking file and restarting its networks.
//!
//! `sudo fusionlab network apply-as-root --request FILE` trusts nothing that the request says: target, content and
//! programs are checked from scratch. It answers with one line of JSON on its standard output.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Applied, Change, refuse_if_changed, replace};
use crate::host::fusion::{Fusion, discover};
use crate::formats::networking::Document;
use crate::host::{HostError, Result, files, process, system};

const SUDO: &str = "/usr/bin/sudo";
/// The words of our own verb.
pub const VERB: [&str; 3] = ["network", "apply-as-root", "--request"];
const VERSION: u32 = 1;
const REQUEST: &str = "network-request.json";
/// A networking file is some kilobytes; more is not one.
const LARGEST_FILE: usize = 1 << 20;
/// The root step runs up to eight programs, each with its limit, and the user types a password first.
const LIMITS_OF_ROOT_STEP: u32 = 10;

/// What we ask of ourselves under `sudo`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    version: u32,
    /// Fusion's bundle; its programs are run.
    app: PathBuf,
    /// The file to replace; only this Fusion's networking file is accepted.
    target: PathBuf,
    /// The new file, in base64.
    new: String,
    /// SHA-256 (hex) of the file that is there now; none if there is none.
    before: Option<String>,
    vmnet: u8,
    limit_seconds: u64,
}

/// What the root step answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Applied(Applied),
    Failed { reason: String, output: String, restored: bool },
}

/// Returns the command that changes the networks as root; its request lies in the lab's folder.
pub fn command(lab_folder: &Path) -> Result<Vec<OsString>> {
    let mut words = vec![SUDO.into(), system::own_program()?.into_os_string()];
    words.extend(VERB.map(Into::into));
    words.push(lab_folder.join(REQUEST).into_os_string());
    Ok(words)
}

/// Lets `sudo` ask for the password now, so that it need not while something else draws on the terminal. Says
/// whether it lets us in; where nobody can answer, only whether it does so without a password.
pub async fn authenticate(can_ask: bool, limit: Duration) -> Result<bool> {
    let args: &[&str] = if can_ask { &["-v"] } else { &["-n", "-v"] };
    let finished = process::run_attached(Path::new(SUDO), args, limit * LIMITS_OF_ROOT_STEP).await?;
    Ok(finished.success())
}

/// Runs ourselves under `sudo` with a request, and returns what that says.
pub(super) async fn ask_root(fusion: &Fusion, change: &Change<'_>) -> Result<Applied> {
    let request = Request {
        version: VERSION,
        app: fusion.app.clone(),
        target: fusion.networking(),
        new: BASE64_STANDARD.encode(change.new),
        before: change.expect_before.map(digest),
        vmnet: change.vmnet,
        limit_seconds: change.limit.as_secs(),
    };
    let path = change.backup.with_file_name(REQUEST);
    let text = serde_json::to_vec_pretty(&request).expect("a request is plain data");
    files::write_atomic(&path, &text, files::PRIVATE_FILE)?;
    let command = command(path.parent().unwrap_or(Path::new("/")))?;
    let mut args = command[1..].to_vec();
    if !std::io::stdin().is_terminal() {
        // Nobody could type a password; without this, `sudo` would wait for one on any terminal that it finds.
        args.insert(0, "-n".into());
    }
    let limit = change.limit * LIMITS_OF_ROOT_STEP;
    let finished = process::run_attached(Path::new(SUDO), &args, limit).await;
    files::remove_file(&path)?;
    understand(&finished?)
}

fn understand(finished: &process::Finished) -> Result<Applied> {
    let text = finished.text();
    let answer = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    match answer {
        Some(Answer::Applied(applied)) => Ok(applied),
        Some(Answer::Failed { reason, output, restored }) => {
            Err(HostError::Network { reason, output, restored })
        }
        None => Err(HostError::Network {
            reason: "sudo did not let us change Fusion's networks".to_owned(),
            output: finished.output(),
            restored: true,
        }),
    }
}

/// Does what a request asks, as root, and returns the line to print and whether it went well.
pub async fn answer(request: &Path) -> (String, bool) {
    let answer = match apply_as_root(request).await {
        Ok(applied) => Answer::Applied(applied),
        Err(HostError::Network { reason, output, restored }) => Answer::Failed { reason, output, restored },
        Err(error) => Answer::Failed { reason: error.to_string(), output: String::new(), restored: true },
    };
    let well = matches!(answer, Answer::Applied(_));
    (serde_json::to_string(&answer).expect("an answer is plain data"), well)
}

/// Applies the change that a request file asks for, after checking all of it.
pub async fn apply_as_root(request: &Path) -> Result<Applied> {
    if !system::is_root() {
        return Err(refusal("this step is for root: it is run by `fusionlab network apply` through sudo"));
    }
    let bytes = files::read(request)?;
    let request: Request = serde_json::from_slice(&bytes)
        .map_err(|error| HostError::Content { path: request.to_owned(), reason: error.to_string() })?;
    let (fusion, new) = check(&request)?;
    check_owners(&fusion)?;
    let before = files::read_if_exists(&fusion.networking())?;
    let found = before.as_deref().map(digest);
    refuse_if_changed(found.as_deref().map(str::as_bytes), request.before.as_deref().map(str::as_bytes))?;
    let limit = Duration::from_secs(request.limit_seconds);
    replace(&fusion, &new, before, request.vmnet, limit).await
}

/// Checks everything about a request that does not depend on who owns what.
fn check(request: &Request) -> Result<(Fusion, Vec<u8>)> {
    if request.version != VERSION {
        return Err(refusal(&format!("a request of version {} is not known", request.version)));
    }
    let fusion = discover::find(Some(&request.app))?;
    if request.target != fusion.networking() {
        let target = request.target.display();
        return Err(refusal(&format!("{target} is not the networking file of {}", fusion.app.display())));
    }
    let new = BASE64_STANDARD.decode(&request.new).map_err(|error| refusal(&error.to_string()))?;
    well_formed(&new)?;
    Ok((fusion, new))
}

fn well_formed(file: &[u8]) -> Result<()> {
    if file.len() > LARGEST_FILE {
        return Err(refusal("the new networking file is too long to be one"));
    }
    match Document::parse(file) {
        Ok(_) => Ok(()),
        Err(reason) => Err(refusal(&format!("the new networking file is not one: {reason}"))),
    }
}

/// Refuses to run, as root, a program that anybody else could have put there.
fn check_owners(fusion: &Fusion) -> Result<()> {
    let program = fusion.program("vmnet-cli");
    let folder = fusion.program("");
    for path in [&program, &folder, &fusion.preferences()] {
        let real = files::canonicalize(path)?;
        if !files::ownership(&real)?.is_roots_own() {
            let path = path.display();
            return Err(refusal(&format!("{path} is not root's own, so root does not trust it")));
        }
    }
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn refusal(reason: &str) -> HostError {
    HostError::Network { reason: reason.to_owned(), output: String::new(), restored: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fusion::fake::Fake;

    fn request(fake: &Fake) -> Request {
        let info = r#"<plist version="1.0"><dict><key>CFBundleShortVersionString</key><string>13.6.3</string>
<key>CFBundleVersion</key><string>24585314</string></dict></plist>"#;
        fake.write(&fake.fusion().app.join("Contents/Info.plist"), info);
        Request {
            version: VERSION,
            app: fake.fusion().app,
            target: fake.fusion().networking(),
            new: BASE64_STANDARD.encode("VERSION=1,0\n"),
            before: None,
            vmnet: 2,
            limit_seconds: 1,
        }
    }

    fn reason(error: &HostError) -> String {
        error.to_string()
    }

    #[test]
    fn only_the_networking_file_of_that_fusion_is_a_target() {
        let fake = Fake::new();
        let mut request = request(&fake);
        check(&request).unwrap();
        for target in ["/etc/sudoers", "/Library/Preferences/VMware Fusion/networking"] {
            request.target = target.into();
            assert!(reason(&check(&request).unwrap_err()).contains("is not the networking file"));
        }
    }

    #[test]
    fn the_command_that_is_shown_is_the_one_that_runs() {
        let words = command(Path::new("/labs/lab")).unwrap();
        assert_eq!(words.first().unwrap(), SUDO);
        assert_eq!(&words[2..5], VERB.map(OsString::from));
        assert_eq!(words.last().unwrap(), "/labs/lab/network-request.json");
    }

    #[test]
    fn only_a_networking_file_is_content() {
        let fake = Fake::new();
        let mut request = request(&fake);
        for content in [&b"root ALL=(ALL) NOPASSWD: ALL\n"[..], b"VERSION=1,0\n\xff", b"VERSION=1,0\n\0"] {
            request.new = BASE64_STANDARD.encode(content);
            check(&request).unwrap_err();
        }
        request.new = "no base64!".to_owned();
        check(&request).unwrap_err();
    }

    #[test]
    fn programs_that_others_could_change_are_not_trusted() {
        let fake = Fake::new();
        fake.program("vmnet-cli", "");
        if system::is_root() {
            check_owners(&fake.fusion()).unwrap();
        }
        files::set_mode(&fake.fusion().program("vmnet-cli"), 0o777).unwrap();
        assert!(reason(&check_owners(&fake.fusion()).unwrap_err()).contains("not root's own"));
    }

    #[tokio::test]
    async fn the_answer_is_one_line_that_is_understood() {
        use std::os::unix::process::ExitStatusExt;

        let (line, well) = answer(Path::new("/nonexistent/request")).await;
        assert!(!well && !line.contains('\n'));
        let finished = process::Finished {
            status: std::process::ExitStatus::from_raw(0),
            stdout: format!("a word of sudo's\n{line}\n").into_bytes(),
            stderr: Vec::new(),
        };
        assert!(matches!(understand(&finished), Err(HostError::Network { restored: true, .. })));
        let applied = Answer::Applied(Applied { output: "fine".to_owned() });
        let stdout = serde_json::to_vec(&applied).unwrap();
        assert_eq!(understand(&process::Finished { stdout, ..finished }).unwrap().output, "fine");
    }
}
