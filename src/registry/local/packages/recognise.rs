//! Which package a command line runs, where it runs one: `npx`, `npm exec`, `uvx`, `uv tool run`.

use crate::config::StdioServer;

/// Who installs a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::registry) enum Manager {
    /// npm: `npx`, `npm exec`.
    Npm,
    /// uv: `uvx`, `uv tool run`.
    Uv,
}

/// A package that a command line runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct Package {
    pub(in crate::registry) manager: Manager,
    /// Its name: `@scope/name`, `name`; of Python without extras.
    pub(in crate::registry) name: String,
    /// `[cli]`, of Python.
    pub(super) extras: String,
    /// The version as it is asked for: exact, a range, a tag; `None` where it is left open.
    pub(in crate::registry) version: Option<String>,
    /// The program of the package, where the line names one.
    pub(super) program: Option<String>,
    /// The program's own arguments.
    pub(super) args: Vec<String>,
    /// Which argument names the package, and what stands before it there (`--package=`).
    place: (usize, &'static str),
}

/// Why a line that runs a package is none that can be pinned; goes on from "`npx` …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::registry) enum Unclear {
    /// An option that changes what is run.
    #[error("is given `{0}`, which a pinned package cannot take")]
    Option(String),
    /// No package at all.
    #[error("is not told which package to run")]
    NoPackage,
    /// Not a package of the registry.
    #[error("is told to run `{0}`, which is no package of a registry with a version")]
    NotOfRegistry(String),
}

/// The package that a server is, if its command runs one.
pub(in crate::registry) fn package(server: &StdioServer) -> Option<Result<Package, Unclear>> {
    let command = server.command.rsplit('/').next().unwrap_or_default();
    let args: Vec<&str> = server.args.iter().map(String::as_str).collect();
    let (manager, skip) = match (command, args.as_slice()) {
        ("npx", _) => (Manager::Npm, 0),
        ("npm", ["exec" | "x", ..]) => (Manager::Npm, 1),
        ("uvx", _) => (Manager::Uv, 0),
        ("uv", ["tool", "run", ..]) => (Manager::Uv, 2),
        _ => return None,
    };
    Some(read(manager, &args, skip))
}

fn read(manager: Manager, args: &[&str], skip: usize) -> Result<Package, Unclear> {
    let mut at = skip;
    let mut named: Option<(usize, &'static str, &str)> = None;
    while let Some(&word) = args.get(at) {
        let option = match (manager, word) {
            (_, "--") => {
                at += 1;
                break;
            }
            (Manager::Npm, "-y" | "--yes" | "-q" | "--quiet" | "--silent")
            | (Manager::Uv, "-q" | "--quiet" | "--isolated") => None,
            (Manager::Npm, "-p" | "--package") | (Manager::Uv, "--from") => {
                at += 1;
                Some((at, "", args.get(at).copied().unwrap_or_default()))
            }
            (Manager::Npm, _) if word.starts_with("--package=") => {
                Some((at, "--package=", &word["--package=".len()..]))
            }
            (Manager::Uv, _) if word.starts_with("--from=") => {
                Some((at, "--from=", &word["--from=".len()..]))
            }
            (_, word) if word.starts_with('-') => {
                return Err(Unclear::Option(cut(word)));
            }
            _ => break,
        };
        if option.is_some() && named.is_some() {
            return Err(Unclear::Option(cut(word)));
        }
        named = named.or(option);
        at += 1;
    }
    let (place, prefix, spec, program, rest) = match named {
        Some((place, prefix, spec)) => {
            let program = args.get(at).ok_or(Unclear::NoPackage)?;
            (place, prefix, spec, Some((*program).to_owned()), at + 1)
        }
        None => (
            at,
            "",
            args.get(at).copied().ok_or(Unclear::NoPackage)?,
            None,
            at + 1,
        ),
    };
    let (name, extras, version) = match manager {
        Manager::Npm => npm_spec(spec),
        Manager::Uv => uv_spec(spec),
    }
    .ok_or_else(|| Unclear::NotOfRegistry(cut(spec)))?;
    Ok(Package {
        manager,
        name,
        extras,
        version,
        program,
        args: args
            .get(rest..)
            .unwrap_or_default()
            .iter()
            .map(|arg| (*arg).to_owned())
            .collect(),
        place: (place, prefix),
    })
}

impl Package {
    /// The exact version, where one is asked for.
    pub(in crate::registry) fn exact(&self) -> Option<&str> {
        let version = self.version.as_deref()?;
        let is_exact = match self.manager {
            Manager::Npm => is_exact_npm(version),
            Manager::Uv => is_exact_python(version),
        };
        is_exact.then_some(version)
    }

    /// The package with a version, as its manager is told.
    pub(super) fn spec(&self, version: Option<&str>) -> String {
        let Self { name, extras, .. } = self;
        match (self.manager, version) {
            (_, None) | (Manager::Uv, Some("latest")) => format!("{name}{extras}"),
            (Manager::Npm, Some(version)) => format!("{name}@{version}"),
            (Manager::Uv, Some(version)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
                format!("{name}{extras}=={version}")
            }
            (Manager::Uv, Some(range)) => format!("{name}{extras}{range}"),
        }
    }

    /// A server's arguments with the package pinned to a version.
    pub(in crate::registry) fn pinned_args(&self, args: &[String], version: &str) -> Vec<String> {
        let (place, prefix) = self.place;
        let mut args = args.to_vec();
        if let Some(arg) = args.get_mut(place) {
            *arg = match self.manager {
                // Without `--from`, uvx takes `name@version` alone.
                Manager::Uv if self.program.is_none() && self.extras.is_empty() => {
                    format!("{prefix}{}@{version}", self.name)
                }
                Manager::Npm | Manager::Uv => format!("{prefix}{}", self.spec(Some(version))),
            };
        }
        args
    }
}

/// `name`, `name@version`, `@scope/name@version`.
fn npm_spec(spec: &str) -> Option<(String, String, Option<String>)> {
    let (scope, rest) = match spec.strip_prefix('@') {
        Some(scoped) => {
            let (scope, rest) = scoped.split_once('/')?;
            (Some(scope), rest)
        }
        None => (None, spec),
    };
    let (name, version) = match rest.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (rest, None),
    };
    let is_name = |name: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
        !name.is_empty()
            && name.len() <= 214
            && !name.starts_with(['.', '_', '-'])
            && name.chars().all(allowed)
    };
    // A range or a tag; an address or an alias has a colon or a slash.
    let is_version = |version: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || " .-+^~<>=*|xX_".contains(c);
        !version.is_empty() && version.len() <= 128 && version.chars().all(allowed)
    };
    let fits = scope.is_none_or(is_name) && is_name(name) && version.is_none_or(is_version);
    let name = match scope {
        Some(scope) => format!("@{scope}/{name}"),
        None => name.to_owned(),
    };
    fits.then(|| (name, String::new(), version.map(str::to_owned)))
}

