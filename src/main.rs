//! The `systole` command: parse, dispatch, print the error, exit code.

mod cli;

use clap::Parser;
use cli::{Arguments, EXIT_BUG, EXIT_USER};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A broken promise of ours is not the user's fault, and says so.
    std::panic::set_hook(Box::new(|panic| {
        cli::complain(&format!("bug: {panic}\nplease report it, with the command and the files that it read"));
        std::process::exit(EXIT_BUG);
    }));
    let arguments = Arguments::parse();
    match cli::dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&format!("error: {error}"));
            ExitCode::from(EXIT_USER)
        }
    }
}
