//! How `benches/isa` reads assembly, counts, and compares with what was kept.

mod assembly;
mod cost;
mod table;

#[path = "../../../benches/isa/reading/mod.rs"]
mod reading;
