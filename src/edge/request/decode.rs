//! Content encodings of request bodies, which are decoded as they arrive.
//!
//! A few bytes may stand for very many. So no more is decoded at once than a small part, and the size of a body is checked
//! before the next one.

use std::io::{self, Write as _};

use flate2::write::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use zstd::stream::raw::{DParameter, Decoder as ZstdContext, Operation as _};

use crate::failure::{Failure, Kind, Result};

/// A content encoding that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum ContentEncoding {
    /// Zstandard.
    Zstd,
    /// Gzip.
    Gzip,
    /// Zlib, or its data without the frame around it.
    Deflate,
}

/// The decoder of one body.
pub(in crate::edge) struct BodyDecoder {
    state: State,
    /// Bytes that have arrived.
    received: usize,
    /// Bytes that they stand for.
    decoded: usize,
}

enum State {
    Zstd(ZstdState),
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Deflate(Box<DeflateDecoder<Vec<u8>>>),
    /// A `deflate` whose first byte has not arrived.
    Unknown,
}

struct ZstdState {
    context: ZstdContext<'static>,
    room: Box<[u8]>,
    /// Bytes of the frame's magic number that have arrived.
    magic: usize,
    /// Whether the frame is complete.
    is_over: bool,
}

impl ContentEncoding {
    /// Returns the encoding of a request's body; `None` if it has none.
    ///
    /// # Errors
    /// Returns 415 if it is unknown, or if there are several.
    pub(in crate::edge) fn of(headers: &HeaderMap) -> Result<Option<Self>> {
        let all = headers.get_all(header::CONTENT_ENCODING).iter();
        let names =
            all.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let mut names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
        let Some(name) = names.next() else { return Ok(None) };
        let known = ENCODINGS.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        match (known, names.next()) {
            (Some((_, encoding)), None) => Ok(Some(encoding)),
            _ => Err(Failure::new(Kind::UnsupportedEncoding, UNSUPPORTED)),
        }
    }

    /// Returns the bytes that a decoder takes at most besides what it has decoded.
    pub(in crate::edge) fn memory(self) -> usize {
        match self {
            Self::Zstd => (1 << MAX_WINDOW_LOG) + DECODER_ROOM,
            Self::Gzip | Self::Deflate => DECODER_ROOM,
        }
    }

    /// Returns a decoder.
    ///
    /// # Errors
    /// Returns 500 if there is no memory for it.
    pub(in crate::edge) fn decoder(self) -> Result<BodyDecoder> {
        let state = match self {
            Self::Zstd => State::Zstd(ZstdState::new().map_err(|why| internal(&why))?),
            Self::Gzip => State::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            Self::Deflate => State::Unknown,
        };
        Ok(BodyDecoder { state, received: 0, decoded: 0 })
    }
}

impl BodyDecoder {
    /// Decodes a part, and hands out what it stands for in small parts.
    ///
    /// # Errors
    /// Returns 400 if it is damaged, 413 if it stands for far more than any request, and the failure of `take`.
    pub(in crate::edge) fn push(
        &mut self,
        part: &[u8],
        take: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if let (State::Unknown, Some(first)) = (&self.state, part.first()) {
            self.state = State::deflate(*first);
        }
        for piece in part.chunks(PIECE) {
            self.received += piece.len();
            let (received, decoded) = (self.received, &mut self.decoded);
            self.state.push(piece, &mut |bytes| {
                *decoded += bytes.len();
                if *decoded > MIN_BOMB && *decoded / MAX_RATIO > received {
                    return Err(Failure::new(Kind::TooLarge, "The request body expands too much."));
                }
                take(bytes)
            })?;
        }
        Ok(())
    }

    /// Takes the end of the body.
    ///
    /// # Errors
    /// Returns 400 if the body is cut off, and the failure of `take`.
    pub(in crate::edge) fn finish(mut self, take: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let rest = match &mut self.state {
            State::Zstd(zstd) if zstd.is_over => return Ok(()),
            State::Zstd(_) | State::Unknown => return Err(damaged(&io::ErrorKind::UnexpectedEof.into())),
            State::Gzip(gzip) => gzip.try_finish().map(|()| std::mem::take(gzip.get_mut())),
            State::Zlib(zlib) => zlib.try_finish().map(|()| std::mem::take(zlib.get_mut())),
            State::Deflate(raw) => raw.try_finish().map(|()| std::mem::take(raw.get_mut())),
        };
        take(&rest.map_err(|why| damaged(&why))?)
    }
}

