//! The simulated Fusion from outside: its programs, its files and its guests, with a machine of the tests' own.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKeyOrCertificate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::faults::{self, Fault};
use super::places::Places;
use super::programs::{self, Screen};
use super::seam::{Chunk, Hardware, Machine, Segment, SshFace, Surroundings, Wire};
use super::settings::{AT_ONCE, Settings};
use super::world::{Made, Maker, World};
use super::{disk, files, install, network, serve};
use crate::formats::networking::{Document, Ours, Wish};
use crate::formats::vmx::Vmx;

const MAC: &str = "00:50:56:00:00:01";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 131);
const ECHO_PORT: u16 = 7;

/// A machine that leases, echoes on one port, and counts its boots on its disk.
struct Tiny {
    hardware: Hardware,
    around: Arc<dyn Surroundings>,
    addresses: Mutex<Vec<(Segment, Ipv4Addr)>>,
    up: AtomicBool,
    face: SshFace,
    boots: u8,
}

#[async_trait]
impl Machine for Tiny {
    async fn boot(self: Arc<Self>) {
        self.around.console("booting");
        for card in &self.hardware.cards {
            if let Some(lease) = self.around.lease(card, Some(&self.hardware.name)).await {
                self.addresses.lock().unwrap().push((card.segment.clone(), lease.address));
            }
        }
        self.around.save(&[self.boots + 1]).unwrap();
        self.up.store(true, Ordering::SeqCst);
    }

    fn ssh(&self) -> Option<SshFace> {
        self.tools_running().then(|| self.face.clone())
    }

    async fn exec(&self, user: &str, line: &str, input: Vec<u8>, output: mpsc::Sender<Chunk>) -> i32 {
        if line == "poweroff" {
            self.around.powered_off();
            std::future::pending::<()>().await;
        }
        if line == "sleep" {
            std::future::pending::<()>().await;
        }
        let text = format!("{user}:{line}:{}:{}", String::from_utf8_lossy(&input), self.boots);
        output.send(Chunk::Stdout(text.into_bytes())).await.unwrap();
        output.send(Chunk::Stderr(b"warning".to_vec())).await.unwrap();
        3
    }

    fn addresses(&self) -> Vec<(Segment, Ipv4Addr)> {
        self.addresses.lock().unwrap().clone()
    }

    fn accept(self: Arc<Self>, to: SocketAddrV4, wire: Wire) -> io::Result<()> {
        if to.port() != ECHO_PORT {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(wire);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        Ok(())
    }

    fn tools_running(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    async fn shut_down(&self) {
        self.up.store(false, Ordering::SeqCst);
    }

    fn pull_plug(&self) {
        self.up.store(false, Ordering::SeqCst);
        self.addresses.lock().unwrap().clear();
    }
}

/// A simulated Mac with its world in this process.
struct Mac {
    folder: tempfile::TempDir,
    places: Places,
    user: PrivateKey,
    host: PrivateKey,
    world: JoinHandle<io::Result<()>>,
}

impl Drop for Mac {
    fn drop(&mut self) {
        self.world.abort();
    }
}

fn key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

impl Mac {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { speed: AT_ONCE, memory_mib: 10_000, ..Settings::default() };
        install::install(folder.path(), Path::new("/nowhere/fusionlab"), &settings).unwrap();
        let places = Places::new(folder.path().canonicalize().unwrap());
        let (user, host) = (key(), key());
        let face = SshFace {
            host_key: host.to_openssh(LineEnding::LF).unwrap().to_string(),
            users: BTreeMap::from([("fusionlab".to_owned(), vec![user.public_key().to_openssh().unwrap()])]),
        };
        let maker: Maker = Arc::new(move |hardware, state, around| {
            let boots = state.map_or(0, |state| state[0]);
            let face = face.clone();
            let tiny = Arc::new(Tiny {
                hardware,
                around,
                addresses: Mutex::default(),
                up: AtomicBool::default(),
                face,
                boots,
            });
            Made { machine: tiny.clone(), kind: tiny }
        });
        let world = World::new(places.clone(), maker).unwrap();
        let world = tokio::spawn(serve::serve(world));
        let mac = Self { folder, places, user, host, world };
        mac.until(|| mac.places.socket().exists()).await;
        mac
    }

    async fn until(&self, mut wish: impl FnMut() -> bool) {
        let patience = tokio::time::timeout(Duration::from_secs(20), async {
            while !wish() {
                super::pace::wait(Duration::from_millis(5)).await;
            }
        });
        patience.await.expect("the wish comes true in time");
    }

    async fn run(&self, program: &str, args: &[&str]) -> (u8, String) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut screen = Screen::default();
        let status = programs::run(program, &self.places, &args, &mut screen).await;
        (status, screen.out)
    }

