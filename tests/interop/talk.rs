//! Ann's talk in the terminal's chat: what she writes or presses, and the message that it brings or changes. An older
//! message that says the same never passes for it.

use switchboard::chat::{EventKind, MessageId, View};
use switchboard::thread::ThreadId;

use crate::support::chat::{Shown, plain};
use crate::support::world::World;

/// Messages as they stand, for telling new ones.
pub(crate) struct Before(Vec<(MessageId, usize)>);

impl Before {
    pub(crate) fn now(world: &World) -> Self {
        let all = world.chat.messages(ThreadId::Local).into_iter();
        Self(all.map(|shown| (shown.id, shown.edits)).collect())
    }

    fn is_new(&self, shown: &Shown) -> bool {
        !self.0.contains(&(shown.id, shown.edits))
    }

    /// Waits for a new or changed message with this in it, once all is quiet.
    pub(crate) async fn sees(&self, world: &World, expected: &str) -> View {
        let is_it = |shown: &Shown| self.is_new(shown) && plain(&shown.view).contains(expected);
        world.sees(ThreadId::Local, is_it).await.view
    }

    /// The same while something is under way.
    pub(crate) async fn glimpses(&self, world: &World, expected: &str) {
        let look = async {
            loop {
                let all = world.chat.messages(ThreadId::Local);
                let is_it =
                    |shown: &&Shown| self.is_new(shown) && plain(&shown.view).contains(expected);
                if all.iter().any(|shown| is_it(&shown)) {
                    return;
                }
                // The condition is looked at again; nothing is concluded from the time.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(crate::support::world::PATIENCE, look).await;
        assert!(
            seen.is_ok(),
            "never seen: {expected:?}; there is:\n{}",
            world.transcript(ThreadId::Local)
        );
    }
}

/// Ann writes.
pub(crate) async fn says(world: &World, text: &str, expected: &str) -> String {
    let before = Before::now(world);
    world.ann().says(text).await;
    plain(&before.sees(world, expected).await)
}

/// Ann presses the newest button of that label.
pub(crate) async fn presses(world: &World, label: &str, expected: &str) -> String {
    let before = Before::now(world);
    world.ann().presses(label).await;
    plain(&before.sees(world, expected).await)
}

/// Ann writes something that takes long; returns when this is seen of it.
pub(crate) async fn begins(world: &World, text: &str, expected: &str) -> Before {
    let before = Before::now(world);
    let kind = EventKind::Text(text.to_owned());
    world.ann().begins(Some(MessageId(-1)), kind);
    before.glimpses(world, expected).await;
    before
}
