//! All SQL of verifiers and their services.

use std::collections::HashMap;

use kernel::id::kinds;
use kernel::{Asset, Cursor, Id, Money, Page, PageRequest, Result, Timestamp};
use platform::db::search::{Words, fold};
use platform::db::{Bind, Db, DbError, Read, Row, Tx, like};
use platform::params;
use uuid::Uuid;

use super::model::{
    Availability, Away, Expedited, NewOffer, Offer, Profile, Rating, Search, Sort, Status,
    Verifier, key,
};
use super::office::Standing;
use super::rules::{PriceRange, Recent};

const COLUMNS: &str = "verifiers.id, verifiers.name, verifiers.headline, verifiers.bio, \
                       verifiers.categories, verifiers.jurisdiction, verifiers.licence, \
                       verifiers.status, verifiers.approved, verifiers.suspended, \
                       verifiers.rating_sum, verifiers.rating_count, verifiers.jobs_done, \
                       verifiers.reputation, verifiers.since, verifiers.languages, verifiers.away_from, \
                       verifiers.away_until, verifiers.auto_accept, verifiers.version";

fn read(row: &Row<'_>) -> Result<Verifier, DbError> {
    Ok(Verifier {
        id: row.take()?,
        name: row.take()?,
        headline: row.take()?,
        bio: row.take()?,
        categories: serde_json::from_str(&row.take::<String>()?)
            .map_err(|error| DbError::Other(format!("verifiers.categories: {error}")))?,
        jurisdiction: row.take()?,
        licence: row.take()?,
        status: match row.take::<String>()?.as_str() {
            "hidden" => Status::Hidden,
            _ => Status::Listed,
        },
        approved: row.take()?,
        suspended: row.take()?,
        rating: Rating { sum: row.take()?, count: row.take()? },
        jobs_done: row.take()?,
        reputation: row.take()?,
        since: row.take()?,
        availability: Availability {
            languages: serde_json::from_str(&row.take::<String>()?).map_err(unreadable)?,
            away: {
                let (from, until) = (row.take::<Option<Timestamp>>()?, row.take()?);
                from.map(|from| Away { from, until })
            },
            auto_accept: row
                .take::<Option<String>>()?
                .map(|text| serde_json::from_str(&text).map_err(unreadable))
                .transpose()?,
        },
        version: row.take()?,
    })
}

fn unreadable(error: serde_json::Error) -> DbError {
    DbError::Other(format!("the availability of a verifier: {error}"))
}

pub(super) async fn replace_availability(
    tx: &Tx,
    id: Id<kinds::Verifier>,
    availability: &Availability,
) -> Result<()> {
    let Availability { languages, away, auto_accept } = availability;
    let languages = serde_json::to_string(languages).map_err(unreadable)?;
    let rules = auto_accept.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)?;
    let (from, until) = (away.map(|away| away.from), away.and_then(|away| away.until));
    let sql = "UPDATE verifiers SET languages = $2, away_from = $3, away_until = $4,
                   auto_accept = $5, updated_at = $6
               WHERE id = $1";
    tx.touch(sql, params![id, languages, from, until, rules, tx.now()]).await?;
    Ok(())
}

/// Counts that they replace something of theirs; answers how often they have before. Others who do
/// wait until this transaction is over.
pub(super) async fn next_version(tx: &Tx, id: Id<kinds::Verifier>) -> Result<i64> {
    let sql = "UPDATE verifiers SET version = version + 1 WHERE id = $1 RETURNING version - 1";
    Ok(tx.one(sql, params![id], |row| row.take()).await?)
}

/// Makes others who would give this verifier work wait until this transaction is over.
pub(super) async fn hold_still(tx: &Tx, id: Id<kinds::Verifier>) -> Result<()> {
    tx.touch("UPDATE verifiers SET updated_at = updated_at WHERE id = $1", params![id]).await?;
    Ok(())
}

