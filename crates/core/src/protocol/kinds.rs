//! The meanings of the `type` of parts, items and tools, as far as they concern money and state.

use crate::json::{Name, begins};

/// The set of meanings of one object's types: an object with several types has all their meanings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u64);

impl Kinds {
    /// An image.
    pub(super) const IMAGE: Self = Self(1);
    /// A recording.
    pub(super) const AUDIO: Self = Self(1 << 1);
    /// A video.
    pub(super) const VIDEO: Self = Self(1 << 2);
    /// A document.
    pub(super) const FILE: Self = Self(1 << 3);
    /// Text or further parts: a source without a cost of its own.
    pub(super) const TEXT: Self = Self(1 << 4);
    /// An address.
    pub(super) const URL: Self = Self(1 << 5);
    /// A citation of a file in an answer.
    pub(super) const CITATION: Self = Self(1 << 6);
    /// A block with the result of a provider's code execution.
    pub(super) const CODE_RESULT: Self = Self(1 << 7);
    /// The result of the code itself.
    pub(super) const RAN: Self = Self(1 << 8);
    /// A file search that an answer has made.
    pub(super) const FILE_SEARCH_CALL: Self = Self(1 << 9);
    /// Code that an answer has run in a container.
    pub(super) const CODE_CALL: Self = Self(1 << 10);
    /// A command that an answer has run in a container.
    pub(super) const SHELL_CALL: Self = Self(1 << 11);
    /// The container of a shell command.
    pub(super) const CONTAINER: Self = Self(1 << 12);
    /// An item that consists only of its id.
    pub(super) const ITEM_REFERENCE: Self = Self(1 << 13);
    /// A skill of the account.
    pub(super) const SKILL: Self = Self(1 << 14);
    /// A skill of the provider.
    pub(super) const ANTHROPIC: Self = Self(1 << 15);
    /// Reasoning of an answer.
    pub(super) const REASONING: Self = Self(1 << 16);
    /// An image that an answer has made.
    pub(super) const IMAGE_CALL: Self = Self(1 << 17);
    /// The client's own machine.
    pub(super) const LOCAL: Self = Self(1 << 18);
    /// A tool that the client runs.
    pub(super) const CLIENT: Self = Self(1 << 19);
    /// A tool that searches the web.
    pub(super) const WEB_SEARCH: Self = Self(1 << 20);
    /// A tool that makes images.
    pub(super) const IMAGES: Self = Self(1 << 21);
    /// A tool that runs code.
    pub(super) const CODE: Self = Self(1 << 22);
    /// A tool that runs commands, at the provider or with the client.
    pub(super) const SHELL: Self = Self(1 << 23);
    /// A tool that searches in files.
    pub(super) const FILE_SEARCH: Self = Self(1 << 24);
    /// A tool of a router.
    pub(super) const ROUTER: Self = Self(1 << 25);
    /// Any other type.
    pub(super) const OTHER: Self = Self(1 << 26);

    /// Returns the meaning of the literal of a type.
    pub(super) fn of(literal: &[u8]) -> Self {
        let inner = literal.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        let Some(inner) = inner else { return Self::OTHER };
        Name::read(inner).map_or(Self::OTHER, |name| Self::named(name.as_bytes()))
    }

    fn named(name: &[u8]) -> Self {
        match name {
            b"image" | b"input_image" | b"image_url" | b"computer_screenshot" => Self::IMAGE,
            b"input_audio" | b"audio" | b"audio_url" => Self::AUDIO,
            b"video" | b"video_url" | b"input_video" => Self::VIDEO,
            b"file" | b"input_file" | b"file_url" | b"document" | b"document_url" | b"container_upload" => {
                Self::FILE
            }
            b"text" | b"content" => Self::TEXT,
            b"url" => Self::URL,
            b"file_citation" | b"container_file_citation" | b"file_path" => Self::CITATION,
            b"code_execution_tool_result"
            | b"bash_code_execution_tool_result"
            | b"text_editor_code_execution_tool_result" => Self::CODE_RESULT,
            b"code_execution_result" | b"bash_code_execution_result" | b"encrypted_code_execution_result" => {
                Self::RAN
            }
            b"file_search_call" => Self::FILE_SEARCH_CALL,
            b"code_interpreter_call" => Self::CODE_CALL,
            b"shell_call" => Self::SHELL_CALL,
            b"container_reference" => Self::CONTAINER,
            b"item_reference" => Self::ITEM_REFERENCE,
            b"skill_reference" => Self::SKILL,
            b"anthropic" => Self::ANTHROPIC,
            b"reasoning" => Self::REASONING,
            b"image_generation_call" => Self::IMAGE_CALL,
            b"local" => Self::LOCAL,
            _ => Self::tool(name),
        }
    }

