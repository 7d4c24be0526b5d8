//! Published vectors against our own verifying code.
//!
//! PASETO: the version 4 vectors of the specification's authors (`paseto-standard/test-vectors`,
//! `v4.json`), typed in here by the half. Where the whole files of theirs and of Wycheproof
//! are at hand, all of them are tried.

use pasetors::keys::{AsymmetricPublicKey, SymmetricKey};
use platform::testing::vectors;
use serde_json::Value as Json;

use super::paseto::{Unverified, Verifying};
use super::{Refusal, jws};

#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Local,
    Public,
}

struct Vector<'a> {
    name: &'a str,
    key: Purpose,
    token: &'a str,
    /// None where the token must be refused.
    payload: Option<&'a str>,
    implicit: &'a str,
}

const LOCAL_KEY: &str = "707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f";
const PUBLIC_KEY: &str = "1eb9dbbbbc047c03fd70604e0071f0987e16b28b757225c11f00415d0e20b1a2";
const SECRET: &str = r#"{"data":"this is a secret message","exp":"2022-01-01T00:00:00+00:00"}"#;
const HIDDEN: &str = r#"{"data":"this is a hidden message","exp":"2022-01-01T00:00:00+00:00"}"#;
const SIGNED: &str = r#"{"data":"this is a signed message","exp":"2022-01-01T00:00:00+00:00"}"#;

const VECTORS: &[Vector<'_>] = &[
    Vector {
        name: "4-E-1",
        key: Purpose::Local,
        token: "v4.local.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAr68PS4AXe7If_ZgesdkUMvSwscFlAl1pk5H\
         C0e8kApeaqMfGo_7OpBnwJOAbY9V7WU6abu74MmcUE8YWAiaArVI8XJ5hOb_4v9RmDkneN0S92dx0OW4pgy7omxgf\
         3S8c3LlQg",
        payload: Some(SECRET),
        implicit: "",
    },
    Vector {
        name: "4-E-5",
        key: Purpose::Local,
        token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WkwMsYXw6FSNb\
         _UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t4x-RMNXtQNbz7FvFZ_G-lFpk5RG3EOrwDL6\
         CgDqcerSQ.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
        payload: Some(SECRET),
        implicit: "",
    },
    Vector {
        name: "4-E-7",
        key: Purpose::Local,
        token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WkwMsYXw6FSNb\
         _UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t40KCCWLA7GYL9KFHzKlwY9_RnIfRrMQpuey\
         dLEAZGGcA.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
        payload: Some(SECRET),
        implicit: r#"{"test-vector":"4-E-7"}"#,
    },
    Vector {
        name: "4-E-9",
        key: Purpose::Local,
        token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WiA8rd3wgFSNb\
         _UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t6tybdlmnMwcDMw0YxA_gFSE_IUWl78aMtOe\
         pFYSWYfQA.YXJiaXRyYXJ5LXN0cmluZy10aGF0LWlzbid0LWpzb24",
        payload: Some(HIDDEN),
        implicit: r#"{"test-vector":"4-E-9"}"#,
    },
    Vector {
        name: "4-S-1",
        key: Purpose::Public,
        token: "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDo\
         wMCswMDowMCJ9bg_XBBzds8lTZShVlwwKSgeKpLT3yukTw6JUz3W4h_ExsQV-P0V54zemZDcAxFaSeef1QlXEFtkq\
         xT1ciiQEDA",
        payload: Some(SIGNED),
        implicit: "",
    },
    Vector {
        name: "4-S-2",
        key: Purpose::Public,
        token: "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDo\
         wMCswMDowMCJ9v3Jt8mx_TdM2ceTGoqwrh4yDFn0XsHvvV_D0DtwQxVrJEBMl0F2caAdgnpKlt4p7xBnx1HcO-SPo\
         8FPp214HDw.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
        payload: Some(SIGNED),
        implicit: "",
    },
    Vector {
        name: "4-S-3",
        key: Purpose::Public,
        token: "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDo\
         wMCswMDowMCJ9NPWciuD3d0o5eXJXG5pJy-DiVEoyPYWs1YSTwWHNJq6DZD3je5gf-0M4JR9ipdUSJbIovzmBECea\
         WmaqcaP0DQ.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
        payload: Some(SIGNED),
        implicit: r#"{"test-vector":"4-S-3"}"#,
    },
    Vector {
        name: "4-F-1",
        key: Purpose::Public,
        token: "v4.local.vngXfCISbnKgiP6VWGuOSlYrFYU300fy9ijW33rznDYgxHNPwWluAY2Bgb0z54CUs6aYYkIJ-bOOOmJH\
         PuX_34Agt_IPlNdGDpRdGNnBz2MpWJvB3cttheEc1uyCEYltj7wBQQYX.YXJiaXRyYXJ5LXN0cmluZy10aGF0LWlz\
         bid0LWpzb24",
        payload: None,
        implicit: r#"{"test-vector":"4-F-1"}"#,
    },
    Vector {
        name: "4-F-2",
        key: Purpose::Local,
        token: "v4.public.eyJpbnZhbGlkIjoidGhpcyBzaG91bGQgbmV2ZXIgZGVjb2RlIn22Sp4gjCaUw0c7EH84ZSm_jN_Qr41\
         MrgLNu5LIBCzUr1pn3Z-Wukg9h3ceplWigpoHaTLcwxj0NsI1vjTh67YB.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25\
         FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
        payload: None,
        implicit: r#"{"test-vector":"4-F-2"}"#,
    },
    Vector {
        name: "4-F-3",
        key: Purpose::Local,
        token: "v3.local.23e_2PiqpQBPvRFKzB0zHhjmxK3sKo2grFZRRLM-U7L0a8uHxuF9RlVz3Ic6WmdUUWTxCaYycwWV1yM8\
         gKbZB2JhygDMKvHQ7eBf8GtF0r3K0Q_gF1PXOxcOgztak1eD1dPe9rLVMSgR0nHJXeIGYVuVrVoLWQ.YXJiaXRyYX\
         J5LXN0cmluZy10aGF0LWlzbid0LWpzb24",
        payload: None,
        implicit: r#"{"test-vector":"4-F-3"}"#,
    },
    Vector {
        name: "4-F-4",
        key: Purpose::Local,
        token: "v4.local.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAr68PS4AXe7If_ZgesdkUMvSwscFlAl1pk5H\
         C0e8kApeaqMfGo_7OpBnwJOAbY9V7WU6abu74MmcUE8YWAiaArVI8XJ5hOb_4v9RmDkneN0S92dx0OW4pgy7omxgf\
         3S8c3LlQh",
        payload: None,
        implicit: "",
    },
    Vector {
        name: "4-F-5",
        key: Purpose::Local,
        token: "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WkwMsYXw6FSNb\
         _UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t4x-RMNXtQNbz7FvFZ_G-lFpk5RG3EOrwDL6\
         CgDqcerSQ==.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
        payload: None,
        implicit: "",
    },
];

