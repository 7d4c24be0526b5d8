//! A page of text as PDF 1.4 (ISO 32000-1): one built-in font, no images, no dependencies.

/// A4, in points.
const PAGE: (u32, u32) = (595, 842);
const LINES_MAX: usize = 48;

/// The lines as a document, as many pages as they need. Letters beyond Latin-1 show as `?`.
pub(super) fn document(lines: &[String]) -> Vec<u8> {
    let pages: Vec<&[String]> = lines.chunks(LINES_MAX).collect();
    let count = pages.len().max(1);
    let kids: Vec<String> = (0..count).map(|at| format!("{} 0 R", 4 + at * 2)).collect();
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [{}] /Count {count} >>", kids.join(" ")).into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>".to_vec(),
    ];
    for at in 0..count {
        let (width, height) = PAGE;
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] \
             /Resources << /Font << /F1 3 0 R >> >> /Contents {} 0 R >>",
            5 + at * 2
        );
        objects.push(page.into_bytes());
        objects.push(contents(pages.get(at).copied().unwrap_or_default()));
    }
    assemble(&objects)
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

fn assemble(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::with_capacity(objects.len());
    for (number, object) in (1..).zip(objects) {
        places.push(file.len());
        file.extend(format!("{number} 0 obj\n").bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let table = file.len();
    let count = objects.len() + 1;
    file.extend(format!("xref\n0 {count}\n0000000000 65535 f \n").bytes());
    for place in places {
        file.extend(format!("{place:010} 00000 n \n").bytes());
    }
    let trailer = format!("trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n");
    file.extend(trailer.bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_where_its_parts_are() {
        let lines: Vec<String> = (0..100).map(|at| format!("line {at} (Grüße €)")).collect();
        let file = document(&lines);
        let text: String = file.iter().map(|byte| char::from(*byte)).collect();
        assert!(text.starts_with("%PDF-1.4\n") && text.ends_with("%%EOF\n"));
        assert!(text.contains("/Count 3") && text.contains(r"line 7 \(Gr\374\337e ?\)"));
        let table: usize =
            text.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
        assert!(text[table..].starts_with("xref"));
        let entries = text[table..].lines().skip(3).take_while(|it| it.ends_with("n "));
        for (number, entry) in (1..).zip(entries) {
            let place: usize = entry[..10].parse().unwrap();
            assert!(text[place..].starts_with(&format!("{number} 0 obj")));
        }
    }
}
