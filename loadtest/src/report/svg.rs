//! A plot as inline SVG that is as wide as the page lets it be.
//!
//! Along, places are percentages, and the lines lie in an inner drawing that is stretched without
//! its strokes; up, they are pixels. So text keeps its size on every page, a phone's included.

mod labels;

use serde_json::json;

use self::labels::{estimated_width, spread};
use super::{
    markup::{Escaped, put, script_data},
    number,
    scale::{Axis, Rank},
    series::{Point, Series},
    summary::Unit,
};

/// Pixels above the lines: names of phases stand there.
const TOP: f64 = 20.0;
/// Pixels below the lines: ticks stand there.
const BOTTOM: f64 = 24.0;
/// Units of the inner drawing along.
const ALONG: f64 = 1_000.0;
/// About how wide the lines are drawn on a phone, in pixels.
const NARROW_PX: f64 = 220.0;
/// Numbers of events that are nearer than this would be drawn over each other.
const MARK_PX: f64 = 14.0;

/// A plot with everything that is said about it.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// Names it within the page: letters, digits and hyphens.
    pub(super) id: String,
    /// What it shows.
    pub(super) title: String,
    /// How to read it, in a sentence.
    pub(super) help: String,
    /// Along.
    pub(super) x: Axis,
    /// Up.
    pub(super) y: Axis,
    /// What the values up are.
    pub(super) unit: Unit,
    /// How high the lines may go, in pixels.
    pub(super) height: f64,
    /// How much of the page's width it has.
    pub(super) width: Width,
    /// The lines.
    pub(super) series: Vec<Series>,
    /// Stretches of x with names.
    pub(super) bands: Vec<Band>,
    /// Moments.
    pub(super) marks: Vec<Mark>,
    /// Bounds that were set.
    pub(super) bounds: Vec<Bound>,
}

/// How much of a wide page's width a plot has; on a phone, each has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// All of it.
    Whole,
    /// It stands beside another.
    Half,
}

impl Width {
    fn class(self) -> &'static str {
        match self {
            Self::Whole => "plot",
            Self::Half => "plot half",
        }
    }

    /// About how wide the lines are drawn on a wide page, in pixels.
    fn wide_px(self) -> f64 {
        match self {
            Self::Whole => 800.0,
            Self::Half => 320.0,
        }
    }
}

/// A stretch of x with a name, such as a phase.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Band {
    /// From this x.
    pub(super) from: f64,
    /// To this x.
    pub(super) to: f64,
    /// Its name.
    pub(super) name: String,
    /// Stands for the name where there is no room.
    pub(super) short: String,
    /// `measured` or `unmeasured`: the class of the style sheet.
    pub(super) style: &'static str,
}

/// A moment at which something happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    /// When.
    pub(super) x: f64,
    /// The number of the event in its list; empty when there is no room.
    pub(super) label: String,
    /// What happened.
    pub(super) text: String,
}

/// A bound that was set, over a stretch of x.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bound {
    /// From this x.
    pub(super) from: f64,
    /// To this x; the same for a point of a curve.
    pub(super) to: f64,
    /// How much is allowed.
    pub(super) y: f64,
    /// What it bounds, such as `p99 ≤ 20 ms`.
    pub(super) text: String,
}

