//! Does the verifier refuse what would go wrong, and say who, what and where?
//!
//! Each case takes a program that is right and spoils one thing.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use ndarray::array;
use systole::chip;
use systole::mapping::{self, WeightStart};
use systole::network::{Activation, Bias, Dense, Network, NetworkBuilder, Op, Weight};
use systole::numerics::{Dtype, Quantization};
use systole::program::{Command, Item, Operation, Place, Program, ProgramError, ProgramParts, emit};

/// Two dense layers, 3 - 2 - 2, in integers.
fn network() -> Network {
    let quantization = Quantization { dtype: Dtype::Int8, scale: 0.5, zero_point: 1 };
    let dense = |values| {
        Op::Dense(Dense {
            weight: Weight::Integer { values, dtype: Dtype::Int8, scales: vec![0.25], zero_points: vec![] },
            bias: Some(Bias::Integer(array![5, -5])),
            activation: Activation::Relu,
        })
    };
    let mut builder = NetworkBuilder::new("two");
    let input = builder.input("x", vec![3]).unwrap();
    let first = builder.layer("first", dense(array![[1, 2], [3, 4], [5, 6]]), &[input]).unwrap();
    let second = builder.layer("second", dense(array![[1, -1], [-2, 2]]), &[first]).unwrap();
    for id in [input, first, second] {
        builder.quantize(id, quantization);
    }
    builder.finish(second).unwrap()
}

fn right() -> ProgramParts {
    program(WeightStart::Cold)
}

fn program(start: WeightStart) -> ProgramParts {
    let sets = [("array.rows", "2"), ("array.cols", "2")].map(|(field, value)| (field.to_string(), value.to_string()));
    let chip = chip::load("edge-16x16", &sets).unwrap();
    let network = network();
    let stages = mapping::lower(&network, &chip, 2).unwrap().stages;
    let mapping = mapping::map(&stages, &chip, 2, start).unwrap();
    emit(&network, &mapping, &chip).unwrap().parts().clone()
}

/// Applies `spoil` to every command of a queue, blocks included.
fn each(items: &mut [Item], spoil: &mut impl FnMut(&mut Command)) {
    for item in items {
        match item {
            Item::Repeat(repeat) => each(&mut repeat.body, spoil),
            Item::Do(command) => spoil(command),
        }
    }
}

/// The fault of the program when `spoil` has had its way with every command.
fn fault(spoil: impl FnMut(&mut Command)) -> ProgramError {
    fault_of(right(), spoil)
}

fn fault_of(mut parts: ProgramParts, mut spoil: impl FnMut(&mut Command)) -> ProgramError {
    for queue in &mut parts.queues {
        each(&mut queue.items, &mut spoil);
    }
    Program::new(parts).unwrap_err()
}

/// The semaphore of this name.
fn named(name: &str) -> u32 {
    u32::try_from(right().semaphores.iter().position(|decl| decl.name == name).unwrap()).unwrap()
}

#[test]
fn the_right_program_is_right_and_reads_back_from_its_text() {
    let program = Program::new(right()).unwrap();
    let text = program.to_text().unwrap();
    assert_eq!(Program::from_text(&text).unwrap(), program);
    assert_eq!(Program::from_text(&text).unwrap().to_text().unwrap(), text);
}

#[test]
fn every_wait_matters_or_is_there_for_a_full_buffer() {
    // Without a wait that data is ready, some read is unordered with its write; which, depends on the wait.
    for (name, start) in [
        ("weight_full", WeightStart::Cold),
        // With weights from DRAM, a tile that is there says that the bias, fetched before it, is too.
        ("bias_full", WeightStart::Resident),
        ("sums_full", WeightStart::Cold),
        ("input_full", WeightStart::Cold),
        ("kept_full", WeightStart::Cold),
        ("output_full", WeightStart::Cold),
    ] {
        let semaphore = named(name);
        let fault = fault_of(program(start), |command| command.wait.retain(|sync| sync.semaphore.0 != semaphore));
        assert!(matches!(fault, ProgramError::Race { .. } | ProgramError::NeverWritten { .. }), "{name}: {fault}");
    }
}

#[test]
fn a_token_that_nobody_posts_is_a_circular_wait_and_names_who_waits() {
    let semaphore = named("sums_full");
    let fault = fault(|command| command.post.retain(|sync| sync.semaphore.0 != semaphore));
    let ProgramError::CircularWait { waits } = &fault else { panic!("{fault}") };
    assert!(waits.contains("vector0 waits at command 0 for sums_full, which nobody posts"), "{waits}");
}

