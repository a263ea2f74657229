//! The members of a JSON object, written one after the other: by name, without a look at the names' characters.

use std::io::Write as _;
use std::net::IpAddr;

/// An object that is being written.
pub(super) struct Members<'o> {
    out: &'o mut Vec<u8>,
    begun: bool,
}

/// The name of a member as it stands in an object behind another one: `,"name":`.
#[derive(Clone, Copy)]
pub(super) struct MemberName(pub(super) &'static str);

impl<'o> Members<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, begun: false }
    }

    /// Writes the name of a member, and returns the place of its value.
    pub(super) fn name(&mut self, MemberName(name): MemberName) -> &mut Vec<u8> {
        // The comma is between members.
        let first = usize::from(!std::mem::replace(&mut self.begun, true));
        self.out.extend_from_slice(name.as_bytes().get(first..).unwrap_or_default());
        self.out
    }

    fn text(&mut self, name: MemberName, text: &str) -> serde_json::Result<()> {
        let out = self.name(name);
        // Nearly all need no escape.
        let needs_escape = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        // Without an early end, several bytes are looked at at once.
        if text.bytes().fold(false, |needs, byte| needs | needs_escape(byte)) {
            return serde_json::to_writer(out, text);
        }
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        Ok(())
    }

    /// Ends the object.
    /// Writes a list of objects, unless it is empty.
    pub(super) fn list<T>(
        &mut self,
        name: MemberName,
        objects: &[T],
        write: impl Fn(&T, &mut Vec<u8>) -> serde_json::Result<()>,
    ) -> serde_json::Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let out = self.name(name);
        for (number, object) in objects.iter().enumerate() {
            out.push(if number == 0 { b'[' } else { b',' });
            write(object, out)?;
        }
        out.push(b']');
        Ok(())
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }
}

/// The value of a member. One that is not known is not written.
pub(super) trait Member {
    /// Writes the member with its name.
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()>;
}

impl Member for &str {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        members.text(name, self)
    }
}

impl Member for jiff::Timestamp {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        write!(members.name(name), "\"{self}\"").map_err(serde_json::Error::io)
    }
}

impl Member for IpAddr {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        let out = members.name(name);
        let Self::V4(address) = self else {
            return write!(out, "\"{self}\"").map_err(serde_json::Error::io);
        };
        for (index, octet) in address.octets().into_iter().enumerate() {
            out.push(if index == 0 { b'"' } else { b'.' });
            put_number(out, octet.into());
        }
        out.push(b'"');
        Ok(())
    }
}

impl Member for u64 {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        put_number(members.name(name), *self);
        Ok(())
    }
}

/// Writes a number without a formatter.
fn put_number(out: &mut Vec<u8>, number: u64) {
    let mut left = number;
    let mut digits = [0; 20];
    let mut at = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        at -= 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

impl Member for u32 {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        u64::from(*self).write(name, members)
    }
}

impl Member for u16 {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        u64::from(*self).write(name, members)
    }
}

impl Member for usize {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        (*self as u64).write(name, members)
    }
}

impl Member for f64 {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        serde_json::to_writer(members.name(name), self)
    }
}

impl Member for bool {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        members.name(name).extend_from_slice(if *self { b"true" } else { b"false" });
        Ok(())
    }
}

impl<T: Member> Member for Option<T> {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        self.as_ref().map_or(Ok(()), |value| value.write(name, members))
    }
}

/// Defines a struct that is written as a JSON object with a member for each field, in their order. This takes a third
/// of the time of a serializer.
macro_rules! members {
    (
        $(#[$about:meta])*
        pub struct $name:ident<$life:lifetime> {
            $($(#[$doc:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$about])*
        pub struct $name<$life> {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $name<'_> {
            /// The names of the members that an object can have.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            /// Writes the object.
            pub(super) fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
                let mut members = Members::new(out);
                $(Member::write(
                    &self.$field,
                    $crate::observe::members::MemberName(concat!(",\"", stringify!($field), "\":")),
                    &mut members,
                )?;)*
                members.end();
                Ok(())
            }
        }
    };
}
pub(super) use members;
