//! What needs no compiler: reading its assembly, counting, and the tables.

pub mod assembly;
pub mod cost;
pub mod table;
