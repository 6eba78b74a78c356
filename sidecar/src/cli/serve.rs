//! `lockgate serve`.

use std::{path::PathBuf, time::Duration};

use clap::{Arg, Args, Command};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::{End, Fault, Outcome};
use crate::{
    app,
    config::{Config, KEYS, Log, LogFormat},
};

/// Run the sidecar until SIGTERM or SIGINT
///
/// Reads lockgate.yaml, watches the folder of Pipelines and Secrets, takes deliveries from the
/// filter, and carries the promotions out. Every key of the file is also a flag and a variable:
/// `listen.gate` is --listen-gate and LOCKGATE_LISTEN_GATE. A flag wins over a variable, a variable
/// over the file. Unknown keys are errors.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// The configuration file; its relative paths are relative to it
    #[arg(short, long, env = "LOCKGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Adds a flag for every key. Called once per process: the names of the flags live as long as that.
pub(super) fn with_keys(command: Command) -> Command {
    command.args(KEYS.iter().map(|key| {
        let flag: &'static str = Box::leak(key.flag().into_boxed_str());
        let mut help = key.effect.to_owned();
        if !key.default.is_empty() {
            help.push_str(&format!(" [default: {}]", key.default));
        }
        Arg::new(flag)
            .long(flag)
            .value_name(value_name(key.unit))
            .help(help)
            .help_heading("Configuration")
            .allow_hyphen_values(true)
    }))
}

/// The first word of a unit, as clap shows it.
fn value_name(unit: &'static str) -> &'static str {
    match unit.split(' ').next() {
        Some("duration") => "DURATION",
        Some("size") => "SIZE",
        Some("path") => "PATH",
        Some("address") => "ADDRESS",
        Some("list") => "LIST",
        Some("number") => "NUMBER",
        Some("URL") => "URL",
        _ => "VALUE",
    }
}

impl Serve {
    pub(super) fn run(self, flag: &dyn Fn(&str) -> Option<String>) -> Outcome {
        let variable = |name: &str| std::env::var(name).ok();
        let config = Config::load(self.config.as_deref(), flag, &variable).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Fault::Usage(format!("the configuration is wrong:\n  {}", lines.join("\n  ")))
        })?;
        start_log(&config.log);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::Failure(format!("the runtime does not start: {error}")))?;
        let outcome = runtime.block_on(app::run(config));
        // What blocks in git or in a file system does not hold the process up.
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome.map(|()| End::Done).map_err(|error| {
            tracing::error!("{error:#}");
            Fault::Failure(format!("{error:#}"))
        })
    }
}

fn start_log(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let started = match log.format {
        LogFormat::Text => {
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(false)).try_init()
        }
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init(),
    };
    if started.is_err() {
        // Only a second call in one process, as in a test: the first one's log stays.
        tracing::debug!("the log was started before");
    }
}

const EXAMPLES: &str = "\
Examples:
  lockgate serve --config lockgate.yaml
  lockgate serve --pipelines ./pipelines --data ./data --listen-gate unix:/run/lockgate/gate.sock
  LOCKGATE_WAIT=8s lockgate serve --config lockgate.yaml --log-format json";
