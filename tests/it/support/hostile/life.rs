//! The port, and one life of the server at it: a thread with a runtime of its own, so that its end breaks every connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::{State, http};

/// A port that nobody else gets while the server is dead.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    /// Bound and not listening: connections are refused.
    _held: TcpSocket,
}

pub(super) struct Life {
    end: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Port {
    pub(super) fn take(ip: IpAddr) -> Self {
        static ROOM: Once = Once::new();
        ROOM.call_once(room_for_many);
        let held = bound(SocketAddr::new(ip, 0));
        Self {
            address: held.local_addr().unwrap(),
            _held: held,
        }
    }
}

impl Life {
    pub(super) async fn begin(port: &Port, state: Arc<State>) -> Self {
        let address = port.address;
        let (end, asked) = oneshot::channel::<()>();
        let (told, ended) = oneshot::channel();
        let (listening, listens) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = Counting {
                    listener: bound(address).listen(128).unwrap(),
                    state: state.clone(),
                };
                listening.send(()).unwrap();
                let serving = axum::serve(listener, http::router(state));
                tokio::select! {
                    _ = serving.into_future() => {}
                    // Also when the test is over.
                    _ = asked => {}
                }
            });
            // Every task and with it every connection goes here.
            drop(runtime);
            let _ = told.send(());
        });
        listens.await.expect("the port is ours");
        Self { end, ended }
    }

    pub(super) async fn end(self) {
        let _ = self.end.send(());
        let _ = self.ended.await;
    }

    pub(super) fn forget(self) {
        let _ = self.end.send(());
    }
}

/// A hundred and more of these servers at once, each with its connections, need more descriptors than many systems grant
/// unasked.
fn room_for_many() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Counts connections.
struct Counting {
    listener: TcpListener,
    state: Arc<State>,
}

struct Counted {
    stream: TcpStream,
    state: Arc<State>,
}

impl Listener for Counting {
    type Io = Counted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Counted, SocketAddr) {
        let (stream, from) = Listener::accept(&mut self.listener).await;
        // Else a small event waits for the acknowledgement of the one before, which comes after 40 ms.
        let _ = stream.set_nodelay(true);
        let state = self.state.clone();
        state.connections.fetch_add(1, Ordering::SeqCst);
        state.accepted.fetch_add(1, Ordering::SeqCst);
        state.tell();
        (Counted { stream, state }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.state.connections.fetch_sub(1, Ordering::SeqCst);
        self.state.tell();
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
