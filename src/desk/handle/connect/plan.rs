//! What comes next when a remote server is connected. Pure: decided from what is known alone.
//!
//! The address is tried before anything is asked, so that nobody types a key for a server that is not there; a key is
//! tried before the proposal, so that what is applied works; a login comes after the proposal, since it can be done at any
//! time and the entry is not lost with it.

use super::super::super::records::{AuthKind, ConnectFlow, ConnectStep, Wants};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Try the address with what there is.
    Probe,
    /// Ask this.
    Ask(ConnectStep),
    /// Show what would be written.
    Propose,
}

/// The next step of a flow.
pub(super) fn plan(flow: &ConnectFlow) -> Plan {
    if flow.url.is_empty() {
        return Plan::Ask(ConnectStep::Address);
    }
    let Some(found) = &flow.found else {
        return Plan::Probe;
    };
    if flow.name.is_none() {
        return Plan::Ask(ConnectStep::Name);
    }
    if flow.asks_auth && flow.auth.is_none() {
        return Plan::Ask(ConnectStep::Auth);
    }
    match (flow.auth, found.wants) {
        (Some(AuthKind::None) | None, Wants::Nothing)
        | (None, Wants::OAuth)
        | (Some(AuthKind::OAuth), _) => Plan::Propose,
        (Some(AuthKind::None), _) | (None, Wants::Unknown | Wants::Refused) => {
            Plan::Ask(ConnectStep::Auth)
        }
        (Some(AuthKind::ApiKey), _) if flow.header.is_none() => Plan::Ask(ConnectStep::Header),
        (Some(AuthKind::Bearer | AuthKind::ApiKey), wants) => {
            if flow.secret.is_none() {
                Plan::Ask(ConnectStep::Secret)
            } else if flow.unproved || (found.with_secret && wants == Wants::Nothing) {
                Plan::Propose
            } else if found.with_secret {
                Plan::Ask(ConnectStep::Secret)
            } else {
                Plan::Probe
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::records::Found;
    use super::*;
    use crate::config::SecretName;

    fn flow(auth: Option<AuthKind>, wants: Wants) -> ConnectFlow {
        ConnectFlow {
            name: Some("hub".into()),
            url: "https://hub.example/mcp".into(),
            auth,
            header: Some("X-Key".into()),
            found: Some(Found {
                transport: None,
                wants,
                with_secret: false,
                info: String::new(),
                tools: None,
            }),
            ..ConnectFlow::default()
        }
    }

    #[test]
    fn the_address_comes_first_and_is_tried_before_anything_else_is_asked() {
        let mut flow = ConnectFlow::default();
        assert_eq!(plan(&flow), Plan::Ask(ConnectStep::Address));
        flow.url = "https://hub.example/mcp".into();
        flow.auth = Some(AuthKind::Bearer);
        assert_eq!(plan(&flow), Plan::Probe);
    }

    #[test]
    fn what_the_server_wants_decides_where_nobody_chose() {
        use AuthKind as A;
        use ConnectStep::{Auth, Secret};
        use Wants as W;
        for (chosen, wants, expected) in [
            (None, W::Nothing, Plan::Propose),
            (None, W::OAuth, Plan::Propose),
            (None, W::Unknown, Plan::Ask(Auth)),
            (None, W::Refused, Plan::Ask(Auth)),
            (Some(A::None), W::Nothing, Plan::Propose),
            (Some(A::None), W::OAuth, Plan::Ask(Auth)),
            (Some(A::None), W::Unknown, Plan::Ask(Auth)),
            (Some(A::OAuth), W::Nothing, Plan::Propose),
            (Some(A::OAuth), W::Unknown, Plan::Propose),
            (Some(A::Bearer), W::Unknown, Plan::Ask(Secret)),
            (Some(A::Bearer), W::Nothing, Plan::Ask(Secret)),
            (Some(A::ApiKey), W::OAuth, Plan::Ask(Secret)),
        ] {
            assert_eq!(plan(&flow(chosen, wants)), expected, "{chosen:?} {wants:?}");
        }
        let mut unnamed = flow(None, W::Nothing);
        unnamed.name = None;
        assert_eq!(plan(&unnamed), Plan::Ask(ConnectStep::Name));
        let mut bare = flow(Some(A::ApiKey), W::Unknown);
        bare.header = None;
        assert_eq!(plan(&bare), Plan::Ask(ConnectStep::Header));
    }

    #[test]
    fn a_key_is_tried_and_asked_for_again_where_it_was_not_taken() {
        let mut flow = flow(Some(AuthKind::Bearer), Wants::Unknown);
        flow.secret = SecretName::new("HUB_TOKEN").ok();
        assert_eq!(plan(&flow), Plan::Probe);
        for (wants, expected) in [
            (Wants::Nothing, Plan::Propose),
            (Wants::Refused, Plan::Ask(ConnectStep::Secret)),
            (Wants::OAuth, Plan::Ask(ConnectStep::Secret)),
        ] {
            if let Some(found) = &mut flow.found {
                (found.wants, found.with_secret) = (wants, true);
            }
            assert_eq!(plan(&flow), expected, "{wants:?}");
        }
        // One that somebody else wrote down is not sent before it is agreed to.
        flow.unproved = true;
        assert_eq!(plan(&flow), Plan::Propose);
    }
}
