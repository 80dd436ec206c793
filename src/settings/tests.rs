//! Flags and environment → settings, or the sentence that stops the start.

use super::*;

type Variables<'a> = &'a [(&'a str, &'a str)];

fn read(flags: &Flags, environment: Variables) -> Result<Settings, SettingsError> {
    let environment = environment
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::read(flags, environment)
}

fn flags(front: Option<FrontKind>, data: Option<&str>) -> Flags {
    Flags {
        front,
        data: data.map(PathBuf::from),
    }
}

const TOKEN_SET: (&str, &str) = ("TELOXIDE_TOKEN", "123456:AAH-secret_part");

#[test]
fn the_front_follows_the_flag_and_then_the_token() {
    use FrontKind::{Telegram, Terminal};
    let cases: [(Option<FrontKind>, Variables, FrontKind, bool); 5] = [
        (None, &[], Terminal, false),
        (None, &[("TELOXIDE_TOKEN", "")], Terminal, false),
        (None, &[TOKEN_SET], Telegram, true),
        (Some(Telegram), &[TOKEN_SET], Telegram, true),
        (
            Some(Terminal),
            &[("TELOXIDE_TOKEN", "nonsense")],
            Terminal,
            false,
        ),
    ];
    for (front, environment, expected, has_token) in cases {
        let settings = read(&flags(front, None), environment).unwrap();
        assert_eq!(
            (
                settings.front,
                settings.token.is_some(),
                settings.front_chosen
            ),
            (expected, has_token, front.is_some()),
            "{front:?} {environment:?}"
        );
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let settings = read(&Flags::default(), &[]).unwrap();
    assert_eq!(
        settings,
        Settings {
            front: FrontKind::Terminal,
            front_chosen: false,
            data: PathBuf::from("data"),
            downloads: PathBuf::from("data/downloads"),
            token: None,
            api_url: None,
            server_idle: Duration::from_mins(15),
            thread_idle: Duration::from_hours(1),
            call_timeout: Duration::from_mins(1),
            address_rules: AddressRules::default(),
            public_url: None,
            listen: "127.0.0.1:8787".parse().unwrap(),
            listen_chosen: false,
            admin_servers: AdminServers::None,
            log: "warn,rmcp=off".to_owned(),
            user: "you".to_owned(),
            home: None,
            color: true,
            warnings: Vec::new(),
            operators: Vec::new(),
            access: None,
            vault: Ring::default(),
            sandbox: Choice::Auto,
        }
    );
}

/// A key of zeros.
const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn keys_are_read_from_a_credential_a_file_and_the_environment_in_this_order() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        use std::io::Write as _;
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o600))
            .unwrap();
        path.to_str().unwrap().to_owned()
    };
    put("switchboard-vault-key", &format!("cred:{ZEROS}\n"));
    let file = put("key", &format!("file:{ZEROS}\n"));
    let (folder, ring) = (
        dir.path().to_str().unwrap(),
        format!("k2:{ZEROS},k1:{ZEROS}"),
    );
    let all: Variables = &[
        ("CREDENTIALS_DIRECTORY", folder),
        ("SWITCHBOARD_VAULT_KEY_FILE", &file),
        ("SWITCHBOARD_VAULT_KEYS", &ring),
    ];
    let ids = |variables: Variables| {
        let settings = read(&Flags::default(), variables).unwrap();
        assert_eq!(settings.warnings, [""; 0]);
        let ids: Vec<_> = settings.vault.ids().map(ToString::to_string).collect();
        ids.join(" ")
    };
    assert_eq!(ids(all), "cred file k2 k1");
    assert_eq!(ids(&all[1..]), "file k2 k1");
    assert_eq!(ids(&all[2..]), "k2 k1");
    assert_eq!(ids(&[("CREDENTIALS_DIRECTORY", "/nowhere")]), "");
}

#[test]
fn bad_keys_stop_the_start_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let cases: [(&str, &str); 5] = [
        ("SWITCHBOARD_VAULT_KEYS", "k1:hush-hush-hush"),
        ("SWITCHBOARD_VAULT_KEYS", "hush"),
        ("SWITCHBOARD_VAULT_KEYS", ","),
        ("SWITCHBOARD_VAULT_KEY_FILE", missing.to_str().unwrap()),
        ("SWITCHBOARD_VAULT_KEY_FILE", dir.path().to_str().unwrap()),
    ];
    for (name, value) in cases {
        let error = read(&Flags::default(), &[(name, value)]).unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with(name) && !told.contains("hush"), "{told}");
    }
}

#[test]
fn the_sandbox_is_one_of_four() {
    for (value, expected) in [
        ("auto", Some(Choice::Auto)),
        ("Strong", Some(Choice::Exactly(Tier::Strong))),
        (" restricted ", Some(Choice::Exactly(Tier::Restricted))),
        ("off", Some(Choice::Exactly(Tier::None))),
        ("none", None),
        ("0", None),
        ("stron", None),
    ] {
        let settings = read(&Flags::default(), &[("SWITCHBOARD_SANDBOX", value)]);
        match expected {
            Some(expected) => assert_eq!(settings.unwrap().sandbox, expected, "{value}"),
            None => assert!(
                settings
                    .unwrap_err()
                    .to_string()
                    .contains("SWITCHBOARD_SANDBOX is `"),
                "{value}"
            ),
        }
    }
}

