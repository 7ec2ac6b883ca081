//! Networks of the field on the chip, with numbers: convolutions, depthwise ones, residuals, attention. Each output equals the integer
//! reference's bit for bit, and is as close to the float network as eight bits allow.
//!
//! The larger networks are not part of the project: they are taken from the folder that `SYSTOLE_EXTRA` names.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints what it measures")]

mod onchip;

use ndarray::{Array2, s};
use onchip::OnChip;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};
use systole::chip::{self, Chip};
use systole::compress::{Scheme, calibrate, quantize};
use systole::mapping::{Choice, WeightStart};
use systole::network::{self, Element, Network};
use systole::reference::float;
use systole::sim::{Engine, Machine};

fn fused(path: &Path) -> Network {
    network::fuse_activations(&network::import(path).unwrap()).unwrap()
}

/// `10 log10(sum x^2 / sum (x - x')^2)`.
fn sqnr_db(exact: &Array2<f32>, found: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let (signal, noise) = exact.iter().zip(found).fold((0.0, 0.0), |(signal, noise), (x, y)| (signal + square(*x), noise + square(x - y)));
    10.0 * f64::log10(signal / noise)
}

/// Runs samples through the chip, as many at a time as there are of them; the decibels at the output.
fn run(name: &str, network: &Network, chip: &Chip, known: &Array2<f32>, samples: &Array2<f32>) -> f64 {
    let quantized = quantize(network, &calibrate(network, known.view()).unwrap(), "w8a8".parse::<Scheme>().unwrap()).unwrap();
    let on_chip =
        OnChip::new(&quantized, chip, 1, WeightStart::Cold, || Choice::first(chip)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let machine = Machine::new(chip, &chip.formats()[0], &on_chip.program).unwrap();
    let mut logits = Vec::new();
    for sample in 0..samples.nrows() {
        let trace = on_chip.expected(&quantized, chip, &samples.slice(s![sample..=sample, ..]).to_owned());
        let hosted = on_chip.hosted(&trace);
        let run = machine.run(&hosted.iter().map(Vec::as_slice).collect::<Vec<_>>(), Engine::Wavefront).unwrap();
        let found = on_chip.logits(&run.output);
        let expected: Vec<i32> = trace.layer(quantized.logits().id).unwrap().iter().copied().collect();
        assert_eq!(found, expected, "{name}, sample {sample}: chip and integer reference");
        logits.extend(found);
    }
    let held = quantized.logits().output.quantization.unwrap();
    let logits: Vec<f32> = logits.into_iter().map(|q| held.dequantize(q)).collect();
    let exact = float::run(network, samples.view()).unwrap();
    sqnr_db(exact.layer(network.logits().id), &logits)
}

fn chips() -> [Chip; 2] {
    ["edge-16x16", "gemmini-16x16-ws"].map(|name| chip::load(name, &[]).unwrap())
}

/// Those that the importer is held to: every operator, an encoder block and attention as `PyTorch` writes it among them.
#[test]
fn networks_of_every_operator_run_on_the_chip() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/networks");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    paths.sort();
    let mut ran = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let network = fused(&path);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let input = &network.input().output;
        let names = input.element == Element::Index;
        let mut samples = |count| {
            Array2::from_shape_simple_fn((count, input.elements()), || {
                if names { f32::from(rng.random_range(0..4_u8)) } else { rng.random_range(-1.0..1.0) }
            })
        };
        let (known, new) = (samples(8), samples(2));
        for chip in chips() {
            let quantized = calibrate(&network, known.view()).map_err(|error| error.to_string());
            let quantized = quantized
                .and_then(|ranges| quantize(&network, &ranges, "w8a8".parse::<Scheme>().unwrap()).map_err(|error| error.to_string()));
            let lowered = quantized.and_then(|quantized| {
                OnChip::new(&quantized, &chip, 1, WeightStart::Cold, || Choice::first(&chip)).map(|_| ()).map_err(|error| error.to_string())
            });
            match lowered {
                Ok(()) => {
                    println!("{name} on {}: {:.1} dB", chip.name(), run(&name, &network, &chip, &known, &new));
                    ran.push(name.clone());
                }
                Err(error) => println!("{name} on {}: {}", chip.name(), error.lines().next().unwrap_or_default()),
            }
        }
    }
    ran.dedup();
    println!("{} networks ran", ran.len());
    for name in ["cnn", "mobile", "encoder", "torch_attention", "vision"] {
        assert!(ran.iter().any(|ran| ran == name), "{name} runs");
    }
}

fn extra() -> Option<PathBuf> {
    let folder = std::env::var_os("SYSTOLE_EXTRA").map(|folder| PathBuf::from(folder).join("models")).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: SYSTOLE_EXTRA names no folder with models");
    }
    folder
}

#[test]
fn networks_of_others_run_on_the_chip_and_keep_20_db() {
    let Some(models) = extra() else { return };
    // What the int8 files beside them take as their inputs' ranges.
    let cases = [
        ("resnet8_cifar10_f32", 0.0, 255.0),
        ("dscnn_kws_f32", -123.0, 25.0),
        ("autoencoder_ad01_f32", -84.0, 14.0),
        ("mnist-8", 0.0, 255.0),
    ];
    for (name, low, high) in cases {
        let network = fused(&models.join(format!("{name}.onnx")));
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut samples = |count| Array2::from_shape_fn((count, network.input().output.elements()), |_| rng.random_range(low..high));
        let (known, new): (Array2<f32>, Array2<f32>) = (samples(16), samples(2));
        for chip in chips() {
            let found = run(name, &network, &chip, &known, &new);
            println!("{name} on {}: {found:.2} dB", chip.name());
            assert!(found >= 20.0, "{name}: {found} dB");
        }
    }
}
