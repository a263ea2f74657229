//! The look below the top level: demands besides tokens, references to state, and names of other models, anywhere
//! in the body.
//!
//! It is one pass that reads each byte once. A shape that no provider accepts hides nothing: repeated members all
//! count, and so do all types of an object. An id that the provider itself has written into an answer is not a
//! reference when the answer comes back as history. Whether it is one is only known at the end of the object that
//! says so.

use std::fmt::Display;

use crate::json::{self, Malformed, Name, Path, Walk};

use super::demand::{Demand, Service};
use super::inner::{self, InnerModel};
use super::kinds::{Kinds, is_address};
use super::members::RequestMembers;
use super::state;

/// The findings below the top level of a request.
#[derive(Debug, Default)]
pub(super) struct LookFindings {
    /// The first reference to state.
    pub(super) state: Option<String>,
    /// The models that are named.
    pub(super) inner: Vec<InnerModel>,
    /// The containers of the history, each with the path of its id.
    pub(super) containers: Vec<(String, String)>,
    /// The demands of the body.
    pub(super) demand: Demand,
}

/// Looks through a body.
///
/// # Errors
/// Returns [`Malformed`] if the body is not JSON: another reader could understand another request.
pub(super) fn look(body: &[u8], members: &RequestMembers) -> Result<LookFindings, Malformed> {
    let mut look = Look { walk: Walk::new(body), members, found: LookFindings::default() };
    look.found.demand.media = look.value(ValuePlace::Root, &Path::ROOT, MAX_DEPTH)?.media;
    Ok(look.found)
}

/// Returns the services that one element of `tools` asks for, each with its path.
///
/// # Errors
/// Returns [`Malformed`] if the tool is not JSON.
pub(super) fn tool(
    tool: &[u8],
    index: usize,
    members: &RequestMembers,
) -> Result<Vec<(Service, String)>, Malformed> {
    let mut look = Look { walk: Walk::new(tool), members, found: LookFindings::default() };
    look.value(ValuePlace::Tool, &Path::ROOT.key("tools").index(index), MAX_DEPTH)?;
    Ok(look.found.demand.services)
}

/// The place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValuePlace {
    Root,
    Conversation,
    Item,
    Content,
    Part,
    Annotations,
    Annotation,
    Results,
    SearchResult,
    Environment,
    /// A result of code; `Files` are the files in it.
    Ran,
    Files,
    File,
    Tools,
    Tool,
    Plugins,
    Plugin,
    Other,
}

impl ValuePlace {
    /// Returns the place of a member's value.
    fn member(self, name: &[u8], members: &RequestMembers) -> Self {
        let is_conversation = || members.conversation.first().is_some_and(|known| known.as_bytes() == name);
        match (self, name) {
            (Self::Root, _) if is_conversation() => Self::Conversation,
            (Self::Root, b"plugins") => Self::Plugins,
            (Self::Item, b"content") => Self::Content,
            (Self::Item, b"results") => Self::Results,
            (Self::Item | Self::Tool, b"environment") => Self::Environment,
            (Self::Part, b"annotations") => Self::Annotations,
            (Self::Part, b"content") => Self::Ran,
            (Self::Ran, b"content") => Self::Files,
            (_, b"tools") => Self::Tools,
            (_, b"tool") => Self::Tool,
            _ => Self::Other,
        }
    }

    /// Returns the place of the elements of an array here.
    fn element(self) -> Self {
        match self {
            Self::Conversation => Self::Item,
            Self::Content => Self::Part,
            Self::Annotations => Self::Annotation,
            Self::Results => Self::SearchResult,
            Self::Files => Self::File,
            Self::Tools => Self::Tool,
            Self::Plugins => Self::Plugin,
            _ => Self::Other,
        }
    }
}

/// The proof that an id was written by the provider itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The assistant's message contains it.
    ResponseMetadata,
    /// The provider has run code for the assistant.
    Ran,
    /// A file search has found it.
    Search,
}

/// An id that is a reference unless this proof is found.
type Doubt = (Proof, String);

/// The facts about a value that has been read to its end.
#[derive(Debug, Default)]
struct ValueFacts<'a> {
    /// The literal of a value that is neither an object nor an array.
    literal: &'a [u8],
    is_array: bool,
    elements: u64,
    /// Whether the value has an `id`; `has_url` is the same for a `url`.
    has_id: bool,
    has_url: bool,
    kinds: Kinds,
    media: u64,
    doubt: Option<Doubt>,
    container: Option<(String, String)>,
}

