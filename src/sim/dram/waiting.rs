//! The requests that wait in a channel: a few dozen slots, the order of age, and for each bank the ones that its next command may serve.
//!
//! Nothing is allocated after the start. Not here: what may be issued when (`timing`), and which of them goes first (`channel`).

use super::Request;
use super::address::Location;
use super::timing::CLOSED;

/// The most requests that wait.
pub(super) const MOST: usize = 64;
/// No slot.
const NONE: u8 = u8::MAX;

/// A request that waits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    pub(super) id: u64,
    /// Its place in the order of entry.
    pub(super) age: u64,
    /// The cycle in which it entered.
    pub(super) entered: u64,
    pub(super) row: u32,
    pub(super) column: u32,
    pub(super) bank: u8,
    pub(super) is_write: bool,
    /// Whether a command was issued for it, so that it counts as a hit, a miss or a conflict already.
    pub(super) is_counted: bool,
    /// Activates that were given for it.
    pub(super) activates: u32,
    /// Slots of older requests to the same burst, of which one writes: they come first.
    after: u64,
    older: u8,
    younger: u8,
}

impl Waiting {
    /// A request that enters in `cycle`.
    pub(super) fn new(request: Request, at: Location, cycle: u64) -> Self {
        Self {
            id: request.id,
            entered: cycle,
            row: at.row,
            column: at.column,
            bank: u8::try_from(at.bank).expect("bug: a channel has 64 banks at most; please report it"),
            is_write: request.is_write,
            ..Self::default()
        }
    }
}

/// What a bank's requests ask for, given its open row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes {
    /// The oldest read and the oldest write of the open row that may go.
    pub(super) read: Option<u8>,
    pub(super) write: Option<u8>,
    /// The oldest request of all, where no request is for the open row.
    pub(super) other: Option<u8>,
    /// The oldest request of all.
    pub(super) oldest: Option<u8>,
}

const NOTHING: Wishes = Wishes { read: None, write: None, other: None, oldest: None };

/// The requests of a channel.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    slots: [Waiting; MOST],
    free: u64,
    oldest: u8,
    youngest: u8,
    next_age: u64,
    /// Slots of each bank's requests.
    members: Vec<u64>,
    wishes: Vec<Wishes>,
    /// Banks with requests.
    active: u64,
}

impl Queue {
    pub(super) fn new(depth: u32, banks: usize) -> Self {
        Self {
            slots: [Waiting::default(); MOST],
            free: if depth as usize >= MOST { u64::MAX } else { (1 << depth) - 1 },
            oldest: NONE,
            youngest: NONE,
            next_age: 0,
            members: vec![0; banks],
            wishes: vec![NOTHING; banks],
            active: 0,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.free != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.oldest == NONE
    }

    /// The request that has waited longest.
    pub(super) fn oldest(&self) -> Option<u8> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    pub(super) fn get(&self, slot: u8) -> &Waiting {
        &self.slots[usize::from(slot)]
    }

    pub(super) fn get_mut(&mut self, slot: u8) -> &mut Waiting {
        &mut self.slots[usize::from(slot)]
    }

    /// Banks with requests, a bit each.
    pub(super) fn active(&self) -> u64 {
        self.active
    }

    pub(super) fn wishes(&self, bank: usize) -> &Wishes {
        &self.wishes[bank]
    }

    /// Takes a request; `row` is what its bank has open. There must be room.
    pub(super) fn push(&mut self, mut request: Waiting, row: u32) {
        let slot = self.free.trailing_zeros();
        let name = u8::try_from(slot).expect("bug: a queue has 64 slots; please report it");
        let bank = usize::from(request.bank);
        self.free &= self.free - 1;
        request.age = self.next_age;
        self.next_age += 1;
        for other in bits(self.members[bank]) {
            let earlier = self.get(other);
            if earlier.row == request.row && earlier.column == request.column && (earlier.is_write || request.is_write) {
                request.after |= 1 << other;
            }
        }
        request.older = self.youngest;
        request.younger = NONE;
        match self.youngest {
            NONE => self.oldest = name,
            youngest => self.get_mut(youngest).younger = name,
        }
        self.youngest = name;
        *self.get_mut(name) = request;
        self.members[bank] |= 1 << slot;
        self.active |= 1 << bank;
        // It is the youngest: it changes a wish only where there was none.
        let wishes = &mut self.wishes[bank];
        wishes.oldest = wishes.oldest.or(Some(name));
        if row == request.row {
            // It may be held back by an older one, which then has the wish.
            let wish = if request.is_write { &mut wishes.write } else { &mut wishes.read };
            if request.after == 0 {
                *wish = wish.or(Some(name));
            }
            wishes.other = None;
        } else if wishes.read.is_none() && wishes.write.is_none() {
            wishes.other = wishes.other.or(Some(name));
        }
    }

    /// Takes a request out; `row` is what its bank has open then.
    pub(super) fn remove(&mut self, slot: u8, row: u32) -> Waiting {
        let request = *self.get(slot);
        match request.older {
            NONE => self.oldest = request.younger,
            older => self.get_mut(older).younger = request.younger,
        }
        match request.younger {
            NONE => self.youngest = request.older,
            younger => self.get_mut(younger).older = request.older,
        }
        let bank = usize::from(request.bank);
        self.free |= 1 << slot;
        self.members[bank] &= !(1 << slot);
        for other in bits(self.members[bank]) {
            self.get_mut(other).after &= !(1 << slot);
        }
        if self.members[bank] == 0 {
            self.active &= !(1 << bank);
        }
        self.row_changed(bank, row);
        request
    }

    /// Finds out anew what a bank's requests ask for, its open row being `row`.
    pub(super) fn row_changed(&mut self, bank: usize, row: u32) {
        let mut wishes = NOTHING;
        let mut is_hit = false;
        let age = |slot: Option<u8>| slot.map_or(u64::MAX, |slot| self.get(slot).age);
        for slot in bits(self.members[bank]) {
            let request = self.get(slot);
            if request.age < age(wishes.oldest) {
                wishes.oldest = Some(slot);
            }
            if row != CLOSED && request.row == row {
                is_hit = true;
                let wish = if request.is_write { wishes.write } else { wishes.read };
                if request.after == 0 && request.age < age(wish) {
                    *(if request.is_write { &mut wishes.write } else { &mut wishes.read }) = Some(slot);
                }
            }
        }
        wishes.other = if is_hit { None } else { wishes.oldest };
        self.wishes[bank] = wishes;
    }
}

/// The numbers of the bits that are set.
pub(super) fn bits(mut mask: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        // 0 to 63, or 64 where none is left: the low byte is all of it.
        let [bit, ..] = mask.trailing_zeros().to_le_bytes();
        mask &= mask.wrapping_sub(1);
        (usize::from(bit) < MOST).then_some(bit)
    })
}
