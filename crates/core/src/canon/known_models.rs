//! The capabilities that a model's name implies.

use super::caps::{Caps, ChatTools, SamplingCaps, claude};
use super::{Effort, Profile, ProtocolId};

use Effort::{High, Low, Max, Medium, Minimal, Xhigh};

impl Caps {
    /// Returns the capabilities that a model's name implies when a provider of this profile serves it in this
    /// protocol.
    ///
    /// A name that is in no table implies nothing: the model gets whatever the protocol has.
    #[must_use]
    pub fn of(protocol: ProtocolId, model: &str, profile: &Profile) -> Self {
        if protocol == ProtocolId::Gemini {
            return super::gemini_models::caps(model);
        }
        if protocol == ProtocolId::Messages {
            return claude(model).unwrap_or_else(Self::foreign);
        }
        let row = Some(model).filter(|_| profile.is_openai).and_then(openai);
        row.map_or_else(Self::openai_compatible, |row| row.caps(protocol))
    }
}

/// One row of the table of OpenAI's models.
struct OpenaiRow {
    /// The beginnings of the names that the row covers. A star stands for any part of a name.
    names: &'static [&'static str],
    /// The effort levels that the models know.
    efforts: &'static [Effort],
    default_effort: Option<Effort>,
    cc_tools: ChatTools,
    sampling: SamplingCaps,
    /// Whether the highest level is missing in Chat.
    max_missing_in_chat: bool,
}

impl OpenaiRow {
    fn caps(&self, protocol: ProtocolId) -> Caps {
        let is_missing =
            |level: Effort| level == Max && self.max_missing_in_chat && protocol == ProtocolId::Chat;
        Caps {
            efforts: self.efforts.iter().copied().filter(|level| !is_missing(*level)).collect(),
            default_effort: self.default_effort,
            cc_tools: self.cc_tools,
            sampling: self.sampling,
            ..Caps::openai_compatible()
        }
    }
}

/// Returns the row of a model, which may have a path or a vendor in front.
fn openai(model: &str) -> Option<&'static OpenaiRow> {
    let name = model.rsplit('/').next()?;
    let row = OPENAI.iter().find(|row| row.names.iter().any(|pattern| covers(pattern, name)));
    row.or_else(|| is_newer(name).then_some(&NEWEST))
}

/// Whether a name begins like this, and with this version rather than with a longer one.
fn covers(pattern: &str, name: &str) -> bool {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with('-');
    let Some((head, tail)) = pattern.split_once('*') else {
        return name.strip_prefix(pattern).is_some_and(ends);
    };
    let rest = name.strip_prefix(head).unwrap_or_default();
    rest.match_indices(tail).any(|(at, _)| rest.get(at + tail.len()..).is_some_and(ends))
}

/// Whether this is a model of version 6 or later.
fn is_newer(name: &str) -> bool {
    gpt_version(name).is_some_and(|major| major >= FIRST_NEW_VERSION)
}

