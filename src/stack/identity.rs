//! Everything secret or generated of a lab, made on the host before anything boots, so that nothing
//! is scraped from a command's output and every join can be tried again.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use crate::formats::openssh::KeyPair;
use crate::lab::{Lab, names};
use crate::stack::pki::{self, Keys, Pair, PkiError, Reach, Subject};
use crate::stack::validity::Validity;

/// The group that kubeadm binds to cluster-admin, and its user.
const ADMIN_GROUP: &str = "kubeadm:cluster-admins";
const ADMIN_USER: &str = "kubernetes-admin";
/// Bootstrap tokens are `[a-z0-9]{6}.[a-z0-9]{16}` (facts/kubernetes-cilium.md §1.3).
const TOKEN_PARTS: [usize; 2] = [6, 16];

/// A lab's keys, certificates and tokens. `Debug` shows no secret.
#[derive(Clone)]
pub struct Identity {
    /// Lets us and the lab's user log in to every guest.
    pub user: SshKey,
    /// Node name → the host key that its SSH server shows.
    pub hosts: BTreeMap<String, SshKey>,
    /// Signs the API server's and the kubelets' certificates.
    pub cluster_ca: Pair,
    pub etcd_ca: Pair,
    pub front_proxy_ca: Pair,
    /// Signs service accounts' tokens.
    pub service_account: Keys,
    /// The lab's user as a client of the API server.
    pub admin: Pair,
    /// The authority behind `https://*.<domain>`.
    pub lab_ca: Pair,
    /// What the Gateway shows for `<domain>` and `*.<domain>`.
    pub lab_server: Pair,
    /// kubeadm's bootstrap token.
    pub token: SecretString,
    ca_hash: String,
}

/// An Ed25519 key pair for SSH.
#[derive(Clone, Debug)]
pub struct SshKey {
    /// OpenSSH's PEM form.
    pub private_pem: SecretString,
    /// `ssh-ed25519 AAAA… comment`.
    pub public_line: String,
}

/// One file of the identity folder.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Without a folder.
    pub name: String,
    /// Whether only the lab's owner may read it.
    pub secret: bool,
    pub content: Vec<u8>,
}

/// A certificate of an identity that lasts no longer than a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaf {
    /// The lab's user's.
    Admin,
    /// The Gateway's.
    LabServer,
}

impl Leaf {
    /// Returns whose it is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Admin => "the user's certificate",
            Self::LabServer => "the certificate of the lab's sites",
        }
    }

    /// Returns the name of its file in the identity folder.
    fn file(self) -> &'static str {
        match self {
            Self::Admin => "admin.crt",
            Self::LabServer => "lab.crt",
        }
    }
}

/// Why a certificate is issued anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stale {
    /// It ends soon, or has not begun.
    Due(Validity),
    OtherNames,
}

