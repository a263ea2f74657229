//! Money: whole numbers of nano-USD that are never negative.
//!
//! Inside the gateway, money is counted in billionths of a dollar: at a price of one micro-USD for a million
//! tokens, a token costs a thousandth of that unit. Outside, amounts are in micro-USD. Nothing that concerns money
//! is a floating-point number.

use std::fmt;
use std::str::FromStr;

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

/// An amount of money in nano-USD, at least 0 and at most what a signed 64-bit integer holds: 9.2 billion
/// dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The largest amount.
    pub const MAX: Self = Self(i64::MAX);

    /// Makes an amount of nano-USD. A larger amount than [`Amount::MAX`] becomes that.
    #[must_use]
    pub fn from_nano(nano: u128) -> Self {
        Self(i64::try_from(nano).unwrap_or(i64::MAX))
    }

    /// Returns the amount in nano-USD.
    #[must_use]
    pub fn nano(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// Returns the sum, or `None` if it is too large.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Returns the difference, or `None` if `other` is larger.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).filter(|&rest| rest >= 0).map(Self)
    }

    /// Returns the amount in micro-USD, rounded down; for money that may be spent.
    #[must_use]
    pub fn micro_down(self) -> u64 {
        self.nano() / NANO_PER_MICRO
    }

    /// Returns the amount in micro-USD, rounded up; for money that was spent or is held.
    #[must_use]
    pub fn micro_up(self) -> u64 {
        self.nano().div_ceil(NANO_PER_MICRO)
    }
}

/// Parses dollars as people write them: `10`, `0.5`, `12.000001`.
impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no amount of dollars: write for example 10 or 2.50");
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > DECIMALS {
            return Err(wrong());
        }
        let nano = format!("{whole}{part:0<DECIMALS$}").parse().map_err(|_| wrong())?;
        Ok(Self(nano))
    }
}

/// Writes dollars, with two decimals or as many more as are needed.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.nano() / NANO_PER_USD, self.nano() % NANO_PER_USD);
        let part = format!("{part:0DECIMALS$}");
        write!(f, "{whole}.{:0<2}", part.trim_end_matches('0'))
    }
}

/// Writes whole micro-USD, for programs.
impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.micro_down())
    }
}

impl ToSql for Amount {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for Amount {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let nano = value.as_i64()?;
        if nano < 0 { Err(FromSqlError::OutOfRange(nano)) } else { Ok(Self(nano)) }
    }
}

/// 1 micro-USD.
const NANO_PER_MICRO: u64 = 1_000;

/// 1 USD.
const NANO_PER_USD: u64 = 1_000_000_000;

/// The decimals of a dollar.
const DECIMALS: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn dollars_are_read_and_written_exactly() {
        assert_eq!(amount("10").nano(), 10_000_000_000);
        assert_eq!(amount("0.000000001").nano(), 1);
        for (text, shown) in [("10", "10.00"), ("2.5", "2.50"), ("0.000000001", "0.000000001"), ("0", "0.00")]
        {
            assert_eq!(amount(text).to_string(), shown);
        }
        for bad in ["", "-1", "+1", "1e3", ".5", "1.", "1.0000000001", "9223372037", "0x1", "1,5", " 1"] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
    }

    #[test]
    fn never_less_than_nothing_and_never_more_than_fits() {
        assert_eq!(amount("1").checked_sub(amount("1.000000001")), None);
        assert_eq!(Amount::MAX.checked_add(Amount::from_nano(1)), None);
        assert_eq!(Amount::from_nano(u128::MAX), Amount::MAX);
        let odd = Amount::from_nano(1_999);
        assert_eq!((odd.micro_down(), odd.micro_up()), (1, 2));
    }
}
