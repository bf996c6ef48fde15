//! A picture of the losses of a training run.

use std::path::Path;

use bantam::train::LogEntry;
use plotters::prelude::*;

use super::Result;

/// Width and height in pixels.
const SIZE: (u32, u32) = (800, 480);

/// Draws the losses of all steps, and those of the validation data, to an SVG file.
pub fn draw(path: &Path, log: &[LogEntry]) -> Result<()> {
    let valid: Vec<(u64, f64)> = log.iter().filter_map(|e| Some((e.step, e.valid_loss?))).collect();
    let all = log.iter().map(|e| e.loss).chain(valid.iter().map(|&(_, loss)| loss));
    let (least, most) =
        all.fold((f64::MAX, f64::MIN), |(least, most), loss| (least.min(loss), most.max(loss)));
    let margin = ((most - least) * 0.05).max(1e-3);
    let steps = log.last().map_or(1, |e| e.step).max(2);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| format!("cannot draw {}: {error}", path.display());
    area.fill(&WHITE).map_err(|e| failed(&e))?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(1..steps, least - margin..most + margin)
        .map_err(|e| failed(&e))?;
    chart.configure_mesh().x_desc("step").y_desc("loss, nats a token").draw().map_err(|e| failed(&e))?;
    let losses = LineSeries::new(log.iter().map(|e| (e.step, e.loss)), &BLUE);
    let label = |color: RGBColor| move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], color);
    chart.draw_series(losses).map_err(|e| failed(&e))?.label("training").legend(label(BLUE));
    if !valid.is_empty() {
        let losses = LineSeries::new(valid.iter().copied(), RED.stroke_width(2)).point_size(2);
        chart.draw_series(losses).map_err(|e| failed(&e))?.label("validation").legend(label(RED));
    }
    let mut labels = chart.configure_series_labels();
    labels.background_style(WHITE).border_style(BLACK).draw().map_err(|e| failed(&e))?;
    area.present().map_err(|e| failed(&e).into())
}
