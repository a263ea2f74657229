//! What an answer says, in short, and whether its stream keeps to the grammar of its protocol.

use std::collections::BTreeMap;

use crossmodel_core::canon::ProtocolId;
use serde_json::{Value, json};

use crate::files::MODEL;

/// One event of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: Option<String>,
    pub(crate) data: Value,
}

/// What an answer says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Digest {
    text: String,
    refusal: String,
    thought: String,
    /// Names and arguments.
    calls: Vec<(String, String)>,
    finish: String,
}

type Told = Result<Option<Digest>, String>;

/// The events of a stream.
pub(crate) fn events(bytes: &[u8]) -> Vec<Event> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    blocks
        .map(|block| {
            let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            let data = line("data: ").unwrap_or(block);
            let data = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
            Event { name: line("event: ").map(ToOwned::to_owned), data }
        })
        .collect()
}

/// What a stream says; nothing if it ends with a failure.
pub(crate) fn of_stream(client: ProtocolId, events: &[Event]) -> Told {
    match client {
        ProtocolId::Chat => chat(events),
        ProtocolId::Responses => responses(events),
        ProtocolId::Messages => messages(events),
        ProtocolId::Gemini => gemini(events),
    }
}

/// What a whole answer says.
pub(crate) fn of_whole(client: ProtocolId, body: &[u8]) -> Digest {
    let body: Value = serde_json::from_slice(body).unwrap();
    match client {
        ProtocolId::Chat => {
            let choice = &body["choices"][0];
            let mut digest = Digest { finish: text(&choice["finish_reason"]), ..Digest::default() };
            digest.text = text(&choice["message"]["content"]);
            digest.refusal = text(&choice["message"]["refusal"]);
            digest.thought = text(&choice["message"]["reasoning_content"]);
            for call in list(&choice["message"]["tool_calls"]) {
                let (name, args) = chat_call(call);
                digest.calls.push((name, args));
            }
            digest
        }
        ProtocolId::Responses => response(&body),
        ProtocolId::Gemini => {
            let mut digest = Digest::default();
            parts(&body, &mut digest);
            digest
        }
        ProtocolId::Messages => {
            let mut digest = Digest { finish: text(&body["stop_reason"]), ..Digest::default() };
            for block in list(&body["content"]) {
                digest.text += &text(&block["text"]);
                digest.thought += &text(&block["thinking"]);
                if block["type"] == "tool_use" {
                    let input = &block["input"];
                    let input = input.get("_raw_arguments").unwrap_or(input);
                    let input = input.as_str().map_or_else(|| input.to_string(), ToOwned::to_owned);
                    digest.calls.push((text(&block["name"]), input));
                }
            }
            digest
        }
    }
}

/// The contents of the parts of a Gemini answer.
fn parts(body: &Value, digest: &mut Digest) {
    let candidate = &body["candidates"][0];
    for part in list(&candidate["content"]["parts"]) {
        match part["thought"] == true {
            true => digest.thought += &text(&part["text"]),
            false => digest.text += &text(&part["text"]),
        }
        if let Some(call) = part.get("functionCall") {
            digest.calls.push((text(&call["name"]), call["args"].to_string()));
        }
    }
    digest.finish += &text(&candidate["finishReason"]);
    digest.refusal += &text(&candidate["finishMessage"]);
}

fn gemini(events: &[Event]) -> Told {
    let mut digest = Digest::default();
    for event in events {
        must(event.name.is_none(), "an event has a name")?;
        must(digest.finish.is_empty(), "something follows the end")?;
        if event.data.get("error").is_some() {
            return Ok(None);
        }
        must(event.data["modelVersion"] == MODEL, "the model is not the client's")?;
        let content = &event.data["candidates"][0]["content"];
        must(content["role"] == "model" && !list(&content["parts"]).is_empty(), "there is no content")?;
        must(event.data.get("usageMetadata").is_some(), "there are no counts")?;
        parts(&event.data, &mut digest);
    }
    must(!digest.finish.is_empty(), "the end is missing")?;
    Ok(Some(digest))
}