impl Vector<'_> {
    fn judge(&self, local: &str, public: &str) {
        let key = match self.key {
            Purpose::Local => {
                Verifying::Local(SymmetricKey::from(&hex::decode(local).unwrap()).unwrap())
            }
            Purpose::Public => {
                let key = hex::decode(public).unwrap();
                Verifying::Public(AsymmetricPublicKey::from(&key).unwrap())
            }
        };
        let opened = |implicit: &str| -> Result<String, Refusal> {
            Unverified::parse(self.token)?.open(&key, implicit.as_bytes())
        };
        match self.payload {
            Some(payload) => {
                assert_eq!(opened(self.implicit).as_deref(), Ok(payload), "{}", self.name);
                let other = opened(&format!("{}x", self.implicit));
                assert_eq!(other, Err(Refusal::BadSignature), "{}", self.name);
            }
            None => assert!(opened(self.implicit).is_err(), "{}", self.name),
        }
    }
}

#[test]
fn paseto_s_own_vectors_are_judged_as_it_says() {
    for vector in VECTORS {
        vector.judge(LOCAL_KEY, PUBLIC_KEY);
    }
    assert_eq!(VECTORS.iter().filter(|vector| vector.payload.is_none()).count(), 5);
}

#[test]
fn all_of_paseto_s_published_vectors_are_judged_as_it_says() {
    let Some(file) = vectors::read_json("paseto/v4.json") else { return };
    let tests = file["tests"].as_array().unwrap();
    for test in tests {
        let text = |name: &str| test[name].as_str();
        let key = if text("key").is_some() { Purpose::Local } else { Purpose::Public };
        assert_eq!(text("payload").is_none(), test["expect-fail"] == true);
        let vector = Vector {
            name: text("name").unwrap(),
            key,
            token: text("token").unwrap(),
            payload: text("payload"),
            implicit: text("implicit-assertion").unwrap(),
        };
        let local = text("key").unwrap_or_default();
        vector.judge(local, text("public-key").unwrap_or_default());
    }
    assert_eq!(tests.len(), 17);
}

/// Signatures of the standards' own examples: good ones, by algorithms and with headers that are
/// not ours.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "RFC 7515 A.1, HS256",
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQo\
         gImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOE\
         jXk",
    ),
    (
        "RFC 7515 A.3, ES256",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGx\
         lLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8I\
         SlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
    (
        "RFC 7515 A.5, none",
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl\
         LmNvbS9pc19yb290Ijp0cnVlfQ.",
    ),
    (
        "RFC 8037 A.4, EdDSA without typ and kid",
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09P\
         GcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ),
];

#[test]
fn a_good_signature_of_another_kind_is_refused_for_its_header() {
    for (name, token) in EXAMPLES {
        assert_eq!(jws::Unverified::parse(token).unwrap_err(), Refusal::Malformed, "{name}");
    }
}

/// Wycheproof's JWS vectors know no EdDSA. So the good ones among them must be refused as surely as
/// the bad ones: no algorithm, no key and no encoding of theirs gets to a signature of ours.
#[test]
fn no_published_jws_of_another_algorithm_gets_past_its_header() {
    let mut judged = 0;
    for name in ["json_web_signature_test", "json_web_crypto_test"] {
        let Some(file) = vectors::read_json(&format!("wycheproof/{name}.json")) else { continue };
        for group in file["testGroups"].as_array().unwrap() {
            for test in group["tests"].as_array().unwrap() {
                let text = match &test["jws"] {
                    Json::String(text) => text.clone(),
                    // In JSON serialisation, which we do not take at all.
                    Json::Object(_) => test["jws"].to_string(),
                    _ => continue,
                };
                let refused = jws::Unverified::parse(&text).unwrap_err();
                assert_eq!(refused, Refusal::Malformed, "{name} {}", test["tcId"]);
                judged += 1;
            }
        }
    }
    println!("{judged} published signatures refused");
    assert!(judged == 0 || judged > 400, "{judged}");
}