/// Returns the major version in the name of a GPT model.
pub(super) fn gpt_version(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("gpt-")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// The major version from which on models without a row are treated like [`NEWEST`].
const FIRST_NEW_VERSION: u32 = 6;

const UP_TO_HIGH: &[Effort] = &[Low, Medium, High];
const UP_TO_XHIGH: &[Effort] = &[Low, Medium, High, Xhigh];
const UP_TO_MAX: &[Effort] = &[Low, Medium, High, Xhigh, Max];
const NONE_TO_HIGH: &[Effort] = &[Effort::None, Low, Medium, High];
const NONE_TO_XHIGH: &[Effort] = &[Effort::None, Low, Medium, High, Xhigh];
const NONE_TO_MAX: &[Effort] = &[Effort::None, Low, Medium, High, Xhigh, Max];

/// A model that always thinks.
const THINKER: OpenaiRow = OpenaiRow {
    names: &[],
    efforts: UP_TO_HIGH,
    default_effort: Some(Medium),
    cc_tools: ChatTools::Yes,
    sampling: SamplingCaps::None,
    max_missing_in_chat: false,
};

/// A model that thinks only if it is asked to.
const SWITCHABLE: OpenaiRow = OpenaiRow {
    efforts: NONE_TO_XHIGH,
    default_effort: Some(Effort::None),
    sampling: SamplingCaps::EffortNone,
    ..THINKER
};

/// A model that thinks unless it is asked not to.
const SWITCHED_ON: OpenaiRow =
    OpenaiRow { efforts: NONE_TO_MAX, default_effort: Some(Medium), cc_tools: ChatTools::None, ..SWITCHABLE };

const RESPONSES_ONLY: OpenaiRow = OpenaiRow { cc_tools: ChatTools::Never, ..THINKER };

/// A model that takes tools in Responses alone.
const WITHOUT_CHAT_TOOLS: OpenaiRow = OpenaiRow { efforts: UP_TO_MAX, cc_tools: ChatTools::No, ..THINKER };

/// A newer model than those of the table: it is sent nothing that any of them refuses.
static NEWEST: OpenaiRow = OpenaiRow { max_missing_in_chat: true, ..WITHOUT_CHAT_TOOLS };

/// OpenAI's models by the beginnings of their names, the more specific one first. From the pages of the models and
/// from public measurements.
static OPENAI: &[OpenaiRow] = &[
    OpenaiRow {
        names: &[
            "gpt-3.5",
            "gpt-4",
            "gpt-4.1",
            "gpt-4o",
            "chatgpt-4o",
            "gpt-5-chat",
            "gpt-5.1-chat",
            "gpt-5.2-chat",
            "gpt-5.3-chat",
            "chat-latest",
        ],
        efforts: &[],
        default_effort: None,
        sampling: SamplingCaps::Full,
        ..THINKER
    },
    OpenaiRow { names: &["gpt-5-pro"], efforts: &[High], default_effort: Some(High), ..RESPONSES_ONLY },
    OpenaiRow {
        names: &["gpt-*-pro", "o1*-pro", "o3*-pro", "o4*-pro"],
        efforts: &[Medium, High, Xhigh],
        default_effort: None,
        ..RESPONSES_ONLY
    },
    OpenaiRow { names: &["gpt-5.1-codex-max"], efforts: UP_TO_XHIGH, ..RESPONSES_ONLY },
    OpenaiRow { names: &["gpt-5-codex", "gpt-5.1-codex"], ..RESPONSES_ONLY },
    OpenaiRow { names: &["gpt-*-codex"], efforts: UP_TO_XHIGH, ..RESPONSES_ONLY },
    OpenaiRow { names: &["o1", "o3", "o4"], ..THINKER },
    OpenaiRow { names: &["gpt-5"], efforts: &[Minimal, Low, Medium, High], ..THINKER },
    OpenaiRow { names: &["gpt-5.1"], efforts: NONE_TO_HIGH, ..SWITCHABLE },
    OpenaiRow { names: &["gpt-5.2", "gpt-5.3"], ..SWITCHABLE },
    OpenaiRow { names: &["gpt-5.4", "gpt-5.5"], cc_tools: ChatTools::Plain, ..SWITCHABLE },
    OpenaiRow { names: &["gpt-5.6", "gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra"], ..SWITCHED_ON },
    OpenaiRow { names: &["gpt-6.1-sol"], max_missing_in_chat: true, ..WITHOUT_CHAT_TOOLS },
    OpenaiRow { names: &["gpt-6-astra", "gpt-6.2"], ..WITHOUT_CHAT_TOOLS },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(model: &str) -> Caps {
        let openai = Profile { is_openai: true, ..Profile::default() };
        Caps::of(ProtocolId::Responses, model, &openai)
    }

    fn highest(model: &str) -> Option<Effort> {
        caps(model).efforts.last().copied()
    }

    #[test]
    fn the_more_specific_name_counts() {
        for (model, level, tools) in [
            ("gpt-4-turbo", None, ChatTools::Yes),
            ("gpt-4.1-mini-2025-04-14", None, ChatTools::Yes),
            ("gpt-5.3-chat-latest", None, ChatTools::Yes),
            ("gpt-5-mini", Some(High), ChatTools::Yes),
            ("gpt-5-pro-2025-10-06", Some(High), ChatTools::Never),
            ("gpt-5.4-pro", Some(Xhigh), ChatTools::Never),
            ("o3-pro", Some(Xhigh), ChatTools::Never),
            ("gpt-5.1-codex-mini", Some(High), ChatTools::Never),
            ("gpt-5.1-codex-max", Some(Xhigh), ChatTools::Never),
            ("gpt-5.3-codex-spark", Some(Xhigh), ChatTools::Never),
            ("openai/gpt-5.3", Some(Xhigh), ChatTools::Yes),
            ("gpt-5.5-2026-04-23", Some(Xhigh), ChatTools::Plain),
            ("gpt-5.6-luna", Some(Max), ChatTools::None),
            ("gpt-6-sol", Some(Max), ChatTools::None),
            ("gpt-6.1-sol", Some(Max), ChatTools::No),
            ("gpt-6.1-luna", Some(Max), ChatTools::No),
            ("gpt-12", Some(Max), ChatTools::No),
        ] {
            assert_eq!((highest(model), caps(model).cc_tools), (level, tools), "{model}");
        }
    }

    #[test]
    fn other_names_imply_nothing() {
        for model in ["my-pro", "my-codex", "gpt-oss-120b", "gpt-image-2", "gpt-5x", "ft:gpt-4o:a::b"] {
            assert_eq!(caps(model), Caps::openai_compatible(), "{model}");
        }
        let other = Caps::of(ProtocolId::Chat, "gpt-6-astra", &Profile::default());
        assert_eq!(other, Caps::openai_compatible(), "other providers have habits of their own");
    }

    #[test]
    fn the_highest_level_may_be_missing_in_chat() {
        let openai = Profile { is_openai: true, ..Profile::default() };
        let in_chat = |model| Caps::of(ProtocolId::Chat, model, &openai).efforts.last().copied();
        assert_eq!((in_chat("gpt-6.1-sol"), highest("gpt-6.1-sol")), (Some(Xhigh), Some(Max)));
        assert_eq!((in_chat("gpt-9"), in_chat("gpt-6.2")), (Some(Xhigh), Some(Max)));
    }
}
