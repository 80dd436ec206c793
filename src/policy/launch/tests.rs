use super::super::Patterns;
use super::*;
use crate::config::NetworkGrant;

fn judged(policy: &HostPolicy, command: &str, real: Option<&str>) -> Result<(), Denied> {
    let found = real.map(|real| (Path::new(command), Path::new(real)));
    let group = ThreadId::telegram(-5, None);
    policy.may_launch(
        group,
        Launcher {
            command,
            found,
            runners: &[],
        },
    )
}

fn patterns(allow: &[&str], deny: &[&str]) -> Patterns {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Patterns {
        allow: owned(allow),
        deny: owned(deny),
    }
}

fn with(launchers: Patterns) -> HostPolicy {
    HostPolicy {
        launchers,
        ..HostPolicy::default()
    }
}

#[test]
fn d04_a_shell_is_refused_by_the_file_that_it_is() {
    let policy = HostPolicy::default();
    for (command, real) in [
        ("bash", None),
        ("sh", Some("/usr/bin/dash")),
        ("/bin/../bin/sh", Some("/usr/bin/dash")),
        ("./tool", Some("/usr/bin/bash")),
        ("innocent", Some("/bin/busybox")),
        ("BASH", None),
        ("bash-5.2", None),
        ("env", Some("/usr/bin/env")),
        ("/usr/bin/xargs", None),
        ("sudo", None),
        ("/lib64/ld-linux-x86-64.so.2", None),
    ] {
        let denied = judged(&policy, command, real).unwrap_err();
        assert!(
            matches!(denied, Denied::Shell { .. }),
            "{command}: {denied}"
        );
    }
    for (command, real) in [
        ("npx", Some("/usr/lib/node_modules/npm/bin/npx-cli.js")),
        ("uvx", None),
        ("python3", Some("/usr/bin/python3.11")),
        ("node", None),
        ("docker", None),
        ("/opt/shell-tools/server", None),
        ("finder", None),
    ] {
        assert_eq!(judged(&policy, command, real), Ok(()), "{command}");
    }
}

#[test]
fn d04_an_operators_own_thread_may_have_a_shell() {
    let policy = HostPolicy {
        operators: vec![crate::actor::ActorId::telegram(1)],
        ..HostPolicy::default()
    };
    let shell = Launcher {
        command: "sh",
        found: None,
        runners: &[],
    };
    for (thread, allowed) in [
        (ThreadId::Local, true),
        (ThreadId::telegram(1, None), true),
        (ThreadId::telegram(2, None), false),
        (ThreadId::telegram(-1, None), false),
    ] {
        assert_eq!(
            policy.may_launch(thread, shell).is_ok(),
            allowed,
            "{thread}"
        );
    }
}

#[test]
fn d04_the_operators_patterns_decide_and_deny_wins() {
    for (allow, deny, command, real, allowed) in [
        (&["bash"][..], &[][..], "bash", Some("/usr/bin/bash"), true),
        (&["bash"], &[], "./bash", Some("/home/x/bash"), false),
        (&["npx"], &[], "./npx", Some("/usr/bin/dash"), false),
        (&["npx"], &[], "./npx", Some("/home/x/npx"), false),
        (&["npx"], &[], "npx", None, true),
        (&["npx"], &[], "uvx", None, false),
        (&["/opt/*"], &[], "tool", Some("/opt/tool"), true),
        (
            &["/opt/*"],
            &[],
            "/opt/../bin/tool",
            Some("/bin/tool"),
            false,
        ),
        (&["/opt/*"], &[], "/opt/../bin/tool", None, false),
        (&["*"], &[], "sh", None, true),
        (&["*"], &["docker"], "/usr/bin/docker", None, false),
        (&["*"], &["docker"], "./x", Some("/usr/bin/docker"), false),
        (&["*"], &["/usr/*"], "x", Some("/usr/bin/x"), false),
        (&[], &["python*"], "python3", None, false),
        (&[], &["python*"], "node", None, true),
    ] {
        let policy = with(patterns(allow, deny));
        let verdict = judged(&policy, command, real);
        assert_eq!(verdict.is_ok(), allowed, "{command} {allow:?} {deny:?}");
    }
}

