//! What fusionlab says to Fusion: every argument list, in order, as written down by programs that are not ours.
//!
//! The Fusion here is a folder of small shell programs. Its guests never answer, so `up` ends at the first login; all
//! that Fusion itself is told is told by then, and `destroy` tells the rest.

use std::fs;
use std::path::Path;

use fusionlab::lab::catalogue::{Arch, Versions};
use fusionlab::lab::resolve::resolve;
use sha2::{Digest, Sha256};

use crate::fake_fusion::FakeFusion;
use crate::support::session::Session;

/// A vmrun of files: what runs is a folder of notes, a clone is a copy of the VMX and a disk of its own name. The
/// template is off again once somebody has seen it on, and its console says what was baked.
pub const VMRUN: &str = r#"
[ "$1 $2" = "-T fusion" ] || { echo "Error: Unrecognized command: $1"; exit 255; }
shift 2
on="$root/var/on"
mkdir -p "$on" "$root/var/snapshots"
note() { printf '%s' "$1" | cksum | tr ' ' -; }
case "$1" in
list)
    running=$(find "$on" -type f ! -name '.*' -exec cat {} +)
    echo "Total running VMs: $(printf '%s' "$running" | grep -c .)"
    [ -z "$running" ] || echo "$running"
    rm -f "$on/template" ;;
start)
    vmx=$(realpath "$2") || { echo "Error: The file specified is not a virtual machine"; exit 255; }
    case "$vmx" in
    */template.vmx)
        echo "[   42.0] fusionlab-bake: done BAKED" >"${vmx%/*}/console.log"
        note=template ;;
    *) note=$(note "$vmx") ;;
    esac
    echo "$vmx" >"$on/.$note"
    mv "$on/.$note" "$on/$note" ;;
stop)
    case "$2 $3" in
    *gateway1.vmx\ soft) echo "Error: The VMware Tools are not running in the virtual machine: $2"; exit 255 ;;
    esac
    rm -f "$on/$(note "$2")" ;;
listSnapshots)
    names="$root/var/snapshots/$(note "$2")"
    touch "$names"
    echo "Total snapshots: $(grep -c . "$names")"
    cat "$names" ;;
snapshot) echo "$3" >>"$root/var/snapshots/$(note "$2")" ;;
clone)
    mkdir -p "${3%/*}"
    sed -e 's/"disk.vmdk"/"cloned-cl1.vmdk"/' "$2" >"$3"
    parent=$(head -c 12288 "${2%/*}/disk.vmdk" | tr '\0' '\n' | sed -n 's/^CID=//p')
    printf '%s\n' '# Disk DescriptorFile' 'CID=00000001' "parentCID=$parent" 'createType="monolithicSparse"' \
        >"${3%/*}/cloned-cl1.vmdk" ;;
deleteVM) rm -rf "${2%/*}" ;;
*) echo "Error: Unrecognized command: $1"; exit 255 ;;
esac
"#;

/// A vmnet-cli that runs the services of vmnet2 if the networking file has it.
pub const VMNET_CLI: &str = r#"
networking="$root/Library/Preferences/VMware Fusion/networking"
case "$1" in
--stop) rm -f "$root/var/up"; echo "Stopped all configured services on all networks" ;;
--configure)
    mkdir -p "${networking%/*}/vmnet2"
    awk '/^answer VNET_2_HOSTONLY_SUBNET/ { print "subnet " $3 " netmask 255.255.255.0 {\n}" }
        /^add_dhcp_mac_to_ip 2 / { print "host h" NR " { hardware ethernet " $3 "; fixed-address " $4 "; }" }' \
        "$networking" >"${networking%/*}/vmnet2/dhcpd.conf"
    echo "Configured" ;;
--start) touch "$root/var/up"; echo "Started all configured services on all networks" ;;
--status)
    [ -f "$root/var/up" ] || exit 1
    echo "DHCP service on vmnet8 is running"
    grep -q VNET_2_DHCP "$networking" || exit 0
    echo "DHCP service on vmnet2 is running"
    echo "NAT service on vmnet2 is running"
    echo "Hostonly virtual adapter on vmnet2 is disabled" ;;
*) exit 2 ;;
esac
"#;

/// A proxy that nobody serves: each connection to a guest is refused at once, and no real network is asked.
const NOWHERE: &str = "socks5://127.0.0.1:1\n";

/// A raw disk with nothing on it but the mark of a partition table.
pub fn tiny_image() -> Vec<u8> {
    const SECTOR: usize = 512;
    let mut image = vec![0; 64 * SECTOR];
    image[SECTOR - 2..SECTOR].copy_from_slice(&[0x55, 0xAA]);
    image
}

