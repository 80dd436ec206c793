//! One server's door: accepts, judges, connects, and lets bytes through.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Host;

use super::answer::Answer;
use super::head::{self, Asked, BadHead};
use super::places::Line;
use super::{Contact, Moved, Patience, Reach, Witness, tunnel};
use crate::net::{Net, NetError, explain};

/// After an error of the system that may pass, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a refusal may take to be read.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a server's connections share.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) net: Net,
    pub(super) server: String,
    pub(super) reach: Reach,
    pub(super) witness: Arc<dyn Witness>,
    pub(super) patience: Patience,
    pub(super) moved: Arc<Moved>,
    pub(super) line: Line,
}

/// Serves until it is dropped; its connections end with `closed`.
pub(super) async fn serve(door: Door, listener: UnixListener, closed: CancellationToken) {
    let door = Arc::new(door);
    let own = Arc::new(Semaphore::new(door.line.each));
    loop {
        // Those that find no place wait in the listener's queue.
        let Ok(place) = Arc::clone(&own).acquire_owned().await else {
            return;
        };
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (door, closed) = (Arc::clone(&door), closed.clone());
        tokio::spawn(async move {
            closed.run_until_cancelled_owned(door.attend(client)).await;
            drop(place);
        });
    }
}

impl Door {
    async fn attend(&self, mut client: UnixStream) {
        let place = match self.line.enter(self.patience.place).await {
            Ok(place) => place,
            Err(full) => return refuse(client, &Answer::no_place(full)).await,
        };
        match self.reached(&mut client).await {
            Ok((asked, host)) => self.let_through(client, host, &asked).await,
            Err(Some(answer)) => refuse(client, &answer).await,
            Err(None) => {}
        }
        drop(place);
    }

    /// Reads, judges and connects; `Err(None)` where nobody is there any more.
    async fn reached(&self, client: &mut UnixStream) -> Result<(Asked, TcpStream), Option<Answer>> {
        let asked = match timeout(self.patience.head, head::read(client)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(BadHead::Gone)) => return Err(None),
            Ok(Err(BadHead::TooLong)) => return Err(Some(Answer::too_long())),
            Ok(Err(BadHead::Nonsense)) => return Err(Some(Answer::nonsense())),
            Err(_) => return Err(Some(Answer::too_slow())),
        };
        let wanted = format!("{}:{}", asked.host, asked.port);
        let judged = self.judged(&asked, &wanted).await;
        // An address that did not answer, or a name that is none, was let through as well.
        self.witness.saw(Contact {
            host: bare(&asked.host),
            port: asked.port,
            allowed: !matches!(judged, Err(Refused::Forbidden(_))),
        });
        match judged {
            Ok(host) => Ok((asked, host)),
            Err(Refused::Forbidden(answer) | Refused::Failed(answer)) => Err(Some(answer)),
        }
    }

    async fn judged(&self, asked: &Asked, wanted: &str) -> Result<TcpStream, Refused> {
        if let Reach::Hosts(hosts) = &self.reach {
            let host = bare(&asked.host);
            if !hosts
                .iter()
                .any(|granted| granted.matches(&host, asked.port))
            {
                let answer = Answer::not_granted(&self.server, &self.reach, wanted);
                return Err(Refused::Forbidden(answer));
            }
        }
        if asked.plain && !self.net.rules().allow_http {
            return Err(Refused::Forbidden(Answer::not_plain(wanted)));
        }
        let until = Instant::now() + self.patience.connect;
        let late = || {
            let host = wanted.to_owned();
            Refused::Failed(Answer::unreachable(&NetError::TimedOut { host }))
        };
        let addresses = timeout_at(until, self.addresses(&asked.host)).await;
        let addresses = addresses
            .map_err(|_| late())?
            .map_err(|error| match error {
                NetError::Address(problem) => {
                    Refused::Forbidden(Answer::not_public(wanted, &problem))
                }
                error => Refused::Failed(Answer::unreachable(&error)),
            })?;
        let mut last = None;
        for address in addresses {
            match timeout_at(
                until,
                TcpStream::connect(SocketAddr::new(address, asked.port)),
            )
            .await
            {
                Ok(Ok(host)) => return Ok(host),
                Ok(Err(error)) => last = Some(error),
                Err(_) => return Err(late()),
            }
        }
        let error = explain::connecting(wanted, last.as_ref());
        Err(Refused::Failed(Answer::unreachable(&error)))
    }

    /// The judged addresses of a host; those that are connected to.
    async fn addresses(&self, host: &Host<String>) -> Result<Vec<IpAddr>, NetError> {
        let literal: IpAddr = match host {
            Host::Domain(name) => {
                let found = self.net.resolver.look_up(name).await;
                return found.map_err(|error| explain::lookup(name, error.as_ref()));
            }
            Host::Ipv4(address) => (*address).into(),
            Host::Ipv6(address) => (*address).into(),
        };
        self.net.judge.judge(literal)?;
        Ok(vec![literal])
    }

    async fn let_through(&self, mut client: UnixStream, mut host: TcpStream, asked: &Asked) {
        let _ = host.set_nodelay(true);
        let begun = async {
            if !asked.plain {
                client
                    .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    .await?;
            }
            host.write_all(&asked.first).await
        };
        if matches!(timeout(self.patience.head, begun).await, Ok(Ok(()))) {
            let first = asked.first.len() as u64;
            self.moved.out.fetch_add(first, Ordering::Relaxed);
            tunnel::join(client, host, &self.moved, self.patience.idle).await;
        }
    }
}

/// Why nobody was connected to.
enum Refused {
    /// By the grant or by the filter.
    Forbidden(Answer),
    /// By nobody.
    Failed(Answer),
}

/// A host as grants name it: an address without brackets.
fn bare(host: &Host<String>) -> String {
    match host {
        Host::Domain(name) => name.clone(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

async fn refuse(client: UnixStream, answer: &Answer) {
    let _ = timeout(FAREWELL, farewell(client, answer)).await;
}

/// Sends a refusal, and reads on until the client has ended: a close while bytes are unread would take the answer away.
async fn farewell(mut client: UnixStream, answer: &Answer) -> std::io::Result<()> {
    client.write_all(&answer.bytes()).await?;
    client.shutdown().await?;
    let mut rest = [0; 1024];
    while client.read(&mut rest).await? > 0 {}
    Ok(())
}
