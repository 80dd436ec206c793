//! Names to addresses, at each connect, through the filter: a second answer that leads elsewhere changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::judge::Judge;
use crate::policy::AddressRules;

/// So many lookups at once. Each holds a thread that cannot be stopped, so a slow name must not eat them all.
const LOOKUPS: usize = 64;

/// How a name is asked for. A pointer, so that a test can say what names mean.
type Ask = fn(&str) -> io::Result<Vec<IpAddr>>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The client's resolver.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    judge: Arc<Judge>,
    lookups: Arc<Semaphore>,
    ask: Ask,
}

impl Resolver {
    pub(super) fn new(judge: Arc<Judge>) -> Self {
        Self {
            judge,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            ask: of_the_system,
        }
    }

    /// With other answers than the system's.
    #[cfg(test)]
    pub(super) fn asking(mut self, ask: Ask) -> Self {
        self.ask = ask;
        self
    }

    pub(super) fn rules(&self) -> &AddressRules {
        self.judge.rules()
    }

    /// The addresses of a name that may be spoken to, at least one. The error is an [`io::Error`] of the lookup or an
    /// [`crate::policy::AddressProblem`].
    pub(super) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, BoxError> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await?;
        let (owned, ask) = (name.to_owned(), self.ask);
        let answers = tokio::task::spawn_blocking(move || {
            // Held by the thread itself: whoever asked may have gone meanwhile.
            let _permit = permit;
            ask(&owned)
        })
        .await??;
        self.filtered(answers)
    }

    fn filtered(&self, answers: Vec<IpAddr>) -> Result<Vec<IpAddr>, BoxError> {
        let mut allowed = Vec::new();
        let mut refused = None;
        for address in answers {
            match self.judge.judge(address) {
                Ok(()) if allowed.contains(&address) => {}
                Ok(()) => allowed.push(address),
                Err(problem) => refused = Some(problem),
            }
        }
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some(problem)) => Err(problem.into()),
            (true, None) => Err(io::Error::other("it has no address").into()),
        }
    }
}

fn of_the_system(name: &str) -> io::Result<Vec<IpAddr>> {
    let answers = (name, 0).to_socket_addrs()?;
    Ok(answers.map(|answer| answer.ip()).collect())
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.look_up(name.as_str()).await?;
            // Port 0 stands for the URL's.
            let addresses = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::AddressProblem;

    #[test]
    fn the_allowed_answers_are_kept() {
        let resolver = Resolver::new(Arc::new(Judge::new(AddressRules {
            allow_http: false,
            allow: vec!["10.9.0.0/16".parse().unwrap()],
        })));
        for (answers, expected) in [
            (&["8.8.8.8"][..], Some(&["8.8.8.8"][..])),
            (&["10.0.0.1", "8.8.8.8", "::1"], Some(&["8.8.8.8"])),
            (
                &["8.8.8.8", "8.8.8.8", "10.9.0.1"],
                Some(&["8.8.8.8", "10.9.0.1"]),
            ),
            (&["127.0.0.1"], None),
            (&["169.254.169.254", "fd00::1"], None),
        ] {
            let parsed = |list: &[&str]| -> Vec<IpAddr> {
                list.iter()
                    .map(|address| address.parse().unwrap())
                    .collect()
            };
            match resolver.filtered(parsed(answers)) {
                Ok(kept) => assert_eq!(Some(kept), expected.map(parsed), "{answers:?}"),
                Err(error) => {
                    assert!(expected.is_none(), "{answers:?}");
                    assert!(matches!(
                        error.downcast_ref(),
                        Some(AddressProblem::NotPublic(_))
                    ));
                }
            }
        }
        assert!(resolver.filtered(Vec::new()).is_err());
    }

    #[tokio::test]
    async fn a_name_of_loopback_is_refused() {
        let resolver = Resolver::new(Arc::new(Judge::new(AddressRules::default())));
        let refused = resolver.look_up("localhost").await.unwrap_err();
        assert!(
            matches!(refused.downcast_ref(), Some(AddressProblem::NotPublic(_))),
            "{refused}"
        );
    }
}
