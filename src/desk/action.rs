//! What a button means, and its 64 bytes on the wire.
//!
//! A press is untrusted: the data says what is wanted, never who may do it. Everything that must outlive a restart is in
//! the data itself or in a record that the data names.

use sha2::{Digest, Sha256};

use crate::chat::Button;

/// Bot API: `callback_data` has 1 to 64 bytes.
const MOST_BYTES: usize = 64;

/// The version of the form below; buttons of other versions are answered with "this button is old".
const VERSION: &str = "1";

/// What a press asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// The list of servers, from this page.
    Panel(usize),
    /// Something that needs no object.
    Open(Screen),
    /// Something about a server.
    Server(ServerVerb, Key),
    /// A page of a server's tools.
    Tools(Key, usize),
    /// A tool of a server.
    Tool(Key, Key),
    /// A call of a tool, asked for argument by argument.
    Call(Key, Key),
    /// Something about a proposal.
    Proposal(ProposalVerb, String),
    /// Something about a guided flow.
    Flow(FlowVerb, String),
    /// A change to turn round.
    Undo(String),
    /// A running call or test to stop.
    Stop(String),
    /// Something about a login under way.
    Login(LoginVerb, String),
    /// A login for what a server said it wants.
    Grant(String),
    /// A remote server that was pasted, to be connected.
    Offer(String),
    /// Something decided of a tool.
    Rule(RuleVerb, Key, Key),
    /// A changed definition, to be approved: stands for the server, the tool and what was shown.
    Approve(String),
    /// A decision about tools to take back.
    Unsay(String),
    /// Something about a call that waits for permission.
    Asked(AskVerb, String),
    /// Somebody who asked to be let in.
    Admit(AdmitVerb, String),
    /// Who may do what in this chat.
    Set(SettingVerb),
}

/// What is decided of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleVerb {
    /// On, from the list.
    On,
    /// Off, from the list.
    Off,
    /// On, from its card.
    CardOn,
    /// Off, from its card.
    CardOff,
    /// Calls are made at once.
    Always,
    /// Calls are asked about.
    Ask,
    /// Calls are not made.
    Never,
}

/// What becomes of a call that waits for permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskVerb {
    /// It is made.
    Once,
    /// And others of the tool for an hour.
    Hour,
    /// And all others of the tool, as it is defined now.
    Always,
    /// It is not made.
    Deny,
}

/// What is decided of somebody who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdmitVerb {
    /// The person may use the bot.
    Person,
    /// The chat may.
    Chat,
    /// The chat may not, or the person where they asked in private.
    Block,
}

/// What a chat's creator decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettingVerb {
    /// Administrators change servers.
    ByAdministrators,
    /// The creator alone does.
    ByCreator,
    /// Every member does.
    ByEverybody,
    /// Every member calls tools.
    CallsEverybody,
    /// Administrators do.
    CallsAdministrators,
}

/// Screens and flows that need no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    /// The guided add.
    Add,
    /// The guided connect.
    Connect,
    /// How to paste JSON.
    PasteJson,
    /// The request for a file.
    Upload,
    /// `mcp.json` as a file.
    Download,
    /// Numbers.
    Status,
    /// Applied changes.
    History,
    /// All commands.
    Help,
    /// Examples of servers.
    Examples,
    /// The demo server, proposed.
    Demo,
    /// The last good configuration, proposed in place of a broken file.
    Repair,
    /// What stands written out in the files, proposed sealed.
    Seal,
    /// Who may use the bot.
    Admin,
    /// Who may do what in this chat.
    Settings,
    /// Take the message's buttons away.
    Close,
}

/// What is done with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerVerb {
    /// Its card.
    Show,
    /// Try it in stages.
    Test,
    /// The tail of its stderr.
    Logs,
    /// Stop and start.
    Restart,
    /// The guided edit.
    Edit,
    /// Ask for a new name.
    Rename,
    /// Propose to switch it on.
    Enable,
    /// Switch it off.
    Disable,
    /// Propose to remove it.
    Remove,
    /// Log in at it.
    Login,
    /// Forget the login.
    Logout,
    /// Try its address and propose to connect it: for one that was written by hand, and to set its login anew.
    Connect,
    /// Ask anew how to prove who is there.
    Auth,
    /// Propose to grant it the hosts that it reached, and no others.
    Narrow,
}

/// What is done with a login under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginVerb {
    /// Take it.
    Finish,
    /// Drop it.
    Cancel,
}

/// What is done with a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProposalVerb {
    /// Write it.
    Apply,
    /// Drop it.
    Cancel,
    /// Propose to replace the whole file instead of adding to it, or the other way round.
    Switch,
}

