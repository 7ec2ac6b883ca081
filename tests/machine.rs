//! Is what the machine computes what the integer reference computes, whatever the chip, the batch and the sizes?

use ndarray::{Array1, Array2};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, Chip};
use systole::compress::{Scheme, calibrate, quantize};
use systole::mapping::{self, WeightStart};
use systole::network::{Bias, Dense, Network, NetworkBuilder, Op, Weight, fuse_activations};
use systole::program::{Program, emit};
use systole::reference::integer;
use systole::sim::{Engine, Machine, Run};

/// An MLP of these widths with random weights, quantized on random samples.
fn network(widths: &[usize], rng: &mut ChaCha8Rng) -> Network {
    let mut builder = NetworkBuilder::new("mlp");
    let mut value = builder.input("x", vec![widths[0]]).unwrap();
    for (number, pair) in widths.windows(2).enumerate() {
        let weight = Array2::from_shape_simple_fn((pair[0], pair[1]), || rng.random_range(-1.0..1.0_f32));
        let bias = Array1::from_shape_simple_fn(pair[1], || rng.random_range(-1.0..1.0_f32));
        let bias = rng.random_bool(0.8).then_some(Bias::Float(bias));
        let dense = Dense { weight: Weight::Float(weight), bias, activation: systole::network::Activation::None };
        value = builder.layer(format!("fc{number}"), Op::Dense(dense), &[value]).unwrap();
        if number + 2 < widths.len() {
            value = builder.layer(format!("relu{number}"), Op::Relu, &[value]).unwrap();
        }
    }
    let float = fuse_activations(&builder.finish(value).unwrap()).unwrap();
    let samples = Array2::from_shape_simple_fn((16, widths[0]), || rng.random_range(-1.0..1.0_f32));
    let ranges = calibrate(&float, samples.view()).unwrap();
    quantize(&float, &ranges, "w8a8".parse::<Scheme>().unwrap()).unwrap()
}

fn program(network: &Network, chip: &Chip, batch: u64, start: WeightStart) -> Program {
    let stages = mapping::lower(network, chip, batch).unwrap();
    let mapped = mapping::map(&stages, chip, batch, start).unwrap();
    emit(network, &mapped, chip).unwrap()
}

/// Runs a random batch and holds its outputs to the reference's.
fn run_and_compare(network: &Network, chip: &Chip, batch: u64, start: WeightStart, rng: &mut ChaCha8Rng) -> Run {
    let program = program(network, chip, batch, start);
    let format = &chip.formats()[0];
    let inputs = Array2::from_shape_simple_fn((batch as usize, network.input().output.elements()), || rng.random_range(-128..128_i32));
    let bytes: Vec<u8> = inputs.iter().map(|x| i8::try_from(*x).unwrap().to_le_bytes()[0]).collect();
    let run = Machine::new(chip, format, &program).unwrap().run(&bytes, Engine::Stepped).unwrap();
    let golden = integer::run(network, &chip.arithmetic(format), inputs).unwrap();
    let expected: Vec<u8> = golden.layer(network.logits().id).unwrap().iter().map(|y| i8::try_from(*y).unwrap().to_le_bytes()[0]).collect();
    assert_eq!(run.output, expected);
    run
}

#[test]
fn a_small_network_computes_what_the_reference_computes() {
    let chip = chip::load("edge-16x16", &[]).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let network = network(&[40, 33, 10], &mut rng);
    for batch in [1, 2, 17, 64] {
        for start in [WeightStart::Cold, WeightStart::Resident] {
            let run = run_and_compare(&network, &chip, batch, start, &mut rng);
            println!("{batch} {start:?} {} {:?}", run.total_cycles, run.units);
        }
    }
    let _ = rng.next_u32();
}
