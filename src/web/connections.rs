//! Connections from anybody: so many at once, so long, with a head so large. hyper is driven here by hand because axum's
//! own `serve` has no such bounds.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// At once. More wait in the system's queue.
const CONNECTIONS: usize = 512;

/// Request line and headers; an authorization server's way back is the longest, with a code of some kilobytes.
const HEAD: usize = 32 * 1024;

/// The head has come by then, or the connection ends.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// A whole connection. An exchange of a code fits in: [`crate::oauth`] gives it 15 s.
const LIFE: Duration = Duration::from_secs(30);

/// What is under way at the end may take this long.
const GRACE: Duration = Duration::from_secs(2);

/// After a failure to accept: most likely there are no file descriptors left, and trying at once does not help.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until it is told to stop.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let tasks = TaskTracker::new();
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tasks.spawn(async move {
                    connection(stream, router, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the login pages could not be taken.");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let end = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    // What goes wrong here is the other side's: it left, was slow, or did not speak HTTP.
    tokio::select! {
        _ = tokio::time::timeout(LIFE, connection) => (),
        () = end => (),
    }
}
