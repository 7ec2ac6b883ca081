//! Which instructions a kernel is computed with: picked once, kept in the packed operand. The results do not depend on it.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;

/// The instructions that a packed operand is multiplied with. One that this processor lacks cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instructions(Choice);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

impl Instructions {
    /// What every processor of the target has.
    pub const fn portable() -> Self {
        Self(Choice::Portable)
    }

    /// AVX2, if this processor has it.
    pub fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Avx2::detect().map(|avx2| Self(Choice::Avx2(avx2)));
        #[cfg(not(target_arch = "x86_64"))]
        return None;
    }

    /// The fastest that this processor has.
    pub fn fastest() -> Self {
        Self::avx2().unwrap_or(Self::portable())
    }

    /// What `work` returns, its code compiled for these instructions as far as it is inlined here: loops that a compiler makes vector
    /// instructions of get those of AVX2. The results are the same, for none of what this enables changes rounding: a product and a
    /// sum stay two operations.
    ///
    /// A call that stays a call keeps the instructions of the function called, so a loop worth this stands in the closure or in an
    /// `#[inline(always)]` function that the closure calls. What the closure captures by reference is read through memory at each use
    /// for all that the compiler knows, so let it be `move`.
    #[inline]
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        match self.0 {
            Choice::Portable => work(),
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2(avx2) => avx2.run(work),
        }
    }

    /// As [`Instructions::run`], for a task too large to be inlined of itself: [`Task::run`] says `#[inline(always)]`, which a closure cannot.
    #[inline]
    pub fn perform<T: Task>(self, task: T) -> T::Output {
        match self.0 {
            Choice::Portable => task.run(),
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2(avx2) => avx2.perform(task),
        }
    }

    pub(super) const fn choice(self) -> Choice {
        self.0
    }
}

/// A task for [`Instructions::perform`].
pub trait Task {
    /// What it yields.
    type Output;

    /// Does it. To be compiled for the instructions, it is `#[inline(always)]`, and so is what it calls.
    fn run(self) -> Self::Output;
}
