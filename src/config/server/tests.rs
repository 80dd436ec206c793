use super::super::{CredentialId, RemoteTransport, SecretName};
use super::*;

fn server(command: &str, args: &[&str], env: &[(&str, &str)], cwd: Option<&str>) -> StdioServer {
    StdioServer {
        command: command.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        cwd: cwd.map(str::to_owned),
        network: NetworkGrant::Unsaid,
        disabled: false,
    }
}

fn key(server: &StdioServer) -> String {
    definition_key(&Definition::Local(server.clone()))
}

#[test]
fn only_what_runs_otherwise_differs() {
    let both = server("y", &[], &[("A", "1"), ("B", "2")], None);
    let turned = server("y", &[], &[("B", "2"), ("A", "1")], None);
    assert!(both.means_the_same(&turned));
    let disabled = StdioServer {
        disabled: true,
        ..both.clone()
    };
    for other in [
        server("x", &[], &[("A", "1"), ("B", "2")], None),
        server("y", &[], &[("A", "1")], None),
        disabled,
    ] {
        assert!(!both.means_the_same(&other));
    }
}

#[test]
fn keys_tell_definitions_apart() {
    let all = [
        server("a", &[], &[], None),
        server("a", &["b"], &[], None),
        server("a", &["b", "c"], &[], None),
        server("a", &["bc"], &[], None),
        server("a", &[], &[("b", "c")], None),
        server("a", &[], &[], Some("b")),
        server("a", &[], &[], Some("")),
        server("ab", &[], &[], None),
        StdioServer {
            network: NetworkGrant::None,
            ..server("a", &[], &[], None)
        },
        StdioServer {
            network: NetworkGrant::Public,
            ..server("a", &[], &[], None)
        },
    ];
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            assert_ne!(key(one), key(other));
        }
    }
    let mut disabled = all[0].clone();
    disabled.disabled = true;
    assert_eq!(key(&all[0]), key(&disabled));
    // Kept on disk by the tool cache: it must not change from version to version.
    assert_eq!(
        key(&server("npx", &["-y", "x"], &[("A", "1")], Some("/d"))),
        "19d10bdbad07375a6c7fb284bdbc1e66"
    );
}

#[test]
fn keys_tell_remote_definitions_apart() {
    let base = RemoteServer {
        transport: RemoteTransport::Http,
        url: "https://a.example".to_owned(),
        headers: Vec::new(),
        auth: RemoteAuth::None,
        timeout_ms: None,
        disabled: false,
    };
    let secret = || SecretName::new("a").unwrap();
    let with = |change: &dyn Fn(&mut RemoteServer)| {
        let mut server = base.clone();
        change(&mut server);
        definition_key(&Definition::Remote(server))
    };
    let mut all = vec![
        with(&|_| ()),
        with(&|s| s.transport = RemoteTransport::Sse),
        with(&|s| s.url.push('/')),
        with(&|s| s.headers.push(("A".to_owned(), "b".to_owned()))),
        with(&|s| s.auth = RemoteAuth::Bearer(secret())),
        with(&|s| s.auth = RemoteAuth::OAuth(CredentialId::new("a").unwrap())),
        with(&|s| {
            s.auth = RemoteAuth::ApiKey {
                header: "A".to_owned(),
                value: secret(),
            };
        }),
        key(&server("https://a.example", &[], &[], None)),
    ];
    let unchanged = with(&|s| (s.disabled, s.timeout_ms) = (true, Some(1)));
    assert_eq!(unchanged, all[0]);
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn debug_shows_no_values() {
    let text = format!(
        "{:?}",
        server("a", &["--token=abc123"], &[("T", "secret-value")], None)
    );
    assert!(
        !text.contains("abc123") && !text.contains("secret-value"),
        "{text}"
    );
    let remote = RemoteServer {
        transport: RemoteTransport::Http,
        url: "https://u:hidden@h.example/?key=hidden".to_owned(),
        headers: Vec::new(),
        auth: RemoteAuth::None,
        timeout_ms: None,
        disabled: false,
    };
    assert!(!format!("{remote:?}").contains("hidden"));
}