    async fn vmrun(&self, args: &[&str]) -> (u8, String) {
        let all: Vec<&str> = ["-T", "fusion"].iter().chain(args).copied().collect();
        self.run("vmrun", &all).await
    }

    fn plant(&self, name: &str, times: u32) {
        let fault = Fault { name: name.to_owned(), target: None, times: Some(times), after: 0 };
        faults::plant(&self.places, fault).unwrap();
    }

    /// Makes vmnet2 as the product does: the file, then the tools.
    async fn make_vmnet2(&self) {
        let text = files::read(&self.places.networking()).unwrap().unwrap();
        let wish = Wish {
            vmnet: 2,
            subnet: "10.10.0.0/24".parse().unwrap(),
            reservations: vec![(MAC.parse().unwrap(), ADDRESS)],
        };
        let edited = Document::parse(text.as_bytes()).unwrap().ensure(&wish, Ours::default()).unwrap();
        for (verb, edit) in [("--stop", true), ("--configure", false), ("--start", false)] {
            let (status, _) = self.run("vmnet-cli", &[verb]).await;
            assert_eq!(status, 0, "{verb}");
            if edit {
                files::write(&self.places.networking(), edited.render()).unwrap();
            }
        }
    }

    /// Makes a VM with one card on vmnet2 and a disk that boots.
    fn make_vm(&self, name: &str, mac: &str) -> PathBuf {
        let bundle = self.places.library().join(format!("{name}.vmwarevm"));
        files::make_folder(&bundle).unwrap();
        let image = self.folder.path().join("image.qcow2");
        super::image::write(&image).unwrap();
        let mut source = crate::formats::qcow2::Qcow2::open(files::open(&image, false).unwrap()).unwrap();
        let mut out = files::create(&bundle.join("disk.vmdk")).unwrap();
        crate::formats::vmdk::write_sparse(&mut source, 4 << 30, &mut out, 7, &mut |_| ()).unwrap();
        let vmx = bundle.join(format!("{name}.vmx"));
        files::write(&vmx, vmx_text(name, mac)).unwrap();
        vmx
    }

    async fn start(&self, vmx: &Path) {
        assert_eq!(self.vmrun(&["start", path(vmx), "nogui"]).await, (0, String::new()));
    }