fn chat(events: &[Event]) -> Told {
    let mut digest = Digest::default();
    let mut calls: BTreeMap<u64, (String, String)> = BTreeMap::new();
    let (mut roles, mut first, mut ended) = (0, None, false);
    for event in events {
        must(event.name.is_none(), "an event has a name")?;
        must(!ended, "something follows the end")?;
        if event.data == "[DONE]" {
            ended = true;
            continue;
        }
        if event.data.get("error").is_some() {
            return Ok(None);
        }
        let same = (event.data["id"].clone(), event.data["created"].clone(), event.data["model"].clone());
        must(same.2 == MODEL, "the model is not the client's")?;
        must(*first.get_or_insert_with(|| same.clone()) == same, "id, time or model change")?;
        let choice = &event.data["choices"][0];
        let delta = &choice["delta"];
        roles += u32::from(delta.get("role").is_some());
        digest.text += &text(&delta["content"]);
        digest.refusal += &text(&delta["refusal"]);
        digest.thought += &text(&delta["reasoning_content"]);
        for call in list(&delta["tool_calls"]) {
            let (name, args) = chat_call(call);
            let index = call["index"].as_u64().ok_or("a call has no index")?;
            let known = calls.contains_key(&index);
            must(known == call.get("id").is_none(), "a call's id does not stand in its first event only")?;
            must(known == name.is_empty(), "a call's name does not stand in its first event only")?;
            let entry = calls.entry(index).or_default();
            entry.0 += &name;
            entry.1 += &args;
        }
        let finish = text(&choice["finish_reason"]);
        must(finish.is_empty() || digest.finish.is_empty(), "there are two ends")?;
        digest.finish += &finish;
    }
    must(roles == 1, "the role does not stand there once")?;
    must(ended && !digest.finish.is_empty(), "the end is missing")?;
    digest.calls = calls.into_values().collect();
    Ok(Some(digest))
}

fn chat_call(call: &Value) -> (String, String) {
    let (function, custom) = (&call["function"], &call["custom"]);
    let name = text(&function["name"]) + &text(&custom["name"]);
    (name, text(&function["arguments"]) + &text(&custom["input"]))
}

fn responses(events: &[Event]) -> Told {
    let mut items: Vec<Value> = Vec::new();
    let mut open: Option<(u64, String)> = None;
    let mut said = String::new();
    for (number, event) in events.iter().enumerate() {
        let kind = text(&event.data["type"]);
        must(event.name.as_deref() == Some(&kind), "the name is not the type")?;
        must(event.data["sequence_number"] == number, "the numbers have a gap")?;
        let at = event.data["output_index"].as_u64();
        if let Some(response) = event.data.get("response") {
            must(response["model"] == MODEL, "the model is not the client's")?;
        }
        match &*kind {
            "response.output_item.added" => {
                must(open.is_none(), "an item opens while another is open")?;
                must(at == Some(items.len() as u64), "an item is out of order")?;
                open = Some((at.unwrap_or_default(), text(&event.data["item"]["id"])));
            }
            "response.output_item.done" => {
                let (index, id) = open.take().ok_or("an item ends that was not open")?;
                must(at == Some(index) && event.data["item"]["id"] == *id, "another item ends")?;
                items.push(event.data["item"].clone());
            }
            "response.failed" => return Ok(None),
            "response.completed" | "response.incomplete" => {
                must(number + 1 == events.len(), "something follows the end")?;
                must(open.is_none(), "an item is open at the end")?;
                let response = &event.data["response"];
                must(list(&response["output"]) == items, "the output is not what was said")?;
                let digest = response_digest(response, &said)?;
                return Ok(Some(digest));
            }
            "response.created" => must(number == 0, "it begins twice")?,
            "response.in_progress" => must(number == 1, "it begins twice")?,
            _ => {
                let (index, id) = open.as_ref().ok_or("a part stands in no item")?;
                must(at == Some(*index) && event.data["item_id"] == **id, "a part is another item's")?;
                if kind == "response.output_text.delta" {
                    said += &text(&event.data["delta"]);
                }
            }
        }
    }
    Err("the end is missing".to_owned())
}

