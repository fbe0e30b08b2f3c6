//! The binary: reads the arguments, does the command, ends with its code.

use std::process::ExitCode;

// A run allocates and frees millions of small values on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "engine: no runtime: {error}");
            return ExitCode::from(3);
        }
    };
    let exit = runtime.block_on(engine::cli::main());
    // What is still under way was told to stop.
    runtime.shutdown_background();
    exit.into()
}
