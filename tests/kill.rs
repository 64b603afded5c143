//! `kill -9` of the built program at every record of its journal: before it, in the middle of it, after it. Run after run
//! goes on from what the one before left, until one comes to its end; then the lab is whole, or the Mac as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::journey::User;
use crate::support::processes;
use crate::support::session::{Ended, Session};

/// Names the file of the points that were; the program dies at the first that is not in it.
const KNIFE: &str = "FUSIONLAB_SIM_KNIFE";
/// No verb has as many records; more means that it does not come to its end.
const MOST_RUNS: usize = 400;
/// An `up` of the networking document's lab is killed at so many places at the least.
const FEWEST_OF_THE_DOCUMENTS_LAB: usize = 60;
/// Steps that only wait: what a killed run has begun may come to its end before they are needed.
const WAITS: [&str; 5] = ["guest.ready", "node.back", "gateway.vips", "kube.endpoint", "kube.nodes"];

/// A simulated Mac with somebody else's machine on it.
struct Mac {
    session: Session,
    networking: Vec<u8>,
    stranger: PathBuf,
    library: PathBuf,
}

/// Where somebody else's machine lies: among the lab's, or beside them.
const AMONG: &str = "lab/stranger.vmwarevm";
const BESIDE: &str = "stranger.vmwarevm";

/// What a chain of kills came to.
struct Chain {
    kills: usize,
    /// The steps that were killed at when they were about to begin or had begun.
    steps: BTreeSet<String>,
}

impl Mac {
    fn new(lab: &str, place: &str) -> Self {
        let session = Session::new().file("fusionlab.yaml", lab);
        session.clone().args(["sim", "start"]).run().exits(0);
        let library = session.simulated_mac().join("Virtual Machines.localized");
        let stranger = library.join(place).join("stranger.vmx");
        fs::create_dir_all(stranger.parent().expect("it lies in a folder")).expect("the library takes it");
        fs::write(&stranger, "config.version = \"8\"\n").expect("it can be written");
        let networking = fs::read(networking(&session)).expect("there is a networking file");
        Self { session, networking, stranger, library }
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.session.clone().args(arguments).run()
    }

    /// Runs a verb, killed at one record more each time, until it ends by itself. The ways take turns: `turn` is that of the
    /// first kill.
    fn killed_at_every_record(&self, verb: &str, turn: usize) -> Chain {
        let seen = self.session.work().join(format!("killed-in-{verb}"));
        // Points that are none: the next way follows from how many there are.
        let filler: String = (0..turn).map(|number| format!("filler {number}\n")).collect();
        fs::write(&seen, filler).expect("it can be written");
        let mut kills = 0;
        while kills < MOST_RUNS {
            let ended = self.session.clone().args([verb, "--yes"]).env(KNIFE, &seen).run();
            if kills > 0 {
                let said = format!("the last `{verb}` (process ");
                assert!(ended.stderr.contains(&said), "kill {kills} is not told:\n{}", ended.shown());
                let text = ended.stderr.replace('\n', " ");
                assert!(text.contains("going on from what stands"), "{}", ended.shown());
            }
            if ended.status.code().is_some() {
                ended.exits(0);
                let points = fs::read_to_string(&seen).expect("the knife wrote down where it struck");
                assert_eq!(points.lines().count(), turn + kills, "each point once");
                let steps = points.lines().filter_map(|point| point.strip_suffix(" Started"));
                return Chain { kills, steps: steps.map(str::to_owned).collect() };
            }
            kills += 1;
        }
        panic!("{verb}: killed {kills} times and still not done");
    }

    fn lab_is_whole(&self) {
        self.run(&["plan", "--detailed-exitcode"]).exits(0);
        let verify = self.run(&["verify", "--output", "json"]).exits(0).json();
        assert_eq!(verify["passed"], true, "{verify:#}");
        let status = self.run(&["status", "--output", "json"]).exits(0).json();
        assert!(status["cut_off"].is_null() && status["at_work"].is_null(), "{status:#}");
    }

