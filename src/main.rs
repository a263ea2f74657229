//! The `crossmodel` command.

mod cli;

use std::process::ExitCode;

/// A request makes some hundred small allocations, most of them in Pingora.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