#[test]
fn an_overwrite_of_what_is_still_to_be_read_is_a_race() {
    // One slot for weights, and nobody waits for it to be free.
    let mut parts = right();
    let free = named("weight_free");
    for queue in &mut parts.queues {
        each(&mut queue.items, &mut |command| {
            command.wait.retain(|sync| sync.semaphore.0 != free);
            let address = match &mut command.operation {
                Operation::Mvin(transfer) if matches!(transfer.place, Place::Scratchpad(..)) && transfer.rows == 2 => &mut transfer.local,
                Operation::Preload(preload) => &mut preload.address,
                _ => return,
            };
            if let Some(ring) = &mut address.ring {
                ring.bytes = 16;
                ring.offset = 0;
                ring.steps = Vec::new();
            }
        });
    }
    let fault = Program::new(parts).unwrap_err();
    let ProgramError::Race { unit, other, .. } = fault else { panic!("{fault}") };
    assert_eq!((unit.to_string(), other.to_string()), ("array0".to_string(), "dma0".to_string()));
}

#[test]
fn an_access_outside_of_its_memory_is_refused_with_its_bytes() {
    let fault = fault(|command| {
        if let Operation::Mvin(transfer) = &mut command.operation
            && transfer.place == Place::Accumulator(0)
        {
            transfer.local.base = 64 << 10;
        }
    });
    let ProgramError::OutOfBounds { place, first, end, size, .. } = fault else { panic!("{fault}") };
    assert_eq!(place, Place::Accumulator(0));
    assert_eq!((first, size), (64 << 10, 64 << 10));
    assert!(end > size);
}

#[test]
fn results_that_are_never_stored_are_found() {
    let fault = fault(|command| {
        if matches!(command.operation, Operation::Mvout(_)) {
            command.operation = Operation::Fence;
        }
    });
    assert!(matches!(fault, ProgramError::NeverWritten { place: Place::Dram, .. }), "{fault}");
}

#[test]
fn a_unit_refuses_what_it_cannot_do_and_indices_must_name_something() {
    let with = |change: fn(&mut ProgramParts)| {
        let mut parts = right();
        change(&mut parts);
        Program::new(parts).unwrap_err().to_string()
    };
    let swapped = with(|parts| {
        let (array, rest) = parts.queues.split_at_mut(1);
        std::mem::swap(&mut array[0].items, &mut rest[0].items);
    });
    assert!(swapped.contains("array0 cannot do requantize"), "{swapped}");
    let stages = with(|parts| parts.stages.truncate(1));
    assert!(stages.contains("its tag names stage 1 of 1"), "{stages}");
    let outputs = with(|parts| parts.output_stages.clear());
    assert!(outputs.contains("names output stage 0 of 0"), "{outputs}");
    let semaphores = with(|parts| parts.semaphores.truncate(1));
    assert!(semaphores.contains("names semaphore 1 of 1"), "{semaphores}");
    let twice = with(|parts| {
        let unit = parts.queues[0].unit;
        parts.queues[1].unit = unit;
    });
    assert!(twice.contains("the unit has two queues"), "{twice}");
}

#[test]
fn forged_text_never_panics() {
    let text = Program::new(right()).unwrap().to_text().unwrap();
    for (from, to) in [
        ("trips: 1", "trips: 18446744073709551615"),
        ("rows: 2", "rows: 4294967295"),
        ("rows: 2", "rows: 0"),
        ("row_bytes: 2", "row_bytes: 18446744073709551615"),
        ("cols: 2", "cols: 0"),
        ("base: 0", "base: 18446744073709551615"),
        ("stage: 0", "stage: 7"),
        ("ring: Some(", "ring: None, ("),
        ("semaphore: 0", "semaphore: 4000000000"),
        ("Scratchpad(0, 0)", "Scratchpad(3, 9)"),
        ("Accumulator(0)", "Dram"),
        ("ring: Some(Ring(bytes: ", "ring: Some(Ring(bytes: 0, offset: 0, steps: [])), ring: Some(Ring(bytes: "),
        ("dram: ", "dram: 9"),
        ("accumulator_element_bytes: 4", "accumulator_element_bytes: 0"),
        ("accumulator_element_bytes: 4", "accumulator_element_bytes: 18446744073709551615"),
        ("lanes: 1", "lanes: 0"),
        ("tokens: 0", "tokens: 4294967295"),
    ] {
        assert!(text.contains(from), "the text has no {from}");
        // Whatever it says, it says it as an error.
        let forged = text.replacen(from, to, 1);
        let all = text.replace(from, to);
        for forged in [forged, all] {
            if let Err(fault) = Program::from_text(&forged) {
                assert!(!fault.to_string().is_empty());
            }
        }
    }
    for end in (0..text.len()).step_by(97) {
        let _ = Program::from_text(&text[..end]);
    }
}
