//! The gate before a registry that has nothing: what is told of a call shows how far it came.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Map;
use switchboard::actor::{Actor, ActorId};
use switchboard::audit::{Audit, Closed, Entry, What};
use switchboard::gate::{Caller, Gate, GateError, GateParts, ticks};
use switchboard::net::{Net, NetOptions};
use switchboard::policy::{HostPolicy, Rules};
use switchboard::registry::{
    CallError, CallRequest, NoCache, NoKeys, Outside, Registry, RegistryOptions,
};
use switchboard::thread::ThreadId;

/// An audit on a disk that has room for so many lines.
#[derive(Debug)]
struct Disk {
    room: usize,
    lines: Mutex<Vec<What>>,
}

impl Audit for Disk {
    fn note(&self, _: ThreadId, entry: Entry) {
        self.lines.lock().unwrap().push(entry.what);
    }

    fn is_open(&self, _: ThreadId) -> Result<(), Closed> {
        if self.lines.lock().unwrap().len() <= self.room {
            Ok(())
        } else {
            Err(Closed("it is full".to_owned()))
        }
    }
}

/// What comes of a call, and the lines that tell of it.
async fn called(room: usize) -> (GateError, Vec<What>) {
    let folder = tempfile::tempdir().unwrap();
    let outside = Outside::bare(
        Arc::new(NoCache),
        Net::new(NetOptions::default()),
        Arc::new(NoKeys),
    );
    let options = RegistryOptions::new("none".into(), folder.path().to_owned());
    let (registry, _notices) = Registry::start(options, outside);
    let lines = Mutex::default();
    let disk = Arc::new(Disk { room, lines });
    let gate = Gate::new(GateParts {
        registry: registry.clone(),
        audit: disk.clone(),
        rules: Rules::new(HostPolicy::open()),
        ticks: ticks(),
    });
    let by = Actor {
        id: ActorId("tg:1".to_owned()),
        name: "Ann".to_owned(),
    };
    let request = CallRequest {
        thread: ThreadId::Local,
        server: "files".to_owned(),
        tool: "delete".to_owned(),
        arguments: Map::new(),
        progress: None,
        waited: Duration::ZERO,
    };
    let error = gate
        .call(Caller { by: Some(by) }, request)
        .await
        .unwrap_err();
    registry.shutdown(Duration::from_secs(5)).await;
    let lines = disk.lines.lock().unwrap().clone();
    (error, lines)
}

#[tokio::test]
async fn d36_a_call_is_made_only_when_it_was_written_down_before() {
    let (error, lines) = called(9).await;
    assert!(
        matches!(error, GateError::Call(CallError::NoServer(_))),
        "{error}"
    );
    let [
        What::Calling { call: begun, .. },
        What::Called {
            call: Some(ended),
            outcome,
            ..
        },
    ] = &lines[..]
    else {
        panic!("{lines:?}");
    };
    assert_eq!(begun, ended);
    assert!(outcome.contains("files"), "{outcome}");

    let (error, lines) = called(0).await;
    assert_eq!(error, GateError::Closed(Closed("it is full".to_owned())));
    let [What::Calling { .. }, What::Called { outcome, .. }] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert!(outcome.contains("cannot be written"), "{outcome}");
}
