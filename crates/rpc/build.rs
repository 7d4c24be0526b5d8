//! Compiles the .proto files in this process: no protoc, no network.

use std::error::Error;
use std::path::PathBuf;

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
    let out = std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?;
    // What the reflection service tells.
    let descriptors = PathBuf::from(out).join("descriptors.bin");
    std::fs::write(descriptors, compiler.encode_file_descriptor_set())?;

    let set = compiler.file_descriptor_set();
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