    /// Connects through the SOCKS5 server; the error is the server's reply.
    async fn dial(&self, to: Ipv4Addr, port: u16) -> Result<TcpStream, u8> {
        let line = files::read(&self.places.dial_file()).unwrap().unwrap();
        let proxy = line.trim().strip_prefix("socks5://").unwrap();
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        stream.write_all(&[5, 1, 0]).await.unwrap();
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(greeting, [5, 0]);
        let mut request = vec![5, 1, 0, 1];
        request.extend(to.octets());
        request.extend(port.to_be_bytes());
        stream.write_all(&request).await.unwrap();
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).await.unwrap();
        if reply[1] == 0 { Ok(stream) } else { Err(reply[1]) }
    }

    /// Runs a command over SSH: standard output, standard error and exit status.
    async fn ssh(&self, line: &str, input: &[u8]) -> Result<(String, String, u32), russh::Error> {
        struct Client(russh::keys::PublicKey);
        impl russh::client::Handler for Client {
            type Error = russh::Error;
            async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
                Ok(
                    matches!(key, PublicKeyOrCertificate::PublicKey { key, .. } if key.key_data() == self.0.key_data()),
                )
            }
        }
        let stream = self.dial(ADDRESS, 22).await.expect("sshd answers");
        let client = Client(self.host.public_key().clone());
        let mut session = russh::client::connect_stream(Arc::default(), stream, client).await?;
        let key = russh::keys::PrivateKeyWithHashAlg::new(Arc::new(self.user.clone()), None);
        assert!(session.authenticate_publickey("fusionlab", key).await?.success());
        let mut channel = session.channel_open_session().await?;
        channel.exec(true, line).await?;
        channel.data(input).await?;
        channel.eof().await?;
        let (mut out, mut err, mut status) = (Vec::new(), Vec::new(), None);
        while let Some(message) = channel.wait().await {
            match message {
                russh::ChannelMsg::Data { data } => out.extend_from_slice(&data),
                russh::ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
                russh::ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                _ => {}
            }
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        status.map(|status| (text(out), text(err), status)).ok_or(russh::Error::Disconnect)
    }

    async fn until_reachable(&self) {
        let patience = Duration::from_secs(20);
        let reach = async {
            while self.dial(ADDRESS, 22).await.is_err() {
                super::pace::wait(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(patience, reach).await.expect("the guest comes up");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn vmx_text(name: &str, mac: &str) -> String {
    let mut vmx = Vmx::new();
    for (key, value) in [
        ("config.version", "8"),
        ("virtualHW.version", "20"),
        ("displayName", name),
        ("guestOS", "arm-ubuntu-64"),
        ("firmware", "efi"),
        ("memsize", "4096"),
        ("numvcpus", "2"),
        ("pciBridge4.present", "TRUE"),
        ("pciBridge6.present", "TRUE"),
        ("nvme0.present", "TRUE"),
        ("nvme0.pciSlotNumber", "224"),
        ("nvme0:0.present", "TRUE"),
        ("nvme0:0.fileName", "disk.vmdk"),
        ("ethernet0.present", "TRUE"),
        ("ethernet0.virtualDev", "vmxnet3"),
        ("ethernet0.pciSlotNumber", "160"),
        ("ethernet0.connectionType", "custom"),
        ("ethernet0.vnet", "vmnet2"),
        ("ethernet0.addressType", "static"),
        ("ethernet0.address", mac),
        ("serial0.present", "TRUE"),
        ("serial0.fileType", "file"),
        ("serial0.fileName", "console.log"),
        ("uuid.action", "create"),
    ] {
        vmx.set(key, value);
    }
    vmx.render()
}

#[tokio::test]
async fn a_vm_boots_leases_its_reservation_and_answers_ssh() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    assert_eq!(mac.vmrun(&["list"]).await, (0, "Total running VMs: 0\n".to_owned()));
    assert_eq!(mac.dial(ADDRESS, 22).await.err(), Some(4), "unreachable");
    mac.start(&vmx).await;
    mac.until_reachable().await;
    let listed = mac.vmrun(&["list"]).await.1;
    assert_eq!(listed, format!("Total running VMs: 1\n{}\n", vmx.display()));
    assert_eq!(mac.vmrun(&["getGuestIPAddress", path(&vmx), "-wait"]).await, (0, format!("{ADDRESS}\n")));
    let spoken = mac.ssh("id", b"hello").await.unwrap();
    assert_eq!(spoken, ("fusionlab:id:hello:0".to_owned(), "warning".to_owned(), 3));
    assert_eq!(mac.dial(ADDRESS, 9).await.err(), Some(5), "refused");
    let mut echo = mac.dial(ADDRESS, ECHO_PORT).await.unwrap();
    echo.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    echo.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
    let leases = files::read(&mac.places.leases(2)).unwrap().unwrap();
    assert_eq!(leases, "", "a reserved address never enters the leases file");
    let console = files::read(&vmx.with_file_name("console.log")).unwrap().unwrap();
    assert_eq!(console, "booting\r\n");
}

#[tokio::test]
async fn a_stopped_vm_keeps_its_disk_and_lets_go_of_its_files() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    let lock = vmx.with_extension("vmx.lck");
    for (boots, how) in ["soft", "hard"].into_iter().enumerate() {
        mac.start(&vmx).await;
        assert!(lock.is_dir());
        mac.until_reachable().await;
        let again = mac.vmrun(&["deleteVM", path(&vmx)]).await;
        let running = "Error: The virtual machine should not be powered on. It is already running.\n";
        assert_eq!(again, (255, running.to_owned()));
        assert!(mac.ssh("x", b"").await.unwrap().0.ends_with(&format!(":{boots}")));
        assert_eq!(mac.vmrun(&["stop", path(&vmx), how]).await, (0, String::new()));
        mac.until(|| !lock.exists()).await;
        assert_eq!(mac.dial(ADDRESS, 22).await.err(), Some(4));
        files::remove(&vmx.with_file_name("console.log")).unwrap();
    }
    let config = Vmx::parse(&files::read(&vmx).unwrap().unwrap()).unwrap();
    assert_eq!(config.get("cleanShutdown").as_deref(), Some("TRUE"));
    assert!(config.get("uuid.bios").is_some_and(|uuid| uuid.starts_with("56 4d ")));
    let off = mac.vmrun(&["stop", path(&vmx), "hard"]).await;
    assert_eq!(off, (255, format!("Error: The virtual machine is not powered on: {}\n", vmx.display())));
    assert_eq!(mac.vmrun(&["deleteVM", path(&vmx)]).await, (0, String::new()));
    assert!(!vmx.exists());
}

#[tokio::test]
async fn a_linked_clone_hangs_on_the_snapshot_and_carries_the_baked_state() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let template = mac.make_vm("template", "00:50:56:00:00:02");
    mac.start(&template).await;
    mac.until(|| !files::read(&template.with_file_name("console.log")).unwrap().unwrap().is_empty()).await;
    mac.vmrun(&["getGuestIPAddress", path(&template), "-wait"]).await;
    mac.vmrun(&["stop", path(&template), "soft"]).await;
    mac.until(|| !template.with_extension("vmx.lck").exists()).await;
    assert_eq!(mac.vmrun(&["snapshot", path(&template), "fusionlab"]).await, (0, String::new()));
    let twice = mac.vmrun(&["snapshot", path(&template), "fusionlab"]).await;
    assert_eq!(twice, (255, "Error: The snapshot already exists\n".to_owned()));
    let listed = mac.vmrun(&["listSnapshots", path(&template)]).await.1;
    assert_eq!(listed, "Total snapshots: 1\nfusionlab\n");
    let clone = mac.places.library().join("lab/master.vmwarevm/master.vmx");
    let args = ["clone", path(&template), path(&clone), "linked", "-snapshot=fusionlab", "-cloneName=master"];
    assert_eq!(mac.vmrun(&args).await, (0, String::new()));
    assert_eq!(mac.vmrun(&args).await, (255, "Error: The file already exists\n".to_owned()));
    let child = clone.with_file_name("disk-cl1.vmdk");
    assert_eq!(disk::chain(&child).unwrap(), [child.clone(), template.with_file_name("disk.vmdk")]);
    let dictionary = files::read(&clone.with_extension("vmsd")).unwrap().unwrap();
    assert!(dictionary.contains("cloneOf0"));
    let mut config = Vmx::parse(&files::read(&clone).unwrap().unwrap()).unwrap();
    assert_eq!(
        config.get("ethernet0.address").as_deref(),
        Some("00:50:56:00:00:02"),
        "a static MAC is copied"
    );
    assert_eq!(config.get("uuid.bios"), None);
    config.set("ethernet0.address", MAC);
    files::write(&clone, config.render()).unwrap();
    let held = mac.vmrun(&["deleteSnapshot", path(&template), "fusionlab"]).await;
    assert_eq!(held, (255, "Error: The file is already in use\n".to_owned()));
    mac.start(&clone).await;
    mac.until_reachable().await;
    assert!(mac.ssh("x", b"").await.unwrap().0.ends_with(":1"), "the template had booted once");
    mac.vmrun(&["stop", path(&clone), "hard"]).await;
    mac.until(|| !clone.with_extension("vmx.lck").exists()).await;
    assert_eq!(mac.vmrun(&["deleteVM", path(&clone)]).await, (0, String::new()));
    assert_eq!(mac.vmrun(&["deleteSnapshot", path(&template), "fusionlab"]).await, (0, String::new()));
    assert_eq!(disk::chain(&template.with_file_name("disk.vmdk")).unwrap().len(), 1);
}

#[tokio::test]
async fn power_on_refuses_what_fusion_refuses_and_the_log_says_why() {
    let mac = Mac::new().await;
    let vmx = mac.make_vm("master", MAC);
    let good = files::read(&vmx).unwrap().unwrap();
    let canceled = (255, "Error: The operation was canceled\n".to_owned());
    let log = vmx.with_file_name("vmware.log");
    // The network is in no file yet.
    assert_eq!(mac.vmrun(&["start", path(&vmx), "nogui"]).await, canceled);
    assert!(files::read(&log).unwrap().unwrap().contains("virtual network '/dev/vmnet2'"));
    mac.make_vmnet2().await;
    for (key, value, cause) in [
        ("ethernet0.address", "00:0c:29:00:00:01", "not an allowed static Ethernet address"),
        ("pciBridge4.present", "FALSE", "No PCIe slot available for Ethernet0"),
        ("memsize", "16384", "Not enough physical memory"),
        ("memsize", "4097", "not a multiple of 4"),
        ("guestOS", "ubuntu-arm", "not supported"),
        ("firmware", "bios", "requires EFI"),
        ("nvme0:0.fileName", "gone.vmdk", "Cannot open the disk"),
        ("virtualHW.version", "99", "hardware version 99"),
    ] {
        files::remove(&log).unwrap();
        let mut config = Vmx::parse(&good).unwrap();
        config.set(key, value);
        files::write(&vmx, config.render()).unwrap();
        // pciBridge6 must not stand in for pciBridge4.
        if key == "pciBridge4.present" {
            config.set("pciBridge6.present", "FALSE");
            files::write(&vmx, config.render()).unwrap();
        }
        let _ = files::remove(&vmx.with_file_name("console.log"));
        assert_eq!(mac.vmrun(&["start", path(&vmx), "nogui"]).await, canceled, "{key}");
        let said = files::read(&log).unwrap().unwrap();
        assert!(said.contains(cause) && said.contains("Msg_Post: Error"), "{key}: {said}");
        assert!(!vmx.with_extension("vmx.lck").exists(), "{key}");
    }
    let unreadable = format!(
        "Error: Cannot open VM: {}, Cannot read the virtual machine configuration file\n",
        vmx.display()
    );
    for text in [format!("{good}MEMSIZE = \"4096\"\n"), good.replace("config.version", "config.versio")] {
        files::write(&vmx, text).unwrap();
        assert_eq!(mac.vmrun(&["start", path(&vmx), "nogui"]).await, (255, unreadable.clone()));
    }
}

#[tokio::test]
async fn two_running_vms_cannot_share_a_mac() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let (one, two) = (mac.make_vm("one", MAC), mac.make_vm("two", MAC));
    mac.start(&one).await;
    assert_eq!(mac.vmrun(&["start", path(&two), "nogui"]).await.0, 255);
    assert!(files::read(&two.with_file_name("vmware.log")).unwrap().unwrap().contains(MAC));
}

