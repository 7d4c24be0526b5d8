//! Pure decisions: how much a figure says.

use std::time::Duration;

use kernel::Timestamp;

use super::places::Place;

/// The velocity rule counts within so many minutes.
pub(super) const HOUR_MINUTES: i64 = 60;
/// How long a sign-in from nowhere known makes what follows suspicious.
pub(super) const TAKEOVER: Duration = Duration::from_secs(24 * 3600);
/// Who asks for an organization is noted once in so long.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
/// The time in which pairs and flags are counted.
pub(super) const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// What was dismissed is not raised again for so long.
pub(super) const QUIET: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long what the rules look at is kept.
pub(super) const KEPT: Duration = Duration::from_secs(35 * 24 * 3600);
/// People who must have flagged the same thing.
const FLAGS: i64 = 3;
/// From this score on a pair is worth an alert.
const COLLUSION: i64 = 60;
/// A verdict that comes sooner was hardly looked at.
pub(super) const HASTE: Duration = Duration::from_secs(120);

/// The minute of an instant, counted from 1970.
pub(super) fn minute_of(at: Timestamp) -> i64 {
    at.seconds().div_euclid(60)
}

/// The score of so many of a kind in an hour where `most` are usual; none while they are.
pub(super) fn velocity(count: i64, most: i64) -> Option<i64> {
    let most = most.max(1);
    (count > most).then(|| (50 + 50 * (count - most) / most).min(100))
}

/// The score of a thing that so many people have flagged.
pub(super) fn flagged(people: i64) -> Option<i64> {
    (people >= FLAGS).then(|| (30 + 10 * people).min(100))
}

/// Nobody travels faster than an airliner, in kilometres an hour.
const SPEED_MAX: i64 = 1000;
/// What is nearer than this, in kilometres, may be a mistake of the database.
const FAR: i64 = 500;

/// Score and reason of two sign-ins of one person so long apart; none where they may have travelled.
pub(super) fn travel(
    from: &Place,
    to: &Place,
    between: Duration,
    new_device: bool,
) -> Option<(i64, Vec<String>)> {
    let far = from.kilometres_to(to);
    // Within the first minute anything is at once.
    let minutes = i64::try_from(between.as_secs() / 60).unwrap_or(i64::MAX).max(1);
    if far < FAR || far.saturating_mul(60) / minutes <= SPEED_MAX {
        return None;
    }
    let mut reasons = vec![format!(
        "signed in from {} {minutes} minutes after {}, {far} km away",
        to.country, from.country
    )];
    let mut score = 40 + (far / 200).min(30);
    if new_device {
        score += 30;
        reasons.push("with a device that was never seen before".to_owned());
    }
    Some((score, reasons))
}

/// What a verifier and a user have had with each other within a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) verdicts: i64,
    pub(super) verified: i64,
    /// Verdicts that came in haste.
    pub(super) hasty: i64,
    /// Whether both were seen on one network.
    pub(super) one_address: bool,
    pub(super) one_device: bool,
}

/// Score and reasons; none while it is nothing out of the ordinary.
pub(super) fn collusion(pair: Pair) -> Option<(i64, Vec<String>)> {
    let Pair { verdicts, verified, hasty, one_address, one_device } = pair;
    let mut score = 0;
    let mut reasons = Vec::new();
    let mut add = |points: i64, reason: String| {
        score += points;
        reasons.push(reason);
    };
    // Twice may happen to anybody; from the third verdict on each weighs more.
    if verdicts >= 3 {
        add((10 * (verdicts - 2)).min(40), format!("{verdicts} verdicts in 30 days"));
        if verified == verdicts {
            add(15, "all of them were favourable".to_owned());
        }
    }
    if hasty > 0 && hasty * 2 >= verdicts {
        let within = HASTE.as_secs();
        add(20, format!("{hasty} of {verdicts} within {within} seconds of being accepted"));
    }
    if one_address {
        add(30, "both were seen on the same network".to_owned());
    }
    if one_device {
        add(20, "both were seen with the same kind of device".to_owned());
    }
    let score = score.min(100);
    (score >= COLLUSION).then_some((score, reasons))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_no_velocity() {
        assert_eq!(velocity(30, 30), None);
        assert_eq!(velocity(31, 30), Some(51));
        assert_eq!(velocity(1000, 30), Some(100));
        assert_eq!(velocity(2, 0), Some(100));
        assert_eq!(flagged(2), None);
        assert_eq!(flagged(3), Some(60));
    }

    #[test]
    fn who_flies_has_time_to() {
        let place = |country: &str, latitude, longitude| Place {
            country: country.to_owned(),
            latitude,
            longitude,
            radius: 20,
        };
        let (paris, berlin) = (place("FR", 489, 24), place("DE", 525, 134));
        let tokyo = place("JP", 357, 1397);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let score = |to, after, new| travel(&paris, to, after, new).map(|(score, _)| score);
        assert_eq!(score(&paris, minutes(0), true), None);
        assert_eq!(score(&berlin, minutes(120), true), None, "by train and by plane");
        assert_eq!(score(&berlin, minutes(10), false), Some(44));
        assert_eq!(score(&tokyo, minutes(600), true), None);
        assert_eq!(score(&tokyo, minutes(60), false), Some(70));
        assert_eq!(score(&tokyo, minutes(0), true), Some(100));
        let (_, reasons) = travel(&paris, &tokyo, minutes(40), true).unwrap();
        assert_eq!(reasons[0], "signed in from JP 40 minutes after FR, 9665 km away");
        assert_eq!(reasons.len(), 2);
    }

    #[test]
    fn strangers_do_not_collude() {
        let pair = |verdicts, verified, hasty, one_address, one_device| {
            collusion(Pair { verdicts, verified, hasty, one_address, one_device })
                .map(|(score, _)| score)
        };
        assert_eq!(pair(1, 1, 1, false, false), None, "one quick verdict");
        assert_eq!(pair(1, 1, 0, true, true), None, "one verdict in one office");
        assert_eq!(pair(6, 6, 0, false, false), None, "a customer who comes again");
        assert_eq!(pair(6, 6, 6, false, false), Some(75));
        assert_eq!(pair(3, 3, 0, true, true), Some(75));
        assert_eq!(pair(1, 1, 1, true, true), Some(70));
        assert_eq!(pair(9, 9, 9, true, true), Some(100));
    }
}