fn response_digest(body: &Value, said: &str) -> Result<Digest, String> {
    let digest = response(body);
    must(digest.text == said, "the text is not what was said")?;
    Ok(digest)
}

fn response(body: &Value) -> Digest {
    let reason = text(&body["incomplete_details"]["reason"]);
    let mut digest = Digest { finish: text(&body["status"]) + &reason, ..Digest::default() };
    for item in list(&body["output"]) {
        for part in list(&item["content"]) {
            digest.text += &text(&part["text"]);
            digest.refusal += &text(&part["refusal"]);
        }
        list(&item["summary"]).iter().for_each(|part| digest.thought += &text(&part["text"]));
        if text(&item["type"]).ends_with("_call") {
            digest.calls.push((text(&item["name"]), text(&item["arguments"]) + &text(&item["input"])));
        }
    }
    digest
}

fn messages(events: &[Event]) -> Told {
    let mut digest = Digest::default();
    let mut open: Option<u64> = None;
    let (mut blocks, mut began, mut ended) = (0, false, false);
    let mut args = String::new();
    for event in events {
        let kind = text(&event.data["type"]);
        must(event.name.as_deref() == Some(&kind), "the name is not the type")?;
        must(!ended, "something follows the end")?;
        if kind == "error" {
            return Ok(None);
        }
        must(began != (kind == "message_start"), "it begins late or twice")?;
        let at = event.data["index"].as_u64();
        match &*kind {
            "message_start" => {
                began = true;
                must(event.data["message"]["model"] == MODEL, "the model is not the client's")?;
            }
            "content_block_start" => {
                must(open.is_none() && at == Some(blocks), "a block is out of order")?;
                open = at;
                blocks += 1;
                let block = &event.data["content_block"];
                if block["type"] == "tool_use" {
                    must(block["input"].as_object().is_some_and(|input| input.is_empty()), "input is there")?;
                    digest.calls.push((text(&block["name"]), String::new()));
                    args.clear();
                }
            }
            "content_block_delta" => {
                must(open.is_some() && open == at, "a delta stands in no block")?;
                let delta = &event.data["delta"];
                digest.text += &text(&delta["text"]);
                digest.thought += &text(&delta["thinking"]);
                args += &text(&delta["partial_json"]);
            }
            "content_block_stop" => {
                must(open.is_some() && open.take() == at, "a block ends that was not open")?;
                let shown = if args.is_empty() { "{}".to_owned() } else { std::mem::take(&mut args) };
                let shown = serde_json::from_str(&shown).map_or(shown, input);
                if let Some(call) = digest.calls.last_mut().filter(|call| call.1.is_empty()) {
                    call.1 = shown;
                }
            }
            "message_delta" => digest.finish += &text(&event.data["delta"]["stop_reason"]),
            "message_stop" => {
                ended = true;
                must(open.is_none() && !digest.finish.is_empty(), "it ends too early")?;
            }
            "ping" => {}
            other => return Err(format!("{other} is no event")),
        }
    }
    must(ended, "the end is missing")?;
    Ok(Some(digest))
}

/// What a whole answer makes of arguments that a stream brings as they are.
fn input(args: Value) -> String {
    let inner = args.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    match (inner, args) {
        (Some(inner), _) if inner.is_object() => inner.to_string(),
        (_, args) if args.is_object() => args.to_string(),
        (_, args) => json!({ "value": args }).to_string(),
    }
}

fn must(holds: bool, fault: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault.to_owned()) }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
