//! Guided flows: what a person has answered so far.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ConnectFlow, Handoff, SecretFlow};
use crate::actor::Actor;
use crate::chat::MessageId;
use crate::config::SecretName;

/// A guided flow of one person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct Flow {
    /// Random; in the buttons.
    pub(in crate::desk) id: String,
    /// Whose answers count.
    pub(in crate::desk) by: Actor,
    /// The message that asks.
    pub(in crate::desk) message: Option<MessageId>,
    /// What has been answered so far.
    pub(in crate::desk) kind: FlowKind,
    /// When it was last acted on.
    pub(in crate::desk) at_ms: i64,
}

/// The guided flows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "flow")]
pub(in crate::desk) enum FlowKind {
    /// `/mcp add`.
    Add(AddFlow),
    /// `/mcp edit NAME`.
    Edit(EditFlow),
    /// The new name of a server.
    Rename {
        /// Its name now.
        server: String,
    },
    /// JSON to paste.
    Json {
        /// The name for a bare server.
        name: Option<String>,
    },
    /// A file to send.
    Upload,
    /// Arguments of a call, one a step.
    Call(CallFlow),
    /// `/mcp connect`.
    Connect(Box<ConnectFlow>),
    /// A secret that a flow in a group asks for in private.
    Handoff(Handoff),
    /// `/mcp secrets set`.
    Secret(SecretFlow),
    /// `/mcp secrets remove`, of one that something uses.
    Forget {
        /// Which.
        name: SecretName,
    },
}

/// The steps of the guided add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::desk) enum AddStep {
    /// What it is called.
    #[default]
    Name,
    /// The program and its arguments.
    Command,
    /// Its environment.
    Env,
    /// Its folder.
    Cwd,
}

/// Answers of the guided add.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct AddFlow {
    /// The question that is open.
    pub(in crate::desk) step: AddStep,
    /// The name, once given.
    pub(in crate::desk) name: String,
    /// What was changed about the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::desk) name_note: Option<String>,
    /// The program.
    pub(in crate::desk) command: String,
    /// Its arguments.
    pub(in crate::desk) args: Vec<String>,
    /// Its environment.
    pub(in crate::desk) env: Vec<(String, String)>,
    /// Secrets that were stored meanwhile.
    #[serde(default)]
    pub(in crate::desk) secrets: Vec<SecretName>,
}

/// A field of a server, as the guided edit offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::desk) enum EditField {
    /// Program and arguments.
    Command,
    /// Environment variables, one or more a message.
    Env,
    /// Working folder.
    Cwd,
    /// How much of the network it is granted.
    Network,
    /// A remote server's headers, one or more a message.
    Headers,
    /// How long a call of a remote server may take.
    Timeout,
}

/// State of the guided edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct EditFlow {
    /// The server.
    pub(in crate::desk) server: String,
    /// It is reached over the network.
    #[serde(default)]
    pub(in crate::desk) remote: bool,
    /// Secrets that were stored meanwhile.
    #[serde(default)]
    pub(in crate::desk) secrets: Vec<SecretName>,
    /// The field that is asked for; the menu where `None`.
    pub(in crate::desk) field: Option<EditField>,
    /// The entry with what was changed so far, for showing.
    pub(in crate::desk) value: Value,
    /// The fields that were set, which are applied to the entry as it is at the end.
    #[serde(default)]
    pub(in crate::desk) set: Vec<(String, String)>,
}

/// State of a call that asks for its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::desk) struct CallFlow {
    /// The server.
    pub(in crate::desk) server: String,
    /// The tool, as the server calls it.
    pub(in crate::desk) tool: String,
    /// Arguments given so far.
    pub(in crate::desk) arguments: Map<String, Value>,
    /// Arguments still to ask for, first one first.
    pub(in crate::desk) missing: Vec<String>,
}

impl FlowKind {
    /// The secrets that answers name, whoever gave them.
    pub(in crate::desk) fn names(&self) -> Vec<SecretName> {
        let texts: Vec<&str> = match self {
            Self::Add(add) => {
                let env = add.env.iter().map(|(_, value)| value.as_str());
                env.chain(add.args.iter().map(String::as_str)).collect()
            }
            Self::Edit(edit) => edit.set.iter().map(|(_, text)| text.as_str()).collect(),
            Self::Rename { .. }
            | Self::Json { .. }
            | Self::Upload
            | Self::Call(_)
            | Self::Connect(_)
            | Self::Handoff(_)
            | Self::Secret(_)
            | Self::Forget { .. } => Vec::new(),
        };
        let names = texts.into_iter().flat_map(SecretName::all_in);
        names.map(|(_, name)| name).collect()
    }
}
