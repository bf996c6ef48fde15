//! The result type of commands.

/// The result of a subcommand. An error is printed with its causes, and the exit code is 1.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
