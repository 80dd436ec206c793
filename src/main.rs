//! The program: arguments, settings, logging, run, exit code. Decides nothing.

mod cli;

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use cli::{AuditCommand, Cli, Command, SecretsVerb};
use switchboard::chat::terminal::LogWriter;
use switchboard::settings::{Flags, Settings};
use switchboard::{app, demo, registry, sandbox};

fn main() -> ExitCode {
    app::withhold_panics(|told| say(&format!("switchboard: {told}")));
    // Children that start often: no runtime and no logging before them.
    let outcome = match Cli::parse().chosen() {
        Command::DemoServer => return demo::demo_server_main(),
        Command::Launcher => return registry::launch::launcher_main(),
        Command::Relay { listen, to } => return sandbox::relay_main(listen, &to),
        Command::Usher { to, owner } => {
            let owner = match owner[..] {
                [uid, gid] => Some(sandbox::Owner { uid, gid }),
                _ => None,
            };
            return sandbox::usher_main(&to, owner);
        }
        Command::Confined => return sandbox::confined_main(),
        Command::Canary => return sandbox::canary_main(),
        Command::Run(args) => start(&args.flags(), |settings| async {
            app::run(settings).await.map(|()| true)
        }),
        Command::Secrets(args) => start(&args.flags(), |settings| async move {
            match args.verb {
                SecretsVerb::Rotate => app::rotate_secrets(settings),
                SecretsVerb::GiveUp { key } => app::give_up_key(&settings, &key),
            }
        }),
        Command::Audit(args) => {
            let AuditCommand::Verify { thread } = args.command;
            start(&args.flags(), |settings| async move {
                app::verify_audit(&settings, thread)
            })
        }
        Command::Do(args) => start(&args.flags(), |settings| {
            app::do_once(settings, args.thread, args.yes, args.line())
        }),
    };
    match outcome {
        Ok(ok) => ExitCode::from(u8::from(!ok)),
        Err(error) => {
            say(&format!("switchboard: {error:#}."));
            ExitCode::FAILURE
        }
    }
}

/// Reads the settings, sets up logging and runs to the end.
fn start<F>(flags: &Flags, run: impl FnOnce(Settings) -> F) -> anyhow::Result<bool>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let settings = Settings::read(flags, std::env::vars_os())?;
    for warning in &settings.warnings {
        say(&format!("switchboard: {warning}"));
    }
    settings.log_to(LogWriter::default);
    app::withhold_panics(|told| tracing::error!("{told}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(run(settings));
    // `run` has waited for what must end; a thread that reads the terminal may never return.
    runtime.shutdown_background();
    outcome
}

/// Nothing can be done where stderr is closed.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
