//! The step that takes root, with a real `sudo`: a password typed in a terminal, a sudoers line that needs none, a refusal.
//!
//! Users are made for it, and a file in `/etc/sudoers.d`; both go again. So it runs only where CI says so, as root.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use fusionlab::host::fusion::networks::sudoers;

use crate::fake_fusion::FakeFusion;
use crate::fusion_argv::VMNET_CLI;

const PASSWORD: &str = "correct horse";
/// What sudo's question ends with, whatever it says before.
const QUESTION: &str = "assword";
/// The lab is not made: its image is not there. The networks are, whatever else fails.
const LAB: &str = "version: 1\npreset: solo\nimage: {url: \"file:///nonexistent/disk.img\", guest_os: arm-other6xlinux-64, \
    digest: \"0000000000000000000000000000000000000000000000000000000000000000\"}\n";

/// The user database takes one change at a time.
static ACCOUNTS: Mutex<()> = Mutex::new(());

/// Says whether these tests can run; CI must be able to.
fn is_on() -> bool {
    let wanted = std::env::var("FUSIONLAB_TEST_TOOLS").is_ok_and(|value| value == "1");
    let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !(wanted && root) {
        eprintln!("skipped: takes root, and FUSIONLAB_TEST_TOOLS=1");
        return false;
    }
    for program in ["/usr/bin/sudo", "/usr/bin/script", "/usr/sbin/useradd"] {
        assert!(Path::new(program).exists(), "{program} is missing");
    }
    true
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A user, with a copy of the program that is root's own, and a Fusion whose networks are root's own.
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
    folder: PathBuf,
    sudoers: PathBuf,
    fusion: FakeFusion,
}

impl User {
    fn new(role: &str) -> Self {
        let turn = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("fl{}{role}", std::process::id());
        let home = PathBuf::from("/home").join(&name);
        let folder = PathBuf::from(format!("/usr/local/libexec/fusionlab-test-{name}"));
        let sudoers = PathBuf::from(format!("/etc/sudoers.d/fusionlab-test-{name}"));
        let fusion = FakeFusion::new("13.6.3").program("vmnet-cli", VMNET_CLI);
        let mut user = Self { name, uid: 0, gid: 0, home, folder, sudoers, fusion };
        run(Command::new("useradd").args(["--create-home", "--home-dir"]).arg(&user.home).arg(&user.name));
        drop(turn);
        let id = |which: &str| {
            let output = run(Command::new("id").args([which, &user.name]));
            String::from_utf8_lossy(&output.stdout).trim().parse().expect("id prints a number")
        };
        (user.uid, user.gid) = (id("-u"), id("-g"));
        user.password();
        user.install();
        user
    }

    fn password(&self) {
        let _turn = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = Command::new("chpasswd").stdin(Stdio::piped()).spawn().expect("chpasswd starts");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        writeln!(stdin, "{}:{PASSWORD}", self.name).expect("it takes a line");
        drop(stdin);
        assert!(child.wait().expect("it ends").success());
    }

    fn install(&self) {
        fs::create_dir_all(&self.folder).expect("root may");
        fs::copy(env!("CARGO_BIN_EXE_fusionlab"), self.program()).expect("root may");
        set_mode(&self.program(), 0o755);
        fs::write(self.home.join("lab.yaml"), LAB).expect("root may");
        // What users and root write both: the programs' log, and the machines' folder.
        for (folder, mode) in [("", 0o755), ("var", 0o1777), ("Virtual Machines.localized", 0o1777)] {
            set_mode(&self.fusion.root().join(folder), mode);
        }
        fs::write(self.fusion.root().join("var/calls"), "").expect("root may");
        set_mode(&self.fusion.root().join("var/calls"), 0o666);
    }

    /// Gives the user a lab that was made, as far as this is told by its keys.
    fn have_keys(&self) {
        let folder = self.home.join(".fusionlab/labs/lab/identity");
        let owned =
            ["", "labs", "labs/lab", "labs/lab/identity"].map(|part| self.home.join(".fusionlab").join(part));
        fs::create_dir_all(&folder).expect("root may");
        fs::write(folder.join("id_ed25519"), "").expect("root may");
        owned.iter().for_each(|path| chown(path, Some(self.uid), Some(self.gid)).expect("root may"));
    }

