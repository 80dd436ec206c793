//! The strong tier's command line: namespaces of its own, and a file system that holds only what is shown here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cage::{Cage, Network, node_proxy, proxy};
use super::{HOME_INSIDE, NODE_PROXY_INSIDE, view};

/// Bubblewrap on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bubblewrap {
    /// A full path.
    pub(super) program: PathBuf,
    /// Whether it can take away the making of further user namespaces.
    pub(super) ends_user_namespaces: bool,
}

impl Bubblewrap {
    /// Where it is, if it is installed.
    pub(super) fn find() -> Option<PathBuf> {
        // Not where `PATH` says: that is what a person's shell is set up for.
        [
            "/usr/bin/bwrap",
            "/usr/local/bin/bwrap",
            "/bin/bwrap",
            "/run/current-system/sw/bin/bwrap",
        ]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
    }

    /// Everything up to the program that confines further, itself included. `needed` are files and folders that are shown
    /// besides the system's, `own` is the bot's own program.
    pub(super) fn arguments(&self, cage: &Cage, needed: &[PathBuf], own: &Path) -> Vec<String> {
        let mut line = Line::default();
        line.add([
            "--die-with-parent",
            "--new-session",
            "--hostname",
            "sandbox",
        ]);
        line.add([
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ]);
        if cage.network != Network::Host {
            line.add(["--unshare-net"]);
        }
        if cage.owner.is_some() {
            // As root, without a user namespace: its user would be root outside as well. The program that confines
            // becomes the thread's own user, which needs these and leaves nothing of them.
            line.add([
                "--cap-drop",
                "ALL",
                "--cap-add",
                "CAP_SETUID",
                "--cap-add",
                "CAP_SETGID",
            ]);
        } else {
            line.add(["--unshare-user"]);
            if self.ends_user_namespaces {
                line.add(["--disable-userns"]);
            }
        }
        for path in view::system() {
            match std::fs::read_link(&path) {
                // `/bin`, where it is a link into `/usr`.
                Ok(to) if path.components().count() == 2 => {
                    line.add(["--symlink", &to.to_string_lossy(), &path.to_string_lossy()]);
                }
                _ if path.starts_with("/dev") || path.starts_with("/proc") => {}
                _ => line.same("--ro-bind-try", &path),
            }
        }
        line.add(["--proc", "/proc", "--dev", "/dev"]);
        let tmp = cage.limits.tmp_bytes.to_string();
        for folder in ["/dev/shm", "/tmp"] {
            line.add(["--perms", "1777", "--size", &tmp, "--tmpfs", folder]);
        }
        line.way_to(Path::new("/var/tmp"));
        line.add(["--symlink", "../tmp", "/var/tmp"]);
        for path in needed {
            line.same("--ro-bind-try", path);
        }
        for folder in &cage.folders {
            line.same(
                if folder.write { "--bind" } else { "--ro-bind" },
                &folder.path,
            );
        }
        line.show("--ro-bind", own, Path::new(view::PROGRAM_INSIDE));
        if let Some((socket, inside)) = proxy(&cage.network) {
            line.show("--ro-bind", socket, Path::new(inside));
        }
        if let Some(file) = node_proxy(&cage.network) {
            line.show("--ro-bind", &file, Path::new(NODE_PROXY_INSIDE));
        }
        line.show("--bind", &cage.home, Path::new(HOME_INSIDE));
        // What holds all this is a file system in memory, which its owner could fill.
        line.add(["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]);
        line.add(["--", view::PROGRAM_INSIDE, "confined"]);
        line.words
    }
}

#[derive(Default)]
struct Line {
    words: Vec<String>,
    /// Folders on the way that are made already.
    made: BTreeSet<PathBuf>,
}

impl Line {
    fn add<const N: usize>(&mut self, words: [&str; N]) {
        self.words.extend(words.map(str::to_owned));
    }

    /// Shows a path of the host.
    fn show(&mut self, how: &str, path: &Path, inside: &Path) {
        self.way_to(inside);
        self.add([how, &path.to_string_lossy(), &inside.to_string_lossy()]);
    }

    /// Bubblewrap makes the folders on the way for root alone.
    fn way_to(&mut self, inside: &Path) {
        let mut way: Vec<_> = inside.ancestors().skip(1).collect();
        way.reverse();
        for folder in way.into_iter().skip(1) {
            if self.made.insert(folder.to_owned()) {
                self.add(["--perms", "0755", "--dir", &folder.to_string_lossy()]);
            }
        }
    }

    /// The same, at the same place.
    fn same(&mut self, how: &str, path: &Path) {
        self.show(how, path, path);
    }
}
