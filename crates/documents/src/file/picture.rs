//! How large a picture says it is, read as it comes by. Pure.

use super::model::MediaType;

/// Width and height.
pub(super) type Size = (u32, u32);

/// The size of a PNG or a WebP, which stands at its beginning; nothing for anything else.
pub(super) fn size(media: MediaType, head: &[u8]) -> Option<Size> {
    match media {
        MediaType::Png => Some((big32(head, 16)?, big32(head, 20)?)),
        MediaType::WebP => match head.get(12..16)? {
            b"VP8X" => Some((little24(head, 24)? + 1, little24(head, 27)? + 1)),
            b"VP8L" => {
                let bits = little24(head, 21)? | (u32::from(*head.get(24)?) << 24);
                Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
            }
            b"VP8 " => Some((little24(head, 26)? & 0x3fff, little24(head, 28)? & 0x3fff)),
            _ => None,
        },
        _ => None,
    }
}

fn big32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]))
}

fn little24(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 3).map(|it| u32::from_le_bytes([it[0], it[1], it[2], 0]))
}

/// Walks along the segments of a JPEG to the one with its size: previews and colour profiles may
/// stand in front of it, hundreds of kilobytes of them.
#[derive(Debug, Default)]
pub(super) struct Jpeg {
    /// Bytes to be passed over.
    skip: usize,
    /// The beginning of the segment that is being read.
    segment: Vec<u8>,
    size: Option<Size>,
    begun: bool,
    over: bool,
}

impl Jpeg {
    pub(super) fn see(&mut self, mut chunk: &[u8]) {
        if !self.begun {
            // Behind the mark of the beginning.
            (self.begun, self.skip) = (true, 2);
        }
        while !self.over && !chunk.is_empty() {
            let passed = self.skip.min(chunk.len());
            self.skip -= passed;
            chunk = &chunk[passed..];
            if let Some((next, rest)) = chunk.split_first() {
                self.segment.push(*next);
                chunk = rest;
                self.step();
            }
        }
    }

    pub(super) fn size(&self) -> Option<Size> {
        self.size
    }

    /// A segment is 0xff, its kind, its length, and for a frame precision, height and width.
    fn step(&mut self) {
        match *self.segment.as_slice() {
            [0xff] => {}
            [0xff, 0xff] => self.segment.truncate(1),
            [0xff, 0x01 | 0xd0..=0xd7] => self.segment.clear(),
            // The picture itself, or its end.
            [0xff, 0xd9 | 0xda] => self.over = true,
            [0xff, _] | [0xff, _, _] => {}
            [0xff, kind, high, low] if !is_frame(kind) => {
                self.skip = usize::from(u16::from_be_bytes([high, low])).saturating_sub(2);
                self.segment.clear();
            }
            [0xff, _, _, _, _, h1, h2, w1, w2] => {
                let number = |high, low| u32::from(u16::from_be_bytes([high, low]));
                self.size = Some((number(w1, w2), number(h1, h2)));
                self.over = true;
            }
            [0xff, ..] => {}
            _ => self.over = true,
        }
    }
}

/// The kinds of segment that begin a frame; three of that row are tables.
const fn is_frame(kind: u8) -> bool {
    matches!(kind, 0xc0..=0xcf) && !matches!(kind, 0xc4 | 0xc8 | 0xcc)
}
