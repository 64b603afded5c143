//! The rows of `docs/adversity.md`, each with the fault that brings it about, its exit and its words.

/// The smallest lab; what hangs is not waited for as long as on a slow laptop.
pub const LAB: &str = "\
version: 1
preset: solo
limits:
  fusion_query: 4
  fusion_address: 2
  vm_start: 6
  vm_stop_soft: 4
  vm_stop_hard: 4
  vm_clone: 6
  vm_unlock: 6
  network_apply: 4
  guest_ssh: 60
  guest_connect: 5
  guest_command: 30
  api_endpoint: 60
";

pub const UP: &[&str] = &["up", "--yes"];
pub const DESTROY: &[&str] = &["destroy", "--yes"];
pub const APPLY: &[&str] = &["network", "apply", "--yes"];
pub const RESTORE: &[&str] = &["network", "restore", "--yes"];

/// A row of the page that a fault of the simulated Fusion brings about.
pub struct Row {
    /// The page's first column.
    pub happens: &'static str,
    /// The words behind `sim fault`.
    pub fault: &'static [&'static str],
    pub verb: &'static [&'static str],
    pub exit: i32,
    /// What is said then, and stands in the page.
    pub says: &'static str,
}

const fn hangs(
    happens: &'static str,
    fault: &'static [&'static str],
    verb: &'static [&'static str],
    exit: i32,
    says: &'static str,
) -> Row {
    Row { happens, fault, verb, exit, says }
}

pub const NETWORKS: &[Row] = &[
    hangs(
        "`vmnet-cli --status` hangs",
        &["program-hangs", "--on", "vmnet-cli --status before"],
        APPLY,
        4,
        "vmnet-cli did not happen within",
    ),
    hangs("`vmnet-cli --stop` hangs", &["program-hangs", "--on", "vmnet-cli --stop before"], APPLY, 0, ""),
    hangs(
        "`vmnet-cli --configure` hangs",
        &["program-hangs", "--on", "vmnet-cli --configure before"],
        APPLY,
        7,
        "vmnet-cli did not happen within",
    ),
    hangs(
        "`vmnet-cli --start` hangs",
        &["program-hangs", "--on", "vmnet-cli --start before"],
        APPLY,
        7,
        "vmnet-cli did not happen within",
    ),
    hangs(
        "`vmnet-cli --start` hangs once it has done its work",
        &["program-hangs", "--on", "vmnet-cli --start after"],
        APPLY,
        0,
        "",
    ),
];

/// In the order of the plan: each `up` goes on from where the one before was stopped.
pub const MACHINES: &[Row] = &[
    hangs(
        "`vmrun list` hangs",
        &["program-hangs", "--on", "vmrun list before"],
        UP,
        4,
        "vmrun did not happen within",
    ),
    hangs(
        "`netstat` hangs",
        &["program-hangs", "--on", "netstat -rn before"],
        UP,
        4,
        "netstat did not happen within",
    ),
    hangs(
        "`vmrun snapshot` hangs",
        &["program-hangs", "--on", "vmrun snapshot before"],
        UP,
        6,
        "vmrun snapshot did not end within",
    ),
    hangs(
        "`vmrun clone` hangs",
        &["program-hangs", "--on", "vmrun clone before"],
        UP,
        6,
        "vmrun clone did not end within",
    ),
    hangs(
        "`vmrun clone` hangs once it has done its work",
        &["program-hangs", "--on", "vmrun clone after"],
        UP,
        6,
        "vmrun clone did not end within",
    ),
    hangs(
        "`vmrun start` hangs",
        &["program-hangs", "--on", "vmrun start before"],
        UP,
        6,
        "vmrun start did not end within",
    ),
    hangs(
        "A guest takes the connection and never answers",
        &["guest-stalls", "--on", "gateway1"],
        UP,
        8,
        "takes our SSH key",
    ),
    hangs(
        "A guest floods its connection, always",
        &["guest-floods", "--on", "gateway1"],
        UP,
        8,
        "printed so much",
    ),
];

/// What is borne: planted together, it ends in a lab that is up.
pub const BORNE: &[Row] = &[
    hangs(
        "`vmrun list` hangs once",
        &["program-hangs", "--on", "vmrun list before", "--times", "1"],
        UP,
        0,
        "",
    ),
    hangs(
        "`vmrun start` hangs once it has done its work",
        &["program-hangs", "--on", "vmrun start after", "--after", "1", "--times", "1"],
        UP,
        0,
        "",
    ),
    hangs(
        "`vmrun getGuestIPAddress` hangs",
        &["program-hangs", "--on", "vmrun getGuestIPAddress before"],
        UP,
        0,
        "",
    ),
    hangs("`vmrun readVariable` hangs", &["program-hangs", "--on", "vmrun readVariable before"], UP, 0, ""),
    hangs(
        "A guest prints bytes that are no text, and what a terminal would obey",
        &["guest-babbles"],
        UP,
        0,
        "",
    ),
    hangs(
        "A guest floods its connection once",
        &["guest-floods", "--on", "k8s-master1", "--times", "1"],
        UP,
        0,
        "",
    ),
];

pub const REMOVALS: &[Row] = &[
    hangs(
        "`vmrun stop` hangs",
        &["program-hangs", "--on", "vmrun stop before"],
        DESTROY,
        6,
        "vmrun stop did not end within",
    ),
    hangs(
        "A soft `vmrun stop` hangs",
        &["program-hangs", "--on", "vmrun stop before", "--times", "1"],
        DESTROY,
        0,
        "",
    ),
    hangs(
        "`vmrun deleteVM` hangs",
        &["program-hangs", "--on", "vmrun deleteVM before", "--times", "1"],
        DESTROY,
        0,
        "",
    ),
];

pub const REST: &[Row] = &[
    hangs(
        "`vmrest` hangs, of which `driver: rest` makes use",
        &["rest-hangs"],
        UP,
        4,
        "an answer of vmrest to",
    ),
    hangs("`vmrest` does not know our password", &["rest-denied"], UP, 6, "401 Authentication failed"),
];

/// The rows of the page that tests below bring about by hand.
pub const BY_HAND: &[(&str, &str)] = &[
    ("The SSH connection breaks in the middle of a command", "8, 10 or 0"),
    ("Ctrl-C, `kill`, or the terminal is closed", "130"),
    ("The process is stopped for a while (Ctrl-Z, SIGSTOP) and goes on", "0"),
    ("The disk of `~/.fusionlab` is full", "4"),
    ("The disk of `~/.fusionlab` is read-only", "4"),
    ("The Mac's clock is set back a day", "0"),
    ("The Mac's disk is full while a VM is cloned", "6"),
];