    fn is_as_it_was(&self) {
        assert_eq!(fs::read(networking(&self.session)).expect("it is there"), self.networking);
        let left: Vec<PathBuf> =
            files_below(&self.library).filter(|path| !self.stranger.starts_with(path)).collect();
        assert!(left.is_empty(), "more than the stranger's machine is left: {left:#?}");
        assert_eq!(fs::read_to_string(&self.stranger).expect("it stays"), "config.version = \"8\"\n");
        let home = self.session.fusionlab_home();
        assert!(!home.join("labs/lab").exists());
        for lock in names_in(&home.join("locks")) {
            let text = fs::read_to_string(home.join("locks").join(&lock)).expect("a lock can be read");
            assert_eq!(text, "", "{lock} was let go of in good order");
        }
        let half: Vec<PathBuf> = files_below(&home).filter(|path| is_half_written(path)).collect();
        assert!(half.is_empty(), "half-written files are left: {half:#?}");
    }
}

fn networking(session: &Session) -> PathBuf {
    session.simulated_mac().join("Library/Preferences/VMware Fusion/networking")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect()
}

fn files_below(folder: &Path) -> Box<dyn Iterator<Item = PathBuf>> {
    let paths: Vec<PathBuf> = names_in(folder).into_iter().map(|name| folder.join(name)).collect();
    Box::new(paths.into_iter().flat_map(|path| {
        let is_folder = path.symlink_metadata().is_ok_and(|facts| facts.is_dir());
        let below = if is_folder { files_below(&path) } else { Box::new(std::iter::empty()) };
        std::iter::once(path).chain(below)
    }))
}

fn is_half_written(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(".fusionlab-") || name.ends_with(".part")
}

/// Returns the steps that a verb would do.
fn planned(mac: &Mac, arguments: &[&str]) -> BTreeSet<String> {
    let arguments = [&["plan", "--output", "json"], arguments].concat();
    let plan = mac.run(&arguments).exits(0).json();
    let steps = plan["steps"].as_array().expect("a list of steps");
    steps.iter().map(|step| step["id"].as_str().expect("an id").to_owned()).collect()
}

fn killed_everywhere(lab: &str, place: &str, turn: usize) -> [Chain; 2] {
    let mac = Mac::new(lab, place);
    let mut steps = planned(&mac, &[]);
    steps.retain(|step| !WAITS.iter().any(|wait| step.starts_with(wait)));
    let up = mac.killed_at_every_record("up", turn);
    assert!(steps.is_subset(&up.steps), "not killed at {:?}", steps.difference(&up.steps));
    mac.lab_is_whole();
    let steps = planned(&mac, &["--destroy"]);
    let destroy = mac.killed_at_every_record("destroy", turn);
    assert!(steps.is_subset(&destroy.steps), "not killed at {:?}", steps.difference(&destroy.steps));
    mac.is_as_it_was();
    let (up_kills, destroy_kills) = (up.kills, destroy.kills);
    println!("killed {up_kills} times in up and {destroy_kills} times in destroy; whole, and gone");
    [up, destroy]
}

#[test]
fn killed_at_every_record_the_documents_lab_comes_up_and_goes() {
    let [up, _] = killed_everywhere("version: 1\n", AMONG, 0);
    assert!(up.kills >= FEWEST_OF_THE_DOCUMENTS_LAB, "{} are too few to be true", up.kills);
}

// Of these three, which have the same records, each begins with another way: so every record is struck in all of them.

#[test]
fn killed_at_every_record_linked_clones_come_up_and_go() {
    killed_everywhere("version: 1\npreset: solo\n", BESIDE, 0);
}

#[test]
fn killed_at_every_record_full_clones_come_up_and_go() {
    killed_everywhere("version: 1\npreset: solo\nclone: full\n", BESIDE, 1);
}

#[test]
fn killed_at_every_record_the_rest_driver_brings_copies_up_and_takes_them_down() {
    killed_everywhere("version: 1\npreset: solo\nclone: cow\ndriver: rest\n", BESIDE, 2);
}

