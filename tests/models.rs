//! The models of `models/`: do the layer tables have the papers' multiply-accumulates and parameters, is the network as accurate as its card says, and are
//! groups, repeats and padding timed as what they are?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fmt::Write as _;
use systole::chip::{self, Chip};
use systole::mapping::{self, WeightStart};
use systole::model::{self, Found, LayerTable, Split};
use systole::network::{Activation, Border, Conv, NetworkBuilder, Op, Weight};
use systole::numerics::{Dtype, Quantization};
use systole::pipeline::{self, RunOptions};
use systole::program::emit_timing;
use systole::reference::float;
use systole::report::{Summary, TopologyRow};
use systole::sim::Machine;
use systole::topology::{self, Table};

fn table(name: &str) -> LayerTable {
    match model::find(name).unwrap_or_else(|error| panic!("{error}")) {
        Found::Table(table) => table,
        Found::Network(_) => panic!("{name} is a network"),
    }
}

fn near(name: &str, what: &str, found: u128, published: f64, share: f64) {
    let off = found as f64 / published - 1.0;
    assert!(off.abs() <= share, "{name}: {found} {what}, {:+.1}% of the published {published}", 100.0 * off);
}

/// Multiply-accumulates within 3% of what was published, and weights within 3%.
#[test]
fn tables_have_the_multiply_accumulates_and_the_weights_of_their_papers() {
    // Weights of embeddings that are looked up and not multiplied: words and places of BERT (Devlin et al., 2019: 30,522 words, 512 places and 2 segments of
    // 768) and of GPT-2 (places; its words are the head's weights too).
    let bert_embeddings = 768.0 * f64::from(30_522 + 512 + 2);
    let gpt2_places = 768.0 * 1024.0;
    let cases: [(&str, f64, f64); 10] = [
        // Sze, Chen, Yang, Emer, "Efficient Processing of Deep Neural Networks", Proceedings of the IEEE 105(12), 2017, table II.
        ("alexnet", 724e6, 61e6),
        ("vgg16", 15.5e9, 138e6),
        // He et al., CVPR 2016, table 1 says 1.8 and 3.8 G; the parameters are those of the networks as they are distributed.
        ("resnet18", 1.82e9, 11.7e6),
        ("resnet50", 3.8e9, 25.5e6),
        // Howard et al., 2017, table 4.
        ("mobilenet-v1", 569e6, 4.2e6),
        // Sandler et al., CVPR 2018, table 4.
        ("mobilenet-v2", 300e6, 3.4e6),
        // Tan, Le, ICML 2019, table 2.
        ("efficientnet-b0", 0.39e9, 5.3e6),
        // Sun et al., MobileBERT, ACL 2020, table 4: 22.5 G operations at 128 tokens, two a multiply-accumulate, and 109 M parameters.
        ("bert-base", 22.5e9 / 2.0, 109e6 - bert_embeddings),
        // Liu et al., Swin Transformer, ICCV 2021, table 1: DeiT-B at 224 x 224, which is ViT-B/16.
        ("vit-b16", 17.5e9, 86e6),
        // Jouppi et al., ISCA 2017, table 1: 20 M weights; 200 operations, one a multiply-accumulate, for each byte of weights.
        ("mlp-tpu-v1", 200.0 * 20e6, 20e6),
    ];
    for (name, macs, parameters) in cases {
        let Table { .. } = table(name).table;
        near(name, "MACs", table(name).table.macs(), macs, 0.03);
        near(name, "weights", table(name).table.parameters(), parameters, 0.03);
    }
    // No paper gives these three as multiply-accumulates. Kaplan et al., "Scaling Laws for Neural Language Models", 2020, table 1: 12 d^2 a layer and
    // token for a hidden size four times d, and d for each token that is looked at, in each of attention's two products; the head besides.
    let (layers, d, context, words) = (12.0, 768.0_f64, 1024.0, 50_257.0);
    let a_token = layers * (12.0 * d * d + 2.0 * context * d);
    near("gpt2-decode", "MACs", table("gpt2-decode").table.macs(), a_token + d * words, 1e-9);
    near("gpt2-prefill", "MACs", table("gpt2-prefill").table.macs(), context * a_token + d * words, 1e-9);
    for name in ["gpt2-decode", "gpt2-prefill"] {
        near(name, "weights", table(name).table.parameters(), 124e6 - gpt2_places, 0.03);
    }
    // Touvron et al., 2023, table 2: 6.7 G parameters, 32 layers; embedding and head of 32,000 words are two more matrices.
    let (d, tokens) = (4096.0, 2048.0);
    let block = table("llama-7b-block").table;
    near("llama-7b-block", "weights", 32 * block.parameters(), 6.7e9 - 2.0 * 32_000.0 * d, 0.03);
    near("llama-7b-block", "MACs", block.macs(), tokens * (block.parameters() as f64 + 2.0 * tokens * d), 1e-9);
    // None is forgotten here.
    assert_eq!(topology::shipped_names().count(), cases.len() + 3);
}

