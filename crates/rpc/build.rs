//! Compiles the .proto files in this process: no protoc, no network.

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;

use prost_reflect::DescriptorPool;
use tonic_prost_build::FileDescriptorSet;

const FILES: [&str; 11] = [
    "proto/threel1/users.proto",
    "proto/threel1/orders.proto",
    "proto/streamfair/account.proto",
    "proto/streamfair/idp.proto",
    "proto/streamfair/session.proto",
    "proto/streamfair/token.proto",
    "proto/streamfair/user.proto",
    "proto/verza/caller.proto",
    "proto/verza/orders.proto",
    "proto/verza/routes.proto",
    "proto/verza/users.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true);
    compiler.open_files(FILES)?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    // What the reflection service tells.
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    std::fs::write(out.join("streamfair_http.rs"), http_rules(&compiler.descriptor_pool())?)?;

    let mut set = compiler.file_descriptor_set();
    // Options are for this build and for reflection: no message of theirs is sent.
    set.file.retain(|file| file.package() != "google.api");
    let builder = tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        // Clients go by the ports' tables; see `client`.
        .build_client(false)
        .disable_comments(["."])
        .bytes(".verza.v1")
        .extern_path(".google.protobuf.Timestamp", "crate::wire::Timestamp");
    json_attributes(builder, &set).compile_fds(set)?;
    Ok(())
}

/// How each of Streamfair's RPCs is called over HTTP, as `google.api.http` says in their files: a
/// constant of verb and path for each.
fn http_rules(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let option = pool.get_extension_by_name("google.api.http").ok_or("no google.api.http")?;
    let mut rules = String::new();
    for service in pool.services().filter(|service| service.package_name() == "pb") {
        for rpc in service.methods() {
            let options = rpc.options();
            let rule = options.get_extension(&option);
            let rule = rule.as_message().ok_or("google.api.http is a message")?;
            let patterns = ["get", "put", "post", "delete", "patch"];
            let named = patterns.iter().find_map(|verb| {
                let path = rule.get_field_by_name(verb)?;
                let path = path.as_str().filter(|path| !path.is_empty())?.to_owned();
                Some((*verb, path))
            });
            let (verb, path) =
                named.ok_or(format!("{} has no google.api.http", rpc.full_name()))?;
            let verb = verb[..1].to_uppercase() + &verb[1..];
            let name = rpc.name();
            writeln!(rules, "pub(super) const {name}: (Verb, &str) = (Verb::{verb}, {path:?});")?;
        }
    }
    Ok(rules)
}

/// Messages are JSON as well: the attributes make serde follow the mapping of proto3.
fn json_attributes(
    mut builder: tonic_prost_build::Builder,
    set: &FileDescriptorSet,
) -> tonic_prost_build::Builder {
    for file in set.file.iter().filter(|file| matches!(file.package(), "pb" | "users" | "orders")) {
        for message in &file.message_type {
            let path = format!(".{}.{}", file.package(), message.name());
            let derives = "#[derive(serde::Serialize, serde::Deserialize)] #[serde(default)]";
            builder = builder.type_attribute(&path, derives);
            for field in &message.field {
                let mut words = vec![
                    "skip_serializing_if = \"crate::json::is_default\"".to_owned(),
                    format!("alias = \"{}\"", field.json_name()),
                ];
                // The numbers of FieldDescriptorProto.Type: 3 is int64, 5 is int32.
                words.push(match field.r#type {
                    Some(3) => "with = \"crate::json::int64\"".to_owned(),
                    Some(5) => "with = \"crate::json::int32\"".to_owned(),
                    _ => "deserialize_with = \"crate::json::or_default\"".to_owned(),
                });
                let attribute = format!("#[serde({})]", words.join(", "));
                builder = builder.field_attribute(format!("{path}.{}", field.name()), attribute);
            }
        }
    }
    builder
}
