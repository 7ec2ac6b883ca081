//! Do metrics, intervals and tests agree with scikit-learn and scipy? (`scripts/make_metrics_goldens.py` made the golden.)

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use ndarray::Array2;
use serde_json::Value;
use systole::data::{Average, Metric, Task, Truth};
use systole::metrics::{Confusion, evaluate, mcnemar, regression, right, top_k, wilson};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/metrics.json")).unwrap()
}

fn reals(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the golden holds f32")]
fn floats(value: &Value) -> Vec<f32> {
    reals(value).into_iter().map(|x| x as f32).collect()
}

fn matrix(value: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f32>> = value.as_array().unwrap().iter().map(floats).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn labels(golden: &Value) -> Vec<u32> {
    golden["labels"].as_array().unwrap().iter().map(|label| u32::try_from(label.as_u64().unwrap()).unwrap()).collect()
}

fn assert_close(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() <= 1e-12 * wanted.abs().max(1.0), "{what}: {found}, and scikit-learn says {wanted}");
}

#[test]
fn classification_agrees_with_scikit_learn() {
    let golden = golden();
    let (logits, labels) = (matrix(&golden["logits"]), labels(&golden));
    for (k, wanted) in (1..).zip(reals(&golden["top_k"])) {
        assert_close(top_k(logits.view(), &labels, k), wanted, "top-k");
    }
    let confusion = Confusion::of(logits.view(), &labels);
    let wanted: Vec<f64> = golden["confusion"].as_array().unwrap().iter().flat_map(reals).collect();
    assert!(confusion.counts().iter().zip(wanted).all(|(found, wanted)| (*found as f64 - wanted).abs() < 0.5));
    let of_classes: Vec<Vec<f64>> = golden["scores"]["class"].as_array().unwrap().iter().map(reals).collect();
    for (class, found) in confusion.by_class().into_iter().enumerate() {
        for (found, wanted) in [found.precision, found.recall, found.f1].into_iter().zip(&of_classes) {
            assert_close(found, wanted[class], "a class");
        }
    }
    for (average, name) in [(Average::Macro, "macro"), (Average::Micro, "micro"), (Average::Weighted, "weighted")] {
        let wanted = reals(&golden["scores"][name]);
        let asked = [Metric::Precision(average), Metric::Recall(average), Metric::F1(average), Metric::Accuracy, Metric::TopK(2)];
        let found = evaluate(Task::Classification { classes: 6 }, &asked, logits.view(), Truth::Labels(&labels)).unwrap();
        for (what, wanted) in ["precision", "recall", "f1"].iter().zip(wanted) {
            assert_close(found[&format!("{what}_{name}")], wanted, name);
        }
        assert_close(found["accuracy"], golden["accuracy"].as_f64().unwrap(), "accuracy");
        assert_close(found["top_2"], reals(&golden["top_k"])[1], "top 2");
    }
}

#[test]
fn regression_agrees_with_scikit_learn() {
    let golden = golden();
    let golden = &golden["regression"];
    let found = regression(&floats(&golden["wanted"]), &floats(&golden["found"])).unwrap();
    for (found, name) in [(found.mse, "mse"), (found.rmse, "rmse"), (found.mae, "mae"), (found.r2, "r2")] {
        assert_close(found, golden[name].as_f64().unwrap(), name);
    }
    assert_eq!(regression(&[], &[]), None);
    assert_eq!(regression(&[1.0], &[1.0, 2.0]), None);
    assert_close(regression(&[2.0, 2.0], &[2.0, 2.0]).unwrap().r2, 1.0, "a constant that is met");
    assert_close(regression(&[2.0, 2.0], &[2.0, 3.0]).unwrap().r2, 0.0, "a constant that is missed");
}

#[test]
fn intervals_and_the_paired_test_agree_with_scipy() {
    let golden = golden();
    for row in golden["wilson"].as_array().unwrap() {
        let [low, high] = wilson(row[0].as_u64().unwrap(), row[1].as_u64().unwrap(), row[2].as_f64().unwrap());
        // The quantile of the normal distribution is good to nine digits or so.
        assert!((low - row[3].as_f64().unwrap()).abs() < 1e-8 && (high - row[4].as_f64().unwrap()).abs() < 1e-8, "{row}: {low} {high}");
    }
    let [low, high] = wilson(0, 0, 0.95);
    assert_close(low, 0.0, "of no samples");
    assert_close(high, 1.0, "of no samples");
    let labels = labels(&golden);
    let [first, second] = ["logits", "other_logits"].map(|name| right(matrix(&golden[name]).view(), &labels));
    let (found, wanted) = (mcnemar(&first, &second), reals(&golden["mcnemar"]));
    assert_close(found.first_only as f64, wanted[0], "right alone");
    assert_close(found.second_only as f64, wanted[1], "right alone");
    assert!((found.p_value - wanted[2]).abs() < 1e-9, "{found:?} {wanted:?}");
    assert_close(mcnemar(&first, &first).p_value, 1.0, "a network against itself");
}

#[test]
fn equal_and_odd_numbers_have_a_place() {
    let logits = ndarray::array![[1.0, 1.0, 0.0], [f32::NAN, 1.0, 2.0]];
    // Of equal numbers the first is the greater one; not-a-number is the least.
    for (labels, k, wanted) in [([1, 2], 1, 0.5), ([0, 2], 1, 1.0), ([1, 0], 3, 0.5), ([1, 1], 2, 1.0), ([1, 9], 3, 0.5)] {
        assert_close(top_k(logits.view(), &labels, k), wanted, &format!("{labels:?} {k}"));
    }
}
