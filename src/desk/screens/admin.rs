//! Who may use the bot, as operators see it, and as those see it who may not yet; and who may do what in a chat.

use super::super::action::{Action, Screen, SettingVerb};
use super::super::door::{Caller, decisions, panel_button};
use crate::actor::{ActorId, Standing};
use crate::chat::{Block, Event, Text, View};
use crate::policy::{
    self, Access, Action as Deed, Call, ChatSettings, Configure, HostPolicy, Listed, Named, WhoAdds,
};

/// So many ids of a list are shown.
const SHOWN: usize = 20;
/// So many who wait have buttons.
const WITH_BUTTONS: usize = 4;

/// The one sentence for somebody who is not let in.
pub(in crate::desk) fn stranger(event: &Event, awaits_operator: bool) -> View {
    if awaits_operator {
        let whom = "Nobody operates me yet. If you started me: send me `/start` and the code from my console";
        return if event.private {
            View::text(&*format!("{whom}."))
        } else {
            View::text(&*format!("{whom}, in a private chat."))
        };
    }
    let who = "I am not open to everybody: whoever runs me decides who may use me. Give them ";
    let person = event.actor.id.user().map(|_| event.actor.id.0.as_str());
    View::text(match (Named::here(event.thread), person) {
        (Named::Person(person), _) => Text::from(who).plain("your id: ").code(person.0).plain("."),
        (Named::Chat(chat), Some(person)) => Text::from(who)
            .plain("the id of this chat, ")
            .code(chat.to_string())
            .plain(", or yours, ")
            .code(person)
            .plain("."),
        (Named::Chat(chat), None) => Text::from(who)
            .plain("the id of this chat: ")
            .code(chat.to_string())
            .plain("."),
    })
}

/// For operators: somebody wants to use the bot.
pub(in crate::desk) fn somebody_asked(caller: &Caller) -> View {
    View::text(who(caller).plain(match caller.chat {
        None => " wants to use me.",
        Some(_) => " wants to use me in a group.",
    }))
    .row(decisions(caller))
}

/// Somebody became the operator.
pub(in crate::desk) fn paired() -> View {
    View::titled("You operate this bot now")
        .line("Nobody else may use me until you let them in. Who asks gets an id to give to you, and I tell you of them.")
        .line("`/admin` shows who may use me, `/admin allow` and an id lets somebody in. Send `/admin allow here` in a group to let all of it in.")
        .row([
            panel_button("Who may use me"),
            Action::Panel(0).button("My servers"),
            Action::Open(Screen::Help).button("Help"),
        ])
}

/// For somebody who asked and was let in.
pub(in crate::desk) fn you_are_in() -> View {
    View::text("You may use me now. `/mcp` shows your servers, `/help` everything else.").row([
        Action::Panel(0).button("My servers"),
        Action::Open(Screen::Help).button("Help"),
    ])
}

/// Something was decided.
pub(in crate::desk) fn decided(words: Text) -> View {
    View::text(words).row([panel_button("Who may use me")])
}

/// Who may use the bot, and who waits.
pub(in crate::desk) fn admin_panel(
    policy: &HostPolicy,
    broken: Option<&str>,
    me: &ActorId,
    waiting: &[Caller],
    now_ms: i64,
) -> View {
    let access = match policy.access {
        Access::Listed => "operators, and whom they allow",
        Access::Open => "everybody who is not blocked",
    };
    let local = match &policy.local_servers {
        WhoAdds::Operators => Text::from("operators"),
        WhoAdds::Listed(listed) => {
            Text([Text::from("operators, ").0, listed_words(listed).0].concat())
        }
        WhoAdds::Everyone => Text::from("whoever configures a chat"),
    };
    let mut view = View::titled("Who may use this bot");
    if let Some(why) = broken {
        view = view.line(
            Text::from("⚠️ ")
                .code("data/admin/policy.json")
                .plain(format!(
                    " is broken, so what it said before still holds: {why}. Mend it there; until then nothing can be decided here."
                )),
        );
    }
    view = view.with(Block::Pairs(vec![
        ("Open to".to_owned(), Text::from(access)),
        ("Operators".to_owned(), operators(policy, me)),
        ("Allowed".to_owned(), listed_words(&policy.allow)),
        ("Blocked".to_owned(), listed_words(&policy.block)),
        ("Local servers by".to_owned(), local),
    ]));
    if waiting.is_empty() {
        view = view.line("Nobody waits to be let in.");
    } else {
        let lines = waiting.iter().take(SHOWN).map(|caller| {
            let minutes = now_ms.saturating_sub(caller.at_ms) / 60_000;
            let wants = match caller.chat {
                None => " for themselves",
                Some(_) => " for a group",
            };
            let ago = match minutes {
                0 => "just now".to_owned(),
                1..60 => format!("{minutes} min ago"),
                _ => format!("{} h ago", minutes / 60),
            };
            who(caller).plain(format!("{wants}, {ago}"))
        });
        view = view
            .line("These wait to be let in:")
            .with(Block::List(lines.collect()));
        for caller in waiting.iter().take(WITH_BUTTONS) {
            let mut buttons = decisions(caller);
            let name = super::shortened(&caller.name, 12);
            if let Some(first) = buttons.first_mut() {
                first.label = match caller.chat {
                    None => format!("Allow {name}"),
                    Some(_) => format!("Allow {name}'s group"),
                };
            }
            view = view.row(buttons);
        }
    }
    view.line("`/admin allow`, `block` or `forget` and an id changes that; `/admin operator add` and an id makes an operator. The rest is in data/admin/policy.json.")
        .row([panel_button("Refresh"), Action::Open(Screen::Close).button("Close")])
}

