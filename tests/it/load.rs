//! Many threads at once, some of whose servers never answer: the others do not notice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use switchboard::actor::{Actor, ActorId};
use switchboard::audit::What;
use switchboard::config::{NetworkGrant, Revision, ServerName, StdioServer, ThreadConfig};
use switchboard::gate::{Caller, Gate, GateError, GateParts, ticks};
use switchboard::net::{Net, NetOptions};
use switchboard::policy::{HostPolicy, Rules};
use switchboard::registry::{
    CallError, CallOutcome, CallRequest, NoCache, NoKeys, Outside, Registry, RegistryOptions,
    ServerState,
};
use switchboard::store::{Store, Verdict};
use switchboard::thread::ThreadId;
use tokio::sync::mpsc;

use crate::support::world::{PATIENCE, PROGRAM, misbehave, within};

const THREADS: i64 = 50;
const HUNG: i64 = 10;
const CALLS: usize = 20;

/// The gate before real servers: one `misbehave` for each thread.
struct House {
    registry: Registry,
    gate: Gate,
    rules: Rules,
    store: Store,
    _folder: tempfile::TempDir,
}

fn thread(id: i64) -> ThreadId {
    ThreadId::telegram(id, None)
}

impl House {
    fn open(set: impl FnOnce(&mut RegistryOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut options = RegistryOptions::new(PROGRAM.into(), folder.path().join("homes"));
        set(&mut options);
        let rules = Rules::new(HostPolicy::open());
        let audit = Arc::new(store.ledger(Arc::new(|| 0)));
        let outside = Outside {
            audit: audit.clone(),
            policy: rules.clone(),
            ..Outside::bare(
                Arc::new(NoCache),
                Net::new(NetOptions::default()),
                Arc::new(NoKeys),
            )
        };
        let (registry, mut notices) = Registry::start(options, outside);
        tokio::spawn(async move { while notices.recv().await.is_some() {} });
        let gate = Gate::new(GateParts {
            registry: registry.clone(),
            audit,
            rules: rules.clone(),
            ticks: ticks(),
        });
        Self {
            registry,
            gate,
            rules,
            store,
            _folder: folder,
        }
    }

    /// Gives a thread these servers.
    async fn apply(&self, thread: ThreadId, names: &[&str]) {
        let server = |name: &&str| {
            let definition = StdioServer {
                command: misbehave().display().to_string(),
                args: Vec::new(),
                env: Vec::new(),
                cwd: None,
                network: NetworkGrant::default(),
                disabled: false,
            };
            (ServerName::new(name).unwrap(), definition)
        };
        let config = ThreadConfig {
            local: names.iter().map(server).collect(),
            ..ThreadConfig::default()
        };
        let revision = Revision::of(Some(names.join(" ").as_bytes()), None);
        self.registry
            .apply(thread, Arc::new(config), revision)
            .await;
    }

    async fn ready(&self, thread: ThreadId) {
        let all = self.registry.wait(thread, |snapshot| {
            let mut servers = snapshot.servers.iter();
            servers.all(|server| matches!(server.state, ServerState::Ready { .. }))
        });
        tokio::time::timeout(PATIENCE, all).await.unwrap().unwrap();
    }

    fn call(
        &self,
        thread: ThreadId,
        server: &str,
        tool: &str,
    ) -> impl Future<Output = Result<CallOutcome, GateError>> + Send + 'static {
        let by = Actor {
            id: ActorId(format!("of {thread}")),
            name: "Ann".to_owned(),
        };
        let request = CallRequest {
            thread,
            server: server.to_owned(),
            tool: tool.to_owned(),
            arguments: Map::new(),
            progress: None,
            waited: Duration::ZERO,
        };
        let gate = self.gate.clone();
        async move { gate.call(Caller { by: Some(by) }, request).await }
    }

    /// A call that is under way and will never be answered.
    async fn hangs(
        &self,
        thread: ThreadId,
        server: &str,
    ) -> tokio::task::JoinHandle<Result<CallOutcome, GateError>> {
        let (progress, mut reports) = mpsc::channel(4);
        let mut arguments = Map::new();
        arguments.insert("half-way".to_owned(), Value::from("yes"));
        let request = CallRequest {
            thread,
            server: server.to_owned(),
            tool: "hang".to_owned(),
            arguments,
            progress: Some(progress),
            waited: Duration::ZERO,
        };
        let gate = self.gate.clone();
        let call = tokio::spawn(async move { gate.call(Caller { by: None }, request).await });
        within(reports.recv()).await.unwrap();
        call
    }