/// What is done in a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlowVerb {
    /// Leave this step out.
    Skip,
    /// One step back.
    Back,
    /// End the flow.
    Cancel,
    /// Take the numbered choice.
    Choose(usize),
    /// Go on with what there is.
    Done,
}

/// A name in a button: the start of its hash, so that no button carries anybody's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// The key of a name.
    pub(super) fn of(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let hex = digest
            .iter()
            .take(8)
            .fold(String::from("#"), |hex, byte| hex + &format!("{byte:02x}"));
        Self(hex)
    }

    /// Whether this is the key of that name. Buttons of earlier days carry short names themselves.
    pub(super) fn is(&self, name: &str) -> bool {
        *self == Self::of(name) || self.0 == name
    }
}

impl Action {
    /// A button that asks for this.
    pub(super) fn button(&self, label: impl Into<String>) -> Button {
        Button::new(label, self.encode())
    }

    fn encode(&self) -> String {
        let fields: Vec<String> = match self {
            Self::Panel(page) => vec!["p".into(), page.to_string()],
            Self::Open(screen) => vec!["o".into(), screen.code().into()],
            Self::Server(verb, server) => vec!["s".into(), verb.code().into(), server.0.clone()],
            Self::Tools(server, page) => vec!["t".into(), server.0.clone(), page.to_string()],
            Self::Tool(server, tool) => vec!["T".into(), server.0.clone(), tool.0.clone()],
            Self::Call(server, tool) => vec!["c".into(), server.0.clone(), tool.0.clone()],
            Self::Proposal(verb, id) => vec!["P".into(), verb.code().into(), id.clone()],
            Self::Flow(verb, id) => vec!["f".into(), verb.code(), id.clone()],
            Self::Undo(id) => vec!["u".into(), id.clone()],
            Self::Stop(id) => vec!["x".into(), id.clone()],
            Self::Login(verb, id) => vec!["l".into(), verb.code().into(), id.clone()],
            Self::Grant(id) => vec!["g".into(), id.clone()],
            Self::Offer(id) => vec!["O".into(), id.clone()],
            Self::Rule(verb, server, tool) => vec![
                "r".into(),
                verb.code().into(),
                server.0.clone(),
                tool.0.clone(),
            ],
            Self::Approve(what) => vec!["a".into(), what.clone()],
            Self::Unsay(id) => vec!["U".into(), id.clone()],
            Self::Asked(verb, id) => vec!["q".into(), verb.code().into(), id.clone()],
            Self::Admit(verb, id) => vec!["A".into(), verb.code().into(), id.clone()],
            Self::Set(verb) => vec!["S".into(), verb.code().into()],
        };
        let data = format!("{VERSION}:{}", fields.join(":"));
        debug_assert!(data.len() <= MOST_BYTES, "{data} is too long for a button");
        data
    }

    /// Reads a button's data; `None` for anything that this version did not write.
    pub(super) fn decode(data: &str) -> Option<Self> {
        if data.len() > MOST_BYTES {
            return None;
        }
        let (version, rest) = data.split_once(':')?;
        if version != VERSION {
            return None;
        }
        let fields: Vec<&str> = rest.split(':').collect();
        let key = |text: &str| Key(text.to_owned());
        Some(match fields.as_slice() {
            ["p", page] => Self::Panel(page.parse().ok()?),
            ["o", code] => Self::Open(Screen::read(code)?),
            ["s", verb, server] => Self::Server(ServerVerb::read(verb)?, key(server)),
            ["t", server, page] => Self::Tools(key(server), page.parse().ok()?),
            ["T", server, tool] => Self::Tool(key(server), key(tool)),
            ["c", server, tool] => Self::Call(key(server), key(tool)),
            ["P", verb, id] => Self::Proposal(ProposalVerb::read(verb)?, (*id).to_owned()),
            ["f", verb, id] => Self::Flow(FlowVerb::read(verb)?, (*id).to_owned()),
            ["u", id] => Self::Undo((*id).to_owned()),
            ["x", id] => Self::Stop((*id).to_owned()),
            ["l", verb, id] => Self::Login(LoginVerb::read(verb)?, (*id).to_owned()),
            ["g", id] => Self::Grant((*id).to_owned()),
            ["O", id] => Self::Offer((*id).to_owned()),
            ["r", verb, server, tool] => Self::Rule(RuleVerb::read(verb)?, key(server), key(tool)),
            ["a", what] => Self::Approve((*what).to_owned()),
            ["U", id] => Self::Unsay((*id).to_owned()),
            ["q", verb, id] => Self::Asked(AskVerb::read(verb)?, (*id).to_owned()),
            ["A", verb, id] => Self::Admit(AdmitVerb::read(verb)?, (*id).to_owned()),
            ["S", verb] => Self::Set(SettingVerb::read(verb)?),
            _ => return None,
        })
    }
}

