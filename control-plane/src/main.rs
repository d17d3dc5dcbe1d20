//! The program: see [`control_plane`].

fn main() -> std::process::ExitCode {
    control_plane::cli::main()
}
