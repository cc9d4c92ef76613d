//! Latency over throughput, as an SVG picture.

use super::drive::Phase;
use super::report::Report;
use std::fmt::Write as _;

/// The picture's size and the place of the axes in it, in pixels.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;

/// The percentiles that are drawn, with their colours.
const CURVES: [(&str, &str); 2] = [("p50", "#1f77b4"), ("p99", "#d62728")];

/// From figures to pixels.
struct Scale {
    rate_max: f64,
    /// The powers of ten, in milliseconds, at the bottom and the top: the axis is logarithmic.
    decades: (i32, i32),
}

impl Scale {
    fn x(&self, rate: f64) -> f64 {
        LEFT + rate / self.rate_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, ms: f64) -> f64 {
        let (low, high) = self.decades;
        let share = (ms.log10() - f64::from(low)) / f64::from(high - low);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// Draws the phases with a fixed rate: executed transfers a second to the right, latency upwards, and the bound by signatures.
pub fn draw(report: &Report) -> String {
    let points: Vec<&Phase> = report.partial_load.iter().chain([&report.overload]).collect();
    let latencies = points.iter().flat_map(|phase| [phase.latency_ms.p50, phase.latency_ms.p99]);
    let (least, most) = latencies.fold((100.0_f64, 100.0_f64), |(least, most), ms| (least.min(ms), most.max(ms)));
    let decades = (least.max(1.0).log10().floor() as i32, (most * 1.1).log10().ceil() as i32);
    let scale = Scale { rate_max: round_up(report.signature_bound_per_second * 1.05), decades };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let title = format!(
        "{} validators on {} cores, {} accounts: latency from the intended send to final",
        report.validators, report.machine.cores, report.accounts
    );
    text(&mut svg, (WIDTH / 2.0, 24.0), "middle", "#000", &title);
    axes(&mut svg, &scale);
    vertical(&mut svg, &scale, report.signature_bound_per_second, "#555", "signatures alone");
    vertical(&mut svg, &scale, report.saturated.executed_per_second, "#2ca02c", "saturated");
    for (index, (name, colour)) in CURVES.into_iter().enumerate() {
        let place = |phase: &Phase| {
            let ms = if index == 0 { phase.latency_ms.p50 } else { phase.latency_ms.p99 };
            (scale.x(phase.executed_per_second), scale.y(ms.max(1.0)))
        };
        curve(&mut svg, points.iter().map(|phase| place(phase)), colour);
        let (x, y) = place(points[0]);
        text(&mut svg, (x, y - 10.0), "middle", colour, name);
    }
    svg += "</svg>\n";
    svg
}

fn axes(svg: &mut String, scale: &Scale) {
    let (low, high) = scale.decades;
    for decade in low..=high {
        let ms = 10_f64.powi(decade);
        line(svg, (LEFT, scale.y(ms)), (WIDTH - RIGHT, scale.y(ms)), "#ddd");
        text(svg, (LEFT - 8.0, scale.y(ms) + 4.0), "end", "#000", &format!("{ms} ms"));
    }
    for step in 0..=5 {
        let rate = scale.rate_max * f64::from(step) / 5.0;
        line(svg, (scale.x(rate), TOP), (scale.x(rate), HEIGHT - BOTTOM), "#eee");
        text(svg, (scale.x(rate), HEIGHT - BOTTOM + 18.0), "middle", "#000", &format!("{rate:.0}"));
    }
    line(svg, (LEFT, TOP), (LEFT, HEIGHT - BOTTOM), "#000");
    line(svg, (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM), "#000");
    let middle = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 18.0);
    text(
        svg,
        middle,
        "middle",
        "#000",
        "transfers a second, final and executed on all validators; last point: twice the load",
    );
}

fn vertical(svg: &mut String, scale: &Scale, rate: f64, colour: &str, label: &str) {
    line(svg, (scale.x(rate), TOP), (scale.x(rate), HEIGHT - BOTTOM), colour);
    text(svg, (scale.x(rate) - 4.0, TOP - 6.0), "end", colour, &format!("{label} {rate:.0}/s"));
}

fn curve(svg: &mut String, places: impl Iterator<Item = (f64, f64)>, colour: &str) {
    let places: Vec<_> = places.collect();
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ =
        writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", path.join(" "));
    for (x, y) in places {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, colour: &str, text: &str) {
    let (x, y) = at;
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>");
}

/// To one, two or five times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|round| *round >= value).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_figures() {
        for (value, expected) in [(0.0, 1.0), (1.0, 1.0), (1.5, 2.0), (21_000.0, 50_000.0), (51_000.0, 100_000.0)] {
            assert_eq!(round_up(value), expected, "{value}");
        }
    }
}
