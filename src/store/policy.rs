//! `data/admin/policy.json`: read by the bot, and written by it where operators decide in a chat; and what the creator of a
//! chat decided, `state/<thread>/settings.json`.
//!
//! Two processes of ours take turns by a lock. An editor knows no locks, so a new text changes places with the one that is
//! there: where that is not the one that the change was made on, somebody saved in between, and the change is made once
//! more on theirs. Neither is lost.

use std::time::Duration;

use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;

use super::atomic::{self, Durability, Staged, Step};
use super::folder::Folder;
use super::lock::{self, Lock};
use super::{STATE, Store, StoreError, kept};
use crate::config::{ConfigError, POLICY_FILE, limits};
use crate::policy::{ChatSettings, HostPolicy, PolicyFile};
use crate::thread::ThreadId;

const LOCK: &str = "policy.lock";
/// More edits that fall into these microseconds are no person's.
const TRIES: usize = 16;

const SETTINGS: &str = "settings.json";
const SETTINGS_BYTES: u64 = 64 * 1024;

/// Why the policy was not changed; the file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// What stands there is no policy; a person must mend it first.
    #[error("admin/{POLICY_FILE} is broken: {0}")]
    Broken(#[from] ConfigError),
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The operator's `data/admin/policy.json`, raw.
    pub fn policy(&self) -> Result<Option<Vec<u8>>, StoreError> {
        read(&kept::operator::folder(self)?)
    }

    /// Changes it, durably; whatever else stands there stays. Returns what it is now. `change` may be asked more than
    /// once.
    pub fn change_policy(
        &self,
        change: impl Fn(&mut HostPolicy),
    ) -> Result<PolicyFile, PolicyError> {
        self.change_policy_meanwhile(change, || {})
    }

    /// `meanwhile` happens between the read and the write.
    fn change_policy_meanwhile(
        &self,
        change: impl Fn(&mut HostPolicy),
        mut meanwhile: impl FnMut(),
    ) -> Result<PolicyFile, PolicyError> {
        let disk = &self.root.disk;
        let admin = kept::operator::folder(self)?;
        let _lock = Lock::take_named(&self.part(STATE)?, LOCK, lock::WAIT)?;
        atomic::sweep(&admin, Duration::ZERO)?;
        let mut base = read(&admin)?;
        let mut there = base.clone();
        for _ in 0..TRIES {
            let before = match PolicyFile::read(base.as_deref()) {
                Ok(before) => before,
                Err(error) => {
                    if there != base {
                        // It was saved in between and is broken: it stays for its author.
                        let text = base.as_deref().unwrap_or_default();
                        atomic::write(disk, &admin, POLICY_FILE, text, Durability::Power)?;
                    }
                    return Err(error.into());
                }
            };
            let after = before.edited(&change);
            let text = after.to_text().into_bytes();
            if there == base && after == before {
                return Ok(after);
            }
            let staged = Staged::write(disk, &admin, POLICY_FILE, &text, Durability::Power)?;
            meanwhile();
            let displaced = exchange(self, &admin, staged)?;
            if displaced == there {
                atomic::sync(disk, &admin)?;
                return Ok(after);
            }
            (base, there) = (displaced, Some(text));
        }
        Err(StoreError::Busy(admin.path_of(POLICY_FILE)).into())
    }

    /// What the creator of a chat decided; asked with the chat's own thread, which no topic has.
    pub fn chat_settings(&self, chat: ThreadId) -> Result<ChatSettings, StoreError> {
        let Some(state) = self.state(chat)? else {
            return Ok(ChatSettings::default());
        };
        match state.read(SETTINGS, SETTINGS_BYTES)? {
            None => Ok(ChatSettings::default()),
            // What cannot be read opens nothing: it is an error, not the default.
            Some(text) => serde_json::from_slice(&text).map_err(|error| StoreError::Damaged {
                path: state.path_of(SETTINGS),
                reason: format!("line {}, column {}", error.line(), error.column()),
            }),
        }
    }

    /// Changes them; what they are then. Two who change them at once, in two topics of the chat, both have their way.
    pub fn change_chat_settings(
        &self,
        chat: ThreadId,
        change: impl FnOnce(&mut ChatSettings),
    ) -> Result<ChatSettings, StoreError> {
        let (state, _lock) = self.lock(chat)?;
        let mut settings = self.chat_settings(chat)?;
        change(&mut settings);
        let text = serde_json::to_vec_pretty(&settings)
            .map_err(|error| StoreError::io(state.path_of(SETTINGS), error))?;
        atomic::write(&self.root.disk, &state, SETTINGS, &text, Durability::Power)?;
        Ok(settings)
    }
}

fn read(admin: &Folder) -> Result<Option<Vec<u8>>, StoreError> {
    admin.read(POLICY_FILE, limits::FILE_BYTES as u64)
}