#[test]
fn what_a_killed_up_may_have_left_is_told_by_those_who_look() {
    let mac = Mac::new("version: 1\npreset: solo\n", BESIDE);
    let seen = mac.session.work().join("points");
    // All that comes before the first clone's record is no new point.
    let before = ["identity.create", "network.apply", "image.fetch", "image.convert", "template.bake"];
    let before = before
        .iter()
        .chain(&["template.freeze"])
        .flat_map(|step| ["Started", "Done"].map(|state| format!("{step} {state}\n")));
    // The third point in the list is one that the program dies after.
    let points = format!("run Begun\n{}", before.collect::<String>());
    let filler = (0..(5 - points.lines().count() % 3) % 3).map(|number| format!("filler {number}\n"));
    fs::write(&seen, points + &filler.collect::<String>()).expect("it can be written");
    let killed = mac.session.clone().args(["up", "--yes"]).env(KNIFE, &seen).run();
    assert_eq!(killed.status.code(), None, "{}", killed.shown());
    for verb in ["status", "plan"] {
        let ended = mac.run(&[verb]).exits(0);
        let all = format!("{}{}", ended.stdout, ended.stderr).replace('\n', " ");
        assert!(all.contains("the last `up` (process "), "{verb}:\n{all}");
        assert!(all.contains("in vm.clone/"), "{verb}:\n{all}");
        assert!(all.contains("may have left half a clone"), "{verb}:\n{all}");
        let json = mac.run(&[verb, "--output", "json"]).exits(0).json();
        let open = json["cut_off"]["steps"].as_array().expect("a list of steps");
        assert!(open[0]["step"].as_str().is_some_and(|step| step.starts_with("vm.clone/")), "{json:#}");
        assert_eq!(open[0]["effects"][0]["remedy"], "marked", "{json:#}");
    }
    mac.run(&["up", "--yes"]).exits(0);
    mac.lab_is_whole();
    mac.run(&["destroy", "--yes"]).exits(0);
}

#[test]
fn services_that_a_killed_run_left_behind_their_files_follow_in_the_next() {
    let mac = Mac::new("version: 1\npreset: solo\n", BESIDE);
    mac.run(&["up", "--yes"]).exits(0);
    // As it is between the last file and the restart of its service.
    let mark = ["install", "-D", "-o", "root", "-g", "root", "-m", "0644", "/dev/stdin"];
    let user = User::new(mac.session.clone());
    user.run("gateway1", [10, 10, 0, 11], &[&mark[..], &["/var/lib/fusionlab/files-pending"]].concat());
    let steps = planned(&mac, &[]);
    assert!(steps.contains("gateway.configure/gateway1"), "{steps:?}");
    assert!(!steps.iter().any(|step| step.ends_with("/k8s-master1")), "its files are followed: {steps:?}");
    mac.run(&["up", "--yes"]).exits(0);
    mac.lab_is_whole();
    mac.run(&["destroy", "--yes"]).exits(0);
}

#[test]
fn a_clone_that_outlives_its_run_is_waited_for_and_comes_to_nothing() {
    let mac = Mac::new("version: 1\npreset: solo\nlimits: {vm_clone: 3}\n", BESIDE);
    mac.run(&["template", "build", "--yes"]).exits(0);
    let fault = ["sim", "fault", "program-hangs", "--on", "vmrun clone before"];
    mac.run(&[&fault[..], &["--times", "1"]].concat()).exits(0);
    let mut up = mac.session.clone().args(["up", "--yes"]).start();
    let clone = || mac.session.processes().into_iter().find(|process| process.command.contains(" clone "));
    up.wait_until(|| clone().is_some());
    up.signal("KILL");
    up.wait();
    let orphan = clone().expect("vmrun goes on");
    let refused = mac.run(&["destroy", "--yes"]).exits(5);
    let said = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("an order to Fusion that a killed run (process "), "{}", refused.shown());
    assert!(said.contains("waiting for it, at most 3") && said.contains("pgrep"), "{}", refused.shown());
    processes::kill(&orphan);
    mac.run(&["up", "--yes"]).exits(0);
    mac.lab_is_whole();
    mac.run(&["destroy", "--yes"]).exits(0);
    mac.is_as_it_was();
}
