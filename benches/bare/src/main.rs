//! Bare Pingora: `bare-pingora bare LISTEN UPSTREAM`, as in the benchmark's own program.

#[path = "../../gateway/bare.rs"]
mod bare;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, listen, upstream] = arguments.as_slice()
        && role == bare::ROLE
    {
        bare::run(listen, upstream);
    }
}
