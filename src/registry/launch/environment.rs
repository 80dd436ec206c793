//! The environment that every server starts with.

use std::collections::BTreeMap;
use std::path::Path;

/// What is handed down from the bot's own environment.
///
/// A short list of names that say how the machine is set up and hold no secret: where programs are (`PATH`), in which
/// language and time zone to speak (`LANG`, `LC_*`, `TZ`), where temporary files go (`TMPDIR`), and who runs it (`USER`,
/// `LOGNAME`). `HOME` is the thread's own folder, so that caches and logins of one thread's servers are not those of
/// another's or of the bot's account. Everything else (the bot's token, its settings, the keys of whoever started it)
/// stays with the bot; what a server needs is written in its `env`.
#[derive(Debug, Clone, Default)]
pub(in crate::registry) struct BaseEnvironment(BTreeMap<String, String>);

const HANDED_DOWN: &[&str] = &[
    "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME",
];

/// Used where the bot itself has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl BaseEnvironment {
    /// Picks from the bot's own environment.
    pub(in crate::registry) fn of_this_process() -> Self {
        Self::of(std::env::vars_os().filter_map(|(name, value)| {
            // What is not Unicode cannot be one of these and mean anything.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut base: BTreeMap<_, _> = variables
            .into_iter()
            .filter(|(name, _)| HANDED_DOWN.contains(&name.as_str()) || name.starts_with("LC_"))
            .collect();
        base.entry("PATH".to_owned())
            .or_insert_with(|| DEFAULT_PATH.to_owned());
        Self(base)
    }

    /// A server's whole environment: the base, `HOME`, then its own variables, which win.
    pub(in crate::registry) fn for_server(
        &self,
        home: &Path,
        own: &[(String, String)],
    ) -> BTreeMap<String, String> {
        let mut all = self.0.clone();
        all.insert("HOME".to_owned(), home.to_string_lossy().into_owned());
        all.extend(own.iter().cloned());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_names_are_handed_down() {
        let base = BaseEnvironment::of(
            [
                ("PATH", "/bin"),
                ("LC_TIME", "C"),
                ("TELOXIDE_TOKEN", "secret"),
                ("SWITCHBOARD_DATA", "/data"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("HOME", "/root"),
                ("HTTPS_PROXY", "http://user:secret@proxy"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let all = base.for_server(Path::new("/homes/local"), &[("A".into(), "1".into())]);
        let shown: Vec<_> = all
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            shown,
            ["A=1", "HOME=/homes/local", "LC_TIME=C", "PATH=/bin"]
        );
    }

    #[test]
    fn a_servers_own_variables_win() {
        let base = BaseEnvironment::of([]);
        let all = base.for_server(
            Path::new("/h"),
            &[("PATH".into(), "/opt".into()), ("HOME".into(), "/x".into())],
        );
        assert_eq!((&*all["PATH"], &*all["HOME"]), ("/opt", "/x"));
    }
}
