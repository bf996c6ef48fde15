//! What commands return.

/// What a subcommand returns: an error is printed with its causes, and the exit code is 1.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
