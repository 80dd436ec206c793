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
        disabled: false,
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
    ];
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            assert_ne!(definition_key(one), definition_key(other));
        }
    }
    let mut disabled = all[0].clone();
    disabled.disabled = true;
    assert_eq!(definition_key(&all[0]), definition_key(&disabled));
    // Kept on disk by the tool cache: it must not change from version to version.
    assert_eq!(
        definition_key(&server("npx", &["-y", "x"], &[("A", "1")], Some("/d"))),
        "19d10bdbad07375a6c7fb284bdbc1e66"
    );
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
        header_names: Vec::new(),
        disabled: false,
    };
    assert!(!format!("{remote:?}").contains("hidden"));
}
