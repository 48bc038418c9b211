//! The program `posthorn`.

/// Memory is allocated by one thread and freed by another all along the path of an envelope.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    node::main()
}
