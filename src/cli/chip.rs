//! `systole chip`: list the shipped chips, show one in full, check a file, begin a new one, tell two apart.

use super::options::field_and_value;
use super::say;
use clap::{Args, Subcommand};
use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use systole::chip::{self, Chip};
use systole::report::{ChipEntry, chip_changes, chip_changes_json, chip_changes_terminal, chip_json, chips_json, human};

/// What to do with chips.
#[derive(Debug, Args)]
pub(crate) struct ChipArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The chips that come with the program
    List {
        /// Print JSON in place of text
        #[arg(long)]
        json: bool,
    },
    /// A chip with every variant, preset and --set applied, as a file that loads again
    Show {
        #[command(flatten)]
        named: Named,
        /// Print JSON: each field's value by its path
        #[arg(long)]
        json: bool,
    },
    /// Whether a chip can be built; every fault at once where it cannot
    Check {
        #[command(flatten)]
        named: Named,
        /// Print JSON in place of a sentence: the chip's entry of the list
        #[arg(long)]
        json: bool,
    },
    /// Begin a chip file: all fields of another chip under a new name, in NAME.ron
    New {
        /// The new chip's name: letters, digits, -, _ and .
        name: String,
        /// The chip to begin with
        #[arg(long, value_name = "CHIP", default_value = "edge-16x16")]
        base: String,
        /// Change a field, such as array.rows=32; may stand several times
        #[arg(long, value_name = "FIELD=VALUE", value_parser = field_and_value)]
        set: Vec<(String, String)>,
        /// The file to write, in place of NAME.ron; one that is there is left alone
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Which fields tell two chips apart
    Diff {
        /// A chip file, or the name of a chip
        a: String,
        /// Another
        b: String,
        /// Print JSON in place of text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Named {
    /// A chip file, or the name of a chip in hw-configs/ or of a shipped one
    chip: String,
    /// Change a field first, such as array.rows=32 or clock=MHz(700); may stand several times
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field_and_value)]
    set: Vec<(String, String)>,
}

impl Named {
    fn load(&self) -> Result<Chip, Box<dyn Error>> {
        Ok(chip::load(&self.chip, &self.set)?)
    }
}

/// Does it.
pub(crate) fn run(arguments: &ChipArguments) -> Result<(), Box<dyn Error>> {
    match &arguments.action {
        Action::List { json } => {
            let chips = chip::shipped().iter().map(|(name, _)| Ok(entry(&chip::load(name, &[])?)));
            let chips = chips.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
            say(&if *json { chips_json(&chips) } else { chips.iter().map(line).collect() })
        }
        Action::Show { named, json } => {
            let chip = named.load()?;
            say(&if *json { chip_json(&chip.fields()) } else { chip.resolved().to_string() })
        }
        Action::Check { named, json } => {
            let chip = named.load()?;
            say(&if *json { entry(&chip).json() } else { format!("{} can be built\n", chip.name()) })
        }
        Action::New { name, base, set, out } => {
            let path = out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.ron")));
            begin(name, base, set, &path)
        }
        Action::Diff { a, b, json } => {
            let [a, b] = [chip::load(a, &[])?, chip::load(b, &[])?].map(|chip| chip.fields());
            let changes = chip_changes(&a, &b);
            say(&if *json { chip_changes_json(&changes) } else { chip_changes_terminal(&changes) })
        }
    }
}

fn entry(chip: &Chip) -> ChipEntry {
    ChipEntry {
        name: chip.name().to_string(),
        rows: chip.array().rows.into(),
        cols: chip.array().cols.into(),
        clock_hz: chip.clock().get(),
        on_chip_bytes: chip.on_chip_bytes().get(),
        source: chip.source().to_string(),
    }
}

fn line(ChipEntry { name, rows, cols, clock_hz, on_chip_bytes, source }: &ChipEntry) -> String {
    let (clock, bytes) = (human::frequency(*clock_hz), human::bytes(*on_chip_bytes));
    format!("{name:<16} {rows} x {cols} PEs at {clock}, {bytes} on chip\n    {source}\n")
}

/// Writes a chip file to begin with.
fn begin(name: &str, base: &str, set: &[(String, String)], path: &Path) -> Result<(), Box<dyn Error>> {
    let based = chip::load(base, &[])?;
    let source = format!("begun from {}: {}", based.name(), based.source());
    let named = [("name".to_string(), name.to_string()), ("source".to_string(), source)];
    let chip = chip::load(base, &named.into_iter().chain(set.iter().cloned()).collect::<Vec<_>>())?;
    let text = format!("// Begun from {}. hw-configs/README.md tells what each field means.\n{}", based.name(), chip.resolved());
    let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("cannot write {}: {error}\n  help: choose another file with --out", path.display()))?;
    say(&format!("{} written; run it: systole run --chip {}\n", path.display(), path.display()))
}