/// `name`, `name@1.2`, `name@latest`, `name[extra]==1.2`, `name>=1`.
fn uv_spec(spec: &str) -> Option<(String, String, Option<String>)> {
    let end = spec
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))
        .unwrap_or(spec.len());
    let (name, rest) = spec.split_at(end);
    let (extras, rest) = match rest.find(']') {
        Some(at) if rest.starts_with('[') => rest.split_at(at + 1),
        _ => ("", rest),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || " .-+!<>=~*,_".contains(c);
    let version = match (rest.strip_prefix('@'), rest.strip_prefix("==")) {
        (Some(version), _) | (None, Some(version)) => Some(version.trim()),
        (None, None) if rest.is_empty() => None,
        (None, None) if rest.starts_with(['<', '>', '~', '!', '=']) => Some(rest),
        (None, None) => return None,
    };
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let in_extras = |c: char| c.is_ascii_alphanumeric() || "[]-_.,".contains(c);
    let fits = begins
        && name.len() <= 128
        && extras.chars().all(in_extras)
        && version.is_none_or(|version| {
            !version.is_empty() && version.len() <= 128 && version.chars().all(allowed)
        });
    fits.then(|| {
        (
            name.to_owned(),
            extras.to_owned(),
            version.map(str::to_owned),
        )
    })
}

/// Three numbers, perhaps with a pre-release and a build (semver.org).
pub(super) fn is_exact_npm(version: &str) -> bool {
    let (version, build) = match version.split_once('+') {
        Some((version, build)) => (version, Some(build)),
        None => (version, None),
    };
    let (core, pre) = match version.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (version, None),
    };
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let is_label = |label: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
        label
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(allowed))
    };
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(is_label)
        && build.is_none_or(is_label)
}

/// A version of PEP 440, without a comparison and a star.
pub(super) fn is_exact_python(version: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".!+-_".contains(c);
    version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(allowed)
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect::<String>().replace('`', "'")
}

#[cfg(test)]
mod tests {
    use super::super::server;
    use super::*;

    fn told(line: &str) -> String {
        match package(&server(line)) {
            None => "no package".to_owned(),
            Some(Err(unclear)) => unclear.to_string(),
            Some(Ok(found)) => format!(
                "{}{} {} {} [{}]{}",
                found.name,
                found.extras,
                found.version.as_deref().unwrap_or("any"),
                found.program.as_deref().unwrap_or("own"),
                found.args.join(" "),
                if found.exact().is_some() {
                    " exact"
                } else {
                    ""
                }
            ),
        }
    }

