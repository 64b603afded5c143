//! A folder laid out like a Mac with Fusion, whose programs are small shell programs that write down their argv.
//!
//! For tests of what fusionlab says to Fusion, and of what it makes of odd answers. Tests that need a Fusion that
//! works take the simulated one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Fusion's programs that are there from the start: they say nothing and succeed, but for `vmrun list`.
const PROGRAMS: &[&str] = &["vmnet-cfgcli", "vmnet-cli", "vmrest", "vmrun", "vmware-vdiskmanager"];

/// As Fusion leaves it after its first start (facts/fusion-networking.md §1.3).
const NETWORKING: &str = "\
VERSION=1,0
answer VNET_1_DHCP yes
answer VNET_1_HOSTONLY_NETMASK 255.255.255.0
answer VNET_1_HOSTONLY_SUBNET 172.16.217.0
answer VNET_1_VIRTUAL_ADAPTER yes
answer VNET_8_DHCP yes
answer VNET_8_HOSTONLY_NETMASK 255.255.255.0
answer VNET_8_HOSTONLY_SUBNET 192.168.217.0
answer VNET_8_NAT yes
answer VNET_8_VIRTUAL_ADAPTER yes
";

/// Writes one record to the log in one go: each argument after `=`, each ended by a zero byte, and a last lone zero.
const RECORDER: &str = r#"#!/bin/sh
set -u
log='LOG'
record=$(mktemp "$log.XXXXXX")
{
    for argument in NAME "$@"; do
        printf '=%s\0' "$argument"
    done
    printf '\0'
} >"$record"
cat "$record" >>"$log"
rm -f "$record"
"#;

/// What `system_profiler` tells of a Mac with one cable to its home network.
const HOME_NETWORK: &str = r#"#!/bin/sh
cat <<'END'
<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0">
<array>
    <dict>
        <key>_items</key>
        <array>
            <dict>
                <key>_name</key><string>Ethernet</string>
                <key>hardware</key><string>Ethernet</string>
                <key>interface</key><string>en0</string>
                <key>IPv4</key>
                <dict>
                    <key>Addresses</key><array><string>ADDRESS</string></array>
                    <key>Router</key><string>ROUTER</string>
                    <key>SubnetMasks</key><array><string>255.255.255.0</string></array>
                </dict>
                <key>type</key><string>Ethernet</string>
            </dict>
        </array>
    </dict>
</array>
</plist>
END
"#;

/// A Mac of files. Its folder goes with it.
pub struct FakeFusion {
    folder: TempDir,
}

impl FakeFusion {
    /// Makes a Fusion of this version, such as `13.6.3`.
    pub fn new(version: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("fl-").tempdir_in("/tmp").expect("/tmp takes a folder");
        let fusion = Self { folder };
        fusion.write("Applications/VMware Fusion.app/Contents/Info.plist", &info_plist(version));
        fusion.write("Library/Preferences/VMware Fusion/networking", NETWORKING);
        for folder in ["Virtual Machines.localized", "var/db/vmware", "var/run"] {
            fs::create_dir_all(fusion.root().join(folder)).expect("a new folder takes another");
        }
        let fusion = fusion.in_lan("192.168.68");
        PROGRAMS.iter().fold(fusion, |fusion, name| match *name {
            "vmrun" => {
                fusion.program(name, r#"case " $* " in *" list "*) echo "Total running VMs: 0" ;; esac"#)
            }
            _ => fusion.program(name, ""),
        })
    }

    /// Gives a program another body: POSIX shell that runs after the arguments were written down, with `$@` as given
    /// and the Mac's root as `$root`.
    pub fn program(self, name: &str, body: &str) -> Self {
        let log = self.log();
        let recorder = RECORDER.replace("LOG", &log.to_string_lossy()).replace("NAME", name);
        let root = self.root().display();
        let text = self.write(&format!("{name}.text"), &format!("{recorder}root='{root}'\n{body}\n"));
        self.install(&text, &format!("Applications/VMware Fusion.app/Contents/Library/{name}"));
        self
    }

    /// Puts the Mac into another home network, by the first three numbers of its addresses.
    pub fn in_lan(self, network: &str) -> Self {
        let text = HOME_NETWORK.replace("ADDRESS", &format!("{network}.20"));
        let text = self.write("profiler.text", &text.replace("ROUTER", &format!("{network}.1")));
        self.install(&text, "usr/sbin/system_profiler");
        self
    }

    /// Makes a program of a text. Another program writes it: what this process, or a child started just then, has open for
    /// writing cannot be run.
    fn install(&self, text: &Path, name: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("the folder can be made");
        let installed = Command::new("install").args(["-m", "755"]).arg(text).arg(&path).status();
        assert!(installed.expect("install runs").success());
        fs::remove_file(text).expect("the file is ours");
    }

    /// The folder that stands for `/`: what `--fusion` takes.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn networking(&self) -> PathBuf {
        self.root().join("Library/Preferences/VMware Fusion/networking")
    }

