//! Handles and what they are made of.

use kernel::id::kinds::User;
use kernel::{Error, Id, Result, Timestamp};

use crate::account::Name;

/// The name that a user signs in with: 3 to 24 letters, digits, dots, dashes and underscores, the
/// first a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// # Errors
    /// A field error `invalid` on `/username`.
    pub fn parse(text: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !(3..=24).contains(&text.len()) || !starts || !text.bytes().all(plain) {
            let message = "3 to 24 letters, digits, dots, dashes and underscores";
            return Err(Error::field("/username", "invalid", message));
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was chosen.
    pub fn shown(&self) -> &str {
        &self.0
    }

    /// As usernames are compared.
    pub fn normal(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// A person's whole name: two words or more of 3 to 24 characters each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullName(Name);

impl FullName {
    /// # Errors
    /// A field error `invalid` on `/full_name`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |_| {
            let message = "two words or more of 3 to 24 characters each";
            Error::field("/full_name", "invalid", message)
        };
        let fits = |word: &str| (3..=24).contains(&word.chars().count());
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() < 2 || !words.iter().all(|word| fits(word)) {
            return Err(wrong(()));
        }
        Name::parse(&words.join(" ")).map(Self).map_err(|_| wrong(()))
    }

    pub const fn name(&self) -> &Name {
        &self.0
    }
}

/// The codes of ISO 3166-1 alpha-2 that are assigned.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI \
    BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY \
    CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN \
    GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH \
    KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO \
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL \
    PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV \
    SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN \
    VU WF WS YE YT ZA ZM ZW";

/// A country: ISO 3166-1 alpha-2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Country(String);

impl Country {
    /// # Errors
    /// A field error `invalid` on `/country_code`.
    pub fn parse(text: &str) -> Result<Self> {
        let code = text.to_ascii_uppercase();
        if code.len() != 2 || !COUNTRIES.split(' ').any(|known| known == code) {
            let message = "a country of ISO 3166-1 in two letters, such as NG";
            return Err(Error::field("/country_code", "invalid", message));
        }
        Ok(Self(code))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) const fn stored(code: String) -> Self {
        Self(code)
    }
}

/// The number of a role as a client chooses it: 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleNumber(i64);

impl RoleNumber {
    /// The number that admins are shown with.
    pub const ADMIN: i64 = 3;

    /// Zero is nothing said, which is 1.
    ///
    /// # Errors
    /// A field error on `/role_id`: `out_of_range`; `not_allowed` for the admin's.
    pub fn parse(number: i64) -> Result<Self> {
        match number {
            0 => Ok(Self(1)),
            1 | 2 => Ok(Self(number)),
            Self::ADMIN => {
                let message = "nobody becomes an admin by choosing to";
                Err(Error::field("/role_id", "not_allowed", message))
            }
            _ => Err(Error::field("/role_id", "out_of_range", "from 1 to 3")),
        }
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    pub(super) const fn stored(number: i64) -> Self {
        Self(number)
    }
}

/// A handle as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    pub user: Id<User>,
    pub username: Username,
    pub country: Country,
    pub role: RoleNumber,
    pub username_changed_at: Option<Timestamp>,
    pub(super) version: i64,
}

impl Username {
    pub(super) const fn stored(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_three_to_twenty_four_plain_characters() {
        for good in ["abc", "Anne.Cooper", "a-1_b", "x".repeat(24).as_str(), "007"] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "x".repeat(25).as_str(), "a b", "anne@x", ".abc", "änne", "a\u{0}b"]
        {
            assert!(Username::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Username::parse("AnNe").unwrap().normal(), "anne");
    }

    #[test]
    fn a_full_name_is_two_words_or_more() {
        assert_eq!(FullName::parse(" Anne  Cooper ").unwrap().name().as_str(), "Anne Cooper");
        for bad in ["Anne", "Anne Co", "", "Anne \u{202E}Cooper", &"Anne ".repeat(30)] {
            assert!(FullName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn countries_are_those_of_the_standard() {
        assert_eq!(COUNTRIES.split(' ').count(), 249);
        assert!(COUNTRIES.split(' ').is_sorted());
        assert_eq!(Country::parse("ng").unwrap().as_str(), "NG");
        for bad in ["", "N", "XX", "NGA", "AD AE", "ÄA"] {
            assert!(Country::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_chooses_to_be_an_admin() {
        assert_eq!(RoleNumber::parse(0).unwrap().get(), 1);
        assert_eq!(RoleNumber::parse(2).unwrap().get(), 2);
        let code = |number| RoleNumber::parse(number).unwrap_err().fields()[0].code.clone();
        assert_eq!(code(3), "not_allowed");
        assert_eq!(code(4), "out_of_range");
        assert_eq!(code(-1), "out_of_range");
    }
}
