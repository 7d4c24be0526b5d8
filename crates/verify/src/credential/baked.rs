//! Credentials baked into pictures: Open Badges 3.0 section 5.3.
//!
//! Only the credential is signed. The picture around it is anybody's, and nothing is told of it.

use std::fmt;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The keyword of the chunk that holds the credential.
const KEYWORD: &[u8] = b"openbadgecredential";
/// The namespace of the element that holds it in SVG.
pub const NAMESPACE: &str = "https://purl.imsglobal.org/ob/v3p0";
const ELEMENT: &str = "openbadges:credential";
/// The most chunks of a picture that are walked through.
const CHUNKS_MAX: usize = 65_536;

/// Why a picture was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BakedError {
    /// Its chunks do not follow one another to the end.
    Broken,
    /// It holds several credentials: readers would differ on which counts.
    Several,
    /// The credential is compressed, which the standard forbids, or is no text.
    Text,
}

impl fmt::Display for BakedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "the picture is broken",
            Self::Several => "the picture holds several credentials",
            Self::Text => "the credential in the picture is compressed or no text",
        })
    }
}

impl std::error::Error for BakedError {}

/// The credential in a picture; nothing of what is no picture, or holds none.
pub fn find(file: &[u8]) -> Result<Option<String>, BakedError> {
    if let Some(chunks) = file.strip_prefix(PNG) {
        return in_png(chunks);
    }
    match std::str::from_utf8(file) {
        Ok(text) if is_svg(text) => in_svg(text),
        _ => Ok(None),
    }
}

/// Whether this begins as an SVG picture that names the namespace of badges.
pub fn is_svg(text: &str) -> bool {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    (start.starts_with("<svg") || start.starts_with("<?xml"))
        && start.contains("<svg")
        && start.contains(NAMESPACE)
}