/// Exactly as many parameters as the networks that are distributed: the table's weights, and what is beside them: biases, and two numbers a channel of
/// each normalisation; embeddings, which are looked up.
#[test]
fn tables_have_every_parameter_of_the_networks_as_they_are_distributed() {
    let outputs = |name: &str, of: &dyn Fn(&str) -> bool| {
        let layers = table(name).table.layers;
        let outputs = layers.iter().filter(|layer| of(&layer.name)).map(|layer| u128::from(layer.n * layer.repeat));
        let groups = |layer: &topology::Layer| if layer.convolution.is_some() { u128::from(layer.groups) } else { 1 };
        outputs.zip(layers.iter().filter(|layer| of(&layer.name))).map(|(count, layer)| count * groups(layer)).sum::<u128>()
    };
    let with_biases = |name: &str| outputs(name, &|layer| !["scores", "context", "lm_head"].contains(&layer));
    // A normalisation behind each convolution but those of squeeze and excitation, which have biases as the last layer has.
    let normalised = |name: &str| {
        let has_bias = |layer: &str| layer.starts_with("fc") || layer.ends_with("squeeze") || layer.ends_with("excite");
        outputs(name, &has_bias) + 2 * outputs(name, &|layer| !has_bias(layer))
    };
    let (d, llama) = (768, 4096);
    let norms = |count: u128| 2 * d * count;
    let cases = [
        // Caffe's AlexNet, whose convolutions are in groups as the paper's.
        ("alexnet", 60_965_224, with_biases("alexnet")),
        // torchvision's weights (`num_params`).
        ("vgg16", 138_357_544, with_biases("vgg16")),
        ("resnet18", 11_689_512, normalised("resnet18")),
        ("resnet50", 25_557_032, normalised("resnet50")),
        ("mobilenet-v2", 3_504_872, normalised("mobilenet-v2")),
        ("efficientnet-b0", 5_288_548, normalised("efficientnet-b0")),
        // A class token, and the places of it and of 196 patches.
        ("vit-b16", 86_567_656, with_biases("vit-b16") + d + 197 * d + norms(25)),
        // Keras's MobileNet, trainable parameters.
        ("mobilenet-v1", 4_231_976, normalised("mobilenet-v1")),
        // Hugging Face's bert-base-uncased and gpt2, whose head has no weights but those of the embedding.
        ("bert-base", 109_482_240, with_biases("bert-base") + (30_522 + 512 + 2) * d + norms(25)),
        ("gpt2-prefill", 124_439_808, with_biases("gpt2-prefill") + 1024 * d + norms(25)),
        ("gpt2-decode", 124_439_808, with_biases("gpt2-decode") + 1024 * d + norms(25)),
    ];
    for (name, published, beside) in cases {
        assert_eq!(table(name).table.parameters() + beside, published, "{name}");
    }
    // LLaMA-7B: 32 blocks with two normalisations of one number a channel, another at the end, embedding and head of 32,000 words, no biases.
    let block = table("llama-7b-block").table.parameters() + 2 * llama;
    assert_eq!(32 * block + llama + 2 * 32_000 * llama, 6_738_415_616);
}

