//! The `crossmodel` command.

mod cli;

use std::process::ExitCode;

/// A request is some hundred small allocations, most of them Pingora's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
