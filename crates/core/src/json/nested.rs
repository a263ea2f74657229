//! Members of objects that stand in an array of a document, read in one pass.

use super::scan::{Member, Scan, ScanState, spells, step};

/// The iterator that [`members_of_each`] returns.
#[derive(Debug)]
pub struct MembersOfEach<'a> {
    scan: Scan<'a>,
    array: ScanState,
    object: ScanState,
}

/// Iterates over the members of all objects in the array that is the object's member `name`. It looks at each byte once, and ends
/// before anything that is wrong.
#[must_use]
pub fn members_of_each<'a>(object: &'a [u8], name: &str) -> MembersOfEach<'a> {
    let (mut scan, mut state) = (Scan::new(object), ScanState::First);
    let mut is_array = false;
    while !is_array {
        let member = step(&mut scan, &mut state, b'{', b'}', "an object", |scan| {
            let key = scan.key()?;
            let is_found = spells(scan.bytes(key), name);
            if is_found { Ok(true) } else { scan.value().map(|_| false) }
        });
        match member {
            Some(Ok(is_found)) => is_array = is_found,
            Some(Err(_)) | None => break,
        }
    }
    super::work::visited(scan.at());
    let array = if is_array { ScanState::First } else { ScanState::Done };
    MembersOfEach { scan, array, object: ScanState::Done }
}

impl<'a> Iterator for MembersOfEach<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let start = self.scan.at();
        let next = self.advance();
        super::work::visited(self.scan.at() - start);
        next
    }
}

impl<'a> MembersOfEach<'a> {
    fn advance(&mut self) -> Option<Member<'a>> {
        loop {
            match step(&mut self.scan, &mut self.object, b'{', b'}', "an object", Scan::member) {
                Some(Ok(member)) => return Some(member),
                Some(Err(_)) => self.array = ScanState::Done,
                None => {}
            }
            let element = step(&mut self.scan, &mut self.array, b'[', b']', "an array", |scan| {
                let is_object = scan.peek() == Some(b'{');
                if is_object { Ok(true) } else { scan.value().map(|_| false) }
            });
            if element?.ok()? {
                self.object = ScanState::First;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let pair = |member: Member<'_>| {
            assert_eq!(json.get(member.span.clone()).unwrap().as_bytes(), member.value);
            (text(member.key), text(member.value))
        };
        members_of_each(json.as_bytes(), "c").map(pair).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_objects_of_the_array_are_read() {
        let json = r#" {"a":[{"x":1}], "\u0063" : [ {"i":0 , "m":{"c":[{}]}}, 7, [], {}, {"i":1}] ,"b":2}"#;
        assert_eq!(found(json), pairs(&[("i", "0"), ("m", r#"{"c":[{}]}"#), ("i", "1")]));
    }

    #[test]
    fn what_is_no_array_or_not_there_has_none() {
        for json in ["", "[]", "{}", r#"{"c":{"i":1}}"#, r#"{"c":null,"d":[{"i":1}]}"#, r#"{"d":[{"c":1}]}"#]
        {
            assert_eq!(found(json), []);
        }
    }

    #[test]
    fn it_ends_before_what_is_wrong() {
        assert_eq!(found(r#"{"c":[{"i":0},{"i":1 "j":2}]}"#), pairs(&[("i", "0"), ("i", "1")]));
        assert_eq!(found(r#"{"c":[{"i":0}{"i":1}]}"#), pairs(&[("i", "0")]));
    }
}