/// Depthwise layers of a table are the vector unit's where the chip has them there, in as many parts as fit, and one row: the stages of a network.
#[test]
fn depthwise_layers_of_tables_follow_the_chip() {
    let set = |depthwise: &str, pad: &str| {
        let pad = format!("[(role: Shared, capacity: KiB({pad}), banks: 4, port_bytes: 16, latency: Cycles(4))]");
        let sets = [("vector.depthwise", depthwise), ("scratchpads", pad.as_str())];
        chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value.to_string()))).unwrap()
    };
    let text = format!("{CONV}Padding,Groups,Repeat,\na,13,9,1,1,8,32,1,0,1,1,\ndw,13,9,3,3,32,32,1,1,32,2,\nb,13,9,1,1,32,8,1,0,1,1,\n");
    let table = topology::parse(&text, "t.csv").unwrap();
    let timed = |chip: &Chip| pipeline::time_table(chip, &table, "", "t", &options()).unwrap();
    for (pad, parts) in [("64", 1), ("4", 2)] {
        let (array, vector) = (timed(&set("Array", pad)), timed(&set("Vector", pad)));
        assert_eq!((vector.layers.len(), vector.macs_dense), (3, array.macs_dense));
        assert_eq!(vector.layers.iter().map(|row| row.total_cycles).sum::<u64>(), vector.total_cycles);
        let row = &vector.layers[1];
        assert_eq!((row.name.as_str(), row.op.as_str(), array.layers[1].op.as_str()), ("dw", "depthwise_conv", "conv"));
        // Nine taps and four bytes of a bias a channel, twice.
        assert_eq!((row.macs_dense, row.weight_bytes), (2 * 13 * 9 * 9 * 32, 2 * 32 * 13));
        assert!(row.cycles_lower_bound <= row.total_cycles && row.busy_cycles == 0 && row.energy_pj > 0.0);
        let stages = pipeline::table_stages(&set("Vector", pad), &table, &options()).unwrap();
        assert!(stages.len() >= 2 + 2 * parts, "{} stages of {pad} KiB", stages.len());

        // The same stages as a network's, whose weights are known.
        let mut builder = NetworkBuilder::new("alone");
        let x = builder.input("x", vec![32, 13, 9]).unwrap();
        let held = Quantization { dtype: Dtype::Int8, scale: 1.0, zero_point: 0 };
        builder.quantize(x, held);
        let values = ndarray::Array4::from_elem((32, 1, 3, 3), 1);
        let weight = Weight::Integer { values, dtype: Dtype::Int8, scales: vec![1.0], zero_points: Vec::new() };
        let (stride, dilation, padding, activation, groups) = ([1, 1], [1, 1], [1; 4], Activation::None, 32);
        let conv = Op::Conv(Conv { weight, bias: None, stride, dilation, padding, border: Border::Zero, groups, activation });
        let y = builder.layer("dw", conv, &[x]).unwrap();
        builder.quantize(y, held);
        // The array needs a layer too.
        let values = ndarray::Array4::from_elem((8, 32, 1, 1), 1);
        let weight = Weight::Integer { values, dtype: Dtype::Int8, scales: vec![1.0], zero_points: Vec::new() };
        let (padding, groups) = ([0; 4], 1);
        let conv = Op::Conv(Conv { weight, bias: None, stride, dilation, padding, border: Border::Zero, groups, activation });
        let z = builder.layer("b", conv, &[y]).unwrap();
        builder.quantize(z, held);
        let of_network = mapping::lower(&builder.finish(z).unwrap(), &set("Vector", pad), 1).unwrap().stages;
        let sizes = |stages: &[mapping::Lowered]| stages.iter().map(|stage| (stage.name.clone(), stage.problem)).collect::<Vec<_>>();
        let depthwise = stages.len() / 2 - 1;
        assert_eq!(sizes(&stages[1..=depthwise]), sizes(&of_network[..depthwise]));
    }
    // Other values than bytes stay the array's.
    let narrow = RunOptions::new("w4a4".parse().unwrap());
    assert!(pipeline::table_stages(&set("Vector", "64"), &table, &narrow).unwrap().iter().all(|stage| stage.work.is_array()));
}

#[test]
fn every_table_says_where_it_comes_from_and_joins_up() {
    for name in topology::shipped_names() {
        let LayerTable { table, .. } = table(name);
        assert!(table.source.len() > 80 && table.ignored.is_empty(), "{name}: {}", table.source);
        // The same bytes are in the project's folder.
        let text = std::fs::read_to_string(format!("{}/models/{name}.csv", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(topology::parse(&text, name).unwrap(), table);
        // Of a chain of convolutions each has as many channels as the one before has filters. Where networks branch, some row before has.
        let convolutions: Vec<_> = table.layers.iter().filter_map(|layer| Some((layer, layer.convolution?))).collect();
        for (place, (layer, convolution)) in convolutions.iter().enumerate().skip(1) {
            let channels = convolution.channels * layer.groups;
            let joins = convolutions[..place].iter().rev().any(|(before, of_before)| {
                let filters = before.n * before.groups;
                filters == channels || layer.m == 1 && channels == filters * 49 || channels == filters * 36 && of_before.output == [13, 13]
            });
            assert!(joins, "{name}: {} has {channels} channels, and no row before yields as many", layer.name);
        }
    }
}

/// The network alone, in float: what its card and the training script say, of all test images.
#[test]
fn lenet_is_right_in_99_37_percent_of_the_test_images() {
    let Found::Network(lenet) = model::find("lenet-mnist").unwrap() else { panic!("lenet-mnist is a network") };
    assert_eq!((lenet.network().macs(), lenet.network().parameters()), (416_520, 61_706));
    let samples = lenet.split(Split::Report, None).unwrap();
    let outputs = float::run(lenet.network(), samples.inputs.view()).unwrap();
    let logits = outputs.logits();
    let right = logits.rows().into_iter().zip(&samples.labels).filter(|(row, label)| {
        let best = row.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1)).unwrap().0;
        best == **label as usize
    });
    assert_eq!((right.count(), samples.labels.len()), (9937, 10_000));
}

