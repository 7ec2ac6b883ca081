//! `systole chip`: list the shipped chips, show one in full, check a file.

use super::options::field_and_value;
use super::say;
use clap::{Args, Subcommand};
use std::error::Error;
use systole::chip;
use systole::report::human;

/// What to do with chips.
#[derive(Debug, Args)]
pub(crate) struct ChipArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The chips that come with the program
    List,
    /// A chip with every variant, preset and --set applied, as a file that loads again
    Show(Named),
    /// Whether a chip can be built; every fault at once where it cannot
    Check(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// A chip file, or the name of a chip in hw-configs/ or of a shipped one
    chip: String,
    /// Change a field first, such as array.rows=32 or clock=MHz(700); may stand several times
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field_and_value)]
    set: Vec<(String, String)>,
}

/// Does it.
pub(crate) fn run(arguments: &ChipArguments) -> Result<(), Box<dyn Error>> {
    match &arguments.action {
        Action::List => {
            for (name, _) in chip::shipped() {
                let chip = chip::load(name, &[])?;
                let (rows, cols) = (chip.array().rows, chip.array().cols);
                let (clock, bytes) = (human::frequency(chip.clock().get()), human::bytes(chip.on_chip_bytes().get()));
                say(&format!("{name:<16} {rows} x {cols} PEs at {clock}, {bytes} on chip\n    {}\n", chip.source()))?;
            }
            Ok(())
        }
        Action::Show(named) => say(chip::load(&named.chip, &named.set)?.resolved()),
        Action::Check(named) => {
            let chip = chip::load(&named.chip, &named.set)?;
            say(&format!("{} can be built\n", chip.name()))
        }
    }
}
