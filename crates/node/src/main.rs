//! The program `posthorn`.

fn main() -> std::process::ExitCode {
    node::main()
}
