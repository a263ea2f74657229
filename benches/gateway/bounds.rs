//! The counts, held against their bounds.

use std::collections::BTreeMap;

/// Figures by their names.
pub(crate) type Figures = BTreeMap<String, f64>;

/// The outcome of a comparison: a line for each figure, and how many of them may pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) lines: Vec<String>,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// Compares each figure with its bound. A figure without a bound fails, and so does a bound without a figure, or a
/// figure would be out of sight once it is misspelt.
pub(crate) fn compare(bounds: &Figures, counted: &Figures) -> Comparison {
    let mut comparison = Comparison::default();
    for (name, figure) in counted {
        comparison.add(name, *figure, bounds.get(name).copied());
    }
    for name in bounds.keys().filter(|name| !counted.contains_key(*name)) {
        comparison.fail(format!("{name}: has a bound and was not counted"));
    }
    comparison
}

/// Gives the bounds that leave the counted figures their slack.
pub(crate) fn leave_slack(counted: &Figures) -> Figures {
    counted.iter().map(|(name, figure)| (name.clone(), (figure * SLACK * 10.0).ceil() / 10.0)).collect()
}

impl Comparison {
    fn add(&mut self, name: &str, figure: f64, bound: Option<f64>) {
        let Some(bound) = bound else {
            return self.fail(format!("{name}: {figure:.1} has no bound"));
        };
        let line = format!("{name}: {figure:.1} of {bound:.1}");
        if figure.is_nan() || figure <= 0.0 {
            return self.fail(format!("{line}: nothing was counted"));
        }
        if figure > bound {
            return self.fail(format!("{line}, which is more than its bound"));
        }
        self.passed += 1;
        self.lines.push(match figure < bound * LOW {
            true => format!("{line}; lower the bound, so that it stays so"),
            false => line,
        });
    }

    fn fail(&mut self, line: String) {
        self.failed += 1;
        self.lines.push(format!("FAILED {line}"));
    }
}

/// Room above what was counted: the runs of a quiet machine are within 1 %, compilers differ more.
const SLACK: f64 = 1.05;

/// The part of a bound below which it no longer bounds anything.
const LOW: f64 = 0.85;
