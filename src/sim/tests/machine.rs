//! The tests' own machine, and a simulated Mac with its world in this process.

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

use crate::formats::networking::{Document, Ours, Wish};
use crate::formats::vmx::Vmx;
use crate::host::GuestTarget;
use crate::sim::faults::{self, Fault};
use crate::sim::network::Networks;
use crate::sim::places::Places;
use crate::sim::programs::{self, Screen};
use crate::sim::seam::{
    Body, Chunk, Client, Hardware, Kind, Machine, Made, Segment, SshFace, Surroundings, Wire,
};
use crate::sim::settings::{AT_ONCE, Settings};
use crate::sim::world::World;
use crate::sim::{files, install, serve};

pub const MAC: &str = "00:50:56:00:00:01";
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 131);
/// How machines whose names begin with `duid` identify themselves.
pub const DUID: &str = "ff:2b:94:34:c1:00:02:00:00:ab:11:01:02:03:04:05:06:07:08";
/// What SOCKS5 answers of a machine that is not there, as a Mac says that nobody answers.
pub const NOBODY_ANSWERS: u8 = 6;
pub const ECHO_PORT: u16 = 7;

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
            let hostname = Some(self.hardware.name.clone());
            let duid = self.hardware.name.starts_with("duid").then(|| DUID.to_owned());
            let client = Client { hostname, uid: duid };
            if let Some(lease) = self.around.lease(card, &client).await {
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
pub struct Mac {
    pub folder: tempfile::TempDir,
    pub places: Places,
    user: PrivateKey,
    host: PrivateKey,
    pub world: JoinHandle<io::Result<()>>,
}

impl Drop for Mac {
    fn drop(&mut self) {
        self.world.abort();
    }
}

/// The kind of the tiny machines.
struct Tinies {
    face: SshFace,
}

#[async_trait]
impl Kind for Tinies {
    fn make(&self, body: Body, around: Arc<dyn Surroundings>) -> Made {
        let tiny = Arc::new(Tiny {
            hardware: body.hardware,
            around,
            addresses: Mutex::default(),
            up: AtomicBool::default(),
            face: self.face.clone(),
            boots: body.state.map_or(0, |state| state[0]),
        });
        Made { machine: tiny.clone(), kind: tiny }
    }

    async fn apply(&self, _: &Networks) -> io::Result<()> {
        Ok(())
    }

    async fn dial(&self, _: SocketAddrV4) -> Option<io::Result<Wire>> {
        None
    }

    async fn leave(&self) {}
}

fn key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

impl Mac {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { speed: AT_ONCE, memory_mib: 20_000, ..Settings::default() };
        install::install(folder.path(), Path::new("/nowhere/fusionlab"), &settings).unwrap();
        let places = Places::new(folder.path().canonicalize().unwrap());
        let (user, host) = (key(), key());
        let face = SshFace {
            host_key: host.to_openssh(LineEnding::LF).unwrap().to_string(),
            users: BTreeMap::from([("fusionlab".to_owned(), vec![user.public_key().to_openssh().unwrap()])]),
        };
        let tinies = Arc::new(Tinies { face });
        let world = World::new(places.clone(), tinies).unwrap();
        let world = tokio::spawn(serve::serve(world));
        let mac = Self { folder, places, user, host, world };
        mac.until(|| mac.places.socket().exists()).await;
        mac
    }

    pub async fn until(&self, mut wish: impl FnMut() -> bool) {
        let patience = tokio::time::timeout(Duration::from_secs(20), async {
            while !wish() {
                crate::sim::pace::wait(Duration::from_millis(5)).await;
            }
        });
        patience.await.expect("the wish comes true in time");
    }

    pub async fn run(&self, program: &str, args: &[&str]) -> (u8, String) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut screen = Screen::default();
        let status = programs::run(program, &self.places, &args, &mut screen).await;
        (status, screen.out)
    }

    pub async fn vmrun(&self, args: &[&str]) -> (u8, String) {
        let all: Vec<&str> = ["-T", "fusion"].iter().chain(args).copied().collect();
        self.run("vmrun", &all).await
    }

    pub fn plant(&self, name: &str, times: u32) {
        let fault = Fault { name: name.to_owned(), target: None, times: Some(times), after: 0 };
        faults::plant(&self.places, fault).unwrap();
    }

    /// Makes vmnet2 as the product does: the file, then the tools.
    pub async fn make_vmnet2(&self) {
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
    pub fn make_vm(&self, name: &str, mac: &str) -> PathBuf {
        let bundle = self.places.library().join(format!("{name}.vmwarevm"));
        files::make_folder(&bundle).unwrap();
        let image = self.folder.path().join("image.qcow2");
        crate::sim::image::write(&image, crate::sim::image::MODEL).unwrap();
        crate::sim::disk::of_image(&image, 4 << 30, 7, &bundle.join("disk.vmdk")).unwrap();
        let vmx = bundle.join(format!("{name}.vmx"));
        files::write(&vmx, vmx_text(name, mac)).unwrap();
        vmx
    }

    pub async fn start(&self, vmx: &Path) {
        assert_eq!(self.vmrun(&["start", path(vmx), "nogui"]).await, (0, String::new()));
    }

    /// Connects through the SOCKS5 server; the error is the server's reply.
    pub async fn dial(&self, to: Ipv4Addr, port: u16) -> Result<TcpStream, u8> {
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

    /// Logs in over SSH.
    async fn log_in(&self) -> Result<russh::client::Handle<SshClient>, russh::Error> {
        let stream = self.dial(ADDRESS, 22).await.expect("sshd answers");
        let client = SshClient(self.host.public_key().clone());
        let mut session = russh::client::connect_stream(Arc::default(), stream, client).await?;
        let key = russh::keys::PrivateKeyWithHashAlg::new(Arc::new(self.user.clone()), None);
        assert!(session.authenticate_publickey("fusionlab", key).await?.success());
        Ok(session)
    }

    /// Types into a login shell; returns what it showed and its exit status.
    pub async fn type_in(&self, keys: &[u8]) -> Result<(String, u32), russh::Error> {
        let session = self.log_in().await?;
        let channel = session.channel_open_session().await?;
        channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await?;
        channel.request_shell(true).await?;
        channel.data(keys).await?;
        let (out, _, status) = read(channel).await?;
        Ok((out, status))
    }

    /// Runs a command over SSH: standard output, standard error and exit status.
    pub async fn ssh(&self, line: &str, input: &[u8]) -> Result<(String, String, u32), russh::Error> {
        let session = self.log_in().await?;
        let channel = session.channel_open_session().await?;
        channel.exec(true, line).await?;
        channel.data(input).await?;
        channel.eof().await?;
        read(channel).await
    }

    /// Returns how the product reaches the guest.
    pub fn target(&self) -> GuestTarget {
        let identity = self.folder.path().join("user");
        files::write(&identity, self.user.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        GuestTarget {
            node: "master".to_owned(),
            address: ADDRESS,
            user: "fusionlab".to_owned(),
            host_key: self.host.public_key().to_openssh().unwrap(),
            identity,
        }
    }

    pub async fn until_reachable(&self) {
        let patience = Duration::from_secs(20);
        let reach = async {
            while self.dial(ADDRESS, 22).await.is_err() {
                crate::sim::pace::wait(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(patience, reach).await.expect("the guest comes up");
    }
}

/// An SSH client that trusts one host key.
struct SshClient(russh::keys::PublicKey);

impl russh::client::Handler for SshClient {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        Ok(key.key_data() == self.0.key_data())
    }
}

/// Reads a channel to its end: standard output, standard error and exit status.
async fn read(
    mut channel: russh::Channel<russh::client::Msg>,
) -> Result<(String, String, u32), russh::Error> {
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

pub fn path(path: &Path) -> &str {
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
    vmx.to_text()
}
