//! A connection to a guest, carried between our own standard input and output: what ssh calls a ProxyCommand.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4};
use std::time::Duration;

use super::dial::Dial;
use super::{HostError, Result};

const PIECE: usize = 64 * 1024;

/// Carries bytes both ways until the guest has said all.
pub fn carry(dial: Dial, address: SocketAddrV4, limit: Duration) -> Result<()> {
    let failed = |source| HostError::Connect { address: address.into(), source };
    let mut guest = dial.connect_blocking(address, limit)?;
    let mut to_guest = guest.try_clone().map_err(failed)?;
    let up = move || {
        // Whichever end breaks, the other one sees it.
        let _ = io::copy(&mut io::stdin().lock(), &mut to_guest);
        let _ = to_guest.shutdown(Shutdown::Write);
    };
    std::thread::Builder::new().name("up".to_owned()).spawn(up).map_err(failed)?;
    let (mut out, mut piece) = (io::stdout().lock(), vec![0; PIECE]);
    loop {
        let count = match guest.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        // ssh that has left takes nothing any more, and nothing is lost by that.
        if out.write_all(&piece[..count]).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
}
