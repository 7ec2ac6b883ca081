//! Runs one of the bench's cases a number of times, for `callgrind` and `perf`: `cargo run --release --example case -- stepped 'ws 16x16' 1`.
//!
//! Prints the machine's cycles, PE-cycles and multiply-accumulates of one run. Without a name: the names.

#![allow(clippy::print_stdout, reason = "what it says is its output")]

#[path = "../benches/cases/mod.rs"]
mod cases;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let every = || cases::stepped().map(|case| ("stepped", case)).chain(cases::wavefront().map(|case| ("wavefront", case)));
    let [drive, name, ref runs @ ..] = args[..] else {
        return every().for_each(|(drive, case)| println!("{drive} '{}'", case.name));
    };
    let runs = runs.first().map_or(1, |runs| runs.parse().expect("a number of runs"));
    let (_, case) = every().find(|(of, case)| *of == drive && case.name == name).expect("the name of a case");
    let cycles = (0..runs).fold(0, |_, _: u32| case.run());
    println!("{cycles} cycles, {} PE-cycles, {} MACs", cycles * case.pes(), case.macs);
}
