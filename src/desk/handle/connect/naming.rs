//! Names that follow from others: a server's from its address, a secret's from its server.

use url::{Host, Url};

use crate::config::ServerName;

/// First parts of a host that say nothing of whose it is.
const COMMON: [&str; 12] = [
    "mcp", "mcps", "api", "www", "sse", "remote", "server", "servers", "app", "prod", "http", "ai",
];

/// Endings below which names are registered.
const SHARED: [&str; 12] = [
    "co",
    "com",
    "org",
    "net",
    "gov",
    "ac",
    "edu",
    "workers",
    "vercel",
    "netlify",
    "herokuapp",
    "onrender",
];

/// A name after the host of an address: `https://mcp.linear.app/mcp` gives `linear`.
pub(super) fn of_address(url: &str) -> String {
    let host = Url::parse(url).ok();
    let name = match host.as_ref().and_then(Url::host) {
        Some(Host::Domain(host)) => of_host(host),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => None,
    };
    ServerName::made_safe(&name.unwrap_or_default()).to_string()
}

/// A name after the host of an address or, where that says nothing, after what the server calls itself:
/// `mcp-servers/everything 2.0.0` gives `everything`.
pub(super) fn of_server(url: &str, info: &str) -> String {
    let by_address = of_address(url);
    if by_address != of_address("") && by_address != "localhost" {
        return by_address;
    }
    let itself = info.split_whitespace().next().unwrap_or_default();
    let own = itself.rsplit('/').next().unwrap_or_default();
    if own.chars().any(char::is_alphabetic) {
        ServerName::made_safe(own).to_string()
    } else {
        by_address
    }
}

fn of_host(host: &str) -> Option<String> {
    let mut parts: Vec<&str> = host.split('.').filter(|part| !part.is_empty()).collect();
    if parts.len() > 1 {
        parts.pop();
        if parts.len() > 1 && parts.last().is_some_and(|last| SHARED.contains(last)) {
            parts.pop();
        }
    }
    // The owner's own part is the last; a host of parts that say nothing has a name all the same.
    let own = parts.iter().rev().find(|part| !COMMON.contains(part));
    own.or(parts.last()).map(|part| (*part).to_owned())
}

/// The name, or one with a number behind it where that is taken.
pub(super) fn free(wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| {
        let ending = format!("-{number}");
        let room = crate::config::limits::NAME_CHARS - ending.len();
        // Names are ASCII.
        format!("{}{ending}", &wanted[..wanted.len().min(room)])
    });
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    names
        .find(|name| !is_taken(name))
        .unwrap_or_else(|| wanted.to_owned())
}

/// What a server's secret is called: `github` and `token` give `GITHUB_TOKEN`.
pub(super) fn of_secret(server: &str, what: &str) -> String {
    let mut name = String::new();
    for c in format!("{server}_{what}").chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_uppercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_matches('_');
    if name.is_empty() {
        "SECRET".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_server_is_named_after_whose_it_is() {
        for (url, name) in [
            ("https://mcp.linear.app/mcp", "linear"),
            ("https://linear.app", "linear"),
            ("https://docs.mcp.cloudflare.com/sse", "cloudflare"),
            ("https://api.githubcopilot.com/mcp/", "githubcopilot"),
            ("https://mcp.example.co.uk/", "example"),
            ("https://my-thing.acme.workers.dev/sse", "acme"),
            ("http://localhost:8000/mcp", "localhost"),
            ("http://127.0.0.1:8000/mcp", "server"),
            ("https://[::1]/mcp", "server"),
            ("https://mcp.ai/x", "mcp"),
            ("not an address", "server"),
        ] {
            assert_eq!(of_address(url), name, "{url}");
        }
    }

    #[test]
    fn a_server_without_a_name_in_its_address_is_named_after_itself() {
        for (url, info, name) in [
            (
                "http://127.0.0.1:1/mcp",
                "mcp-servers/everything 2.0.0",
                "everything",
            ),
            ("http://localhost:1/mcp", "protected 1.0.0", "protected"),
            ("https://mcp.linear.app/mcp", "Other 1", "linear"),
            ("http://127.0.0.1:1/mcp", "", "server"),
            ("http://127.0.0.1:1/mcp", "1.0", "server"),
            ("http://localhost/mcp", "/", "localhost"),
        ] {
            assert_eq!(of_server(url, info), name, "{url} {info}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let taken = ["linear", "linear-2"];
        assert_eq!(free("linear", |name| taken.contains(&name)), "linear-3");
        assert_eq!(free("hub", |name| taken.contains(&name)), "hub");
        let long = "x".repeat(64);
        assert_eq!(free(&long, |name| name == long).len(), 64);
    }

    #[test]
    fn a_secret_is_named_after_its_server() {
        assert_eq!(of_secret("github", "token"), "GITHUB_TOKEN");
        assert_eq!(of_secret("my.hub-2", "X-API-Key"), "MY_HUB_2_X_API_KEY");
        assert_eq!(of_secret("__", ""), "SECRET");
    }

    proptest! {
        #[test]
        fn any_address_gives_a_name(url in "\\PC{0,60}", host in "[a-z0-9.-]{1,80}") {
            for url in [url, format!("https://{host}/")] {
                let name = of_address(&url);
                prop_assert!(ServerName::new(&name).is_ok(), "{url} gives {name}");
            }
        }
    }
}
