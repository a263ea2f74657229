//! Paths of values in a document, as error messages spell them: `messages[3].content[0].type`.

use std::fmt;

/// A path to a value in a document. It lives on the stack of the code that walks the document, and is only
/// formatted when it is needed.
#[derive(Clone, Copy, Debug)]
pub struct Path<'p> {
    parent: Option<&'p Self>,
    step: PathStep<'p>,
}

#[derive(Clone, Copy, Debug)]
enum PathStep<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    /// The path of the document itself.
    pub const ROOT: Path<'static> = Path { parent: None, step: PathStep::Root };

    /// Returns the path of a member of the object here.
    #[must_use]
    pub fn key<'q>(&'q self, key: &'q str) -> Path<'q>
    where
        'p: 'q,
    {
        Path { parent: Some(self), step: PathStep::Key(key) }
    }

    /// Returns the path of an element of the array here.
    #[must_use]
    pub fn index<'q>(&'q self, index: usize) -> Path<'q>
    where
        'p: 'q,
    {
        Path { parent: Some(self), step: PathStep::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            PathStep::Root => Ok(()),
            PathStep::Index(index) => write!(f, "[{index}]"),
            PathStep::Key(key) => {
                let nested = self.parent.is_some_and(|parent| !matches!(parent.step, PathStep::Root));
                // A client can choose any key.
                let shown: String = key.chars().filter(|c| !c.is_control()).take(MAX_KEY_LEN).collect();
                if nested { write!(f, ".{shown}") } else { f.write_str(&shown) }
            }
        }
    }
}

/// Maximum number of characters of a key that a message repeats, because a client can choose any key.
const MAX_KEY_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_places_as_messages_do() {
        let root = Path::ROOT;
        let messages = root.key("messages");
        let third = messages.index(3);
        let content = third.key("content");
        assert_eq!(content.index(0).key("type").to_string(), "messages[3].content[0].type");
        assert_eq!(root.to_string(), "");
    }
}