impl State {
    /// Begins a `deflate`. By its name, it has zlib's frame, whose first byte names the method 8; some clients leave
    /// that out.
    fn deflate(first: u8) -> Self {
        match first & 0x0f == 8 {
            true => Self::Zlib(Box::new(ZlibDecoder::new(Vec::new()))),
            false => Self::Deflate(Box::new(DeflateDecoder::new(Vec::new()))),
        }
    }

    fn push(&mut self, piece: &[u8], take: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let decoded = match self {
            Self::Zstd(zstd) => return zstd.push(piece, take),
            Self::Gzip(gzip) => gzip.write_all(piece).map(|()| std::mem::take(gzip.get_mut())),
            Self::Zlib(zlib) => zlib.write_all(piece).map(|()| std::mem::take(zlib.get_mut())),
            Self::Deflate(raw) => raw.write_all(piece).map(|()| std::mem::take(raw.get_mut())),
            Self::Unknown => return Ok(()),
        };
        take(&decoded.map_err(|why| damaged(&why))?)
    }
}

impl ZstdState {
    fn new() -> io::Result<Self> {
        let mut context = ZstdContext::new()?;
        context.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
        Ok(Self { context, room: vec![0; ZSTD_ROOM].into(), magic: 0, is_over: false })
    }

    fn push(&mut self, mut piece: &[u8], take: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let magic = MAGIC.get(self.magic..).unwrap_or_default();
        if magic.iter().zip(piece).any(|(known, byte)| known != byte) {
            return Err(damaged(&io::ErrorKind::InvalidData.into()));
        }
        self.magic += magic.len().min(piece.len());
        loop {
            if self.is_over && !piece.is_empty() {
                return Err(damaged(&io::ErrorKind::InvalidData.into()));
            }
            let step = self.context.run_on_buffers(piece, &mut self.room).map_err(|why| damaged(&why))?;
            take(self.room.get(..step.bytes_written).unwrap_or_default())?;
            piece = piece.get(step.bytes_read..).unwrap_or_default();
            self.is_over = step.remaining == 0;
            // As long as the room was filled, there may be more.
            if self.is_over && piece.is_empty() || piece.is_empty() && step.bytes_written < self.room.len() {
                return Ok(());
            }
        }
    }
}

fn damaged(why: &io::Error) -> Failure {
    let message = "The request body is damaged: it cannot be decoded as its content-encoding says.";
    Failure::new(Kind::InvalidJson, message).with_detail(why.to_string())
}

fn internal(why: &io::Error) -> Failure {
    Failure::new(Kind::Internal, "The request body cannot be decoded now.").with_detail(why.to_string())
}

/// The names of encodings.
const ENCODINGS: [(&str, ContentEncoding); 4] = [
    ("zstd", ContentEncoding::Zstd),
    ("gzip", ContentEncoding::Gzip),
    ("x-gzip", ContentEncoding::Gzip),
    ("deflate", ContentEncoding::Deflate),
];

/// The names of all encodings that a client may use.
pub(in crate::edge) const ACCEPTED: &str = "zstd, gzip, deflate, identity";

const UNSUPPORTED: &str =
    "The body has an unknown content encoding: send it as zstd, gzip or deflate, or without one.";

/// The first bytes of a zstd frame. The library knows older formats, too, which no client uses.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The largest window of zstd, as a power of two: 8 MiB, which RFC 9659 sets for HTTP.
const MAX_WINDOW_LOG: u32 = 23;

/// Bytes of a decoder's own tables and buffers: a block of zstd and its tables, which are the largest.
const DECODER_ROOM: usize = 1 << 20;

/// Bytes that zstd decodes at once: a block.
const ZSTD_ROOM: usize = 128 << 10;

/// Bytes that are decoded at once. With deflate, they stand for a thousand times as many at most.
const PIECE: usize = 256;