impl ValueFacts<'_> {
    fn is_present(&self) -> bool {
        if self.is_array {
            self.elements > 0
        } else {
            self.literal.is_empty() || state::is_present(self.literal)
        }
    }

    /// Whether the value is a string that is not empty.
    fn is_text(&self) -> bool {
        self.literal.len() > 2 && self.literal.starts_with(b"\"")
    }

    /// Whether the value is this word.
    fn is(&self, word: &str) -> bool {
        let inner = self.literal.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        inner.and_then(Name::read).is_some_and(|name| name.is(word) && name.is_exact())
    }
}

/// An object that is being read.
#[derive(Default)]
struct ObjectFindings {
    kinds: Kinds,
    has_id: bool,
    has_url: bool,
    /// Members of [`WORTH`] that have content; `hollow` are those that were empty at least once.
    full: u8,
    hollow: u8,
    is_said: bool,
    is_asked: bool,
    media_inside: u64,
    media_members: u64,
    has_audio: bool,
    is_remote: bool,
    source: Kinds,
    environment: Kinds,
    doubt: Option<Doubt>,
    skill: Option<String>,
    /// The container that the object names itself; `surrounding` is the one that its environment names.
    container: Option<(String, String)>,
    surrounding: Option<(String, String)>,
    named: Vec<InnerModel>,
}

impl ObjectFindings {
    /// Whether one of these members has content in every one of its values, whichever of them a reader takes.
    fn says(&self, names: u8) -> bool {
        self.full & !self.hollow & names != 0
    }
}

struct Look<'a, 'm> {
    walk: Walk<'a>,
    members: &'m RequestMembers,
    found: LookFindings,
}

