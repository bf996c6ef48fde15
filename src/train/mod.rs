//! Training on compressed weights.
//!
//! What is here so far is the [data]: files of records, and the sequences of tokens that a model is trained with.

pub mod data;
