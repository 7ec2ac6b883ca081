//! A field for each pair of values of two columns, coloured by a third.
//!
//! Where several points share a pair of values, because they differ in something else, the best of them is shown. Not here: colours (`plot`).

use super::column::{self, Better, Workload, better};
use super::{FindingsError, MAX_PANELS, MAX_VALUES};
use crate::report::{Cell, SweepResults};

/// Fields over two columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Heat {
    /// The column along.
    pub x: String,
    /// The column up.
    pub y: String,
    /// The column of the colour.
    pub z: String,
    /// Values along.
    pub xs: Vec<String>,
    /// Values up, the first at the top.
    pub ys: Vec<String>,
    /// A panel a facet and a workload.
    pub panels: Vec<HeatPanel>,
    /// The most points that share a field.
    pub most: usize,
}

/// A panel of fields.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatPanel {
    /// What all its points have in common.
    pub title: String,
    /// Rows of fields, as `ys` and `xs` are; none where there is no point.
    pub fields: Vec<Vec<Option<HeatCell>>>,
}

/// A field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeatCell {
    /// The best value of the colour's column.
    pub value: f64,
    /// The point that has it, a place in the results.
    pub place: usize,
}

/// Sorts points into fields.
///
/// # Errors
/// Columns that there are not; a colour without numbers; nothing to show; too many values or panels.
pub fn heat(results: &SweepResults, [x, y, z]: [&str; 3], facet: Option<&str>) -> Result<Heat, FindingsError> {
    column::known(results, x)?;
    column::known(results, y)?;
    column::numeric(results, z, "a colour of a heat map")?;
    if let Some(facet) = facet {
        column::known(results, facet)?;
    }
    let shown: Vec<usize> = results
        .done()
        .filter(|place| results.cell(*place, x) != Cell::Empty && results.cell(*place, y) != Cell::Empty)
        .filter(|place| results.cell(*place, z).number().is_some_and(f64::is_finite))
        .collect();
    if shown.is_empty() {
        return Err(column::nothing(results, x, z));
    }
    let [xs, ys] = [(x, "the axis along"), (y, "the axis up")].map(|(name, what)| {
        let values = column::values(results, &shown, name);
        if values.len() > MAX_VALUES {
            return Err(FindingsError::TooMany { what, name: name.to_owned(), count: values.len(), limit: MAX_VALUES });
        }
        Ok(values)
    });
    let (xs, ys) = (xs?, ys?);
    let key = |place: usize| {
        // A workload that is an axis is no panel.
        let mut workload = Workload::of(results, place);
        for axis in [x, y] {
            match axis {
                "batch" => workload.batch = 0,
                "model" => "all models".clone_into(&mut workload.model),
                "weights" => "all".clone_into(&mut workload.weights),
                _ => {}
            }
        }
        (facet.map_or(Cell::Empty, |facet| results.cell(place, facet)), workload)
    };
    let mut keys = Vec::new();
    for place in &shown {
        let own = key(*place);
        if !keys.contains(&own) {
            keys.push(own);
        }
    }
    if keys.len() > MAX_PANELS {
        let name = facet.unwrap_or("model, batch, weights").to_owned();
        return Err(FindingsError::TooMany { what: "the facet", name, count: keys.len(), limit: MAX_PANELS });
    }
    let mut most = 1;
    let mut panels = Vec::with_capacity(keys.len());
    for own in keys {
        let mut fields = vec![vec![None; xs.len()]; ys.len()];
        let mut counts = vec![vec![0; xs.len()]; ys.len()];
        for place in shown.iter().copied().filter(|place| key(*place) == own) {
            let at = |values: &[Cell], name| values.iter().position(|value| *value == results.cell(place, name));
            let (Some(row), Some(col), Some(value)) = (at(&ys, y), at(&xs, x), results.cell(place, z).number()) else { continue };
            counts[row][col] += 1;
            most = most.max(counts[row][col]);
            let field: &mut Option<HeatCell> = &mut fields[row][col];
            let is_better = field.is_none_or(|field| match better(z) {
                Better::Less => value < field.value,
                Better::More => value > field.value,
            });
            if is_better {
                *field = Some(HeatCell { value, place });
            }
        }
        let (facet_value, workload) = own;
        let caption = if workload.batch == 0 { format!("{}, {} weights", workload.model, workload.weights) } else { workload.caption() };
        let title = match facet {
            Some(name) if !["batch", "weights", "model"].contains(&name) => format!("{name} {}, {caption}", column::named(&facet_value)),
            _ => caption,
        };
        panels.push(HeatPanel { title, fields });
    }
    let texts = |cells: &[Cell]| cells.iter().map(Cell::text).collect();
    Ok(Heat { x: x.to_owned(), y: y.to_owned(), z: z.to_owned(), xs: texts(&xs), ys: texts(&ys), panels, most })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{point, results};
    use super::*;
    use crate::report::AxisValue;

    #[test]
    fn fields_hold_the_best_of_their_points() {
        let mut points = vec![
            point("one", "a", 3e-6, None),
            point("one", "b", 2e-6, None),
            point("two", "a", 4e-6, None),
            point("two", "a", 1e-6, None),
        ];
        for (point, bytes) in points.iter_mut().zip([16.0, 16.0, 4.0, 4.0]) {
            point.axes.insert("dram.bytes_per_cycle".to_owned(), AxisValue::Number(bytes));
        }
        let found = heat(&results(points), ["dram.bytes_per_cycle", "recipe", "latency_s"], None).unwrap();
        assert_eq!(
            (found.xs.clone(), found.ys.clone(), found.most),
            (vec!["4".to_owned(), "16".to_owned()], vec!["a".to_owned(), "b".to_owned()], 2)
        );
        let values: Vec<Vec<Option<f64>>> =
            found.panels[0].fields.iter().map(|row| row.iter().map(|field| field.map(|field| field.value)).collect()).collect();
        assert_eq!(values, [vec![Some(1e-6), Some(3e-6)], vec![None, Some(2e-6)]]);
        assert_eq!(found.panels[0].fields[0][0].unwrap().place, 3);
    }

    #[test]
    fn too_many_values_and_texts_as_colours_are_refused() {
        let points = (0..70).map(|number| point("one", &format!("r{number}"), 1e-6, None)).collect();
        let all = results(points);
        let fault = heat(&all, ["chip", "recipe", "latency_s"], None).unwrap_err().to_string();
        assert!(fault.contains("70 values, and 64 is the most"), "{fault}");
        let fault = heat(&all, ["chip", "batch", "recipe"], None).unwrap_err().to_string();
        assert!(fault.contains("a colour of a heat map needs them"), "{fault}");
    }
}
