//! Who may do what, and what a change risks. Pure: judges what it is given and looks nothing up.

mod address;
mod risk;

pub use address::{AddressProblem, AddressRules, literal};
pub use risk::risks;

use crate::actor::Standing;

/// What somebody wants to do in a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Look at servers, tools and status (secrets are masked for everybody).
    Read,
    /// Call a tool.
    Call,
    /// Change the configuration, start or stop servers, read logs or download files.
    Configure,
}

/// Whether a person of this standing may do it: everybody in the chat reads and calls; only the person whose chat it is,
/// the creator and the administrators configure.
pub fn may(standing: Standing, action: Action) -> bool {
    match (standing, action) {
        (
            Standing::Own | Standing::Creator | Standing::Administrator,
            Action::Read | Action::Call | Action::Configure,
        )
        | (Standing::Member, Action::Read | Action::Call) => true,
        (Standing::Member, Action::Configure)
        | (Standing::Outsider, Action::Read | Action::Call | Action::Configure) => false,
    }
}
