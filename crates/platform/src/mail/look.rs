//! How mails and the pages about them look: the templates of one folder, embedded.
//!
//! What stands in a template named `.html` is escaped for HTML where it is put in; in one named
//! `.txt` it stands as it is.

use std::sync::LazyLock;

use kernel::{Error, Result};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

/// A template, by the name of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    LetterText,
    LetterHtml,
    Inbox,
    Mail,
}

impl Template {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::LetterText, "letter.txt", include_str!("templates/letter.txt")),
        (Self::LetterHtml, "letter.html", include_str!("templates/letter.html")),
        (Self::Inbox, "inbox.html", include_str!("templates/inbox.html")),
        (Self::Mail, "mail.html", include_str!("templates/mail.html")),
    ];
}

#[expect(clippy::expect_used, reason = "the templates are embedded, and a test reads each")]
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    for (_, name, text) in Template::ALL {
        environment.add_template(name, text).expect("an embedded template can be read");
    }
    environment
});

/// Fills a template in.
pub(super) fn render(template: Template, values: impl Serialize) -> Result<String> {
    let name = Template::ALL.iter().find(|(known, ..)| *known == template);
    let name = name.map_or("", |(_, name, _)| name);
    TEMPLATES
        .get_template(name)
        .and_then(|template| template.render(Serde(&values)))
        // The engine takes the last line's end away.
        .map(|text| text + "\n")
        .map_err(|error| Error::internal("a template cannot be filled in").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_read() {
        for (_, name, _) in Template::ALL {
            TEMPLATES.get_template(name).unwrap();
        }
    }
}
