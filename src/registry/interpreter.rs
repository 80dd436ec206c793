//! Who runs a program that is a script: the interpreters that its first line names, and those that run these.

use std::path::Path;

use super::launch::find_program;
use crate::policy::Runner;
use crate::sandbox::interpreter_of;

/// As deep as the kernel follows interpreters that are scripts themselves.
const DEPTH: usize = 4;

/// The interpreters of a file, the nearest first; none where it is no script. `env` is none: it looks another one up in
/// `path` (`PATH`), and that one is. Blocks.
pub(super) fn interpreters(program: &Path, cwd: &Path, path: &str) -> Vec<Runner> {
    let mut runners: Vec<Runner> = Vec::new();
    let mut script = program.to_owned();
    while runners.len() < DEPTH {
        let Some(name) = interpreter_of(&script) else {
            break;
        };
        let found = find_program(&name, cwd, path).ok();
        let found = found.map(|found| {
            let real = found.canonicalize().unwrap_or_else(|_| found.clone());
            (found, real)
        });
        let next = found.as_ref().map(|(_, real)| real.clone());
        runners.push(Runner { name, found });
        match next {
            Some(next) => script = next,
            None => break,
        }
    }
    runners
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn put(path: &Path, text: &str) {
        let file = File::create(path).unwrap();
        std::io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, open).unwrap();
    }

    #[test]
    fn interpreters_are_followed_to_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        put(&at("node"), "\x7fELF");
        put(&at("wrapper"), &format!("#!{} -x\n", at("node").display()));
        put(&at("loop"), &format!("#!{}\n", at("loop").display()));
        std::os::unix::fs::symlink(at("node"), at("nodejs")).unwrap();
        let own = |name: &str| at(name).display().to_string();
        for (line, expected) in [
            ("\x7fELF", &[][..]),
            ("no script", &[]),
            ("#!", &[]),
            ("#!/usr/bin/env node\nx", &["node"]),
            ("#! /usr/bin/env -S A=1 node --flag", &["node"]),
            ("#!/usr/bin/env -Snode --flag", &["node"]),
            ("#!/usr/bin/env", &["/usr/bin/env"]),
            ("#!/nowhere/python3 -u\r\n", &["/nowhere/python3"]),
            ("#!WRAPPER", &["WRAPPER", "NODE"]),
            ("#!LOOP", &["LOOP"; DEPTH]),
        ] {
            let text = line
                .replace("WRAPPER", &own("wrapper"))
                .replace("LOOP", &own("loop"));
            put(&at("script"), &text);
            let path = folder.path().to_string_lossy();
            let found = interpreters(&at("script"), folder.path(), &path);
            let found: Vec<String> = found
                .into_iter()
                .map(|runner| {
                    let name = runner.name.replace(&own("wrapper"), "WRAPPER");
                    name.replace(&own("loop"), "LOOP")
                        .replace(&own("node"), "NODE")
                })
                .collect();
            assert_eq!(found, expected, "{line}");
        }
        // By the file that it really is.
        put(&at("script"), "#!/usr/bin/env nodejs\n");
        let path = folder.path().to_string_lossy();
        let found = interpreters(&at("script"), folder.path(), &path);
        let real = at("node").canonicalize().unwrap();
        assert_eq!(found[0].found, Some((at("nodejs"), real)));
        // Nothing is waited for that nobody writes.
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::Mode::from_raw_mode(0o600),
        )
        .unwrap();
        assert!(interpreters(&at("pipe"), folder.path(), &path).is_empty());
    }
}
