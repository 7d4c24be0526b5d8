//! A letter, and how it looks as text and as HTML.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// What a letter says. Plain text throughout: the HTML form is escaped when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub subject: String,
    pub paragraphs: Vec<String>,
    /// What the reader is asked to do.
    pub action: Option<Action>,
    /// Said last and small: what to do when the letter was not expected.
    pub footnote: Option<String>,
}

/// A link with its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub label: String,
    /// Built from the configured public URL.
    pub url: String,
}

impl Letter {
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), paragraphs: Vec::new(), action: None, footnote: None }
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn say(mut self, paragraph: impl Into<String>) -> Self {
        self.paragraphs.push(paragraph.into());
        self
    }

    #[must_use]
    pub fn with_action(mut self, label: impl Into<String>, url: impl Into<String>) -> Self {
        self.action = Some(Action { label: label.into(), url: url.into() });
        self
    }

    #[must_use]
    pub fn with_footnote(mut self, footnote: impl Into<String>) -> Self {
        self.footnote = Some(footnote.into());
        self
    }

    /// The plain text form. The link stands on a line of its own, so that it can be picked out.
    pub(super) fn text(&self, sender: &str) -> String {
        let mut text = self.paragraphs.join("\n\n");
        if let Some(Action { label, url }) = &self.action {
            let _ = write!(text, "\n\n{label}:\n{url}");
        }
        if let Some(footnote) = &self.footnote {
            let _ = write!(text, "\n\n{footnote}");
        }
        let _ = write!(text, "\n\n-- \n{sender}\n");
        text
    }

    /// The HTML form: no images, no scripts, nothing that is loaded from elsewhere.
    pub(super) fn html(&self, sender: &str) -> String {
        let mut body = String::new();
        for paragraph in &self.paragraphs {
            let _ = write!(body, "<p>{}</p>", escape(paragraph));
        }
        if let Some(Action { label, url }) = &self.action {
            let (label, url) = (escape(label), escape(url));
            let _ = write!(
                body,
                "<p><a href=\"{url}\" style=\"display:inline-block;padding:10px 18px;\
                 border-radius:6px;background:#1f4fd8;color:#ffffff;text-decoration:none\">\
                 {label}</a></p><p style=\"color:#666666;font-size:13px\">{url}</p>"
            );
        }
        if let Some(footnote) = &self.footnote {
            let footnote = escape(footnote);
            let _ = write!(body, "<p style=\"color:#666666;font-size:13px\">{footnote}</p>");
        }
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\
             </head><body style=\"font-family:sans-serif;max-width:560px;margin:24px auto;\
             padding:0 16px;line-height:1.5\">{body}<hr><p style=\"color:#666666\">{}</p></body>\
             </html>",
            escape(&self.subject),
            escape(sender)
        )
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_letter_says_is_text_in_html_too() {
        let letter = Letter::new("<b>")
            .say("<script>alert(1)</script>")
            .with_action("\"Go\"", "https://verza.example/?a=1&b='2'")
            .with_footnote("a < b");
        let html = letter.html("A & B");
        assert!(!html.contains("<script>") && !html.contains("<b>"));
        assert!(html.contains("https://verza.example/?a=1&amp;b=&#39;2&#39;"));
        assert!(html.contains("A &amp; B"));
    }

    #[test]
    fn the_link_has_a_line_of_its_own_in_the_text() {
        let letter = Letter::new("Hello").say("Hi.").with_action("Go", "https://verza.example/x");
        assert!(letter.text("Verza").lines().any(|line| line == "https://verza.example/x"));
    }
}
