//! Do networks that arrive quantized run on the chip as they are: QDQ with int4 and uint4, Brevitas's QCDQ, QONNX, the `QLinear` operators?
//!
//! For each of the goldens of onnxruntime the chip's logits equal the integer reference's bit for bit, in both drives, and are at most one step
//! of their own from the golden.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints what it measures")]

mod arrays;
mod onchip;

use ndarray::{Array2, s};
use onchip::OnChip;
use std::path::Path;
use systole::chip::{self, Chip};
use systole::compress::{Scheme, calibrate, quantize};
use systole::mapping::{Choice, MappingError, WeightStart, Work};
use systole::network::{self, Network};
use systole::numerics::Dtype;
use systole::sim::{Engine, Machine};

/// A network as it came, with what nothing had quantized yet in 8 bits; its inputs, and what onnxruntime yields.
struct Golden {
    name: &'static str,
    network: Network,
    inputs: Array2<f32>,
    wanted: Array2<f32>,
}

impl Golden {
    fn read(name: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/networks").join(format!("{name}.onnx"));
        let float = network::fuse_activations(&network::import(&path).unwrap()).unwrap();
        let arrays = arrays::read(&path.with_extension("npz"));
        let rows = |name: &str| {
            let array = &arrays[name];
            Array2::from_shape_vec((array.shape[0], array.numbers.len() / array.shape[0]), array.reals()).unwrap()
        };
        let (inputs, wanted) = (rows("x"), rows("y"));
        let network = quantize(&float, &calibrate(&float, inputs.view()).unwrap(), "w8a8".parse::<Scheme>().unwrap()).unwrap();
        Self { name, network, inputs, wanted }
    }

    /// Runs every sample on a chip; the multiplied formats of each stage of the array.
    fn run(&self, chip: &Chip) -> Result<Vec<[Dtype; 2]>, MappingError> {
        let on_chip = OnChip::new(&self.network, chip, 1, WeightStart::Cold, || Choice::first(chip))?;
        let machine = Machine::new(chip, &chip.formats()[0], &on_chip.program).unwrap();
        let held = self.network.logits().output.quantization.unwrap();
        let (mut most, mut differ) = (0.0_f32, 0);
        for (sample, wanted) in self.wanted.rows().into_iter().enumerate() {
            let trace = on_chip.expected(&self.network, chip, &self.inputs.slice(s![sample..=sample, ..]).to_owned());
            let hosted = on_chip.hosted(&trace);
            let hosted: Vec<&[u8]> = hosted.iter().map(Vec::as_slice).collect();
            let run = machine.run(&hosted, Engine::Wavefront).unwrap();
            let found = on_chip.logits(&run.output);
            let expected: Vec<i32> = trace.layer(self.network.logits().id).unwrap().iter().copied().collect();
            assert_eq!(found, expected, "{} on {}, sample {sample}: chip and integer reference", self.name, chip.name());
            assert_eq!(machine.run(&hosted, Engine::Stepped).unwrap(), run, "{} on {}: both drives", self.name, chip.name());
            for (found, wanted) in found.iter().zip(wanted) {
                let steps = (held.dequantize(*found) - wanted).abs() / held.scale;
                (most, differ) = (most.max(steps), differ + usize::from(steps > 0.51));
            }
        }
        let of = self.wanted.len();
        println!("{} on {}: {differ} of {of} outputs are not the nearest step, {most:.2} steps at most", self.name, chip.name());
        // Reals between its layers, which the file leaves, are 8 bits here: each adds its own rounding.
        let roundings = if self.name == "integer_products" { 2.0 } else { 1.01 };
        assert!(most <= roundings, "{} on {}: {most} steps from onnxruntime", self.name, chip.name());
        let of_array = on_chip.mapping.stages().iter().filter(|stage| matches!(stage.work, Work::Array | Work::Product { .. }));
        Ok(of_array.map(|stage| [stage.problem.weight, stage.problem.activation]).collect())
    }
}

fn chip(name: &str) -> Chip {
    chip::load(name, &[]).unwrap()
}

#[test]
fn quantized_networks_run_as_they_are_on_every_kind_of_chip() {
    for name in ["qdq", "qlinear", "qlinear_functions", "integer_products", "brevitas", "narrow_mobile", "qonnx"] {
        let golden = Golden::read(name);
        for chip in ["edge-16x16", "xnor-16x16", "gemmini-16x16-ws", "gemmini-16x16-os", "tileskip-16x16", "codec-16x16"].map(chip) {
            match golden.run(&chip) {
                // Where sums stay nothing subtracts a zero point from what plays the weights.
                Err(MappingError::NotSupported { problem, .. }) if name == "qlinear" && chip.name() == "gemmini-16x16-os" => {
                    assert!(problem.contains("multiplies by a value with a zero point of 2"), "{problem}");
                }
                found => assert!(found.is_ok(), "{name} on {}: {}", chip.name(), found.unwrap_err()),
            }
        }
        let sets = [("vector.depthwise".to_string(), "Vector".to_string())];
        golden.run(&chip::load("edge-16x16", &sets).unwrap()).unwrap();
    }
}

/// Formats that a chip multiplies are those in the file; else the same integers are multiplied in the narrowest formats that hold both.
#[test]
fn operands_are_multiplied_in_their_own_formats_or_in_the_narrowest_that_hold_them() {
    use Dtype::{Int2, Int4, Int8, Int16};
    let edge = chip("edge-16x16");
    let of = |name, chip: &Chip| Golden::read(name).run(chip);
    assert_eq!(of("brevitas", &edge).unwrap(), [[Int4, Int4], [Int2, Int4]]);
    assert_eq!(of("qonnx", &edge).unwrap(), [[Int4, Int8], [Int2, Int4], [Int2, Int4]], "signs and a bit of them are two bits");
    assert_eq!(of("narrow", &edge).unwrap(), [[Int16, Int16], [Int8, Int8]], "0..15 less 7 has no four bits");
    let narrow = of("narrow_mobile", &edge).unwrap();
    // A channel of 4 bits for each filter begins within a byte; products of two values take no lanes.
    assert_eq!(narrow, [[Int4, Int8], [Int4, Int8], [Int4, Int4], [Int8, Int8], [Int8, Int8], [Int2, Int4]]);
    for name in ["brevitas", "narrow_mobile"] {
        assert!(of(name, &chip("gemmini-16x16-ws")).unwrap().iter().all(|formats| *formats == [Int8, Int8]));
    }
    // Nothing there holds 16 bits.
    assert!(matches!(of("narrow", &chip("xnor-16x16")), Err(MappingError::NoFormat { .. })));
}
