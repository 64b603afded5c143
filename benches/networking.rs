//! How long the networking file takes to read, to write and to edit, and that it grows with the lines alone.
//!
//!     cargo bench --bench networking
//!
//! A real file has some sixty lines. The sizes here are far beyond, so that a quadratic step would be seen: at the
//! end, the time for ten times the lines is shown as a factor.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use divan::Bencher;
use fusionlab::formats::mac::Mac;
use fusionlab::formats::networking::{Document, Ours, Wish, confined, scope};

/// Lines of a file.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// The network that is wished; no line of the file is about it.
const VMNET: u8 = 5;
/// What reading and writing a file of 10,000 lines may take.
const LIMIT: Duration = Duration::from_millis(10);
/// Each figure of the closing table is the best of so many.
const ROUNDS: usize = 7;

fn main() {
    divan::main();
    growth();
}

/// A file with a line of each kind, in about the proportions of a busy Mac.
fn file(lines: usize) -> Vec<u8> {
    let mut text = "VERSION=1,0\n".to_owned();
    for at in 1..lines {
        let vmnet = 9 + at / 50 % 240;
        let (high, low) = (at >> 8 & 0xff, at & 0xff);
        text += &match at % 10 {
            0 => format!("answer VNET_{vmnet}_HOSTONLY_SUBNET 172.16.{vmnet}.0\n"),
            1 => format!("answer VNET_{vmnet}_HOSTONLY_NETMASK 255.255.255.0\n"),
            2 => format!("answer VNET_{vmnet}_DHCP yes\n"),
            3 => format!("answer VNET_{vmnet}_DHCP_CFG_HASH {at:040X}\n"),
            4 => format!(
                "add_nat_portfwd {vmnet} tcp {} 172.16.{vmnet}.4 22 vagrant: /Users/me/box {at}\n",
                at % 60_000
            ),
            5 => format!("# number {at}, by hand\n"),
            6 => format!("answer VNET_{vmnet}_DISPLAY_NAME lab-{at} # mine\n"),
            _ => format!(
                "add_dhcp_mac_to_ip {vmnet} 00:50:56:{:02X}:{high:02X}:{low:02X} 172.16.{vmnet}.{}\n",
                at >> 16,
                3 + at % 250
            ),
        };
    }
    text.into_bytes()
}

fn document(lines: usize) -> Document {
    Document::parse(&file(lines)).expect("the file is one that we read")
}

/// A wish with a hundred reservations.
fn wish() -> Wish {
    let reservations =
        (3..103).map(|host| (Mac::new([0, 0x50, 0x56, 0x3f, 0, host]), Ipv4Addr::new(10, 10, 0, host)));
    Wish {
        vmnet: VMNET,
        subnet: "10.10.0.0/24".parse().expect("a subnet"),
        reservations: reservations.collect(),
    }
}

fn ensured(document: &Document) -> Document {
    document.ensure(&wish(), Ours::default()).expect("nothing is in the way")
}

#[divan::bench(args = SIZES)]
fn parse(bencher: Bencher<'_, '_>, lines: usize) {
    let file = file(lines);
    bencher.bench(|| Document::parse(black_box(&file)));
}

#[divan::bench(args = SIZES)]
fn render(bencher: Bencher<'_, '_>, lines: usize) {
    let document = document(lines);
    bencher.bench(|| black_box(&document).render());
}

/// What `network show` asks of a file that is read.
#[divan::bench(args = SIZES)]
fn model(bencher: Bencher<'_, '_>, lines: usize) {
    let document = document(lines);
    bencher.bench(|| {
        let model = black_box(&document).model();
        let vmnets = model.vmnets();
        vmnets.iter().map(|vmnet| model.reservations(vmnet.number).len()).sum::<usize>()
    });
}

#[divan::bench(args = SIZES)]
fn ensure(bencher: Bencher<'_, '_>, lines: usize) {
    let document = document(lines);
    bencher.bench(|| ensured(black_box(&document)));
}

#[divan::bench(args = SIZES)]
fn classify(bencher: Bencher<'_, '_>, lines: usize) {
    let before = file(lines);
    let after = ensured(&document(lines)).render();
    bencher.bench(|| scope(black_box(&before), black_box(&after), VMNET));
}

#[divan::bench(args = [SIZES[0], SIZES[1]])]
fn judge(bencher: Bencher<'_, '_>, lines: usize) {
    let before = file(lines);
    let after = ensured(&document(lines)).render();
    bencher.bench(|| confined(Some(black_box(&before)), black_box(&after), VMNET));
}

/// Prints the time for 10,000 and for 100,000 lines, and the factor between them: about ten if it is linear.
fn growth() {
    let [_, small, large] = SIZES;
    println!("\n{:<16} {small:>10} lines {large:>10} lines    factor", "best of several");
    let report = |name: &str, run: &dyn Fn(usize) -> Duration| {
        let (one, ten) = (run(small), run(large));
        let factor = ten.as_secs_f64() / one.as_secs_f64();
        println!("{name:<16} {one:>16.2?} {ten:>16.2?} {factor:>9.1}");
        one
    };
    let round_trip = report("parse + render", &|lines| {
        let file = file(lines);
        best(|| Document::parse(&file).expect("the file is one that we read").render())
    });
    report("ensure", &|lines| {
        let document = document(lines);
        best(|| ensured(&document))
    });
    report("scope", &|lines| {
        let (before, after) = (file(lines), ensured(&document(lines)).render());
        best(|| scope(&before, &after, VMNET))
    });
    let verdict = if round_trip < LIMIT { "within" } else { "OVER" };
    println!("parse + render of {small} lines: {round_trip:.2?}, {verdict} the {LIMIT:?} that we allow");
}

fn best<T>(run: impl Fn() -> T) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        black_box(run());
        start.elapsed()
    });
    rounds.min().unwrap_or_default()
}
