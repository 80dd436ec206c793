//! The client that the published conformance suite judges: a house with one thread, and in it a person who agrees to
//! everything. `tests/interop/conformance/run` starts it; the suite appends its server's address and names the scenario in
//! `MCP_CONFORMANCE_SCENARIO`.
//!
//! It writes the entry as Apply does, waits until the server is ready, calls what the scenario wants called, and logs in
//! where it is asked to. Nothing here speaks MCP or OAuth: that is what is judged. Ends with 1 where anything fails.

#![allow(
    clippy::print_stderr,
    reason = "the suite keeps what its client prints"
)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use http::header::LOCATION;
use serde_json::{Map, Value, json};
use switchboard::actor::{Actor, ActorId, Standing};
use switchboard::app::{House, HouseOptions};
use switchboard::chat::{
    Answer, Capabilities, FileRef, Front, FrontError, MessageId, PressId, View,
};
use switchboard::config::{
    Change, CredentialId, Edit, FileKind, Files, RemoteAuth, RemoteTransport, ServerName,
};
use switchboard::net::{Net, NetOptions, Redirects};
use switchboard::oauth::{Begin, GivenClient};
use switchboard::policy::{AddressRules, HostPolicy};
use switchboard::registry::{
    AuthWanted, CallError, CallRequest, ProbeAsk, Probed, ServerState, ServerView,
};
use switchboard::secret::Secret;
use switchboard::store::{HistoryEntry, Origin};
use switchboard::thread::ThreadId;
use tokio::sync::mpsc;
use url::Url;

/// Less than the suite's own patience, so that what hangs is told by us.
const DEADLINE: Duration = Duration::from_secs(25);

/// Where the suite believes our metadata document to be; it is never fetched.
const DOCUMENT: &str = "https://conformance-test.local/client-metadata.json";

/// A person does not log in for ever where it does not help.
const LOGINS: usize = 3;

const THREAD: ThreadId = ThreadId::Local;
const SERVER: &str = "judged";
const CREDENTIAL: &str = "judged";

