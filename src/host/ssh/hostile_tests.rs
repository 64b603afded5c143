//! The shell against servers that are none: each is given up at its limit, and takes nothing with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::tests::lab_at;
use crate::formats::command::Command;
use crate::host::HostError;

/// What a connection may take here, and a command.
const CONNECT: Duration = Duration::from_millis(400);
const LIMIT: Duration = Duration::from_millis(200);
const BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.6\r\n";

/// What a server says once it is connected to, and then again for ever.
#[derive(Clone, Copy)]
struct Script {
    first: &'static [u8],
    again: &'static [u8],
    closes: bool,
}

const SILENT: Script = Script { first: b"", again: b"", closes: false };

async fn serve(script: Script, connections: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            let open = Arc::clone(&connections);
            tokio::spawn(async move {
                play(script, stream).await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    address
}

/// Says its lines until nobody listens any more.
async fn play(script: Script, stream: TcpStream) {
    let (mut from, mut to) = stream.into_split();
    let listen = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while matches!(from.read(&mut buffer).await, Ok(1..)) {}
    });
    let _ = to.write_all(script.first).await;
    if script.closes {
        let _ = to.shutdown().await;
    }
    while !script.again.is_empty() && to.write_all(script.again).await.is_ok() {}
    let _ = listen.await;
}

/// Runs a command there, and waits until the connection is let go of.
async fn told_by(script: Script) -> HostError {
    let open = Arc::new(AtomicUsize::new(0));
    let backend = serve(script, Arc::clone(&open)).await;
    let lab = lab_at(backend, Arc::default(), CONNECT).await;
    let error = lab.run(Command::new(["cat"]), LIMIT).await.unwrap_err();
    while open.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_none_is_given_up_and_its_connection_is_closed() {
    let scripts = [
        ("silence", SILENT),
        ("half a greeting", Script { first: b"SS", ..SILENT }),
        ("silence after its banner", Script { first: BANNER, ..SILENT }),
        ("a closed half", Script { first: BANNER, closes: true, ..SILENT }),
        (
            "a banner without an end",
            Script { again: b"SSH-2.0-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", ..SILENT },
        ),
        ("lines without end before its banner", Script { again: b"welcome\r\n", ..SILENT }),
        ("an absurd length", Script { first: b"SSH-2.0-x\r\n\xff\xff\xff\xff\x00\x14", ..SILENT }),
        ("a length of nothing", Script { first: b"SSH-2.0-x\r\n\x00\x00\x00\x00\x00\x00", ..SILENT }),
        // A packet of type 2, which is to be ignored, again and again.
        (
            "nothing but noise",
            Script { first: BANNER, again: b"\0\0\0\x0c\x06\x02\0\0\0\0\0\0\0\0\0\0", closes: false },
        ),
        ("zeros", Script { again: &[0; 65_536], ..SILENT }),
        (
            "random bytes",
            Script { first: b"SSH-2.0-x\r\n", again: b"\x93\x1c\x7f\xa0\x5e\x11\xd8\x42", closes: false },
        ),
    ];
    for (name, script) in scripts {
        let error = told_by(script).await;
        assert!(matches!(error, HostError::Ssh { .. }), "{name}: {error:?}");
    }
}
