//! Remote servers as people meet them: connecting, keys, logins, and everything that is done with them after.

mod admin;
mod by_hand;
mod connect;
pub(in crate::desk) mod idp;
mod keys;
mod login;
mod uses;

use switchboard::net::NetOptions;
use switchboard::policy::AddressRules;
use switchboard::thread::ThreadId;

use crate::support::chat::steady;
use crate::support::hostile::{Far, Wants};
use crate::support::world::World;

/// A secret that must be seen nowhere.
pub(in crate::desk) const CANARY: &str = "canary-Zx81-hush-hush";

pub(in crate::desk) const LOCAL: ThreadId = ThreadId::Local;

/// A world that speaks to loopback.
pub(super) fn world() -> World {
    World::open_with(open)
}

pub(in crate::desk) fn open(options: &mut switchboard::app::HouseOptions) {
    options.net = NetOptions {
        rules: AddressRules {
            allow_http: true,
            allow: vec!["127.0.0.0/8".parse().unwrap()],
        },
        ..NetOptions::default()
    };
}

/// A screen that is the same in every run.
pub(super) fn screen(far: &Far, text: &str) -> String {
    let host = far.base().replace("http://", "");
    let text = text.replace(&host, "far.example:1");
    // The host alone stands in titles.
    steady(&text).replace("127.0.0.1", "far.example")
}

/// `mcp_remote.json` as it is now.
pub(in crate::desk) fn remote(world: &World, thread: ThreadId) -> serde_json::Value {
    let text = std::fs::read_to_string(world.file(thread, "mcp_remote.json"));
    text.map_or(serde_json::Value::Null, |text| {
        serde_json::from_str(&text).unwrap()
    })
}

/// A server that wants this token and does not say so.
pub(in crate::desk) fn token(value: &str) -> Wants {
    Wants::Token {
        tokens: vec![value.to_owned()],
        challenge: None,
        metadata: false,
    }
}

/// Nothing that a person can see or download, and no record of the bot's, has the canary in it.
pub(in crate::desk) fn nowhere(world: &World, thread: ThreadId) {
    let transcript = world.transcript(thread);
    assert!(!transcript.contains(CANARY), "{transcript}");
    let mut folders = vec![world.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path();
            let text = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(!text.contains(CANARY), "{} has it", path.display());
        }
    }
}
