//! The effort with which a model shall think.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A level of reasoning effort, the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Not at all.
    None,
    /// The least effort above none.
    Minimal,
    /// Low effort.
    Low,
    /// Medium effort.
    Medium,
    /// High effort.
    High,
    /// Very high effort.
    Xhigh,
    /// The highest effort that the model has.
    Max,
}

impl Effort {
    /// All levels, the lowest first.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::Xhigh, Self::Max];

    /// Returns the level with this name.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }

    /// Returns the level's name, which is the same in all protocols.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// Returns the level that stands for a thinking budget in tokens.
    #[must_use]
    pub fn of_budget(tokens: u64) -> Self {
        match tokens {
            ..4096 => Self::Low,
            4096..12288 => Self::Medium,
            12288..32768 => Self::High,
            _ => Self::Xhigh,
        }
    }

    /// Returns the budget in tokens for a model that knows no levels.
    #[must_use]
    pub fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal => 1024,
            Self::Low => 2048,
            Self::Medium => 8192,
            Self::High => 16384,
            Self::Xhigh => 32768,
            Self::Max => 65536,
        }
    }

    /// Returns the nearest of the levels that a model knows: the highest one below, else the lowest one above.
    ///
    /// A level other than [`Effort::None`] never becomes it. `None` means that no level fits.
    #[must_use]
    pub fn nearest(self, known: &BTreeSet<Self>) -> Option<Self> {
        if known.contains(&self) || self == Self::None {
            return Some(self).filter(|level| known.contains(level));
        }
        let thinks = || known.iter().copied().filter(|level| *level != Self::None);
        thinks().filter(|level| *level < self).max().or_else(|| thinks().min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_level_is_below_else_above() {
        let known = BTreeSet::from([Effort::None, Effort::Low, Effort::High, Effort::Max]);
        for (wish, level) in [
            (Effort::Minimal, Effort::Low),
            (Effort::Medium, Effort::Low),
            (Effort::Xhigh, Effort::High),
            (Effort::Max, Effort::Max),
            (Effort::None, Effort::None),
        ] {
            assert_eq!(wish.nearest(&known), Some(level));
        }
        assert_eq!(Effort::None.nearest(&BTreeSet::from([Effort::Low])), None);
        assert_eq!(Effort::High.nearest(&BTreeSet::new()), None);
    }

    #[test]
    fn names_are_read_back() {
        assert!(Effort::ALL.iter().all(|level| Effort::read(level.as_str()) == Some(*level)));
    }
}