pub fn baked(versions: &Versions) -> String {
    format!(
        r#"{{"version":2,"programs":{{"kubeadm":"v{0}","kubelet":"v{0}","containerd":"{1}","cilium":"{2}","gateway_api":"{3}","helm":"v{4}"}},"packages":{{}}}}"#,
        versions.kubernetes, versions.containerd, versions.cilium, versions.gateway_api, versions.helm
    )
}

/// Returns a Fusion that works, and a session whose lab file asks for two machines of an image of its own.
fn fake() -> (FakeFusion, Session) {
    let session = Session::new().file("disk.img", tiny_image());
    let (path, digest) = (session.work().join("disk.img"), hex::encode(Sha256::digest(tiny_image())));
    let lab = format!(
        "version: 1\npreset: solo\nlimits: {{guest_ssh: 2}}\n\
         image: {{url: \"file://{}\", digest: \"{digest}\", guest_os: arm-other6xlinux-64}}\n",
        path.display()
    );
    let versions = resolve(Some(&lab), None, Arch::Arm64).expect("the lab file is valid").lab.versions;
    let session = session.file("fusionlab.yaml", lab);
    let fusion = FakeFusion::new("13.6.3")
        .program("vmrun", &VMRUN.replace("BAKED", &baked(&versions).replace('"', "\\\"")))
        .program("vmnet-cli", VMNET_CLI);
    fs::write(fusion.root().join("var/run/fusionlab-dial"), NOWHERE).expect("the folder takes a file");
    (fusion, session)
}

fn told(session: &Session, fusion: &FakeFusion, words: &[&str]) -> Session {
    session.clone().args(words).arg("--fusion").arg(fusion.root())
}

/// Returns the calls as lines, with the two folders that vary named.
fn calls(fusion: &FakeFusion, session: &Session) -> Vec<String> {
    let resolved = |path: &Path| path.canonicalize().expect("it is there").display().to_string();
    let library = resolved(&fusion.root().join("Virtual Machines.localized"));
    let home = resolved(&session.fusionlab_home());
    let shown = |call: Vec<String>| {
        let line = call.join("|").replace(&library, "LIBRARY").replace(&home, "HOME");
        let template = line.split_once("templates/").and_then(|(_, rest)| rest.split('/').next());
        template.map_or_else(|| line.clone(), |key| line.replace(key, "KEY"))
    };
    fusion.calls().into_iter().map(shown).collect()
}

/// Questions may come as often as they like; they are not what Fusion is told to do.
fn is_question(call: &str) -> bool {
    call == "vmrun|-T|fusion|list"
        || call == "vmnet-cli|--status"
        || call.starts_with("vmrun|-T|fusion|listSnapshots|")
}

fn orders(calls: &[String]) -> Vec<&str> {
    calls.iter().map(String::as_str).filter(|call| !is_question(call)).collect()
}

#[track_caller]
fn assert_in_order(orders: &[&str], expected: &[String]) {
    let positions: Vec<_> =
        expected.iter().map(|wanted| orders.iter().position(|order| order == wanted)).collect();
    assert!(positions.iter().all(Option::is_some), "{expected:#?} are not all in {orders:#?}");
    assert!(positions.is_sorted_by(|a, b| a < b), "{expected:#?} are not in this order in {orders:#?}");
}

#[track_caller]
fn assert_same(orders: &[&str], mut expected: Vec<String>) {
    let mut orders = orders.to_vec();
    orders.sort_unstable();
    expected.sort_unstable();
    assert_eq!(orders, expected);
}

const TEMPLATE: &str = "HOME/templates/KEY/template.vmwarevm/template.vmx";

fn start(vmx: &str) -> String {
    format!("vmrun|-T|fusion|start|{vmx}|nogui")
}

fn vmx(node: &str) -> String {
    format!("LIBRARY/lab/{node}.vmwarevm/{node}.vmx")
}

fn clone(node: &str) -> String {
    format!("vmrun|-T|fusion|clone|{TEMPLATE}|{}|linked|-snapshot=fusionlab|-cloneName={node}", vmx(node))
}

fn stop(node: &str, how: &str) -> String {
    format!("vmrun|-T|fusion|stop|{}|{how}", vmx(node))
}

const GATEWAY: &str = "gateway1";
const MASTER: &str = "k8s-master1";

/// What is told of machines that do not answer: each is switched off and on once. The gateway's tools do not answer either, so
/// its power is cut.
fn off_and_on() -> [Vec<String>; 2] {
    let on = |node: &str| start(&vmx(node));
    [vec![stop(GATEWAY, "soft"), stop(GATEWAY, "hard"), on(GATEWAY)], vec![stop(MASTER, "soft"), on(MASTER)]]
}

