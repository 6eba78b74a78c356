//! The `lockgate` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockgate::cli::run(std::env::args_os())
}