pub(crate) async fn get(db: &impl Read, id: Id<kinds::Verifier>) -> Result<Option<Verifier>> {
    let sql = format!("SELECT {COLUMNS} FROM verifiers WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// Adds a verifier of whom nothing is known yet, unless they are known.
pub(crate) async fn know(
    tx: &Tx,
    id: Id<kinds::Verifier>,
    approved: bool,
    since: Timestamp,
) -> Result<()> {
    tx.execute(
        "INSERT INTO verifiers (id, name, headline, bio, categories, jurisdiction, licence, status,
             approved, suspended, rating_sum, rating_count, rating_rank, jobs_done, search_text,
             category_keys, since, updated_at)
         VALUES ($1, '', '', '', '[]', '', '', 'listed', $2, FALSE, 0, 0, 0, 0, '', '|', $3, $3)
         ON CONFLICT (id) DO NOTHING",
        params![id, approved, since],
    )
    .await?;
    Ok(())
}

pub(super) async fn set_approved(tx: &Tx, id: Id<kinds::Verifier>, approved: bool) -> Result<()> {
    let sql = "UPDATE verifiers SET approved = $2 WHERE id = $1";
    tx.touch(sql, params![id, approved]).await?;
    Ok(())
}

pub(super) async fn set_suspended(tx: &Tx, id: Id<kinds::Verifier>, suspended: bool) -> Result<()> {
    let sql = "UPDATE verifiers SET suspended = $2 WHERE id = $1";
    tx.touch(sql, params![id, suspended]).await?;
    Ok(())
}

/// Empties what a deleted account said of itself; figures and past verdicts stay.
pub(crate) async fn forget(tx: &Tx, id: Id<kinds::Verifier>) -> Result<()> {
    let sql = "UPDATE verifiers SET suspended = TRUE, status = 'hidden', name = '', headline = '',
                   bio = '', categories = '[]', jurisdiction = '', licence = '', search_text = '',
                   search_name = '', category_keys = '|', languages = '[]', away_from = NULL, away_until = NULL,
                   auto_accept = NULL
               WHERE id = $1";
    tx.touch(sql, params![id]).await?;
    Ok(())
}

/// Saves a profile; an absent name becomes `fallback` where there is none yet.
pub(super) async fn replace_profile(
    tx: &Tx,
    id: Id<kinds::Verifier>,
    profile: &Profile,
    fallback: &str,
) -> Result<Verifier> {
    let categories = serde_json::to_string(&profile.categories)
        .map_err(|error| DbError::Other(format!("categories: {error}")))?;
    let (name, now) = (profile.name.as_deref(), tx.now());
    let (status, keys) = (profile.status.as_str(), category_keys(&profile.categories));
    let sql = format!(
        "UPDATE verifiers SET
             name = CASE WHEN CAST($2 AS TEXT) IS NOT NULL THEN $2
                         WHEN name = '' THEN $3 ELSE name END,
             headline = $4, bio = $5, categories = $6, jurisdiction = $7, licence = $8,
             status = $9, category_keys = $10, updated_at = $11
         WHERE id = $1 RETURNING {COLUMNS}"
    );
    let params = params![
        id,
        name,
        fallback,
        profile.headline,
        profile.bio,
        categories,
        profile.jurisdiction,
        profile.licence,
        status,
        keys,
        now
    ];
    let verifier = tx.one(&sql, params, read).await?;
    let offers = offers(tx, id).await?;
    index(tx, &verifier, &offers).await?;
    Ok(verifier)
}

/// Writes the words by which a verifier is found: of the profile, and of the services that can be
/// had.
pub(super) async fn index(tx: &Tx, verifier: &Verifier, offers: &[Offer]) -> Result<()> {
    let Verifier { id, name, headline, bio, categories, jurisdiction, .. } = verifier;
    let mut texts = vec![name.as_str(), headline, jurisdiction];
    texts.extend(categories.iter().map(String::as_str));
    let offers = offers.iter().filter(|offer| offer.active);
    texts.extend(offers.flat_map(|offer| [offer.title.as_str(), &offer.category]));
    texts.push(bio);
    let (name, words) = (fold(name), fold(&texts.join("\n")));
    let sql = "UPDATE verifiers SET search_name = $2, search_text = $3 WHERE id = $1";
    tx.touch(sql, params![id, name, words]).await?;
    Ok(())
}

/// `|education|employment|`: found by a fixed text between bars.
fn category_keys(categories: &[String]) -> String {
    let mut keys = String::from("|");
    for category in categories {
        // A bar of the verifier's own must not end a category.
        keys.push_str(&key(category).replace('|', " "));
        keys.push('|');
    }
    keys
}

/// Claims the verifier's row, so that two replacements of the services follow one another, and
/// names who has no name yet.
pub(super) async fn claim(tx: &Tx, id: Id<kinds::Verifier>, fallback: &str) -> Result<Verifier> {
    let sql = format!(
        "UPDATE verifiers SET updated_at = $2, name = CASE WHEN name = '' THEN $3 ELSE name END
         WHERE id = $1 RETURNING {COLUMNS}"
    );
    Ok(tx.one(&sql, params![id, tx.now(), fallback], read).await?)
}

const OFFER_COLUMNS: &str =
    "id, title, category, price, currency, sla_hours, expedited_price, expedited_hours, active";

fn read_offer(row: &Row<'_>) -> Result<Offer, DbError> {
    Ok(Offer {
        id: row.take()?,
        title: row.take()?,
        category: row.take()?,
        price: Money::new(row.take()?, row.take()?),
        sla_hours: row.take()?,
        expedited: {
            let (price, hours) = (row.take::<Option<i64>>()?, row.take::<Option<u32>>()?);
            price.zip(hours).map(|(price, hours)| Expedited { price, hours })
        },
        active: row.take()?,
    })
}

/// In the verifier's own order.
pub(crate) async fn offers(db: &impl Read, verifier: Id<kinds::Verifier>) -> Result<Vec<Offer>> {
    let sql = format!("SELECT {OFFER_COLUMNS} FROM services WHERE verifier = $1 ORDER BY place");
    Ok(db.all(&sql, params![verifier], read_offer).await?)
}

/// The services of several verifiers, at most a page of them.
pub(super) async fn offers_of(
    db: &impl Read,
    verifiers: &[Verifier],
) -> Result<HashMap<Id<kinds::Verifier>, Vec<Offer>>> {
    let mut found: HashMap<_, Vec<Offer>> = HashMap::new();
    if verifiers.is_empty() {
        return Ok(found);
    }
    let markers: Vec<String> = (1..=verifiers.len()).map(|n| format!("${n}")).collect();
    let sql = format!(
        "SELECT verifier, {OFFER_COLUMNS} FROM services WHERE verifier IN ({}) AND active
         ORDER BY verifier, place",
        markers.join(", ")
    );
    let ids: Vec<_> = verifiers.iter().map(|one| platform::db::Bind::bind(&one.id)).collect();
    let rows = db.all(&sql, &ids, |row| Ok((row.take()?, read_offer(row)?))).await?;
    for (verifier, offer) in rows {
        found.entry(verifier).or_default().push(offer);
    }
    Ok(found)
}

/// Puts the given services in the place of all the verifier had. Ids of `offers` are the
/// verifier's own, or new.
pub(crate) async fn replace_offers(
    tx: &Tx,
    verifier: Id<kinds::Verifier>,
    offers: &[NewOffer],
) -> Result<Vec<Offer>> {
    tx.execute("DELETE FROM services WHERE verifier = $1", params![verifier]).await?;
    for (place, offer) in offers.iter().enumerate() {
        let id = offer.id.unwrap_or_else(|| tx.world().id());
        tx.execute(
            "INSERT INTO services (id, verifier, place, title, title_key, category, category_key,
                 price, currency, sla_hours, expedited_price, expedited_hours, active)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            params![
                id,
                verifier,
                i64::try_from(place).unwrap_or(i64::MAX),
                offer.title,
                key(&offer.title),
                offer.category,
                key(&offer.category),
                offer.price.minor,
                offer.price.asset,
                offer.sla_hours,
                offer.expedited.map(|it| it.price),
                offer.expedited.map(|it| it.hours),
                offer.active
            ],
        )
        .await?;
    }
    self::offers(tx, verifier).await
}

