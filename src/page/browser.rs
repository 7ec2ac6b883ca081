//! Does the page's script do what it should, in a real browser? Hovered, filtered, sorted and opened in headless Chromium, which is looked for where
//! `SYSTOLE_CHROMIUM` says, or by its usual names. Where there is none, the tests say so and pass.

use super::{run_page, sweep_page};
use crate::findings::study;
use crate::plot;
use crate::report::fixture;
use serde_json::{Value, json};
use std::io::Write;
use std::process::Command;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A browser that can be started.
fn browser() -> Option<String> {
    let asked = std::env::var("SYSTOLE_CHROMIUM").ok();
    let names = asked.into_iter().chain(NAMES.map(str::to_owned));
    let found = names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()));
    if found.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: there is no Chromium here (SYSTOLE_CHROMIUM names one)");
    }
    found
}

/// What a script finds that runs in a page after the page's own; a fault of either is told.
fn found(browser: &str, html: &str, script: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let watch = "<script>window.faults = []; window.onerror = (text) => { window.faults.push(String(text)); };</script>";
    let tell = format!(
        "<script>{{ let found; try {{ found = (() => {{ {script} }})(); }} catch (fault) {{ found = {{ fault: String(fault) }}; }}
         document.documentElement.setAttribute('data-found', encodeURIComponent(JSON.stringify([found, window.faults]))); }}</script></body>"
    );
    let page = folder.path().join("page.html");
    std::fs::write(&page, html.replacen("<body>", &format!("<body>{watch}"), 1).replacen("</body>", &tell, 1)).unwrap();
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--virtual-time-budget=4000",
        "--dump-dom",
    ];
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let output = Command::new(browser).args(arguments).arg(profile).arg(format!("file://{}", page.display())).output().unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let start =
        dom.find("data-found=\"").unwrap_or_else(|| panic!("the page's script told nothing: {}", String::from_utf8_lossy(&output.stderr)));
    let told = &dom[start + "data-found=\"".len()..];
    let [found, faults] = serde_json::from_str::<[Value; 2]>(&decoded(&told[..told.find('"').unwrap()])).unwrap();
    assert_eq!(faults, json!([]), "the page's script has a fault");
    found
}

/// `encodeURIComponent` back.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&more[..2]).unwrap(), 16).unwrap());
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn points_are_hovered_filtered_sorted_and_opened() {
    let Some(browser) = browser() else { return };
    let mut results = study();
    let evil = "</script><img src=x onerror='window.faults.push(1)'>";
    evil.clone_into(&mut results.points[0].recipe);
    let html = sweep_page(&results, &plot::sweep(&results).unwrap());
    let found = found(
        &browser,
        &html,
        r"
        const marks = () => [...document.querySelectorAll('#chart .mark')];
        const rows = () => [...document.querySelectorAll('#table tbody tr[data-row]')].filter((row) => !row.hidden);
        const data = JSON.parse(document.getElementById('data').textContent);
        const out = { marks: marks().length, rows: rows().length, explore: !document.getElementById('explore').hidden };
        marks()[0].dispatchEvent(new MouseEvent('mousemove', { bubbles: true }));
        const tip = document.getElementById('tip');
        out.tip = tip.hidden ? '' : tip.textContent;
        out.images = document.querySelectorAll('img').length;
        const find = document.getElementById('find');
        find.value = 'binary edge';
        find.dispatchEvent(new Event('input'));
        out.filtered = [marks().length, rows().length];
        find.value = '';
        find.dispatchEvent(new Event('input'));
        const chips = document.querySelector('select[data-field=chip]');
        chips.value = 'nm-16x16';
        chips.dispatchEvent(new Event('change'));
        out.chosen = [marks().length, rows().length];
        chips.value = '';
        chips.dispatchEvent(new Event('change'));
        const head = [...document.querySelectorAll('#table th')].find((head) => head.textContent === 'latency of a batch');
        const order = () => rows().map((row) => data.rows[row.dataset.row].fields.latency_s).filter((value) => value !== undefined);
        head.click();
        out.up = order();
        head.click();
        out.down = order();
        rows()[0].click();
        out.opened = [document.querySelectorAll('tr.open').length, document.querySelectorAll('tr.open .part').length];
        out.again = document.querySelector('tr.open code').textContent;
        rows()[0].click();
        out.closed = document.querySelectorAll('tr.open').length;
        marks()[3].dispatchEvent(new MouseEvent('click', { bubbles: true }));
        out.byMark = [document.querySelectorAll('tr.open').length, document.querySelectorAll('tr.chosen').length];
        const y = document.getElementById('y');
        y.value = 'area_mm2';
        y.dispatchEvent(new Event('change'));
        out.otherAxis = marks().length;
        out.requests = performance.getEntriesByType('resource').length;
        return out;
        ",
    );
    let ran = results.done().count();
    assert_eq!((&found["marks"], &found["rows"], &found["explore"]), (&json!(ran), &json!(results.points.len()), &json!(true)), "{found}");
    assert!(found["tip"].as_str().unwrap().contains(evil) && found["images"] == 0, "{found}");
    let of = |wanted: &dyn Fn(&crate::report::PointRow) -> bool| {
        let all: Vec<_> = results.points.iter().filter(|point| wanted(point)).collect();
        json!([all.iter().filter(|point| point.figures.is_some()).count(), all.len()])
    };
    assert_eq!(found["filtered"], of(&|point| point.recipe.contains("binary") && point.chip.contains("edge")));
    assert_eq!(found["chosen"], of(&|point| point.chip == "nm-16x16"));
    let order = |name: &str| found[name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect::<Vec<f64>>();
    // Cells have three digits, by which they are sorted.
    assert!(order("up").len() == ran && order("up").windows(2).all(|pair| pair[0] <= pair[1] * 1.006));
    assert!(order("down").windows(2).all(|pair| pair[0] * 1.006 >= pair[1]));
    assert_eq!((&found["opened"], &found["closed"], &found["byMark"]), (&json!([1, 2]), &json!(0), &json!([1, 1])));
    assert!(found["again"].as_str().unwrap().starts_with("systole run"));
    assert_eq!((&found["otherAxis"], &found["requests"]), (&json!(ran), &json!(0)));
}

#[test]
fn layers_of_a_run_are_opened_to_their_accounts() {
    let Some(browser) = browser() else { return };
    let summary = fixture::deep(30);
    let html = run_page(&summary, &plot::run(&summary).unwrap());
    let script = r"
        const rows = [...document.querySelectorAll('#table tbody tr[data-row]')];
        rows[0].click();
        const widths = [...document.querySelectorAll('tr.open .bar i')].map((piece) => parseFloat(piece.style.width));
        return { marks: document.querySelectorAll('#chart .mark').length, rows: rows.length, sum: widths.reduce((sum, width) => sum + width, 0),
                 requests: performance.getEntriesByType('resource').length };
    ";
    let found = found(&browser, &html, script);
    assert_eq!(
        (&found["marks"], &found["rows"], &found["requests"]),
        (&json!(30), &json!(31), &json!(0)),
        "the host's softmax has no products: {found}"
    );
    assert!((found["sum"].as_f64().unwrap() - 100.0).abs() < 0.5, "a layer's accounts are all of its cycles: {found}");
}
