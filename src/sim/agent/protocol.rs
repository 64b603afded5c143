//! What a stand-in and the world say to each other: JSON frames, each after its length as a big-endian u32.
//!
//! ```text
//! stand-in                              world
//! Hello ─────────────────────────────▶
//!        ◀───────────────────────────── Accepted | Refused        a port's connection: then its bytes, as they are
//!        ◀───────────────────────────── Out, Err, Ready, Spawn    done, not answered
//!        ◀───────────────────────────── Ask {id, …}
//! Reply {id, …} ─────────────────────▶
//!        ◀───────────────────────────── Exit                      the end
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::sim::guest::state::File;

/// The version that both ends must have: they are one binary, but an image or a running world may be older.
pub const VERSION: u32 = 1;

/// A frame longer than this is refused.
const LONGEST: usize = 64 * 1024 * 1024;

/// Folders whose files the model reads, wholly.
pub const TREES: &[&str] = &[
    "/etc/kubernetes",
    "/etc/cni/net.d",
    "/etc/containerd",
    "/etc/fusionlab",
    "/etc/modules-load.d",
    "/etc/sysctl.d",
    "/opt/fusionlab/charts",
    "/opt/fusionlab/gateway-api",
    "/var/lib/kubelet",
];

/// Single files that the model reads.
pub const FILES: &[&str] = &[
    "/etc/crictl.yaml",
    "/etc/fstab",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/machine-id",
    "/etc/os-release",
    ETCD,
    IMAGES,
];

/// Where a member's etcd data stands.
pub const ETCD: &str = "/var/lib/etcd/member/snap/db";
/// What goes when a member's data goes.
pub const ETCD_FOLDER: &str = "/var/lib/etcd/member";
/// Where the names of containerd's images stand.
pub const IMAGES: &str = "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db";

/// What a stand-in says first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    pub role: Role,
    /// The program's name.
    pub program: String,
    pub args: Vec<String>,
    /// Whether it runs as root, and so may touch everything.
    pub root: bool,
    /// What the program read from its standard input.
    #[serde(with = "bytes")]
    pub input: Vec<u8>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// One command, from its start to its exit status.
    Tool,
    Kubelet,
    Containerd,
    /// The pods' processes: they hold the ports of the control plane and of Cilium's proxies.
    Shim,
    /// A connection that arrived in the guest.
    Port {
        to: SocketAddrV4,
    },
}

/// What the world says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToGuest {
    Accepted,
    Refused,
    Out(#[serde(with = "bytes")] Vec<u8>),
    Err(#[serde(with = "bytes")] Vec<u8>),
    /// The unit has started: systemd is to be told.
    Ready,
    /// Starts one of the other stand-ins, which outlives this one.
    Spawn(String),
    Ask {
        id: u64,
        ask: Ask,
    },
    Exit(i32),
}

/// What the world wants done, and an answer to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Look at the machine: what the model reads, and these paths. Files whose digest is known need no content.
    Observe { paths: Vec<String>, known: BTreeMap<String, String> },
    /// Change files, in this order.
    Apply(Vec<Effect>),
    /// Run a program to its end.
    Run(Vec<String>),
    /// Listen on exactly these addresses from now on.
    Listen(BTreeSet<SocketAddrV4>),
}

/// What a stand-in answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToWorld {
    pub id: u64,
    pub reply: Reply,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    Seen(Box<Observation>),
    Done,
    /// The program's exit status and all that it said.
    Ran(i32, String),
    /// The addresses that could not be had, each with why.
    Listening(BTreeMap<SocketAddrV4, String>),
    Failed(String),
}

/// One change of a guest's files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Writes a file whole, with the folders above it. A `durable` one is on the disk when that is answered.
    Write { path: String, file: File, durable: bool },
    /// Removes a file, or a folder with all that is in it.
    Remove { path: String },
}

/// What a machine is now, as far as the model looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub hostname: String,
    pub boot_id: String,
    pub files: BTreeMap<String, Seen>,
    /// Debian package → version as the model writes it; and helm, which is no package.
    pub packages: BTreeMap<String, String>,
    pub interfaces: Vec<Interface>,
    /// TCP ports that somebody listens on.
    pub listening: BTreeSet<u16>,
    pub sysctl: BTreeMap<String, String>,
    pub modules: BTreeSet<String>,
}

/// One file as it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// Its digest is the one that was named.
    Same,
    File(File),
}

/// One network interface with its IPv4 addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    pub addresses: Vec<(Ipv4Addr, u8)>,
    pub router: Option<Ipv4Addr>,
}

/// Returns the digest by which a file's content, mode and owner are known.
pub fn digest(file: &File) -> String {
    use sha2::{Digest, Sha256};
    let mut hasher = Sha256::new();
    hasher.update(file.mode.to_be_bytes());
    hasher.update(file.content.as_slice());
    hex::encode(&hasher.finalize()[..16])
}

/// Writes one frame.
pub async fn write<W: AsyncWrite + Unpin, T: Serialize>(to: &mut W, frame: &T) -> io::Result<()> {
    let body = serde_json::to_vec(frame)?;
    let length = u32::try_from(body.len()).map_err(|_| too_long(body.len()))?;
    let mut whole = Vec::with_capacity(4 + body.len());
    whole.extend(length.to_be_bytes());
    whole.extend(body);
    to.write_all(&whole).await?;
    to.flush().await
}

/// Reads one frame, and not a byte more.
pub async fn read<R: AsyncRead + Unpin, T: DeserializeOwned>(from: &mut R) -> io::Result<T> {
    let length = from.read_u32().await? as usize;
    if length > LONGEST {
        return Err(too_long(length));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

fn too_long(length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes is longer than {LONGEST}"))
}

/// Bytes in JSON, as base64.
mod bytes {
    use super::*;

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_one_by_one() {
        let hello = Hello {
            version: VERSION,
            role: Role::Port { to: "10.10.0.131:6443".parse().unwrap() },
            program: "kubeadm".into(),
            args: vec!["init".into()],
            root: true,
            input: vec![0, 0xff],
        };
        let mut stream = Vec::new();
        write(&mut stream, &hello).await.unwrap();
        let addresses = BTreeSet::from(["0.0.0.0:6443".parse().unwrap()]);
        write(&mut stream, &ToGuest::Ask { id: 7, ask: Ask::Listen(addresses) }).await.unwrap();
        stream.extend(b"raw");
        let mut rest = stream.as_slice();
        assert_eq!(read::<_, Hello>(&mut rest).await.unwrap(), hello);
        assert!(matches!(read(&mut rest).await.unwrap(), ToGuest::Ask { id: 7, ask: Ask::Listen(_) }));
        assert_eq!(rest, b"raw");
        let failed = BTreeMap::from([("127.0.0.1:1".parse().unwrap(), "in use".to_owned())]);
        let mut stream = Vec::new();
        write(&mut stream, &ToWorld { id: 1, reply: Reply::Listening(failed.clone()) }).await.unwrap();
        let back: ToWorld = read(&mut stream.as_slice()).await.unwrap();
        assert_eq!(back.reply, Reply::Listening(failed));
    }

    #[tokio::test]
    async fn a_length_without_end_is_refused() {
        let error = read::<_, Hello>(&mut &[0xff, 0xff, 0xff, 0xff, 0][..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
