//! A walk through a whole document that reads every byte once.
//!
//! A [`scan`](super::scan) skips the value of a member, and a second scan reads it again. A walk goes into the
//! value instead, so that a search at any depth costs one pass, however deep the document is.

use super::scan::{Malformed, Scan};

/// A position in a document on the way from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    scan: Scan<'a>,
}

impl<'a> Walk<'a> {
    /// Creates a walk that begins in front of the document's value.
    #[must_use]
    pub fn new(json: &'a [u8]) -> Self {
        let mut scan = Scan::new(json);
        scan.skip_mark();
        scan.skip_space();
        Self { scan }
    }

    /// Returns the first byte of the value here.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.scan.peek()
    }

    /// Returns the position of the walk, in bytes from the beginning.
    #[must_use]
    pub fn at(&self) -> usize {
        self.scan.at
    }

    /// Skips the value here, and returns its literal.
    ///
    /// # Errors
    /// Returns [`Malformed`] if there is no value.
    pub fn skip(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.scan.at;
        let span = self.scan.value()?;
        super::work::visited(self.scan.at - start);
        Ok(self.scan.bytes(span))
    }

    /// Enters the object or array here.
    pub fn enter(&mut self) {
        self.scan.at += 1;
        self.scan.skip_space();
    }

    /// Returns the next key of the current object, without its quotes, and stops before its value. `None` means
    /// that the object has ended.
    ///
    /// # Errors
    /// Returns [`Malformed`] if there is neither a key nor the end of the object.
    pub fn key(&mut self, is_first: &mut bool) -> Result<Option<&'a [u8]>, Malformed> {
        let start = self.scan.at;
        if !self.goes_on(b'}', is_first)? {
            return Ok(None);
        }
        let key = self.scan.string()?;
        self.scan.skip_space();
        self.scan.eat(b':', "a colon")?;
        self.scan.skip_space();
        super::work::visited(self.scan.at - start);
        Ok(Some(self.scan.bytes(key.start + 1..key.end - 1)))
    }

    /// Whether the current array has one more element, before which the walk stops then.
    ///
    /// # Errors
    /// Returns [`Malformed`] if there is neither an element nor the end of the array.
    pub fn item(&mut self, is_first: &mut bool) -> Result<bool, Malformed> {
        self.goes_on(b']', is_first)
    }

    fn goes_on(&mut self, close: u8, is_first: &mut bool) -> Result<bool, Malformed> {
        self.scan.skip_space();
        if self.scan.peek() == Some(close) {
            self.scan.at += 1;
            return Ok(false);
        }
        if !std::mem::replace(is_first, false) {
            self.scan.eat(b',', "a comma")?;
            self.scan.skip_space();
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists everything that a walk sees, in order: keys, and literals of values that are not entered.
    fn seen(walk: &mut Walk<'_>, out: &mut Vec<String>) -> Result<(), Malformed> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut first = true;
        match walk.peek() {
            Some(b'{') => {
                walk.enter();
                while let Some(key) = walk.key(&mut first)? {
                    out.push(text(key));
                    seen(walk, out)?;
                }
            }
            Some(b'[') => {
                walk.enter();
                while walk.item(&mut first)? {
                    seen(walk, out)?;
                }
            }
            _ => out.push(text(walk.skip()?)),
        }
        Ok(())
    }

    #[test]
    fn a_walk_passes_everything_once() {
        let mut out = Vec::new();
        let json = "\u{feff} { \"a\" : [1 , {\"b\":\"x]\"} ,[ ]], \"c\":{ } }";
        seen(&mut Walk::new(json.as_bytes()), &mut out).unwrap();
        assert_eq!(out, ["a", "1", "b", "\"x]\"", "c"]);
        for wrong in ["", "{\"a\"}", "{\"a\":1 \"b\":2}", "[1 2]", "[1,]", "{\"a\":[1,{]}", "{1:2}"] {
            assert!(seen(&mut Walk::new(wrong.as_bytes()), &mut Vec::new()).is_err(), "{wrong}");
        }
    }
}
