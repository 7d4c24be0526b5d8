//! A letter: what it says. How it looks is in the templates.

use kernel::Result;
use serde::{Deserialize, Serialize};

use super::look::{self, Template};

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

    /// Both forms of the letter, as the platform called `sender` signs it. The text has the link
    /// on a line of its own, so that it can be picked out; the HTML loads nothing from elsewhere.
    pub fn render(&self, sender: &str) -> Result<Rendered> {
        #[derive(Serialize)]
        struct Values<'a> {
            #[serde(flatten)]
            letter: &'a Letter,
            sender: &'a str,
        }
        let letter = &Self { subject: self.subject_line(), ..self.clone() };
        let values = Values { letter, sender };
        Ok(Rendered {
            text: look::render(Template::LetterText, &values)?,
            html: look::render(Template::LetterHtml, &values)?,
        })
    }

    /// The subject on one line: a control character in it becomes a space.
    pub(super) fn subject_line(&self) -> String {
        self.subject.replace(char::is_control, " ")
    }
}

/// A letter in both of its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    pub html: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Letter {
        Letter::new("Hello & welcome")
            .say("Somebody said <hello>.")
            .say("And more.")
            .with_action("Answer", "https://verza.example/answer#token=s3cr3t")
            .with_footnote("If it was not you, ignore this mail.")
    }

    #[test]
    fn the_look_of_a_letter_is_as_it_was() {
        let Rendered { text, html } = whole().render("Verza").unwrap();
        insta::assert_snapshot!("letter_text", text);
        insta::assert_snapshot!("letter_html", html);
    }

    #[test]
    fn what_a_letter_says_is_text_in_html_too() {
        let letter = Letter::new("<b>")
            .say("<script>alert(1)</script>")
            .with_action("\"Go\"", "https://verza.example/?a=1&b='2'\"onclick=\"x")
            .with_footnote("a < b");
        let Rendered { html, .. } = letter.render("A & B").unwrap();
        assert!(!html.contains("<script>") && !html.contains("<b>"));
        assert!(!html.contains("\"onclick") && html.contains("?a=1&amp;b=&#x27;2&#x27;"));
        assert!(html.contains("A &amp; B"));
    }

    #[test]
    fn the_link_has_a_line_of_its_own_in_the_text() {
        let letter =
            Letter::new("Hello").say("Hi.").with_action("Go", "https://verza.example/?a&b");
        let Rendered { text, .. } = letter.render("Verza").unwrap();
        assert!(text.lines().any(|line| line == "https://verza.example/?a&b"), "{text}");
        assert!(text.ends_with("\n\n-- \nVerza\n"), "{text:?}");
    }

    #[test]
    fn a_subject_is_one_line() {
        let letter = Letter::new("Hello\r\nBcc: eve@example.org");
        assert_eq!(letter.subject_line(), "Hello  Bcc: eve@example.org");
    }
}