#[test]
fn fusion_is_told_this_and_nothing_else() {
    let (fusion, session) = fake();
    let before = fs::read(fusion.networking()).expect("there is a networking file");

    let up = told(&session, &fusion, &["up", "--yes"]).run().exits(8);
    for part in ["k8s-master1", "gateway1", "takes our SSH key", "guest_ssh", "127.0.0.1:1"] {
        assert!(up.stderr.contains(part), "the report lacks {part:?}:\n{}", up.stderr);
    }
    let told_by_up = calls(&fusion, &session);
    let orders_of_up = orders(&told_by_up);
    let made = |node| [clone(node), start(&vmx(node)), stop(node, "soft")];
    let snapshot = format!("vmrun|-T|fusion|snapshot|{TEMPLATE}|fusionlab");
    let network = ["vmnet-cli|--stop", "vmnet-cli|--configure", "vmnet-cli|--start"].map(str::to_owned);
    let template = [start(TEMPLATE), snapshot];
    for node in [GATEWAY, MASTER] {
        assert_in_order(&orders_of_up, &[&network[..], &template, &made(node)].concat());
    }
    let clones = [GATEWAY, MASTER].map(|node| [clone(node), start(&vmx(node))]).concat();
    let again = off_and_on().concat();
    assert_same(&orders_of_up, [&network[..], &template, &clones, &again].concat());
    assert!(told_by_up.iter().any(|call| call == "vmnet-cli|--status"), "success is what is seen afterwards");
    assert_ne!(fs::read(fusion.networking()).expect("it stays"), before);

    told(&session, &fusion, &["destroy", "--yes"]).run().exits(0);
    let all = calls(&fusion, &session);
    let orders_of_destroy = orders(&all[told_by_up.len()..]);
    let delete = |node| format!("vmrun|-T|fusion|deleteVM|{}", vmx(node));
    let hard = [stop(GATEWAY, "soft"), stop(GATEWAY, "hard"), delete(GATEWAY)];
    let soft = [stop(MASTER, "soft"), delete(MASTER)];
    for machine in [&hard[..], &soft] {
        assert_in_order(&orders_of_destroy, &[machine, &network].concat());
    }
    assert_same(&orders_of_destroy, [&hard[..], &soft, &network].concat());
    assert_eq!(fs::read(fusion.networking()).expect("it stays"), before, "byte for byte");
    assert!(!fusion.root().join("Virtual Machines.localized/lab").exists());
}

#[test]
fn a_second_up_tells_fusion_only_to_switch_off_and_on_what_does_not_answer() {
    let (fusion, session) = fake();
    told(&session, &fusion, &["up", "--yes"]).run().exits(8);
    let first = calls(&fusion, &session).len();
    told(&session, &fusion, &["up", "--yes"]).run().exits(8);
    let all = calls(&fusion, &session);
    assert_same(&orders(&all[first..]), off_and_on().concat());
}

#[test]
fn a_fusion_without_a_dhcp_server_of_its_own_is_refused() {
    for (version, reason) in
        [("12.0.0", "Apple's DHCP server"), ("12.1.2", "Apple's DHCP server"), ("11.5.7", "older than 12.2")]
    {
        let fusion = FakeFusion::new(version);
        let ended = told(&Session::new(), &fusion, &["up", "--yes"]).run();
        assert!(matches!(ended.status.code(), Some(4 | 6)), "{ended:?}");
        for part in [version, reason] {
            assert!(ended.stderr.contains(part), "the report lacks {part:?}:\n{}", ended.stderr);
        }
        assert_eq!(fusion.calls(), Vec::<Vec<String>>::new());
    }
}

#[test]
fn a_network_that_says_it_started_and_did_not_is_put_back() {
    let lie = VMNET_CLI.replace(
        r#"--start) touch"#,
        r#"--start) grep -q VNET_2_NAT "$networking" && echo "Failed to start NAT service on vmnet2" && exit 0; touch"#,
    );
    assert_ne!(lie, VMNET_CLI);
    let (fusion, session) = fake();
    let fusion = fusion.program("vmnet-cli", &lie);
    let before = fs::read(fusion.networking()).expect("there is a networking file");
    let ended = told(&session, &fusion, &["up", "--yes"]).run().exits(7);
    assert!(ended.stderr.contains("Failed to start NAT service on vmnet2"), "{}", ended.stderr);
    assert!(ended.stderr.contains("put back"), "that all is as before is said:\n{}", ended.stderr);
    assert_eq!(fs::read(fusion.networking()).expect("it stays"), before);
    let all = calls(&fusion, &session);
    let once = ["vmnet-cli|--stop", "vmnet-cli|--configure", "vmnet-cli|--start"];
    assert_eq!(orders(&all), [once, once].concat(), "no machine was begun");
}
