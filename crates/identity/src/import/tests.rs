use std::fmt::Write;
use std::io::Cursor;

use kernel::{Caller, Kind, Result, Role};
use platform::on_both_engines;
use serde_json::json;

use super::{Format, Policy, Report, RowError, Rows};
use crate::testing::{House, TABLES, house};

const HASH: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
const HASHED: &str = "U*U";

struct Outcome {
    report: Report,
    errors: Vec<RowError>,
}

impl Outcome {
    fn counts(&self) -> (u64, u64, u64) {
        (self.report.imported, self.report.unchanged, self.report.failed)
    }

    /// Each error as `line pointer code`.
    fn lines(&self) -> Vec<String> {
        let line = |error: &RowError| {
            let fields: Vec<_> =
                error.errors.iter().map(|e| format!("{} {}", e.pointer, e.code)).collect();
            format!("{} {}", error.line, fields.join(", "))
        };
        self.errors.iter().map(line).collect()
    }
}

impl House<'_> {
    async fn import_with(
        &self,
        format: Format,
        text: &str,
        dry_run: bool,
        admins: bool,
    ) -> Outcome {
        let policy = Policy { allow_admin: admins, now: self.t.db.world().now() };
        // Small pieces, so that a line comes in several.
        let input = std::io::BufReader::with_capacity(7, Cursor::new(text.as_bytes()));
        let rows = Rows::new(input, format, policy).unwrap();
        let mut errors = Vec::new();
        let told = |error| {
            errors.push(error);
            Ok(())
        };
        let caller = Caller::nobody();
        let report = self.identity.imports.run(&caller, rows, dry_run, told, |_| {}).await.unwrap();
        Outcome { report, errors }
    }

    async fn import(&self, format: Format, text: &str) -> Outcome {
        self.import_with(format, text, false, false).await
    }
}

fn many(from: usize, to: usize) -> String {
    let mut text = "externalId,email\n".to_owned();
    for n in from..to {
        let _ = writeln!(text, "{n},person{n}@example.org");
    }
    text
}

fn columns(first: &str) -> Result<()> {
    let policy = Policy { allow_admin: false, now: kernel::Timestamp::from_seconds(0) };
    Rows::new(Cursor::new(first.as_bytes().to_vec()), Format::Csv, policy).map(drop)
}

#[test]
fn columns_that_are_not_known_are_refused_before_anything_is_read() {
    for wrong in ["", "name\n", "email,passwort\n", "email,email\n", "id,externalId,email\n"] {
        assert_eq!(columns(wrong).unwrap_err().code(), "invalid_columns", "{wrong:?}");
    }
    for right in ["email", "\u{feff}email,name\r\n", "\"email\", name\n"] {
        columns(right).unwrap();
    }
}