    fn program(&self) -> PathBuf {
        self.folder.join("fusionlab")
    }

    fn request(&self) -> PathBuf {
        self.home.join(".fusionlab/network/request.json")
    }

    /// Installs a sudoers file, after sudo itself found it well formed.
    fn allow(&self, text: &str) {
        let draft = self.folder.join("sudoers");
        fs::write(&draft, text).expect("root may");
        run(Command::new("visudo").arg("-cf").arg(&draft));
        set_mode(&draft, 0o440);
        fs::copy(&draft, &self.sudoers).expect("root may");
        set_mode(&self.sudoers, 0o440);
    }

    fn line(&self) -> String {
        sudoers::line(&self.name, &self.program(), 2, &self.request()).expect("its paths are plain")
    }

    /// Returns a command that the user runs.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.uid(self.uid).gid(self.gid).current_dir(&self.home).env_clear().stdin(Stdio::null());
        command.env("HOME", &self.home).env("PATH", "/usr/bin:/bin").env("TERM", "xterm").env("LANG", "C");
        command
    }

    fn words(&self, verb: &str) -> Vec<String> {
        let root = self.fusion.root().display().to_string();
        let options = ["--yes", "--lab", "lab.yaml", "--fusion", &root];
        verb.split(' ').chain(options).map(str::to_owned).collect()
    }

    /// Runs a verb where nobody can type a password; returns its exit status and what it said.
    fn verb(&self, verb: &str) -> (Option<i32>, String) {
        let output = self.command(self.program()).args(self.words(verb)).output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Runs a verb in a terminal, and types a line each time a password is asked for; returns what was on the screen.
    fn verb_in_terminal(&self, verb: &str, typed: &[&str]) -> String {
        let quoted = |word: &String| format!("'{word}'");
        let words: Vec<String> = self.words(verb).iter().map(quoted).collect();
        let line = format!("'{}' {}", self.program().display(), words.join(" "));
        let mut command = self.command("/usr/bin/script");
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("script starts");
        let mut keys = child.stdin.take().expect("it is a pipe");
        let mut screen = child.stdout.take().expect("it is a pipe");
        let (mut seen, mut asked, mut buffer) = (String::new(), 0, [0; 4096]);
        while let Ok(count @ 1..) = screen.read(&mut buffer) {
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            // Not earlier: sudo throws away what was typed before it asked.
            while asked < seen.matches(QUESTION).count().min(typed.len()) {
                writeln!(keys, "{}", typed[asked]).expect("the terminal takes a line");
                asked += 1;
            }
        }
        child.wait().expect("it ends");
        seen
    }

    fn networking(&self) -> String {
        fs::read_to_string(self.fusion.networking()).expect("it is there")
    }

    #[track_caller]
    fn assert_applied(&self, said: &str) {
        assert!(self.networking().contains("answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\n"), "{said}");
        let facts = fs::metadata(self.fusion.networking()).expect("it is there");
        let owner = (std::os::unix::fs::MetadataExt::uid(&facts), facts.permissions().mode() & 0o777);
        assert_eq!(owner, (0, 0o644), "it is root's own as before");
        for left in ["request.json", "pending.json"] {
            assert!(!self.request().with_file_name(left).exists(), "{left} is left: {said}");
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _turn = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = fs::remove_file(&self.sudoers);
        let _ = fs::remove_dir_all(&self.folder);
        let _ = Command::new("userdel").args(["--force", "--remove", &self.name]).output();
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("root may");
}

#[test]
fn the_sudoers_line_lets_one_user_change_one_network_and_nothing_else() {
    if !is_on() {
        return;
    }
    let user = User::new("a");
    let before = user.networking();
    user.allow(&user.line());
    let (_, said) = user.verb("up");
    user.assert_applied(&said);

    let sudo = |words: &[&str]| {
        let request = user.request();
        let mut command = user.command("/usr/bin/sudo");
        command.arg("-n").arg(user.program()).args(words).arg(request).output().expect("sudo starts")
    };
    for words in [
        &["network", "restore-as-root", "--request"][..],
        &["--quiet", "network", "apply-as-root", "--vmnet", "2", "--request"],
        &["network", "apply-as-root", "--vmnet", "3", "--request"],
        &["network", "show", "--lab"],
    ] {
        let output = sudo(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("password is required"), "{words:?}: {said}");
    }

    let (status, said) = user.verb("destroy");
    assert_eq!((status, user.networking()), (Some(0), before), "{said}");
}

#[test]
fn a_password_is_asked_for_once_in_a_terminal() {
    if !is_on() {
        return;
    }
    let user = User::new("b");
    user.allow(&format!("{} ALL=(ALL) ALL\n", user.name));
    let before = user.networking();
    let seen = user.verb_in_terminal("up", &["wrong", "wrong", "wrong"]);
    assert!(seen.contains("sudo did not let us change Fusion's networks"), "{seen}");
    assert_eq!(user.networking(), before);

    // Also where only results are wanted: nobody is asked for a password without knowing what for.
    let seen = user.verb_in_terminal("up --quiet", &[PASSWORD]);
    assert_eq!(seen.matches(QUESTION).count(), 1, "{seen}");
    let before_asking = seen.split(QUESTION).next().unwrap_or_default();
    for part in ["One step needs root", "answer VNET_2_NAT yes", "network apply-as-root"] {
        assert!(before_asking.contains(part), "{part}: {seen}");
    }
    user.assert_applied(&seen);
}

#[test]
fn where_nobody_can_type_a_password_nothing_is_begun() {
    if !is_on() {
        return;
    }
    let user = User::new("c");
    user.allow(&format!("{} ALL=(ALL) ALL\n", user.name));
    let before = user.networking();
    let (status, said) = user.verb("up");
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("sudo wants a password, and nobody can type one here"), "{said}");
    assert_eq!(user.networking(), before);
    assert_eq!(user.fusion.calls().iter().filter(|call| call.contains(&"--stop".to_owned())).count(), 0);
}

#[test]
fn root_does_not_run_what_the_user_could_have_changed() {
    if !is_on() {
        return;
    }
    let user = User::new("d");
    user.allow(&user.line());
    let before = user.networking();
    let library = user.fusion.root().join("Applications/VMware Fusion.app/Contents/Library");
    chown(&library, Some(user.uid), None).expect("root may");
    let (status, said) = user.verb("up");
    assert_eq!(status, Some(4), "{said}");
    for part in
        ["root does not trust", &library.display().to_string(), &format!("user {}", user.uid), "chown"]
    {
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(part), "{part:?} is not in:\n{said}");
    }
    assert_eq!(user.networking(), before);
}

