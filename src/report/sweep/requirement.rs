//! What a point must keep: a column, a relation, a number.

use std::fmt;

/// A relation that a figure must have to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<`.
    Below,
    /// `<=`.
    AtMost,
    /// `>=`.
    AtLeast,
    /// `>`.
    Above,
}

/// `accuracy >= 0.98`.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// The column.
    pub column: String,
    /// How it is to stand to the bound.
    pub relation: Relation,
    /// The bound.
    pub bound: f64,
}

impl Requirement {
    /// Reads `COLUMN RELATION NUMBER`.
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let relations = [("<=", Relation::AtMost), (">=", Relation::AtLeast), ("<", Relation::Below), (">", Relation::Above)];
        let found = relations.iter().find_map(|(sign, relation)| Some((text.split_once(sign)?, *relation)));
        let form = || format!("`{}` is no requirement: write a column, one of <=, <, >= and >, and a number", text.escape_debug());
        let ((column, bound), relation) = found.ok_or_else(form)?;
        let bound: f64 = bound.trim().parse().map_err(|_| form())?;
        let column = column.trim();
        // A sign that there is not, such as => or ==, leaves a part of it with the column.
        if column.is_empty() || column.contains(['<', '>', '=', '!']) || !bound.is_finite() {
            return Err(form());
        }
        Ok(Self { column: column.to_owned(), relation, bound })
    }

    /// How far a figure is from keeping it, as a share of the bound; 0 where it does.
    pub fn violation(&self, figure: f64) -> f64 {
        let (keeps, away) = match self.relation {
            Relation::Below => (figure < self.bound, figure - self.bound),
            Relation::AtMost => (figure <= self.bound, figure - self.bound),
            Relation::AtLeast => (figure >= self.bound, self.bound - figure),
            Relation::Above => (figure > self.bound, self.bound - figure),
        };
        if keeps { 0.0 } else { (away / self.bound.abs().max(f64::MIN_POSITIVE)).max(f64::MIN_POSITIVE) }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.relation {
            Relation::Below => "<",
            Relation::AtMost => "<=",
            Relation::AtLeast => ">=",
            Relation::Above => ">",
        };
        write!(f, "{} {sign} {}", self.column, self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_read_back_and_measure_how_far_off_a_figure_is() {
        for text in ["accuracy >= 0.98", "latency_s <= 0.0002", "area_mm2 < 2", "speedup > 1"] {
            assert_eq!(Requirement::parse(text).unwrap().to_string(), text);
        }
        let accuracy = Requirement::parse("accuracy>=0.8").unwrap();
        assert!(accuracy.violation(0.8) == 0.0 && (accuracy.violation(0.6) - 0.25).abs() < 1e-12);
        assert!(Requirement::parse("x<1").unwrap().violation(1.0) > 0.0);
        for text in ["", "accuracy", "accuracy = 1", ">= 1", "x >= y", "x >= NaN", "x >= inf", "x => 1", "x == 1", "x != 1", "x =< 1"] {
            assert!(Requirement::parse(text).is_err(), "{text}");
        }
    }
}