#[tokio::test]
async fn the_network_tools_speak_as_fusions_do() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let before = files::read(&mac.places.networking()).unwrap().unwrap();
    assert!(
        before.contains("answer VNET_2_HOSTONLY_UUID ") && before.contains("answer VNET_2_DHCP_CFG_HASH ")
    );
    let (status, said) = mac.run("vmnet-cli", &["--status"]).await;
    assert_eq!(status, 0);
    assert!(said.contains("DHCP service on vmnet2 is running\n"));
    assert!(said.contains("Hostonly virtual adapter on vmnet2 is disabled\n"));
    let (_, said) = mac.run("vmnet-cli", &["--stop"]).await;
    let expected = "Stopped DHCP service on vmnet1\nStopped DHCP service on vmnet2\nStopped NAT service on \
                    vmnet2\nStopped DHCP service on vmnet8\nStopped NAT service on vmnet8\nStopped all \
                    configured services on all networks\n";
    assert_eq!(said, expected);
    assert_eq!(mac.run("vmnet-cli", &["--status"]).await.0, 1);
    mac.run("vmnet-cli", &["--configure"]).await;
    let (_, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert!(said.starts_with("Enabled hostonly virtual adapter on vmnet1\nStarted DHCP service on vmnet1\n"));
    assert!(
        said.ends_with("Started DHCP service on vmnet8\nStarted all configured services on all networks\n")
    );
    let after = files::read(&mac.places.networking()).unwrap().unwrap();
    assert_eq!(before, after, "applying twice changes nothing");
    let conf = files::read(&mac.places.vmnet(2).join("dhcpd.conf")).unwrap().unwrap();
    assert!(conf.contains("fixed-address 10.10.0.131;"));
    let (_, table) = mac.vmrun(&["listHostNetworks"]).await;
    assert!(table.contains("2      vmnet2       nat          true         10.10.0.0        255.255.255.0\n"));
}