    /// Returns every call so far in the order in which the programs began: the program's name, then its arguments.
    pub fn calls(&self) -> Vec<Vec<String>> {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8(log).expect("arguments are text");
        let mut calls = vec![Vec::new()];
        for field in log.split_terminator('\0') {
            match field.strip_prefix('=') {
                Some(argument) => calls.last_mut().expect("never empty").push(argument.to_owned()),
                None => calls.push(Vec::new()),
            }
        }
        calls.pop();
        calls
    }

    fn log(&self) -> PathBuf {
        self.root().join("var/calls")
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .expect("a new folder takes another");
        fs::write(&path, content).expect("the file can be written");
        path
    }
}

fn info_plist(version: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
    <key>CFBundleIdentifier</key>
    <string>com.vmware.fusion</string>
    <key>CFBundleShortVersionString</key>
    <string>{version}</string>
    <key>CFBundleVersion</key>
    <string>24585314</string>
</dict>
</plist>
"#
    )
}

mod tests {
    use std::process::Command;

    use super::*;

    fn call(fusion: &FakeFusion, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let program = fusion.root().join("Applications/VMware Fusion.app/Contents/Library").join(name);
        let output = Command::new(program).args(arguments).output().expect("the program is there");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn it_is_laid_out_as_the_product_expects_a_mac() {
        let fake = FakeFusion::new("13.6.3");
        let app = fake.root().join("Applications/VMware Fusion.app");
        let info: plist::Dictionary =
            plist::from_file(app.join("Contents/Info.plist")).expect("it is a plist");
        let version = |key: &str| info[key].as_string().expect("it is text").to_owned();
        let fusion = fusionlab::host::fusion::Fusion {
            root: fake.root().to_owned(),
            app,
            version: version("CFBundleShortVersionString"),
            build: version("CFBundleVersion"),
            simulated: false,
            guests: String::new(),
            library: fake.root().join("Virtual Machines.localized"),
        };
        assert_eq!(fusion.version, "13.6.3");
        assert!(fusion.program("vmrun").is_file() && fusion.library.is_dir());
        assert_eq!(fusion.networking(), fake.networking());
        assert!(fusion.networking().is_file());
    }

    #[test]
    fn every_argument_is_written_down_as_it_was_given() {
        let fusion = FakeFusion::new("13.6.3").program("vmnet-cli", "echo \"$root\"\nexit 3");
        assert_eq!(fusion.calls(), Vec::<Vec<String>>::new());
        assert_eq!(
            call(&fusion, "vmrun", &["-T", "fusion", "list"]),
            (Some(0), "Total running VMs: 0\n".into())
        );
        let odd = ["start", "/a b/c.vmx", "", "two\nlines", "$HOME 'x' \"y\" \\z", "="];
        assert_eq!(call(&fusion, "vmrun", &odd), (Some(0), String::new()));
        assert_eq!(
            call(&fusion, "vmnet-cli", &["--status"]),
            (Some(3), format!("{}\n", fusion.root().display()))
        );
        let program = |name: &'static str, arguments: &[&'static str]| [&[name], arguments].concat();
        assert_eq!(
            fusion.calls(),
            [
                program("vmrun", &["-T", "fusion", "list"]),
                program("vmrun", &odd),
                program("vmnet-cli", &["--status"])
            ]
        );
    }
}
