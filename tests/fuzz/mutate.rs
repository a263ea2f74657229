//! Inputs that are nearly right.

/// A generator of numbers: xorshift, the same on every machine.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`; 0 where there is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from((self.next() >> 11) % (end.max(1) as u64)).unwrap()
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// One of the seeds, changed in one place or a few.
pub(crate) fn mutated(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = rng.pick(seeds).clone();
    for _ in 0..=rng.below(4) {
        change(&mut bytes, seeds, rng);
    }
    bytes.truncate(LARGEST);
    bytes
}

/// The bytes in pieces of any lengths.
pub(crate) fn cut<'b>(bytes: &'b [u8], rng: &mut Rng) -> Vec<&'b [u8]> {
    let most = *rng.pick(&[1, 3, 17, 200, 4000]);
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + rng.below(most)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.below(bytes.len() + 1);
    let span = at..(at + rng.below(40)).min(bytes.len());
    match rng.below(14) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        1 => drop(bytes.drain(span)),
        2 => {
            let copy = bytes[span].to_vec();
            bytes.splice(at..at, copy);
        }
        3 => {
            let other = rng.pick(seeds);
            let from = rng.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        4 => bytes.truncate(at),
        5 => drop(bytes.splice(at..at, rng.pick(ODD).bytes())),
        6 => drop(bytes.splice(at..at, [0xff, 0xc3, 0x28])),
        7 => nest(bytes, rng),
        8 => line(bytes, rng),
        _ => token(bytes, seeds, rng),
    }
}

/// Puts another value in the place of one, or one of the same text that occurs elsewhere.
fn token(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let Some(span) = a_token(bytes, rng) else { return };
    match rng.below(4) {
        0 => {
            let other = rng.pick(seeds);
            if let Some(taken) = a_token(other, rng) {
                bytes.splice(span, other[taken].iter().copied());
            }
        }
        1 => drop(bytes.drain(span)),
        _ => drop(bytes.splice(span, rng.pick(VALUES).bytes())),
    }
}

/// A string, a word or number, or a whole object or list.
fn a_token(bytes: &[u8], rng: &mut Rng) -> Option<std::ops::Range<usize>> {
    let from = rng.below(bytes.len());
    let start = from + bytes.get(from..)?.iter().position(|b| b"\"{[0123456789tfn-".contains(b))?;
    let rest = bytes.get(start..)?;
    let length = match rest.first()? {
        b'"' => rest.iter().skip(1).position(|b| *b == b'"')? + 2,
        open @ (b'{' | b'[') => {
            let close = if *open == b'{' { b'}' } else { b']' };
            let mut depth = 0;
            let end = rest.iter().position(|byte| {
                depth += i32::from(byte == open) - i32::from(*byte == close);
                depth == 0
            });
            end? + 1
        }
        _ => {
            rest.iter().position(|b| !b.is_ascii_alphanumeric() && !b"-+.".contains(b)).unwrap_or(rest.len())
        }
    };
    (length > 0).then_some(start..start + length)
}

/// Wraps a value into many lists or objects.
fn nest(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let Some(span) = a_token(bytes, rng) else { return };
    let depth = *rng.pick(&[1, 8, 100, 130, 3000]);
    let (open, close) = *rng.pick(&[("[", "]"), (r#"{"content":["#, "]}"), (r#"{"properties":{"a":"#, "}}")]);
    let inner = bytes[span.clone()].to_vec();
    let nested = [open.repeat(depth).as_bytes(), &inner, close.repeat(depth).as_bytes()].concat();
    bytes.splice(span, nested);
}

/// Repeats, moves or removes a line, which in a stream is a part of an event.
fn line(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let (from, to) = (rng.below(lines.len()), rng.below(lines.len() + 1));
    let mut order: Vec<usize> = (0..lines.len()).collect();
    match rng.below(3) {
        0 => order.insert(to, from),
        1 if !order.is_empty() => drop(order.remove(from)),
        _ if to < order.len() => order.swap(from, to),
        _ => {}
    }
    let changed: Vec<u8> = order.iter().filter_map(|at| lines.get(*at)).copied().flatten().copied().collect();
    *bytes = changed;
}

/// What takes the place of a value.
const VALUES: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-1",
    "true",
    "1e400",
    "-0.0000000000000000000000000000000000001",
    "18446744073709551616",
    "99999999999999999999999999999999999999999999999999",
    r#""\ud83d""#,
    r#""\ude00x""#,
    r#""\u0000\n\"\\""#,
    "[null]",
    "[[]]",
    "[{}]",
    r#"{"type":"text","text":"x"}"#,
    "\"{\"",
    "\"id\"",
    "\"type\"",
    "\"content\"",
    "\"text\"",
    "\"tool_use\"",
    "\"assistant\"",
    "\"system\"",
];

/// What is put anywhere.
const ODD: &[&str] = &[
    "\n\n",
    "\r\n\r\n",
    "\r",
    "\0",
    "\u{feff}",
    "\\",
    "\"",
    "\\u",
    "\\ud83d",
    "\\ude00",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "data: ",
    "data: [DONE]\n\n",
    "event: error\n",
    ": x\n",
    "<think>",
    "</think>",
    "é\u{1f600}",
    "null",
    "\u{2028}",
    "cm1.",
    "cm2.",
    "- ",
    "&a ",
    "*a",
    "!!x ",
];

/// Bytes of an input.
const LARGEST: usize = 48 << 10;