/// Notes what a verifier has staked of one currency.
pub(super) async fn set_staked(
    tx: &Tx,
    verifier: Id<kinds::Verifier>,
    staked: Money,
) -> Result<()> {
    let sql = "INSERT INTO verifier_stakes (verifier, currency, staked) VALUES ($1, $2, $3)
               ON CONFLICT (verifier, currency) DO UPDATE SET staked = excluded.staked";
    tx.execute(sql, params![verifier, staked.asset, staked.minor]).await?;
    Ok(())
}

pub(super) async fn replace_prices(
    tx: &Tx,
    verifier: Id<kinds::Verifier>,
    ranges: &[PriceRange],
) -> Result<()> {
    tx.execute("DELETE FROM verifier_prices WHERE verifier = $1", params![verifier]).await?;
    for PriceRange { lowest, highest } in ranges {
        tx.execute(
            "INSERT INTO verifier_prices (verifier, currency, lowest, highest)
             VALUES ($1, $2, $3, $4)",
            params![verifier, lowest.asset, lowest.minor, highest.minor],
        )
        .await?;
    }
    Ok(())
}

/// Counts one verdict.
pub(crate) async fn count_job(tx: &Tx, id: Id<kinds::Verifier>) -> Result<()> {
    let sql = "UPDATE verifiers SET jobs_done = jobs_done + 1 WHERE id = $1";
    tx.touch(sql, params![id]).await?;
    Ok(())
}