#[tokio::test]
async fn a_start_that_lies_is_seen_only_in_its_words() {
    let mac = Mac::new().await;
    mac.plant(faults::NETWORK_START_LIES, 1);
    let (status, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert_eq!(status, 0);
    assert!(said.contains("Failed to start DHCP service on vmnet8\n"));
    assert!(said.ends_with("Failed to start some/all services\n"));
    let (_, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert!(said.ends_with("Started all configured services on all networks\n"));
}

#[tokio::test]
async fn fusions_window_can_write_its_view_over_ours() {
    let mac = Mac::new().await;
    mac.plant(faults::UI_OVERWRITES, 1);
    mac.make_vmnet2().await;
    assert!(!files::read(&mac.places.networking()).unwrap().unwrap().contains("10.10.0.0"));
    assert!(network::Networks::load(&mac.places).unwrap().running(2).is_none());
}

#[tokio::test]
async fn cfgcli_says_one_for_success() {
    let mac = Mac::new().await;
    for (args, status) in [
        (&["getunusedvnet"][..], 1),
        (&["addadapter", "vmnet2"], 1),
        (&["addadapter", "vmnet2"], 0),
        (&["setdhcpmac2ip", "vmnet2", MAC, "172.16.2.3"], 1),
        (&["setdhcpmac2ip", "vmnet2", "junk", "172.16.2.3"], 0),
        (&["servicestatus", "vmnet8", "dhcp"], 1),
        (&["servicestatus", "vmnet2", "dhcp"], 0),
        (&["nonsense"], 0),
    ] {
        assert_eq!(mac.run("vmnet-cfgcli", args).await.0, status, "{args:?}");
    }
    assert_eq!(mac.run("vmnet-cfgcli", &["getdhcpmac2ip", "vmnet2", MAC]).await.1, "IP: 172.16.2.3\n");
    assert_eq!(mac.run("vmnet-cfgcli", &["getunusedvnet"]).await.1, "vmnet: vmnet3\n");
    mac.run("vmnet-cfgcli", &["deletevnet", "vmnet2"]).await;
    let text = files::read(&mac.places.networking()).unwrap().unwrap();
    assert!(!Document::parse(text.as_bytes()).unwrap().vmnet(2).exists);
}

#[tokio::test]
async fn faults_of_vmrun_are_those_that_peers_report() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.plant(faults::START_SILENT, 1);
    mac.start(&vmx).await;
    mac.plant(faults::NOISE_LINES, 1);
    let (_, listed) = mac.vmrun(&["list"]).await;
    assert!(listed.contains("ServiceImpl_Opener: PID") && listed.ends_with("Total running VMs: 0\n"));
    mac.plant(faults::START_LIES, 1);
    let lied = mac.vmrun(&["start", path(&vmx), "nogui"]).await;
    assert_eq!(lied, (255, "Error: Cannot connect to the virtual machine\n".to_owned()));
    assert!(mac.vmrun(&["list"]).await.1.starts_with("Total running VMs: 1\n"));
    mac.until_reachable().await;
    mac.plant(faults::WRONG_ADDRESS, 1);
    assert_eq!(mac.vmrun(&["getGuestIPAddress", path(&vmx)]).await.1, "172.17.0.1\n");
    mac.plant(faults::SSH_DROPS, 1);
    assert!(mac.ssh("sleep", b"").await.is_err(), "the connection breaks");
    assert!(mac.ssh("x", b"").await.is_ok(), "and the guest is still there");
    mac.plant(faults::STOP_SOFT_HANGS, 1);
    let soft = ["stop", path(&vmx), "soft"];
    let stuck = mac.vmrun(&soft);
    assert!(tokio::time::timeout(Duration::from_millis(50), stuck).await.is_err());
    mac.vmrun(&["stop", path(&vmx), "hard"]).await;
    assert_eq!(mac.vmrun(&["list"]).await.1, "Total running VMs: 0\n");
    mac.plant(faults::CLONE_CANCELED, 1);
    let clone = mac.places.library().join("copy/copy.vmx");
    mac.until(|| !vmx.with_extension("vmx.lck").exists()).await;
    let (status, said) = mac.vmrun(&["clone", path(&vmx), path(&clone), "full"]).await;
    assert_eq!((status, said.as_str()), (255, "Error: The operation was canceled\n"));
    assert!(files::read(&vmx.with_file_name("vmware.log")).unwrap().unwrap().contains("Msg_Post: Error"));
    mac.plant(faults::STALE_LOCK, 1);
    files::remove(&vmx.with_file_name("console.log")).unwrap();
    let held = mac.vmrun(&["start", path(&vmx), "nogui"]).await;
    assert_eq!(held, (255, "Error: The file is already in use\n".to_owned()));
}

#[tokio::test]
async fn locks_of_a_world_that_is_gone_hold_nothing() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    let lock = vmx.with_extension("vmx.lck");
    files::write(&lock.join("M1.lck"), "1").unwrap();
    mac.start(&vmx).await;
    mac.vmrun(&["stop", path(&vmx), "hard"]).await;
    mac.until(|| !lock.exists()).await;
    files::write(&lock.join("M1.lck"), "1").unwrap();
    assert_eq!(mac.vmrun(&["deleteVM", path(&vmx)]).await, (0, String::new()));
    assert!(!vmx.parent().unwrap().exists());
}

