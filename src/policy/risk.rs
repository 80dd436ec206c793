//! What a change of the configuration risks, in words for the person who must confirm it.

mod remote;

use crate::config::{ServerName, StdioServer, ThreadConfig, command_line, visible};

/// A sentence for each risk of going from `old` to `new`: a new or changed program that will run on the host (named with
/// its arguments, secrets masked; a package runner like `npx` or `uvx` is said to download and run code from the
/// network, a shell to run anything), new environment variable names, a new working folder; a new or changed address on
/// the network, whose identity is used there, new headers; a name that hides a server of the operator. Empty where
/// nothing new can run or be reached.
pub fn risks(old: &ThreadConfig, new: &ThreadConfig) -> Vec<String> {
    let mut sentences = Vec::new();
    for (name, server) in new.local.iter().filter(|(_, server)| !server.disabled) {
        let before = running(old, name);
        // A new name for what runs already adds nothing.
        let known = before.is_some_and(|was| was.means_the_same(server))
            || (before.is_none() && old.local.iter().any(|(_, was)| was.means_the_same(server)));
        if !known {
            tell(name, before, server, &mut sentences);
        }
    }
    remote::tell(old, new, &mut sentences);
    tell_hidden(old, new, &mut sentences);
    sentences
}

/// Whether going from `old` to `new` changes what runs on the host, or what that is called: also where another server runs
/// the same program already. What goes or is switched off, and nothing else, does not.
pub fn changes_locals(old: &ThreadConfig, new: &ThreadConfig) -> bool {
    let is_as_before = |entry: &(ServerName, StdioServer)| {
        let (name, server) = entry;
        let before = old.local.iter().find(|(other, _)| other == name);
        before.is_some_and(|(_, was)| {
            let off = StdioServer {
                disabled: true,
                ..was.clone()
            };
            server.means_the_same(was) || server.means_the_same(&off)
        })
    };
    !new.local.iter().all(is_as_before)
}

/// The operator's servers are in `old` alone: no file of the thread names them.
fn tell_hidden(old: &ThreadConfig, new: &ThreadConfig, sentences: &mut Vec<String>) {
    let is_own = |name: &ServerName| {
        new.local.iter().any(|(own, _)| own == name)
            || new.remote.iter().any(|(own, _)| own == name)
    };
    for (name, _) in old.admin.iter().filter(|(name, _)| is_own(name)) {
        sentences.push(format!(
            "`{name}` takes the place of the operator's server of that name in this chat."
        ));
    }
    for name in old.hidden.iter().filter(|name| !is_own(name)) {
        sentences.push(format!(
            "The operator's server `{name}` is offered in this chat again."
        ));
    }
}

fn running<'a>(config: &'a ThreadConfig, name: &ServerName) -> Option<&'a StdioServer> {
    config
        .local
        .iter()
        .find(|(other, server)| other == name && !server.disabled)
        .map(|(_, server)| server)
}

fn tell(
    name: &ServerName,
    before: Option<&StdioServer>,
    server: &StdioServer,
    sentences: &mut Vec<String>,
) {
    let same_program =
        before.is_some_and(|was| was.command == server.command && was.args == server.args);
    if !same_program {
        let what = if before.is_some() { "changed" } else { "new" };
        sentences.push(format!(
            "`{name}` runs a {what} program on this host: {}",
            command_line(server)
        ));
        sentences.extend(about_program(server));
    }
    let had =
        |variable: &str| before.is_some_and(|was| was.env.iter().any(|(name, _)| name == variable));
    let fresh: Vec<&str> = server
        .env
        .iter()
        .map(|(variable, _)| variable.as_str())
        .filter(|variable| !had(variable))
        .collect();
    if !fresh.is_empty() {
        sentences.push(format!(
            "`{name}` gets {}: {}.",
            if fresh.len() == 1 {
                "a new environment variable"
            } else {
                "new environment variables"
            },
            visible(&fresh.join(", "))
        ));
    }
    let steering: Vec<&str> = server
        .env
        .iter()
        .filter(|pair| steers(&pair.0) && !before.is_some_and(|was| was.env.contains(pair)))
        .map(|(variable, _)| variable.as_str())
        .collect();
    if !steering.is_empty() {
        sentences.push(format!(
            "`{name}` sets {}, which can make a program load other code.",
            visible(&steering.join(", "))
        ));
    }
    if let Some(folder) = &server.cwd
        && before.is_none_or(|was| was.cwd.as_ref() != Some(folder))
    {
        let place = if folder.starts_with('/') {
            ""
        } else {
            " (inside this chat's own folder)"
        };
        sentences.push(format!(
            "`{name}` works in a new folder: {}{place}",
            visible(&crate::config::masked_url(folder))
        ));
    } else if server.cwd.is_none() && before.is_some_and(|was| was.cwd.is_some()) {
        sentences.push(format!("`{name}` works in this chat's own folder now."));
    }
}