pub(super) async fn rate(tx: &Tx, id: Id<kinds::Verifier>, stars: i64) -> Result<bool> {
    let sql = "UPDATE verifiers SET rating_sum = rating_sum + $2, rating_count = rating_count + 1,
                   rating_rank = (rating_sum + $2) * 1000 / (rating_count + 1)
               WHERE id = $1";
    Ok(tx.touch(sql, params![id, stars]).await?)
}

/// Verifiers whose reputation was last gone over so long ago, and what it is.
pub(super) async fn to_repute(
    db: &impl Read,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<(Id<kinds::Verifier>, i64)>> {
    let sql = "SELECT id, reputation FROM verifiers WHERE reputed_at <= $1
               ORDER BY reputed_at, id LIMIT $2";
    Ok(db.all(sql, params![before, limit], |row| Ok((row.take()?, row.take()?))).await?)
}

/// The verdicts of a verifier since then, and how many of them were overturned.
pub(super) async fn recent(
    db: &impl Read,
    id: Id<kinds::Verifier>,
    since: Timestamp,
) -> Result<Recent> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT),
                   CAST(COALESCE(SUM(CASE WHEN state = 'overturned' THEN 1 ELSE 0 END), 0) AS BIGINT)
               FROM verifications WHERE verifier = $1 AND fee IS NOT NULL AND ended_at >= $2";
    let read = |row: &Row<'_>| Ok(Recent { verdicts: row.take()?, overturned: row.take()? });
    Ok(db.one(sql, params![id, since], read).await?)
}

/// Saves a reputation that was gone over, unless it has become another one meanwhile.
pub(super) async fn repute(
    tx: &Tx,
    id: Id<kinds::Verifier>,
    (was, is): (i64, i64),
) -> Result<bool> {
    let sql = "UPDATE verifiers SET reputation = $3, reputed_at = $4
               WHERE id = $1 AND reputation = $2";
    Ok(tx.touch(sql, params![id, was, is, tx.now()]).await?)
}

