//! Where the signatures of a file are, and what each of them covers. One pass over the bytes,
//! whatever they are.

/// The name under which a signature says what it covers.
const BYTE_RANGE: &[u8] = b"/ByteRange";
/// The longest text of four numbers in brackets, padded as writers do.
const RANGE_LEN_MAX: usize = 256;
/// The longest signature, in hexadecimal digits.
const CONTENTS_LEN_MAX: usize = 4 << 20;

/// Two runs of the file: offset and length, twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    range: Option<[usize; 4]>,
}

/// What a signature covers.
pub(super) struct Covered<'a> {
    pub(super) before: &'a [u8],
    pub(super) after: &'a [u8],
    /// The signature: DER, and zeros to fill its room.
    pub(super) contents: Vec<u8>,
    pub(super) is_whole: bool,
}

/// Every place that gives itself out as a signature's.
pub(super) fn places(file: &[u8]) -> impl Iterator<Item = Place> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + find(file.get(from..)?)?;
        from = at + BYTE_RANGE.len();
        let end = file.len().min(from + RANGE_LEN_MAX);
        Some(Place { range: numbers(&file[from..end]) })
    })
}

/// Looks for signatures in a file that comes by in pieces, and keeps nothing of it but the end of the
/// last one. Where it sees none, [`super::inspect`] finds none.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// The end of what has come by, and then the beginning of the next piece: a name may be cut.
    seam: Vec<u8>,
    are_any: bool,
}

impl Marks {
    pub fn see(&mut self, piece: &[u8]) {
        const OVERLAP: usize = BYTE_RANGE.len() - 1;
        if self.are_any {
            return;
        }
        self.seam.extend_from_slice(&piece[..piece.len().min(OVERLAP)]);
        self.are_any = find(&self.seam).is_some() || find(piece).is_some();
        if piece.len() > OVERLAP {
            self.seam.clear();
            self.seam.extend_from_slice(&piece[piece.len() - OVERLAP..]);
        }
        self.seam.drain(..self.seam.len().saturating_sub(OVERLAP));
    }

    pub const fn are_any(&self) -> bool {
        self.are_any
    }
}

fn find(file: &[u8]) -> Option<usize> {
    memchr::memmem::find(file, BYTE_RANGE)
}

/// Reads `[0 840 960 240]`.
fn numbers(text: &[u8]) -> Option<[usize; 4]> {
    let text = text.trim_ascii_start().strip_prefix(b"[")?;
    let end = text.iter().position(|byte| *byte == b']')?;
    let text = std::str::from_utf8(&text[..end]).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(|word| {
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| word.parse().ok()).flatten()
    });
    let four = [numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(four)
}

/// What stands at a place: two runs with one gap, in which there is nothing but the signature in
/// hexadecimal digits. Whatever else could stand there would be covered by nobody.
pub(super) fn covered<'a>(file: &'a [u8], place: &Place) -> Result<Covered<'a>, &'static str> {
    let [first, first_len, second, second_len] =
        place.range.ok_or("its ByteRange cannot be read")?;
    let outside = "its ByteRange lies outside of the file";
    let gap = first.checked_add(first_len).ok_or(outside)?;
    let end = second.checked_add(second_len).ok_or(outside)?;
    if first != 0 {
        return Err("it does not begin with the file");
    }
    if gap > second || end > file.len() {
        return Err(outside);
    }
    let digits = file[gap..second].strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
    let digits = digits.ok_or("there is something else than a signature in its gap")?;
    if digits.len() > CONTENTS_LEN_MAX {
        return Err("the signature is too long");
    }
    let contents =
        hex::decode(digits).map_err(|_| "there is something else than a signature in its gap")?;
    let (before, after) = (&file[..gap], &file[second..end]);
    // A line end behind the last mark is what some tools add, and means nothing.
    let is_whole =
        file[end..].iter().all(|byte| matches!(byte, b'\r' | b'\n')) && file.len() - end <= 2;
    Ok(Covered { before, after, contents, is_whole })
}
