//! The plot: of each class, which share of the answers had come by when.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::sampling::Class;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/timing");
const SIZE: (u32, u32) = (900, 520);

/// Draws `target/timing/NAME.svg`.
pub(super) fn write(name: &str, classes: &[Class], samples: &[Vec<f64>]) -> Result<PathBuf, Box<dyn Error>> {
    fs::create_dir_all(DIR)?;
    let path = Path::new(DIR).join(format!("{name}.svg"));
    let shares: Vec<_> = samples.iter().map(|sample| shares(sample)).collect();
    let first = shares.iter().filter_map(|points| points.first()).map(|point| point.0).fold(f64::MAX, f64::min);
    // The slowest percent would leave no room for the others.
    let last = shares.iter().map(|points| points[points.len() * 99 / 100].0).fold(first, f64::max);
    {
        let root = SVGBackend::new(&path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("{name}: share of answers by time"), ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d(first..last, 0.0..1.0)?;
        chart.configure_mesh().x_desc("ms").draw()?;
        for (at, (class, points)) in classes.iter().zip(shares).enumerate() {
            let style = Palette99::pick(at).stroke_width(2);
            let inside = points.into_iter().take_while(|point| point.0 <= last);
            chart
                .draw_series(LineSeries::new(inside, style))?
                .label(class.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()?;
        root.present()?;
    }
    Ok(path)
}

/// Milliseconds, and the share of the answers that had come by then.
#[allow(clippy::cast_precision_loss, reason = "counts of samples are far below 2^53")]
fn shares(sample: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    sorted.into_iter().enumerate().map(|(at, micros)| (micros / 1e3, (at + 1) as f64 / count)).collect()
}
