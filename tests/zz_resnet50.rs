//! Temporary.
use ndarray::Array2;
use std::time::Instant;
use systole::compress::{Ranges, quantize};
use systole::numerics::{AccumulateRule, Arithmetic, Overflow, Requantizer};
use systole::{network, reference::integer};
#[test]
fn time() {
    let n = network::fuse_activations(&network::import(std::path::Path::new(&std::env::var("R50").unwrap())).unwrap()).unwrap();
    let q = quantize(&n, &Ranges::default(), "w8a8".parse().unwrap());
    let q = match q { Ok(q) => q, Err(e) => { println!("{e}"); let x = Array2::from_shape_fn((1, 3*224*224), |(_, i)| ((i * 37 % 255) as f32 - 127.0) / 60.0); quantize(&n, &systole::compress::calibrate(&n, x.view()).unwrap(), "w8a8".parse().unwrap()).unwrap() } };
    for (bits, chunk) in [(32, 16), (20, 16)] {
        let t = Instant::now();
        let x = Array2::from_shape_fn((1, 3*224*224), |(_, i)| (i * 37 % 255) as i32 - 128);
        let a = Arithmetic { accumulate: AccumulateRule { bits, overflow: Overflow::Saturate, chunk }, requantize: Requantizer::Float };
        let r = integer::run(&q, |_| a, x).unwrap();
        println!("{bits} bits chunk {chunk}: {:.2} s, {:?}", t.elapsed().as_secs_f64(), r.layer(q.logits().id).unwrap().row(0).iter().take(8).collect::<Vec<_>>());
    }
}
