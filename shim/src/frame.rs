//! Frames of ttrpc: a header of ten bytes (length and stream, big-endian; type; flags) and a message.

use std::io;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::proto::{
    MESSAGE_HEADER_LENGTH, MESSAGE_LENGTH_MAX, MESSAGE_TYPE_REQUEST, MESSAGE_TYPE_RESPONSE,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A call.
    Request,
    /// The answer to one.
    Response,
    /// Streams of messages, which this service has none of.
    Other,
}

/// One frame.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Which call it belongs to.
    pub(crate) stream: u32,
    /// What it holds.
    pub(crate) kind: Kind,
    /// The encoded message; `None` if it was longer than the protocol allows, and was passed over.
    pub(crate) payload: Option<Vec<u8>>,
}

/// Reads the next frame; `None` at the end of the connection.
///
/// # Errors
/// The connection ends within a frame, or fails.
pub(crate) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let length = match reader.read_u32().await {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let stream = reader.read_u32().await?;
    let kind = match reader.read_u8().await? {
        MESSAGE_TYPE_REQUEST => Kind::Request,
        MESSAGE_TYPE_RESPONSE => Kind::Response,
        _ => Kind::Other,
    };
    let _flags = reader.read_u8().await?;
    let payload = if length <= MESSAGE_LENGTH_MAX {
        let mut payload = vec![0; length];
        reader.read_exact(&mut payload).await?;
        Some(payload)
    } else {
        let mut rest = reader.take(u64::try_from(length).unwrap_or(u64::MAX));
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        None
    };
    Ok(Some(Frame { stream, kind, payload }))
}

/// Writes a message as one frame.
///
/// # Errors
/// A message longer than the protocol allows; the connection fails.
pub(crate) async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    (stream, kind): (u32, Kind),
    message: &impl Message,
) -> io::Result<()> {
    let kind = match kind {
        Kind::Request => MESSAGE_TYPE_REQUEST,
        Kind::Response | Kind::Other => MESSAGE_TYPE_RESPONSE,
    };
    let body = message.write_to_bytes()?;
    if body.len() > MESSAGE_LENGTH_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(MESSAGE_HEADER_LENGTH + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&[kind, 0]);
    frame.extend_from_slice(&body);
    writer.write_all(&frame).await
}
