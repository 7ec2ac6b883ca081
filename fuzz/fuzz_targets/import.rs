//! Any bytes as a model file: they are refused with a message, or are a network that runs. The golden models are a good start:
//!
//! `cargo +nightly fuzz run import fuzz/corpus/import tests/golden/networks tests/golden/onnx -- -rss_limit_mb=1024 -timeout=5`

#![no_main]

use libfuzzer_sys::fuzz_target;
use ndarray::Array2;
use systole::{network, reference::float};

fuzz_target!(|bytes: &[u8]| {
    match network::import_bytes(bytes, "fuzzed") {
        Err(error) => assert!(error.to_string().len() < 4096, "a message that fills the screen"),
        Ok(network) => {
            let elements: usize = network.layers().map(|layer| layer.output.elements()).sum();
            if elements < 1 << 16 && network.macs() < 1 << 22 {
                let inputs = Array2::zeros((1, network.input().output.elements()));
                let trace = float::run(&network, inputs.view()).expect("an imported network runs");
                assert_eq!(trace.output().ncols(), network.output().output.elements());
                network::fuse_activations(&network).expect("fusing changes no shape");
            }
        }
    }
});
