//! Changes against a Fusion of shell scripts: every scope, every failure, every point at which a run can be killed.

use super::*;
use crate::formats::networking::Document;
use crate::host::fusion::fake::Fake;

mod others;
mod resumed;

const LIMIT: Duration = Duration::from_secs(20);
const BEFORE: &str = "VERSION=1,0\nanswer VNET_8_DHCP yes\nanswer VNET_8_HOSTONLY_SUBNET 172.16.8.0\n";
const NETWORK: &str = "answer VNET_2_DHCP yes\nanswer VNET_2_HOSTONLY_NETMASK 255.255.255.0\n\
answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\nanswer VNET_2_NAT yes\nanswer VNET_2_VIRTUAL_ADAPTER yes\n\
add_dhcp_mac_to_ip 2 00:50:56:00:00:01 10.10.0.131\n";
const RESERVATION: &str = "add_dhcp_mac_to_ip 2 00:50:56:00:00:02 10.10.0.132\n";

/// What both programs begin with: whether to hang here, and the services' own files.
const PRELUDE: &str = r#"
prefs="$FOLDER/Library/Preferences/VMware Fusion"
file="$prefs/networking"
run="$FOLDER/run"
fault=$(cat "$FOLDER/fault" 2>/dev/null)
new=$(grep -c VNET_2 "$file" 2>/dev/null)
hang() {
    [ "$1" = before ] || [ "$(cat "$FOLDER/when" 2>/dev/null)" != "$(wc -l <"$FOLDER/calls" | tr -d ' ')" ] || {
        cat "$FOLDER/theirs" >>"$file"; rm "$FOLDER/when"
    }
    [ "$(cat "$FOLDER/hang" 2>/dev/null)" = "$(wc -l <"$FOLDER/calls" | tr -d ' ') $1" ] || return 0
    touch "$FOLDER/hanging"; exec sleep 60
}
wants() { [ "$(sed -n "s/^answer VNET_$1_$2 //p" "$file" 2>/dev/null | tail -n 1)" = yes ]; }
conf() {
    mkdir -p "$prefs/vmnet$1"
    awk -v net="$1" -v skip="$fault" '
        $2 == "VNET_" net "_HOSTONLY_SUBNET" { print "subnet " $3 " netmask 255.255.255.0 {\n}" }
        $1 == "add_dhcp_mac_to_ip" && $2 == net && skip != "unfixed" {
            print "host h" NR " { hardware ethernet " $3 "; fixed-address " $4 "; }" }' \
        "$file" >"$prefs/vmnet$1/dhcpd.conf"
}
hang before
"#;

/// A vmnet-cli that appends a digest as the real one does, and runs services for whatever the file says.
const VMNET_CLI: &str = r#"
leases="$FOLDER/var/db/vmware/vmnet-dhcpd-vmnet8.leases"
status=0
case "$1" in
--stop) rm -rf "$run"; [ "$fault" != stop ] || status=1; [ "$fault" != meanwhile ] || echo wonders >> "$file" ;;
--configure)
    : > "$leases"
    [ "$fault" = forget ] && grep -v mac_to_ip "$file" > "$FOLDER/t" && cat "$FOLDER/t" > "$file"
    if [ "$fault" = refuse ] && [ "$new" -gt 0 ]; then status=1; else
        rm -rf "$prefs/vmnet2"
        for net in 8 2; do wants $net DHCP && conf $net; done
        [ "$fault" = subnet ] && [ "$new" -gt 0 ] && echo 'subnet 10.9.0.0 netmask 255.255.255.0 {}' >"$prefs/vmnet2/dhcpd.conf"
        echo "answer VNET_8_DHCP_CFG_HASH F1AB" >> "$file"
    fi ;;
--start)
    mkdir -p "$run"
    for net in 8 2; do for service in DHCP NAT; do wants $net $service && touch "$run/$net $service"; done; done
    [ "$fault" = nonat ] && rm -f "$run/2 NAT"
    [ "$fault" = other ] && [ "$new" -gt 0 ] && rm -f "$run/8 DHCP"
    [ "$fault" = never ] && rm -rf "$run"
    [ "$fault" = no8 ] && rm -f "$run/8 DHCP"
    [ "$fault" = lie ] && [ "$new" -gt 0 ] && rm -f "$run/2 DHCP" && echo "Failed to start DHCP service on vmnet2"
    [ "$fault" = words ] && [ "$new" -gt 0 ] && echo "Failed to start DHCP service on vmnet2"
    [ "$fault" = stranger ] && echo "Failed to start NAT service on vmnet22"
    [ "$fault" = exit ] && status=1
    [ "$fault" = window ] && [ "$new" -gt 0 ] && grep -v VNET_2 "$file" > "$FOLDER/t" && cat "$FOLDER/t" > "$file" ;;