/// Why stored files do not make an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the lab's identity is incomplete: {} missing", .0.join(", "))]
    Missing(Vec<String>),
    #[error("{0} is not text")]
    NotText(String),
    #[error("{0}.crt and {0}.key do not belong together")]
    Mismatch(&'static str),
    #[error("{name}: {source}")]
    Unreadable { name: &'static str, source: PkiError },
}

/// Returns how long the certificates among an identity's files are valid. One that is not there is passed over.
pub fn validities(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<(Leaf, Validity)>, PkiError> {
    let found = |leaf: Leaf| Some((leaf, files.get(leaf.file())?));
    let read = |(leaf, pem): (Leaf, &Vec<u8>)| Ok((leaf, pki::validity(&String::from_utf8_lossy(pem))?));
    [Leaf::Admin, Leaf::LabServer].into_iter().filter_map(found).map(read).collect()
}

/// Returns the name of the authority that signs for a lab's applications.
pub fn authority_name(lab: &str) -> String {
    format!("fusionlab {lab}")
}

impl Identity {
    /// Makes all of it. `random` fills SSH keys and the token; certificates' keys come from `ring`.
    pub fn generate(lab: &Lab, now_unix: u64, random: &mut dyn FnMut(&mut [u8])) -> Result<Self, PkiError> {
        let authority = |name| pki::authority(name, Reach::Anything, now_unix);
        let cluster_ca = authority("kubernetes")?;
        let lab_ca = lab_authority(lab, now_unix)?;
        let mut identity = Self {
            user: SshKey::generate(&format!("{}@{}", names::GUEST_USER, lab.name), random),
            hosts: BTreeMap::new(),
            etcd_ca: authority("etcd-ca")?,
            front_proxy_ca: authority("front-proxy-ca")?,
            service_account: pki::keys("service accounts")?,
            admin: issue_admin(&cluster_ca, now_unix)?,
            lab_server: issue_lab_server(lab, &lab_ca, now_unix)?,
            token: token(random),
            ca_hash: pki::public_key_hash(&cluster_ca.certificate)?,
            cluster_ca,
            lab_ca,
        };
        identity.complete(lab, random);
        Ok(identity)
    }

    /// Adds host keys of nodes that have none; says whether there were any.
    pub fn complete(&mut self, lab: &Lab, random: &mut dyn FnMut(&mut [u8])) -> bool {
        let before = self.hosts.len();
        for node in &lab.nodes {
            let key = || SshKey::generate(&format!("root@{}", node.name), random);
            self.hosts.entry(node.name.clone()).or_insert_with(key);
        }
        self.hosts.len() > before
    }

    /// Issues anew what expires soon or names another domain; says whether there was any. An authority that may not sign
    /// for the domain is another then, and has to be trusted anew.
    pub fn renew(&mut self, lab: &Lab, now_unix: u64) -> Result<bool, PkiError> {
        let stale = self.stale(lab, now_unix)?;
        if !pki::may_sign_for(&self.lab_ca.certificate, &lab.cluster.domain)? {
            self.lab_ca = lab_authority(lab, now_unix)?;
        }
        for (certificate, _) in &stale {
            match certificate {
                Leaf::Admin => self.admin = issue_admin(&self.cluster_ca, now_unix)?,
                Leaf::LabServer => self.lab_server = issue_lab_server(lab, &self.lab_ca, now_unix)?,
            }
        }
        Ok(!stale.is_empty())
    }

    /// Finds the certificates that [`Self::renew`] issues anew, and why.
    pub fn stale(&self, lab: &Lab, now_unix: u64) -> Result<Vec<(Leaf, Stale)>, PkiError> {
        let other_names = pki::names_of(&self.lab_server.certificate)? != server_names(lab);
        let why = |(leaf, validity): (Leaf, Validity)| match leaf {
            Leaf::LabServer if other_names => Some((leaf, Stale::OtherNames)),
            leaf => validity.is_due(now_unix).then_some((leaf, Stale::Due(validity))),
        };
        Ok(self.validities()?.into_iter().filter_map(why).collect())
    }

    /// Returns how long its certificates are valid.
    pub fn validities(&self) -> Result<[(Leaf, Validity); 2], PkiError> {
        let of = |pair: &Pair| pki::validity(&pair.certificate);
        Ok([(Leaf::Admin, of(&self.admin)?), (Leaf::LabServer, of(&self.lab_server)?)])
    }

    /// Returns the host key of a node.
    pub fn host(&self, node: &str) -> Option<&SshKey> {
        self.hosts.get(node)
    }

    /// Returns `sha256:<hex>` of the cluster CA's public key: what a joining node pins.
    pub fn ca_hash(&self) -> String {
        self.ca_hash.clone()
    }

    /// Returns a text in which every secret is replaced by its name, in each form that our files write it in:
    /// as it is, in base64, and as a JSON string.
    pub fn conceal(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for file in self.files().iter().filter(|file| file.secret) {
            let secret = String::from_utf8_lossy(&file.content);
            let json = serde_json::to_string(&secret).expect("a text is a JSON string");
            let forms =
                [STANDARD.encode(&file.content), json.trim_matches('"').to_owned(), secret.trim().to_owned()];
            for form in forms {
                text = text.replace(&form, &format!("[{}]", file.name));
            }
        }
        text
    }

    /// Returns everything as files, for the lab's identity folder.
    pub fn files(&self) -> Vec<StoredFile> {
        let mut files = Vec::new();
        ssh_files("id_ed25519", &self.user, &mut files);
        for (node, key) in &self.hosts {
            ssh_files(&host_file(node), key, &mut files);
        }
        for (name, pair) in self.pairs() {
            files.push(StoredFile::open(format!("{name}.crt"), &pair.certificate));
            files.push(StoredFile::secret(format!("{name}.key"), &pair.key));
        }
        files.push(StoredFile::open("sa.pub".to_owned(), &self.service_account.public));
        files.push(StoredFile::secret("sa.key".to_owned(), &self.service_account.private));
        files.push(StoredFile::secret("token".to_owned(), &self.token));
        files
    }

    /// Reads back what [`Self::files`] gave. A lab's node without a host key, or with half a one, is no error:
    /// [`Self::complete`] makes one.
    ///
    /// # Errors
    /// Lists every missing file; names a pair whose key is not its certificate's.
    pub fn from_files(lab: &Lab, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, IdentityError> {
        let mut reader = Reader { files, missing: Vec::new(), not_text: None };
        let user = reader.ssh("id_ed25519");
        let nodes = lab.nodes.iter().map(|node| &node.name);
        // Half a pair is what a run left that was killed as it made one: nobody has ever used it.
        let is_whole = |node: &&String| {
            files.contains_key(&host_file(node)) && files.contains_key(&public_file(&host_file(node)))
        };
        let kept = nodes.filter(is_whole);
        let hosts = kept.map(|node| (node.clone(), reader.ssh(&host_file(node)))).collect();
        let mut identity = Self {
            user,
            hosts,
            cluster_ca: reader.pair("ca"),
            etcd_ca: reader.pair("etcd-ca"),
            front_proxy_ca: reader.pair("front-proxy-ca"),
            service_account: Keys { private: reader.text("sa.key").into(), public: reader.text("sa.pub") },
            admin: reader.pair("admin"),
            lab_ca: reader.pair("lab-ca"),
            lab_server: reader.pair("lab"),
            token: reader.text("token").trim().to_owned().into(),
            ca_hash: String::new(),
        };
        reader.finish()?;
        for (name, pair) in identity.pairs() {
            let together =
                pki::belong_together(pair).map_err(|source| IdentityError::Unreadable { name, source })?;
            if !together {
                return Err(IdentityError::Mismatch(name));
            }
        }
        identity.ca_hash = pki::public_key_hash(&identity.cluster_ca.certificate)
            .map_err(|source| IdentityError::Unreadable { name: "ca", source })?;
        Ok(identity)
    }

    fn pairs(&self) -> [(&'static str, &Pair); 6] {
        [
            ("ca", &self.cluster_ca),
            ("etcd-ca", &self.etcd_ca),
            ("front-proxy-ca", &self.front_proxy_ca),
            ("admin", &self.admin),
            ("lab-ca", &self.lab_ca),
            ("lab", &self.lab_server),
        ]
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(ca {}, {} host keys)", self.ca_hash, self.hosts.len())
    }
}

impl SshKey {
    fn generate(comment: &str, random: &mut dyn FnMut(&mut [u8])) -> Self {
        let mut seed = [0; 32];
        random(&mut seed);
        let pair = KeyPair::from_seed(seed, comment);
        Self { private_pem: pair.private_pem().into(), public_line: pair.public_line() }
    }
}

impl StoredFile {
    fn open(name: String, content: &str) -> Self {
        Self { name, secret: false, content: content.as_bytes().to_vec() }
    }

    fn secret(name: String, content: &SecretString) -> Self {
        Self { name, secret: true, content: content.expose_secret().as_bytes().to_vec() }
    }
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredFile({}, {} bytes)", self.name, self.content.len())
    }
}

/// Takes texts out of files and remembers what it did not find.
struct Reader<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    missing: Vec<String>,
    not_text: Option<String>,
}

impl Reader<'_> {
    fn text(&mut self, name: &str) -> String {
        match self.files.get(name).map(|content| std::str::from_utf8(content)) {
            Some(Ok(text)) => return text.to_owned(),
            Some(Err(_)) => self.not_text = Some(name.to_owned()),
            None => self.missing.push(name.to_owned()),
        }
        String::new()
    }

    fn pair(&mut self, name: &str) -> Pair {
        let certificate = self.text(&format!("{name}.crt"));
        Pair { certificate, key: self.text(&format!("{name}.key")).into() }
    }

    fn ssh(&mut self, name: &str) -> SshKey {
        let public_line = self.text(&public_file(name)).trim().to_owned();
        SshKey { private_pem: self.text(name).into(), public_line }
    }

    fn finish(self) -> Result<(), IdentityError> {
        match self.not_text {
            Some(name) => Err(IdentityError::NotText(name)),
            None if self.missing.is_empty() => Ok(()),
            None => Err(IdentityError::Missing(self.missing)),
        }
    }
}

fn host_file(node: &str) -> String {
    format!("host-{node}")
}

fn public_file(name: &str) -> String {
    format!("{name}.pub")
}

fn ssh_files(name: &str, key: &SshKey, files: &mut Vec<StoredFile>) {
    files.push(StoredFile::secret(name.to_owned(), &key.private_pem));
    files.push(StoredFile::open(public_file(name), &format!("{}\n", key.public_line)));
}

fn issue_admin(cluster_ca: &Pair, now_unix: u64) -> Result<Pair, PkiError> {
    let subject = Subject { common_name: ADMIN_USER, organisation: Some(ADMIN_GROUP), names: &[] };
    pki::issue(cluster_ca, &subject, now_unix)
}

/// It is trusted by people's browsers, so it can do no harm beyond the lab's own domain.
fn lab_authority(lab: &Lab, now_unix: u64) -> Result<Pair, PkiError> {
    pki::authority(&authority_name(&lab.name), Reach::Domain(&lab.cluster.domain), now_unix)
}

fn issue_lab_server(lab: &Lab, lab_ca: &Pair, now_unix: u64) -> Result<Pair, PkiError> {
    let names = server_names(lab);
    pki::issue(
        lab_ca,
        &Subject { common_name: &lab.cluster.domain, organisation: None, names: &names },
        now_unix,
    )
}

fn server_names(lab: &Lab) -> Vec<String> {
    vec![format!("*.{}", lab.cluster.domain), lab.cluster.domain.clone()]
}

fn token(random: &mut dyn FnMut(&mut [u8])) -> SecretString {
    let parts = TOKEN_PARTS.map(|length| (0..length).map(|_| letter(random)).collect::<String>());
    parts.join(".").into()
}

/// Draws one of `a-z0-9`, each as likely as any other: bytes beyond the last full round are thrown away.
fn letter(random: &mut dyn FnMut(&mut [u8])) -> char {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    const FULL_ROUNDS: u8 = 7 * 36;
    loop {
        let mut byte = [0];
        random(&mut byte);
        if byte[0] < FULL_ROUNDS {
            return char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture::{self, NOW};

    fn stored(identity: &Identity) -> BTreeMap<String, Vec<u8>> {
        identity.files().into_iter().map(|file| (file.name, file.content)).collect()
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let (lab, identity) = fixture::document();
        let back = Identity::from_files(&lab, &stored(&identity)).unwrap();
        assert_eq!(back.files(), identity.files());
        assert_eq!(back.ca_hash(), identity.ca_hash());
        assert!(identity.ca_hash().starts_with("sha256:") && identity.ca_hash().len() == 7 + 64);
    }

    #[test]
    fn every_missing_file_is_named() {
        let (lab, identity) = fixture::document();
        let mut files = stored(&identity);
        files.remove("ca.key");
        files.remove("token");
        let error = Identity::from_files(&lab, &files).unwrap_err();
        assert!(matches!(&error, IdentityError::Missing(names) if names == &["ca.key", "token"]), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (lab, identity) = fixture::document();
        let mut files = stored(&identity);
        files.insert("ca.key".into(), files["etcd-ca.key"].clone());
        assert!(matches!(Identity::from_files(&lab, &files), Err(IdentityError::Mismatch("ca"))));
    }

    #[test]
    fn a_new_node_gets_a_host_key_and_the_others_keep_theirs() {
        let (lab, identity) = fixture::document();
        let mut files = stored(&identity);
        files.remove("host-k8s-worker2");
        // A run was killed between the two files of this one.
        files.remove("host-k8s-worker1.pub");
        let mut back = Identity::from_files(&lab, &files).unwrap();
        assert!(back.complete(&lab, &mut fixture::random(2)));
        assert!(!back.complete(&lab, &mut fixture::random(3)));
        assert!(back.host("k8s-worker2").is_some());
        let key = |identity: &Identity| identity.hosts["k8s-worker1"].public_line.clone();
        assert_ne!(key(&back), key(&identity), "half a pair is made anew");
        assert_eq!(back.hosts["gateway1"].public_line, identity.hosts["gateway1"].public_line);
    }

    #[test]
    fn another_domain_gets_another_certificate_and_an_authority_that_may_sign_for_it() {
        let (mut lab, mut identity) = fixture::document();
        assert!(!identity.renew(&lab, NOW).unwrap());
        lab.cluster.domain = "deep.lab.test".into();
        let authority = identity.lab_ca.certificate.clone();
        assert!(identity.renew(&lab, NOW).unwrap());
        assert_eq!(identity.lab_ca.certificate, authority, "it may sign for what lies below");
        lab.cluster.domain = "apps.test".into();
        assert!(identity.renew(&lab, NOW).unwrap());
        assert_ne!(identity.lab_ca.certificate, authority);
        assert_eq!(pki::names_of(&identity.lab_server.certificate).unwrap(), ["*.apps.test", "apps.test"]);
        let almost_a_year = NOW + 350 * 24 * 3600;
        assert!(identity.renew(&lab, almost_a_year).unwrap());
    }

    #[test]
    fn no_secret_is_shown() {
        let (_, identity) = fixture::document();
        let shown = format!("{identity:?} {:?} {:?}", identity.user, identity.files());
        let token = identity.token.expose_secret();
        assert!(!shown.contains("PRIVATE") && !shown.contains(token), "{shown}");
        let shape = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let parts: Vec<_> = token.split('.').collect();
        assert!(parts.iter().all(|part| shape(part)) && parts.iter().map(|p| p.len()).eq([6, 16]), "{token}");
    }
}
