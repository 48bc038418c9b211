//! The report in a real browser: it is laid out, readable without scripts of its own, and has two
//! themes. Needs `chromium`, so it runs only with the feature `browser`.

#![allow(clippy::unwrap_used)]

mod sample;

use std::{fs, path::Path, process::Command};

use loadtest::{
    compare::{Limits, Strictness, compare},
    report::html,
};
use serde_json::Value;

/// Measures the page in both themes of its own choice, and puts what it finds into the page.
const MEASURE: &str = r##"<script>
const box = (element) => {
  const { width, height } = element.getBoundingClientRect();
  return [width, height];
};
const all = (selector) => [...document.querySelectorAll(selector)];
const measure = () => ({
  paper: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.querySelector("#verdict .says")).color,
  verdict: document.querySelector("#verdict h2").textContent,
  verdictBox: box(document.querySelector("#verdict")),
  tables: all("table").map(box),
  charts: all("svg.chart").map(box),
  lines: all("path.line").map((line) => [
    box(line), getComputedStyle(line).stroke, line.getTotalLength(),
  ]),
  wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
});
const found = { auto: measure() };
for (const theme of ["light", "dark"]) {
  document.getElementById("theme-" + theme).checked = true;
  found[theme] = measure();
}
const pointer = new PointerEvent("pointermove", { clientX: 400, bubbles: true });
document.querySelector("svg.chart").dispatchEvent(pointer);
found.readout = document.querySelector("figure.plot output").textContent;
const out = document.createElement("pre");
out.id = "measured";
out.textContent = "BEGIN" + JSON.stringify(found) + "END";
document.body.append(out);
</script></body>"##;

/// What the system prefers.
#[derive(Clone, Copy)]
enum Prefers {
    Dark,
    Light,
}

/// Opens the page in a window of this width, and returns what was measured there.
fn measured(folder: &Path, page: &str, width: u32, prefers: Prefers) -> Value {
    let path = folder.join("report.html");
    fs::write(&path, page.replace("</body>", MEASURE)).unwrap();
    let scheme = match prefers {
        Prefers::Dark => 0,
        Prefers::Light => 1,
    };
    let out = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-extensions", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--window-size={width},1000"))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("file://{}", path.display()))
        .output()
        .expect("chromium is installed: apt-get install chromium");
    let dom = String::from_utf8_lossy(&out.stdout).into_owned();
    let text = dom.rsplit_once("BEGIN").and_then(|(_, rest)| rest.split_once("END"));
    let Some((text, _)) = text else {
        panic!("nothing measured: {}", String::from_utf8_lossy(&out.stderr));
    };
    serde_json::from_str(&text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
        .unwrap()
}

/// How bright a colour such as `rgb(1, 2, 3)` is, 0 to 255.
fn brightness(color: &Value) -> f64 {
    let color = color.as_str().unwrap();
    let parts = color.split(|character: char| !character.is_ascii_digit());
    let parts: Vec<f64> = parts.filter_map(|part| part.parse().ok()).take(3).collect();
    assert_eq!(parts.len(), 3, "{color}");
    parts.iter().sum::<f64>() / 3.0
}

fn assert_laid_out(theme: &Value, verdict: &str, charts: usize) {
    assert_eq!(theme["verdict"], verdict);
    assert_eq!(theme["wider"], 0, "the page scrolls sideways");
    let sides = |found: &Value| [found[0].as_f64().unwrap(), found[1].as_f64().unwrap()];
    let all = |name: &str| theme[name].as_array().unwrap().clone();
    assert!(sides(&theme["verdictBox"]).iter().all(|side| *side > 50.0));
    assert_eq!(all("charts").len(), charts);
    for part in all("charts").iter().chain(&all("tables")) {
        assert!(sides(part).iter().all(|side| *side > 40.0), "{part}");
    }
    for line in all("lines") {
        assert!(line[2].as_f64().unwrap() > 10.0, "a line without length: {line}");
        assert!(line[1].as_str().unwrap().starts_with("rgb"), "{line}");
    }
}

fn assert_contrast(theme: &Value, prefers: Prefers) {
    let (paper, ink) = (brightness(&theme["paper"]), brightness(&theme["ink"]));
    match prefers {
        Prefers::Light => assert!(paper > 230.0 && ink < 60.0, "{paper} {ink}"),
        Prefers::Dark => assert!(paper < 40.0 && ink > 200.0, "{paper} {ink}"),
    }
    for line in theme["lines"].as_array().unwrap() {
        let distance = (brightness(&line[1]) - paper).abs();
        assert!(distance > 60.0, "a line is hard to see: {line} on {paper}");
    }
}

#[test]
fn pages_are_laid_out_in_both_themes_whether_wide_or_narrow() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (sample::passed(1), sample::slower(2, 1.3));
    let both = compare(("a", &a), ("b", &b), &Limits::default(), Strictness::Refuse);
    let pages = [
        (html::render(&sample::passed(7)), "Passed", 14, "p99"),
        (html::render(&sample::violated(7)), "Violation", 15, "p99"),
        (html::render_comparison(&both, &a, &b), "Worse", a.curves.len(), "B"),
    ];
    for (page, verdict, charts, named) in pages {
        for (width, prefers) in [(1280, Prefers::Dark), (500, Prefers::Light)] {
            let found = measured(folder.path(), &page, width, prefers);
            for theme in ["auto", "light", "dark"] {
                assert_laid_out(&found[theme], verdict, charts);
            }
            assert_contrast(&found["auto"], prefers);
            assert_contrast(&found["light"], Prefers::Light);
            assert_contrast(&found["dark"], Prefers::Dark);
            let readout = found["readout"].as_str().unwrap();
            assert!(readout.contains(named) && readout.contains("ms"), "{readout}");
        }
    }
}
