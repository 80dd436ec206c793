use proptest::prelude::*;
use serde_json::json;

use super::super::Masker;
use super::super::NetworkGrant;
use super::super::StdioServer;
use super::super::command_line;
use super::*;

#[test]
fn names_of_secrets() {
    for name in [
        "GITHUB_TOKEN",
        "GITHUB_PERSONAL_ACCESS_TOKEN",
        "apiKey",
        "API_KEY",
        "OPENAI_API_KEY",
        "Authorization",
        "X-Api-Key",
        "password",
        "PGPASSWORD",
        "DB_PASS",
        "client_secret",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "Cookie",
        "SLACK_BOT_TOKEN",
        "GITLAB_PAT",
        "--api-key",
        "--token",
        "accessToken",
        "sentryAuthToken",
        "KEY",
        "SMTP_PWD",
    ] {
        assert!(is_secret_name(name), "{name}");
    }
    for name in [
        "",
        "PATH",
        "HOME",
        "NODE_ENV",
        "LOG_LEVEL",
        "KEYBOARD",
        "MONKEY",
        "MAX_TOKENS",
        "TOKEN_LIMIT",
        "TOKENIZER",
        "AUTH_URL",
        "AUTH_TYPE",
        "TOKEN_FILE",
        "PASSENGER",
        "AUTHOR",
        "SECRETARY_NAME",
        "command",
        "args",
        "url",
        "--port",
        "COMPASS_DIR",
    ] {
        assert!(!is_secret_name(name), "{name}");
    }
}

#[test]
fn what_is_left_of_a_text_has_no_secret() {
    for (text, expected) in [
        ("ghp_01234567=456789abcdefghijABCDEFGHIJ012345", "••••=••••"),
        (
            "x//6789abcdefghijABc2Vjcm=V0CD/U2VjcmV0U2VjcmV0+U1VjcmV0QUJDRE",
            "x//••••",
        ),
    ] {
        let shown = masked_url(text);
        assert_eq!(shown, expected);
        assert_eq!(masked_url(&shown), shown);
    }
}

#[test]
fn values_of_secrets() {
    for value in [
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "github_pat_11ABCDEFG0abcdefghij",
        "sk-proj-abc123def456ghi789",
        "xoxb-1234567890-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer abc123def456",
        "Basic dXNlcjpwYXNz",
        "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----",
        "postgres://user:pa55@db.example/x",
        "https://x-token@host.example/",
        "https://a.example/?api_key=abc",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "--api-key=XYZ",
        "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    ] {
        assert!(is_secret_value(value), "{value}");
    }
    for value in [
        "",
        "production",
        "3000",
        "/data",
        "/home/user/projects/my-mcp-server/index.js",
        "https://weather.example/mcp?units=metric",
        "@modelcontextprotocol/server-everything",
        "@modelcontextprotocol/server-filesystem@2025.11.25",
        "mcp-server-git==2025.1.14",
        "-y",
        "true",
        "${GITHUB_TOKEN}",
        "${secret:GITHUB_TOKEN}",
        "Bearer ${TOKEN}",
        "https://user:${PASSWORD}@host.example/",
        "git@github.com:a/b.git",
        "ghcr.io/github/github-mcp-server",
        "C:\\Users\\me\\AppData\\Roaming\\npm\\server.cmd",
        "2026-11-21T10:30:00Z",
        "sk-learn-contrib-tools",
        "Europe/Berlin",
        "postgresql://localhost:5432/mydb",
        "my-Report-2024-Q3-Final-v2-Draft3",
        "de_DE.UTF-8",
        "node_modules/.bin/mcp-server-fetch",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "/nix/store/bin",
        "Bearer token",
        "gpt-4o-mini-2024-07-18",
    ] {
        assert!(!is_secret_value(value), "{value}");
    }
}

