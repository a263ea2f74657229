//! The files of a case.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crossmodel::provider::preset;
use crossmodel_core::canon::{Caps, Carrier, Profile, ProfileSettings, ProtocolId, SealKey, Sealer, Target};
use crossmodel_core::json::{Lenient as _, Raw};
use crossmodel_core::translate::bridge::{Rendered, RequestFacts, render};
use crossmodel_core::{Failure, json};
use serde::Deserialize;

/// `case.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What is expected, in a line.
    pub(crate) title: String,
    /// The protocol of the client.
    pub(crate) client: ProtocolId,
    /// The protocol of the provider.
    pub(crate) upstream: ProtocolId,
    /// The known provider whose habits it has; absent: none of a name.
    pub(crate) preset: Option<String>,
    /// The provider's name of the model.
    pub(crate) model: String,
    /// Habits in which the provider differs.
    #[serde(default)]
    pub(crate) profile: ProfileSettings,
    /// Whether a loss is a refusal.
    #[serde(default)]
    pub(crate) strict: bool,
    /// Why the conversation can not grow by another turn, where it can not.
    pub(crate) final_because: Option<String>,
    /// Whether a Chat client asked for the usage of its stream.
    #[serde(default)]
    pub(crate) include_usage: bool,
    /// The status of the provider's answer, where it is none of success.
    pub(crate) status: Option<u16>,
    /// Its `retry-after`.
    pub(crate) retry_after: Option<u64>,
}

/// A case.
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) case: Result<Case, String>,
    files: BTreeMap<String, String>,
    used: RefCell<BTreeSet<String>>,
}

impl Folder {
    fn read(path: &Path) -> Self {
        let files: BTreeMap<String, String> = fs::read_dir(path)
            .unwrap()
            .map(|file| file.unwrap())
            .map(|file| {
                let text = fs::read_to_string(file.path()).unwrap_or_default();
                (file.file_name().to_string_lossy().into_owned(), expanded(&text))
            })
            .collect();
        let text = files.get("case.json").map(String::as_str).unwrap_or_default();
        let case = serde_json::from_str(text).map_err(|error| error.to_string());
        let used = RefCell::new(BTreeSet::from(["case.json".to_owned()]));
        Self { name: path.file_name().unwrap().to_string_lossy().into_owned(), case, files, used }
    }

    pub(crate) fn title(&self) -> &str {
        self.case.as_ref().map_or("", |case| &case.title)
    }

    /// A file of the case.
    pub(crate) fn file(&self, name: &str) -> Option<&str> {
        self.used.borrow_mut().insert(name.to_owned());
        self.files.get(name).map(String::as_str)
    }

    /// Files that nobody has asked for.
    pub(crate) fn unused(&self) -> impl Iterator<Item = &str> {
        let used = self.used.borrow().clone();
        self.files.keys().map(String::as_str).filter(move |name| !used.contains(*name))
    }
}

impl Case {
    /// The provider's habits.
    pub(crate) fn profile(&self) -> Profile {
        let known = self.preset.as_ref().map(|name| preset(name).unwrap());
        let profile = known.map_or_else(Profile::default, |known| Profile::default().with(&known.profile));
        profile.with(&self.profile)
    }

    /// The provider's name.
    fn origin(&self) -> &str {
        self.preset.as_deref().unwrap_or("plain")
    }

    /// The request as it goes to the provider.
    pub(crate) fn render(&self, body: &[u8]) -> Result<Rendered, Failure> {
        let profile = self.profile();
        let caps = Caps::of(self.upstream, &self.model, &profile);
        let target = Target {
            protocol: self.upstream,
            origin: self.origin(),
            model: &self.model,
            profile: &profile,
            caps: &caps,
            sealer: &sealer(),
        };
        let facts = RequestFacts {
            request_id: ID,
            now: NOW,
            model: MODEL,
            strict: self.strict,
            counting: false,
            output_cap: None,
        };
        render(self.client.protocol(), body, &target, &facts)
    }
}

/// All cases of a kind, in the order of their names.
pub(crate) fn folders(kind: &str) -> Vec<Folder> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(kind);
    let mut paths: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let only = std::env::var("GOLDEN_ONLY").unwrap_or_default();
    let chosen = paths.iter().filter(|path| path.to_string_lossy().contains(&only));
    chosen.map(|path| Folder::read(path)).collect()
}

/// `{{carrier ORIGIN MODEL BLOCK}}`, at the end of a text, stands for the carrier of that block.
fn expanded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{carrier ") {
        let (inner, after) = after.split_once("}}\"").unwrap();
        let mut parts = inner.splitn(3, ' ');
        let (origin, model) = (parts.next().unwrap(), parts.next().unwrap());
        let blocks = parts.map(|block| Raw::read_owned(block.to_owned()).unwrap()).collect();
        out.push_str(before);
        out.push_str(&Carrier { blocks }.seal(&sealer(), origin, model));
        out.push('"');
        rest = after;
    }
    out + rest
}

/// The seal of the carriers of all cases.
fn sealer() -> Sealer {
    Sealer::new(&SealKey::new([7; 32]), "account")
}

/// The elements of a list in a document, as they are written.
pub(crate) fn elements<'b>(body: &'b [u8], name: &str) -> Vec<&'b str> {
    let Some(list) = json::members(body).lenient().find(|member| member.is(name)) else {
        return Vec::new();
    };
    let list = &body[list.span];
    let spans = json::elements(list).lenient();
    spans.map(|(_, span)| std::str::from_utf8(&list[span]).unwrap()).collect()
}

pub(crate) const ID: &str = "req_cm_golden";
pub(crate) const NOW: u64 = 1_767_225_600;
pub(crate) const MODEL: &str = "vendor/model";
