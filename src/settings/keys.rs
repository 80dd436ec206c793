//! The keys that the operator gives for what is kept secret.
//!
//! In this order, the first one active: a systemd credential, a key file, the environment. Whoever changes the place keeps
//! the old one for a while, so all are read.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Environment, SettingsError};
use crate::vault::{KeyError, Ring};

pub(super) const KEYS: &str = "SWITCHBOARD_VAULT_KEYS";
pub(super) const KEY_FILE: &str = "SWITCHBOARD_VAULT_KEY_FILE";
/// Set by systemd for a service with `LoadCredential=switchboard-vault-key:…`.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
const CREDENTIAL: &str = "switchboard-vault-key";

const MOST_BYTES: u64 = 64 * 1024;

/// The keys, and what is odd about where they are.
pub(super) fn read(environment: &Environment) -> Result<(Ring, Option<String>), SettingsError> {
    let mut ring = Ring::default();
    let mut warning = None;
    let path = |name| environment.path(name);
    if let Some(folder) = path(CREDENTIALS) {
        let file = folder.join(CREDENTIAL);
        // The folder may be there for other credentials.
        if file.exists() {
            ring = and(ring, &of_file(CREDENTIALS, &file)?, CREDENTIALS)?;
        }
    }
    if let Some(file) = path(KEY_FILE) {
        ring = and(ring, &of_file(KEY_FILE, &file)?, KEY_FILE)?;
        if file
            .metadata()
            .is_ok_and(|told| told.permissions().mode() & 0o077 != 0)
        {
            warning = Some(format!(
                "{KEY_FILE} names a file that others on this machine may read; `chmod 600` keeps it private."
            ));
        }
    }
    if let Some(text) = environment.text(KEYS)? {
        let given = Ring::read(text).map_err(|error| bad(KEYS, error))?;
        ring = and(ring, &given, KEYS)?;
    }
    Ok((ring, warning))
}

fn and(ring: Ring, more: &Ring, name: &'static str) -> Result<Ring, SettingsError> {
    ring.then(more).map_err(|error| bad(name, error))
}

fn of_file(name: &'static str, path: &Path) -> Result<Ring, SettingsError> {
    let unreadable = |error: std::io::Error| SettingsError::BadKeys {
        name,
        why: format!("names a key file that cannot be read ({error})"),
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ring::read_file(&bytes).map_err(|error| bad(name, error))
}

fn bad(name: &'static str, error: KeyError) -> SettingsError {
    SettingsError::BadKeys {
        name,
        why: error.to_string(),
    }
}

impl Environment {
    fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).map(PathBuf::from)
    }
}
