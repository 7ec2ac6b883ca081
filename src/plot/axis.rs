//! Axes in points of a page, linear or logarithmic, with round ticks.
//!
//! Not here: how they are drawn.

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    Linear,
    Log,
    /// Logarithmic, of powers of two and marked at them.
    Log2,
}

impl Spread {
    pub(super) fn is_log(self) -> bool {
        self != Self::Linear
    }
}

/// An axis from one value to another, both positive where it is logarithmic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    spread: Spread,
    from: f64,
    to: f64,
    start: f64,
    length: f64,
}

pub(super) fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

impl Axis {
    /// The logarithmic axis that holds all positive values, with some room on both sides.
    pub(super) fn log(values: impl Iterator<Item = f64> + Clone, start: f64, length: f64) -> Self {
        let shown = values.filter(|value| is_positive(*value));
        let (least, most) = (shown.clone().fold(f64::INFINITY, f64::min), shown.clone().fold(0.0, f64::max));
        let (from, to) = if least <= most { (least / 1.3, most * 1.3) } else { (1.0, 10.0) };
        let is_power = |value: f64| libm::log2(value).fract() == 0.0;
        let spread = if least < most && shown.clone().all(is_power) { Spread::Log2 } else { Spread::Log };
        Self { spread, from, to, start, length }
    }

    /// The linear axis that holds all values, with some room on both sides.
    pub(super) fn linear(values: impl Iterator<Item = f64> + Clone, start: f64, length: f64) -> Self {
        let shown = values.filter(|value| value.is_finite());
        let (least, most) = (shown.clone().fold(f64::INFINITY, f64::min), shown.fold(f64::NEG_INFINITY, f64::max));
        let room = if most > least { (most - least) * 0.07 } else { most.abs().max(1.0) * 0.1 };
        let (from, to) = if least <= most { (least - room, most + room) } else { (0.0, 1.0) };
        // Nothing that is counted is negative.
        let from = if least >= 0.0 { from.max(0.0) } else { from };
        Self { spread: Spread::Linear, from, to, start, length }
    }

    /// The same axis elsewhere on the page.
    pub(super) fn moved(self, start: f64, length: f64) -> Self {
        Self { start, length, ..self }
    }

    pub(super) fn spread(self) -> Spread {
        self.spread
    }

    /// Its ends.
    pub(super) fn ends(self) -> (f64, f64) {
        (self.from, self.to)
    }

    pub(super) fn place(self, value: f64) -> f64 {
        let share = match self.spread {
            Spread::Linear => (value - self.from) / (self.to - self.from),
            Spread::Log | Spread::Log2 => libm::log(value / self.from) / libm::log(self.to / self.from),
        };
        self.start + self.length * share
    }

    /// Round values on the axis: 1, 2 and 5 times powers of ten, or only those where they would be many.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self.spread {
            Spread::Linear => self.linear_ticks(),
            Spread::Log => self.log_ticks(),
            Spread::Log2 => self.binary_ticks(),
        }
    }

    fn log_ticks(self) -> Vec<f64> {
        let decades = libm::log10(self.to / self.from);
        let steps: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let first = libm::floor(libm::log10(self.from));
        let mut power = libm::pow(10.0, first);
        let mut ticks = Vec::new();
        while power <= self.to {
            ticks.extend(steps.iter().map(|step| step * power).filter(|tick| *tick >= self.from && *tick <= self.to));
            power *= 10.0;
        }
        // Within less than a factor of two there may be no such value.
        if ticks.len() < 2 { self.linear_ticks() } else { ticks }
    }

    /// Powers of two, of many every second or third one.
    fn binary_ticks(self) -> Vec<f64> {
        let (first, last) = (libm::ceil(libm::log2(self.from)), libm::floor(libm::log2(self.to)));
        let every = libm::ceil((last - first + 1.0) / 10.0).max(1.0);
        let powers = std::iter::successors(Some(first), |power| Some(power + every)).take_while(|power| *power <= last);
        powers.map(libm::exp2).collect()
    }

    fn linear_ticks(self) -> Vec<f64> {
        let span = self.to - self.from;
        let power = libm::pow(10.0, libm::floor(libm::log10(span)));
        let step = [0.1, 0.2, 0.5, 1.0, 2.0].map(|times| times * power).into_iter().find(|step| span / step <= 6.0).unwrap_or(power);
        let first = libm::ceil(self.from / step);
        (0..12_u32).map(|number| (first + f64::from(number)) * step).take_while(|tick| *tick <= self.to * (1.0 + 1e-12)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_logarithmic_and_their_ticks_round() {
        let axis = Axis { spread: Spread::Log, from: 1.0, to: 100.0, start: 0.0, length: 200.0 };
        assert!((axis.place(10.0) - 100.0).abs() < 1e-9);
        assert_eq!(axis.ticks().len(), 7, "1, 2, 5, 10, 20, 50, 100");
        assert_eq!(Axis { to: 1e6, ..axis }.ticks().len(), 7, "powers of ten alone");
        assert!(Axis { from: 2.1, to: 3.9, ..axis }.ticks().len() >= 3, "no power of ten, and still ticks");
        let binary = Axis::log([4.0, 64.0, 8.0].into_iter(), 0.0, 1.0);
        assert_eq!((binary.spread(), binary.ticks()), (Spread::Log2, vec![4.0, 8.0, 16.0, 32.0, 64.0]));
        assert_eq!(Axis::log([4.0, 9.0].into_iter(), 0.0, 1.0).spread(), Spread::Log);
        let empty = Axis::log([0.0, f64::NAN].into_iter(), 0.0, 1.0);
        assert!(empty.from < empty.to);
    }

    #[test]
    fn linear_axes_hold_their_values_and_few_round_ticks() {
        for (least, most) in [(0.0, 1.0), (0.93, 0.99), (-5.0, 7.0), (1e6, 1.1e6), (3.0, 3.0)] {
            let axis = Axis::linear([least, most].into_iter(), 0.0, 100.0);
            assert!(axis.place(least) >= 0.0 && axis.place(most) <= 100.0);
            let ticks = axis.ticks();
            assert!((2..=8).contains(&ticks.len()), "{least} {most}: {ticks:?}");
        }
        assert!(Axis::linear(std::iter::empty(), 0.0, 1.0).ticks().len() > 1);
    }
}
