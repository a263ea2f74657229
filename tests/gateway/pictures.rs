//! Events of many megabytes, as those of generated pictures are.

use crate::streams::streaming;
use crate::support::{Gateway, Mock, PROTOCOLS, config, post, sse};

/// A Responses stream with a picture of so many bytes in two of its events.
fn stream(size: usize) -> String {
    let picture = "iVBORw0KGgoAAAAN".repeat(size / 16);
    let item = format!(r#"{{"id":"ig_1","type":"image_generation_call","result":"{picture}"}}"#);
    let created = r#"{"type":"response.created","response":{"id":"r","model":"@"}}"#;
    let usage = r#""usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}"#;
    format!(
        "event: response.created\ndata: {created}\n\n\
         event: response.output_item.done\ndata: {{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{item}}}\n\n\
         event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"r\",\"model\":\"@\",\"output\":[{item}],{usage}}}}}\n\n"
    )
}

#[test]
fn a_picture_of_thirteen_megabytes_passes() {
    let stream = stream(13 << 20);
    let sent = stream.replace('@', "real-model");
    let mock = Mock::new(sse(sent.as_bytes().chunks(60_000)));
    let gateway = Gateway::start(&config(mock.port));
    let response = post(&gateway, PROTOCOLS[1].0, &streaming(1));
    assert!(response.status == 200 && response.complete);
    assert!(response.body == stream.replace('@', "v/model"), "{} bytes", response.body.len());
}

#[test]
fn pictures_that_arrive_count_with_the_memory_of_bodies() {
    let sent = [13 << 20, 2 << 20].map(|size| stream(size).replace('@', "real-model"));
    let mock = Mock::scripted(move |_, number| sse(sent[number.min(1)].as_bytes().chunks(60_000)));
    let gateway = Gateway::start(&format!("limits: {{body_memory_bytes: 4000000}}\n{}", config(mock.port)));
    let before = gateway.peak_memory();
    let response = post(&gateway, PROTOCOLS[1].0, &streaming(1));
    assert!(
        response.complete && response.body.contains("The gateway is overloaded."),
        "{}",
        response.body.len()
    );
    assert!(response.body.len() < 10_000 && !response.body.contains("iVBOR"), "nothing of the picture");
    let taken = gateway.peak_memory().saturating_sub(before);
    assert!(taken < 16 << 20, "{taken} bytes");
    // The room is free again for the next one.
    let next = post(&gateway, PROTOCOLS[1].0, &streaming(1));
    assert!(next.status == 200 && next.body.starts_with("event: response.created"), "{}", next.body);
}