/// Codes of a plain enum, both ways, from one list.
macro_rules! codes {
    ($kind:ident { $($variant:ident = $code:literal),+ $(,)? }) => {
        impl $kind {
            fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            fn read(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

codes!(Screen {
    Add = "add", Connect = "conn", PasteJson = "json", Upload = "up", Download = "down", Status = "stat", History = "hist", Help = "help",
    Examples = "ex", Demo = "demo", Repair = "fix", Seal = "seal", Close = "close",
    Admin = "admin", Settings = "set",
});
codes!(ServerVerb {
    Show = "show", Test = "test", Logs = "logs", Restart = "re", Edit = "edit", Rename = "name", Enable = "on",
    Disable = "off", Remove = "rm", Login = "in", Logout = "out", Connect = "conn", Auth = "auth", Narrow = "net",
});
codes!(RuleVerb {
    On = "1", Off = "0", CardOn = "y", CardOff = "n", Always = "w", Ask = "a", Never = "x",
});
codes!(AskVerb { Once = "1", Hour = "h", Always = "w", Deny = "n" });
codes!(AdmitVerb { Person = "p", Chat = "c", Block = "b" });
codes!(SettingVerb {
    ByAdministrators = "ca", ByCreator = "cc", ByEverybody = "ce", CallsEverybody = "ue", CallsAdministrators = "ua",
});
codes!(LoginVerb { Finish = "y", Cancel = "n" });
codes!(ProposalVerb { Apply = "y", Cancel = "n", Switch = "s" });

impl FlowVerb {
    fn code(self) -> String {
        match self {
            Self::Skip => "s".into(),
            Self::Back => "b".into(),
            Self::Cancel => "n".into(),
            Self::Done => "d".into(),
            Self::Choose(index) => format!("c{index}"),
        }
    }

    fn read(code: &str) -> Option<Self> {
        Some(match code {
            "s" => Self::Skip,
            "b" => Self::Back,
            "n" => Self::Cancel,
            "d" => Self::Done,
            _ => Self::Choose(code.strip_prefix('c')?.parse().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(server: &str, tool: &str, id: &str, number: usize) -> Vec<Action> {
        let (server, tool) = (Key::of(server), Key::of(tool));
        vec![
            Action::Panel(number),
            Action::Open(Screen::Examples),
            Action::Server(ServerVerb::Restart, server.clone()),
            Action::Tools(server.clone(), number),
            Action::Tool(server.clone(), tool.clone()),
            Action::Call(server.clone(), tool.clone()),
            Action::Rule(RuleVerb::CardOff, server, tool),
            Action::Approve("0".repeat(32)),
            Action::Unsay(id.to_owned()),
            Action::Asked(AskVerb::Hour, id.to_owned()),
            Action::Proposal(ProposalVerb::Switch, id.to_owned()),
            Action::Flow(FlowVerb::Choose(number), id.to_owned()),
            Action::Undo(id.to_owned()),
            Action::Stop(id.to_owned()),
            Action::Login(LoginVerb::Finish, id.to_owned()),
            Action::Grant(id.to_owned()),
            Action::Offer(id.to_owned()),
            Action::Admit(AdmitVerb::Block, id.to_owned()),
            Action::Set(SettingVerb::CallsAdministrators),
        ]
    }

    proptest! {
        #[test]
        fn every_action_fits_a_button_and_comes_back(
            server in "[A-Za-z0-9._-]{1,64}", tool in "\\PC{1,80}", id in "[a-z0-9]{10}", number in 0_usize..10_000,
        ) {
            for action in all(&server, &tool, &id, number) {
                let data = action.encode();
                prop_assert!((1..=MOST_BYTES).contains(&data.len()), "{data}");
                prop_assert_eq!(Action::decode(&data), Some(action));
            }
            prop_assert!(Key::of(&server).is(&server) && Key::of(&tool).is(&tool));
        }

        #[test]
        fn d35_no_name_stands_in_a_button(server in "[g-z]{4,24}", tool in "[g-z ]{4,24}") {
            for action in all(&server, &tool, "id", 1) {
                let data = action.encode();
                prop_assert!(!data.contains(&server) && !data.contains(&tool), "{data}");
            }
        }

        #[test]
        fn d35_forged_data_is_refused_without_a_panic(data in "\\PC*") {
            let _ = Action::decode(&data);
        }
    }

    #[test]
    fn other_versions_and_nonsense_are_refused() {
        for data in [
            "",
            "1",
            "2:p:0",
            "1:p:-1",
            "1:s:boom:x",
            "1:f:cx:id",
            "0:P:y:abc",
        ] {
            assert_eq!(Action::decode(data), None, "{data}");
        }
    }
}
