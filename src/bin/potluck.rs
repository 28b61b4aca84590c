//! The program: the library of this package with the allocator that is fastest for it.

use std::process::ExitCode;

/// Datagrams are allocated on one thread and freed on another. With glibc's allocator the threads then wait
/// for each other, which takes a tenth of the time of a busy node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    potluck_cli::main()
}