/// The ratio of a body to its encoded form that no request has, and the bytes from which on it counts: a small body may
/// consist of nothing but repetitions.
const MAX_RATIO: usize = 1000;
const MIN_BOMB: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    use super::*;

    fn encoded(text: &[u8]) -> [(ContentEncoding, Vec<u8>); 4] {
        let (mut gzip, mut zlib, mut raw) = (
            GzEncoder::new(Vec::new(), Compression::default()),
            ZlibEncoder::new(Vec::new(), Compression::default()),
            DeflateEncoder::new(Vec::new(), Compression::default()),
        );
        gzip.write_all(text).unwrap();
        zlib.write_all(text).unwrap();
        raw.write_all(text).unwrap();
        [
            (ContentEncoding::Zstd, zstd::stream::encode_all(text, 3).unwrap()),
            (ContentEncoding::Gzip, gzip.finish().unwrap()),
            (ContentEncoding::Deflate, zlib.finish().unwrap()),
            (ContentEncoding::Deflate, raw.finish().unwrap()),
        ]
    }

    fn decoded(encoding: ContentEncoding, bytes: &[u8], size: usize) -> Result<Vec<u8>> {
        let (mut decoder, mut out) = (encoding.decoder()?, Vec::new());
        let mut take = |part: &[u8]| {
            out.extend_from_slice(part);
            Ok(())
        };
        for part in bytes.chunks(size) {
            decoder.push(part, &mut take)?;
        }
        decoder.finish(&mut take)?;
        Ok(out)
    }

    fn text(size: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (state >> 24) as u8 % 26
        };
        (0..size).map(|_| next()).collect()
    }

    #[test]
    fn a_body_is_the_same_however_it_is_encoded_and_cut() {
        for size in [0, 1, 300, 200_000, 3 << 20] {
            let text = text(size);
            for (encoding, bytes) in encoded(&text) {
                for cut in [1, 7, 1000, usize::MAX].into_iter().filter(|cut| *cut > 1 || size < 1000) {
                    let out = decoded(encoding, &bytes, cut.min(bytes.len()));
                    assert!(out.unwrap() == text, "{encoding:?} of {size} in parts of {cut}");
                }
            }
        }
    }

    #[test]
    fn damaged_bodies_are_refused() {
        for (n, (encoding, bytes)) in encoded(&text(10_000)).into_iter().enumerate() {
            let mut twice = bytes.clone();
            twice.extend_from_slice(&bytes);
            let mut flipped = bytes.clone();
            flipped[0] ^= 0x80;
            let checked = n < 2;
            for (wrong, what) in [
                (&bytes[..bytes.len() - 1], "cut"),
                (&twice[..], "twice"),
                (&flipped[..], "flipped"),
                (&[], "empty"),
            ] {
                let result = decoded(encoding, wrong, wrong.len().max(1));
                let kind = result.map_err(|failure| failure.kind());
                assert!(kind == Err(Kind::InvalidJson) || !checked && what != "empty", "{what} {encoding:?}");
            }
        }
        // A window of 128 MiB, and a format of ten years ago.
        for wrong in [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x88, 1, 0, 0][..], &[0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]]
        {
            let kind = decoded(ContentEncoding::Zstd, wrong, 9).map_err(|failure| failure.kind());
            assert_eq!(kind, Err(Kind::InvalidJson));
        }
    }

    #[test]
    fn a_bomb_is_refused_while_it_is_small() {
        for (encoding, bytes) in encoded(&vec![b' '; 64 << 20]) {
            let (mut decoder, mut size) = (encoding.decoder().unwrap(), 0);
            let failed = decoder.push(&bytes, &mut |part| {
                size += part.len();
                assert!(part.len() <= 1 << 20, "{encoding:?}");
                if size > 8 << 20 { Err(Failure::new(Kind::TooLarge, "limit")) } else { Ok(()) }
            });
            assert_eq!(failed.map_err(|failure| failure.kind()), Err(Kind::TooLarge), "{encoding:?}");
            assert!(size <= 9 << 20, "{encoding:?} {size}");
        }
    }

    #[test]
    fn one_encoding_is_known_by_its_name() {
        let of = |values: &[&'static str]| {
            let named =
                values.iter().map(|value| (header::CONTENT_ENCODING, HeaderValue::from_static(value)));
            let mut headers = HeaderMap::new();
            for (name, value) in named {
                headers.append(name, value);
            }
            ContentEncoding::of(&headers).map_err(|failure| failure.kind())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["identity", ""]), Ok(None));
        assert_eq!(of(&["Zstd"]), Ok(Some(ContentEncoding::Zstd)));
        assert_eq!(of(&["identity, x-gzip"]), Ok(Some(ContentEncoding::Gzip)));
        for odd in [&["br"][..], &["gzip, zstd"], &["gzip", "gzip"], &["x"]] {
            assert_eq!(of(odd), Err(Kind::UnsupportedEncoding), "{odd:?}");
        }
    }
}