    /// How often each outcome stands in a thread's audit.
    fn outcomes(&self, thread: ThreadId) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for noted in self.store.audit(thread, 1000, None).unwrap() {
            if let What::Called { outcome, .. } = noted.entry.what {
                *counts.entry(outcome).or_default() += 1;
            }
        }
        counts
    }

    fn is_whole(&self, thread: ThreadId) {
        let verdict = self.store.verify_audit(thread).unwrap();
        assert!(matches!(verdict, Verdict::Whole { .. }), "{verdict:?}");
    }

    async fn close(self) {
        self.registry.shutdown(Duration::from_secs(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_threads_call_while_ten_servers_hang() {
    let house = House::open(|options| options.call_timeout = Duration::from_secs(20));
    for id in 1..=THREADS {
        house.apply(thread(id), &["one"]).await;
    }
    for id in 1..=THREADS {
        house.ready(thread(id)).await;
    }
    let calls = |ids: std::ops::RangeInclusive<i64>, tool: &str| -> Vec<_> {
        let each = ids.flat_map(|id| std::iter::repeat_n(id, CALLS));
        each.map(|id| tokio::spawn(house.call(thread(id), "one", tool)))
            .collect()
    };
    let hung = calls(1..=HUNG, "hang");
    let healthy = calls(HUNG + 1..=THREADS, "echo");
    for call in healthy {
        within(call).await.unwrap().unwrap();
    }
    // All that hang are still under way or wait; one more is told so, and where others are it is not felt.
    let busy = within(house.call(thread(1), "one", "echo")).await;
    assert!(matches!(busy, Err(GateError::Busy { .. })), "{busy:?}");
    within(house.call(thread(THREADS), "one", "echo"))
        .await
        .unwrap();
    for call in hung {
        let ended = within(call).await.unwrap();
        let by_deadline = matches!(
            ended,
            Err(GateError::Call(CallError::TimedOut(_)) | GateError::Busy { .. })
        );
        assert!(by_deadline, "{ended:?}");
    }
    // What hung is over: there is room again.
    within(house.call(thread(1), "one", "echo")).await.unwrap();
    for id in HUNG + 1..=THREADS {
        let calls = CALLS + usize::from(id == THREADS);
        let outcomes = house.outcomes(thread(id));
        assert_eq!(outcomes, HashMap::from([("ok".to_owned(), calls)]));
        house.is_whole(thread(id));
    }
    let of_hung = house.outcomes(thread(1));
    assert_eq!(of_hung["ok"], 1);
    assert!(
        of_hung
            .keys()
            .any(|outcome| outcome.starts_with("no answer within")),
        "{of_hung:?}"
    );
    assert!(
        of_hung.keys().any(|outcome| outcome.starts_with("busy")),
        "{of_hung:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_is_written_down_and_its_place_is_free() {
    let house = House::open(|_| {});
    let mut policy = HostPolicy::open();
    policy.quotas.calls_at_once = 1;
    house.rules.set(policy);
    house.apply(thread(1), &["one"]).await;
    house.ready(thread(1)).await;
    let call = house.hangs(thread(1), "one").await;
    call.abort();
    let _ = call.await;
    within(house.call(thread(1), "one", "echo")).await.unwrap();
    let outcomes = house.outcomes(thread(1));
    let given_up = "given up: nobody waits for it any more".to_owned();
    let expected = HashMap::from([(given_up, 1), ("ok".to_owned(), 1)]);
    assert_eq!(outcomes, expected);
    house.is_whole(thread(1));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_unused_server_makes_room_and_busy_ones_do_not() {
    let house = House::open(|_| {});
    let mut policy = HostPolicy::open();
    policy.quotas.running.thread = 2;
    house.rules.set(policy);
    house.apply(thread(1), &["one", "two"]).await;
    house.ready(thread(1)).await;
    within(house.call(thread(1), "one", "echo")).await.unwrap();
    house.apply(thread(1), &["one", "two", "three"]).await;
    let settled = house.registry.wait(thread(1), |snapshot| {
        snapshot.servers.len() == 3 && snapshot.is_settled()
    });
    let settled = tokio::time::timeout(PATIENCE, settled).await;
    let snapshot = settled.unwrap().unwrap();
    let state = |name: &str| snapshot.server(name).unwrap().state.clone();
    for name in ["one", "three"] {
        assert!(
            matches!(state(name), ServerState::Ready { .. }),
            "{name}: {:?}",
            state(name)
        );
    }
    assert_eq!(state("two"), ServerState::Asleep);
    // Both that run are in use: the third is refused, politely, and they go on.
    let calls = [
        house.hangs(thread(1), "one").await,
        house.hangs(thread(1), "three").await,
    ];
    let refused = within(house.call(thread(1), "two", "echo")).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("2 local servers of this chat run already"),
        "{refused}"
    );
    for call in calls {
        assert!(!call.is_finished());
        call.abort();
    }
    house.close().await;
}
