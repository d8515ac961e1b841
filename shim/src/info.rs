//! `-info`: what the runtime is and can do, as a message.

use std::collections::HashMap;

use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};

use crate::failure::Failure;
use crate::message::encode;

/// The runtime type that containerd knows it by.
const RUNTIME: &str = "io.containerd.coracle.v2";

/// The type of the features document.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// The message. The options on standard input change nothing about it, so they are not read.
///
/// # Errors
/// None that can happen.
pub(crate) fn info() -> Result<Vec<u8>, Failure> {
    let features = serde_json::to_vec(&coracle::features())
        .map_err(|error| Failure::unknown(format!("write the features: {error}")))?;
    let features = Any { type_url: FEATURES.to_owned(), value: features, ..Any::default() };
    encode(&RuntimeInfo {
        name: RUNTIME.to_owned(),
        version: MessageField::some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..RuntimeVersion::default()
        }),
        features: MessageField::some(features),
        annotations: HashMap::new(),
        ..RuntimeInfo::default()
    })
}