#[test]
fn environments_are_shown_with_secrets_masked() {
    for (name, value, expected) in [
        ("NODE_ENV", "production", "production"),
        ("PORT", "3000", "3000"),
        ("DATA", "/data", "/data"),
        ("TOKEN", "abc", "••••"),
        ("TOKEN", "", ""),
        ("TOKEN", "${secret:TOKEN}", "${secret:TOKEN}"),
        ("TOKEN", "${TOKEN:-abc123}", "••••"),
        (
            "DATABASE_URL",
            "postgres://me:pa55@db/x",
            "postgres://me:••••@db/x",
        ),
        ("X", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "••••"),
    ] {
        let shown = masked_env(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(shown, [(name.to_owned(), expected.to_owned())]);
    }
    assert_eq!(mask_value("abc"), "••••");
    assert_eq!(mask_value("${A}"), "${A}");
}

#[test]
fn command_lines_are_shown_with_secrets_masked() {
    for (args, expected) in [
        (vec!["-y", "pkg", "/data"], "npx -y pkg /data"),
        (vec!["--api-key=XYZ"], "npx --api-key=••••"),
        (vec!["--token", "XYZ", "x"], "npx --token •••• x"),
        (vec!["--token", "${TOKEN}"], "npx --token '${TOKEN}'"),
        (vec!["--token", "--verbose"], "npx --token --verbose"),
        (vec!["-p", "hunter2"], "npx -p ••••"),
        (vec!["-p", "8080:80"], "npx -p 8080:80"),
        (vec!["-p", "./here"], "npx -p ./here"),
        (vec!["--creds", "u:p"], "npx --creds ••••"),
        (
            vec!["https://hooks.slack.com/services/T0/B0/abc"],
            "npx https://hooks.slack.com/services/••••",
        ),
        (vec!["-e", "GITHUB_TOKEN=abc"], "npx -e GITHUB_TOKEN=••••"),
        (
            vec!["-H", "Authorization: Bearer abc123"],
            "npx -H 'Authorization: Bearer ••••'",
        ),
        (
            vec!["postgresql://me:pw@localhost/db"],
            "npx postgresql://me:••••@localhost/db",
        ),
        (
            vec!["two words", "", "it's", "a\u{202e}b\n"],
            r"npx 'two words' '' 'it'\''s' 'a\u{202e}b\u{a}'",
        ),
    ] {
        let server = StdioServer {
            command: "npx".to_owned(),
            args: args.into_iter().map(str::to_owned).collect(),
            env: Vec::new(),
            cwd: None,
            network: NetworkGrant::Unsaid,
            disabled: false,
        };
        assert_eq!(command_line(&server), expected);
    }
}

#[test]
fn a_placeholder_is_never_masked() {
    for name in ["HUB_TOKEN", "HUB_TOKEN_2", "hub-2.key_12345678"] {
        let placeholder = format!("${{secret:{name}}}");
        for entry in [
            json!({"auth": {"bearer": placeholder}}),
            json!({"auth": {"api_key": {"header": "X-Key", "value": placeholder}}}),
            json!({"headers": {"X-Key": placeholder, "Authorization": format!("Bearer {placeholder}")}}),
            json!({"url": format!("https://h.example/{placeholder}?team=1")}),
            json!({"args": ["--token", placeholder]}),
            json!({"env": {"A_TOKEN": placeholder, "A": placeholder}}),
        ] {
            assert_eq!(masked_json(None, &entry), entry, "{name}");
        }
        // What stands beside it is.
        assert_eq!(
            masked_json(
                None,
                &json!({"headers": {"X-Key": format!("abc {placeholder}def")}})
            ),
            json!({"headers": {"X-Key": format!("••••{placeholder}••••")}})
        );
        assert_eq!(
            masked_json(
                None,
                &json!({"args": ["--token", format!("abc-{placeholder}")]})
            ),
            json!({"args": ["--token", format!("••••{placeholder}")]})
        );
        let said = format!("token {placeholder} password: hunter2");
        let shown = format!("token {placeholder} password: ••••");
        assert_eq!(Masker::default().mask(&said), shown);
    }
    // What only begins like one is no placeholder.
    let value = "${secret:HUBTOKEN12345678";
    assert!(is_secret_value(value), "{value}");
}

#[test]
fn addresses_are_shown_with_secrets_masked() {
    for (url, expected) in [
        (
            "https://h.example/mcp?units=metric",
            "https://h.example/mcp?units=metric",
        ),
        ("https://u:p@h.example/", "https://u:••••@h.example/"),
        (
            "https://h.example/?token=a,b(c)&x=1",
            "https://h.example/?token=••••&x=1",
        ),
        (
            "https://h.example/?x=1;api%5Fkey=a#access_token=b",
            "https://h.example/?x=1;api%5Fkey=••••#access_token=••••",
        ),
        (
            "https://h.example/?%74oken=a",
            "https://h.example/?%74oken=••••",
        ),
        (
            "https://h.example/?token=${T}",
            "https://h.example/?token=${T}",
        ),
        ("/srv/x?token=abc", "/srv/x?token=••••"),
    ] {
        assert_eq!(masked_url(url), expected);
    }
}

#[test]
fn a_text_that_is_cut_within_a_secret_does_not_show_its_beginning() {
    let masker = Masker::of_env(&[("A_TOKEN".to_owned(), "hunter22-and-more".to_owned())]);
    let filler = "x ".repeat(masker.reach() / 2);
    for (text, expected) in [
        (format!("see you{filler}"), "see you".to_owned()),
        (
            format!("see hunter22-and-more, h{filler}"),
            "see ••••, h".to_owned(),
        ),
        (
            format!("see {filler}hunter22-an"),
            format!("see {}", &filler[..11]),
        ),
        ("see hunter22-an".to_owned(), String::new()),
    ] {
        assert_eq!(masker.mask_beginning(&text), expected);
    }
    assert_eq!(Masker::default().mask_beginning("see you"), "see you");
}

#[test]
fn free_text_is_masked() {
    let masker = Masker::of(&[
        json!({"env": {"MY_TOKEN": "hunter22", "PIN": "1234", "MODE": "production", "PASSWORD": "hunter22-and-more", "REF_TOKEN": "${secret:X}"},
            "args": ["--password", "öffne dich", "--port", "3000"], "headers": {"Authorization": "Bearer plainword"}, "url": "https://me:s3cret@h/"}),
    ]);
    for (text, expected) in [
        (
            "all is well in production on 3000, pin 1234",
            "all is well in production on 3000, pin 1234",
        ),
        ("got hunter22.", "got ••••."),
        ("got hunter22-and-more!", "got ••••!"),
        ("say öffne dich now", "say •••• now"),
        ("url-encoded %C3%B6ffne%20dich", "url-encoded ••••"),
        ("sent plainword", "sent ••••"),
        ("login s3cret", "login ••••"),
        (
            "new ghp_16C7e42F292c6912E7710c838347Ae178B4a here",
            "new •••• here",
        ),
        (
            "{\"apiKey\": \"abc\", \"n\": 1}",
            "{\"apiKey\": \"••••\", \"n\": 1}",
        ),
        (
            "{\\\"apiKey\\\": \\\"abc\\\"}",
            "{\\\"apiKey\\\": \\\"••••\\\"}",
        ),
        (
            "GET https://a:b@c.example/?key=zzz&x=1",
            "GET https://a:••••@c.example/?key=••••&x=1",
        ),
        (
            "env.TOKEN: expected a string",
            "env.TOKEN: expected a string",
        ),
        (
            "Error: GITHUB_TOKEN is missing",
            "Error: GITHUB_TOKEN is missing",
        ),
        ("TOKEN=${TOKEN} ok", "TOKEN=${TOKEN} ok"),
        ("${secret:X}", "${secret:X}"),
    ] {
        assert_eq!(masker.mask(text), expected);
    }
    let env = [(
        "SECRET".to_owned(),
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----".to_owned(),
    )];
    assert_eq!(
        Masker::of_env(&env).mask("line MIIEvQIBADANBg end"),
        "line •••• end"
    );
    assert_eq!(format!("{masker:?}"), "Masker([redacted])");
}

#[test]
fn secrets_in_sentences_are_masked_and_prose_is_not() {
    let masker = Masker::default();
    for (text, expected) in [
        ("password: hunter2", "password: ••••"),
        ("token hunter2", "token ••••"),
        ("the password is hunter2.", "the password is ••••."),
        ("API key: hunter2, exiting", "API key: ••••, exiting"),
        ("Password = s3same", "Password = ••••"),
        ("password:hunter2", "password:••••"),
        ("password: sesame", "password: ••••"),
        ("using secret p@ssw!rd now", "using secret •••• now"),
        ("password: required", "password: required"),
        ("password: please enter one", "password: please enter one"),
        ("the password is wrong", "the password is wrong"),
        ("Unexpected token } in JSON", "Unexpected token } in JSON"),
        (
            "invalid token at position 12",
            "invalid token at position 12",
        ),
        ("no token given", "no token given"),
        ("tokens: 15000", "tokens: 15000"),
        (
            "set the API key in config.json",
            "set the API key in config.json",
        ),
        ("secret key /etc/key1.pem", "secret key /etc/key1.pem"),
        (
            "env.TOKEN: expected a string",
            "env.TOKEN: expected a string",
        ),
    ] {
        assert_eq!(masker.mask(text), expected, "{text}");
    }
}

#[test]
fn hostile_text_costs_no_square_of_its_length() {
    // Finishes at once, or not within the patience of anybody.
    for piece in [
        "key=",
        "token: ",
        "\"key\":\"",
        "sk-",
        "://",
        "http://a@",
        "-----BEGIN PRIVATE KEY",
        "bearer ",
        "--token ",
        "1:",
        "a/",
        "=",
        "\\\"",
        "${",
        "token \"",
    ] {
        let text = piece.repeat(300_000 / piece.len());
        assert!(Masker::default().mask(&text).len() < 4_000_000);
    }
}

proptest! {
    #[test]
    fn known_secrets_never_pass(secret in "[ -~ä\n]{6,30}", before in "[ -~ö]{0,20}", after in "[ -~\"=:]{0,20}") {
        let trimmed = secret.trim();
        prop_assume!(trimmed.len() >= 6 && !is_reference(trimmed) && !MASK.contains(trimmed));
        let masker = Masker::of_env(&[("A_TOKEN".to_owned(), secret.clone())]);
        let masked = masker.mask(&format!("{before}{trimmed}{after}"));
        prop_assert!(!masked.contains(trimmed), "{}", masked);
    }

    #[test]
    fn any_text_is_masked_without_panic(text in "\\PC{0,60}|[a-zA-Z0-9_:/@=\"'\\\\ ${}.-]{0,80}|(-----BEGIN PRIVATE KEY|bearer |token=|\"key\": \"|ä|\\\\|\"|\n){0,9}") {
        let masked = Masker::default().mask(&text);
        let _ = is_secret_name(&text);
        let _ = Masker::of_env(&[(text.clone(), text.clone())]).mask(&text);
        prop_assert!(masked.len() <= 4 * text.len() + 12);
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (around, moved) = secrets::mask_around(&text, at);
            prop_assert!(around.is_char_boundary(moved));
        }
    }
}
