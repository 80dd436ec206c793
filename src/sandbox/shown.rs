//! What one server finds of the host's files, by their paths: for telling people what it cannot see, and why.
//!
//! Worked out from what the sandbox shows, and never from what is on the host: a server that prints paths must not learn
//! from our words which of them are there.

use std::path::{Path, PathBuf};

use super::{Cage, HOME_INSIDE, Sandbox, view};
use crate::policy::Tier;

/// What one server finds of the host's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Its thread's home, as it sees it.
    pub home: PathBuf,
    /// What is hidden looks as if it was not there; else it is there and cannot be opened.
    pub hides_names: bool,
    /// Beside the system's.
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    /// Where the bot keeps its data: nothing to ask an operator for.
    bots: [PathBuf; 2],
}

/// Places that a server has for itself, or of which nothing is told.
const OWN: &[&str] = &["/proc", "/sys", "/dev", "/run", HOME_INSIDE];
/// Places that are its own in the strong tier, and empty when it starts.
const EMPTY: &[&str] = &["/tmp", "/var/tmp"];

/// How a server sees a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nothing of it is shown.
    Hidden,
    /// It is a place of its own, empty when it starts, whatever the host has there.
    Empty,
    /// It can be read only.
    ReadOnly,
    /// It is shown whole or in part, or nothing certain is known of it.
    Other,
}

impl Sandbox {
    /// What a server would be shown in this cage, with its program and the `PATH` that its interpreter is looked up in;
    /// `None` where nothing is hidden from it. Looks at the program's files, so not on a task's thread.
    pub fn shows(&self, cage: &Cage, program: Option<&Path>, path: &str) -> Option<Shown> {
        if !self.confines() {
            return None;
        }
        let path = path.to_owned();
        let needed =
            program.map(|program| view::needed(program, Some(&path), cage, &self.means.program));
        let is_strong = self.tier == Some(Tier::Strong);
        Some(Shown::of(cage, &needed.unwrap_or_default(), is_strong))
    }
}

impl Shown {
    /// What is shown in this cage, with the files that its program needs besides.
    pub fn of(cage: &Cage, needed: &[PathBuf], is_strong: bool) -> Self {
        let mut shown = Self {
            home: if is_strong {
                PathBuf::from(HOME_INSIDE)
            } else {
                cage.home.clone()
            },
            hides_names: is_strong,
            read: needed.to_vec(),
            write: Vec::new(),
            bots: [cage.home.clone(), cage.data.clone()],
        };
        for folder in &cage.folders {
            let list = if folder.write {
                &mut shown.write
            } else {
                &mut shown.read
            };
            list.push(folder.path.clone());
        }
        shown
    }

    /// How it sees this place.
    pub fn sight(&self, path: &Path) -> Sight {
        let is_odd = path
            .components()
            .any(|part| matches!(part, std::path::Component::ParentDir));
        let mut own = OWN.iter().map(Path::new);
        let mut bots = self.bots.iter();
        let mut write = self.write.iter();
        if is_odd
            || !path.is_absolute()
            || own.any(|own| path.starts_with(own) || own.starts_with(path))
            || bots.any(|bots| path.starts_with(bots) || bots.starts_with(path))
            || write.any(|write| path.starts_with(write) || write.starts_with(path))
        {
            return Sight::Other;
        }
        let mut read = view::system().chain(self.read.iter().cloned());
        if let Some(shown) = read.find(|read| path.starts_with(read) || read.starts_with(path)) {
            return if path.starts_with(shown) {
                Sight::ReadOnly
            } else {
                Sight::Other
            };
        }
        let mut empty = EMPTY.iter();
        if self.hides_names && empty.any(|empty| path.starts_with(empty)) {
            Sight::Empty
        } else {
            Sight::Hidden
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Granted, Limits, Network};
    use super::*;

    #[test]
    fn what_is_not_shown_is_known_from_what_is() {
        let cage = Cage {
            home: "/data/homes/local".into(),
            data: "/data".into(),
            owner: None,
            folders: [("/srv/read", false), ("/srv/write", true)]
                .map(|(path, write)| Granted {
                    path: path.into(),
                    write,
                })
                .into(),
            network: Network::None,
            limits: Limits::default(),
        };
        let needed = [PathBuf::from("/opt/tool")];
        for (path, strong, restricted) in [
            ("/srv/files/a.txt", Sight::Hidden, Sight::Hidden),
            ("/etc/shadow", Sight::Hidden, Sight::Hidden),
            ("/srv/readable", Sight::Hidden, Sight::Hidden),
            ("/usr/share/x", Sight::ReadOnly, Sight::ReadOnly),
            ("/srv/read/x", Sight::ReadOnly, Sight::ReadOnly),
            ("/opt/tool/lib", Sight::ReadOnly, Sight::ReadOnly),
            ("/srv/write/x", Sight::Other, Sight::Other),
            ("/tmp/x", Sight::Empty, Sight::Hidden),
            ("/srv", Sight::Other, Sight::Other),
            ("/", Sight::Other, Sight::Other),
            ("/proc/1/environ", Sight::Other, Sight::Other),
            ("/data/homes/local/x", Sight::Other, Sight::Other),
            ("/data/bot.key", Sight::Other, Sight::Other),
            ("/srv/write/../../etc/shadow", Sight::Other, Sight::Other),
            ("srv/files", Sight::Other, Sight::Other),
        ] {
            for (is_strong, expected) in [(true, strong), (false, restricted)] {
                let shown = Shown::of(&cage, &needed, is_strong);
                assert_eq!(shown.sight(Path::new(path)), expected, "{path} {is_strong}");
            }
        }
    }
}
