//! What programs need of the host to run, and nothing else: the system's own folders, and where the program itself is.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use super::cage::Cage;
use super::script::interpreter_of;

/// Our own program in the strong tier.
pub(super) const PROGRAM_INSIDE: &str = "/run/switchboard/switchboard";

/// Programs, libraries and their data; the same for everybody. Nothing of it is secret on any distribution: no `shadow`,
/// no keys, no `machine-id`, no `/var`, no homes.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/run/current-system/sw",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/fonts",
    "/etc/group",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/java",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/perl",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/protocols",
    "/etc/python3",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
];

/// In the restricted tier, besides; the strong one has its own. Of processes only the server itself, which reads this while
/// it is still our program: everybody may read the command lines of `/proc`, and other chats' keys may stand there.
const KERNEL: &[&str] = &[
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
];

/// Devices that hold nothing.
pub(super) const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// How far scripts that run scripts are followed.
const DEPTH: usize = 8;

pub(super) fn system() -> impl Iterator<Item = PathBuf> {
    SYSTEM.iter().map(PathBuf::from)
}

pub(super) fn kernel() -> impl Iterator<Item = PathBuf> {
    KERNEL.iter().map(PathBuf::from)
}

/// Our own program, as one that was confined finds it.
pub(super) fn own_program(is_strong: bool) -> PathBuf {
    PathBuf::from(if is_strong {
        PROGRAM_INSIDE
    } else {
        "/proc/self/exe"
    })
}

/// The files and folders outside the system's that a program runs with: where it is installed, by each name on the way to
/// the file itself, and the same of the interpreter that its first line names.
pub(super) fn needed(
    program: &Path,
    path: Option<&String>,
    cage: &Cage,
    own: &Path,
) -> Vec<PathBuf> {
    let mut needed = BTreeSet::new();
    let mut open = VecDeque::from([program.to_owned()]);
    for _ in 0..DEPTH {
        let Some(next) = open.pop_front() else { break };
        // What a server of the thread can change itself decides nothing.
        if next.starts_with(&cage.home) {
            continue;
        }
        let real = next.canonicalize().unwrap_or_else(|_| next.clone());
        if real.starts_with(&cage.data) || real.starts_with(&cage.home) {
            continue;
        }
        for name in [&next, &real] {
            if !is_system(name) {
                needed.insert(if real == own {
                    real.clone()
                } else {
                    installed(name, cage)
                });
            }
        }
        if real != own {
            open.extend(interpreter(&real, path));
        }
    }
    needed.into_iter().collect()
}

fn is_system(path: &Path) -> bool {
    // A link there may lead elsewhere, but then that is looked at as well.
    system().any(|folder| path.starts_with(folder))
}

/// The folder that a program is installed in; the file alone where that folder holds more than programs.
fn installed(program: &Path, cage: &Cage) -> PathBuf {
    if let Some(modules) = program
        .ancestors()
        .filter(|folder| {
            folder
                .file_name()
                .is_some_and(|name| name == "node_modules")
        })
        .last()
        && !is_broad(modules, cage)
    {
        return modules.to_owned();
    }
    let Some(folder) = program.parent() else {
        return program.to_owned();
    };
    let is_bin = folder.file_name().is_some_and(|name| {
        ["bin", "sbin", "libexec", "shims"]
            .iter()
            .any(|bin| name == *bin)
    });
    [folder.parent().filter(|_| is_bin), Some(folder)]
        .into_iter()
        .flatten()
        .find(|folder| !is_broad(folder, cage))
        .unwrap_or(program)
        .to_owned()
}

/// Whether a folder is one that people or the system keep other things in.
fn is_broad(folder: &Path, cage: &Cage) -> bool {
    const SHARED: &[&str] = &[
        ".local",
        ".config",
        ".cache",
        ".ssh",
        "Documents",
        "Downloads",
    ];
    let depth = folder.components().count();
    let is_home = folder
        .parent()
        .is_some_and(|parent| parent == Path::new("/home"))
        || std::env::home_dir().is_some_and(|home| home.starts_with(folder));
    depth <= 2
        || is_home
        || ["/var/lib", "/var/tmp", "/usr/local"]
            .iter()
            .any(|broad| folder == Path::new(broad))
        || folder
            .file_name()
            .is_some_and(|name| SHARED.iter().any(|shared| name == *shared))
        || cage.data.starts_with(folder)
        || cage.home.starts_with(folder)
        || folder.starts_with(&cage.data)
}

/// The interpreter of a script, looked up as `env` does where it is `env` that finds it.
fn interpreter(script: &Path, path: Option<&String>) -> Option<PathBuf> {
    let name = interpreter_of(script)?;
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_absolute());
    }
    path?
        .split(':')
        .map(|folder| Path::new(folder).join(&name))
        .find(|found| found.is_absolute() && found.is_file())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_the_place_of_a_program_holds_nobody_up() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert_eq!(interpreter(&script, None), Some("/bin/sh".into()));
        std::fs::write(&script, "#!/usr/bin/env -S sh -e\n").unwrap();
        let path = "/nowhere:/bin".to_owned();
        assert_eq!(interpreter(&script, Some(&path)), Some("/bin/sh".into()));
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let (sender, found) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(interpreter(&pipe, None)));
        // So long only where it hangs.
        let found = found.recv_timeout(std::time::Duration::from_secs(30));
        assert_eq!(found.expect("it hangs"), None);
    }
}
