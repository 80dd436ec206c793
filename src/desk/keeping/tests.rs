use super::forget::gone_with_agreements;
use super::*;
use crate::config::{CredentialId, RemoteAuth, RemoteTransport, SecretName};
use crate::desk::records::Forget;

fn server(url: &str, auth: RemoteAuth) -> RemoteServer {
    RemoteServer {
        transport: RemoteTransport::Http,
        url: url.to_owned(),
        headers: vec![("X-A".to_owned(), "a ${secret:A} ${secret:B}".to_owned())],
        auth,
        timeout_ms: None,
        disabled: false,
    }
}

fn name(text: &str) -> ServerName {
    ServerName::new(text).unwrap()
}

fn config(servers: &[(&str, &RemoteServer)]) -> ThreadConfig {
    let remote = servers
        .iter()
        .map(|(text, server)| (name(text), (*server).clone()));
    ThreadConfig {
        remote: remote.collect(),
        ..ThreadConfig::default()
    }
}

#[test]
fn what_is_shown_is_agreed_to_and_nothing_else() {
    let (one, other) = (
        server("https://a.example", RemoteAuth::None),
        server("https://b.example", RemoteAuth::None),
    );
    let agreed = BTreeMap::from([(name("a"), one.approval())]);
    let nothing = BTreeMap::new();
    let rename = Edit(vec![Change::Rename {
        file: FileKind::Remote,
        from: "a".into(),
        to: "b".into(),
    }]);
    let (none, edit) = (config(&[]), Edit::default());
    let (had, has) = (config(&[("a", &one)]), config(&[("a", &other)]));
    let yes = |text: &str, server: &RemoteServer| (name(text), Some(server.approval()));
    let no = |text: &str| (name(text), None);
    // A new one.
    assert_eq!(
        agreements(&nothing, &none, &had, &edit, None),
        [yes("a", &one)]
    );
    // One that was agreed to is changed.
    assert_eq!(
        agreements(&agreed, &had, &has, &edit, None),
        [yes("a", &other)]
    );
    // One that was not, is changed: still nobody agreed.
    assert_eq!(agreements(&nothing, &had, &has, &edit, None), []);
    // It is connected.
    assert_eq!(
        agreements(&nothing, &had, &has, &edit, Some("a")),
        [yes("a", &other)]
    );
    assert_eq!(
        agreements(&nothing, &had, &had, &edit, Some("a")),
        [yes("a", &one)]
    );
    // Removed and renamed.
    assert_eq!(agreements(&agreed, &had, &none, &edit, None), [no("a")]);
    let renamed = config(&[("b", &one)]);
    assert_eq!(
        agreements(&agreed, &had, &renamed, &rename, None),
        [yes("b", &one), no("a")]
    );
    assert_eq!(agreements(&nothing, &had, &renamed, &rename, None), []);
    // A stale agreement to the new name does not count for what is renamed to it.
    let stale = BTreeMap::from([(name("b"), other.approval())]);
    assert_eq!(agreements(&stale, &had, &renamed, &rename, None), [no("b")]);
}

#[test]
fn what_no_entry_has_any_more_is_left_over() {
    let secret = |text: &str| SecretName::new(text).unwrap();
    let id = CredentialId::new("c-1").unwrap();
    let old = config(&[
        (
            "a",
            &server("https://a.example", RemoteAuth::OAuth(id.clone())),
        ),
        (
            "b",
            &server("https://b.example", RemoteAuth::Bearer(secret("T"))),
        ),
    ]);
    let new = config(&[("a", &server("https://a.example", RemoteAuth::None))]);
    assert_eq!(
        left_over(&old, &new),
        [Forget::Credential(id), Forget::Secret(secret("T"))]
    );
    assert_eq!(left_over(&new, &old), []);
    // The same by hand; but what was only renamed keeps what it had, save the agreement.
    let gone = |new: &ThreadConfig| gone_with_agreements(&old, new);
    let of_b = Forget::Approval(name("b"));
    assert_eq!(gone(&new)[0], of_b);
    let moved = |text: &'static str| {
        let mut moved = old.clone();
        moved.remote[1].0 = name(text);
        moved
    };
    assert_eq!(gone(&moved("c")), [of_b]);
    assert_eq!(gone(&moved("b")), []);
}

#[test]
fn a_name_for_a_secret_is_free() {
    let taken = ["HUB_TOKEN", "HUB_TOKEN_2"].map(|text| SecretName::new(text).unwrap());
    assert_eq!(free_name("HUB_TOKEN", &taken).as_str(), "HUB_TOKEN_3");
    assert_eq!(free_name("HUB_KEY", &taken).as_str(), "HUB_KEY");
    assert!(free_name(&"X".repeat(90), &taken).as_str().len() <= 64);
}
