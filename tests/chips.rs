//! Does every shipped chip load, check and round-trip; is every bad one refused with the right words; does any text make the loader panic?
//! And: what a chip may ask of the array, in every combination that makes sense.
//!
//! `UPDATE_EXPECT=1 cargo test --test chips` rewrites `hw-configs/bad/*.stderr`; read what it wrote.

use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use systole::chip::{
    self, Action, Chip, ChipError, Dataflow, Dram, EnergySource, Extent, Format, MaxPassVectors, Overlap, ReductionPadding, Span,
    Stationary,
};
use systole::energy::{AreaTable, EnergyTable};
use systole::numerics::{Dtype, Overflow};
use systole::units::{Bytes, BytesPerCycle, Cycles, Hertz};

const EDGE: &str = include_str!("../hw-configs/edge-16x16.ron");

const BANKED: &str = "Banked(preset: \"DDR4-2400\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)";

fn ron_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ron"));
    files.sort();
    files
}

fn edge(sets: &[(&str, &str)]) -> Result<Chip, ChipError> {
    let sets: Vec<_> = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    chip::parse(EDGE, "edge-16x16.ron", &sets)
}

fn refusal(sets: &[(&str, &str)]) -> String {
    edge(sets).expect_err("the chip should have been refused").to_string()
}

fn assert_round_trips(chip: &Chip) {
    let again = chip::parse(chip.resolved(), "resolved.ron", &[]).unwrap_or_else(|error| panic!("{error}\n{}", chip.resolved()));
    assert_eq!(&again, chip);
    assert!(!chip.resolved().contains("Variant"), "a resolved chip stands on nothing");
}

