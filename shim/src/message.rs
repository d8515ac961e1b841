//! Small pieces of containerd's messages.

use std::time::{SystemTime, UNIX_EPOCH};

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;

use crate::failure::Failure;

/// Reads a message.
///
/// # Errors
/// Bytes that are none.
pub(crate) fn read<M: Message>(bytes: &[u8]) -> Result<M, Failure> {
    M::parse_from_bytes(bytes)
        .map_err(|error| Failure::invalid(format!("read {}: {error}", M::NAME)))
}

/// Encodes a message.
///
/// # Errors
/// One that is too large.
pub(crate) fn encode(message: &impl Message) -> Result<Vec<u8>, Failure> {
    message.write_to_bytes().map_err(|error| Failure::unknown(format!("encode: {error}")))
}

/// The message inside its envelope. Containerd's names of types are the bare names of the messages.
pub(crate) fn any<M: Message>(package: &str, message: &M) -> Any {
    Any {
        type_url: format!("{package}.{}", M::NAME),
        // Only a message of more than 2 GiB cannot be encoded.
        value: message.write_to_bytes().unwrap_or_default(),
        ..Any::default()
    }
}

/// A moment as a message.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
        ..Timestamp::default()
    }
}
