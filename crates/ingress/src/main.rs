//! Takes signed webhooks and hands them to the queue. See `rollcall-ingress --help`.

use anyhow::Context;
use clap::Parser;
use rollcall_ingress::settings::{Cli, Command};
use rollcall_telemetry::{Options, Telemetry, healthcheck};

/// Many small objects of short lives, from several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    #[cfg(feature = "crash-points")]
    let _scenario = fail::FailScenario::setup();
    let Cli { command, settings } = Cli::parse();
    if matches!(command, Some(Command::Healthcheck)) {
        return healthcheck::ask(settings.health_address());
    }
    let checked = settings.check()?;
    // Its exporters are threads of their own: they outlive the runtime, to send what its end has to say.
    let telemetry = Telemetry::start(Options {
        service: "rollcall-ingress",
        log_format: settings.log_format,
        log_filter: settings.rust_log.clone(),
        quiet: &[rollcall_queue::LOG_DIRECTIVES],
    })?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let result = runtime.block_on(settings.serve(checked, telemetry.metrics()));
    drop(runtime);
    telemetry.shutdown();
    result
}
