//! The thin binary; all of it is in the library.

fn main() -> std::process::ExitCode {
    felix_rs::cli::main()
}