fn options() -> RunOptions {
    RunOptions { what_if: true, ..RunOptions::new("w8a8".parse().unwrap()) }
}

fn edge() -> Chip {
    chip::load("edge-16x16", &[]).unwrap()
}

fn timed(text: &str) -> Summary {
    pipeline::time_table(&edge(), &topology::parse(text, "t.csv").unwrap(), "", "t", &options()).unwrap()
}

const CONV: &str = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,";

/// A product in groups is its groups, one after the other, and no dense layer: the same program as the groups written out, row by row.
#[test]
fn groups_and_repeats_are_timed_as_rows_of_their_own() {
    let (groups, repeat) = (6, 2);
    let grouped = format!("Layer,M,N,K,Groups,Repeat\na,36,18,108,1,1\ng,77,18,108,{groups},{repeat}\nb,1,24,40,1,1\n");
    let mut written_out = "Layer,M,N,K\na,36,18,108\n".to_string();
    for _ in 0..groups * repeat {
        writeln!(written_out, "g,77,{},{}", 18 / groups, 108 / groups).unwrap();
    }
    writeln!(written_out, "b,1,24,40").unwrap();
    let (one, other) = (timed(&grouped), timed(&written_out));
    assert_eq!((one.layers.len(), one.network.layers, other.layers.len()), (3, 3, 2 + groups * repeat));
    assert_eq!(
        (one.total_cycles, one.cycles_lower_bound, one.macs_dense),
        (other.total_cycles, other.cycles_lower_bound, other.macs_dense)
    );
    assert_eq!((one.traffic_bytes, one.what_if), (other.traffic_bytes, other.what_if));
    assert_eq!(one.energy_pj.to_bits(), other.energy_pj.to_bits());
    assert_eq!(one.layers[0], other.layers[0]);
    let (row, rows) = (&one.layers[1], &other.layers[1..=groups * repeat]);
    let sum = |figure: fn(&systole::report::LayerSummary) -> u64| rows.iter().map(figure).sum::<u64>();
    assert_eq!(row.macs_dense, 77 * 18 * 3 * 12);
    assert_eq!(
        [row.total_cycles, row.busy_cycles, row.idle_cycles, row.macs_executed, row.dram_read_bytes, row.weight_bytes],
        [
            sum(|row| row.total_cycles),
            sum(|row| row.busy_cycles),
            sum(|row| row.idle_cycles),
            sum(|row| row.macs_executed),
            sum(|row| row.dram_read_bytes),
            sum(|row| row.weight_bytes)
        ]
    );
    assert_eq!(row.busy_cycles + row.idle_cycles + row.stall_cycles.values().sum::<u64>(), row.total_cycles);
    assert_eq!((row.first_tick, row.last_tick), (rows[0].first_tick, rows[rows.len() - 1].last_tick));
    assert_eq!(row.what_if.unwrap().total_cycles(), i64::try_from(row.total_cycles).unwrap());
    assert!((row.utilization - row.macs_executed as f64 / (row.total_cycles * 256) as f64).abs() < 1e-12);
    assert_eq!(one.layers.iter().map(|row| row.total_cycles).sum::<u64>(), one.total_cycles);

    let layers = |text: &str| topology::parse(text, "t.csv").unwrap().layers;
    let each = |text: &str| pipeline::topology(&edge(), &layers(text), None, false).unwrap();
    let (one, other) = (each(&grouped), each(&written_out));
    assert_eq!(one.total_cycles, other.total_cycles);
    let (row, of_one): (&TopologyRow, &TopologyRow) = (&one.layers[1], &other.layers[1]);
    let runs = (groups * repeat) as u64;
    assert_eq!((row.runs, [row.m, row.k, row.n]), (runs, [11 * 7, 18, 3]));
    let counted = |row: &TopologyRow| [row.passes, row.total_cycles, row.input_reads, row.weight_reads, row.output_writes];
    assert_eq!(counted(row), counted(of_one).map(|count| count * runs));
    assert_eq!(row.utilization.to_bits(), of_one.utilization.to_bits());
}

