//! Which activations stay on the chip from one stage to the next, and where and how activations lie.
//!
//! A stage's input lies at one end of the area that activations share, its output at the other, and the next stage takes them the other way
//! round. Of two inputs the one that stayed lies at the end, the other beside it. What stays for later stages (`hold`) lies above.

use super::draft::Draft;
use super::fit::Choice;
use super::hold::Holds;
use super::{InputBuffer, Lowered, MappingError, OutputBuffer, Problem, Rules, Work};
use std::collections::BTreeMap;

/// For each stage, which of its inputs the stage before yields byte for byte as it is read, for this stage alone: such a value may stay on the
/// chip.
pub(super) fn follows(stages: &[Lowered]) -> Vec<Option<usize>> {
    let mut readers: BTreeMap<usize, usize> = BTreeMap::new();
    for tensor in stages.iter().flat_map(Lowered::reads) {
        *readers.entry(tensor.number).or_default() += 1;
    }
    let mut all = vec![None];
    for (this, next) in stages.iter().zip(stages.iter().skip(1)) {
        let is_alone = readers.get(&this.output.tensor.number) == Some(&1);
        all.push(if is_alone { (0..next.inputs.len()).find(|input| is_as_it_lies(this, next, *input)) } else { None });
    }
    all.truncate(stages.len());
    all
}

/// Whether a stage of the array or the vector unit yields, byte for byte and whole, what another reads as one of its inputs.
pub(super) fn is_as_it_lies(this: &Lowered, reader: &Lowered, input: usize) -> bool {
    let read = &reader.inputs[input];
    this.output.is_whole(this.problem.output_bytes(this.problem.m))
        && !matches!(this.work, Work::Movement(_) | Work::Host(_))
        && is_same_tensor(&this.problem, &reader.problem)
        && read.tensor == this.output.tensor
        && read.is_whole(reader.problem.input_pixel())
}

/// Says how each stage's input lies, and its output: as the next stage reads it, or channel-innermost where the host does. Only images that the array
/// both makes and reads as a whole lie otherwise.
pub(super) fn lay_out(stages: &[Lowered], choices: &[Choice], follows: &[Option<usize>], rules: &mut [Rules]) -> Result<(), MappingError> {
    for (index, (stage, choice)) in stages.iter().zip(choices).enumerate() {
        let problem = &stage.problem;
        if stage.work != Work::Array || problem.input == [1, 1] || choice.layout.is_one_plane(problem.c) {
            continue;
        }
        let tensor = &stage.inputs[0].tensor;
        let maker = stages[..index].iter().rposition(|earlier| earlier.output.tensor == *tensor);
        let readers = stages.iter().flat_map(Lowered::reads).filter(|read| *read == tensor).count();
        let is_makers = maker.is_none_or(|maker| maker + 1 == index && stages[maker].work == Work::Array && follows[index].is_some());
        let is_whole = stage.inputs[0].is_whole(problem.input_pixel());
        let is_bytes = problem.activation.bits() == 8;
        if !is_makers || !is_whole || !is_bytes || readers != 1 || problem.groups > 1 {
            let problem = if problem.groups > 1 {
                format!("the layer reads it in {} groups of channels", problem.groups)
            } else if !is_bytes {
                format!("its elements have {} bits, and a plane is of bytes", problem.activation.bits())
            } else {
                match maker {
                    Some(maker) if readers == 1 => {
                        format!("it is not pixel by pixel what the array yields for layer \"{}\" just before", stages[maker].name)
                    }
                    _ if readers != 1 => format!("{readers} layers read it"),
                    _ => "the layer does not read it pixel by pixel".to_string(),
                }
            };
            return Err(MappingError::Layout { layer: stage.name.clone(), layout: choice.layout, problem });
        }
        if let Some(maker) = maker {
            rules[maker].output_layout = choice.layout;
        }
        rules[index].input_layout = choice.layout;
    }
    Ok(())
}