#[tokio::test]
async fn a_guest_can_power_itself_off() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    mac.until_reachable().await;
    assert!(mac.ssh("poweroff", b"").await.is_err(), "the connection goes with the power");
    assert_eq!(mac.vmrun(&["list"]).await.1, "Total running VMs: 0\n");
}

#[tokio::test]
async fn a_suspended_vm_is_not_listed_and_resumes_where_it_was() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    mac.until_reachable().await;
    mac.vmrun(&["suspend", path(&vmx)]).await;
    assert_eq!(mac.vmrun(&["list"]).await.1, "Total running VMs: 0\n");
    assert!(vmx.with_extension("vmss").exists());
    assert_eq!(mac.dial(ADDRESS, 22).await.err(), Some(4));
    mac.start(&vmx).await;
    assert!(!vmx.with_extension("vmss").exists());
    assert!(mac.ssh("x", b"").await.unwrap().0.ends_with(":0"), "it has not booted again");
}

#[tokio::test]
async fn an_idle_world_leaves_and_nothing_of_it_is_left() {
    let mut mac = Mac::new().await;
    mac.make_vmnet2().await;
    let status = install::status(mac.folder.path()).await.unwrap();
    assert!(status.installed && status.dial.is_some() && status.running.is_empty());
    tokio::time::timeout(Duration::from_secs(20), &mut mac.world).await.unwrap().unwrap().unwrap();
    assert!(!mac.places.socket().exists());
    assert_eq!(files::read(&mac.places.dial_file()).unwrap().as_deref(), Some(serve::NOWHERE));
    assert_eq!(install::status(mac.folder.path()).await.unwrap().pid, None);
}