/// Who may do what in a chat; with buttons for those who may change it. `hosts` is who adds servers that run on the host.
pub(in crate::desk) fn chat_settings(
    settings: ChatSettings,
    hosts: &'static str,
    may_change: bool,
) -> View {
    let configure = match settings.configure {
        Configure::Administrators => "the creator and the administrators",
        Configure::Creator => "the creator",
        Configure::Everybody => "every member",
    };
    let call = match settings.call {
        Call::Everybody => "every member",
        Call::Administrators => "the creator and the administrators",
    };
    let view = View::titled("Who may do what in this chat").with(Block::Pairs(vec![
        ("Change servers".to_owned(), Text::from(configure)),
        ("Call tools".to_owned(), Text::from(call)),
    ]));
    let view = view.with(Block::List(roles(settings, hosts)));
    if !may_change {
        return view.line("The creator of this chat can change that.");
    }
    let choice = |is_now: bool, verb, label: &str| {
        let label = if is_now {
            format!("✓ {label}")
        } else {
            label.to_owned()
        };
        Action::Set(verb).button(label)
    };
    let by = |who| settings.configure == who;
    view.line("Change servers:")
        .row([
            choice(
                by(Configure::Administrators),
                SettingVerb::ByAdministrators,
                "Administrators",
            ),
            choice(
                by(Configure::Creator),
                SettingVerb::ByCreator,
                "Creator only",
            ),
            choice(
                by(Configure::Everybody),
                SettingVerb::ByEverybody,
                "Everybody",
            ),
        ])
        .row([
            choice(
                settings.call == Call::Everybody,
                SettingVerb::CallsEverybody,
                "Everybody calls",
            ),
            choice(
                settings.call == Call::Administrators,
                SettingVerb::CallsAdministrators,
                "Administrators call",
            ),
        ])
        .row([Action::Open(Screen::Close).button("Close")])
}

/// Each role with what it may do.
fn roles(settings: ChatSettings, hosts: &'static str) -> Vec<Text> {
    let roles = [
        ("The creator", Standing::Creator),
        ("Administrators", Standing::Administrator),
        ("Members", Standing::Member),
    ];
    let told = roles.map(|(who, standing)| {
        let may = |action, words| policy::may(standing, settings, action).then_some(words);
        let words = [
            may(Deed::Configure, "change servers"),
            may(Deed::Call, "call tools"),
            may(Deed::Read, "look at what is there"),
            (standing == Standing::Creator).then_some("decide all this"),
        ];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        Text::default()
            .bold(who)
            .plain(format!(": {}", words.join(", ")))
    });
    let others = [
        Text::default()
            .bold("Operators of this bot")
            .plain(": all of it, in every chat"),
        Text::default()
            .bold("Servers that run on the bot's host")
            .plain(format!(": added by {hosts}")),
    ];
    told.into_iter().chain(others).collect()
}

/// The words of a view, for an alert.
pub(in crate::desk) fn sentence_of(view: &View) -> String {
    let words = view.blocks.iter().filter_map(|block| match block {
        Block::Text(text) => Some(text.to_plain()),
        Block::Heading(text) => Some(text.clone()),
        Block::List(_) | Block::Code { .. } | Block::Diff(_) | Block::Pairs(_) => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn who(caller: &Caller) -> Text {
    let mut text = Text::default().bold(super::shortened(&caller.name, 40));
    let ids = caller.person.iter().map(|person| person.0.clone());
    let ids: Vec<String> = ids
        .chain(caller.chat.iter().map(ToString::to_string))
        .collect();
    for (place, id) in ids.into_iter().enumerate() {
        text = text.plain(if place == 0 { " (" } else { " in " }).code(id);
    }
    text.plain(")")
}

fn operators(policy: &HostPolicy, me: &ActorId) -> Text {
    if policy.operators.is_empty() {
        return Text::from("the person at my terminal");
    }
    let mut text = Text::default();
    for (place, operator) in policy.operators.iter().take(SHOWN).enumerate() {
        text = text
            .plain(if place == 0 { "" } else { ", " })
            .code(&operator.0);
        if operator == me {
            text = text.plain(" (you)");
        }
    }
    text.plain(more(policy.operators.len()))
}

fn listed_words(listed: &Listed) -> Text {
    let people = listed.people.iter().map(|person| person.0.clone());
    let all: Vec<String> = people
        .chain(listed.chats.iter().map(ToString::to_string))
        .collect();
    if all.is_empty() {
        return Text::from("nobody");
    }
    let mut text = Text::default();
    for (place, id) in all.iter().take(SHOWN).enumerate() {
        text = text.plain(if place == 0 { "" } else { ", " }).code(id);
    }
    text.plain(more(all.len()))
}

fn more(all: usize) -> String {
    match all.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}
