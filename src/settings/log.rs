//! What is logged.
//!
//! At INFO teloxide's parts print whole updates, which hold what people write. So these stay at WARN under every filter that
//! does not name them: `debug` means our own DEBUG. rmcp is silent altogether unless it is named: what goes wrong with a
//! server is told in its thread, and rmcp's words for it, up to ERROR, hold what servers answer.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::{FrontKind, SettingsError, shown};

/// Crates that are held at WARN; a filter names one by a target that begins with it.
const HELD: [&str; 6] = ["teloxide", "hyper", "reqwest", "rustls", "h2", "rustyline"];

/// The crate that is silent unless a filter names it.
const SILENT: &str = "rmcp";

/// The complete filter. The default says what happens where nobody looks at the same screen; the terminal's chat is
/// written there, so its default is only what somebody must know.
pub(super) fn filter(given: Option<&str>, front: FrontKind) -> Result<String, SettingsError> {
    let Some(given) = given else {
        return Ok(match front {
            FrontKind::Telegram => held("info"),
            FrontKind::Terminal => held("warn"),
        });
    };
    if let Some(word) = given
        .split(',')
        .map(str::trim)
        .find(|word| is_no_level(word))
    {
        return Err(SettingsError::NotAFilter {
            value: shown(given),
            why: format!(
                "`{}` is no level; the levels are error, warn, info, debug, trace and off",
                shown(word)
            ),
        });
    }
    match EnvFilter::try_new(given) {
        Ok(_) => Ok(held(given)),
        Err(error) => Err(SettingsError::NotAFilter {
            value: shown(given),
            why: shown(&error.to_string()),
        }),
    }
}

/// Sets the process up to log. A second call changes nothing.
pub(super) fn start<W: io::Write + 'static>(filter: &str, color: bool, writer: fn() -> W) {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(color && io::stderr().is_terminal())
        .with_writer(writer)
        .try_init();
}

/// A bare word that is no level would be taken for the name of a part of the program, and quietly log nothing else.
fn is_no_level(directive: &str) -> bool {
    const LEVELS: [&str; 12] = [
        "off", "error", "warn", "info", "debug", "trace", "0", "1", "2", "3", "4", "5",
    ];
    !directive.is_empty()
        && !directive.contains(['=', '[', ':'])
        && !LEVELS
            .iter()
            .any(|level| directive.eq_ignore_ascii_case(level))
}

fn held(given: &str) -> String {
    let directives: Vec<&str> = given.split(',').map(str::trim).collect();
    let loud = directives.iter().any(|directive| {
        ["info", "debug", "trace", "3", "4", "5"]
            .iter()
            .any(|level| directive.eq_ignore_ascii_case(level))
    });
    let is_named = |name: &str| {
        directives
            .iter()
            .any(|directive| directive.starts_with(name))
    };
    let mut filter = given.to_owned();
    if !is_named(SILENT) {
        filter.extend([",", SILENT, "=off"]);
    }
    if loud {
        for held in HELD.into_iter().filter(|held| !is_named(held)) {
            filter.extend([",", held, "=warn"]);
        }
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noisy_crates_are_held_unless_named() {
        let rest = ",teloxide=warn,hyper=warn,reqwest=warn,rustls=warn,h2=warn,rustyline=warn";
        for (given, expected) in [
            (None, format!("info,rmcp=off{rest}")),
            (Some("debug"), format!("debug,rmcp=off{rest}")),
            (Some("TRACE"), format!("TRACE,rmcp=off{rest}")),
            (Some("info,rmcp=debug"), format!("info,rmcp=debug{rest}")),
            (
                Some("info,rmcp::service=off"),
                format!("info,rmcp::service=off{rest}"),
            ),
            (Some("error"), "error,rmcp=off".to_owned()),
            (
                Some("warn,switchboard=debug"),
                "warn,switchboard=debug,rmcp=off".to_owned(),
            ),
        ] {
            assert_eq!(
                filter(given, FrontKind::Telegram),
                Ok(expected),
                "{given:?}"
            );
        }
        assert_eq!(
            filter(None, FrontKind::Terminal),
            Ok("warn,rmcp=off".to_owned())
        );
    }

    #[test]
    fn every_default_is_a_filter() {
        for front in [FrontKind::Telegram, FrontKind::Terminal] {
            EnvFilter::try_new(filter(None, front).unwrap()).unwrap();
        }
        let refused = filter(Some("switchboard=loud"), FrontKind::Telegram).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("SWITCHBOARD_LOG is `switchboard=loud`")
        );
        for word in ["loud", "info,loud", "switchboard"] {
            let refused = filter(Some(word), FrontKind::Telegram).unwrap_err();
            assert!(refused.to_string().contains("is no level"), "{refused}");
        }
    }
}
