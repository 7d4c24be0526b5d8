//! Pure decisions: what is well, and how figures are shown.

use std::time::Duration;

use super::model::{Component, State};

/// Facts get their places within a second; readers take a few more when they are busy.
const SEQUENCER_SLOW: Duration = Duration::from_secs(10);
const SEQUENCER_STUCK: Duration = Duration::from_secs(120);
/// Facts that a reader may be behind.
const READER_BEHIND: i64 = 10_000;
/// A job that is due for so long has no worker, or too few.
const JOBS_SLOW: Duration = Duration::from_secs(5 * 60);
const JOBS_STUCK: Duration = Duration::from_secs(3600);

/// Of facts that have waited so long for their place.
pub(super) fn sequencer(waiting: Option<Duration>) -> State {
    by_delay(waiting, SEQUENCER_SLOW, SEQUENCER_STUCK)
}

pub(super) const fn reader(behind: i64) -> State {
    if behind > READER_BEHIND { State::Degraded } else { State::Up }
}

/// Of jobs of which the longest overdue waits for so long, and so many were given up.
pub(super) fn jobs(overdue: Option<Duration>, dead: i64) -> State {
    let state = by_delay(overdue, JOBS_SLOW, JOBS_STUCK);
    if dead > 0 { state.max(State::Degraded) } else { state }
}

fn by_delay(delay: Option<Duration>, slow: Duration, stuck: Duration) -> State {
    match delay {
        Some(delay) if delay > stuck => State::Down,
        Some(delay) if delay > slow => State::Degraded,
        _ => State::Up,
    }
}

/// The platform is as well as the least of what it stands on, and serves while the database does.
pub(super) fn overall(components: &[Component]) -> &'static str {
    let database = components.iter().find(|component| component.name == "database");
    if database.is_some_and(|database| database.state == State::Down) {
        return "unavailable";
    }
    let worst = components.iter().map(|component| component.state).max();
    if worst > Some(State::Up) { "degraded" } else { "healthy" }
}

/// A share in whole percents, for people.
pub(super) fn percent(part: f64, whole: f64) -> String {
    if whole <= 0.0 {
        return "0%".to_owned();
    }
    format!("{:.0}%", (part / whole * 100.0).max(0.0))
}

/// `3d 04:05:06`.
pub(super) fn uptime(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    format!("{days}d {:02}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60)
}

/// One figure of Prometheus's text format (version 0.0.4).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

/// The figures in a text, without the buckets of histograms: sums and counts say enough here.
pub(super) fn figures(text: &str, prefix: &str) -> Vec<Figure> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let all = lines.filter_map(figure);
    all.filter(|it| it.name.starts_with(prefix) && !it.name.ends_with("_bucket")).collect()
}

fn figure(line: &str) -> Option<Figure> {
    let (series, value) = line.rsplit_once(' ')?;
    let value: f64 = value.parse().ok().filter(|value: &f64| value.is_finite())?;
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, labels)) => (name, pairs(labels.strip_suffix('}')?)),
    };
    Some(Figure { name: name.to_owned(), labels, value })
}

/// `a="b",c="d"`; a quote or a comma within a value is escaped or quoted.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = after.char_indices();
        let mut end = after.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, other)) => value.push(other),
                    None => {}
                },
                other => value.push(other),
            }
        }
        pairs.push((name.trim_start_matches(',').to_owned(), value));
        rest = after.get(end..).unwrap_or_default();
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_with_their_labels() {
        let text = "# TYPE a counter\na_total{route=\"/v1/x,y\",why=\"say \\\"no\\\"\"} 3\n\n\
                    b 0.5\nb_bucket{le=\"1\"} 7\nc NaN\nd_sum{} 1e3\n";
        let read = figures(text, "");
        let names: Vec<_> = read.iter().map(|it| (it.name.as_str(), it.value)).collect();
        assert_eq!(names, [("a_total", 3.0), ("b", 0.5), ("d_sum", 1000.0)]);
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read[0].labels, [label("route", "/v1/x,y"), label("why", "say \"no\"")]);
        assert_eq!(figures(text, "b").len(), 1);
    }

    #[test]
    fn the_platform_is_as_well_as_what_it_stands_on() {
        let with = |states: &[State]| {
            let all: Vec<_> = states.iter().map(|state| Component::new("jobs", *state)).collect();
            overall(&all)
        };
        assert_eq!(with(&[State::Off, State::Up]), "healthy");
        assert_eq!(with(&[State::Up, State::Degraded]), "degraded");
        assert_eq!(with(&[State::Down]), "degraded");
        assert_eq!(overall(&[Component::new("database", State::Down)]), "unavailable");
    }

    #[test]
    fn what_waits_too_long_is_slow_and_then_stuck() {
        let after = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(sequencer(None), State::Up);
        assert_eq!(sequencer(after(10)), State::Up);
        assert_eq!(sequencer(after(11)), State::Degraded);
        assert_eq!(sequencer(after(121)), State::Down);
        assert_eq!(jobs(None, 1), State::Degraded);
        assert_eq!(jobs(after(3601), 1), State::Down);
        assert_eq!(uptime(Duration::from_secs(266_645)), "3d 02:04:05");
        assert_eq!(percent(1.0, 3.0), "33%");
    }
}
