//! Attachments over HTTP: the same three doors for either side.

use std::sync::Arc;

use axum::extract::State as On;
use axum::response::Response;
use kernel::id::kinds;
use kernel::{Id, Permission, Timestamp};
use platform::http::{At, Audience, By, Created, Json, Once, Reply, Route, get, post, table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::rules::Relation;
use super::super::service::Service;
use super::Attachment;

type VerificationId = Id<kinds::Verification>;
type FileId = Id<kinds::File>;
type UserId = Id<kinds::User>;

pub(in crate::verification) fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::User, "/v1/user/verifications/{id}/attachments")
                .summary("List the files of either side, oldest first")
                .returns::<Vec<AttachmentBody>>(200)
                .to(list),
            post(Audience::User, "/v1/user/verifications/{id}/attachments")
                .summary("Show the verifier a file of mine")
                .describe(
                    "As long as nothing is decided, such as what the verifier has asked for. They \
                     read it while at work, and you learn of it. Attaching it twice is attaching \
                     it once.",
                )
                .once(Once::Accepted)
                .takes::<NewAttachmentBody>()
                .returns::<AttachmentBody>(201)
                .to(attach),
            get(Audience::User, "/v1/user/verifications/{id}/attachments/{file}/content")
                .summary("Download a file that is attached")
                .returns_media(200, "application/octet-stream", "The file.")
                .to(content),
            get(Audience::Key, "/v1/enterprise/verifications/{id}/attachments")
                .summary("List the files of either side, oldest first")
                .needs(Permission::VerificationsRead)
                .returns::<Vec<AttachmentBody>>(200)
                .to(list_of_organization),
            post(Audience::Key, "/v1/enterprise/verifications/{id}/attachments")
                .summary("Show the verifier a file of the organization's")
                .describe("As long as nothing is decided. They read it while at work.")
                .needs(Permission::VerificationsWrite)
                .once(Once::Accepted)
                .takes::<NewAttachmentBody>()
                .returns::<AttachmentBody>(201)
                .to(attach_of_organization),
            get(Audience::Key, "/v1/enterprise/verifications/{id}/attachments/{file}/content")
                .summary("Download a file that is attached")
                .needs(Permission::VerificationsRead)
                .returns_media(200, "application/octet-stream", "The file.")
                .to(content_of_organization),
            get(Audience::Verifier, "/v1/verifier/jobs/{id}/attachments")
                .summary("List what the owner shows me, and my own, oldest first")
                .returns::<Vec<AttachmentBody>>(200)
                .to(list_of_job),
            post(Audience::Verifier, "/v1/verifier/jobs/{id}/attachments")
                .summary("Show the owner a file of mine")
                .describe("While you work on the job.")
                .once(Once::Accepted)
                .takes::<NewAttachmentBody>()
                .returns::<AttachmentBody>(201)
                .to(attach_to_job),
            get(Audience::Verifier, "/v1/verifier/jobs/{id}/attachments/{file}/content")
                .summary("Download a file that is attached; its owner learns of it")
                .returns_media(200, "application/octet-stream", "The file.")
                .to(content_of_job),
        ],
    )
}

/// A file to be shown to the other side.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewVerificationAttachment)]
struct NewAttachmentBody {
    /// A file of your own.
    file_id: FileId,
}

/// A file that one side shows the other.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerificationAttachment)]
struct AttachmentBody {
    file_id: FileId,
    author_id: UserId,
    created_at: Timestamp,
    /// Absent, as all that follows, when its author has deleted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<&'static str>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// In hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl From<Attachment> for AttachmentBody {
    fn from(attachment: Attachment) -> Self {
        let content = attachment.content.as_ref();
        Self {
            file_id: attachment.file,
            author_id: attachment.author,
            created_at: attachment.at,
            media_type: content.map(|file| file.media_type.as_str()),
            size: content.map(|file| file.size),
            sha256: content.map(|file| hex::encode(file.sha256)),
            name: attachment.content.map(|file| file.name),
        }
    }
}

type Services = On<Arc<Service>>;
type Of = At<VerificationId>;
type OfFile = At<(VerificationId, FileId)>;

async fn list(
    On(service): Services,
    By(caller): By,
    At(id): Of,
) -> Reply<Json<Vec<AttachmentBody>>> {
    listed(&service, &caller, Relation::Owner, id).await
}

async fn list_of_organization(
    On(service): Services,
    By(caller): By,
    At(id): Of,
) -> Reply<Json<Vec<AttachmentBody>>> {
    listed(&service, &caller, Relation::Owner, id).await
}

async fn list_of_job(
    On(service): Services,
    By(caller): By,
    At(id): Of,
) -> Reply<Json<Vec<AttachmentBody>>> {
    listed(&service, &caller, Relation::Verifier, id).await
}

async fn listed(
    service: &Service,
    caller: &kernel::Caller,
    side: Relation,
    id: VerificationId,
) -> Reply<Json<Vec<AttachmentBody>>> {
    let attachments = service.attachments(caller, side, id).await?;
    Ok(Json(attachments.into_iter().map(AttachmentBody::from).collect()))
}

async fn attach(
    On(service): Services,
    By(caller): By,
    At(id): Of,
    Json(body): Json<NewAttachmentBody>,
) -> Reply<Created<AttachmentBody>> {
    Ok(Created(service.attach(&caller, Relation::Owner, id, body.file_id).await?.into()))
}

async fn attach_of_organization(
    On(service): Services,
    By(caller): By,
    At(id): Of,
    Json(body): Json<NewAttachmentBody>,
) -> Reply<Created<AttachmentBody>> {
    Ok(Created(service.attach(&caller, Relation::Owner, id, body.file_id).await?.into()))
}

async fn attach_to_job(
    On(service): Services,
    By(caller): By,
    At(id): Of,
    Json(body): Json<NewAttachmentBody>,
) -> Reply<Created<AttachmentBody>> {
    Ok(Created(service.attach(&caller, Relation::Verifier, id, body.file_id).await?.into()))
}

async fn content(On(service): Services, By(caller): By, At(of): OfFile) -> Reply<Response> {
    let file = service.view_attachment(&caller, Relation::Owner, of).await?;
    Ok(service.files.whole(&file).await?)
}

async fn content_of_organization(
    On(service): Services,
    By(caller): By,
    At(of): OfFile,
) -> Reply<Response> {
    let file = service.view_attachment(&caller, Relation::Owner, of).await?;
    Ok(service.files.whole(&file).await?)
}

async fn content_of_job(On(service): Services, By(caller): By, At(of): OfFile) -> Reply<Response> {
    let file = service.view_attachment(&caller, Relation::Verifier, of).await?;
    Ok(service.files.whole(&file).await?)
}
