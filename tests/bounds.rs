//! The gate of `cargo test --bench gateway -- instructions`, on figures that nobody counted.

#[path = "../benches/gateway/bounds.rs"]
mod bounds;

use bounds::{Figures, compare, leave_slack};

fn figures(all: &[(&str, f64)]) -> Figures {
    all.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect()
}

#[test]
fn a_figure_above_its_bound_fails() {
    let bounds = figures(&[("relay", 100.0), ("event", 10.0)]);
    let compared = compare(&bounds, &figures(&[("relay", 100.1), ("event", 10.0)]));
    assert_eq!((compared.passed, compared.failed), (1, 1));
    assert!(compared.lines.iter().any(|line| line.starts_with("FAILED relay: 100.1 of 100.0")));
}

#[test]
fn a_figure_far_below_its_bound_passes_and_asks_for_a_lower_one() {
    let bounds = figures(&[("relay", 100.0)]);
    let lowers = |figure| {
        let compared = compare(&bounds, &figures(&[("relay", figure)]));
        assert_eq!((compared.passed, compared.failed), (1, 0));
        compared.lines.concat().contains("lower the bound")
    };
    assert!(lowers(84.9));
    assert!(!lowers(85.1));
}

#[test]
fn what_has_no_counterpart_or_was_not_counted_fails() {
    let (none, relay) = (Figures::new(), figures(&[("relay", 1.0)]));
    assert_eq!(compare(&none, &relay).failed, 1);
    assert_eq!(compare(&relay, &none).failed, 1);
    for nothing in [0.0, f64::NAN] {
        assert_eq!(compare(&relay, &figures(&[("relay", nothing)])).failed, 1);
    }
}

#[test]
fn recorded_bounds_let_pass_what_they_were_made_of_and_little_more() {
    let counted = figures(&[("relay", 100_000.0), ("calls", 12.0)]);
    let bounds = leave_slack(&counted);
    assert_eq!(compare(&bounds, &counted).failed, 0);
    let more = figures(&[("relay", 105_200.0), ("calls", 13.0)]);
    assert_eq!(compare(&bounds, &more).failed, 2);
}
