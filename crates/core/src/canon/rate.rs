//! Classes of service that cost more, or less, than the plain price of a token.

/// A class of service, a speed or a geography for which a model may have a price multiplier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    /// Messages `speed: "fast"` and the tier `fast`.
    Fast,
    /// The tier `priority`.
    Priority,
    /// The tier `ultrafast`.
    Ultrafast,
    /// The tier `flex`.
    Flex,
    /// Messages `inference_geo: "us"`.
    Us,
}

/// A set of rates. Empty: the plain price holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rates(u8);

impl Rate {
    /// All rates, in the order of their bits in [`Rates`].
    pub const ALL: [Self; 5] = [Self::Fast, Self::Priority, Self::Ultrafast, Self::Flex, Self::Us];

    /// The rate of a `service_tier`; `None` for tiers without a price effect and for unknown names.
    #[must_use]
    pub fn of_tier(name: &str) -> Option<Self> {
        match name {
            "fast" => Some(Self::Fast),
            "priority" => Some(Self::Priority),
            "ultrafast" => Some(Self::Ultrafast),
            "flex" => Some(Self::Flex),
            _ => None,
        }
    }

    /// The name of the rate in configurations, metrics and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Priority => "priority",
            Self::Ultrafast => "ultrafast",
            Self::Flex => "flex",
            Self::Us => "us",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Rates {
    /// The same set with `rate` in it.
    #[must_use]
    pub fn with(self, rate: Rate) -> Self {
        Self(self.0 | rate.bit())
    }

    /// The rates of both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `rate` is in the set.
    #[must_use]
    pub fn has(self, rate: Rate) -> bool {
        self.0 & rate.bit() != 0
    }

    /// The rates in the set.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Rate> {
        Rate::ALL.into_iter().filter(move |rate| self.has(*rate))
    }

    /// The set as one byte, for records; bit `n` is the `n`-th of [`Rate::ALL`].
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set of a byte that [`Self::bits`] gave. Unknown bits are ignored.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & ((1 << Rate::ALL.len()) - 1))
    }
}

impl FromIterator<Rate> for Rates {
    fn from_iter<I: IntoIterator<Item = Rate>>(rates: I) -> Self {
        rates.into_iter().fold(Self::default(), Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_survives_its_byte() {
        let set: Rates = [Rate::Fast, Rate::Us].into_iter().collect();
        assert_eq!(Rates::from_bits(set.bits() | 0xe0), set);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Rate::Fast, Rate::Us]);
    }
}
