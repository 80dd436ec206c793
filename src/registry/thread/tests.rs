use super::*;
use crate::config::{NetworkGrant, RemoteAuth, RemoteServer, RemoteTransport, StdioServer};
use crate::net::{Net, NetOptions};
use crate::registry::handle::Order;
use crate::registry::{NoCache, NoKeys, Outside, Registry, RegistryOptions};

const THREAD: ThreadId = ThreadId::Local;

fn name(text: &str) -> ServerName {
    ServerName::new(text).unwrap()
}

fn off() -> StdioServer {
    StdioServer {
        command: "x".to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
        network: NetworkGrant::Unsaid,
        disabled: true,
    }
}

/// An address that nobody may speak to, so that nothing is sent anywhere.
fn far() -> RemoteServer {
    RemoteServer {
        transport: RemoteTransport::Http,
        url: "https://127.0.0.1/mcp".to_owned(),
        headers: Vec::new(),
        auth: RemoteAuth::None,
        timeout_ms: None,
        disabled: false,
    }
}

fn described(snapshot: &Snapshot) -> Vec<(String, bool, &'static str)> {
    let state = |state: &ServerState| match state {
        ServerState::Disabled => "off",
        ServerState::WaitingForApproval => "waits",
        ServerState::Failed { .. } => "failed",
        _ => "other",
    };
    snapshot
        .servers
        .iter()
        .map(|view| {
            (
                view.name.as_str().to_owned(),
                view.is_admin,
                state(&view.state),
            )
        })
        .collect()
}

#[tokio::test]
async fn local_then_remote_then_the_operators_and_only_those_need_no_agreement() {
    let options = RegistryOptions::new("launcher".into(), std::env::temp_dir());
    let net = Net::new(NetOptions::default());
    let (registry, _notices) = Registry::start(
        options,
        Outside::bare(Arc::new(NoCache), net, Arc::new(NoKeys)),
    );
    let mut config = ThreadConfig {
        local: vec![(name("l"), off())],
        remote: vec![(name("r"), far())],
        admin: vec![
            (name("a"), Definition::Remote(far())),
            (name("b"), Definition::Local(off())),
        ],
        hidden: vec![name("h")],
    };
    let entry = |name: &str, is_admin, state| (name.to_owned(), is_admin, state);
    registry
        .apply(THREAD, Arc::new(config.clone()), Revision::default())
        .await;
    let snapshot = registry.wait(THREAD, Snapshot::is_settled).await.unwrap();
    assert_eq!(
        described(&snapshot),
        [
            entry("l", false, "off"),
            entry("r", false, "waits"),
            entry("a", true, "failed"),
            entry("b", true, "off"),
        ]
    );
    assert_eq!(snapshot.hidden, [name("h")]);

    // The thread takes a name of the operator's: it is another server, and needs agreement.
    config.remote.push((name("a"), far()));
    config.admin.remove(0);
    registry
        .apply(THREAD, Arc::new(config), Revision::default())
        .await;
    let snapshot = registry.wait(THREAD, Snapshot::is_settled).await.unwrap();
    assert_eq!(
        described(&snapshot),
        [
            entry("l", false, "off"),
            entry("r", false, "waits"),
            entry("a", false, "waits"),
            entry("b", true, "off"),
        ]
    );
}

/// A task that hears of an edit only after it has said how the start before the edit went.
#[tokio::test]
async fn an_edit_while_a_start_ends_is_reported_when_the_edit_has_started() {
    let options = RegistryOptions::new("launcher".into(), std::env::temp_dir());
    let net = Net::new(NetOptions::default());
    let (registry, mut notices) = Registry::start(
        options,
        Outside::bare(Arc::new(NoCache), net, Arc::new(NoKeys)),
    );
    let thread = Thread::new(THREAD, registry.room.context.clone());
    let one = |command: &str| StdioServer {
        command: command.to_owned(),
        disabled: false,
        ..off()
    };
    let before = Definition::Local(one("before"));
    let handle = Handle::new(name("one"), &before, false);
    let (mut tenure, mut orders) = handle.take_over(&before);
    thread.lock().entries.push(Entry {
        name: name("one"),
        state: ServerState::Starting {
            since: Instant::now(),
            doing: None,
        },
        tools: Arc::default(),
        refused: Arc::default(),
        definition: before,
        handle: handle.clone(),
    });
    let config = ThreadConfig {
        local: vec![(name("one"), one("after"))],
        ..ThreadConfig::default()
    };
    let revision = Revision::of(Some(b"after"), None);
    thread.apply(&config, revision, HashMap::new());
    for state in [
        ServerState::Asleep,
        ServerState::WaitingForApproval,
        ServerState::Failed {
            reason: String::new(),
        },
    ] {
        let said = state.clone();
        assert!(!thread.update(&handle, tenure, |change| *change.state = said));
        assert!(!thread.snapshot().is_settled(), "{state:?}");
        assert_eq!(thread.lock().pending.len(), 1, "{state:?} was reported");
    }
    let Ok(Order::Redefine(definition, edition)) = orders.try_recv() else {
        panic!("the task was not told");
    };
    assert_eq!(*definition, Definition::Local(one("after")));
    tenure.edition = edition;
    assert!(thread.update(&handle, tenure, |change| *change.state =
        ServerState::Asleep));
    assert!(thread.snapshot().is_settled());
    let told = notices.recv().await;
    assert!(
        matches!(told, Some(Notice::Settled { revision: of, .. }) if of == revision),
        "{told:?}"
    );
    // Whose server it is not any more has no say at all.
    handle.let_go(Why::Removed);
    assert!(!thread.update(&handle, tenure, |change| *change.tools = [].into()));
}

#[test]
fn a_revision_that_is_applied_twice_is_reported_when_all_of_it_has_settled() {
    let pending = |text: &[u8], touched: &[&str]| Pending {
        revision: Revision::of(Some(text), None),
        touched: touched
            .iter()
            .map(|name| ServerName::new(name).unwrap())
            .collect(),
    };
    let mut table = Table::default();
    table.await_report(pending(b"1", &["old"]));
    table.await_report(pending(b"2", &["b", "a"]));
    table.await_report(pending(b"2", &["a", "c"]));
    assert_eq!(table.pending.len(), 2);
    let told: Vec<&str> = table.pending[1]
        .touched
        .iter()
        .map(ServerName::as_str)
        .collect();
    assert_eq!(told, ["a", "b", "c"]);
}
