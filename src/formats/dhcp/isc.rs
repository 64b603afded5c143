//! What a `dhcpd.conf` says, whoever wrote it: ISC's configuration language, as leniently as its own server reads it.
//!
//! `#` begins a comment anywhere outside quotes; `;` ends a statement and `{` opens a group; groups nest; a text that
//! ends within a statement or a group is read as far as it goes.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::formats::mac::Mac;

/// A `host` block with a fixed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub mac: Mac,
    pub address: Ipv4Addr,
}

/// A `subnet` block: where the server answers, and which addresses it gives to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Host bits cleared.
    pub net: Ipv4Net,
    /// The first and last address of each `range`; of a range with one address both are the same.
    pub pools: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// Returns the `host` blocks of a `dhcpd.conf` that fix an address, wherever they stand. Of several fixed addresses
/// the first counts; a value that is no address or MAC makes its block count for nothing.
pub fn hosts(text: &str) -> Vec<Host> {
    let host = |group: Group| -> Option<Host> {
        let [keyword, name] = &group.head[..] else { return None };
        let mac = group.values(&["hardware", "ethernet"]).next_back()?.first()?.parse().ok()?;
        let address = group.values(&["fixed-address"]).next_back()?.first()?;
        let address = address.trim_end_matches(',').parse().ok()?;
        (keyword == "host").then(|| Host { name: name.trim_matches('"').to_owned(), mac, address })
    };
    groups(text).into_iter().filter_map(host).collect()
}

/// Returns the `subnet` blocks of a `dhcpd.conf`, wherever they stand.
pub fn subnets(text: &str) -> Vec<Subnet> {
    let subnet = |group: Group| -> Option<Subnet> {
        let [keyword, address, netmask, mask] = &group.head[..] else { return None };
        if keyword != "subnet" || netmask != "netmask" {
            return None;
        }
        let net = Ipv4Net::with_netmask(address.parse().ok()?, mask.parse().ok()?).ok()?.trunc();
        let pools = group.values(&["range"]).filter_map(|ends| {
            // The flag is for clients of BOOTP, DHCP's predecessor.
            let ends = ends.strip_prefix(&["dynamic-bootp".to_owned()]).unwrap_or(ends);
            let first = ends.first()?.parse().ok()?;
            Some((first, ends.get(1).map_or(Some(first), |last| last.parse().ok())?))
        });
        Some(Subnet { net, pools: pools.collect() })
    };
    groups(text).into_iter().filter_map(subnet).collect()
}

/// A group with what stands before its brace, and the statements directly in it.
struct Group {
    head: Vec<String>,
    statements: Vec<Vec<String>>,
}

impl Group {
    /// Returns what follows this beginning in each statement that has it.
    fn values<'a>(&'a self, beginning: &'a [&str]) -> impl DoubleEndedIterator<Item = &'a [String]> {
        self.statements.iter().filter_map(move |statement| {
            let (head, value) = statement.split_at_checked(beginning.len())?;
            head.iter().eq(beginning.iter()).then_some(value)
        })
    }
}

/// Returns every group, in the order of their braces. Statements of an inner group are not the outer one's.
fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for piece in pieces(text) {
        let statement = words(&piece.text);
        if piece.end == End::Open {
            open.push(groups.len());
            groups.push(Group { head: statement, statements: Vec::new() });
            continue;
        }
        if let Some(&group) = open.last().filter(|_| !statement.is_empty()) {
            groups[group].statements.push(statement);
        }
        if piece.end == End::Close {
            open.pop();
        }
    }
    groups
}

/// What ends a piece of a text in ISC's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// `;`
    Statement,
    /// `{`
    Open,
    /// `}`
    Close,
    OfText,
}

/// What stands between two of `;`, `{` and `}`, without comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) end: End,
}

/// Splits a text in ISC's language. Within quotes nothing has a meaning but a backslash, which takes the next
/// character's; a comment goes from `#` to the end of the line.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let end = match char {
            '"' => {
                piece.push(char);
                while let Some(quoted) = chars.next() {
                    piece.push(quoted);
                    match quoted {
                        '"' => break,
                        '\\' => piece.extend(chars.next()),
                        _ => {}
                    }
                }
                continue;
            }
            '#' => {
                while chars.next_if(|char| !matches!(char, '\n' | '\r')).is_some() {}
                continue;
            }
            ';' => End::Statement,
            '{' => End::Open,
            '}' => End::Close,
            _ => {
                piece.push(char);
                continue;
            }
        };
        pieces.push(Piece { text: std::mem::take(&mut piece), end });
    }
    pieces.push(Piece { text: piece, end: End::OfText });
    pieces
}

/// Splits a piece into its words; a quoted string is one, with its quotes.
pub(super) fn words(piece: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    let mut escaped = false;
    for char in piece.chars() {
        let is_quote = char == '"' && !escaped;
        quoted ^= is_quote;
        escaped = quoted && char == '\\' && !escaped;
        match words.last_mut() {
            Some(word) if quoted || is_quote || !char.is_whitespace() => word.push(char),
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_found_whatever_the_layout() {
        let text = "group { host \"a\" {hardware ethernet 00:0c:29:00:00:01;# c } host\nfixed-address 10.0.0.1} }\
                    \noption domain-name \"host x { \";host b{fixed-address 10.0.0.2, 10.0.0.3; }host c {hardware ethernet 00:0c:29:00:00:02; fixed-address\r\n10.0.0.4";
        let found: Vec<_> =
            hosts(text).into_iter().map(|host| (host.name, host.address.octets()[3])).collect();
        assert_eq!(found, [("a".to_owned(), 1), ("c".to_owned(), 4)]);
    }

    proptest! {
        #[test]
        fn any_text_can_be_searched(text in "(host|a|[{};#\"\n ]|hardware ethernet 0:0:0:0:0:1|\\PC){0,30}") {
            hosts(&text);
        }
    }

    #[test]
    fn subnets_tell_which_addresses_anybody_may_get() {
        let text = "shared-network x { subnet 10.10.0.9 netmask 255.255.255.0 { # lab\n\trange 10.10.0.128 10.10.0.254;\n\
                    pool { range 10.10.0.7; } range dynamic-bootp 10.10.0.100;\n} }\nsubnet 1.2.3 netmask 255.0.0.0 { }\n\
                    subnet 192.168.1.0 netmask 255.255.255.128 { range 192.168.1.64";
        let found = subnets(text);
        let at = |net: [u8; 3], last| Ipv4Addr::new(net[0], net[1], net[2], last);
        let lab = [10, 10, 0];
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].net, "10.10.0.0/24".parse().unwrap());
        assert_eq!(found[0].pools, [(at(lab, 128), at(lab, 254)), (at(lab, 100), at(lab, 100))]);
        assert_eq!(found[1].pools, [(at([192, 168, 1], 64), at([192, 168, 1], 64))]);
    }
}
