//! The accounts: actions, bytes and cycles, by stage and by unit.

use crate::counts::{ActionCounts, CycleCounts, ElementCounts, StallReason, TrafficBytes};
use crate::program::{Place, Tag, UnitId};
use crate::units::{Cycles, Tick};

/// What a run of one program yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Cycles from the first to the last command's end, both included.
    pub total_cycles: Cycles,
    /// The bytes of the output region.
    pub output: Vec<u8>,
    /// Passes of the array.
    pub passes: u64,
    /// Every stage's account, in the order of the program's list.
    pub stages: Vec<StageRun>,
    /// Every unit's cycles, which sum to the total.
    pub units: Vec<UnitRun>,
}

/// One stage's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageRun {
    /// From the end of the stage before to the end of this one: windows partition the run.
    pub window: Cycles,
    /// The cycle in which its first command started.
    pub first_tick: Tick,
    /// The cycle in which its last command ended.
    pub last_tick: Tick,
    /// The array's cycles inside the window.
    pub array: CycleCounts,
    /// What its commands did.
    pub actions: ActionCounts,
    /// What its commands moved.
    pub traffic: TrafficBytes,
    /// Elements that entered and left the array.
    pub elements: ElementCounts,
}

/// One unit's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitRun {
    /// The unit.
    pub unit: UnitId,
    /// Its cycles.
    pub cycles: CycleCounts,
}

/// What a unit did with one cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// It advanced.
    Busy,
    /// It had a command that could not advance.
    Stalled(StallReason),
    /// It had no command.
    Idle,
}

impl Account {
    /// The account that holds the one cycle of `counts`.
    pub(super) fn of(counts: &CycleCounts) -> Self {
        match counts.stalls().next() {
            Some((reason, _)) => Self::Stalled(reason),
            None if counts.busy > 0 => Self::Busy,
            None => Self::Idle,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct StageAccount {
    actions: ActionCounts,
    traffic: TrafficBytes,
    elements: ElementCounts,
    first: u64,
    last: u64,
    open_commands: u64,
    /// The array's cycles up to the end of the stage.
    array_at_end: CycleCounts,
    /// DRAM's refreshes up to the end of the stage.
    refreshes_at_end: u64,
}

/// The accounts of a run, by stage.
#[derive(Debug)]
pub(super) struct Accounts {
    stages: Vec<StageAccount>,
    /// Whether a stage ended in this cycle.
    ended: bool,
}

impl Accounts {
    pub(super) fn new(commands_per_stage: &[u64]) -> Self {
        let open = |commands: &u64| StageAccount {
            actions: ActionCounts::default(),
            traffic: TrafficBytes::default(),
            elements: ElementCounts::default(),
            first: u64::MAX,
            last: 0,
            open_commands: *commands,
            array_at_end: CycleCounts::default(),
            refreshes_at_end: 0,
        };
        Self { stages: commands_per_stage.iter().map(open).collect(), ended: false }
    }

    /// The actions of a command's stage, to add to.
    pub(super) fn actions(&mut self, tag: Tag) -> &mut ActionCounts {
        &mut self.stages[tag.stage as usize].actions
    }

    /// The traffic of a command's stage, to add to.
    pub(super) fn traffic(&mut self, tag: Tag) -> &mut TrafficBytes {
        &mut self.stages[tag.stage as usize].traffic
    }

    /// The elements of a command's stage, to add to.
    pub(super) fn elements(&mut self, tag: Tag) -> &mut ElementCounts {
        &mut self.stages[tag.stage as usize].elements
    }

    /// Counts rows read from a scratchpad.
    pub(super) fn scratchpad_read(&mut self, tag: Tag, place: Place, rows: u64) {
        if let Place::Scratchpad(_, index) = place {
            self.actions(tag).scratchpad_reads[index as usize] += rows;
        }
    }

    /// Counts rows written to a scratchpad.
    pub(super) fn scratchpad_write(&mut self, tag: Tag, place: Place, rows: u64) {
        if let Place::Scratchpad(_, index) = place {
            self.actions(tag).scratchpad_writes[index as usize] += rows;
        }
    }

    pub(super) fn issue(&mut self, tag: Tag, cycle: u64) {
        let stage = &mut self.stages[tag.stage as usize];
        stage.first = stage.first.min(cycle);
    }

    pub(super) fn retire(&mut self, tag: Tag, cycle: u64) {
        let stage = &mut self.stages[tag.stage as usize];
        stage.last = stage.last.max(cycle);
        stage.open_commands -= 1;
        self.ended |= stage.open_commands == 0;
    }

    /// Whether a stage ended in this cycle.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Closes the windows of stages that ended in this cycle, after every unit's account of it is made. `array` and `refreshes` are counts up
    /// to its end.
    pub(super) fn end_stages(&mut self, cycle: u64, array: &CycleCounts, refreshes: u64) {
        self.ended = false;
        for stage in &mut self.stages {
            if stage.open_commands == 0 && stage.last == cycle {
                (stage.array_at_end, stage.refreshes_at_end) = (*array, refreshes);
            }
        }
    }

    /// The stages' accounts with their windows.
    pub(super) fn finish(&self) -> Vec<StageRun> {
        let mut reached = 0;
        let mut array_reached = CycleCounts::default();
        let mut refreshes_reached = 0;
        let mut runs = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let end = stage.last + 1;
            let (window, array) =
                if end > reached { (end - reached, stage.array_at_end.since(&array_reached)) } else { (0, CycleCounts::default()) };
            let mut actions = stage.actions;
            if end > reached {
                actions.dram_refreshes += stage.refreshes_at_end - refreshes_reached;
                (reached, array_reached, refreshes_reached) = (end, stage.array_at_end, stage.refreshes_at_end);
            }
            runs.push(StageRun {
                window: Cycles::new(window),
                first_tick: Tick::new(stage.first),
                last_tick: Tick::new(stage.last),
                array,
                actions,
                traffic: stage.traffic,
                elements: stage.elements,
            });
        }
        runs
    }
}