    fn tool(name: &[u8]) -> Self {
        let dated = |stem: &str| {
            let rest = name.strip_prefix(stem.as_bytes());
            rest.is_some_and(|rest| matches!(rest, [] | [b'_', b'0'..=b'9', ..]))
        };
        let is = |stems: &[&str]| stems.iter().any(|stem| dated(stem));
        if is(CLIENT_TOOLS) {
            Self::CLIENT
        } else if is(WEB_SEARCHES) {
            Self::WEB_SEARCH
        } else if is(&["image_generation"]) {
            Self::IMAGES
        } else if is(&["code_interpreter", "code_execution", "codeexecution"]) {
            Self::CODE
        } else if is(&["shell"]) {
            Self::SHELL
        } else if is(&["file_search", "collections_search", "retrieval"]) {
            Self::FILE_SEARCH
        } else if name.starts_with(b"openrouter:") {
            Self::ROUTER
        } else {
            Self::OTHER
        }
    }

    /// Returns the meaning of a member's name, for a tool without a type.
    pub(super) fn of_tool_member(name: &[u8]) -> Self {
        match name {
            b"google_search"
            | b"googlesearch"
            | b"google_search_retrieval"
            | b"googlesearchretrieval"
            | b"enterprise_web_search"
            | b"google_maps"
            | b"googlemaps" => Self::WEB_SEARCH,
            b"code_execution" | b"codeexecution" => Self::CODE,
            b"url_context" | b"urlcontext" => Self::OTHER,
            _ => Self::default(),
        }
    }

    /// Whether at least one of `these` is in the set.
    pub(super) fn has(self, these: Self) -> bool {
        self.0 & these.0 != 0
    }

    /// Whether the set is not empty and has only members of `these`.
    pub(super) fn are_only(self, these: Self) -> bool {
        self.0 != 0 && self.0 & !these.0 == 0
    }

    /// Returns the union of both sets.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Whether the literal is an address, and not the data itself.
pub(super) fn is_address(literal: &[u8]) -> bool {
    ["http", "gs:", "s3:"].iter().any(|scheme| begins(literal, scheme))
}

/// Tools that the client runs, or that only select among other tools of the request.
const CLIENT_TOOLS: &[&str] = &[
    "apply_patch",
    "bash",
    "computer",
    "computer_use_preview",
    "custom",
    "function",
    "local_shell",
    "memory",
    "namespace",
    "text_editor",
    "tool_reference",
    "tool_search",
    "tool_search_tool_bm25",
    "tool_search_tool_regex",
];

/// Tools that search the web.
const WEB_SEARCHES: &[&str] = &[
    "browser_search",
    "builtin_function",
    "openrouter:web_search",
    "web_search",
    "web_search_preview",
    "x_search",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_with_dates_are_those_without() {
        for (literal, expected) in [
            (r#""web_search_20260318""#, Kinds::WEB_SEARCH),
            (r#""web_search_preview_2025_03_11""#, Kinds::WEB_SEARCH),
            (r#""WEB\u005fsearch""#, Kinds::WEB_SEARCH),
            (r#""bash_20250124""#, Kinds::CLIENT),
            (r#""bash_code_execution_tool_result""#, Kinds::CODE_RESULT),
            (r#""bash_something""#, Kinds::OTHER),
            (r#""web_fetch_20260209""#, Kinds::OTHER),
            (r#""openrouter:advisor""#, Kinds::ROUTER),
            ("7", Kinds::OTHER),
        ] {
            assert_eq!(Kinds::of(literal.as_bytes()), expected, "{literal}");
        }
    }
}
