//! A picture as SVG: lines and points over linear or logarithmic axes. Colours are classes of the page.

use std::fmt::Write as _;

use super::html::escaped;
use super::{Axis, Line, Plot, Style, number};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Colours that the page has.
const COLOURS: usize = 8;

/// One axis with the numbers that it spans.
struct Span {
    low: f64,
    high: f64,
    log: bool,
}

impl Span {
    fn of(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let shown = values.filter(|value| value.is_finite() && (!axis.log || *value > 0.0));
        let (mut low, mut high) =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), it| (a.min(it), b.max(it)));
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        if axis.log {
            low = 10f64.powf(low.log10().floor());
            high = 10f64.powf(high.log10().ceil()).max(low * 10.0);
        } else {
            low = low.min(0.0);
            let step = step(high - low);
            high = (high / step).ceil().max(low / step + 1.0) * step;
            low = (low / step).floor() * step;
        }
        Self { low, high, log: axis.log }
    }

    /// Where a value lies, from 0 to 1; `None` if it cannot be shown.
    fn place(&self, value: f64) -> Option<f64> {
        if !value.is_finite() || (self.log && value <= 0.0) {
            return None;
        }
        let place = if self.log {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        Some(place)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.high / self.low).log10().round() as i32;
            let every = (decades / 8 + 1).max(1);
            return (0..=decades)
                .step_by(every as usize)
                .map(|it| self.low * 10f64.powi(it))
                .collect();
        }
        let step = step(self.high - self.low);
        let count = ((self.high - self.low) / step).round() as i32;
        (0..=count.min(20)).map(|it| self.low + step * f64::from(it)).collect()
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides a span into about five.
fn step(span: f64) -> f64 {
    let rough = (span / 5.0).max(1e-12);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|it| it * power).find(|it| *it >= rough).unwrap_or(10.0 * power)
}

fn label(value: f64, log: bool) -> String {
    if value.abs() >= 1e5 || (log && value < 1e-3) {
        let power = value.abs().log10().floor();
        let head = value / 10f64.powf(power);
        let head =
            if (head - 1.0).abs() < 1e-6 { String::new() } else { format!("{}·", number(head)) };
        return format!("{head}10<tspan dy=\"-4\" font-size=\"8\">{power}</tspan>");
    }
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.fract() == 0.0 { number(rounded) } else { format!("{rounded}") }
}

/// The picture.
pub(super) fn svg(plot: &Plot) -> String {
    let xs = plot.lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
    let ys = plot.lines.iter().flat_map(|line| {
        let ranges = line.ranges.iter().flat_map(|range| [range.0, range.1]);
        line.points.iter().map(|point| point.1).chain(ranges)
    });
    let frame = Frame { x: Span::of(&plot.x, xs), y: Span::of(&plot.y, ys) };
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escaped(&plot.title)
    );
    frame.axes(&mut out, plot);
    for (at, line) in plot.lines.iter().enumerate() {
        frame.line(&mut out, line, at % COLOURS);
    }
    out.push_str("</svg>");
    legend(&mut out, plot);
    out
}

struct Frame {
    x: Span,
    y: Span,
}

impl Frame {
    fn at(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (x, y) = (self.x.place(x)?, self.y.place(y)?);
        Some((LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)))
    }

    fn axes(&self, out: &mut String, plot: &Plot) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.y.ticks() {
            let Some((_, y)) = self.at(self.x.low, tick) else { continue };
            let (text, below) = (label(tick, self.y.log), y + 4.0);
            let _ = write!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            let _ = write!(out, "<text x=\"58\" y=\"{below:.1}\" class=\"end\">{text}</text>");
        }
        for tick in self.x.ticks() {
            let Some((x, _)) = self.at(tick, self.y.low) else { continue };
            let text = label(tick, self.x.log);
            let _ = write!(out, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>");
            let _ = write!(out, "<text x=\"{x:.1}\" y=\"294\" class=\"mid\">{text}</text>");
        }
        let _ = write!(out, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let (x, y) = (escaped(&plot.x.name), escaped(&plot.y.name));
        let _ = write!(out, "<text x=\"286\" y=\"314\" class=\"mid\">{x}</text>");
        let _ = write!(
            out,
            "<text x=\"0\" y=\"0\" class=\"mid\" transform=\"translate(13 144) rotate(-90)\">{y}</text>"
        );
    }

    fn line(&self, out: &mut String, line: &Line, colour: usize) {
        let mut path = String::new();
        let mut marks = String::new();
        let mut open = false;
        for (place, point) in line.points.iter().enumerate() {
            let Some((x, y)) = self.at(point.0, point.1) else {
                open = false;
                continue;
            };
            let _ = write!(path, "{}{x:.1} {y:.1}", if open { 'L' } else { 'M' });
            open = true;
            let _ = write!(
                marks,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}: {}, {}</title></circle>",
                escaped(&line.name),
                number(point.0),
                number(point.1)
            );
            let range = line.ranges.get(place).filter(|range| range.1 > range.0);
            let ends = range.and_then(|(low, high)| {
                Some((self.at(point.0, *low)?.1, self.at(point.0, *high)?.1))
            });
            if let Some((low, high)) = ends {
                let _ = write!(marks, "<path d=\"M{x:.1} {low:.1}V{high:.1}\"/>");
            }
        }
        let class = match line.style {
            Style::Measured | Style::Points => "measured",
            Style::Formula => "formula",
            Style::Extrapolated => "dashed",
        };
        let _ = write!(out, "<g class=\"{class} c{colour}\">");
        if line.style != Style::Points && !path.is_empty() {
            let _ = write!(out, "<path d=\"{path}\"/>");
        }
        if matches!(line.style, Style::Measured | Style::Points) {
            out.push_str(&marks);
        }
        out.push_str("</g>");
    }
}

fn legend(out: &mut String, plot: &Plot) {
    out.push_str("<ul class=\"legend\">");
    for (at, line) in plot.lines.iter().enumerate() {
        let (mark, note) = match line.style {
            Style::Measured => ("&#9679;&#8212;", ""),
            Style::Points => ("&#9679;", ""),
            Style::Formula => ("&#8212;", " (formula)"),
            Style::Extrapolated => ("- -", " (not measured)"),
        };
        let name = escaped(&line.name);
        let _ = write!(out, "<li><b class=\"c{}\">{mark}</b> {name}{note}</li>", at % COLOURS);
    }
    out.push_str("</ul>");
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn each_style_is_drawn_and_what_cannot_be_shown_is_left_out() {
        let mut plot = example().plots[0].clone();
        plot.lines[0].points.push((0.0, 1.0));
        plot.lines[0].points.push((1e6, f64::NAN));
        let text = svg(&plot);
        assert_eq!(text.matches("<g class=").count(), 4);
        assert_eq!(text.matches("<circle").count(), 6, "measured and points");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(text.contains("&lt;&amp;&gt;") && !text.contains("<&>"));
    }

    #[test]
    fn axes_hold_all_values_and_have_round_ticks() {
        let log = Span::of(&Axis { name: String::new(), log: true }, [30.0, 5e6].into_iter());
        assert_eq!((log.low, log.high), (10.0, 1e7));
        let line = Span::of(&Axis::default(), [0.0, 23.0].into_iter());
        assert_eq!(line.ticks(), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
        let none = Span::of(&Axis::default(), std::iter::empty());
        assert!(none.high > none.low);
    }
}
