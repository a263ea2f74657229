//! Bounded fuzzing: hostile requests, answers, streams and files, made from good ones, always the same.
//!
//! Nothing panics or hangs, what is written is JSON, and how a stream is cut does not matter. A run of
//! `FUZZ_ITERATIONS=200000 cargo test --test fuzz -- --nocapture` tries more than the usual one, which must
//! stay short; `FUZZ_SEED=n` tries others. A failure shows its input, spelled as a literal of bytes.

#![expect(clippy::unwrap_used, clippy::panic, clippy::string_slice, reason = "these are tests")]
#![expect(clippy::print_stdout, reason = "long runs by hand tell how far they went")]

mod answers;
// It needs nothing of the crate, and is nobody else's business.
#[path = "../../src/edge/wire/head.rs"]
mod head;
mod heads;
mod mutate;
mod relay;
mod requests;
mod seeds;
mod small;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mutate::{Rng, mutated};

/// Tries a target with mutations of its seeds; `usual` times unless the environment says otherwise.
fn fuzz(target: &str, seeds: &[Vec<u8>], usual: u64, run: impl Fn(&[u8], &mut Rng)) {
    assert!(!seeds.is_empty(), "{target}: there are seeds");
    let iterations = variable("FUZZ_ITERATIONS").unwrap_or(usual);
    let mut rng = Rng::new(variable("FUZZ_SEED").unwrap_or(1));
    let started = Instant::now();
    for seed in seeds {
        one(target, seed, &mut rng, &run);
    }
    for _ in 0..iterations {
        let input = mutated(seeds, &mut rng);
        one(target, &input, &mut rng, &run);
    }
    println!("{target}: {} executions in {:?}", iterations + seeds.len() as u64, started.elapsed());
}

fn one(target: &str, input: &[u8], rng: &mut Rng, run: &impl Fn(&[u8], &mut Rng)) {
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| run(input, rng)));
    let shown = || input.escape_ascii().to_string();
    if result.is_err() {
        panic!("{target} fails for b\"{}\"", shown());
    }
    assert!(started.elapsed() < SLOWEST, "{target} takes {:?} for b\"{}\"", started.elapsed(), shown());
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Is this JSON?
fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// What one input may take at most: all are small, and take milliseconds; the rest is for busy machines.
const SLOWEST: Duration = Duration::from_secs(20);
