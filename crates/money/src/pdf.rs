//! Lines of text as PDF 1.4 (ISO 32000-1): one built-in font, no images, no dependencies, and no
//! more than a page of it in memory.

/// A4, in points.
const PAGE: (u32, u32) = (595, 842);
const LINES_MAX: usize = 48;
/// Objects before the first page: catalog, list of pages, font.
const BEFORE: u64 = 3;

/// The lines as a document, as many pages as they need. Letters beyond Latin-1 show as `?`.
pub(crate) fn document(lines: &[String]) -> Vec<u8> {
    let mut writer = Writer::new();
    for line in lines {
        writer.line(line);
    }
    writer.finish()
}

/// A document that is written while its lines come. What is kept is the page that is being
/// written, and eight bytes for each page and its contents that are: where they stand.
pub(crate) struct Writer {
    /// What is written and was not taken.
    ready: Vec<u8>,
    /// How much was taken.
    taken: u64,
    /// Where the objects stand, by their number less one.
    places: Vec<u64>,
    page: Vec<String>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        let places = vec![0; 3];
        let mut own = Self { ready: b"%PDF-1.4\n".to_vec(), taken: 0, places, page: Vec::new() };
        let font =
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>";
        own.object(BEFORE, font);
        own
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, line: &str) {
        self.page.push(line.to_owned());
        if self.page.len() == LINES_MAX {
            self.end_page();
        }
    }

    /// What is ready to be sent.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.taken += self.ready.len() as u64;
        std::mem::take(&mut self.ready)
    }

    /// The rest of it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if !self.page.is_empty() || self.places.len() as u64 == BEFORE {
            self.end_page();
        }
        let count = (self.places.len() as u64 - BEFORE) / 2;
        let kids: Vec<String> = (0..count).map(|at| format!("{} 0 R", number(at))).collect();
        let pages = format!("<< /Type /Pages /Kids [{}] /Count {count} >>", kids.join(" "));
        self.object(2, pages.as_bytes());
        self.object(1, b"<< /Type /Catalog /Pages 2 0 R >>");
        let table = self.taken + self.ready.len() as u64;
        let count = self.places.len() + 1;
        self.ready.extend(format!("xref\n0 {count}\n0000000000 65535 f \n").bytes());
        for place in &self.places {
            self.ready.extend(format!("{place:010} 00000 n \n").bytes());
        }
        let trailer =
            format!("trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n");
        self.ready.extend(trailer.bytes());
        self.ready
    }

    fn end_page(&mut self) {
        let (width, height) = PAGE;
        let own = self.places.len() as u64 + 1;
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] \
             /Resources << /Font << /F1 {BEFORE} 0 R >> >> /Contents {} 0 R >>",
            own + 1
        );
        let contents = contents(&std::mem::take(&mut self.page));
        self.places.extend([0, 0]);
        self.object(own, page.as_bytes());
        self.object(own + 1, &contents);
    }

    fn object(&mut self, number: u64, object: &[u8]) {
        let place = self.taken + self.ready.len() as u64;
        let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if let Some(own) = self.places.get_mut(at) {
            *own = place;
        }
        self.ready.extend(format!("{number} 0 obj\n").bytes());
        self.ready.extend_from_slice(object);
        self.ready.extend_from_slice(b"\nendobj\n");
    }
}

/// The number of a page's object; that of its contents follows.
const fn number(page: u64) -> u64 {
    BEFORE + 1 + page * 2
}

fn contents(lines: &[String]) -> Vec<u8> {
    let mut text = b"BT /F1 10 Tf 16 TL 50 790 Td\n".to_vec();
    for line in lines {
        text.push(b'(');
        text.extend(line.chars().flat_map(escaped));
        text.extend_from_slice(b") Tj T*\n");
    }
    text.extend_from_slice(b"ET");
    let mut stream = format!("<< /Length {} >>\nstream\n", text.len()).into_bytes();
    stream.extend(text);
    stream.extend_from_slice(b"\nendstream");
    stream
}

/// A letter in a string of a content stream.
fn escaped(letter: char) -> Vec<u8> {
    match letter {
        '(' | ')' | '\\' => vec![b'\\', letter as u8],
        ' '..='~' => vec![letter as u8],
        letter => match u8::try_from(u32::from(letter)) {
            Ok(byte) if byte >= 0xa0 => format!("\\{byte:03o}").into_bytes(),
            _ => vec![b'?'],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_found(file: &[u8], pages: usize) {
        let text: String = file.iter().map(|byte| char::from(*byte)).collect();
        assert!(text.starts_with("%PDF-1.4\n") && text.ends_with("%%EOF\n"));
        assert!(text.contains(&format!("/Count {pages} ")));
        let table: usize =
            text.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
        assert!(text[table..].starts_with("xref"));
        let entries = text[table..].lines().skip(3).take_while(|it| it.ends_with("n "));
        let mut found = 0;
        for (number, entry) in (1..).zip(entries) {
            let place: usize = entry[..10].parse().unwrap();
            assert!(text[place..].starts_with(&format!("{number} 0 obj")));
            found += 1;
        }
        assert_eq!(found, 3 + pages * 2);
    }

    #[test]
    fn a_document_says_where_its_parts_are() {
        for (lines, pages) in [(0, 1), (1, 1), (48, 1), (49, 2), (100, 3)] {
            let lines: Vec<String> = (0..lines).map(|at| format!("line {at}")).collect();
            assert_found(&document(&lines), pages);
        }
        let file = document(&["line 7 (Grüße €)".to_owned()]);
        let text: String = file.iter().map(|byte| char::from(*byte)).collect();
        assert!(text.contains(r"line 7 \(Gr\374\337e ?\)"));
    }

    #[test]
    fn what_is_taken_in_parts_is_the_same_document() {
        let lines: Vec<String> = (0..1_000).map(|at| format!("line {at}")).collect();
        let (mut writer, mut parts, mut longest) = (Writer::new(), Vec::new(), 0);
        for line in &lines {
            writer.line(line);
            let part = writer.take();
            longest = longest.max(part.len());
            parts.extend(part);
        }
        parts.extend(writer.finish());
        assert_eq!(parts, document(&lines));
        assert!(longest < 8_000, "{longest}");
    }
}
