//! Who a thread's servers run as where the bot is root: a user of the thread's own, that nobody else is.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::thread::ThreadId;

/// The first of the numbers, which no distribution gives to anybody, and how many there are.
const FIRST: u32 = 0x7000_0000;
const MANY: u32 = 0x0800_0000;
/// Where the machine knows fewer numbers (a container), these.
const FIRST_FEW: u32 = 20_000;
const FEW: u32 = 40_000;
/// Where it knows fewer still.
const NOBODY: u32 = 65_534;

/// A user and a group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// The thread's own; `None` where the bot is not root and so cannot be anybody else.
    pub fn of(thread: ThreadId) -> Option<Self> {
        Self::named(&thread.to_string())
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        let (uids, gids) = (read("/proc/self/uid_map"), read("/proc/self/gid_map"));
        Self::among(name, |id| is_mapped(&uids, id) && is_mapped(&gids, id))
    }

    fn among(name: &str, knows: impl Fn(u32) -> bool) -> Option<Self> {
        let hash = Sha256::digest(name.as_bytes());
        let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        [FIRST + number % MANY, FIRST_FEW + number % FEW, NOBODY]
            .into_iter()
            .find(|id| knows(*id))
            .map(|id| Self { uid: id, gid: id })
    }
}

/// `user_namespaces(7)`: lines of first number inside, first outside, how many.
fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(many))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        (first..first + many).contains(&u64::from(id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_a_user_that_the_machine_knows() {
        let whole = "         0          0 4294967295";
        let container = "0 100000 65536";
        let one = "0 1000 1";
        for (map, expected) in [
            (whole, Some(FIRST..FIRST + MANY)),
            (container, Some(FIRST_FEW..FIRST_FEW + FEW)),
            ("0 100000 1000\n65534 200000 1", Some(NOBODY..NOBODY + 1)),
            (one, None),
            ("", None),
        ] {
            let found = Owner::among("tg1", |id| is_mapped(map, id));
            assert_eq!(found.is_some(), expected.is_some(), "{map}");
            if let (Some(found), Some(expected)) = (found, expected) {
                assert!(
                    expected.contains(&found.uid) && found.uid == found.gid,
                    "{map}"
                );
            }
        }
        let of = |name| Owner::among(name, |_| true);
        assert_ne!(of("tg1"), of("tg2"));
        assert_eq!(of("tg1"), of("tg1"));
    }
}