impl Plot {
    /// The plot as a `figure`; a sentence in its place when there is nothing to draw.
    #[must_use]
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        put!(
            out,
            "<figure class=\"{}\" id=\"{}\"><figcaption><h4>{}</h4><output></output><p>{}</p>\
             </figcaption>",
            self.width.class(),
            self.id,
            Escaped(&self.title),
            Escaped(&self.help),
        );
        if self.series.iter().all(Series::is_empty) {
            out.push_str("<p class=\"nothing\">Nothing of this kind was seen.</p></figure>\n");
            return out;
        }
        self.drawing(&mut out);
        put!(
            out,
            "<script type=\"application/json\">{}</script></figure>\n",
            script_data(&self.for_script()),
        );
        out
    }

    fn drawing(&self, out: &mut String) {
        let id = &self.id;
        put!(
            out,
            "<svg class=\"chart\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" height=\"{}\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
            TOP + self.height + BOTTOM,
            Escaped(&self.title),
            Escaped(&self.description()),
        );
        self.draw_bands(out);
        self.draw_axes(out);
        self.draw_marks(out);
        self.draw_lines(out);
        self.draw_bounds(out);
        self.draw_names(out);
        put!(
            out,
            "<line class=\"cursor\" x1=\"0\" x2=\"0\" y1=\"{TOP}\" y2=\"{}\"/></svg>",
            TOP + self.height,
        );
    }

    /// The plot in words, for those who do not see it.
    fn description(&self) -> String {
        let mut out = self.help.clone();
        for series in self.series.iter().filter(|series| !series.is_empty()) {
            let least = series.values().fold(f64::INFINITY, f64::min);
            let greatest = series.values().fold(f64::NEG_INFINITY, f64::max);
            put!(
                out,
                " {}: from {} to {}.",
                series.name,
                number::of(self.unit, least),
                number::of(self.unit, greatest),
            );
        }
        out
    }

    fn draw_bands(&self, out: &mut String) {
        for band in &self.bands {
            let (from, to) = (self.x.place(band.from), self.x.place(band.to));
            put!(
                out,
                "<rect class=\"band {0}\" x=\"{1}\" width=\"{2}\" y=\"0\" height=\"{3}\"/>\
                 <line class=\"edge\" x1=\"{1}\" x2=\"{1}\" y1=\"0\" y2=\"{3}\"/>",
                band.style,
                share(from),
                share(to - from),
                TOP + self.height,
            );
        }
    }

    fn draw_axes(&self, out: &mut String) {
        for tick in &self.y.ticks {
            let y = self.up(tick.place);
            put!(
                out,
                "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>\
                 <text class=\"tick\" x=\"0\" dx=\"-8\" y=\"{}\" text-anchor=\"end\">{}</text>",
                y + 4.0,
                Escaped(&tick.label),
            );
        }
        let base = TOP + self.height;
        put!(out, "<line class=\"base\" x1=\"0\" x2=\"100%\" y1=\"{base}\" y2=\"{base}\"/>",);
        for tick in &self.x.ticks {
            let class = match tick.rank {
                Rank::Major => "tick",
                Rank::Minor => "tick minor",
            };
            put!(
                out,
                "<line class=\"notch\" x1=\"{0}\" x2=\"{0}\" y1=\"{base}\" y2=\"{1}\"/>\
                 <text class=\"{class}\" x=\"{0}\" y=\"{2}\" text-anchor=\"middle\">{3}</text>",
                share(tick.place),
                base + 4.0,
                base + 18.0,
                Escaped(&tick.label),
            );
        }
        if !self.x.title.is_empty() {
            put!(
                out,
                "<text class=\"tick axis\" x=\"100%\" dx=\"26\" y=\"{}\">{}</text>",
                base + 18.0,
                Escaped(self.x.title),
            );
        }
    }

    fn draw_marks(&self, out: &mut String) {
        let mut labelled = f64::NEG_INFINITY;
        for mark in &self.marks {
            let along = self.x.place(mark.x) * self.width.wide_px();
            let x = share(self.x.place(mark.x));
            put!(
                out,
                "<g class=\"mark\"><title>{}</title>\
                 <line x1=\"{x}\" x2=\"{x}\" y1=\"{TOP}\" y2=\"{}\"/>",
                Escaped(&mark.text),
                TOP + self.height,
            );
            if !mark.label.is_empty() && along - labelled >= MARK_PX {
                labelled = along;
                put!(
                    out,
                    "<text x=\"{x}\" dx=\"3\" y=\"{}\">{}</text>",
                    TOP + 9.0,
                    Escaped(&mark.label),
                );
            }
            out.push_str("</g>");
        }
    }

    fn draw_lines(&self, out: &mut String) {
        put!(
            out,
            "<svg class=\"lines\" viewBox=\"0 0 {ALONG} {0}\" preserveAspectRatio=\"none\" \
             x=\"0\" y=\"{TOP}\" width=\"100%\" height=\"{0}\">",
            self.height,
        );
        for series in &self.series {
            put!(
                out,
                "<path class=\"line {}\" d=\"{}\"/>",
                series.style,
                self.path(&series.points)
            );
        }
        out.push_str("</svg>");
    }

    /// A line through the points; a point between two gaps is a dot.
    fn path(&self, points: &[Point]) -> String {
        let mut out = String::new();
        for run in points.split(|point| point.y.is_none()).filter(|run| !run.is_empty()) {
            for (place, point) in run.iter().enumerate() {
                let command = if place == 0 { 'M' } else { 'L' };
                let along = self.x.place(point.x) * ALONG;
                let up = self.up(self.y.place(point.y.unwrap_or_default())) - TOP;
                put!(out, "{command}{along:.1} {up:.1}");
            }
            if run.len() == 1 {
                out.push_str("h0");
            }
        }
        out
    }

    fn draw_bounds(&self, out: &mut String) {
        for bound in &self.bounds {
            let (from, to) = (self.x.place(bound.from), self.x.place(bound.to));
            let y = self.up(self.y.place(bound.y));
            put!(out, "<g class=\"bound\"><title>{}</title>", Escaped(&bound.text));
            if from < to {
                put!(
                    out,
                    "<line x1=\"{}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/></g>",
                    share(from),
                    share(to),
                );
            } else {
                // A gate the curve must pass below.
                put!(
                    out,
                    "<svg x=\"{}\" y=\"{y}\" width=\"1\" height=\"1\" overflow=\"visible\">\
                     <path d=\"M-7 0H7M0 0V-7\"/></svg>\
                     <text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\">{2}</text></g>",
                    share(from),
                    y - 11.0,
                    Escaped(&bound.text),
                );
            }
        }
    }

    fn draw_names(&self, out: &mut String) {
        for band in &self.bands {
            let width = self.x.place(band.to) - self.x.place(band.from);
            let fits = |page_px: f64| estimated_width(&band.name) + 8.0 <= width * page_px;
            let text = |class: &str, text: &str| {
                format!(
                    "<text class=\"name {} {class}\" x=\"{}\" dx=\"5\" y=\"13\">{}</text>",
                    band.style,
                    share(self.x.place(band.from)),
                    Escaped(text),
                )
            };
            match (fits(self.width.wide_px()), fits(NARROW_PX)) {
                (_, true) => out.push_str(&text("", &band.name)),
                (true, false) => {
                    out.push_str(&text("wide", &band.name));
                    out.push_str(&text("narrow", &band.short));
                }
                (false, false) => out.push_str(&text("", &band.short)),
            }
        }
        let named: Vec<_> = self
            .series
            .iter()
            .filter_map(|series| Some((series, self.up(self.y.place(series.last()?)))))
            .collect();
        let wanted: Vec<_> = named.iter().map(|(_, y)| *y).collect();
        for ((series, _), y) in named.iter().zip(spread(&wanted, TOP + 4.0, TOP + self.height)) {
            put!(
                out,
                "<text class=\"label {}\" x=\"{}\" dx=\"8\" y=\"{:.1}\">{}</text>",
                series.style,
                share(self.x.place(series.end().unwrap_or_default())),
                y + 4.0,
                Escaped(&series.name),
            );
        }
    }

    fn for_script(&self) -> serde_json::Value {
        let lines: Vec<_> = self
            .series
            .iter()
            .filter(|series| !series.is_empty())
            .map(|series| {
                let points: Vec<_> = series
                    .points
                    .iter()
                    .map(|point| {
                        json!([
                            (self.x.place(point.x) * ALONG * 10.0).round() / 10.0,
                            point.y.map(|y| (y * 1e3).round() / 1e3),
                        ])
                    })
                    .collect();
                json!([series.name, points])
            })
            .collect();
        json!({ "x": self.x.for_script(), "unit": self.unit, "lines": lines })
    }

    /// Pixels from the top.
    fn up(&self, place: f64) -> f64 {
        ((TOP + self.height * (1.0 - place)) * 10.0).round() / 10.0
    }
}

/// A place along, as SVG wants it.
fn share(place: f64) -> String {
    format!("{:.2}%", place * 100.0)
}
