//! The way out of a sandbox that has no network: a listener on its own loopback, joined to the bot's proxy.
//!
//! The sandbox shows the proxy's Unix socket to the server. Programs cannot be told to speak HTTP to a Unix
//! socket, so a small process of ours ([`relay_main`]) listens for them on loopback, which is the sandbox's own: its
//! network namespace has nothing else in it. It judges nothing; the proxy at the other end does. It ends with the process
//! that started it (the server itself, once `confined` has become it), and with the pid namespace in any case.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;

/// As many as the proxy serves for one server; more wait here.
pub(super) const CONNECTIONS: usize = 64;

/// After an error of the system that may pass, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What tells programs of the proxy. Both spellings, since each program knows its own. Node is told by what it loads first,
/// the same for each of its versions.
pub(super) fn variables(listens: &str) -> impl Iterator<Item = (String, String)> {
    let url = format!("http://{listens}");
    let own = "localhost,127.0.0.1,::1".to_owned();
    [
        ("HTTP_PROXY", url.clone()),
        ("HTTPS_PROXY", url.clone()),
        ("ALL_PROXY", url),
        ("NO_PROXY", own),
    ]
    .into_iter()
    .flat_map(|(name, value)| {
        [
            (name.to_owned(), value.clone()),
            (name.to_ascii_lowercase(), value),
        ]
    })
}

/// The relay itself: listens, says so in a line, and joins each connection to the proxy's socket. Returns when that fails.
pub fn relay_main(listen: SocketAddr, socket: &Path) -> ExitCode {
    // It has nothing of its own to end in peace.
    let served = set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Into::into)
        .and_then(|()| std::net::TcpListener::bind(listen))
        .and_then(|listener| {
            writeln!(io::stdout(), "listening")?;
            serve(listener, socket)
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(listener: std::net::TcpListener, socket: &Path) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // One thread: a server's processes are counted, and this is one of them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let socket: Arc<Path> = Arc::from(socket);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return Ok(());
            };
            let Ok((client, _)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let socket = Arc::clone(&socket);
            tokio::spawn(async move {
                join(client, &socket).await;
                drop(place);
            });
        }
    })
}

/// A connection that cannot be joined is closed, which the client tells in its own words.
pub(super) async fn join(mut client: TcpStream, socket: &Path) {
    if let Ok(mut proxy) = UnixStream::connect(socket).await {
        let _ = client.set_nodelay(true);
        let _ = tokio::io::copy_bidirectional(&mut client, &mut proxy).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn what_is_said_on_loopback_arrives_at_the_socket_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("proxy.sock");
        let proxy = UnixListener::bind(&socket).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Its thread ends with the test's process.
        std::thread::spawn(move || serve(listener, &socket));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"CONNECT").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut joined, _) = proxy.accept().await.unwrap();
        let mut heard = String::new();
        joined.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "CONNECT");
        joined.write_all(b"200").await.unwrap();
        drop(joined);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "200");
    }
}