/// A table's convolution in groups is what a network's is: one stage, whose cycles and bytes are the same; and repeats of it are a row.
#[test]
fn a_convolution_in_groups_is_that_of_a_network() {
    for (channels, filters, groups, repeat) in [(12, 18, 6, 2), (16, 16, 16, 1), (8, 24, 2, 1)] {
        let row = format!("{CONV}Padding,Groups,Repeat,\ng,13,9,3,3,{channels},{filters},1,1,{groups},{repeat},\n");
        let table = timed(&row);
        let mut builder = NetworkBuilder::new("alone");
        let x = builder.input("x", vec![channels, 13, 9]).unwrap();
        builder.quantize(x, Quantization { dtype: Dtype::Int8, scale: 1.0, zero_point: 0 });
        let values = ndarray::Array4::from_elem((filters, channels / groups, 3, 3), 1);
        let weight = Weight::Integer { values, dtype: Dtype::Int8, scales: vec![1.0], zero_points: Vec::new() };
        let (stride, dilation, padding, activation) = ([1, 1], [1, 1], [1; 4], Activation::None);
        let conv = Op::Conv(Conv { weight, bias: None, stride, dilation, padding, border: Border::Zero, groups, activation });
        let y = builder.layer("g", conv, &[x]).unwrap();
        builder.quantize(y, Quantization { dtype: Dtype::Int8, scale: 1.0, zero_point: 0 });
        let (network, chip) = (builder.finish(y).unwrap(), edge());
        let stages = mapping::lower(&network, &chip, 1).unwrap().stages;
        let mapping = mapping::map(&stages, &chip, 1, WeightStart::Cold).unwrap();
        let program = emit_timing(&mapping, &chip).unwrap();
        let run = Machine::new(&chip, &chip.formats()[0], &program).unwrap().time().unwrap();
        let row = &table.layers[0];
        assert_eq!(table.layers.len(), 1);
        assert_eq!(row.macs_dense, (13 * 9 * 9 * channels / groups * filters * repeat) as u64);
        if repeat == 1 {
            assert_eq!((table.total_cycles, row.busy_cycles), (run.total_cycles.get(), run.units[0].cycles.busy));
            assert_eq!(table.traffic_bytes, run.stages[0].traffic);
        }
        // A pass fills one group's columns, and no more.
        let most = (filters / groups).min(16) as f64 / 16.0;
        assert!(row.mapping_efficiency <= most && row.utilization < most, "{} and {}", row.mapping_efficiency, row.utilization);
    }
}

/// Padding is read from nowhere: the same multiply-accumulates as an input that was padded by hand, and fewer bytes.
#[test]
fn padding_costs_no_bytes() {
    let padded = timed(&format!("{CONV}Padding,\na,14,14,3,3,16,16,1,1,\n"));
    let by_hand = timed(&format!("{CONV}\na,16,16,3,3,16,16,1,\n"));
    let input = |summary: &Summary| summary.traffic_bytes.dram.input.read;
    assert_eq!((input(&padded), input(&by_hand)), (14 * 14 * 16, 16 * 16 * 16));
    assert_eq!((padded.macs_dense, padded.macs_executed), (by_hand.macs_dense, by_hand.macs_executed));
    assert_eq!(padded.traffic_bytes.dram.output, by_hand.traffic_bytes.dram.output);
    assert!(padded.total_cycles <= by_hand.total_cycles);
}

#[test]
fn more_products_than_are_timed_together_are_refused() {
    let text = format!("Layer,M,N,K,Repeat\n{}", "many,1,1,1,65536\n".repeat(3));
    let table = topology::parse(&text, "t.csv").unwrap();
    let message = pipeline::time_table(&edge(), &table, "", "t", &options()).unwrap_err().to_string();
    assert!(message.contains("196608 products") && message.contains("16384 is the most") && message.contains("\"many\""), "{message}");
    assert_eq!(pipeline::topology(&edge(), &table.layers, None, true).unwrap().layers[0].runs, 65_536);
    // What no counter could hold is refused by both commands that count.
    let huge = topology::parse("Layer,M,N,K,Repeat\nhuge,2147483648,1048576,1,65536\n", "t.csv").unwrap();
    let message = pipeline::topology(&edge(), &huge.layers, None, true).unwrap_err().to_string();
    assert!(message.contains("2147483648 x 1 x 1048576 multiply-accumulates, 65536 times"), "{message}");
    let huge = LayerTable { name: "huge".to_string(), path: String::new(), table: huge, sha256: String::new() };
    assert_eq!(pipeline::describe_table(&huge).unwrap_err().to_string(), message);
}