/// What kind of program it is, where that matters.
fn about_program(server: &StdioServer) -> Option<String> {
    let words: Vec<&str> = std::iter::once(server.command.as_str())
        .chain(server.args.iter().map(String::as_str))
        .collect();
    let (program, rest) = effective(&words)?;
    let first = rest.iter().find(|word| !word.starts_with('-')).copied();
    let downloads = match program.as_str() {
        "npx" | "bunx" | "pnpx" | "uvx" | "dlx" => true,
        "pnpm" | "yarn" => matches!(first, Some("dlx" | "exec")),
        "npm" => matches!(first, Some("exec" | "x")),
        "bun" => matches!(first, Some("x")),
        "pipx" | "uv" | "deno" | "go" => matches!(first, Some("run" | "tool")),
        _ => false,
    };
    if downloads {
        return Some(format!(
            "`{program}` downloads and runs code from the network."
        ));
    }
    match program.as_str() {
        "sh" | "bash" | "dash" | "zsh" | "fish" | "ksh" | "ash" | "busybox" | "cmd"
        | "powershell" | "pwsh" => Some(format!("`{program}` is a shell and can run anything.")),
        "sudo" | "doas" | "su" | "pkexec" => {
            Some(format!("`{program}` runs programs with other rights."))
        }
        "docker" | "podman" | "nerdctl" => Some(format!(
            "`{program}` downloads and runs images from the network, and can reach the host's files."
        )),
        "node" | "python" | "python3" | "ruby" | "perl" | "php" | "bun" | "deno"
            if rest
                .iter()
                .any(|word| matches!(*word, "-e" | "-c" | "--eval" | "-p" | "--print" | "-r")) =>
        {
            Some(format!("`{program}` runs the code in its arguments."))
        }
        _ => None,
    }
}

/// The program that runs in the end, as a bare name, past wrappers such as `env A=b`.
fn effective<'a>(words: &'a [&'a str]) -> Option<(String, &'a [&'a str])> {
    let (first, mut rest) = words.split_first()?;
    let mut program = bare(first);
    while matches!(
        program.as_str(),
        "env" | "nice" | "nohup" | "timeout" | "exec" | "setsid"
    ) {
        let skip = rest.iter().position(|word| {
            !word.starts_with('-')
                && !word.contains('=')
                && !word.starts_with(|c: char| c.is_ascii_digit())
        });
        let Some(at) = skip else {
            break;
        };
        program = bare(rest[at]);
        rest = &rest[at + 1..];
    }
    Some((program, rest))
}

fn bare(command: &str) -> String {
    let name = command.rsplit(['/', '\\']).next().unwrap_or(command);
    let name = name.to_ascii_lowercase();
    for ending in [".exe", ".cmd", ".bat"] {
        if let Some(stem) = name.strip_suffix(ending) {
            return stem.to_owned();
        }
    }
    name
}

/// Variables that decide which code a program loads.
fn steers(variable: &str) -> bool {
    let upper = variable.to_ascii_uppercase();
    let by_start = [
        "LD_",
        "DYLD_",
        "NPM_CONFIG_",
        "PYTHON",
        "UV_",
        "PIP_",
        "GIT_SSH",
        "JAVA_TOOL",
    ];
    let by_name = [
        "PATH",
        "HOME",
        "NODE_OPTIONS",
        "NODE_PATH",
        "BASH_ENV",
        "ENV",
        "PERL5LIB",
        "PERL5OPT",
        "RUBYOPT",
        "RUBYLIB",
        "SHELL",
        "IFS",
    ];
    by_start.iter().any(|start| upper.starts_with(start)) || by_name.contains(&upper.as_str())
}

#[cfg(test)]
mod tests;
