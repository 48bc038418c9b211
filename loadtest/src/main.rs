//! The binary `loadtest`.

fn main() -> std::process::ExitCode {
    loadtest::main()
}