#[test]
fn the_file_of_the_labs_domain_is_written_and_removed_as_root() {
    if !is_on() {
        return;
    }
    let user = User::new("e");
    user.allow(&format!("{} ALL=(ALL) ALL\n", user.name));
    let file = user.fusion.root().join("etc/resolver/lab.test");
    user.have_keys();
    let (status, said) = user.verb("names --resolver");
    assert_eq!((status, file.exists()), (Some(4), false), "nobody can type a password: {said}");

    let seen = user.verb_in_terminal("names --resolver", &[PASSWORD]);
    assert!(seen.contains("+nameserver 10.10.0.10") && seen.contains("resolver-as-root"), "{seen}");
    let facts = fs::metadata(&file).expect(&seen);
    let owner = (std::os::unix::fs::MetadataExt::uid(&facts), facts.permissions().mode() & 0o777);
    assert_eq!(owner, (0, 0o644), "it is root's own");

    let text = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, format!("{text}port 53\n")).expect("root may");
    let seen = user.verb_in_terminal("names --no-resolver", &[PASSWORD]);
    assert!(file.exists() && seen.contains("somebody else's, or was changed"), "{seen}");
    fs::write(&file, text).expect("root may");
    user.verb_in_terminal("names --no-resolver", &[PASSWORD]);
    assert!(!file.parent().expect("a folder").exists(), "the folder was not there before");

    chown(user.fusion.root().join("etc"), Some(user.uid), None).expect("root may");
    let command = |words: &[&str]| {
        let mut command = Command::new(user.program());
        command.args(words).output().expect("it starts")
    };
    let app = user.fusion.root().join("Applications/VMware Fusion.app").display().to_string();
    let words = ["names", "resolver-as-root", "--fusion", &app, "--domain", "lab.test", "--for-lab", "lab"];
    let output = command(&[&words[..], &["--nameserver", "10.10.0.10"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("does not trust"),
        "root's file, but a folder of the user's: {said}"
    );
}
