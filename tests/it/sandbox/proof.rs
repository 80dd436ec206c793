//! The self-test refuses a tier that does not hold: the bot as it is started, on a machine where a part of it is broken.
//!
//! That machine is this one in a bubblewrap of the test's own, which shows something else in the place of one file, or
//! refuses a system call.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::hostile::{Far, Manners};
use crate::support::world::misbehave;

use super::scene::program;

/// Where bubblewrap may be; the bot looks nowhere else.
const PLACES: [&str; 4] = [
    "/usr/bin/bwrap",
    "/usr/local/bin/bwrap",
    "/bin/bwrap",
    "/run/current-system/sw/bin/bwrap",
];

/// Where the strong tier shows our own program.
const INSIDE: &str = "/run/switchboard/switchboard";

/// A machine with something broken.
struct Machine {
    folder: tempfile::TempDir,
    /// What bubblewrap is told to make it so.
    broken: Vec<String>,
    has_landlock: bool,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everybody).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        Self {
            folder,
            broken: Vec::new(),
            has_landlock: true,
        }
    }

    /// One where this file stands in the place of bubblewrap.
    fn with_bubblewrap(mut self, file: &Path) -> Self {
        let file = file.display().to_string();
        let places = PLACES.iter().filter(|place| Path::new(place).exists());
        // A link is where it leads to.
        let places = places.map(|place| Path::new(place).canonicalize().unwrap());
        for place in places {
            let place = place.display().to_string();
            let words = ["--dev-bind".to_owned(), file.clone(), place];
            self.broken.extend(words);
        }
        assert!(!self.broken.is_empty(), "bubblewrap is not installed");
        self
    }

    /// One without bubblewrap: what is there is no file.
    fn without_bubblewrap() -> Self {
        Self::new().with_bubblewrap(Path::new("/dev/null"))
    }

    /// One whose bubblewrap is this script. `$PROGRAM` is our own program, `$HOMES` where the homes are, `$REAL` the
    /// bubblewrap that it stands for.
    fn with_script(script: &str) -> Self {
        let mut machine = Self::new();
        let place = |name: &str| machine.folder.path().join(name);
        let (file, real) = (place("bwrap"), place("real-bwrap"));
        std::fs::copy("/usr/bin/bwrap", &real).unwrap();
        // Where nothing is hidden by what stands in its place, and the threads' users may run it.
        let own = place("switchboard");
        std::fs::copy(program(), &own).unwrap();
        let mut made = std::fs::File::create(&file).unwrap();
        let (own, homes) = (own.display(), place("data/homes"));
        let (homes, real) = (homes.display(), real.display());
        write!(
            made,
            "#!/bin/sh\nPROGRAM={own}\nHOMES={homes}\nREAL={real}\n{script}"
        )
        .unwrap();
        drop(made);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Its places inside, for a server that is started outside.
        let words = ["--tmpfs", "/home", "--tmpfs", "/run"].map(str::to_owned);
        machine.broken.extend(words);
        let inside = ["--dir", "/run/switchboard", "--ro-bind"].map(str::to_owned);
        machine.broken.extend(inside);
        let own = program().display().to_string();
        machine.broken.extend([own, INSIDE.to_owned()]);
        machine.with_bubblewrap(&file)
    }

    /// The same without Landlock.
    fn without_landlock(mut self) -> Self {
        let unknown = rustix::io::Errno::NOSYS.raw_os_error().cast_unsigned();
        // `struct sock_filter` of linux/filter.h: the call's number, whether it is `landlock_create_ruleset` (444 on every
        // kind of processor), and what is answered then, as by a kernel that has none.
        let program = [
            (0x20_u16, 0_u8, 0_u8, 0_u32),
            (0x15, 0, 1, 444),
            (0x06, 0, 0, 0x0005_0000 | unknown),
            (0x06, 0, 0, 0x7fff_0000),
        ];
        let mut file = std::fs::File::create(self.at("filter")).unwrap();
        for (code, yes, no, value) in program {
            file.write_all(&code.to_ne_bytes()).unwrap();
            file.write_all(&[yes, no]).unwrap();
            file.write_all(&value.to_ne_bytes()).unwrap();
        }
        self.has_landlock = false;
        self
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The bot on this machine, with these words and settings, until it ends.
    fn runs(&self, words: &[&str], settings: &[(&str, &str)]) -> Output {
        let folder = self.folder.path().display().to_string();
        // The shell opens the filter where bubblewrap is told to read it.
        #[expect(clippy::disallowed_methods, reason = "the bot under test")]
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec 9<\"$0\"; exec \"$@\""]);
        let filter = if self.has_landlock {
            PathBuf::from("/dev/null")
        } else {
            self.at("filter")
        };
        command.arg(filter).arg("/usr/bin/bwrap");
        if !self.has_landlock {
            command.args(["--seccomp", "9"]);
        }
        command
            .args(["--bind", "/", "/", "--dev-bind", "/dev", "/dev"])
            .args(&self.broken)
            .args(["--bind", &folder, &folder, "--"])
            .arg(match self.at("switchboard") {
                own if own.exists() => own,
                _ => program().to_owned(),
            })
            .args(words)
            .env("SWITCHBOARD_DATA", self.at("data"))
            .env_remove("TELOXIDE_TOKEN")
            .env("SWITCHBOARD_LOG", "info")
            .env("SWITCHBOARD_LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What the bot logs when it is started; it has to start.
    fn log(&self) -> String {
        let output = self.runs(&["run", "--front", "terminal"], &[]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// What the bot answers to one line of its operator.
    fn answers(&self, line: &str, settings: &[(&str, &str)]) -> String {
        let output = self.runs(&["do", "--thread", "local", "--yes", "--", line], settings);
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Runs what bubblewrap would confine, where it finds what it is told to expect.
const RUNS_IT_OUTSIDE: &str = r#"
while [ "$1" != "--" ]; do
  if [ "$1" = "--bind" ] && [ "$3" = "/home/thread" ]; then ln -sfn "$2" /home/thread; home=$2; fi
  shift
done
while [ "$home" != "${HOMES%/*/*}" ]; do chmod o+x "$home"; home=${home%/*}; done
shift 2
exec "$PROGRAM" "$@"
"#;

/// Shows a folder more than it is told to.
const SHOWS_ALL_HOMES: &str = r#"
chmod -R o+rx "$HOMES"
for word; do
  shift
  if [ "$word" = "--remount-ro" ]; then
    for folder in "${HOMES%/*/*}" "${HOMES%/*}"; do set -- "$@" --perms 0755 --dir "$folder"; done
    set -- "$@" --ro-bind "$HOMES" "$HOMES"
  fi
  set -- "$@" "$word"
done
exec "$REAL" "$@"
"#;

/// Leaves the host's network where there is to be none.
const LEAVES_THE_NETWORK: &str = r#"
for word; do
  shift
  if [ "$word" != "--unshare-net" ]; then set -- "$@" "$word"; fi
done
exec "$REAL" "$@"
"#;

#[test]
fn d09_a_bubblewrap_that_does_not_hold_is_not_believed() {
    for (what, script, why) in [
        (
            "it runs it outside",
            RUNS_IT_OUTSIDE,
            "the self-test reached a program that listens on this host",
        ),
        (
            "it shows all homes",
            SHOWS_ALL_HOMES,
            "the self-test reached another chat's files",
        ),
        (
            "it leaves the network",
            LEAVES_THE_NETWORK,
            "the self-test reached a program that listens on this host",
        ),
    ] {
        let machine = Machine::with_script(script);
        let log = machine.log();
        assert!(
            log.contains("Servers that run here are in the restricted sandbox")
                && log.contains(why),
            "{what}: {log}"
        );
        let refused = machine.runs(&["run"], &[("SWITCHBOARD_SANDBOX", "strong")]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && told.contains(why),
            "{what}: {told}"
        );
    }
    // The same script that changes nothing is believed: it is not the script.
    let log = Machine::with_script("exec \"$REAL\" \"$@\"\n").log();
    assert!(
        log.contains("Servers that run here are in the strong sandbox"),
        "{log}"
    );
}

#[test]
fn without_bubblewrap_it_is_the_restricted_sandbox_and_the_log_says_so() {
    let machine = Machine::without_bubblewrap();
    let log = machine.log();
    for words in [
        "Servers that run here are in the restricted sandbox",
        "bubblewrap is not installed",
        "tier=\"restricted\"",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    // Demanded, it is no start at all, and the sentence says what was demanded and why it is not there.
    let refused = machine.runs(&["run"], &[("SWITCHBOARD_SANDBOX", "strong")]);
    let told = String::from_utf8_lossy(&refused.stderr);
    let sentence = "SWITCHBOARD_SANDBOX is `strong`, and that is not possible here: bubblewrap is not installed";
    assert!(
        !refused.status.success() && told.contains(sentence),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_sandbox_only_our_own_demo_server_and_remote_ones_run() {
    let far = Far::start(Manners::default()).await;
    let url = far.url();
    let tried = tokio::task::spawn_blocking(move || {
        let machine = Machine::without_bubblewrap().without_landlock();
        let log = machine.log();
        for words in [
            "Servers that run on this host are refused",
            "bubblewrap is not installed",
            "this kernel has no Landlock",
        ] {
            assert!(log.contains(words), "{words}: {log}");
        }
        let told = machine.answers(&format!("/mcp add bad -- {}", misbehave().display()), &[]);
        assert!(told.contains("are refused here"), "{told}");
        let told = machine.answers("/mcp add demo -- switchboard demo-server", &[]);
        assert!(told.contains("demo · 6 tools"), "{told}");
        let told = machine.answers("/mcp call demo echo text=hi", &[]);
        assert!(told.contains("hi"), "{told}");
        let open = [
            ("SWITCHBOARD_ALLOW_HTTP", "1"),
            ("SWITCHBOARD_ALLOW_CIDRS", "127.0.0.0/8"),
        ];
        machine.answers(&format!("/mcp connect hub {url}"), &open);
        let told = machine.answers("/mcp call hub echo text=far", &open);
        assert!(told.contains("far"), "{told}");
    });
    tried.await.unwrap();
    assert!(far.rpcs("tools/call") > 0);
}