/// Lets outputs stay on the chip where the next stage reads just them, and both stages fit with them there.
pub(super) fn keep_edges(drafts: &mut [Draft<'_>], room: u64) {
    for index in 0..drafts.len().saturating_sub(1) {
        if drafts[index + 1].follows.is_none() {
            continue;
        }
        drafts[index].kept = true;
        let fits = |stage: usize| bytes_alone(stage, drafts) <= room;
        if !(fits(index) && fits(index + 1)) {
            drafts[index].kept = false;
        }
    }
}

/// Whether a stage's output is the next one's input, pixel by pixel: then it lies on the chip in the same way.
fn is_same_tensor(this: &Problem, next: &Problem) -> bool {
    (next.n, next.input, next.c, next.activation) == (this.n, [this.p, this.q], this.m, this.output)
}

/// Bytes of a stage's input and output buffers where nothing is held for later stages.
pub(super) fn bytes_alone(stage: usize, drafts: &[Draft<'_>]) -> u64 {
    stage_bytes(stage, drafts, &Holds::default()).iter().sum()
}

/// Bytes of a stage's input and output buffers, but for what is held for later stages.
pub(super) fn stage_bytes(stage: usize, drafts: &[Draft<'_>], holds: &Holds) -> [u64; 2] {
    let draft = &drafts[stage];
    let (rules, problem) = (&draft.rules, draft.problem());
    let stored = draft.slots * rules.stored_bytes(problem, &draft.tiling);
    let inputs = (0..draft.lowered.inputs.len()).filter(|input| holds.input(stage, *input).is_none());
    let inputs = inputs.map(|input| input_bytes(stage, input, drafts)).sum::<u64>();
    let output = match holds.output(stage) {
        Some(_) => 0,
        None if draft.kept => rules.output_bytes(problem),
        None => stored,
    };
    [inputs + draft.passing, output]
}

fn input_bytes(stage: usize, input: usize, drafts: &[Draft<'_>]) -> u64 {
    let draft = &drafts[stage];
    if draft.lowered.constants() == Some(input) {
        return constant_bytes(draft.lowered, &draft.rules);
    }
    let rows = if kept_input(stage, drafts) == Some(input) { draft.problem().input_rows() } else { draft.rows };
    draft.rules.input_bytes(draft.problem(), rows)
}

/// Bytes on the chip of the input that a stage reads whole, if it has one.
pub(super) fn constant_bytes(lowered: &Lowered, rules: &Rules) -> u64 {
    lowered.constants().map_or(0, |input| rules.constant_bytes(&lowered.problem, lowered.inputs[input].run))
}

/// Which input of a stage stayed on the chip.
fn kept_input(stage: usize, drafts: &[Draft<'_>]) -> Option<usize> {
    drafts[stage].follows.filter(|_| stage > 0 && drafts[stage - 1].kept)
}

/// Where activations lie.
pub(super) struct Places {
    /// The buffers of each stage's inputs.
    pub(super) inputs: Vec<Vec<InputBuffer>>,
    pub(super) outputs: Vec<OutputBuffer>,
    /// One past the last byte.
    pub(super) end: u64,
}

/// Puts the inputs of even stages at the low end and of odd ones at the high end of the area that the largest stage needs, and above it what is
/// held, as far as there is room.
pub(super) fn place_activations(drafts: &[Draft<'_>], room: u64) -> Places {
    let holds = Holds::of(drafts, room);
    let bytes: Vec<[u64; 2]> = (0..drafts.len()).map(|stage| stage_bytes(stage, drafts, &holds)).collect();
    let end = bytes.iter().map(|[inputs, output]| inputs + output).max().unwrap_or(0);
    let held = |maker: usize| holds.output(maker).map(|offset| end + offset);
    let mut places = Places { inputs: Vec::new(), outputs: Vec::new(), end: end + holds.bytes() };
    for (stage, ([_, output_bytes], draft)) in bytes.into_iter().zip(drafts).enumerate() {
        let low = stage % 2 == 0;
        let mut taken = 0;
        let mut put = |bytes: u64| {
            taken += bytes;
            if low { taken - bytes } else { end - taken }
        };
        let kept = kept_input(stage, drafts);
        let at_the_end = kept.map(|input| put(input_bytes(stage, input, drafts)));
        let stays = |input| holds.input(stage, input).and_then(|from| Some(InputBuffer::Kept { address: held(from)?, from }));
        let inputs = (0..draft.lowered.inputs.len()).map(|input| match at_the_end.filter(|_| kept == Some(input)) {
            Some(address) => InputBuffer::Kept { address, from: stage - 1 },
            None if let Some(stays) = stays(input) => stays,
            None if draft.lowered.constants() == Some(input) => {
                let bytes = input_bytes(stage, input, drafts);
                InputBuffer::Whole { address: put(bytes), bytes }
            }
            None => InputBuffer::Fetched { address: put(input_bytes(stage, input, drafts)), rows: draft.rows },
        });
        let mut inputs: Vec<InputBuffer> = inputs.collect();
        if inputs.is_empty() {
            inputs.push(InputBuffer::Passing { address: put(draft.passing), bytes: draft.passing });
        }
        places.inputs.push(inputs);
        let output = if low { end - output_bytes } else { 0 };
        places.outputs.push(if let Some(address) = held(stage) {
            OutputBuffer::Kept { address }
        } else if draft.kept {
            OutputBuffer::Kept { address: output }
        } else {
            OutputBuffer::Stored { address: output, slots: draft.slots }
        });
    }
    places
}
