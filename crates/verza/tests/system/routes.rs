//! The platform's own list of its routes: what the tests that go over all of them go by.

use reqwest::Method;

/// One line of `routes.txt`.
#[derive(Debug, Clone)]
pub struct Line {
    pub method: Method,
    pub path: String,
    pub audience: String,
    pub once: String,
    /// Whether a fresh proof is needed.
    pub step_up: bool,
    pub name: String,
}

pub fn all() -> Vec<Line> {
    let page = verza::commands::routes_page().unwrap();
    let lines: Vec<Line> = page.lines().map(Line::read).collect();
    assert!(lines.len() > 80, "only {} routes", lines.len());
    lines
}

impl Line {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ([method, path, audience, _, once, _, "->", name]
        | [method, path, audience, _, once, _, "->", name, "step-up"]) = words[..]
        else {
            panic!("not a line of routes.txt: {line}");
        };
        Self {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            audience: audience.to_owned(),
            once: once.to_owned(),
            step_up: words.last() == Some(&"step-up"),
            name: name.to_owned(),
        }
    }

    pub fn has_parameters(&self) -> bool {
        self.path.contains('{')
    }

    pub fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    /// The path with something in the place of each parameter.
    pub fn with(&self, mut value: impl FnMut(&str) -> String) -> String {
        let parts = self.path.split('/').map(|part| {
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => value(name.trim_start_matches('*')),
                None => part.to_owned(),
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }

    pub fn answers_problems(&self) -> bool {
        answers_problems(&self.path)
    }
}

/// Errors of the older APIs, of Kratos's own paths and of OAuth's have shapes of their own.
pub fn answers_problems(path: &str) -> bool {
    let older = ["/api/", "/streamfair/", "/sessions", "/schemas/"];
    let oauth = ["/v1/oid4vci/", "/v1/oid4vp/request/", "/v1/oid4vp/response/"];
    !older.iter().chain(&oauth).any(|other| path.starts_with(other))
}
