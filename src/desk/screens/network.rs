//! What a local server may reach and did reach, on its card.

use crate::chat::{Block, Text, View};
use crate::policy::{Granted, reach_words};
use crate::store::Contacted;

use super::health::when;

/// Hosts on a card; more are kept.
const MOST: usize = 12;

/// What is known of a local server and the network.
pub(in crate::desk) struct NetworkFacts {
    /// What it gets.
    pub(in crate::desk) granted: Granted,
    /// The hosts that it reached, or wanted to.
    pub(in crate::desk) contacts: Vec<Contacted>,
    /// Its grant can be narrowed to them.
    pub(in crate::desk) can_narrow: bool,
    /// The time.
    pub(in crate::desk) now_ms: i64,
}

impl NetworkFacts {
    /// The grant, a few words.
    pub(super) fn words(&self) -> Text {
        Text::default().plain(reach_words(&self.granted.grant))
    }

    /// What it reached.
    pub(super) fn tell(&self, mut view: View) -> View {
        if let Some(less) = self.granted.less {
            view = view.line(less.words());
        }
        for (title, allowed) in [("It reached:", true), ("It was not let through to:", false)] {
            let contacts = self.contacts.iter();
            let of_these: Vec<_> = contacts.filter(|one| one.allowed == allowed).collect();
            if of_these.is_empty() {
                continue;
            }
            let mut lines: Vec<Text> = of_these
                .iter()
                .take(MOST)
                .map(|contact| self.line(contact))
                .collect();
            if of_these.len() > MOST {
                lines.push(Text::default().plain(format!("and {} more", of_these.len() - MOST)));
            }
            view = view.line(title).with(Block::List(lines));
        }
        view
    }

    fn line(&self, contact: &Contacted) -> Text {
        let host = if contact.host.contains(':') {
            format!("[{}]:{}", contact.host, contact.port)
        } else {
            format!("{}:{}", contact.host, contact.port)
        };
        let times = match contact.times {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let when = when(contact.at_ms, self.now_ms);
        Text::default()
            .code(super::shortened(&host, 100))
            .plain(format!(" · {times}, last {when}"))
    }
}