--status)
    for service in "$run"/*; do
        [ -e "$service" ] || continue
        set -- $(basename "$service"); echo "$2 service on vmnet$1 is running"
    done
    echo "Hostonly virtual adapter on vmnet8 is disabled"; echo "FTP service on vmnet0 is not running"; status=1 ;;
esac
hang after
exit $status
"#;

/// A vmnet-cfgcli: 1 is success.
const CFGCLI: &str = r#"
status=1
net=${2#vmnet}
[ "$fault" = "cfgcli-$1" ] && exit 0
case "$1" in
servicestop) rm -f "$run/$net DHCP" ;;
updatedhcpfromconfig) conf "$net" ;;
servicestart) [ "$fault" = cfgcli-lies ] || touch "$run/$net DHCP" ;;
*) status=0 ;;
esac
hang after
exit $status
"#;

struct World {
    fake: Fake,
    networks: Networks,
}

impl World {
    /// Fusion with this file, whose networks run.
    fn new(file: &str) -> Self {
        let fake = Fake::new();
        fake.program("vmnet-cli", &format!("{PRELUDE}{VMNET_CLI}"));
        fake.program("vmnet-cfgcli", &format!("{PRELUDE}{CFGCLI}"));
        fake.write(&fake.fusion().networking(), file);
        fake.write(&fake.fusion().leases(8), "lease 172.16.8.130 {\n}\n");
        for service in ["8 DHCP", "2 DHCP", "2 NAT"] {
            if service.starts_with('8') || file.contains("VNET_2") {
                fake.write(&fake.root().join("run").join(service), "");
            }
        }
        let networks = Networks::new(fake.fusion(), fake.root().join("network"));
        Self { fake, networks }
    }

    /// Gives vmnet2's DHCP server what the file says of it.
    fn derive(&self) {
        let document = Document::parse(self.text().as_bytes()).unwrap();
        let vmnet = document.vmnet(2);
        let reservations = document.reservations(2);
        let conf = dhcp::DhcpdConf {
            vmnet: 2,
            subnet: vmnet.subnet.unwrap(),
            nat: vmnet.nat,
            reservations: &reservations,
            written_at: 0,
        };
        self.fake.write(&self.fake.fusion().preferences().join("vmnet2/dhcpd.conf"), &conf.render(None));
    }

    /// A change to this file; one that takes no more spares all other networks.
    fn change(&self, new: &str) -> Change {
        let (new, before) = (new.as_bytes().to_vec(), self.networks.read().unwrap());
        let may_stop = apply::scope_of(before.as_deref(), Some(&new), 2) == Scope::Networks;
        Change {
            new: Some(new),
            expect_before: before,
            vmnet: 2,
            kind: ChangeKind::OfOneNetwork,
            may_stop,
            verb: "up".to_owned(),
            limit: LIMIT,
        }
    }

    async fn apply(&self, new: &str) -> Result<Applied> {
        self.carry_out(&self.change(new)).await
    }

    /// Makes a change as where nobody else's machine runs: what takes all networks stops them.
    async fn carry_out(&self, change: &Change) -> Result<Applied> {
        match self.networks.apply(change).await? {
            Outcome::Applied(applied) => Ok(applied),
            Outcome::MustStop { output, .. } => {
                let change = Change { may_stop: true, ..change.clone() };
                let Outcome::Applied(applied) = self.networks.apply(&change).await? else {
                    panic!("they may stop");
                };
                Ok(Applied { output: output + &applied.output, ..applied })
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.networks.read().unwrap().unwrap()).unwrap()
    }

    fn pending(&self) -> Pending {
        unfinished::read(&self.networks.folder).unwrap().expect("a change is under way")
    }

    /// Returns the file that a resumed change goes back to if it fails.
    fn way_back(&self) -> Option<Vec<u8>> {
        self.pending().before(&self.networks.backups_folder()).unwrap()
    }

    /// What the programs were told, but for questions.
    fn orders(&self) -> Vec<String> {
        let orders = self.fake.orders(&["--status"]);
        orders.into_iter().map(|order| order.split_once('|').unwrap().1.to_owned()).collect()
    }

    fn running(&self) -> Vec<String> {
        let all = files::list(&self.fake.root().join("run")).unwrap();
        all.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    fn fault(&self, name: &str) {
        self.fake.fault(name);
    }

    fn is_clean(&self) -> bool {
        let beside = files::list(&self.fake.fusion().preferences()).unwrap();
        self.networks.unfinished().unwrap().is_none()
            && !beside.iter().any(|path| path.to_string_lossy().contains(files::TEMPORARY))
    }
}

fn made() -> String {
    format!("{BEFORE}{NETWORK}")
}

const FULL: [&str; 3] = ["--stop", "--configure", "--start"];
const DHCP_ONLY: [&str; 3] =
    ["servicestop|vmnet2|dhcp", "updatedhcpfromconfig|vmnet2", "servicestart|vmnet2|dhcp"];

#[tokio::test]
async fn a_new_network_is_stop_replace_configure_start_look() {
    let world = World::new(BEFORE);
    assert!(!world.networks.services_running(2, LIMIT).await.unwrap());
    let applied = world.apply(&made()).await.unwrap();
    assert_eq!((applied.restarted, world.orders()), (Restarted::Networks, FULL.map(str::to_owned).to_vec()));
    assert!(applied.output.contains("$ vmnet-cli --start\n"), "{}", applied.output);
    assert!(world.networks.services_running(2, LIMIT).await.unwrap());
    assert!(world.text().starts_with(&made()) && world.is_clean());
    assert_eq!(world.networks.owner().unwrap().unwrap().mode, 0o644);
    let backups = world.networks.backups().unwrap();
    assert_eq!(backups.len(), 1);
    assert_eq!(world.networks.read_backup(&backups[0].digest).unwrap(), BEFORE.as_bytes());
    let leases = files::read_text(&world.fake.fusion().leases(8)).unwrap();
    assert!(leases.contains("172.16.8.130"), "leases of other networks survive");
    let told = world.networks.services(LIMIT).await.unwrap();
    assert_eq!(told.runs(2, Service::Nat), Some(true));
}

#[tokio::test]
async fn a_dhcp_server_that_was_given_another_file_is_restarted_alone() {
    let world = World::new(&format!("{}{RESERVATION}", made()));
    let text = world.text();
    world.derive();
    assert!(world.networks.services_running(2, LIMIT).await.unwrap());
    world.fake.write(&world.fake.fusion().preferences().join("vmnet2/dhcpd.conf"), "# nothing\n");
    assert!(!world.networks.services_running(2, LIMIT).await.unwrap(), "it does not know the reservation");
    let applied = world.apply(&text).await.unwrap();
    assert_eq!((applied.restarted, world.orders()), (Restarted::Dhcp, DHCP_ONLY.map(str::to_owned).to_vec()));
    assert!(world.networks.services_running(2, LIMIT).await.unwrap());
}

#[tokio::test]
async fn what_is_restarted_is_what_the_change_concerns() {
    let comment = format!("{}# mine\n", made());
    let more = format!("{}{RESERVATION}", made());
    for (new, restarted, orders) in [
        (made(), Restarted::Nothing, &[][..]),
        (comment, Restarted::Nothing, &[]),
        (more, Restarted::Dhcp, &DHCP_ONLY),
        (BEFORE.to_owned(), Restarted::Networks, &FULL),
    ] {
        let world = World::new(&made());
        world.derive();
        let applied = world.apply(&new).await.unwrap();
        assert_eq!(
            (applied.restarted, world.orders()),
            (restarted, orders.iter().map(|word| (*word).to_owned()).collect())
        );
        assert!(world.text().starts_with(&new) && world.is_clean());
        let runs = world.networks.services(LIMIT).await.unwrap();
        assert_eq!(runs.runs(2, Service::Dhcp), Some(new != BEFORE), "{new}");
    }
}

#[tokio::test]
async fn networks_that_do_not_run_are_started_whatever_the_change() {
    let (comment, more) = (format!("{}# mine\n", made()), format!("{}{RESERVATION}", made()));
    for (new, restarted) in
        [(made(), Restarted::Started), (comment, Restarted::Networks), (more, Restarted::Networks)]
    {
        let world = World::new(&made());
        files::remove_file(&world.fake.root().join("run/2 DHCP")).unwrap();
        assert_eq!(world.apply(&new).await.unwrap().restarted, restarted);
        assert_eq!(world.running(), ["2 DHCP", "2 NAT", "8 DHCP"]);
    }
}

#[tokio::test]
async fn a_dhcp_server_that_does_not_restart_alone_is_restarted_with_all() {
    let new = format!("{}{RESERVATION}", made());
    for fault in ["cfgcli-servicestop", "cfgcli-updatedhcpfromconfig", "cfgcli-servicestart", "cfgcli-lies"] {
        let world = World::new(&made());
        world.fault(fault);
        let applied = world.apply(&new).await.unwrap();
        assert_eq!(applied.restarted, Restarted::Networks, "{fault}");
        assert!(applied.output.contains(PUTTING_BACK), "{fault}");
        assert!(world.orders().ends_with(&FULL.map(str::to_owned)), "{fault}");
        assert!(world.text().starts_with(&new) && world.is_clean(), "{fault}");
        assert_eq!(world.running(), ["2 DHCP", "2 NAT", "8 DHCP"], "{fault}");
    }
    let world = World::new(&made());
    files::remove_file(&world.fake.fusion().program("vmnet-cfgcli")).unwrap();
    assert_eq!(world.apply(&new).await.unwrap().restarted, Restarted::Networks);
}

#[tokio::test]
async fn whatever_goes_wrong_the_old_file_and_its_services_come_back() {
    for (fault, reason) in [
        ("lie", "Failed to start DHCP service on vmnet2"),
        ("words", "Failed to start DHCP service on vmnet2"),
        ("refuse", "failed (exit status 1)"),
        ("nonat", "the NAT service of vmnet2 does not run"),
        ("other", "the DHCP service of vmnet8 does not run"),
        ("forget", "without `add_dhcp_mac_to_ip 2 00:50:56:00:00:01 10.10.0.131`"),
        ("window", "without `answer VNET_2_"),
        ("unfixed", "does not fix 10.10.0.131 for 00:50:56:00:00:01"),
        ("subnet", "vmnet2/dhcpd.conf does not serve 10.10.0.0/24"),
    ] {
        let world = World::new(BEFORE);
        world.fault(fault);
        let error = world.apply(&made()).await.unwrap_err();
        let HostError::Network { reason: said, after, output } = error else {
            panic!("{fault}: expected a Network error, not {error}");
        };
        assert!(said.contains(reason), "{fault}: {said}");
        assert_eq!(after, Aftermath::AsBefore, "{fault}: {said}\n{output}");
        assert!(world.text().starts_with(BEFORE) && !world.text().contains("VNET_2"), "{fault}");
        assert_eq!(world.running(), ["8 DHCP"], "{fault}");
        assert!(world.is_clean(), "{fault}: its outcome was seen");
    }
}

#[tokio::test]
async fn what_was_seen_counts_more_than_an_exit_status() {
    for fault in ["stop", "exit", "stranger"] {
        let world = World::new(BEFORE);
        world.fault(fault);
        world.apply(&made()).await.unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert_eq!(world.running(), ["2 DHCP", "2 NAT", "8 DHCP"], "{fault}");
    }
}

#[tokio::test]
async fn a_way_back_that_fails_too_is_said_and_stays_unfinished() {
    let world = World::new(BEFORE);
    world.fault("never");
    let error = world.apply(&made()).await.unwrap_err();
    let HostError::Network { reason, after: Aftermath::Unsettled, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("putting it back failed"), "{reason}");
    let unfinished = world.networks.unfinished().unwrap().unwrap();
    assert_eq!((unfinished.vmnet, unfinished.verb.as_str()), (2, "up"));
    assert_eq!(world.way_back().as_deref(), Some(BEFORE.as_bytes()));
    assert_eq!(world.pending().after, Some(backups::digest(made().as_bytes())));
    // Once Fusion works again, any next change sees to it: here, none.
    world.fault("");
    let restored = world.apply(BEFORE).await.unwrap();
    assert_eq!((restored.restarted, world.running()), (Restarted::Networks, vec!["8 DHCP".to_owned()]));
    assert!(world.is_clean());
}

#[tokio::test]
async fn a_file_where_there_was_none_goes_again_if_it_does_not_work() {
    let world = World::new(BEFORE);
    files::remove_file(&world.fake.fusion().networking()).unwrap();
    world.fault("nonat");
    assert!(matches!(world.apply(&made()).await, Err(HostError::Network { .. })));
    let left =
        world.networks.read().unwrap().map(|left| String::from_utf8(left).unwrap()).unwrap_or_default();
    assert!(!left.contains("VNET_2"), "only Fusion's own first lines may be there: {left}");
    world.fault("");
    world.apply(&made()).await.unwrap();
    assert!(world.text().starts_with(&made()) && world.is_clean());
}

/// Kills a change at its `call`-th call of a program, before or after the program did its work; says whether it came so
/// far. The future is dropped and its child killed, as they are when the process ends.
async fn killed(world: &World, new: &str, call: usize, when: &str) -> bool {
    world.fake.write(&world.fake.root().join("hang"), &format!("{call} {when}"));
    let hanging = world.fake.root().join("hanging");
    let hangs = async {
        while !files::exists(&hanging) {
            clock::pause(Duration::from_millis(2)).await;
        }
    };
    let was_killed = tokio::select! {
        outcome = world.networks.carry_out(world.change(new)) => { outcome.unwrap(); false }
        () = hangs => true,
    };
    files::remove_file(&world.fake.root().join("hang")).unwrap();
    was_killed
}

/// Kills a change at one point, then applies `goal`; says whether the change came to that point.
async fn recovers(before: &str, new: &str, goal: &str, call: usize, when: &str) -> bool {
    let world = World::new(before);
    if !killed(&world, new, call, when).await {
        return false;
    }
    let at = format!("killed {when} call {call}: {:?}", world.fake.orders(&[]));
    if world.networks.unfinished().unwrap().is_none() {
        return world.text() == before;
    }
    assert_eq!(world.way_back().as_deref(), Some(before.as_bytes()), "{at}");
    // What a killed write leaves.
    world.fake.write(&world.fake.fusion().preferences().join(".fusionlab-Xy12ab"), "half");
    let applied = world.apply(goal).await.unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(applied.restarted, Restarted::Networks, "{at}: nobody knew what ran");
    assert!(world.text().starts_with(goal) && world.is_clean(), "{at}:\n{}", world.text());
    let expected: &[&str] =
        if goal.contains("VNET_2") { &["2 DHCP", "2 NAT", "8 DHCP"] } else { &["8 DHCP"] };
    assert_eq!(world.running(), expected, "{at}");
    true
}

#[tokio::test]
async fn a_change_that_was_killed_anywhere_is_recovered_by_the_next() {
    let more = format!("{}{RESERVATION}", made());
    let mut points = Vec::new();
    for (before, new) in [(BEFORE, &*made()), (&*made(), BEFORE), (&*made(), &*more)] {
        let mut call = 1;
        loop {
            // Towards what was wished, and back.
            let (one, two, three, four) = tokio::join!(
                recovers(before, new, new, call, "before"),
                recovers(before, new, new, call, "after"),
                recovers(before, new, before, call, "before"),
                recovers(before, new, before, call, "after"),
            );
            assert_eq!([one; 3], [two, three, four], "all of them come so far, or none");
            if !one {
                break;
            }
            call += 1;
        }
        points.push(4 * (call - 1));
    }
    // Calls: status, status, stop, configure, start, status; the DHCP server alone has a status less or more.
    println!("points tried and recovered: {points:?}");
    assert!(points.iter().all(|points| *points >= 20), "{points:?}");
}

#[tokio::test]
async fn a_whole_backup_is_put_back_with_all_its_networks() {
    let world = World::new(BEFORE);
    world.apply(&made()).await.unwrap();
    let backup = world.networks.backups().unwrap().remove(0);
    let bytes = world.networks.read_backup(&backup.name).unwrap();
    let change = Change { new: Some(bytes), kind: ChangeKind::WholeFile, ..world.change(BEFORE) };
    assert_eq!(world.carry_out(&change).await.unwrap().restarted, Restarted::Networks);
    assert!(world.text().starts_with(BEFORE) && world.running() == ["8 DHCP"]);
}

#[tokio::test]
async fn starting_what_does_not_run_stops_nothing_and_loses_no_lease() {
    let world = World::new(&made());
    files::remove_file(&world.fake.root().join("run/2 DHCP")).unwrap();
    // There is no dhcpd.conf yet, so a start alone is not enough.
    assert_eq!(world.apply(&made()).await.unwrap().restarted, Restarted::Started);
    assert_eq!(world.orders(), ["--start", "--configure", "--start"]);
    assert!(files::read_text(&world.fake.fusion().leases(8)).unwrap().contains("172.16.8.130"));

    files::remove_file(&world.fake.root().join("run/2 DHCP")).unwrap();
    world.fault("nonat");
    let error = world.apply(&world.text()).await.unwrap_err();
    assert!(matches!(error, HostError::Network { after: Aftermath::AsBefore, .. }), "{error}");
}