#[tokio::test]
async fn wiping_ends_the_world_and_leaves_nothing() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    install::wipe(mac.folder.path()).await.unwrap();
    assert!(!mac.folder.path().exists());
}

/// What vmrest answers: the status and the body.
async fn rest(base: &str, method: &str, url: &str, body: &str) -> (u16, serde_json::Value) {
    const MEDIA_TYPE: &str = "application/vnd.vmware.vmw.rest-v1+json";
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.request(method.parse().unwrap(), format!("{base}{url}"));
    let request = request.basic_auth("me", Some("Passw0rd!")).header("content-type", MEDIA_TYPE);
    let response = request.body(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
}

#[tokio::test]
async fn vmrest_shows_the_same_world() {
    crate::host::download::install_crypto();
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    let hash = bcrypt::hash("saltPassw0rd!", 4).unwrap();
    let settings = format!("port=1\r\nusername=me\r\npassword={hash}\r\nsalt=salt\r\n");
    let orders = super::orders::Orders::new(&mac.places).unwrap();
    let app = programs::vmrest::app_of(orders, &settings).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let bare = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(bare.get(format!("{base}/api/vms")).send().await.unwrap().status().as_u16(), 401);
    let json = bare.put(format!("{base}/api/vms")).basic_auth("me", Some("Passw0rd!")).body("on");
    assert_eq!(json.header("content-type", "application/json").send().await.unwrap().status().as_u16(), 406);
    assert_eq!(rest(&base, "GET", "/nothing", "").await, (404, "404 page not found\n".into()));
    assert_eq!(rest(&base, "GET", "/api/vms", "").await, (200, serde_json::json!([])), "not registered");
    let body = serde_json::json!({ "name": "master", "path": vmx }).to_string();
    let (status, made) = rest(&base, "POST", "/api/vms/registration", &body).await;
    assert_eq!(status, 201);
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'V')));
    let power = format!("/api/vms/{id}/power");
    assert_eq!(rest(&base, "PUT", &power, "on").await.1["power_state"], "poweredOn");
    mac.until_reachable().await;
    let (_, addresses) = rest(&base, "GET", &format!("/api/vms/{id}/nicips"), "").await;
    assert_eq!(
        (&addresses["nics"][0]["mac"], &addresses["nics"][0]["ip"][0]),
        (&MAC.into(), &format!("{ADDRESS}/24").into())
    );
    let parent = serde_json::json!({ "name": "copy", "parentId": id }).to_string();
    let (status, error) = rest(&base, "POST", "/api/vms", &parent).await;
    assert_eq!((status, &error["Code"]), (409, &107.into()), "the parent runs");
    assert_eq!(rest(&base, "PUT", &power, "off").await.1["power_state"], "poweredOff");
    let (status, error) = rest(&base, "PUT", &power, "off").await;
    assert_eq!((status, &error["Code"]), (409, &106.into()));
    mac.until(|| !vmx.with_extension("vmx.lck").exists()).await;
    let (status, copy) = rest(&base, "POST", "/api/vms", &parent).await;
    assert_eq!((status, &copy["cpu"]["processors"]), (201, &2.into()));
    assert_eq!(rest(&base, "GET", "/api/vms", "").await.1.as_array().unwrap().len(), 2);
    let card = rest(&base, "POST", &format!("/api/vms/{id}/nic"), r#"{"type":"nat","vmnet":"vmnet8"}"#).await;
    assert_eq!((card.0, &card.1["Code"]), (400, &121.into()));
    let (_, reserved) = rest(&base, "GET", "/api/vmnet/vmnet2/mactoip", "").await;
    assert_eq!(reserved["mactoips"][0]["ip"], ADDRESS.to_string());
    server.abort();
}

/// Lays out a root that stays, to try the real programs by hand.
#[test]
#[ignore = "for trying by hand"]
fn try_by_hand() {
    let exe = std::env::var("SIM_EXE").unwrap();
    let root = std::env::var("SIM_ROOT").unwrap();
    install::install(Path::new(&root), Path::new(&exe), &Settings::default()).unwrap();
}
