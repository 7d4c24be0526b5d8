//! OpenAPI 3.1 from the rows.

use utoipa::openapi::header::Header;
use utoipa::openapi::path::{HttpMethod, Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder,
    PathsBuilder, Ref, RefOr, Required, ResponseBuilder, ServerBuilder, ServerVariableBuilder,
};

use super::reply::ProblemBody;
use super::route::Sketch;
use super::{Audience, Described, Once};

/// What the document says of itself.
#[derive(Clone, Copy)]
pub struct Info<'a> {
    pub title: &'a str,
    pub version: &'a str,
    pub description: &'a str,
}

/// The document that describes these rows. Those of the internal listener name it as their server:
/// they are found nowhere else.
pub fn openapi(info: &Info<'_>, rows: &[Described]) -> OpenApi {
    let mut components = ComponentsBuilder::new()
        .schema("Problem", <ProblemBody as utoipa::PartialSchema>::schema())
        .schema("FieldError", <kernel::FieldError as utoipa::PartialSchema>::schema())
        .security_scheme(
            "bearer",
            SecurityScheme::Http(
                HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build(),
            ),
        )
        .security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("verza_session"))),
        )
        .security_scheme(
            "ticket",
            SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("token"))),
        );
    let mut paths = PathsBuilder::new();
    for row in rows {
        let Sketch { operation, schemas } = row.sketch();
        for (name, schema) in schemas {
            components = components.schema(name, schema);
        }
        let Some(method) = http_method(&row.method) else { continue };
        let item = PathItem::new(method, completed(operation, row));
        // Wildcards are axum's way of writing; OpenAPI has none.
        paths = paths.path(row.path.replace("{*", "{"), item);
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title(info.title)
                .version(info.version)
                .description(Some(info.description)),
        )
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

fn http_method(method: &http::Method) -> Option<HttpMethod> {
    Some(match method.as_str() {
        "GET" => HttpMethod::Get,
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => return None,
    })
}

/// What is said of a row about one thing that has a version, and of one that changes it.
pub(super) fn versioned(operation: &mut Operation, changes: bool) {
    let text = || ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.starts_with('2'), response) {
            let mut tag = Header::new(text());
            tag.description = Some("The version that is told of, such as `\"3\"`.".to_owned());
            response.headers.insert("ETag".to_owned(), tag.into());
        }
    }
    if !changes {
        return;
    }
    let expected = ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The `ETag` that was read. When there is another by now, nothing happens.",
        ))
        .schema(Some(text()));
    operation.parameters.get_or_insert_default().push(expected.build().into());
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let stale = ResponseBuilder::new()
        .description("`precondition_failed`: it has changed; `version` is the one that is now.")
        .content("application/problem+json", problem);
    operation.responses.responses.insert("412".to_owned(), stale.build().into());
}

/// What holds of all rows, and what follows from who is served.
fn completed(mut operation: Operation, row: &Described) -> Operation {
    if row.audience == Audience::Ops {
        let port = ServerVariableBuilder::new().default_value("9464");
        let host = ServerVariableBuilder::new().default_value("127.0.0.1");
        let server = ServerBuilder::new()
            .url("http://{host}:{port}")
            .description(Some("The internal listener (server.ops_listen), without HTTPS."))
            .parameter("host", host)
            .parameter("port", port);
        operation.servers = Some(vec![server.build()]);
        // It has no sessions, and does not speak in problems.
        return operation;
    }
    if !matches!(row.audience, Audience::Public | Audience::Provider) {
        let mut ways = vec!["bearer", "session"];
        if row.live {
            ways.push("ticket");
        }
        let way = |way| SecurityRequirement::new::<_, [&str; 0], &str>(way, []);
        operation.security = Some(ways.into_iter().map(way).collect());
    }
    if row.once != Once::No {
        let name = "Idempotency-Key";
        let text = utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .min_length(Some(1))
            .max_length(Some(255));
        let required = if row.once == Once::Required {
            utoipa::openapi::Required::True
        } else {
            utoipa::openapi::Required::False
        };
        let parameter = utoipa::openapi::path::ParameterBuilder::new()
            .name(name)
            .parameter_in(utoipa::openapi::path::ParameterIn::Header)
            .required(required)
            .description(Some("A key of your own, such as a UUID: sent again, it acts once."))
            .schema(Some(text))
            .build();
        operation.parameters.get_or_insert_default().push(parameter.into());
    }
    let problem = ResponseBuilder::new().description("What went wrong (RFC 9457).").content(
        "application/problem+json",
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build(),
    );
    operation.responses.responses.insert("default".to_owned(), problem.build().into());
    operation
}
