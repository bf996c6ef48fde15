//! The table: rows, how they are written, read back and compared.

use std::fmt;

use super::cost::Cost;

/// Around the tables that are kept.
pub const MARKERS: [&str; 2] = ["<!-- isa: tables -->", "<!-- isa: end -->"];

const HEADER: &str = "\
| kernel | registers | subgroups | code, bytes | instructions | a weight | vector | loads | room |
|---|---|---|---|---|---|---|---|---|";

/// What a count may grow by, as a factor.
const MOST_GROWTH: f64 = 1.1;

/// A kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub kernel: String,
    /// Vector registers.
    pub registers: u64,
    /// As many as a SIMD has room for.
    pub subgroups: u64,
    pub code_bytes: u64,
    /// In the whole kernel.
    pub instructions: u64,
    pub cost: Option<Cost>,
    pub room: Option<f64>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, registers, subgroups, code_bytes, instructions, cost, room } = self;
        let figure =
            |value: Option<f64>, digits| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        let all = figure(cost.map(|cost| cost.all), 2);
        let vector = figure(cost.map(|cost| cost.vector), 2);
        let loads = figure(cost.map(|cost| cost.loads), 2);
        let room = figure(*room, 0);
        write!(f, "| `{kernel}` | {registers} | {subgroups} | {code_bytes} | {instructions} ")?;
        write!(f, "| {all} | {vector} | {loads} | {room} |")
    }
}

/// The table of a GPU in Markdown, as [`Kept::read`] finds it. `device` is the one whose room it has.
pub fn write(family: &str, driver: &str, device: Option<&str>, rows: &[Row]) -> String {
    let room = device.map(|device| format!("; the room is that of {device}")).unwrap_or_default();
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    format!("### {family}\n\n{driver}{room}.\n\n{HEADER}\n{rows}")
}

/// A table that was kept.
#[derive(Debug, PartialEq)]
pub struct Kept {
    /// The driver and its version.
    pub driver: String,
    pub rows: Vec<KeptRow>,
}

/// What is compared of a row that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptRow {
    pub kernel: String,
    pub instructions: f64,
    pub a_weight: Option<f64>,
}

impl Kept {
    /// Finds the table of a GPU between the markers of a page.
    pub fn read(page: &str, family: &str) -> Option<Self> {
        let (_, tables) = page.split_once(MARKERS[0])?;
        let (tables, _) = tables.split_once(MARKERS[1])?;
        let (_, table) = tables.split_once(&format!("### {family}\n"))?;
        let mut lines = table.lines().take_while(|line| !line.starts_with("###"));
        let driver = lines.find(|line| !line.is_empty())?;
        let driver = driver.split(';').next()?.trim_end_matches('.').into();
        Some(Self { driver, rows: lines.filter_map(KeptRow::read).collect() })
    }

    /// Whether another driver's counts can be compared with these: its version is the same but for the last part.
    pub fn is_of(&self, driver: &str) -> bool {
        let release = |driver: &str| driver.split('.').take(2).map(String::from).collect::<Vec<_>>();
        release(&self.driver) == release(driver)
    }
}

impl KeptRow {
    fn read(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let kernel = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some(Self {
            kernel: kernel.into(),
            instructions: cells.get(5)?.parse().ok()?,
            a_weight: cells.get(6)?.parse().ok(),
        })
    }

    /// What is worse in `now`, if something is.
    pub fn worse(&self, now: &Row) -> Option<String> {
        let (what, before, after) = match (self.a_weight, now.cost) {
            (Some(before), Some(cost)) => ("instructions a weight", before, cost.all),
            (Some(_), None) => return Some(format!("{}: the loop over weights is not found", self.kernel)),
            (None, _) => ("instructions", self.instructions, now.instructions as f64),
        };
        let rounded = (after * 100.0).round() / 100.0;
        (after > before * MOST_GROWTH).then(|| format!("{}: {what} {before} -> {rounded}", self.kernel))
    }
}