/// A verdict was overturned.
pub(super) async fn lose_reputation(tx: &Tx, id: Id<kinds::Verifier>) -> Result<()> {
    let Some(known) = get(tx, id).await? else { return Ok(()) };
    let sql = "UPDATE verifiers SET reputation = $2 WHERE id = $1";
    tx.touch(sql, params![id, super::rules::overturned(known.reputation)]).await?;
    Ok(())
}

/// Takes one rating back.
pub(super) async fn unrate(tx: &Tx, id: Id<kinds::Verifier>, stars: i64) -> Result<()> {
    let sql = "UPDATE verifiers SET rating_sum = rating_sum - $2, rating_count = rating_count - 1,
                   rating_rank = CASE WHEN rating_count = 1 THEN 0
                                 ELSE (rating_sum - $2) * 1000 / (rating_count - 1) END
               WHERE id = $1 AND rating_count > 0";
    tx.touch(sql, params![id, stars]).await?;
    Ok(())
}

/// Everybody, newest accounts first.
pub(super) async fn known(
    db: &Db,
    standing: Option<Standing>,
    text: Option<&str>,
    page: &PageRequest,
) -> Result<Page<Verifier>> {
    let stands = standing.map_or("TRUE", Standing::condition);
    let (found, text) = by_words(db, text.map(Words::parse).as_ref(), "$2");
    let sql = format!(
        "SELECT {COLUMNS} FROM verifiers WHERE verifiers.id < $1 AND {stands} AND {found}
         ORDER BY verifiers.id DESC LIMIT $3 OFFSET $4"
    );
    let (after, fetch) = (page.after_id(), page.fetch());
    let params = params![after, text, fetch, page.offset];
    let rows = db.all(&sql, params, read).await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.id)))
}

/// The condition of a search for words, and its parameter. Another text of SQL where nothing is
/// searched, so that each can be planned by itself.
fn by_words(db: &Db, words: Option<&Words>, marker: &str) -> (String, Option<String>) {
    match words {
        None => (format!("CAST({marker} AS TEXT) IS NULL"), None),
        Some(words) => {
            let shared = db.is_shared();
            let condition = words.condition(shared, "verifiers", "search_text", marker);
            (condition, Some(words.bound(shared)))
        }
    }
}

const OPEN: &str = "verifiers.status = 'listed' AND verifiers.approved AND NOT verifiers.suspended";

/// `$2` to `$6` narrow the list, and so do `$12` to `$15`; `$6` is the currency of a price sort, of
/// the two prices, or a filter of its own. `$14` and `$15` are the bond that must be there.
const NARROWED: &str = "(CAST($2 AS TEXT) IS NULL
         OR verifiers.category_keys LIKE '%|' || $2 || '|%' ESCAPE '!'
         OR EXISTS (SELECT 1 FROM services WHERE services.verifier = verifiers.id
                    AND services.active AND services.category_key LIKE $2 ESCAPE '!'))
    AND (CAST($3 AS TEXT) IS NULL
         OR EXISTS (SELECT 1 FROM services WHERE services.verifier = verifiers.id
                    AND services.active
                    AND (services.category_key = $4
                         OR services.title_key LIKE $3 ESCAPE '!')))
    AND verifiers.rating_rank >= $5
    AND (CAST($6 AS TEXT) IS NULL
         OR EXISTS (SELECT 1 FROM services WHERE services.verifier = verifiers.id
                    AND services.active AND services.currency = $6
                    AND services.price >= $12 AND services.price <= $13))
    AND NOT (verifiers.away_from IS NOT NULL AND verifiers.away_from <= $11
             AND (verifiers.away_until IS NULL OR verifiers.away_until > $11))
    AND (CAST($14 AS TEXT) IS NULL
         OR EXISTS (SELECT 1 FROM verifier_stakes WHERE verifier_stakes.verifier = verifiers.id
                    AND verifier_stakes.currency = $14 AND verifier_stakes.staked >= $15))";

/// The first parameter behind those of [`NARROWED`] and of the page.
const RANKED_FROM: usize = 16;