on_both_engines! { TABLES;
    async fn people_come_with_all_that_they_had(t: &TestDb) {
        let house = house(t);
        let text = format!(
            "email,name,role,passwordHash,emailVerified,createdAt,externalId\r\n\
             Anne@Example.org,\"Cooper, Anne\",user,{HASH},true,2020-05-01T12:00:00Z,a-1\r\n\
             \r\n\
             vera@example.org,,verifier,,,,\r\n"
        );
        let outcome = house.import(Format::Csv, &text).await;
        assert_eq!(outcome.counts(), (2, 0, 0), "{:?}", outcome.lines());
        let anne = house.identity.accounts.get(house.id_of("anne@example.org").await).await.unwrap();
        assert_eq!((anne.email.shown(), anne.name.as_str()), ("Anne@Example.org", "Cooper, Anne"));
        assert_eq!(anne.created_at.to_second_text(), "2020-05-01T12:00:00Z");
        assert!(anne.email_verified_at.is_some() && anne.approved);
        let vera = house.identity.accounts.get(house.id_of("vera@example.org").await).await.unwrap();
        assert_eq!((vera.name.as_str(), vera.role), ("vera", Role::Verifier));
        assert!(vera.email_verified_at.is_none() && !vera.approved && vera.password.is_none());
        assert_eq!(house.facts().await, ["user.imported", "user.imported"]);
        let leaks = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts
                     WHERE data LIKE '%@%' OR data LIKE '%$2b$%' OR data LIKE '%a-1%'";
        assert_eq!(house.count(leaks).await, 0);
    }

    async fn a_hash_from_elsewhere_lets_its_owner_in_and_is_made_anew(t: &TestDb) {
        let house = house(t);
        let row = json!({
            "id": 17, "email": "anne@example.org", "passwordHash": HASH, "emailVerified": true,
        });
        house.import(Format::Jsonl, &row.to_string()).await;
        let stored = async || {
            let id = house.id_of("anne@example.org").await;
            house.identity.accounts.get(id).await.unwrap().password.unwrap().0
        };
        assert!(house.login_with("anne@example.org", "wrong").await.is_err());
        assert_eq!(stored().await, HASH);
        house.login_with("anne@example.org", HASHED).await.unwrap();
        assert!(stored().await.starts_with("$argon2id$"));
        house.login_with("anne@example.org", HASHED).await.unwrap();
        assert!(house.login_with("anne@example.org", "wrong").await.is_err());
    }

    async fn each_wrong_row_is_told_by_its_line_and_the_others_come(t: &TestDb) {
        let house = house(t);
        house.member("native@example.org", Role::User).await;
        let long = "x".repeat(70_000);
        let costly = "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8\
                      ArZWb2GRPPc";
        let rows = [
            json!({ "email": "a@example.org" }).to_string(),
            json!({ "email": "nobody", "name": "\u{7}", "role": "boss" }).to_string(),
            json!({ "name": "Without an address" }).to_string(),
            json!({ "email": "b@example.org", "role": "admin" }).to_string(),
            json!({ "email": "b@example.org", "passwordHash": "5f4dcc3b5aa7" }).to_string(),
            json!({ "email": "b@example.org", "passwordHash": costly }).to_string(),
            json!({ "email": "b@example.org", "passwordHash": 5 }).to_string(),
            json!({ "email": "b@example.org", "createdAt": "2030-01-01T00:00:00Z" }).to_string(),
            json!({ "email": "b@example.org", "emailVerified": "perhaps" }).to_string(),
            json!({ "email": "b@example.org", "shoeSize": 42 }).to_string(),
            json!({ "email": "NATIVE@example.org" }).to_string(),
            "{ \"email\": ".to_owned(),
            "[]".to_owned(),
            long,
            json!({ "email": "c@example.org" }).to_string(),
        ];
        let outcome = house.import(Format::Jsonl, &rows.join("\n")).await;
        assert_eq!(outcome.counts(), (2, 0, 13));
        let mut lines = outcome.lines();
        lines.sort_by_key(|line| line.split(' ').next().unwrap().parse::<u32>().unwrap());
        assert_eq!(lines, [
            "2 /email invalid, /name invalid, /role invalid",
            "3 /email missing",
            "4 /role not_allowed",
            "5 /passwordHash unknown_scheme",
            "6 /passwordHash too_costly",
            "7 /passwordHash wrong_type",
            "8 /createdAt invalid",
            "9 /emailVerified invalid",
            "10  unknown_field",
            "11 /email taken",
            "12  unreadable",
            "13  unreadable",
            "14  unreadable",
        ]);
        let told = serde_json::to_string(&outcome.errors).unwrap();
        assert!(!told.contains("5f4dcc3b5aa7") && !told.contains("c29tZXNhbHQ"), "{told}");
        assert_eq!(house.users().await, 3);
    }

    async fn a_broken_quote_spoils_one_line(t: &TestDb) {
        let house = house(t);
        let text = "email,name\na@example.org,\"Anne\nb@example.org,Bea\nc@example.org,Cy,more\n";
        let outcome = house.import(Format::Csv, text).await;
        assert_eq!((outcome.counts(), outcome.lines()), ((2, 0, 1), vec!["4  unreadable".into()]));
    }

    async fn an_import_goes_on_where_it_stopped(t: &TestDb) {
        let house = house(t);
        assert_eq!(house.import(Format::Csv, &many(0, 600)).await.counts(), (600, 0, 0));
        assert_eq!(house.import(Format::Csv, &many(0, 1100)).await.counts(), (500, 600, 0));
        assert_eq!(house.import(Format::Csv, &many(0, 1100)).await.counts(), (0, 1100, 0));
        assert_eq!(house.users().await, 1100);
        let facts = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts WHERE verb = 'user.imported'";
        assert_eq!(house.count(facts).await, 1100);
    }

    async fn a_row_is_known_by_its_external_id_or_else_by_its_address(t: &TestDb) {
        let house = house(t);
        let text = "externalId,email\n1,a@example.org\n1,other@example.org\n,a@example.org\n\
                    2,a@example.org\n3,b@example.org\n";
        let first = house.import(Format::Csv, text).await;
        assert_eq!((first.counts(), first.lines()), ((2, 2, 1), vec!["5 /email taken".into()]));
        // The same once more, all of it in the store by now.
        let again = house.import(Format::Csv, text).await;
        assert_eq!((again.counts(), again.lines()), ((0, 4, 1), vec!["5 /email taken".into()]));
        assert_eq!(house.users().await, 2);
    }

    async fn a_dry_run_says_the_same_and_changes_nothing(t: &TestDb) {
        let house = house(t);
        house.member("native@example.org", Role::User).await;
        let text = "email\na@example.org\na@example.org\nnative@example.org\nnobody\n";
        let facts = house.facts().await;
        let dry = house.import_with(Format::Csv, text, true, false).await;
        assert_eq!((house.users().await, house.facts().await), (1, facts));
        let wet = house.import(Format::Csv, text).await;
        assert_eq!((dry.report, dry.lines()), (wet.report, wet.lines()));
        assert_eq!(wet.counts(), (1, 1, 2));
    }

    async fn admins_come_only_when_they_are_asked_for(t: &TestDb) {
        let house = house(t);
        let text = "email,role\nroot@example.org,admin\n";
        assert_eq!(house.import_with(Format::Csv, text, false, false).await.counts(), (0, 0, 1));
        assert_eq!(house.users().await, 0);
        assert_eq!(house.import_with(Format::Csv, text, false, true).await.counts(), (1, 0, 0));
    }

    async fn somebody_who_came_without_a_password_sets_one_by_mail(t: &TestDb) {
        let house = house(t);
        house.import(Format::Csv, "email\nanne@example.org\n").await;
        let refused = house.login_with("anne@example.org", "anything").await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unauthenticated);
        let email = crate::account::Email::parse("anne@example.org").unwrap();
        let caller = Caller::nobody();
        house.identity.recovery.forgot_password(&caller, &email).await.unwrap();
        let token = house.mail_token("anne@example.org").await;
        let new = "seven quiet herons at dusk";
        let recovery = &house.identity.recovery;
        recovery.reset_password(&caller, &token, new.to_owned().into()).await.unwrap();
        house.login_with("anne@example.org", new).await.unwrap();
    }
}
