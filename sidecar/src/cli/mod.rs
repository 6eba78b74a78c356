//! The command line: verbs, their help, their exit codes (0 done, 1 failed, 2 wrong usage or
//! configuration).

mod api;
mod check;
mod deliveries;
mod promotions;
mod send;
mod serve;
mod table;

use std::{ffi::OsString, process::ExitCode};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use lockgate_tls::Trust;

/// Promotes releases from one environment to the next, on authenticated events only.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, propagate_version = true, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the sidecar until SIGTERM or SIGINT
    Serve(serve::Serve),
    /// Sign an event as Flux does, post it, and print the answer
    Send(Box<send::Send>),
    /// Validate Pipelines, Secrets, markers and the configuration, without a running sidecar
    Check(check::Check),
    /// List the promotions of a running sidecar
    Promotions(promotions::Promotions),
    /// List what became of the last deliveries to a running sidecar
    Deliveries(deliveries::Deliveries),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
struct Output {
    /// How the result is printed
    #[arg(short = 'o', long = "output", value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// How a verb ended.
enum End {
    Done,
    /// The verb did its work, and the answer is no: already printed.
    Failed,
}

/// What a verb ended with when it could not do its work.
enum Fault {
    /// Exit code 2: arguments, variables or configuration files.
    Usage(String),
    /// Exit code 1: everything else.
    Failure(String),
}

type Outcome = Result<End, Fault>;

/// Every verb with its flags. Called once per process: the names of the flags live as long as that.
pub fn command() -> clap::Command {
    Cli::command().mut_subcommand("serve", serve::with_keys)
}

/// Runs one command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are no errors, and go where they belong.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let outcome = match cli.verb {
        Verb::Serve(serve) => serve.run(&|flag| {
            matches.subcommand().and_then(|(_, matches)| matches.get_one::<String>(flag).cloned())
        }),
        Verb::Send(send) => send.run(),
        Verb::Check(check) => check.run(),
        Verb::Promotions(promotions) => promotions.run(),
        Verb::Deliveries(deliveries) => deliveries.run(),
    };
    match outcome {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Failed) => ExitCode::FAILURE,
        Err(Fault::Failure(message)) => {
            eprintln!("lockgate: {message}");
            ExitCode::FAILURE
        }
        Err(Fault::Usage(message)) => {
            eprintln!("lockgate: {message}");
            ExitCode::from(2)
        }
    }
}

/// Runs one asynchronous verb on a small runtime.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Fault> {
    crate::app::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime
        .map_err(|error| Fault::Failure(format!("the runtime does not start: {error}")))?
        .block_on(future))
}

/// Prints a line; a reader that went away (`| head`) is no error.
fn print(text: &str) {
    use std::io::Write;
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// An HTTP client that follows no redirect, so that a signature never goes elsewhere.
fn http_client(url: &reqwest::Url, ca: Option<&std::path::Path>) -> Result<reqwest::Client, Fault> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT);
    let given = |ca: &std::path::Path, error: &dyn std::fmt::Display| {
        Fault::Usage(format!("--ca {} {error}", ca.display()))
    };
    let pem = match ca {
        Some(ca) => {
            std::fs::read(ca).map_err(|error| given(ca, &format!("cannot be read: {error}")))?
        }
        None => Vec::new(),
    };
    let trust = if ca.is_some() { Trust::Only(&pem) } else { Trust::System };
    let tls = lockgate_tls::client_config(trust).map_err(|error| match ca {
        Some(ca) => given(ca, &error),
        None => Fault::Failure(format!("the authorities of this system: {error}")),
    })?;
    builder = builder.tls_backend_preconfigured(tls);
    let loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    if loopback {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| {
        Fault::Failure(format!("the HTTP client does not start: {}", causes(&error)))
    })
}

/// An error with its causes, on one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    if let Some(reason) = lockgate_tls::explain(error, "the file of --ca") {
        return format!("{text}: {reason}");
    }
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Longer than the edge ever holds a request.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(90);

const EXAMPLES: &str = "\
Examples:
  lockgate serve --config lockgate.yaml
  lockgate check pipelines/ --repository ~/src/fleet
  LOCKGATE_KEY=… lockgate send https://promote.example.org/promotion/team/podinfo/dev --revision 6.5.4
  lockgate promotions --state Failed
  lockgate deliveries --namespace team --pipeline podinfo

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";
