//! The `fusionlab` program: parse, run, print the error, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "sim")]
    if let Some(code) = fusionlab::sim::run_as_named_program() {
        return code;
    }
    #[cfg(feature = "sim")]
    if let Some(code) = fusionlab::sim::agent::run_as_called() {
        return code;
    }
    fusionlab::cli::main()
}
