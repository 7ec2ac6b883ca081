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
    let done = match Arguments::try_parse() {
        Ok(arguments) => cli::dispatch(&arguments),
        // Help and version are answers, and an answer that cannot be written is an error like any other.
        Err(answer) if !answer.use_stderr() => cli::say_help(&answer),
        Err(usage) => usage.exit(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&format!("error: {error}"));
            ExitCode::from(EXIT_USER)
        }
    }
}