#[test]
fn everything_can_be_set() {
    let settings = read(
        &Flags::default(),
        &[
            TOKEN_SET,
            ("TELOXIDE_API_URL", "http://127.0.0.1:8081/bot"),
            ("SWITCHBOARD_DATA", "/nowhere/switchboard"),
            ("SWITCHBOARD_DOWNLOADS", "/nowhere/files"),
            ("SWITCHBOARD_SERVER_IDLE", "90s"),
            ("SWITCHBOARD_THREAD_IDLE", "2h"),
            ("SWITCHBOARD_CALL_TIMEOUT", "500ms"),
            ("SWITCHBOARD_LOG", "error"),
            ("USER", "ada"),
            ("HOME", "/home/ada"),
            ("NO_COLOR", "1"),
        ],
    )
    .unwrap();
    assert_eq!(settings.data, Path::new("/nowhere/switchboard"));
    assert_eq!(settings.downloads, Path::new("/nowhere/files"));
    assert_eq!(
        settings.api_url.as_deref(),
        Some("http://127.0.0.1:8081/bot")
    );
    assert_eq!(settings.server_idle, Duration::from_secs(90));
    assert_eq!(settings.thread_idle, Duration::from_hours(2));
    assert_eq!(settings.call_timeout, Duration::from_millis(500));
    assert_eq!(
        (settings.log.as_str(), settings.user.as_str()),
        ("error,rmcp=off", "ada")
    );
    assert!(!settings.color && settings.warnings.is_empty());
    let flag = flags(None, Some("/nowhere/flag"));
    let settings = read(&flag, &[("SWITCHBOARD_DATA", "/nowhere/variable")]).unwrap();
    assert_eq!(settings.data, Path::new("/nowhere/flag"));
}

#[test]
fn nonsense_stops_the_start_and_names_the_setting() {
    let dir = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
    let file = file.path().to_str().unwrap();
    let below = format!("{file}/data");
    let telegram = flags(Some(FrontKind::Telegram), None);
    let none = Flags::default();
    let cases: [(&Flags, Variables, &str); 13] = [
        (
            &telegram,
            &[],
            "the Telegram front needs a bot token in TELOXIDE_TOKEN",
        ),
        (
            &none,
            &[("TELOXIDE_TOKEN", "secret")],
            "TELOXIDE_TOKEN is not a bot token",
        ),
        (
            &none,
            &[("TELOXIDE_TOKEN", ":secret")],
            "TELOXIDE_TOKEN is not a bot token",
        ),
        (
            &none,
            &[("TELOXIDE_TOKEN", "12 3:secret")],
            "TELOXIDE_TOKEN is not a bot token",
        ),
        (
            &none,
            &[("TELOXIDE_TOKEN", "bot123:secret")],
            "TELOXIDE_TOKEN is not a bot token",
        ),
        (
            &none,
            &[("SWITCHBOARD_SERVER_IDLE", "soon")],
            "SWITCHBOARD_SERVER_IDLE is `soon`",
        ),
        (
            &none,
            &[("SWITCHBOARD_THREAD_IDLE", "0s")],
            "SWITCHBOARD_THREAD_IDLE is `0s`",
        ),
        (
            &none,
            &[("SWITCHBOARD_CALL_TIMEOUT", "60")],
            "SWITCHBOARD_CALL_TIMEOUT is `60`",
        ),
        (
            &none,
            &[("SWITCHBOARD_LOG", "x=loud")],
            "SWITCHBOARD_LOG is `x=loud`",
        ),
        (
            &none,
            &[TOKEN_SET, ("TELOXIDE_API_URL", "localhost:8081")],
            "TELOXIDE_API_URL is `localhost:8081`",
        ),
        (
            &none,
            &[TOKEN_SET, ("TELOXIDE_API_URL", "http://me:secret@host")],
            "TELOXIDE_API_URL is `…@host`",
        ),
        (
            &none,
            &[("SWITCHBOARD_DATA", file)],
            "SWITCHBOARD_DATA is `",
        ),
        (
            &none,
            &[("SWITCHBOARD_DATA", &below)],
            "SWITCHBOARD_DATA is `",
        ),
    ];
    for (flags, environment, expected) in cases {
        let refused = read(flags, environment).unwrap_err().to_string();
        assert!(
            refused.starts_with(expected),
            "{environment:?} gave: {refused}"
        );
        assert!(!refused.contains("secret"), "a secret is told: {refused}");
    }
    let refused = read(&flags(None, Some(file)), &[]).unwrap_err().to_string();
    assert_eq!(
        refused,
        format!(
            "--data is `{file}`, which is a file; name a folder, it is made where it is missing"
        )
    );
}

#[test]
fn unknown_variables_are_warned_of_with_the_nearest_name() {
    let settings = read(
        &Flags::default(),
        &[
            ("SWITCHBOARD_SERVER_IDEL", "1h"),
            ("SWITCHBOARD_FAVOURITE_COLOUR", "red"),
            ("OTHER_DATA", "x"),
        ],
    )
    .unwrap();
    assert_eq!(
        settings.warnings,
        [
            "SWITCHBOARD_FAVOURITE_COLOUR is no setting and does nothing.",
            "SWITCHBOARD_SERVER_IDEL is no setting and does nothing; did you mean SWITCHBOARD_SERVER_IDLE?",
        ]
    );
}

#[test]
fn the_token_never_shows_itself() {
    let settings = read(&Flags::default(), &[TOKEN_SET]).unwrap();
    assert_eq!(
        settings.token.as_ref().map(Secret::expose),
        Some(TOKEN_SET.1)
    );
    assert!(!format!("{settings:?}").contains("secret_part"));
    assert!(format!("{settings:?}").contains("[redacted]"));
}

#[test]
fn the_banner_says_why_it_is_a_terminal() {
    let unset = read(&Flags::default(), &[]).unwrap().banner();
    assert!(unset.starts_with("TELOXIDE_TOKEN is not set, so this is a chat in this terminal"));
    let chosen = read(&flags(Some(FrontKind::Terminal), None), &[TOKEN_SET]).unwrap();
    assert!(
        chosen
            .banner()
            .starts_with("This is a chat in this terminal")
    );
}
