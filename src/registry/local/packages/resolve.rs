//! Which version a package has now, as its own manager says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::super::super::context::Context;
use super::super::super::trouble::Trouble;
use super::recognise::{Manager, Package, is_exact_npm, is_exact_python};
use super::step::{Step, run};
use super::{folder, words};
use crate::thread::ThreadId;

/// How long a registry is asked.
const LIMIT: Duration = Duration::from_secs(40);

/// Asks for the version that fits best.
pub(super) async fn version(
    context: &Arc<Context>,
    thread: ThreadId,
    package: &Package,
) -> Result<String, Trouble> {
    let what = "its version is not known";
    let spec = package.spec(package.version.as_deref());
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
    let (args, input): (Vec<String>, String) = match package.manager {
        Manager::Npm => (
            words(&["view", &spec, "version", "--json", "--fetch-retries=1"]),
            String::new(),
        ),
        Manager::Uv => (
            words(&[
                "pip",
                "compile",
                "-",
                "--no-deps",
                "--no-header",
                "--no-annotate",
                "--no-progress",
            ]),
            format!("{spec}\n"),
        ),
    };
    let place = Asking::new(&folder(context, thread));
    let variables = match package.manager {
        Manager::Npm => vec![("npm_config_userconfig".to_owned(), "/dev/null".to_owned())],
        Manager::Uv => super::install::uv_variables(&place.0),
    };
    let step = Step {
        package,
        args,
        variables,
        input,
        place: &place.0,
        stays: false,
        limit: LIMIT,
        what,
    };
    let said = run(context, thread, step).await?;
    let version = match package.manager {
        Manager::Npm => of_npm(&said),
        Manager::Uv => of_uv(&said),
    };
    version.ok_or_else(|| words::failed(package, what, &["notarget".to_owned()]))
}

/// The folder of one question, which goes with it: what a manager remembers of one would only grow.
struct Asking(PathBuf);

impl Asking {
    fn new(folder: &Path) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        Self(folder.join(".asking").join(name))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let place = std::mem::take(&mut self.0);
        // In the background, where there is a runtime: nobody waits for it.
        let gone = move || drop(std::fs::remove_dir_all(place));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(gone)),
            Err(_) => gone(),
        }
    }
}

/// A version, or the versions that fit in their order.
fn of_npm(said: &str) -> Option<String> {
    let version = match serde_json::from_str(said).ok()? {
        Value::String(version) => version,
        Value::Array(versions) => versions.last()?.as_str()?.to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    is_exact_npm(&version).then_some(version)
}

/// `name==1.2.3`, perhaps with extras and conditions.
fn of_uv(said: &str) -> Option<String> {
    let mut lines = said.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let (_, version) = line.split_once("==")?;
    let version = version.split([' ', ';', '\\']).next()?.to_owned();
    is_exact_python(&version).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d11_versions_are_read_and_nothing_else_is() {
        for (said, expected) in [
            ("\"1.2.3\"\n", Some("1.2.3")),
            ("[\"1.0.0\", \"1.2.0\"]", Some("1.2.0")),
            ("\"latest\"", None),
            ("\"1.2.3 && rm\"", None),
            ("[]", None),
            ("", None),
            ("{}", None),
        ] {
            assert_eq!(of_npm(said).as_deref(), expected, "{said}");
        }
        for (said, expected) in [
            ("pkg==1.2.3\n", Some("1.2.3")),
            (
                "# x\nmcp[cli]==1.2rc1 ; python_version > '3'\n",
                Some("1.2rc1"),
            ),
            ("pkg @ file:///x", None),
            ("", None),
        ] {
            assert_eq!(of_uv(said).as_deref(), expected, "{said}");
        }
    }
}
