//! Lists of the addresses from which something is allowed.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A block of addresses: one address, or all with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressBlock {
    /// The first address. An IPv4 address in the form of IPv6 counts as IPv4.
    first: IpAddr,
    /// The number of bits that all addresses have in common.
    prefix: u8,
}

/// Blocks of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AddressList(Vec<AddressBlock>);

impl AddressBlock {
    /// Whether an address, in its shortest form, belongs to the block.
    fn contains(self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => first == masked_v4(address, self.prefix),
            (IpAddr::V6(first), IpAddr::V6(address)) => first == masked_v6(address, self.prefix),
            _ => false,
        }
    }
}

impl AddressList {
    /// Whether an address belongs to one of the blocks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|block| block.contains(address))
    }

    /// Whether there is no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of blocks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<AddressBlock> for AddressList {
    fn from_iter<I: IntoIterator<Item = AddressBlock>>(blocks: I) -> Self {
        Self(blocks.into_iter().collect())
    }
}

impl FromStr for AddressBlock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write an address or a block, such as `10.0.0.7`, `10.0.0.0/8` or `2001:db8::/32`";
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, prefix)| (a, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong().to_owned())?;
        let most = if address.is_ipv4() { V4_BITS } else { V6_BITS };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|bits| *bits <= most).ok_or_else(|| wrong().to_owned())?
            }
            Some(_) => return Err(wrong().to_owned()),
        };
        let (address, prefix) = canonical(address, prefix);
        let first = match address {
            IpAddr::V4(address) => masked_v4(address, prefix).into(),
            IpAddr::V6(address) => masked_v6(address, prefix).into(),
        };
        let block = Self { first, prefix };
        if first != address {
            return Err(format!("the address has bits beyond its prefix: write `{block}`, or leave `/` out"));
        }
        Ok(block)
    }
}

/// Takes an IPv4 block in the form of IPv6 for what it is.
fn canonical(address: IpAddr, prefix: u8) -> (IpAddr, u8) {
    match (address, address.to_canonical()) {
        (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix >= V6_BITS - V4_BITS => {
            (v4, prefix - (V6_BITS - V4_BITS))
        }
        _ => (address, prefix),
    }
}

fn masked_v4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(u32::from(V4_BITS.saturating_sub(prefix))).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn masked_v6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(u32::from(V6_BITS.saturating_sub(prefix))).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.first.is_ipv4() { V4_BITS } else { V6_BITS };
        if self.prefix == most {
            return self.first.fmt(f);
        }
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl fmt::Display for AddressList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, block) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "+" };
            write!(f, "{separator}{block}")?;
        }
        Ok(())
    }
}

impl Serialize for AddressBlock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for AddressBlock {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AddressBlock".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$" })
    }
}

/// The most addresses and blocks of a key, which each of its calls is compared with.
pub const MAX_ADDRESS_COUNT: usize = 100;

/// The bits of an IPv4 address.
const V4_BITS: u8 = 32;

/// The bits of an IPv6 address.
const V6_BITS: u8 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(blocks: &[&str]) -> AddressList {
        blocks.iter().map(|block| block.parse::<AddressBlock>().unwrap()).collect()
    }

    #[test]
    fn a_block_contains_its_addresses_in_all_their_forms() {
        for (block, inside, outside) in [
            (
                "10.0.0.0/8",
                ["10.0.0.1", "10.255.255.255", "::ffff:10.1.2.3"],
                ["11.0.0.0", "9.9.9.9", "a::1"],
            ),
            ("10.0.0.7", ["10.0.0.7", "::ffff:10.0.0.7", "::ffff:a00:7"], ["10.0.0.8", "10.0.0.6", "::7"]),
            ("0.0.0.0/0", ["1.2.3.4", "255.255.255.255", "::ffff:1.1.1.1"], ["::1", "2001:db8::1", "::"]),
            ("::ffff:10.0.0.0/104", ["10.0.0.1", "10.9.9.9", "::ffff:10.1.2.3"], ["11.0.0.0", "::1", "::"]),
            (
                "2001:db8::/32",
                ["2001:db8::1", "2001:db8:ffff::", "2001:db8::"],
                ["2001:db9::", "::1", "1.2.3.4"],
            ),
            ("::/0", ["::1", "2001:db8::1", "ffff::"], ["1.2.3.4", "::ffff:1.2.3.4", "0.0.0.0"]),
        ] {
            let list = list(&[block]);
            assert!(inside.iter().all(|address| list.contains(address.parse().unwrap())), "{block}");
            assert!(!outside.iter().any(|address| list.contains(address.parse().unwrap())), "{block}");
        }
        assert!(!AddressList::default().contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_block_that_is_none_is_refused_with_the_one_that_was_meant() {
        for wrong in
            ["", "10.0.0", "10.0.0.1/33", "::1/129", "10.0.0.0/", "10.0.0.0/+8", "a.example", "10.0.0.1/8/8"]
        {
            assert!(wrong.parse::<AddressBlock>().unwrap_err().starts_with("write an address"), "{wrong}");
        }
        let meant = "10.1.2.3/8".parse::<AddressBlock>().unwrap_err();
        assert!(meant.contains("`10.0.0.0/8`"), "{meant}");
    }

    #[test]
    fn a_list_is_written_as_it_is_read() {
        let text = r#"["10.0.0.7","10.0.0.0/8","2001:db8::/32"]"#;
        let list: AddressList = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&list).unwrap(), text);
        assert_eq!(list.to_string(), "10.0.0.7+10.0.0.0/8+2001:db8::/32");
        assert_eq!(
            serde_json::to_string(&"::ffff:10.0.0.0/104".parse::<AddressBlock>().unwrap()).unwrap(),
            "\"10.0.0.0/8\""
        );
    }
}
