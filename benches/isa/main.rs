//! What Mesa's compiler for AMD's GPUs makes of the kernels, on a machine without such a GPU: registers, subgroups,
//! code, and the instructions a weight in the loop over weights, beside those that a device has time for.
//!
//! `benches/isa/run` starts it for each GPU, and `scripts/check_isa` with what was kept:
//!
//!     isa                 a table of the variants that a GPU is given
//!     isa --all           of every variant
//!     isa --key           of those whose figures are kept
//!     isa --assembly KERNEL
//!                         what one of them is compiled to
//!     isa --rooms         the room of devices; compiles nothing
//!     isa --check PAGE    compares with the table that the page has; 1 where something is worse, 77 where Mesa is another

#[cfg(target_os = "linux")]
mod compile;
#[cfg(target_os = "linux")]
mod key;
#[cfg(target_os = "linux")]
#[path = "../../tests/fixtures/null_device/mod.rs"]
mod null_device;
#[cfg(target_os = "linux")]
mod reading;
#[cfg(target_os = "linux")]
mod room;
#[cfg(target_os = "linux")]
mod subject;
#[cfg(target_os = "linux")]
#[path = "../../tests/fixtures/translation/mod.rs"]
mod translation;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments == ["--rooms"] {
        print!("{}", room::table());
        return ExitCode::SUCCESS;
    }
    let Ok(family) = std::env::var("RADV_FORCE_FAMILY") else {
        println!("benches/isa/run compiles the kernels for AMD's GPUs");
        return ExitCode::SUCCESS;
    };
    let compiler = compile::Compiler::open(&family);
    match arguments[..] {
        [] => print!("{}", compiler.table(&compile::given())),
        ["--all"] => print!("{}", compiler.table(&bantam::gpu::kernels::variants())),
        ["--key"] => print!("{}", compiler.table(&key::variants())),
        ["--assembly", kernel] => print!("{}", compiler.assembly(kernel)),
        ["--check", page] => return compiler.check(page),
        _ => {
            panic!("isa [--all | --key | --assembly KERNEL | --rooms | --check PAGE], and not {arguments:?}")
        }
    }
    ExitCode::SUCCESS
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("the kernels are compiled for AMD's GPUs on Linux only");
    ExitCode::SUCCESS
}
