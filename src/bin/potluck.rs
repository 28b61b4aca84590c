//! The program: the library of this package with the allocator that it runs best with.

use std::process::ExitCode;

/// Datagrams are allocated on one thread and freed on another all the time, over which the
/// threads of glibc's allocator wait for each other: a tenth of the time of a busy node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    potluck_cli::main()
}
