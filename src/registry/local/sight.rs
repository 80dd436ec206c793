//! Paths that a server is given and will not find, told before it is started: what the sandbox hides is known from what it
//! shows. Nothing of the host is looked at for it, so nobody learns what is there.

use std::path::Path;
use std::sync::Arc;

use super::super::context::Context;
use super::super::launch::find_program;
use super::cage::granted;
use super::hindered::{told, what_it_sees};
use super::locate::look_within;
use super::terms::Terms;
use crate::config::{StdioServer, is_secret_value};
use crate::sandbox::{Cage, Network, Shown, Sight};
use crate::thread::ThreadId;

/// So many paths are named.
const NAMED: usize = 3;

/// What to know of the paths among a server's arguments that its sandbox hides, as a sentence that goes on from "is given";
/// `None` where it hides none of them.
pub(in crate::registry) async fn out_of_sight(
    context: &Arc<Context>,
    thread: ThreadId,
    server: &StdioServer,
) -> Option<String> {
    let paths: Vec<String> = server.args.iter().filter_map(|arg| path_in(arg)).collect();
    if paths.is_empty() {
        return None;
    }
    let (own, server) = (context.clone(), server.clone());
    let shown = look_within(&context.looks, move || shown(&own, thread, &server)).await??;
    words(&paths, &shown)
}

/// What it would be shown if it were started now.
fn shown(context: &Context, thread: ThreadId, server: &StdioServer) -> Option<Shown> {
    let policy = context.outside.policy.now();
    let (terms, _) = Terms::of(context, &policy, thread, server, false).ok()?;
    let (home, data) = (
        context.options.homes.join(thread.to_string()),
        context.data(),
    );
    let env = context.environment.for_server(&home, &server.env);
    let path = env.get("PATH").cloned().unwrap_or_default();
    let program = find_program(&server.command, &home, &path).ok();
    let cage = Cage {
        folders: granted(&terms.folders, &data),
        home: home.canonicalize().unwrap_or(home),
        data,
        owner: None,
        network: Network::None,
        limits: terms.limits,
    };
    terms.sandbox.shows(&cage, program.as_deref(), &path)
}

fn words(paths: &[String], shown: &Shown) -> Option<String> {
    let is_hidden = |path: &&String| shown.sight(Path::new(path)) == Sight::Hidden;
    let hidden: Vec<&String> = paths.iter().filter(is_hidden).collect();
    let named = hidden.iter().take(NAMED).filter_map(|path| told(path));
    let mut named: Vec<String> = named.collect();
    let more = hidden.len() - named.len();
    match (hidden.len(), more) {
        (0, _) => return None,
        (_, 0) => {}
        (all, more) if all == more => named.push("paths".to_owned()),
        (_, more) => named.push(format!("{more} more")),
    }
    Some(format!(
        "{}, which the sandbox does not show it: {}.",
        named.join(", "),
        what_it_sees(shown)
    ))
}

/// The full path that an argument is, or that it gives a flag: `/srv/data`, `--root=/srv/data`. One that looks like a secret
/// is none.
fn path_in(arg: &str) -> Option<String> {
    let path = match arg.split_once('=') {
        Some((name, value)) if !name.contains('/') => value,
        _ => arg,
    };
    let is_path = path.len() > 1 && path.starts_with('/') && !path.starts_with("//");
    (is_path && !is_secret_value(arg)).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Granted, Limits};

    #[test]
    fn paths_that_it_will_not_find_are_named_whether_they_are_there_or_not() {
        let cage = Cage {
            home: "/data/homes/local".into(),
            data: "/data".into(),
            owner: None,
            folders: vec![Granted {
                path: "/srv/read".into(),
                write: false,
            }],
            network: Network::None,
            limits: Limits::default(),
        };
        for (args, expected) in [
            (
                &["-y", "@scope/server-filesystem", "/srv/data"][..],
                Some("`/srv/data`, which"),
            ),
            (&["--root=/srv/data"], Some("`/srv/data`, which")),
            (
                &["/etc/shadow", "/srv/nothing-is-there"],
                Some("`/etc/shadow`, `/srv/nothing-is-there`, which"),
            ),
            (
                &["/a", "/b", "/c", "/d", "/e"],
                Some("`/a`, `/b`, `/c`, 2 more, which"),
            ),
            (
                &[
                    "/srv/read/x",
                    "/usr/share/x",
                    "/home/thread/x",
                    "/data/bot.key",
                    "/tmp/x",
                ],
                None,
            ),
            (&["https://h.example/x", "a/b", "/", "//x", "--x", ""], None),
            (&["/srv/Pay\u{a0}me now or else"], Some("paths, which")),
        ] {
            let paths: Vec<String> = args.iter().filter_map(|arg| path_in(arg)).collect();
            let said = words(&paths, &Shown::of(&cage, &[], true));
            match expected {
                Some(expected) => {
                    let said = said.unwrap_or_default();
                    assert!(said.starts_with(expected), "{args:?}: {said}");
                    assert!(
                        said.contains("`/home/thread`") && said.contains("`folders`"),
                        "{said}"
                    );
                }
                None => assert_eq!(said, None, "{args:?}"),
            }
        }
        assert_eq!(
            path_in("--token=/ghp_0123456789abcdefghijABCDEFGHIJ012345"),
            None
        );
    }
}
