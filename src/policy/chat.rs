//! Who may do what in one chat: what its creator decided, and what follows for each standing.

use serde::{Deserialize, Serialize};

use super::Action;
use crate::actor::Standing;

/// What the creator of a group decided; what is left out has its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatSettings {
    /// Who changes servers.
    pub configure: Configure,
    /// Who calls tools.
    pub call: Call,
}

/// Who changes servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Configure {
    /// The creator and the administrators.
    #[default]
    Administrators,
    /// The creator alone.
    Creator,
    /// Every member.
    Everybody,
}

/// Who calls tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Every member.
    #[default]
    Everybody,
    /// The creator and the administrators.
    Administrators,
}

/// Whether a person of this standing may do it in a chat with these settings. The person whose chat it is and the creator
/// may do everything; everybody in the chat reads.
pub fn may(standing: Standing, settings: ChatSettings, action: Action) -> bool {
    match (standing, action) {
        (Standing::Own | Standing::Creator, _)
        | (Standing::Administrator, Action::Read | Action::Call)
        | (Standing::Member, Action::Read) => true,
        (Standing::Administrator, Action::Configure) => settings.configure != Configure::Creator,
        (Standing::Member, Action::Call) => settings.call == Call::Everybody,
        (Standing::Member, Action::Configure) => settings.configure == Configure::Everybody,
        (Standing::Outsider, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_standing_may_what_the_settings_say() {
        use Action::{Call as Calls, Configure as Configures, Read};
        let settings = |configure, call| ChatSettings { configure, call };
        let default = ChatSettings::default();
        let creator = settings(Configure::Creator, Call::Administrators);
        let everybody = settings(Configure::Everybody, Call::Everybody);
        for (standing, settings, allowed) in [
            (Standing::Own, creator, &[Read, Calls, Configures][..]),
            (Standing::Creator, creator, &[Read, Calls, Configures]),
            (Standing::Administrator, default, &[Read, Calls, Configures]),
            (Standing::Administrator, creator, &[Read, Calls]),
            (Standing::Member, default, &[Read, Calls]),
            (Standing::Member, creator, &[Read]),
            (Standing::Member, everybody, &[Read, Calls, Configures]),
            (Standing::Outsider, everybody, &[]),
        ] {
            for action in [Read, Calls, Configures] {
                assert_eq!(
                    may(standing, settings, action),
                    allowed.contains(&action),
                    "{standing:?} {settings:?} {action:?}"
                );
            }
        }
    }
}