#[tokio::main]
async fn main() -> ExitCode {
    let done = tokio::time::timeout(DEADLINE, drive()).await;
    match done.unwrap_or_else(|_| bail!("nothing more happens")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn drive() -> Result<()> {
    let scenario = Scenario::read()?;
    let folder = tempfile::tempdir()?;
    let client = Client::open(scenario, folder.path())?;
    let driven = client.run().await;
    client.house.close(Duration::from_secs(5)).await;
    driven
}

/// What the suite wants.
struct Scenario {
    name: String,
    url: Url,
    context: Value,
}

impl Scenario {
    fn read() -> Result<Self> {
        let url = std::env::args()
            .next_back()
            .context("the server's address is missing")?;
        let context = match std::env::var("MCP_CONFORMANCE_CONTEXT") {
            Ok(text) => serde_json::from_str(&text).context("the context is no JSON")?,
            Err(_) => Value::Null,
        };
        Ok(Self {
            name: std::env::var("MCP_CONFORMANCE_SCENARIO").context("no scenario is named")?,
            url: Url::parse(&url).context("the last argument is no address")?,
            context,
        })
    }

    /// A client that was registered beforehand.
    fn client(&self) -> Option<GivenClient> {
        let text = |key: &str| Some(self.context.get(key)?.as_str()?.to_owned());
        Some(GivenClient {
            id: text("client_id")?,
            secret: text("client_secret").map(Secret::from),
        })
    }

    /// What to call, of the tools that the server offers.
    fn calls(&self, offered: &ServerView) -> Result<Vec<(String, Value)>> {
        let plain = |names: &[&str]| {
            names
                .iter()
                .map(|name| ((*name).to_owned(), json!({})))
                .collect()
        };
        Ok(match self.name.as_str() {
            "tools_call" => vec![("add_numbers".to_owned(), json!({"a": 5, "b": 3}))],
            "sep-2322-client-request-state" => plain(&[
                "test_mrtr_echo_state",
                "test_mrtr_no_state",
                "test_mrtr_unrelated",
                "test_mrtr_no_result_type",
            ]),
            "http-custom-headers" => self.context["toolCalls"]
                .as_array()
                .context("the context has no calls")?
                .iter()
                .map(|call| {
                    let name = call["name"].as_str().context("a call without a name")?;
                    Ok((name.to_owned(), call["arguments"].clone()))
                })
                .collect::<Result<_>>()?,
            "http-invalid-tool-headers" => {
                let names: Vec<&str> = offered
                    .tools
                    .iter()
                    .map(|tool| tool.name.as_str())
                    .collect();
                plain(&names)
            }
            // What is looked at there comes before any call, and there is none to make.
            "initialize" | "request-metadata" | "json-schema-ref-no-deref" => Vec::new(),
            _ => {
                let first = offered.tools.first().map(|tool| tool.name.as_str());
                plain(&[first.context("the server offers no tool")?])
            }
        })
    }
}

/// The house with the person in it.
struct Client {
    scenario: Scenario,
    house: House,
    net: Net,
    server: ServerName,
    person: Actor,
    logins: std::sync::atomic::AtomicUsize,
}

impl Client {
    fn open(scenario: Scenario, folder: &Path) -> Result<Self> {
        let mut options = HouseOptions::new(folder.join("data"), std::env::current_exe()?);
        // The suite calls whatever tool comes first.
        options.policy.defaults = HostPolicy::open();
        // `localhost` is both of them.
        options.net = NetOptions {
            rules: AddressRules {
                allow_http: true,
                allow: vec!["127.0.0.1/32".parse()?, "::1/128".parse()?],
            },
            ..NetOptions::default()
        };
        options.client_document = Some(Url::parse(DOCUMENT)?);
        let net = Net::new(options.net.clone());
        Ok(Self {
            house: House::open(options, Arc::new(Nobody), None)?,
            net,
            scenario,
            server: ServerName::new(SERVER)?,
            person: Actor {
                id: ActorId("local".to_owned()),
                name: "the suite".to_owned(),
            },
            logins: 0.into(),
        })
    }

    async fn run(&self) -> Result<()> {
        let probed = self.probe().await;
        self.write_entry(&probed)?;
        self.house.reload.touch(THREAD).await?;
        let mut offered = self.settled().await?;
        while let ServerState::NeedsLogin { reason, challenge } = &offered.state {
            eprintln!("a login is wanted: {reason}");
            offered = self.log_in(challenge.clone()).await?;
        }
        ensure!(
            matches!(offered.state, ServerState::Ready { .. }),
            "the server is not ready: {:?}",
            offered.state
        );
        for (tool, arguments) in self.scenario.calls(&offered)? {
            self.call(&tool, &arguments)
                .await
                .with_context(|| format!("the call of {tool}"))?;
        }
        Ok(())
    }

    /// The try that `/mcp connect` begins with.
    async fn probe(&self) -> Probed {
        let (stages, mut told) = mpsc::channel(16);
        let ask = ProbeAsk {
            url: self.scenario.url.to_string(),
            headers: Vec::new(),
            auth: RemoteAuth::None,
        };
        let probe = self.house.registry.probe(THREAD, ask, stages);
        let tell = async {
            while let Some(stage) = told.recv().await {
                eprintln!("{:?}: {:?}", stage.stage, stage.outcome);
            }
        };
        tokio::join!(probe, tell).0
    }

    /// What Apply does: the agreement first, then the files.
    fn write_entry(&self, probed: &Probed) -> Result<()> {
        let transport = probed.transport.map_or("http", RemoteTransport::name);
        let mut entry = json!({"type": transport, "url": self.scenario.url.as_str()});
        match probed.auth {
            AuthWanted::None => {}
            AuthWanted::OAuth { .. } => entry["auth"] = json!({"oauth": CREDENTIAL}),
            AuthWanted::Unknown | AuthWanted::Refused => {
                bail!("a key is wanted: {:?}", probed.staged.results);
            }
        }
        let edit = Edit(vec![Change::Put {
            file: FileKind::Remote,
            name: SERVER.to_owned(),
            value: entry,
            at: None,
        }]);
        let files = edit.apply(&Files::default())?;
        let config = files.check()?;
        let agreed: Vec<_> = config
            .remote
            .iter()
            .map(|(name, server)| (name.clone(), Some(server.approval())))
            .collect();
        let store = &self.house.store;
        store.approve(THREAD, &agreed)?;
        let (disk, _) = store.load(THREAD)?;
        let entry = HistoryEntry {
            id: "0".to_owned(),
            at_ms: 0,
            origin: Origin::Person(self.person.clone()),
            title: format!("connect {SERVER}"),
            inverse: Edit::between(&files, &Files::default()),
            edit,
            diff: String::new(),
            undoes: None,
        };
        store.commit(THREAD, disk.revision(), &files, entry)?;
        Ok(())
    }

    /// The server once it is on its way to nowhere else.
    async fn settled(&self) -> Result<ServerView> {
        let snapshot = self
            .house
            .registry
            .wait(THREAD, |snapshot| {
                snapshot.is_settled() && snapshot.server(SERVER).is_some()
            })
            .await;
        let snapshot = snapshot.context("the thread is not loaded")?;
        let view = snapshot.server(SERVER).context("the server is gone")?;
        Ok(view.clone())
    }

    /// Calls until it is answered; where a login is wanted, or one with more rights, logs in and calls again.
    async fn call(&self, tool: &str, arguments: &Value) -> Result<()> {
        loop {
            let arguments: Map<String, Value> = arguments.as_object().cloned().unwrap_or_default();
            let request = CallRequest {
                thread: THREAD,
                server: SERVER.to_owned(),
                tool: tool.to_owned(),
                arguments,
                progress: None,
                waited: Duration::ZERO,
            };
            let challenge = match self.house.registry.call(request).await {
                Ok(outcome) => {
                    ensure!(!outcome.is_error, "the tool failed: {:?}", outcome.content);
                    return Ok(());
                }
                Err(CallError::NeedsLogin { challenge, .. }) => challenge,
                Err(CallError::MoreRights { challenge, .. }) => Some(challenge),
                Err(error) => return Err(error.into()),
            };
            eprintln!("the call of {tool} wants a login");
            let view = self.log_in(challenge).await?;
            ensure!(
                matches!(view.state, ServerState::Ready { .. }),
                "the server is not ready after the login: {:?}",
                view.state
            );
        }
    }

    /// A login from the link to Finish, by a person without a browser: the authorization server of the suite sends them
    /// back at once, and they paste the address.
    async fn log_in(&self, challenge: Option<String>) -> Result<ServerView> {
        use std::sync::atomic::Ordering::Relaxed;
        ensure!(
            self.logins.fetch_add(1, Relaxed) < LOGINS,
            "{LOGINS} logins did not help"
        );
        let oauth = &self.house.oauth;
        let invitation = oauth
            .begin(Begin {
                thread: THREAD,
                by: self.person.clone(),
                place: "the suite".to_owned(),
                server: self.server.clone(),
                url: self.scenario.url.clone(),
                keyed: None,
                challenge,
                client: self.scenario.client(),
                credential: CredentialId::new(CREDENTIAL)?,
            })
            .await?;
        let request = http::Request::get(invitation.link.as_str()).body(Vec::new())?;
        let answer = self
            .net
            .fetch(request, Redirects::None, 1 << 16, DEADLINE)
            .await?;
        let back = answer.headers().get(LOCATION).with_context(|| {
            format!(
                "the authorization server answered with {} and sent nobody back",
                answer.status()
            )
        })?;
        let id = oauth
            .pasted(THREAD, &self.person.id, back.to_str()?)
            .await?;
        oauth.finish(&id, &self.person.id).await?;
        Ok(self.house.registry.restart(THREAD, &self.server).await?)
    }
}

/// The chat, which nobody reads.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Front for Nobody {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            edit: true,
            delete_theirs: false,
            files: false,
            buttons: true,
        }
    }

    async fn send(&self, _: ThreadId, _: View) -> Result<MessageId, FrontError> {
        Ok(MessageId(0))
    }

    async fn edit(&self, _: ThreadId, _: MessageId, _: View) -> Result<(), FrontError> {
        Ok(())
    }

    async fn delete(&self, _: ThreadId, _: MessageId) -> Result<(), FrontError> {
        Ok(())
    }

    async fn fetch(&self, _: &FileRef, _: usize) -> Result<Vec<u8>, FrontError> {
        Err(FrontError::Other("there are no files".to_owned()))
    }

    async fn answer(&self, _: &PressId, _: Answer) -> Result<(), FrontError> {
        Ok(())
    }

    async fn standing(&self, _: ThreadId, _: &ActorId, _: bool) -> Result<Standing, FrontError> {
        Ok(Standing::Own)
    }
}