#[test]
fn d04_what_is_denied_is_denied_as_an_interpreter_too() {
    let node = |real: &str| Runner {
        name: "node".to_owned(),
        found: Some((PathBuf::from("/usr/bin/node"), PathBuf::from(real))),
    };
    // the deny list, the command, its interpreter → what stopped it
    for (deny, command, runner, stopped_by) in [
        (&["node"][..], "npx", None, Some("node")),
        (&["node"], "/usr/bin/npm", None, Some("node")),
        (
            &["node"],
            "./tool",
            Some(node("/opt/node/bin/node")),
            Some("node"),
        ),
        (
            &["/opt/*"],
            "./tool",
            Some(node("/opt/node/bin/node")),
            Some("node"),
        ),
        (
            &["node22"],
            "./tool",
            Some(node("/opt/node22")),
            Some("node"),
        ),
        (&["python3"], "uvx", None, Some("python3")),
        (&["python*"], "uv", None, Some("python")),
        (&["python3"], "npx", Some(node("/usr/bin/node")), None),
        (&["docker"], "./tool", Some(node("/usr/bin/node")), None),
        (&[], "npx", Some(node("/usr/bin/node")), None),
        // The built-in list is of programs that are named themselves.
        (
            &[],
            "./tool",
            Some(Runner {
                name: "/bin/sh".to_owned(),
                found: None,
            }),
            None,
        ),
    ] {
        let policy = with(patterns(&[], deny));
        let launcher = Launcher {
            command,
            found: None,
            runners: runner.as_slice(),
        };
        let verdict = policy.may_launch(ThreadId::telegram(-5, None), launcher);
        let by = verdict.err().map(|denied| match denied {
            Denied::Runner { program, by } if program == command => by,
            other => panic!("{command}: {other}"),
        });
        assert_eq!(by.as_deref(), stopped_by, "{command} with {deny:?}");
    }
    // It wins over what is allowed.
    let policy = with(patterns(&["npx"], &["node"]));
    assert!(judged(&policy, "npx", None).is_err());
}

#[test]
fn d06_variables_that_change_what_runs_are_refused_and_named() {
    let policy = HostPolicy::default();
    for name in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "DYLD_INSERT_LIBRARIES",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PATH",
        "HOME",
        "BASH_ENV",
        "ENV",
        "npm_config_registry",
        "NPM_CONFIG_REGISTRY",
        "PERL5OPT",
        "RUBYOPT",
        "JAVA_TOOL_OPTIONS",
        "GIT_SSH_COMMAND",
        "ld_preload",
    ] {
        let denied = policy.may_set(["API_KEY", name]).unwrap_err();
        assert_eq!(
            denied,
            Denied::Variable {
                name: name.to_owned(),
                denied: false
            }
        );
        assert!(denied.to_string().contains(name));
    }
    let fine = [
        "API_KEY",
        "GITHUB_TOKEN",
        "GITLAB_TOKEN",
        "MEMORY_FILE_PATH",
        "NODE_ENV",
        "LOG_LEVEL",
        "ENVIRONMENT",
        "HOMEPAGE",
        "TZ",
        "PATHS",
    ];
    assert_eq!(policy.may_set(fine), Ok(()));
    let policy = HostPolicy {
        env: patterns(&["PYTHONUNBUFFERED"], &["API_*"]),
        ..policy
    };
    assert_eq!(policy.may_set(["PYTHONUNBUFFERED"]), Ok(()));
    assert!(policy.may_set(["API_KEY"]).is_err());
    assert!(policy.may_set(["PYTHONPATH"]).is_err());
}

#[test]
fn hosts_are_allowed_and_denied_by_pattern() {
    let of = |allow: &[&str], deny: &[&str]| HostPolicy {
        remote_hosts: patterns(allow, deny),
        ..HostPolicy::default()
    };
    for (policy, host, allowed) in [
        (of(&[], &[]), "mcp.example.com", true),
        (of(&["*.example.com"], &[]), "MCP.example.com", true),
        (of(&["*.example.com"], &[]), "mcp.example.com.", true),
        (of(&["*.example.com"], &[]), "example.net", false),
        (of(&[], &["*.evil.net"]), "a.evil.net", false),
        (of(&[], &["*.evil.net"]), "a.evil.net.", false),
        (of(&["*"], &["a.b"]), "a.b", false),
    ] {
        assert_eq!(policy.may_reach(host).is_ok(), allowed, "{host}");
    }
}

#[test]
fn what_would_run_newly_is_found() {
    let server = |command: &str, disabled| StdioServer {
        command: command.to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
        network: NetworkGrant::default(),
        disabled,
    };
    let config = |local: &[(&str, StdioServer)]| ThreadConfig {
        local: local
            .iter()
            .map(|(name, server)| (ServerName::new(name).unwrap(), server.clone()))
            .collect(),
        ..ThreadConfig::default()
    };
    let old = config(&[("a", server("x", false)), ("off", server("y", true))]);
    for (name, new, expected) in [
        ("nothing", old.clone(), &[][..]),
        ("added", config(&[("b", server("z", false))]), &["b"]),
        ("added and off", config(&[("b", server("z", true))]), &["b"]),
        ("changed", config(&[("a", server("z", false))]), &["a"]),
        (
            "switched on",
            config(&[("off", server("y", false))]),
            &["off"],
        ),
        ("switched off", config(&[("a", server("x", true))]), &[]),
        ("renamed", config(&[("c", server("x", false))]), &[]),
        ("removed", config(&[]), &[]),
    ] {
        let found: Vec<&str> = new_locals(&old, &new)
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}
