//! A server that speaks S3 over a folder, for tests. It checks signatures: a test shows that it
//! refuses forged ones.
#![expect(clippy::expect_used, reason = "a harness that cannot be set up fails its test")]

use std::net::SocketAddr;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use super::{Encryption, S3Options};

const BUCKET: &str = "verza-files";
const ACCESS_KEY: &str = "AKIAVERZATEST";
const SECRET_KEY: &str = "a secret that only this test knows";

/// Stops serving when it is dropped.
pub struct S3Server {
    address: SocketAddr,
    pub folder: tempfile::TempDir,
    serving: tokio::task::JoinHandle<()>,
}

impl S3Server {
    /// A server on a free port of this machine, with one empty bucket.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let files = s3s_fs::FileSystem::new(folder.path()).expect("a store");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    // A client that hangs up is no failure of the server's.
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, folder, serving }
    }

    /// Where it is, with the right key.
    pub fn options(&self) -> S3Options {
        S3Options {
            endpoint: format!("http://{}", self.address),
            public_endpoint: None,
            region: "eu-central-1".into(),
            bucket: BUCKET.into(),
            path_style: true,
            prefix: "verza/".into(),
            access_key: ACCESS_KEY.into(),
            secret_key: kernel::Secret::new(SECRET_KEY.into()),
            encryption: Encryption::Bucket,
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
