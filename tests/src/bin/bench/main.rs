//! `make bench`: the numbers that Lockgate promises, each beside a reference that ran in the same
//! minute.
//!
//! ```text
//! rounds in shuffled order ─ per round: ours ÷ reference ─ median of the rounds and its quartiles ─ table, target/bench.json
//! ```
//!
//! Everything runs on one machine, load generator included, over plain TCP (the encryption would be
//! the same in every row and hide the difference). Ratios and orders hold elsewhere, absolute
//! figures do not. Nothing here is a test: a row that is over its bound is printed as such, and the
//! program still ends well.

mod accept;
mod client;
mod edge;
mod floor;
mod footprint;
mod forge;
mod mirror;
mod proxy;
mod pulls;
mod push;
mod scale;
mod server;
mod table;
mod usage;
mod world;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

use table::Report;

type Section = (&'static str, fn(&mut Report) -> Result<()>);

const SECTIONS: [Section; 7] = [
    ("edge", edge::run),
    ("accept", accept::run),
    ("footprint", footprint::run),
    ("push", push::run),
    ("mirror", mirror::run),
    ("pulls", pulls::run),
    ("scale", scale::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    if let [mode, folder] = arguments
        && mode == "--serve"
    {
        return server::serve(folder.as_ref());
    }
    let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = arguments.iter().find(|argument| !names.contains(&argument.as_str())) {
        bail!("unknown section {unknown}; there are {}", names.join(", "));
    }
    let mut report = Report::new();
    for (name, section) in SECTIONS {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            section(&mut report)?;
        }
    }
    report.finish()
}
