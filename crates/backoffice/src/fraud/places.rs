//! Where an address is, as far as the operator's database of addresses knows.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use kernel::{Error, Result};
use maxminddb::Reader;
use serde::Deserialize;

/// A database of addresses in the [MaxMind DB format](https://maxmind.github.io/MaxMind-DB/) 2.0,
/// with coordinates; or none, which knows nothing.
#[derive(Default)]
pub struct Places(Option<Reader<Vec<u8>>>);

/// Roughly where a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its country, by ISO 3166-1 alpha-2.
    pub(super) country: String,
    /// In tenths of a degree: of what is kept of people, eleven kilometres are exact enough.
    pub(super) latitude: i64,
    pub(super) longitude: i64,
    /// In kilometres: how far off that may be.
    pub(super) radius: i64,
}

/// What of a record counts here.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    country: Country,
    #[serde(default)]
    location: Location,
}

#[derive(Deserialize, Default)]
struct Country {
    iso_code: Option<String>,
}

#[derive(Deserialize, Default)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
    accuracy_radius: Option<u16>,
}

impl Places {
    /// Reads a database into memory.
    ///
    /// # Errors
    /// `invalid_configuration`: it cannot be read, or is no such database. What is damaged further in
    /// is found where it is looked up, and is nowhere: a look at all of it takes seconds.
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |what: String| {
            let message = format!(
                "fraud.address_database: {}: {what}. Name a database with coordinates in the \
                 MaxMind format (.mmdb), or leave it out.",
                path.display()
            );
            Error::invalid("invalid_configuration", message)
        };
        let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let reader = Reader::from_source(bytes).map_err(|error| wrong(error.to_string()))?;
        Ok(Self(Some(reader)))
    }

    /// Where an address is; none where the database does not say, or says no coordinates.
    pub(super) fn find(&self, address: IpAddr) -> Option<Place> {
        // An address of version 6 in a database of version 4 is an error, and nowhere.
        let record: Record = self.0.as_ref()?.lookup(address).ok()?.decode().ok()??;
        let tenths = |degrees: f64, most: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "no larger than 1800")]
            (degrees.abs() <= most).then(|| (degrees * 10.0).round() as i64)
        };
        Some(Place {
            country: record.country.iso_code.filter(|code| code.len() == 2)?,
            latitude: tenths(record.location.latitude?, 90.0)?,
            longitude: tenths(record.location.longitude?, 180.0)?,
            radius: record.location.accuracy_radius.unwrap_or(RADIUS_UNKNOWN).into(),
        })
    }
}

/// Where a database does not say how exact it is: a larger city and what is around it.
const RADIUS_UNKNOWN: u16 = 100;

impl Place {
    /// Kilometres between two places along the earth's surface (haversine, mean radius 6371 km),
    /// less what either may be off.
    pub(super) fn kilometres_to(&self, other: &Self) -> i64 {
        let radians = |tenths: i64| {
            #[expect(clippy::cast_precision_loss, reason = "no larger than 1800")]
            (tenths as f64 / 10.0).to_radians()
        };
        let (one, two) = (radians(self.latitude), radians(other.latitude));
        let half = |from: f64, to: f64| ((to - from) / 2.0).sin().powi(2);
        let (from, to) = (radians(self.longitude), radians(other.longitude));
        let chord = half(one, two) + one.cos() * two.cos() * half(from, to);
        #[expect(clippy::cast_possible_truncation, reason = "no larger than half the equator")]
        let far = (2.0 * 6371.0 * chord.clamp(0.0, 1.0).sqrt().asin()) as i64;
        (far - self.radius - other.radius).max(0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Networks of RFC 5737 and RFC 3849, put into three towns and one country without a town.
    const DATABASE: &[u8] = include_bytes!("testdata/places.mmdb");

    /// The same for tests of the rules.
    pub(in crate::fraud) fn places() -> Places {
        Places(Some(Reader::from_source(DATABASE.to_vec()).unwrap()))
    }

    fn find(address: &str) -> Option<Place> {
        places().find(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_where_the_database_says() {
        let paris = find("192.0.2.7").unwrap();
        assert_eq!(paris.country, "FR");
        assert_eq!((paris.latitude, paris.longitude, paris.radius), (489, 24, 20));
        assert_eq!(find("2001:db8:1::1").unwrap().country, "JP");
        assert_eq!(find("192.0.2.200"), None, "a country without coordinates is no place");
        assert_eq!(find("10.0.0.1"), None);
        assert_eq!(Places::default().find("192.0.2.7".parse().unwrap()), None);
    }

    #[test]
    fn what_is_wrong_with_a_database_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mmdb");
        let said = |path: &Path| Places::open(path).err().unwrap().message().to_owned();
        assert!(said(&path).contains("No such file"), "{}", said(&path));
        fs::write(&path, "countries").unwrap();
        assert!(said(&path).contains("Name a database"), "{}", said(&path));
        fs::write(&path, &DATABASE[..DATABASE.len() / 2]).unwrap();
        assert!(said(&path).contains("a.mmdb"));
        // Every byte may be wrong: it is refused, or answers something, and nothing breaks.
        for at in (0..DATABASE.len()).step_by(7) {
            let mut bytes = DATABASE.to_vec();
            bytes[at] ^= 0x55;
            fs::write(&path, &bytes).unwrap();
            if let Ok(places) = Places::open(&path) {
                places.find("192.0.2.7".parse().unwrap());
            }
        }
        fs::write(&path, DATABASE).unwrap();
        assert!(Places::open(&path).is_ok());
    }

    #[test]
    fn far_is_as_far_as_on_a_map() {
        let (paris, tokyo) = (find("192.0.2.7").unwrap(), find("2001:db8:1::1").unwrap());
        let far = paris.kilometres_to(&tokyo);
        assert!((9_500..9_750).contains(&far), "{far}");
        assert_eq!(far, tokyo.kilometres_to(&paris));
        assert_eq!(paris.kilometres_to(&paris), 0);
        let at = |latitude, longitude| Place { latitude, longitude, radius: 0, ..paris.clone() };
        assert_eq!(at(900, 0).kilometres_to(&at(-900, 0)), 20_015, "from pole to pole");
        assert!(at(0, 1799).kilometres_to(&at(0, -1799)) < 30, "over the date line");
    }
}
