//! What a manager's failure means, in words for people.

use super::super::super::Stage;
use super::super::super::text::one_line;
use super::super::super::trouble::{Mend, Trouble};
use super::recognise::{Manager, Package};

/// Characters of a line of the manager's that are told.
const CHARS: usize = 200;

/// Why a manager did not do what it was asked for; `said` is what it said.
pub(super) fn failed(package: &Package, what: &str, said: &[String]) -> Trouble {
    let says = |words: &[&str]| {
        said.iter()
            .any(|line| words.iter().any(|word| line.contains(word)))
    };
    let name = &package.name;
    let registry = match package.manager {
        Manager::Npm => "npm's registry",
        Manager::Uv => "the Python package index",
    };
    let version = package.version.as_deref().unwrap_or("any version");
    if says(&[
        "ETARGET",
        "notarget",
        "No match found for version",
        "there is no version of",
        "no version of",
    ]) {
        return change(
            format!("the package `{name}` has no version that fits `{version}`"),
            "Name another version, or leave it out for the newest.",
        );
    }
    if says(&[
        "E404",
        "404 Not Found",
        "was not found in the package registry",
    ]) {
        return change(
            format!("there is no package `{name}` in {registry}"),
            "Check the spelling; a package that wants a login cannot be used.",
        );
    }
    if says(&["EBADENGINE", "requires-python", "requires Python"]) {
        return change(
            format!(
                "the package `{name}` does not fit the version of its language on this machine"
            ),
            "Name an older version, or ask whoever runs the bot to update it.",
        );
    }
    let no_way = [
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "ERR_SOCKET_TIMEOUT",
        "ERR_PROXY_TUNNEL",
        // The bot's own proxy: the registry's address is none that it leads to.
        "403 Forbidden",
        "tunnel error",
        "dns error",
        "Failed to fetch",
        "error sending request",
        "tunneling socket could not be established",
        "statusCode=403",
        "Proxy response",
    ];
    if says(&no_way) {
        return again(
            format!("{registry} cannot be reached from this machine, so {what}"),
            "Try again in a while; if it stays so, ask whoever runs the bot (a mirror within its own network is opened with \
             SWITCHBOARD_ALLOW_CIDRS).",
            said,
        );
    }
    if says(&[
        "ENOSPC",
        "EDQUOT",
        "EFBIG",
        "No space left",
        "File too large",
    ]) {
        return change(
            format!("the package `{name}` is larger than what may be installed here"),
            "Ask whoever runs the bot.",
        );
    }
    again(
        format!("{} failed, so {what}", manager(package.manager)),
        "Try again; its own words may say more.",
        said,
    )
}

/// It took too long.
pub(super) fn ended(why: &str, what: &str) -> Trouble {
    again(format!("{why}, so {what}"), "Try again in a while.", &[])
}

/// Nothing would keep it from the host's own network.
pub(super) fn no_way(package: &Package, what: &str) -> Trouble {
    change(
        format!(
            "nothing on this host leads what is installed to the bot's own proxy, so that the package `{}` could fetch from the \
             host's own network; so {what}",
            package.name
        ),
        "Ask whoever runs the bot to install bubblewrap (`apt install bubblewrap`), or name a program that is installed on \
         the host already.",
    )
}

/// There is no room for it beside the packages that run.
pub(super) fn too_large(what: &str) -> Trouble {
    change(
        format!("it takes more room than this chat's packages may, so {what}"),
        "Disable or remove a server that you do not need, or ask whoever runs the bot for more (`quotas.home_bytes` in its policy).",
    )
}

pub(super) fn manager(manager: Manager) -> &'static str {
    match manager {
        Manager::Npm => "npm",
        Manager::Uv => "uv",
    }
}

/// What a manager that is missing comes with.
pub(super) fn brought_by(manager: Manager) -> &'static str {
    match manager {
        Manager::Npm => {
            "Node.js, which brings `npx`, is not installed on the bot's machine, or not on the PATH that the bot was started \
             with: whoever runs the bot can install it from nodejs.org"
        }
        Manager::Uv => {
            "The program uv, which brings `uvx`, is not installed on the bot's machine, or not on the PATH that the bot was started with: \
             whoever runs the bot can install it as docs.astral.sh/uv says"
        }
    }
}

fn change(what: String, advice: &str) -> Trouble {
    Trouble::new(Stage::Package, what, advice, Mend::Change)
}

fn again(what: String, advice: &str, said: &[String]) -> Trouble {
    let told = said.iter().rev().take(3).rev();
    Trouble {
        said: told.map(|line| one_line(line, CHARS)).collect(),
        ..Trouble::new(Stage::Package, what, advice, Mend::Again)
    }
}

#[cfg(test)]
mod tests {
    use super::super::recognise::package;
    use super::super::server;
    use super::*;

    #[test]
    fn d11_failures_are_told_in_words() {
        for (line, said, expected) in [
            (
                "npx nope",
                "npm error code E404",
                "there is no package `nope` in npm's registry",
            ),
            (
                "uvx nope",
                "  x Because nope was not found in the package registry and you require nope",
                "there is no package `nope` in the Python package index",
            ),
            (
                "npx pkg@^99",
                "npm error code E404 npm error 404 No match found for version ^99",
                "the package `pkg` has no version that fits `^99`",
            ),
            (
                "npx pkg",
                "npm error 403 403 Forbidden - GET https://registry.npmjs.org/pkg",
                "npm's registry cannot be reached from this machine, so it is not installed",
            ),
            (
                "npx pkg@99.0.0",
                "npm error code ETARGET",
                "the package `pkg` has no version that fits `99.0.0`",
            ),
            (
                "npx pkg",
                "npm error network request to https://x failed, reason: getaddrinfo ENOTFOUND x",
                "npm's registry cannot be reached from this machine, so it is not installed",
            ),
            (
                "npx pkg",
                "npm error ENOSPC: no space left on device",
                "the package `pkg` is larger than what may be installed here",
            ),
            ("uvx pkg", "boom", "uv failed, so it is not installed"),
        ] {
            let found = package(&server(line)).unwrap().unwrap();
            let trouble = failed(&found, "it is not installed", &[said.to_owned()]);
            assert_eq!(trouble.what, expected, "{line}");
            assert!(!trouble.advice.is_empty());
        }
    }
}
