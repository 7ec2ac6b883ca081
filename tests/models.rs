//! The models of `models/`: do the layer tables have the papers' multiply-accumulates and parameters, is the network as accurate as its card says, and are
//! groups, repeats and padding timed as what they are?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fmt::Write as _;
use systole::chip::{self, Chip};
use systole::model::{self, Found, LayerTable, Split};
use systole::pipeline::{self, RunOptions};
use systole::reference::float;
use systole::report::{Summary, TopologyRow};
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

/// A grouped layer is its groups, one after the other, and no dense layer: the same program as the groups written out, row by row.
#[test]
fn groups_and_repeats_are_timed_as_rows_of_their_own() {
    let (groups, repeat) = (6, 2);
    let grouped =
        format!("{CONV}Groups,Repeat,\na,14,14,3,3,12,18,2,1,1,\ng,13,9,3,3,12,18,1,{groups},{repeat},\nb,1,1,1,1,40,24,1,1,1,\n");
    let mut written_out = format!("{CONV}\na,14,14,3,3,12,18,2,\n");
    for _ in 0..groups * repeat {
        writeln!(written_out, "g,13,9,3,3,{},{},1,", 12 / groups, 18 / groups).unwrap();
    }
    writeln!(written_out, "b,1,1,1,1,40,24,1,").unwrap();
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
    assert_eq!(row.macs_dense, (11 * 7) * (9 * 2) * 3 * 12);
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
    assert!(message.contains("196608 products") && message.contains("131072 is the most") && message.contains("\"many\""), "{message}");
    assert_eq!(pipeline::topology(&edge(), &table.layers, None, true).unwrap().layers[0].runs, 65_536);
    // What no counter could hold is refused by both commands that count.
    let huge = topology::parse("Layer,M,N,K,Repeat\nhuge,2147483648,1048576,1,65536\n", "t.csv").unwrap();
    let message = pipeline::topology(&edge(), &huge.layers, None, true).unwrap_err().to_string();
    assert!(message.contains("2147483648 x 1 x 1048576 multiply-accumulates, 65536 times"), "{message}");
    let huge = LayerTable { name: "huge".to_string(), path: String::new(), table: huge, sha256: String::new() };
    assert_eq!(pipeline::describe_table(&huge).unwrap_err().to_string(), message);
}
