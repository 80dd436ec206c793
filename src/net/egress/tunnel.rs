//! Bytes in both directions until both have ended, or nothing moved for too long.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Moved;

const BUFFER: usize = 16 * 1024;

/// Moves them, and counts.
pub(super) async fn join(
    client: impl AsyncRead + AsyncWrite,
    host: impl AsyncRead + AsyncWrite,
    moved: &Moved,
    idle: Duration,
) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_host, to_host) = tokio::io::split(host);
    let own = Moved::default();
    let both = async {
        let _ = tokio::join!(
            one_way(from_client, to_host, [&own.out, &moved.out]),
            one_way(from_host, to_client, [&own.back, &moved.back]),
        );
    };
    tokio::select! {
        () = both => {}
        () = silence(&own, idle) => {}
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counts: [&AtomicU64; 2],
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        for count in counts {
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
    }
}

/// Resolves when nothing moved for `idle`, or for somewhat longer.
async fn silence(moved: &Moved, idle: Duration) {
    let total = || moved.out.load(Ordering::Relaxed) + moved.back.load(Ordering::Relaxed);
    let mut before = total();
    loop {
        tokio::time::sleep(idle).await;
        let now = total();
        if now == before {
            return;
        }
        before = now;
    }
}
