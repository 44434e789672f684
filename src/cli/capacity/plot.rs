//! The plot: hashes/s and latency by lanes, and logins/s by cost.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::{Arguments, Measured, costs};
use crate::hashing::mcf::Cost;

const SIZE: (u32, u32) = (1200, 420);
const COLORS: [RGBColor; 2] = [RGBColor(178, 34, 34), RGBColor(30, 90, 160)];

/// Draws into an SVG file.
pub(super) fn write(
    path: &Path,
    measured: &[Measured],
    (best, cost): (Measured, Cost),
    arguments: &Arguments,
) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let [rates, latencies, logins]: [_; 3] =
        root.split_evenly((1, 3)).try_into().map_err(|_| "the drawing area does not split")?;
    let log_cost = cost.log_rounds();
    by_lanes(
        &rates,
        &format!("hashes/s at cost {log_cost}, by lanes"),
        measured,
        SeriesLabelPosition::LowerRight,
        ("hashes/s", |m| m.hashes_per_second(cost)),
    )?;
    by_lanes(
        &latencies,
        &format!("one hash at cost {log_cost}, by lanes"),
        measured,
        SeriesLabelPosition::UpperLeft,
        ("ms, all lanes busy", |m| m.latency_ms(cost)),
    )?;
    by_cost(&logins, best, arguments)?;
    root.present()?;
    Ok(())
}

/// Logins/s by cost, with a line at the target rate, and a mark at the advised cost.
fn by_cost(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    best: Measured,
    arguments: &Arguments,
) -> Result<(), Box<dyn Error>> {
    let points: Vec<_> = costs().map(|cost| (i32::from(cost.log_rounds()), best.hashes_per_second(cost))).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(()) };
    let mut chart = ChartBuilder::on(area)
        .caption("logins/s, by cost", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(first.0..last.0, (last.1.min(arguments.rate()) / 2.0..first.1 * 2.0).log_scale())?;
    chart.configure_mesh().x_desc("cost").y_desc("logins/s").draw()?;
    let [mark, color] = COLORS;
    chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3))?;
    let target = [first.0, last.0].map(|cost| (cost, arguments.rate()));
    chart
        .draw_series(LineSeries::new(target, mark.stroke_width(1)))?
        .label(format!("{} logins/s wished", arguments.rate()))
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], mark.stroke_width(1)));
    if let Some(cost) = arguments.best_cost(best) {
        let at = (i32::from(cost.log_rounds()), best.hashes_per_second(cost));
        chart
            .draw_series([Circle::new(at, 6, mark.stroke_width(2))])?
            .label(format!("cost {} within {} ms", cost.log_rounds(), arguments.latency()))
            .legend(move |(x, y)| Circle::new((x + 9, y), 5, mark.stroke_width(2)));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperRight).background_style(WHITE).draw()?;
    Ok(())
}

/// One line for each number of engines.
fn by_lanes(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    caption: &str,
    measured: &[Measured],
    legend: SeriesLabelPosition,
    (unit, value): (&str, impl Fn(&Measured) -> f64),
) -> Result<(), Box<dyn Error>> {
    let most_lanes = measured.iter().map(|m| m.lanes).max().unwrap_or(1);
    let top = measured.iter().map(&value).fold(1.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(1..i32::try_from(most_lanes)?, 0.0..top)?;
    chart.configure_mesh().x_desc("lanes").y_desc(unit).draw()?;
    let mut engines: Vec<_> = measured.iter().map(|m| m.engines).collect();
    engines.dedup();
    for (count, color) in engines.into_iter().zip(COLORS) {
        let of_count = measured.iter().filter(|m| m.engines == count);
        let points = of_count.filter_map(|m| Some((i32::try_from(m.lanes).ok()?, value(m))));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))?
            .label(if count == 1 { "1 engine".to_owned() } else { format!("{count} engines") })
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().position(legend).background_style(WHITE).draw()?;
    Ok(())
}
