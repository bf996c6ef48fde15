//! bantam
