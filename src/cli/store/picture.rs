//! A picture of a store: its families, and the models of each.

use bantam::store::{Family, Stats};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::cli::{Result, sizes};

/// Height of a model's line, and of what is free below a family, in pixels.
const LINE: i32 = 18;
const GAP: i32 = 26;

/// Where the store, the families and the models begin, and the width of the picture and of the largest family's bar.
const STORE: i32 = 12;
const FAMILIES: i32 = 190;
const MODELS: i32 = 560;
const WIDTH: u32 = 960;
const BAR: f64 = 300.0;

/// Most models of a family that are named.
const MOST_NAMED: usize = 40;

/// Draws a tree, from the store to its families and on to their models, as the text of an SVG file. The bar of a family
/// is as long as its files are large, and filled as far as they are stored.
pub fn tree(name: &str, stats: &Stats) -> Result<String> {
    let lines = |family: &Family| family.models.len().clamp(2, MOST_NAMED + 1) as i32;
    let height = 2 * GAP + stats.families.iter().map(|family| lines(family) * LINE + GAP).sum::<i32>();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let middle = height / 2;
        let said = format!("{} models", stats.models);
        let change = sizes::change(stats.original_bytes, stats.stored_bytes);
        write(&area, (STORE, middle - LINE), name)?;
        write(&area, (STORE, middle), &said)?;
        write(&area, (STORE, GAP / 2), &change)?;
        let largest = stats.families.iter().map(|family| family.original_bytes).max().unwrap_or(0).max(1);
        let mut top = 2 * GAP;
        for family in &stats.families {
            let bottom = top + lines(family) * LINE;
            line(&area, (STORE + 130, middle), (FAMILIES, (top + bottom) / 2))?;
            draw_family(&area, family, largest, [top, bottom])?;
            top = bottom + GAP;
        }
        area.present().map_err(failed)?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn failed(error: impl std::fmt::Display) -> String {
    format!("cannot draw the picture: {error}")
}

fn draw_family(area: &Area<'_>, family: &Family, largest: u64, [top, bottom]: [i32; 2]) -> Result<()> {
    let middle = (top + bottom) / 2;
    let length = |bytes: u64| (BAR * bytes as f64 / largest as f64).ceil() as i32;
    let (whole, stored) = (length(family.original_bytes), length(family.stored_bytes));
    for (length, style) in [(stored, BLUE.filled()), (whole, BLUE.stroke_width(1))] {
        let corners = [(FAMILIES, middle - 7), (FAMILIES + length, middle + 7)];
        area.draw(&Rectangle::new(corners, style)).map_err(failed)?;
    }
    let (from, to) = (sizes::megabytes(family.original_bytes), sizes::megabytes(family.stored_bytes));
    write(area, (FAMILIES, middle - 18), &format!("{from} in {to}"))?;
    let more = family.models.len().saturating_sub(MOST_NAMED);
    let named = family.models.iter().take(MOST_NAMED).cloned();
    let rest = (more > 0).then(|| format!("and {more} more"));
    for (i, name) in named.chain(rest).enumerate() {
        let y = top + i as i32 * LINE + LINE / 2;
        line(area, (FAMILIES + whole, middle), (MODELS - 6, y))?;
        write(area, (MODELS, y), &name)?;
    }
    Ok(())
}

fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32)) -> Result<()> {
    let grey = RGBColor(170, 170, 170);
    Ok(area.draw(&PathElement::new(vec![from, to], grey)).map_err(failed)?)
}

/// Writes text with the middle of its left side at `at`.
fn write(area: &Area<'_>, at: (i32, i32), text: &str) -> Result<()> {
    let style = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    Ok(area.draw(&Text::new(text.to_string(), at, style)).map_err(failed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_models_are_counted_and_text_is_text() {
        let family = |models: usize| Family {
            models: (0..models).map(|i| format!("model-{i}@1")).collect(),
            original_bytes: 1000 * models as u64,
            stored_bytes: 400 * models as u64,
        };
        let stats = Stats { models: 46, families: vec![family(45), family(1)], ..Stats::default() };
        let drawn = tree("a <b> & c", &stats).unwrap();
        assert!(
            drawn.contains("model-39@1") && !drawn.contains("model-40@1") && drawn.contains("and 5 more")
        );
        assert!(drawn.contains("a &lt;b&gt; &amp; c"), "{drawn}");
        assert!(tree("empty", &Stats::default()).unwrap().contains("0 models"));
    }
}
