//! Settings over HTTP.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use kernel::id::kinds;
use kernel::{Error, Id, Result, Timestamp};
use platform::http::{Audience, By, Json, Reply, Route, get, patch, table};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::model::{Changes, Public, Schema};
use super::service::{Listed, Service, Shown};

// Named without its parameter, which has no schema of its own.
type UserId = Id<kinds::User>;

pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/settings")
                .summary("Read what can be changed while the platform runs")
                .describe("`ETag` is the version that a change names in `If-Match`.")
                .returns::<SettingsBody>(200)
                .to(list),
            patch(Audience::Admin, "/v1/admin/settings")
                .summary("Change settings, on all replicas within a second")
                .describe(
                    "With `If-Match`: the version that was read. A value of null brings the \
                     default back. 409 `changed_meanwhile` when somebody was quicker.",
                )
                .step_up()
                .takes::<ChangeBody>()
                .returns::<SettingsBody>(200)
                .to(change),
        ],
    )
}

/// The route for everybody.
pub fn public_routes(public: &Public) -> Vec<Route> {
    table(
        public,
        [get(Audience::Public, "/v1/platform")
            .summary("Whether one can register, and what the operator has to say to everybody")
            .returns::<PublicBody>(200)
            .to(platform)],
    )
}

/// What everybody may know.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlatformState)]
struct PublicBody {
    registration_open: bool,
    /// Such as an announcement of maintenance; absent where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    notice: String,
}

async fn platform(State(public): State<Public>) -> Json<PublicBody> {
    Json(PublicBody {
        registration_open: public.registration_open.get(),
        notice: public.notice.get(),
    })
}

/// All settings.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Settings)]
struct SettingsBody {
    /// Counted from one with each change.
    version: i64,
    settings: Vec<SettingBody>,
}

/// One setting: what it may be, and what it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Setting)]
struct SettingBody {
    key: &'static str,
    description: &'static str,
    /// `boolean`, `integer` or `string`.
    r#type: &'static str,
    /// Of an integer.
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<i64>,
    /// Of a text, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<usize>,
    /// Of a text that is one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'static [&'static str]>,
    #[schema(value_type = Object)]
    value: Value,
    #[schema(value_type = Object)]
    default: Value,
    /// Absent where it is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_by: Option<UserId>,
}

impl From<Shown> for SettingBody {
    fn from(Shown { declared, value, changed }: Shown) -> Self {
        let body = Self {
            key: declared.key,
            description: declared.about,
            r#type: "string",
            minimum: None,
            maximum: None,
            max_length: None,
            values: None,
            value,
            default: declared.default,
            changed_at: changed.map(|(_, at)| at),
            changed_by: changed.and_then(|(by, _)| by),
        };
        match declared.schema {
            Schema::Flag => Self { r#type: "boolean", ..body },
            Schema::Integer { least, most } => {
                Self { r#type: "integer", minimum: Some(least), maximum: Some(most), ..body }
            }
            Schema::Text { longest } => Self { max_length: Some(longest), ..body },
            Schema::Choice(words) => Self { values: Some(words), ..body },
        }
    }
}

/// What changes.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SettingsChange)]
struct ChangeBody {
    /// By key; null brings a default back.
    #[schema(value_type = Object)]
    values: Changes,
}

async fn list(State(service): State<Service>) -> Reply<Response> {
    Ok(show(service.list().await?))
}

async fn change(
    State(service): State<Service>,
    By(caller): By,
    headers: HeaderMap,
    Json(body): Json<ChangeBody>,
) -> Reply<Response> {
    let version = if_match(&headers)?;
    Ok(show(service.change(&caller, version, &body.values).await?))
}

fn show(listed: Listed) -> Response {
    let version = listed.version;
    let settings = listed.settings.into_iter().map(SettingBody::from).collect();
    let mut response = Json(SettingsBody { version, settings }).into_response();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The version in `If-Match`, an entity tag as RFC 9110 section 8.8.3 writes it. Bare numbers are
/// taken as well.
fn if_match(headers: &HeaderMap) -> Result<i64> {
    let told = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let version = told.and_then(|text| text.trim().trim_matches('"').parse().ok());
    version.ok_or_else(|| {
        let message = "Say in If-Match which version of the settings you change: the ETag that \
                       GET answers.";
        Error::invalid("if_match_needed", message)
    })
}