impl<'a> Look<'a, '_> {
    fn value(&mut self, place: ValuePlace, path: &Path<'_>, depth: u32) -> Result<ValueFacts<'a>, Malformed> {
        match (self.walk.peek(), depth.checked_sub(1)) {
            (Some(b'{'), Some(depth)) => self.object(place, path, depth),
            (Some(b'['), Some(depth)) => self.array(place, path, depth),
            _ => Ok(ValueFacts { literal: self.walk.skip()?, ..ValueFacts::default() }),
        }
    }

    fn array(&mut self, place: ValuePlace, path: &Path<'_>, depth: u32) -> Result<ValueFacts<'a>, Malformed> {
        let mut all = ValueFacts { is_array: true, ..ValueFacts::default() };
        let (mut index, mut is_first) = (0, true);
        self.walk.enter();
        while self.walk.item(&mut is_first)? {
            let element = self.value(place.element(), &path.index(index), depth)?;
            all.media += element.media;
            self.doubt(&mut all.doubt, element.doubt);
            index += 1;
        }
        all.elements = index as u64;
        Ok(all)
    }

    fn object(
        &mut self,
        place: ValuePlace,
        path: &Path<'_>,
        depth: u32,
    ) -> Result<ValueFacts<'a>, Malformed> {
        let mut object = ObjectFindings::default();
        let mut is_first = true;
        self.walk.enter();
        while let Some(key) = self.walk.key(&mut is_first)? {
            let path = path.key(std::str::from_utf8(key).unwrap_or_default());
            let name = Name::read(key);
            let name = name.as_ref().map_or(&b""[..], Name::as_bytes);
            if self.members.opaque.iter().any(|opaque| opaque.as_bytes() == name) {
                match place {
                    ValuePlace::Tool | ValuePlace::Plugin => self.parameters(&mut object, &path)?,
                    _ => drop(self.walk.skip()?),
                }
                continue;
            }
            let value = self.value(place.member(name, self.members), &path, depth)?;
            self.member(&mut object, place, name, value, &path);
        }
        Ok(self.end(object, place, path))
    }

    /// Reads a tool's own settings. Those of a function are a schema; those of a router's tool may name a model.
    fn parameters(&mut self, object: &mut ObjectFindings, path: &Path<'_>) -> Result<(), Malformed> {
        if self.walk.peek() != Some(b'{') {
            self.walk.skip()?;
            return Ok(());
        }
        let mut is_first = true;
        self.walk.enter();
        while let Some(key) = self.walk.key(&mut is_first)? {
            let value = self.walk.skip()?;
            if Name::read(key).is_some_and(|name| names_models(name.as_bytes())) {
                let key = std::str::from_utf8(key).unwrap_or_default();
                self.name_models(object, value, &path.key(key));
            }
        }
        Ok(())
    }

    /// Notes the meaning of a member for its object.
    fn member(
        &mut self,
        object: &mut ObjectFindings,
        place: ValuePlace,
        name: &[u8],
        value: ValueFacts<'a>,
        path: &Path<'_>,
    ) {
        object.media_inside += value.media;
        if let Some(at) = WORTH.iter().position(|known| known.as_bytes() == name) {
            let is_full = value.is_array && value.elements > 0 || value.is_text();
            *(if is_full { &mut object.full } else { &mut object.hollow }) |= 1 << at;
        }
        match name {
            b"type" if !value.literal.is_empty() && value.literal != b"null" => {
                let kinds = Kinds::of(value.literal);
                object.kinds = object.kinds.and(kinds);
                if kinds.has(Kinds::ITEM_REFERENCE.and(Kinds::SKILL)) {
                    self.refer(path);
                }
            }
            b"role" if value.is("assistant") => object.is_said = true,
            b"role" => object.is_asked = true,
            b"id" => object.has_id |= value.is_present(),
            b"url" => object.has_url |= value.is_present(),
            b"source" => {
                object.source = object.source.and(value.kinds);
                object.is_remote |= value.has_url || value.kinds.has(Kinds::URL);
            }
            b"environment" => {
                object.environment = object.environment.and(value.kinds);
                self.contain(&mut object.surrounding, value.container);
            }
            b"file_id" | b"file_ids" | b"container_id" | b"vector_store_ids" if value.is_present() => {
                self.id(object, place, name, &value, path);
            }
            b"container" if value.is_text() || value.has_id => self.refer(path),
            b"audio" | b"voice" if value.has_id => self.refer(path),
            b"tunnel_id" | b"comparison_response_id" | b"cached_content" | b"cachedcontent"
                if value.is_present() =>
            {
                self.refer(path);
            }
            b"file_uri" | b"fileuri" if is_stored(value.literal) => self.refer(path),
            b"skill_id" if value.is_present() => object.skill = Some(path.to_string()),
            _ if value.is_present() => self.medium(object, place, name, &value, path),
            _ => {}
        }
        self.doubt(&mut object.doubt, value.doubt);
    }

    /// Handles an id of a file or a container: it is a reference, unless the provider may have written it.
    fn id(
        &mut self,
        object: &mut ObjectFindings,
        place: ValuePlace,
        name: &[u8],
        value: &ValueFacts<'a>,
        path: &Path<'_>,
    ) {
        let proof = match (place, name) {
            (ValuePlace::Annotation, b"file_id" | b"container_id") => Some(Proof::ResponseMetadata),
            (ValuePlace::File, b"file_id") => Some(Proof::Ran),
            (ValuePlace::SearchResult, b"file_id") => Some(Proof::Search),
            _ => None,
        };
        match (proof, place, name) {
            (Some(proof), ..) => self.doubt(&mut object.doubt, Some((proof, path.to_string()))),
            (None, ValuePlace::Item | ValuePlace::Environment, b"container_id") if value.is_text() => {
                let id = json::text(value.literal).unwrap_or_default().into();
                self.contain(&mut object.container, Some((path.to_string(), id)));
            }
            _ => self.refer(path),
        }
    }

    /// Counts images and other media by the name of their member, whatever the part's type, and reads tools
    /// without a type.
    fn medium(
        &mut self,
        object: &mut ObjectFindings,
        place: ValuePlace,
        name: &[u8],
        value: &ValueFacts<'a>,
        path: &Path<'_>,
    ) {
        let count = if value.is_array { value.elements } else { 1 };
        match name {
            b"image_url" | b"images" | b"inline_data" | b"inlinedata" => object.media_members += count,
            b"input_audio" => (object.media_members, object.has_audio) = (object.media_members + count, true),
            b"audio_url" => {
                (object.media_members, object.has_audio) = (object.media_members + count, true);
                self.unbounded(path);
            }
            b"file_data" | b"filedata" => {
                object.media_members += count;
                if value.literal.is_empty() || is_address(value.literal) {
                    self.unbounded(path);
                }
            }
            b"file_url" | b"document_url" | b"video_url" | b"file_uri" | b"fileuri" => {
                object.media_members += count;
                self.unbounded(path);
            }
            _ if matches!(place, ValuePlace::Tool | ValuePlace::Plugin) => {
                object.kinds = object.kinds.and(Kinds::of_tool_member(name));
                if names_models(name) {
                    self.name_models(object, value.literal, path);
                }
            }
            _ => {}
        }
    }

    /// Draws the conclusions at the end of an object.
    fn end(&mut self, mut object: ObjectFindings, place: ValuePlace, path: &Path<'_>) -> ValueFacts<'a> {
        let kinds = object.kinds;
        if let Some(skill) = object.skill.take()
            && !kinds.are_only(Kinds::ANTHROPIC)
        {
            self.refer(&skill);
        }
        self.judge(&mut object, place);
        if place == ValuePlace::Item {
            self.item(&mut object, path);
        }
        if place != ValuePlace::Environment || !kinds.are_only(Kinds::CONTAINER) {
            self.refer_to(object.container.take());
        }
        self.refer_to(object.surrounding.take());
        let media = match place {
            ValuePlace::Tool | ValuePlace::Plugin => {
                self.tool(&mut object, place, path);
                object.media_inside
            }
            _ => self.media(&object, path),
        };
        ValueFacts {
            has_id: object.has_id,
            has_url: object.has_url,
            kinds,
            media,
            doubt: object.doubt,
            container: object.container,
            ..ValueFacts::default()
        }
    }

    /// Decides a doubt as far as this object can prove it.
    fn judge(&mut self, object: &mut ObjectFindings, place: ValuePlace) {
        let Some((proof, path)) = object.doubt.take() else { return };
        let kinds = object.kinds;
        let is_the_assistants = object.is_said && !object.is_asked;
        match (place, proof) {
            (ValuePlace::Annotation, _) if !kinds.are_only(Kinds::CITATION) => self.refer(&path),
            (ValuePlace::Ran, _) if !kinds.are_only(Kinds::RAN) => self.refer(&path),
            (ValuePlace::Part, Proof::Ran) if !kinds.are_only(Kinds::CODE_RESULT) => self.refer(&path),
            (ValuePlace::Item, Proof::ResponseMetadata | Proof::Ran) if !is_the_assistants => {
                self.refer(&path);
            }
            (ValuePlace::Item, Proof::Search) if !kinds.are_only(Kinds::FILE_SEARCH_CALL) => {
                self.refer(&path);
            }
            (ValuePlace::Item, _) => {}
            _ => object.doubt = Some((proof, path)),
        }
    }

    /// Handles an item of the conversation: some consist only of their id, and some have run in a container.
    fn item(&mut self, object: &mut ObjectFindings, path: &Path<'_>) {
        let kinds = object.kinds;
        let is_thought = kinds.has(Kinds::REASONING);
        let is_its_id = !object.says(TYPE | ROLE) || is_thought && !object.says(THOUGHT);
        let has_no_picture = kinds.has(Kinds::IMAGE_CALL) && !object.says(RESULT);
        if object.has_id && is_its_id || has_no_picture {
            self.refer(path);
        }
        let ran = object.container.take_if(|_| kinds.are_only(Kinds::CODE_CALL));
        let shell = object.surrounding.take_if(|_| kinds.are_only(Kinds::SHELL_CALL));
        for (path, id) in ran.into_iter().chain(shell) {
            let known = &mut self.found.containers;
            if known.iter().any(|(_, other)| *other == id) {
                continue;
            }
            if known.len() < MAX_CONTAINERS {
                known.push((path, id));
            } else {
                self.refer(&path);
            }
        }
    }

    /// Handles a tool: the side that runs it, its fees, and its model.
    fn tool(&mut self, object: &mut ObjectFindings, place: ValuePlace, path: &Path<'_>) {
        let mut kinds = object.kinds;
        if kinds.has(Kinds::SHELL) {
            let is_local = kinds.are_only(Kinds::SHELL) && object.environment.are_only(Kinds::LOCAL);
            kinds = if is_local { Kinds::CLIENT } else { kinds.and(Kinds::CODE) };
        }
        let is_plugin = place == ValuePlace::Plugin;
        if !is_plugin && (kinds == Kinds::default() || kinds.are_only(Kinds::CLIENT)) {
            return;
        }
        self.unbounded(path);
        for (kind, service) in [
            (Kinds::WEB_SEARCH, Service::WebSearch),
            (Kinds::IMAGES, Service::ImageGeneration),
            (Kinds::CODE, Service::CodeExecution),
            (Kinds::FILE_SEARCH, Service::FileSearch),
            (Kinds::ROUTER, Service::Plugins),
        ] {
            if kinds.has(kind) {
                self.serve(service, path);
            }
        }
        if is_plugin {
            self.serve(Service::Plugins, path);
        }
        for named in object.named.drain(..) {
            inner::keep(&mut self.found.inner, named);
        }
    }

    fn name_models(&self, object: &mut ObjectFindings, value: &[u8], path: &Path<'_>) {
        if value != b"null" && !inner::is_full(&self.found.inner) {
            inner::record_named(&mut object.named, path, Some(value));
        }
    }

    /// Counts the images, recordings and documents of a part: the part itself or, if there are more, those inside
    /// of it.
    fn media(&mut self, object: &ObjectFindings, path: &Path<'_>) -> u64 {
        let kinds = object.kinds;
        if kinds.has(Kinds::AUDIO) || object.has_audio {
            self.serve(Service::AudioInput, path);
        }
        if kinds.has(Kinds::VIDEO) || kinds.has(Kinds::FILE) && object.is_remote {
            self.unbounded(path);
        }
        let all = Kinds::IMAGE.and(Kinds::AUDIO).and(Kinds::VIDEO).and(Kinds::FILE).and(Kinds::IMAGE_CALL);
        let is_text = kinds.are_only(Kinds::FILE) && object.source.are_only(Kinds::TEXT);
        let own = object.media_members.max(u64::from(kinds.has(all) && !is_text));
        own.max(object.media_inside)
    }

    /// Keeps an id in doubt. One id decides for all with the same proof.
    fn doubt(&mut self, slot: &mut Option<Doubt>, new: Option<Doubt>) {
        match (slot.as_ref(), new) {
            (None, new) => *slot = new,
            (Some((known, _)), Some((proof, path))) if *known != proof => self.refer(&path),
            _ => {}
        }
    }

    /// Keeps a container. If an object names two, readers may take either, so the second one is a reference.
    fn contain(&mut self, slot: &mut Option<(String, String)>, new: Option<(String, String)>) {
        match (slot.as_ref(), new) {
            (None, new) => *slot = new,
            (Some((_, known)), Some((path, id))) if *known != id => self.refer(&path),
            _ => {}
        }
    }

    fn refer_to(&mut self, container: Option<(String, String)>) {
        if let Some((path, _)) = container {
            self.refer(&path);
        }
    }

    /// Notes a reference to state.
    fn refer(&mut self, path: &dyn Display) {
        let found = &mut self.found;
        found.state.get_or_insert_with(|| path.to_string());
        found.demand.unbounded.get_or_insert_with(|| path.to_string());
    }

    fn unbounded(&mut self, path: &Path<'_>) {
        self.found.demand.unbounded.get_or_insert_with(|| path.to_string());
    }

    fn serve(&mut self, service: Service, path: &Path<'_>) {
        let services = &mut self.found.demand.services;
        if services.iter().all(|(known, _)| *known != service) {
            services.push((service, path.to_string()));
        }
    }
}

/// Whether a member of a tool names models.
fn names_models(name: &[u8]) -> bool {
    matches!(
        name,
        b"model" | b"models" | b"allowed_models" | b"fallback_models" | b"fallbacks" | b"advisor_model"
    )
}

/// Members that show the type of an item, or hold the content that its id stands for.
const WORTH: [&str; 6] = ["type", "role", "result", "summary", "content", "encrypted_content"];

/// Bits of [`WORTH`], by the index of the member.
const TYPE: u8 = 1;
const ROLE: u8 = 1 << 1;
const RESULT: u8 = 1 << 2;
const THOUGHT: u8 = 1 << 3 | 1 << 4 | 1 << 5;

/// Maximum nesting depth that is looked into. In all three protocols, everything that is looked for is at most ten
/// deep.
const MAX_DEPTH: u32 = 16;

/// Maximum number of containers that are noted for one history: a further one counts as a reference to state.
const MAX_CONTAINERS: usize = 64;

/// Whether the address of a file is one of Google's stores, which all callers of the gateway share.
fn is_stored(literal: &[u8]) -> bool {
    let Some(address) = json::text(literal).map(|text| text.trim().to_ascii_lowercase()) else {
        return false;
    };
    let is_of_files = address.contains("generativelanguage.googleapis.com") && address.contains("/files/");
    is_of_files || address.starts_with("gs:") || address.starts_with("files/")
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