    #[test]
    fn d11_packages_are_recognised_with_their_versions() {
        for (line, expected) in [
            ("npx -y pkg", "pkg any own []"),
            ("npx pkg@1.2.3 /srv -y", "pkg 1.2.3 own [/srv -y] exact"),
            (
                "/usr/bin/npx --yes @a/pkg@latest x",
                "@a/pkg latest own [x]",
            ),
            ("npx -y @a/pkg@^1.2", "@a/pkg ^1.2 own []"),
            (
                "npx -y -p @a/pkg@1.0.0-rc.1 run --x",
                "@a/pkg 1.0.0-rc.1 run [--x] exact",
            ),
            ("npx --package=pkg run", "pkg any run []"),
            ("npx -y -- pkg --flag", "pkg any own [--flag]"),
            ("npm exec -y -- pkg@2.0.0 a", "pkg 2.0.0 own [a] exact"),
            ("npm x pkg", "pkg any own []"),
            ("uvx mcp-server-time", "mcp-server-time any own []"),
            (
                "uvx mcp-server-time@2025.9.25 --tz UTC",
                "mcp-server-time 2025.9.25 own [--tz UTC] exact",
            ),
            (
                "uvx --from mcp[cli]==1.2 mcp run",
                "mcp[cli] 1.2 mcp [run] exact",
            ),
            ("uvx --from=pkg>=1,<2 run", "pkg >=1,<2 run []"),
            ("uv tool run pkg@latest", "pkg latest own []"),
            ("node server.js", "no package"),
            ("npm install pkg", "no package"),
            ("uv run server.py", "no package"),
            ("npx", "is not told which package to run"),
            ("npx -y -p pkg", "is not told which package to run"),
            (
                "npx -c true",
                "is given `-c`, which a pinned package cannot take",
            ),
            (
                "npx -p a -p b run",
                "is given `-p`, which a pinned package cannot take",
            ),
            (
                "uvx --with x pkg",
                "is given `--with`, which a pinned package cannot take",
            ),
            (
                "npx -y github:a/b",
                "is told to run `github:a/b`, which is no package of a registry with a version",
            ),
            (
                "npx ./server",
                "is told to run `./server`, which is no package of a registry with a version",
            ),
            (
                "npx a@npm:b",
                "is told to run `a@npm:b`, which is no package of a registry with a version",
            ),
            (
                "uvx --from git+https://x.example/a.git run",
                "is told to run `git+https://x.example/a.git`, which is no package of a registry with a version",
            ),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn d11_a_pinned_line_is_exact_and_otherwise_the_same() {
        for (line, version, expected) in [
            ("npx -y pkg", "1.2.3", "npx -y pkg@1.2.3"),
            ("npx -y @a/pkg@latest x", "1.2.3", "npx -y @a/pkg@1.2.3 x"),
            (
                "npx --package=pkg run x",
                "1.2.3",
                "npx --package=pkg@1.2.3 run x",
            ),
            ("npm exec -- pkg@^1", "1.2.3", "npm exec -- pkg@1.2.3"),
            ("uvx pkg --x", "1.2", "uvx pkg@1.2 --x"),
            (
                "uvx --from mcp[cli] mcp run",
                "1.2",
                "uvx --from mcp[cli]==1.2 mcp run",
            ),
            ("uv tool run pkg@latest", "1.2", "uv tool run pkg@1.2"),
        ] {
            let before = server(line);
            let found = package(&before).unwrap().unwrap();
            let after = StdioServer {
                args: found.pinned_args(&before.args, version),
                ..before
            };
            let words = std::iter::once(&after.command).chain(&after.args);
            let words: Vec<&str> = words.map(String::as_str).collect();
            assert_eq!(words.join(" "), expected);
            let again = package(&after).unwrap().unwrap();
            assert_eq!(again.exact(), Some(version), "{line}");
            assert_eq!(again.args, found.args);
        }
    }

    #[test]
    fn d11_only_three_numbers_and_labels_are_exact() {
        for (version, is_exact) in [
            ("1.2.3", true),
            ("1.2.3-rc.1", true),
            ("1.2.3+build.7", true),
            ("1.2.3-rc-1+b", true),
            ("1.2", false),
            ("1.2.3 || *", false),
            ("1.0.0+a || *", false),
            ("1.0.0+ <2", false),
            ("1.0.0+", false),
            ("1.0.0-", false),
            ("^1.0.0", false),
            ("latest", false),
        ] {
            assert_eq!(is_exact_npm(version), is_exact, "{version}");
        }
    }
}