/// SQL: how well a verifier's name has the words, and then their rating. Every word that is one of
/// the name's weighs two, and half of that the last one where the name has it as a beginning. It is
/// made of the row alone: a measure that weighs how rare a word is, as both engines have one of their
/// own, changes with every other row, and pages would skip and repeat.
fn rank(words: &Words) -> String {
    let mut rank = String::from("(0");
    for place in 0..words.len() {
        let (whole, begun) = (RANKED_FROM + 2 * place, RANKED_FROM + 2 * place + 1);
        rank.push_str(&format!(
            " + CASE WHEN ' ' || verifiers.search_name || ' ' LIKE ${whole} THEN 2
                     WHEN ' ' || verifiers.search_name LIKE ${begun} THEN 1 ELSE 0 END"
        ));
    }
    rank + ") * 10000 + verifiers.rating_rank"
}

/// The parameters of [`rank`]. Words have nothing in them that `LIKE` would take for a joker.
fn ranked_by(words: &Words) -> Vec<String> {
    words.iter().flat_map(|word| [format!("% {word} %"), format!("% {word}%")]).collect()
}

/// One page of the marketplace. A sort by price takes `currency`, and so do bounds of the price.
pub(super) async fn list(
    db: &Db,
    search: &Search,
    (currency, bond): (Asset, Option<Money>),
    now: Timestamp,
    page: &PageRequest,
) -> Result<Page<Verifier>> {
    let by_price = search.sort == Sort::Price;
    let words = search.text.as_deref().map(Words::parse);
    let best = words.as_ref().filter(|_| search.sort == Sort::Relevance);
    let (from, sort_key, direction) = match search.sort {
        Sort::Relevance | Sort::Rating => {
            let key = best.map_or_else(|| "verifiers.rating_rank".to_owned(), rank);
            ("verifiers", key, "DESC")
        }
        Sort::Newest => ("verifiers", "verifiers.since".to_owned(), "DESC"),
        Sort::Price => (
            "verifier_prices AS offered
             JOIN verifiers ON offered.currency = $6 AND verifiers.id = offered.verifier",
            "offered.lowest".to_owned(),
            "ASC",
        ),
    };
    let beyond = if by_price { ">" } else { "<" };
    let start = if by_price { (i64::MIN, Uuid::nil()) } else { (i64::MAX, Uuid::max()) };
    let (after_key, after_id) = page.after.map_or(start, |cursor| (cursor.key, cursor.id));
    let (found, text) = by_words(db, words.as_ref(), "$1");
    let sql = format!(
        "SELECT {COLUMNS}, {sort_key} FROM {from} WHERE {OPEN} AND {found} AND {NARROWED}
           AND ({sort_key}, verifiers.id) {beyond} ($7, $8)
         ORDER BY {sort_key} {direction}, verifiers.id {direction} LIMIT $9 OFFSET $10"
    );
    let part = |text: &String| format!("%{}%", like(&key(text)));
    let category = search.category.as_deref().map(|category| like(&key(category)));
    let title = search.service.as_ref().map(part);
    let service = search.service.as_deref().map(key);
    let (lowest, highest) = search.price.unwrap_or((0, Money::MAX_MINOR));
    let in_currency = by_price || search.price.is_some();
    let currency = if in_currency { Some(currency) } else { search.currency };
    let (limit, offset, rating) = (page.fetch(), page.offset, search.rating_min);
    let (bond_in, least) = bond.map(|bond| (bond.asset, bond.minor)).unzip();
    let mut params = params![
        text, category, title, service, rating, currency, after_key, after_id, limit, offset, now,
        lowest, highest, bond_in, least
    ]
    .to_vec();
    let ranked = best.map(ranked_by).unwrap_or_default();
    params.extend(ranked.iter().map(Bind::bind));
    let rows = db.all(&sql, &params, |row| Ok((read(row)?, row.take::<i64>()?))).await?;
    let ends = |(verifier, key): &(Verifier, i64)| Cursor { key: *key, id: verifier.id.uuid() };
    Ok(page.page(rows, ends).map(|(verifier, _)| verifier))
}