#[test]
fn every_shipped_chip_loads_and_round_trips() {
    let embedded: BTreeSet<String> = chip::shipped().iter().map(|(name, _)| format!("{name}.ron")).collect();
    let files = ron_files("hw-configs");
    let in_folder: BTreeSet<String> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(embedded, in_folder, "every file of hw-configs is embedded, and nothing else");
    for path in files {
        let by_path = chip::load(path.to_str().unwrap(), &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_round_trips(&by_path);
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(by_path.name(), name);
        assert_eq!(chip::load(name, &[]).unwrap(), by_path);
    }
}

#[test]
fn edge_is_gemminis_default() {
    let chip = edge(&[]).unwrap();
    let Dataflow::WeightStationary(timing) = chip.array().dataflows[0] else { panic!("not weight stationary") };
    assert_eq!((chip.array().rows, chip.array().cols, chip.clock()), (16, 16, Hertz::new(1_000_000_000)));
    assert_eq!((timing.row_hop, timing.col_hop, timing.pipeline_registers, timing.load), (1, 1, 3, Span::Rows));
    assert_eq!((timing.max_pass_vectors, timing.min_pass_cycles), (MaxPassVectors::Rows, 4));
    assert_eq!((timing.overlap, timing.extent), (Overlap::Pipelined, Extent::Physical));
    assert_eq!(chip.scratchpads()[0].capacity, Bytes::new(256 * 1024));
    assert_eq!(*chip.dram(), Dram::Ideal { bytes_per_cycle: BytesPerCycle::whole(16), latency: Cycles::new(100) });
    assert_eq!(chip.on_chip_bytes(), Bytes::new(320 * 1024));
}

#[test]
fn the_tpu_has_its_published_peaks() {
    let chip = chip::load("tpu-v1-256x256", &[]).unwrap();
    let tops = 2.0 * chip.peak_macs_per_cycle(&chip.formats()[0]) as f64 * chip.clock().as_f64() / 1e12;
    assert!((tops - 92.0).abs() < 0.3, "table 2 of the paper says 92 TOPS, the file {tops}");
    let gigabytes = chip.dram().bytes_per_cycle(chip.clock()).as_f64() * chip.clock().as_f64() / 1e9;
    assert!((gigabytes - 34.0).abs() < 1e-6, "table 2 of the paper says 34 GB/s, the file {gigabytes}");
    assert_eq!((chip.scratchpad_roles().weight, chip.scratchpad_roles().activation), (1, 0));
}

#[test]
fn every_bad_chip_gets_its_message() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let files = ron_files("hw-configs/bad");
    assert!(files.len() >= 20);
    let mut wrong = Vec::new();
    for path in files {
        let message = match chip::load(path.to_str().unwrap(), &[]) {
            Ok(_) => panic!("{} should be refused", path.display()),
            Err(error) => format!("{error}\n"),
        };
        let expected = path.with_extension("stderr");
        if update {
            fs::write(&expected, &message).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if wanted != message {
            wrong.push(format!("{}:\n{message}instead of\n{wanted}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expected_message_has_its_file() {
    for entry in fs::read_dir("hw-configs/bad").unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("ron").is_file() && path.with_extension("stderr").is_file(), "{} stands alone", path.display());
    }
}

#[test]
fn set_reaches_through_variants_and_lists() {
    let chip = edge(&[
        ("array.rows", "64"),
        ("dram.bytes_per_cycle", "8.5"),
        ("clock", "MHz(700)"),
        ("scratchpads.0.capacity", "KiB(8)"),
        ("array.dataflows.0.row_hop", "0"),
        ("vector.requantize", "FixedPoint(convolution: Double, dense: Single)"),
        ("vector.requantize.dense", "Double"),
        ("name", "r2"),
        ("source", "\"two words\""),
    ])
    .unwrap();
    assert_eq!((chip.name(), chip.source(), chip.array().rows), ("r2", "two words", 64));
    assert_eq!(chip.dram().bytes_per_cycle(chip.clock()), BytesPerCycle::from_millionths(8_500_000));
    assert_eq!((chip.clock(), chip.scratchpads()[0].capacity), (Hertz::new(700_000_000), Bytes::new(8192)));
    assert!(matches!(chip.array().dataflows[0], Dataflow::WeightStationary(timing) if timing.row_hop == 0));
    assert_round_trips(&chip);
}

#[test]
fn a_variant_is_its_base_with_its_changes() {
    let chip = chip::load("edge-32x32", &[]).unwrap();
    let sets = [
        ("name", "edge-32x32"),
        ("source", chip.source()),
        ("array.rows", "32"),
        ("array.cols", "32"),
        ("scratchpads.0.port_bytes", "32"),
        ("accumulator.port_bytes", "128"),
        ("accumulator.capacity", "KiB(128)"),
        ("vector.lanes", "32"),
    ];
    assert_eq!(edge(&sets).unwrap(), chip);
}

#[test]
fn every_field_can_be_set_to_what_it_is() {
    for (name, _) in chip::shipped() {
        let chip = chip::load(name, &[]).unwrap();
        let fields = chip.fields();
        assert!(fields.contains(&("array.dataflows.0.row_hop".to_owned(), "1".to_owned())) && fields.len() > 50, "{fields:?}");
        assert_eq!(chip::load(name, &fields).unwrap(), chip);
    }
}

#[test]
fn a_chip_may_list_its_own_energies_and_areas_and_time_its_array_otherwise() {
    // A binary multiplication is never gated: its operands are never zero.
    let actions = [
        "Mac(weight: Int8, activation: Int8)",
        "Mac(weight: Binary, activation: Binary)",
        "GatedMac(weight: Int8, activation: Int8)",
        "RegisterBit",
        "ZeroPointSubtract",
        "ScratchpadRead(0)",
        "ScratchpadWrite(0)",
        "AccumulatorRead",
        "AccumulatorWrite",
        "DramReadByte",
        "DramWriteByte",
        "VectorOperation",
        "PeClock(weight: Int8, activation: Int8)",
        "PeClock(weight: Binary, activation: Binary)",
        "LeakageMicrosecond",
    ];
    let entry = |action| format!("(action: {action}, cost: pJ(0.25), fidelity: Derived, source: \"a test\"),");
    let energy = format!("Listed([{}])", actions.map(entry).concat());
    let part = |part| format!("(part: {part}, area: mm2(1.5e-1), fidelity: Assumed, source: \"a test\"),");
    let area = format!("Listed([{}])", ["VectorUnit", "Array", "Scratchpad(0)", "Accumulator"].map(part).concat());
    let formats = "[
        (weight: Int8, activation: Int8, lanes: 1, accumulator_bits: 32, overflow: Saturate, pe: Table),
        (weight: Binary, activation: Binary, lanes: 16, accumulator_bits: 24, overflow: Wrap, pe: Table),
    ]";
    let chip = edge(&[
        ("formats", formats),
        ("array.zero_gating", "true"),
        ("energy", &energy),
        ("area", &area),
        ("formats.0.pe", "Stated(energy: pJ(0.25), area: um2(500), fidelity: Published, source: \"a test\")"),
        ("array.dataflows.0.overlap", "Serial"),
        ("array.dataflows.0.stationary_buffers", "1"),
        ("array.dataflows.0.extent", "Used"),
        ("array.dataflows.0.load", "Cycles(4)"),
        ("energy.3.cost", "pJ(10)"),
    ])
    .unwrap();
    let EnergySource::Listed(energies) = chip.energy() else { panic!("not listed") };
    assert!((energies[3].picojoules - 10.0).abs() < 1e-12 && energies.len() == actions.len());
    assert_round_trips(&chip);
}

#[test]
fn the_manual_names_every_field() {
    let manual = fs::read_to_string("hw-configs/README.md").unwrap();
    for (path, _) in edge(&[]).unwrap().fields() {
        for field in path.split('.').filter(|step| step.parse::<u32>().is_err()) {
            assert!(manual.contains(&format!("`{field}`")), "hw-configs/README.md says nothing of `{field}` ({path})");
        }
    }
    let banked = edge(&[("dram", BANKED)]).unwrap();
    for (path, _) in banked.fields() {
        let field = path.split('.').next_back().unwrap();
        assert!(manual.contains(&format!("`{field}`")), "hw-configs/README.md says nothing of `{field}` ({path})");
    }
    assert!(manual.contains(BANKED) && chip::dram_presets().iter().all(|preset| manual.contains(preset)));
    let example = &manual[manual.find("    Variant(").expect("the manual shows a variant")..];
    let chip = chip::parse(example, "hw-configs/README.md", &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((chip.name(), chip.array().cols, chip.accumulator().port_bytes), ("edge-16x64", 64, 256));
}

#[test]
fn set_faults_point_at_the_option() {
    insta::assert_snapshot!(refusal(&[("array.row", "64"), ("array.cols", "0"), ("dram.latency", "100"), ("clock", "MHz(")]));
    insta::assert_snapshot!(refusal(&[("", "1")]));
    insta::assert_snapshot!(refusal(&[("scratchpads.3.banks", "1"), ("clock.x", "1"), ("bananas", "1")]));
}

#[test]
fn the_wrong_path_is_told_from_the_wrong_name() {
    insta::assert_snapshot!(chip::load("edge-16x61", &[]).unwrap_err());
    insta::assert_snapshot!(chip::load("no/such/file.ron", &[]).unwrap_err());
    insta::assert_snapshot!(chip::load("hw-configs/", &[]).unwrap_err());
    // The wrong kind of file, read all the same: where it lies must not be part of the expected text.
    let folder = tempfile::tempdir().unwrap();
    let passwd = folder.path().join("passwd");
    fs::write(&passwd, "root:x:0:0:root:/root:/bin/bash\n").unwrap();
    insta::assert_snapshot!(chip::load(passwd.to_str().unwrap(), &[]).unwrap_err().to_string().lines().next().unwrap());
}

#[test]
fn files_that_are_no_chip_files_are_refused_before_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| -> String {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        chip::load(path.to_str().unwrap(), &[]).unwrap_err().to_string()
    };
    assert!(write("huge.ron", &vec![b' '; 100 << 20]).contains("more than 1048576 bytes"));
    assert!(write("bytes.ron", b"Chip(\xff\xfe)").contains("not UTF-8 text (byte 5)"));
    assert!(write("empty.ron", b"").contains("not valid RON"));
    if Path::new("/dev/zero").exists() {
        assert!(chip::load("/dev/zero", &[]).unwrap_err().to_string().contains("not a regular file"));
    }
}

#[test]
fn hostile_texts_end_quickly() {
    let refused = |text: &str| chip::parse(text, "hostile.ron", &[]).unwrap_err().to_string();
    for text in [
        "(".repeat(100_000),
        "[".repeat(100_000),
        "{".repeat(100_000),
        "/*".repeat(100_000),
        "a(".repeat(100_000),
        "\"".repeat(99_999),
        "r#".repeat(100_000),
        format!("Chip({})", (0..60_000).map(|number| format!("f{number}: 1")).collect::<Vec<_>>().join(",")),
        format!("Chip({})", "rows: 1,".repeat(100_000)),
        format!("Chip(formats: [{}])", "1,".repeat(500_000)),
        format!("Chip(name: {})", "x".repeat(1_000_000)),
        format!("Chip(clock: MHz({}))", "9".repeat(1_000_000)),
        format!("Variant(base: \"edge-16x16\", name: \"x\", source: \"x\", set: {{{}}})", "\"a\": 1,".repeat(100_000)),
        format!(
            "Variant(base: \"edge-16x16\", name: \"x\", source: \"x\", set: {{{}}})",
            (0..50_000).map(|n| format!("\"a{n}\": 1")).collect::<Vec<_>>().join(",")
        ),
    ] {
        let message = refused(&text);
        assert!(message.len() < 40_000, "a message of {} bytes for {}...", message.len(), &text[..40]);
    }
    // Edits of edits could nest values deeper and deeper; a path has few steps.
    let deep: Vec<(String, String)> = (0..2000).map(|n| (format!("name{}", ".x".repeat(n)), "(x: 1)".to_owned())).collect();
    assert!(chip::parse(EDGE, "edge.ron", &deep).is_err());
}

fn shipped(name: &str) -> Chip {
    chip::load(name, &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn flow(chip: &Chip, kind: Stationary) -> Dataflow {
    *chip.dataflow(kind).unwrap_or_else(|| panic!("{} has no {kind}", chip.name()))
}

fn names(chip: &Chip) -> Vec<String> {
    chip.formats().iter().map(Format::name).collect()
}

#[test]
fn a_dataflow_is_known_by_its_short_and_its_long_name() {
    for kind in Stationary::ALL {
        assert_eq!((kind.name().parse(), kind.long_name().parse()), (Ok(kind), Ok(kind)));
    }
    assert_eq!(Stationary::ALL.map(Stationary::name), ["ws", "is", "os"]);
    let message = "row_stationary".parse::<Stationary>().unwrap_err().to_string();
    for word in ["`row_stationary`", "ws", "is", "os", "weight_stationary", "input_stationary", "output_stationary"] {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn edge_has_every_width_of_operands() {
    let chip = shipped("edge-16x16");
    assert_eq!(names(&chip), ["w8a8", "w16a16", "w4a8", "w4a4", "w2a8", "w2a4", "w1a1"]);
    for (name, lanes, bits) in
        [("w8a8", 1, 32), ("w16a16", 1, 48), ("w4a8", 2, 32), ("w4a4", 2, 32), ("w2a8", 4, 32), ("w2a4", 4, 32), ("w1a1", 16, 32)]
    {
        let format = chip.format_named(name).unwrap();
        assert_eq!((format.lanes, format.accumulator_bits, format.overflow), (lanes, bits, Overflow::Saturate), "{name}");
        assert_eq!(chip.peak_macs_per_cycle(format), 256 * u64::from(lanes), "{name}");
        assert_eq!(chip.format(format.weight, format.activation), Some(format));
    }
    assert_eq!((chip.format_named("w3a3"), chip.format_named("W8A8")), (None, None));
    assert_eq!(names(&shipped("edge-32x32")), names(&chip));
    let binary = shipped("ideal-128x128");
    assert_eq!(binary.peak_macs_per_cycle(binary.format_named("w1a1").unwrap()), 128 * 128 * 16);
}

#[test]
fn a_chunk_is_what_one_update_of_the_accumulator_adds() {
    let chip = shipped("ideal-128x128");
    for (name, lanes) in [("w8a8", 1), ("w1a1", 16)] {
        let format = chip.format_named(name).unwrap();
        let chunk = |kind| chip.arithmetic(format, &flow(&chip, kind)).accumulate.chunk;
        assert_eq!(Stationary::ALL.map(chunk), [128 * lanes, 128 * lanes, lanes], "{name}");
    }
}

#[test]
fn gemminis_array_is_the_measured_one() {
    let (ws, os) = (shipped("gemmini-16x16-ws"), shipped("gemmini-16x16-os"));
    let Dataflow::WeightStationary(timing) = flow(&ws, Stationary::Weight) else { panic!("not weight stationary") };
    assert_eq!((timing.load, timing.stationary_buffers, timing.max_pass_vectors), (Span::Rows, 2, MaxPassVectors::Rows));
    assert_eq!(Some(&ws.array().dataflows[0]), shipped("edge-16x16").array().dataflows.first());
    let Dataflow::OutputStationary(timing) = flow(&os, Stationary::Output) else { panic!("not output stationary") };
    assert_eq!((timing.drain, timing.psum_preload), (Some(Span::Rows), Span::Rows));
    assert_eq!(timing.reduction_padding, ReductionPadding::MultipleOfRows);
    for (chip, kind) in [(&ws, Stationary::Weight), (&os, Stationary::Output)] {
        let dataflow = flow(chip, kind);
        assert_eq!((dataflow.row_hop(), dataflow.col_hop(), dataflow.pipeline_registers(), dataflow.min_pass_cycles()), (1, 1, 3, 4));
        assert_eq!((dataflow.overlap(), dataflow.extent()), (Overlap::Pipelined, Extent::Physical));
        assert_eq!((chip.array().dataflows.len(), chip.array().rows, chip.array().cols), (1, 16, 16));
        assert_eq!(names(chip), ["w8a8"]);
    }
    assert_eq!((ws.scratchpads(), ws.accumulator()), (os.scratchpads(), os.accumulator()));
}

#[test]
fn axis_sas_array_is_the_measured_one() {
    let chip = shipped("axis-sa-8x8");
    let Dataflow::OutputStationary(timing) = flow(&chip, Stationary::Output) else { panic!("not output stationary") };
    assert_eq!((timing.row_hop, timing.col_hop, timing.pipeline_registers, timing.min_pass_cycles), (1, 1, 2, 1));
    assert_eq!((timing.drain, timing.psum_preload), (Some(Span::Cols), Span::Cycles(0)));
    assert_eq!((timing.reduction_padding, timing.overlap), (ReductionPadding::Exact, Overlap::Pipelined));
    assert!(chip.source().contains("K >= R + 2C - 2"));
}

#[test]
fn ideal_arrays_have_all_dataflows_and_rows_that_fit_their_ports() {
    for size in [16, 32, 128] {
        let chip = shipped(&format!("ideal-{size}x{size}"));
        let kinds: Vec<_> = chip.array().dataflows.iter().map(Dataflow::kind).collect();
        assert_eq!(kinds, [Stationary::Weight, Stationary::Output, Stationary::Input]);
        assert_eq!((chip.array().rows, chip.array().cols, chip.formats()[0].name().as_str()), (size, size, "w8a8"));
        for dataflow in &chip.array().dataflows {
            assert_eq!((dataflow.row_hop(), dataflow.col_hop(), dataflow.pipeline_registers(), dataflow.min_pass_cycles()), (1, 1, 0, 1));
            assert_eq!(dataflow.overlap(), Overlap::Serial);
        }
        for format in chip.formats() {
            let widest = format.weight.bits().max(format.activation.bits());
            for pad in chip.scratchpads() {
                assert!(pad.port_bytes * 8 >= size * format.lanes * widest, "{} of {}", format.name(), chip.name());
            }
            assert!(chip.accumulator().port_bytes * 8 >= size * format.accumulator_bits);
        }
    }
}

#[test]
fn every_pair_of_formats_and_every_sparsity_that_makes_sense_is_accepted() {
    let formats = |weight: Dtype, activation: Dtype, bits: u32| {
        format!("[(weight: {weight:?}, activation: {activation:?}, lanes: 3, accumulator_bits: {bits}, overflow: Wrap, pe: Table)]")
    };
    for weight in Dtype::ALL {
        for activation in Dtype::ALL {
            for sparsity in ["Dense", "TileSkip", "NM(n: 3, m: 7)"] {
                let formats = formats(weight, activation, weight.bits() + activation.bits());
                let chip = edge(&[("formats", &formats), ("array.sparsity", sparsity), ("array.zero_gating", "true")]);
                let binary = (weight == Dtype::Binary, activation == Dtype::Binary);
                let possible = binary.0 == binary.1 && !(binary.0 && sparsity.starts_with("NM"));
                assert_eq!(chip.is_ok(), possible, "{weight} by {activation}, {sparsity}: {chip:?}");
            }
            let narrow = edge(&[("formats", &formats(weight, activation, weight.bits() + activation.bits() - 1))]);
            assert!(narrow.unwrap_err().to_string().contains("accumulator_bits"), "{weight} by {activation}");
        }
    }
    let widest = edge(&[("formats", &formats(Dtype::Int16, Dtype::Int16, 64))]).unwrap();
    assert_eq!(widest.formats()[0].accumulator_bits, 64);
}

#[test]
fn every_timing_that_makes_sense_is_accepted() {
    let mut accepted = 0;
    for overlap in ["Serial", "Pipelined"] {
        for extent in ["Physical", "Used"] {
            let possible = (overlap, extent) != ("Pipelined", "Used");
            let all = format!("row_hop: 0, col_hop: 2, pipeline_registers: 1, min_pass_cycles: 1, overlap: {overlap}, extent: {extent}");
            for (kind, buffers) in [("WeightStationary", 1), ("WeightStationary", 2), ("InputStationary", 1), ("InputStationary", 2)] {
                for load in ["Rows", "Cols", "Cycles(1)", "Cycles(700)"] {
                    for most in ["Unlimited", "Rows"] {
                        let text = format!("[{kind}({all}, load: {load}, stationary_buffers: {buffers}, max_pass_vectors: {most})]");
                        let wanted = possible && (buffers == 1 || overlap == "Pipelined");
                        assert_eq!(edge(&[("array.dataflows", &text)]).is_ok(), wanted, "{text}");
                        accepted += u32::from(wanted);
                    }
                }
            }
            for drain in ["None", "Rows", "Cols", "Cycles(3)"] {
                for preload in ["Cycles(0)", "Cycles(5)", "Rows", "Cols"] {
                    for padding in ["Exact", "MultipleOfRows"] {
                        let text =
                            format!("[OutputStationary({all}, drain: {drain}, psum_preload: {preload}, reduction_padding: {padding})]");
                        assert_eq!(edge(&[("array.dataflows", &text)]).is_ok(), possible, "{text}");
                        accepted += u32::from(possible);
                    }
                }
            }
        }
    }
    assert_eq!(accepted, 160);
}

#[test]
fn narrower_formats_take_less_energy_and_every_format_has_one() {
    let chip = edge(&[("array.zero_gating", "true")]).unwrap();
    let table = EnergyTable::resolve(&chip).unwrap();
    let cost = |action| table.entry(action).unwrap_or_else(|| panic!("{action:?} has no energy")).picojoules;
    let mac = |name: &str| {
        let format = chip.format_named(name).unwrap();
        cost(Action::Mac { weight: format.weight, activation: format.activation })
    };
    let costs = ["w1a1", "w2a4", "w2a8", "w4a4", "w4a8", "w8a8", "w16a16"].map(mac);
    assert!(costs[0] > 0.0 && costs.is_sorted_by(|one, next| one < next), "{costs:?}");
    for format in chip.formats() {
        let (weight, activation) = (format.weight, format.activation);
        assert!(cost(Action::PeClock { weight, activation }) > 0.0);
        let gated = Action::GatedMac { weight, activation };
        if format.is_binary() {
            assert_eq!(table.entry(gated), None, "no binary operand is zero");
        } else {
            assert!(0.0 < cost(gated) && cost(gated) < cost(Action::Mac { weight, activation }), "{}", format.name());
        }
    }
}

#[test]
fn other_formats_change_nothing_in_what_the_first_costs_but_the_room_that_they_take() {
    let all = edge(&[]).unwrap();
    let one =
        edge(&[("formats", "[(weight: Int8, activation: Int8, lanes: 1, accumulator_bits: 32, overflow: Saturate, pe: Table)]")]).unwrap();
    let (of_all, of_one) = (EnergyTable::resolve(&all).unwrap(), EnergyTable::resolve(&one).unwrap());
    for entry in of_one.entries() {
        assert_eq!(of_all.entry(entry.action), Some(entry));
    }
    assert!(AreaTable::resolve(&all).unwrap().total().get() > AreaTable::resolve(&one).unwrap().total().get());
}

/// A shipped file with a few of its bytes changed, doubled or dropped.
fn mutated() -> impl Strategy<Value = String> {
    let snippets = prop::sample::select(vec![
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "'",
        "/*",
        "*/",
        "//",
        "r#\"",
        "\\",
        "-",
        "1e999",
        "NaN",
        "inf",
        "-inf",
        "0x",
        "KiB(",
        "None",
        "Some(1)",
        "\u{0}",
        "\u{301}",
        "é",
        "\u{1f600}",
        "b\"x\"",
        "#![enable(unwrap_newtypes)]",
        "18446744073709551616",
        "r#x",
        "()",
        ".",
        "_",
    ]);
    prop::collection::vec((0..EDGE.len(), 0..12_usize, snippets), 1..4).prop_map(|edits| {
        let mut text = EDGE.to_owned();
        for (start, length, snippet) in edits {
            let start = (0..=start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let end = (start + length).min(text.len());
            let end = (start..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(start);
            text.replace_range(start..end, snippet);
        }
        text
    })
}

/// Cases of each law; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1000)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn byte_soup_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = chip::parse(&String::from_utf8_lossy(&bytes), "soup.ron", &[]);
    }

    #[test]
    fn ron_like_soup_never_panics(text in r#"[\[\](){}:,"'/*\\#rb!a-c0-9. \n_+-]{0,60}"#) {
        let _ = chip::parse(&text, "soup.ron", &[]);
        let _ = edge(&[("array.rows", &text), ("name", &text), (&text, "1")]);
    }

    #[test]
    fn a_mutated_chip_is_refused_or_round_trips(text in mutated()) {
        if let Ok(chip) = chip::parse(&text, "mutated.ron", &[]) {
            assert_round_trips(&chip);
        }
    }

    #[test]
    fn any_size_in_range_loads(rows in 1..=512_u32, cols in 1..=512_u32, banks in 1..=64_u32, depth in 1..=64_u64, hertz in 1..=100_000_000_000_u64) {
        let (rows_text, cols_text, banks_text) = (rows.to_string(), cols.to_string(), banks.to_string());
        let capacity = format!("B({})", u64::from(banks) * 16 * depth);
        let clock = format!("kHz({}.{:03})", hertz / 1000, hertz % 1000);
        let sets = [("array.rows", &*rows_text), ("array.cols", &cols_text), ("scratchpads.0.banks", &banks_text), ("scratchpads.0.capacity", &capacity), ("clock", &clock)];
        let chip = edge(&sets).unwrap();
        prop_assert_eq!((chip.array().rows, chip.array().cols, chip.scratchpads()[0].banks), (rows, cols, banks));
        prop_assert_eq!(chip.clock(), Hertz::new(hertz));
        assert_round_trips(&chip);
    }
}