fn in_png(mut chunks: &[u8]) -> Result<Option<String>, BakedError> {
    let mut found = None;
    for _ in 0..CHUNKS_MAX {
        let (head, rest) = chunks.split_first_chunk::<8>().ok_or(BakedError::Broken)?;
        let [a, b, c, d, kind @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        // A checksum follows; whatever it guards here is signed.
        let (data, rest) = rest.split_at_checked(length).ok_or(BakedError::Broken)?;
        let (_, rest) = rest.split_first_chunk::<4>().ok_or(BakedError::Broken)?;
        chunks = rest;
        match &kind {
            b"IEND" => return Ok(found),
            b"iTXt" => {
                if let Some(text) = international(data)?
                    && found.replace(text).is_some()
                {
                    return Err(BakedError::Several);
                }
            }
            _ => {}
        }
    }
    Err(BakedError::Broken)
}

/// The text of an `iTXt` chunk (PNG, third edition, section 11.3.3.4) with the keyword.
fn international(data: &[u8]) -> Result<Option<String>, BakedError> {
    let Some(rest) = data.strip_prefix(KEYWORD).and_then(|rest| rest.strip_prefix(b"\0")) else {
        return Ok(None);
    };
    let Some(([0, _], rest)) = rest.split_first_chunk::<2>() else { return Err(BakedError::Text) };
    // A language and a translated keyword, each with a zero at its end.
    let mut parts = rest.splitn(3, |byte| *byte == 0);
    let text = parts.nth(2).ok_or(BakedError::Text)?;
    let text = std::str::from_utf8(text).map_err(|_| BakedError::Text)?;
    Ok(Some(text.trim().to_owned()))
}

/// The credential is the value of `verify` where it is a token, else what stands in the element.
fn in_svg(text: &str) -> Result<Option<String>, BakedError> {
    let open = format!("<{ELEMENT}");
    let mut places = text.match_indices(&open);
    let Some((start, _)) = places.next() else { return Ok(None) };
    if places.next().is_some() {
        return Err(BakedError::Several);
    }
    let rest = &text[start + open.len()..];
    let (attributes, inner) = rest.split_once('>').ok_or(BakedError::Broken)?;
    if let Some(token) = attribute(attributes, "verify") {
        return Ok(Some(token.to_owned()));
    }
    if attributes.ends_with('/') {
        return Err(BakedError::Text);
    }
    let close = format!("</{ELEMENT}>");
    let (inner, _) = inner.split_once(&close).ok_or(BakedError::Broken)?;
    let inner = inner.trim();
    if let Some(data) = inner.strip_prefix("<![CDATA[") {
        let data = data.strip_suffix("]]>").filter(|data| !data.contains("]]>"));
        return Ok(Some(data.ok_or(BakedError::Text)?.trim().to_owned()));
    }
    if inner.contains('<') {
        return Err(BakedError::Text);
    }
    unescaped(inner).map(Some).ok_or(BakedError::Text)
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let at = attributes.find(&format!("{name}="))?;
    let value = &attributes[at + name.len() + 1..];
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split_once(quote).map(|(value, _)| value.trim())
}

/// Text with the five entities of XML put back; nothing where there are others.
fn unescaped(text: &str) -> Option<String> {
    const ENTITIES: [(&str, char); 5] =
        [("quot;", '"'), ("amp;", '&'), ("lt;", '<'), ("gt;", '>'), ("apos;", '\'')];
    let mut parts = text.split('&');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let known =
            ENTITIES.iter().find_map(|(name, letter)| Some((part.strip_prefix(name)?, letter)));
        let (rest, letter) = known?;
        plain.push(*letter);
        plain.push_str(rest);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&length[..], kind, data, &[0; 4]].concat()
    }

    fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
        [PNG, &chunk(b"IHDR", &[0; 13]), &chunks.concat(), &chunk(b"IEND", &[])].concat()
    }

    fn itxt(head: &[u8], text: &str) -> Vec<u8> {
        chunk(b"iTXt", &[KEYWORD, b"\0", head, text.as_bytes()].concat())
    }

    #[test]
    fn a_png_gives_its_one_credential() {
        let other = chunk(b"iTXt", b"Comment\0\0\0\0\0openbadgecredential");
        let baked = png(&[other.clone(), itxt(b"\0\0en\0\0", "{\"a\": 1}\n")]);
        assert_eq!(find(&baked), Ok(Some("{\"a\": 1}".to_owned())));
        assert_eq!(find(&png(&[other])), Ok(None));
        assert_eq!(find(b"{}"), Ok(None));
        let twice = png(&[itxt(b"\0\0\0\0", "a"), itxt(b"\0\0\0\0", "b")]);
        assert_eq!(find(&twice), Err(BakedError::Several));
        for head in [&b"\x01\0\0\0"[..], b"\0\0", b"\0", b""] {
            assert_eq!(find(&png(&[itxt(head, "")])), Err(BakedError::Text));
        }
        for end in [9, baked.len() - 13, baked.len() - 1] {
            assert_eq!(find(&baked[..end]), Err(BakedError::Broken), "{end}");
        }
        let endless = [PNG, &[0xff; 40]].concat();
        assert_eq!(find(&endless), Err(BakedError::Broken));
    }

    #[test]
    fn an_svg_gives_its_one_credential() {
        let svg = |inner: &str| {
            format!("<?xml version=\"1.0\"?>\n<svg xmlns:openbadges=\"{NAMESPACE}\">{inner}</svg>")
        };
        let one = |inner: &str| find(svg(inner).as_bytes());
        let body = |body: &str| one(&format!("<{ELEMENT}>{body}</{ELEMENT}><g/>"));
        assert_eq!(one(&format!("<{ELEMENT} verify=\"a.b.c\"/>")), Ok(Some("a.b.c".into())));
        assert_eq!(body("<![CDATA[ {\"a\":\"<&\"} ]]>"), Ok(Some("{\"a\":\"<&\"}".into())));
        assert_eq!(
            body("{&quot;a&quot;:&quot;&amp;lt;&quot;}"),
            Ok(Some("{\"a\":\"&lt;\"}".into()))
        );
        assert_eq!(one("<g/>"), Ok(None));
        let again = format!("<{ELEMENT} verify='a'/><{ELEMENT} verify='b'/>");
        assert_eq!(one(&again), Err(BakedError::Several));
        for bad in ["<b/>", "&custom;", "<![CDATA[a]]>]]>"] {
            assert_eq!(body(bad), Err(BakedError::Text), "{bad}");
        }
        assert_eq!(one(&format!("<{ELEMENT}/>")), Err(BakedError::Text));
        assert_eq!(one(&format!("<{ELEMENT}>{{}}")), Err(BakedError::Broken));
        assert_eq!(find(b"<svg><openbadges:credential verify=\"a\"/></svg>"), Ok(None));
    }
}
