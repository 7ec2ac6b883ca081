//! One HTML page of a run or of a sweep that holds all it needs: text, tables, pictures, data and script, and asks no network for anything.
//!
//! What stands in it stands there without a script too; the script adds points to hover, filter, sort and open. Every text is escaped: those of
//! the page by the template (`page.html`), data as JSON in which no `<` is left. Not here: figures (`report`) and pictures (`plot`).

#[cfg(test)]
mod browser;
mod data;
mod run;
mod sweep;

pub use run::run_page;
pub use sweep::sweep_page;

use crate::plot::Drawn;
use data::Data;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the template is filled with.
#[derive(Debug, Serialize)]
struct Page {
    title: String,
    /// Below the title.
    lead: String,
    /// Short facts with their names.
    facts: Vec<(String, String)>,
    /// Lists below the facts: what failed, what could not be drawn.
    lists: Vec<List>,
    /// Small tables below the lists, such as a confusion matrix.
    tables: Vec<Table>,
    /// What the rows of the table are, such as `points`.
    what: String,
    pictures: Vec<Picture>,
    /// Names of the table's columns, and whether they are numbers.
    columns: Vec<(String, bool)>,
    rows: Vec<Row>,
    /// Words at the end: what made the page.
    foot: Vec<String>,
}

#[derive(Debug, Serialize)]
struct List {
    title: String,
    items: Vec<String>,
}

/// A table of numbers behind a name each row.
#[derive(Debug, Serialize)]
struct Table {
    title: String,
    /// Names of the columns, that of the rows' names first.
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Picture {
    name: String,
    svg: String,
}

/// A row of the table: the number of its row in the data, and its cells.
#[derive(Debug, Serialize)]
struct Row {
    row: usize,
    cells: Vec<String>,
}

impl Page {
    /// The page as HTML.
    fn html(&self, data: &Data) -> String {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        let rendered = environment.template_from_str(TEMPLATE).and_then(|template| {
            template.render(minijinja::context! {
                page => Value::from(minijinja::value::Serde(self)),
                style => Value::from_safe_string(STYLE.to_owned()),
                script => Value::from_safe_string(SCRIPT.to_owned()),
                data => Value::from_safe_string(data.embedded()),
            })
        });
        rendered.expect("bug: the template of pages is a constant that can be filled; please report it")
    }
}

/// Pictures as they stand in a page.
fn pictures(drawn: &[Drawn]) -> Vec<Picture> {
    drawn.iter().map(|drawn| Picture { name: drawn.name.clone(), svg: drawn.svg.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::study;
    use crate::plot;
    use crate::report::{Summary, SweepResults, fixture};

    fn of_run(summary: &Summary) -> String {
        run_page(summary, &plot::run(summary).unwrap())
    }

    fn of_sweep(results: &SweepResults) -> String {
        sweep_page(results, &plot::sweep(results).unwrap())
    }

    /// What would reach out of the page: addresses, and what loads something. An SVG's namespace is a name, and loads nothing.
    fn reaches_out(html: &str) -> Vec<&str> {
        let plain = html.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "");
        let forbidden =
            ["http:", "https:", "src=", "@import", "url(", "<link", "<iframe", "fetch(", "XMLHttpRequest", "WebSocket", "import("];
        forbidden.into_iter().filter(|word| plain.contains(word)).collect()
    }

    /// The data of a page.
    fn data(html: &str) -> serde_json::Value {
        let start = html.find("<script type=\"application/json\" id=\"data\">").unwrap();
        let rest = &html[start..];
        let from = rest.find('>').unwrap() + 1;
        serde_json::from_str(&rest[from..rest.find("</script>").unwrap()]).unwrap()
    }

    #[test]
    fn a_run_s_page_stands_alone() {
        let html = of_run(&fixture::simplenet());
        assert_eq!(reaches_out(&html), Vec::<&str>::new());
        for wanted in [
            "simplenet-mnist",
            "fc1",
            "softmax",
            "batch 1",
            "cold",
            "700 MHz",
            "1.42 mm²",
            "<svg",
            "Content-Security-Policy",
            "systole run --chip",
            "<th scope=\"col\" class=\"number\">named 9</th>",
        ] {
            assert!(html.contains(wanted), "{wanted} is missing");
        }
        assert_eq!(data(&html)["rows"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn a_sweep_s_page_stands_alone_and_has_every_point_with_its_layers() {
        let results = study();
        let html = of_sweep(&results);
        assert_eq!(reaches_out(&html), Vec::<&str>::new());
        let data = data(&html);
        assert_eq!(data["rows"].as_array().unwrap().len(), results.points.len());
        assert_eq!(data["rows"][0]["parts"].as_array().unwrap().len(), 2, "layers");
        // What needs no script: every row of the table, what failed, what was refused.
        assert_eq!(html.matches("<tr data-row=").count(), results.points.len());
        assert!(html.contains("the array multiplies no N:M weights") && html.contains("could not be drawn"));
        assert!(html.contains(&results.provenance.question));
    }

    #[test]
    fn nothing_that_a_name_says_is_taken_for_markup() {
        let evil = "</script><script>alert(1)</script><img onerror=x>\u{2028}'\"&";
        let mut summary = fixture::simplenet();
        summary.layers[0].name = evil.to_owned();
        summary.network.name = evil.to_owned();
        summary.provenance.command = evil.to_owned();
        let mut results = study();
        for point in &mut results.points {
            point.recipe = evil.to_owned();
            point.reason = point.reason.as_ref().map(|_| evil.to_owned());
            for layer in point.figures.iter_mut().flat_map(|figures| &mut figures.layers) {
                layer.name = evil.to_owned();
            }
        }
        results.provenance.question = evil.to_owned();
        for html in [of_run(&summary), of_sweep(&results)] {
            assert!(!html.contains("<script>alert") && !html.contains("<img"));
            // Two scripts, each closed once: data and code.
            assert_eq!((html.matches("<script").count(), html.matches("</script>").count()), (2, 2));
            assert!(serde_json::to_string(&data(&html)).unwrap().contains("alert(1)"), "the name is there, as data");
        }
    }

    #[test]
    fn the_same_figures_give_the_same_page() {
        assert_eq!(of_run(&fixture::deep(30)), of_run(&fixture::deep(30)));
        assert_eq!(of_sweep(&study()), of_sweep(&study()));
    }

    /// Writes pages to look at into the folder that `SYSTOLE_PICTURES` names.
    #[test]
    fn pages_to_look_at() {
        let Some(folder) = std::env::var_os("SYSTOLE_PICTURES").map(std::path::PathBuf::from) else {
            return;
        };
        std::fs::write(folder.join("run.html"), of_run(&fixture::deep(30))).unwrap();
        std::fs::write(folder.join("sweep.html"), of_sweep(&study())).unwrap();
    }
}
