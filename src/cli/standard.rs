//! Names of standard input and standard output.

use std::path::Path;

/// Other names of standard input. What is opened by them begins where the shell has come to in some systems,
/// and at the start of the file in others.
const STDIN: [&str; 4] = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];

/// Other names of standard output. To give one of them to a finished file would replace it.
const STDOUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// Whether `path` stands for standard input.
pub fn is_stdin(path: &Path) -> bool {
    STDIN.iter().any(|name| path == Path::new(name))
}

/// Whether `path` stands for standard output.
pub fn is_stdout(path: &Path) -> bool {
    STDOUT.iter().any(|name| path == Path::new(name))
}
