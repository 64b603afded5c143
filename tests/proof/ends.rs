//! What makes the checks of certificates' ends fail: one in a guest, and one on this machine, that end soon.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fusionlab::stack::pki::{self, Pair, Subject};
use secrecy::ExposeSecret;

use super::causes::Cause;

/// Issued so long ago, a certificate of a year ends in twenty days.
const AGO: Duration = Duration::from_secs(345 * 24 * 3600);
const NODE: &str = "k8s-master2";
const CERTIFICATE: &str = "/etc/kubernetes/pki/front-proxy-client.crt";
const OF_THE_USER: [&str; 2] = ["admin.crt", "admin.key"];

pub const CAUSES: &[Cause] = &[
    Cause {
        what: "a certificate of a control plane ends in twenty days",
        must: &["certificates.cluster"],
        may: &[],
        bring: |bench| {
            let before = bench.guest(NODE, &format!("cat {CERTIFICATE}"));
            bench.put(NODE, &format!("{CERTIFICATE}.kept"), "0644", &before);
            let pair = issue(&bench.identity.front_proxy_ca, "front-proxy-client", None);
            bench.put(NODE, CERTIFICATE, "0644", &pair.certificate);
        },
        mend: |bench| drop(bench.guest(NODE, &format!("mv -f {CERTIFICATE}.kept {CERTIFICATE}"))),
    },
    Cause {
        what: "the user's certificate ends in twenty days",
        must: &["certificates.lab"],
        may: &[],
        bring: |bench| {
            let ca = &bench.identity.cluster_ca;
            let pair = issue(ca, "kubernetes-admin", Some("kubeadm:cluster-admins"));
            for (name, content) in OF_THE_USER.iter().zip([&*pair.certificate, pair.key.expose_secret()]) {
                let path = bench.identity_file(name);
                fs::copy(&path, bench.identity_file(&format!("{name}.kept"))).expect("it can be copied");
                fs::write(path, content).expect("it can be written");
            }
        },
        mend: |bench| {
            for name in OF_THE_USER {
                let kept = bench.identity_file(&format!("{name}.kept"));
                fs::rename(kept, bench.identity_file(name)).expect("it was kept");
            }
        },
    },
];

fn issue(authority: &Pair, name: &str, organisation: Option<&str>) -> Pair {
    let then = SystemTime::now() - AGO;
    let then = then.duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    pki::issue(authority, &Subject { common_name: name, organisation, names: &[] }, then)
        .expect("a certificate")
}
