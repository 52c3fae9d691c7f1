//! Applies directory events, and answers operators. See `rollcall-worker --help`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use rollcall_telemetry::{Options, Telemetry, healthcheck};
use rollcall_worker::cli::{Cli, Command};

fn main() -> anyhow::Result<ExitCode> {
    #[cfg(feature = "crash-points")]
    let _scenario = fail::FailScenario::setup();
    let Cli { command, settings } = Cli::parse();
    if matches!(command, Some(Command::Healthcheck)) {
        return healthcheck::ask(settings.admin_listen).map(|()| ExitCode::SUCCESS);
    }
    let checked = settings.check()?;
    let runtime = || tokio::runtime::Runtime::new().context("starting the runtime");
    match command {
        None | Some(Command::Run) => {
            // Its exporters are threads of their own: they outlive the runtime, to send what its end has to say.
            let telemetry = Telemetry::start(Options {
                service: "rollcall-worker",
                log_format: settings.log_format,
                log_filter: settings.rust_log.clone(),
                quiet: &[rollcall_queue::LOG_DIRECTIVES],
            })?;
            let runtime = runtime()?;
            let result = runtime.block_on(settings.work(checked, telemetry.metrics()));
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            telemetry.shutdown();
            result.map(|()| ExitCode::SUCCESS)
        }
        Some(command) => {
            let well = runtime()?.block_on(command.execute(&settings, checked))?;
            Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