/// Puts the new text in its place; what was there.
fn exchange(
    store: &Store,
    admin: &Folder,
    staged: Staged<'_>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let fails = |errno: Errno| StoreError::io(admin.path_of(POLICY_FILE), errno);
    store
        .root
        .disk
        .allows(Step::Rename)
        .map_err(|source| StoreError::io(admin.path_of(POLICY_FILE), source))?;
    let temporary = staged.temporary().to_owned();
    loop {
        match renameat_with(
            admin,
            &*temporary,
            admin,
            POLICY_FILE,
            RenameFlags::EXCHANGE,
        ) {
            // Dropped, it takes the former text away.
            Ok(()) => return admin.read(&temporary, limits::FILE_BYTES as u64),
            Err(Errno::NOENT) => {}
            // A file system that cannot: what is saved in these microseconds is lost.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                let former = read(admin)?;
                staged.place()?;
                return Ok(former);
            }
            Err(errno) => return Err(fails(errno)),
        }
        // There is none, unless somebody just makes one.
        match renameat_with(
            admin,
            &*temporary,
            admin,
            POLICY_FILE,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {
                staged.leave();
                return Ok(None);
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(fails(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::ActorId;
    use crate::policy::{Call, Configure, Named};

    struct Scene {
        folder: tempfile::TempDir,
        store: Store,
    }

    impl Scene {
        fn new(text: Option<&str>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).unwrap();
            store.policy().unwrap();
            let scene = Self { folder, store };
            if let Some(text) = text {
                scene.save(text);
            }
            scene
        }

        #[allow(clippy::disallowed_methods, reason = "a test plays the host's editor")]
        fn save(&self, text: &str) {
            let path = self.folder.path().join("admin/policy.json");
            let new = path.with_extension("of-editor");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, path).unwrap();
        }

        fn text(&self) -> String {
            String::from_utf8(self.store.policy().unwrap().unwrap_or_default()).unwrap()
        }

        fn files(&self) -> usize {
            std::fs::read_dir(self.folder.path().join("admin"))
                .unwrap()
                .count()
        }
    }

    fn allow(user: u64) -> impl Fn(&mut HostPolicy) {
        move |policy| policy.admit(&Named::Person(ActorId::telegram(user)))
    }

    #[test]
    fn a_change_is_written_beside_what_is_there() {
        use std::os::unix::fs::PermissionsExt as _;
        let scene = Scene::new(None);
        scene.store.change_policy(allow(5)).unwrap();
        scene.store.change_policy(allow(6)).unwrap();
        let read = PolicyFile::read(Some(scene.text().as_bytes())).unwrap();
        assert_eq!(read, scene.store.change_policy(|_| {}).unwrap());
        assert!(scene.text().contains("tg:5") && scene.text().contains("tg:6"));
        assert_eq!(scene.files(), 1, "nothing is left beside it");
        let path = scene.folder.path().join("admin/policy.json");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_saved_by_hand_in_between_is_not_lost() {
        for first in [None, Some(r#"{"access": "open"}"#)] {
            let scene = Scene::new(first);
            let mut saves = vec![
                r#"{"operators": ["tg:1"], "allow": {"people": ["tg:3"]}}"#,
                r#"{"operators": ["tg:1", "tg:2"]}"#,
            ];
            let meanwhile = || {
                if let Some(text) = saves.pop() {
                    scene.save(text);
                }
            };
            scene
                .store
                .change_policy_meanwhile(allow(5), meanwhile)
                .unwrap();
            let text = scene.text();
            for there in ["tg:1", "tg:3", "tg:5"] {
                assert!(text.contains(there), "{first:?}: {text}");
            }
            assert_eq!(scene.files(), 1);
        }
    }

    #[test]
    fn a_broken_file_is_left_as_it_is() {
        let scene = Scene::new(Some("{ broken"));
        let refused = scene.store.change_policy(allow(5));
        assert!(
            matches!(refused, Err(PolicyError::Broken(_))),
            "{refused:?}"
        );
        assert_eq!(scene.text(), "{ broken");

        let scene = Scene::new(Some("{}"));
        let refused = scene
            .store
            .change_policy_meanwhile(allow(5), || scene.save("{ broken"));
        assert!(
            matches!(refused, Err(PolicyError::Broken(_))),
            "{refused:?}"
        );
        assert_eq!(scene.text(), "{ broken");
    }

    #[test]
    fn d38_a_policy_that_is_a_symlink_is_not_followed() {
        let scene = Scene::new(None);
        let path = scene.folder.path().join("admin/policy.json");
        std::os::unix::fs::symlink("/etc/hostname", path).unwrap();
        assert!(matches!(
            scene.store.policy(),
            Err(StoreError::NotOrdinary(_))
        ));
        assert!(scene.store.change_policy(allow(5)).is_err());
    }

    #[test]
    fn settings_of_a_chat_are_kept_and_damaged_ones_open_nothing() {
        let scene = Scene::new(None);
        let chat = ThreadId::telegram(-5, None);
        assert_eq!(
            scene.store.chat_settings(chat).unwrap(),
            ChatSettings::default()
        );
        // Each changes what it is about, whatever somebody else changed meanwhile.
        let changes: [fn(&mut ChatSettings); 2] = [
            |settings| settings.configure = Configure::Creator,
            |settings| settings.call = Call::Administrators,
        ];
        let mut now = ChatSettings::default();
        for change in changes {
            now = scene.store.change_chat_settings(chat, change).unwrap();
        }
        let settings = ChatSettings {
            configure: Configure::Creator,
            call: Call::Administrators,
        };
        assert_eq!(now, settings);
        assert_eq!(scene.store.chat_settings(chat).unwrap(), settings);
        let path = scene.folder.path().join("state/tg-5/settings.json");
        std::fs::File::create(path).unwrap();
        assert!(scene.store.chat_settings(chat).is_err());
    }
}
