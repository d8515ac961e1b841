//! TTRPC, as much as one caller needs: a frame is ten bytes (length, stream, kind, flags; big endian)
//! and a message.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::{Request, Response};

use crate::Outcome;

const SERVICE: &str = "containerd.task.v2.Task";
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// A shim that takes longer for anything hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// Reads a frame: its stream and message.
pub(super) fn read_frame(mut from: impl Read) -> io::Result<(u32, Vec<u8>)> {
    let (mut length, mut stream, mut rest) = ([0; 4], [0; 4], [0; 2]);
    from.read_exact(&mut length)?;
    from.read_exact(&mut stream)?;
    from.read_exact(&mut rest)?;
    let mut body = Vec::new();
    from.take(u32::from_be_bytes(length).into()).read_to_end(&mut body)?;
    Ok((u32::from_be_bytes(stream), body))
}

fn write_frame(mut to: impl Write, (stream, kind): (u32, u8), body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(body.len() + 10);
    bytes.extend(length.to_be_bytes());
    bytes.extend(stream.to_be_bytes());
    bytes.extend([kind, 0]);
    bytes.extend(body);
    to.write_all(&bytes)
}

/// Answers a request with an empty message.
pub(super) fn acknowledge(to: impl Write, stream: u32) -> io::Result<()> {
    // A response without a status and payload has no bytes at all.
    write_frame(to, (stream, RESPONSE), &[])
}

/// A connection to a shim's task service.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    next: u32,
}

impl Connection {
    /// Connects.
    pub(super) fn open(socket: &Path) -> Outcome<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self { stream, next: 1 })
    }

    /// Makes a call and waits for its answer.
    pub(super) fn call<A: Message>(&mut self, method: &str, message: &impl Message) -> Outcome<A> {
        let request = Request {
            service: SERVICE.to_owned(),
            method: method.to_owned(),
            payload: message.write_to_bytes()?,
            ..Default::default()
        };
        let stream = self.next;
        // Streams of a client are odd and grow.
        self.next += 2;
        write_frame(&self.stream, (stream, REQUEST), &request.write_to_bytes()?)?;
        let body = loop {
            let (answered, body) =
                read_frame(&self.stream).map_err(|error| format!("{method}: {error}"))?;
            if answered == stream {
                break body;
            }
        };
        let response = Response::parse_from_bytes(&body)?;
        match response.status.into_option().filter(|status| status.code.value() != 0) {
            Some(status) => Err(format!("{method}: {}", status.message).into()),
            None => Ok(A::parse_from_bytes(&response.payload)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use containerd_shim_protos::api::{Empty, PidsRequest};
    use containerd_shim_protos::ttrpc::{Code, Status};
    use std::os::unix::net::UnixListener;
    use std::thread;

    #[test]
    fn a_call_gets_the_answer_of_its_own_stream() {
        let path = std::env::temp_dir().join(format!("coracle-wire-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let (number, body) = read_frame(&stream).unwrap();
            let request = Request::parse_from_bytes(&body).unwrap();
            // One for a call that was given up comes first.
            write_frame(&stream, (number + 2, RESPONSE), b"not a message").unwrap();
            acknowledge(&stream, number).unwrap();
            let (number, _) = read_frame(&stream).unwrap();
            let message = "no such task".to_owned();
            let status = Status { code: Code::NOT_FOUND.into(), message, ..Status::default() };
            let refusal = Response { status: Some(status).into(), ..Response::default() };
            write_frame(&stream, (number, RESPONSE), &refusal.write_to_bytes().unwrap()).unwrap();
            request
        });
        let mut connection = Connection::open(&path).unwrap();
        let message = PidsRequest { id: "one".to_owned(), ..Default::default() };
        let _: Empty = connection.call("Pids", &message).unwrap();
        let refused = connection.call::<Empty>("Pids", &message).unwrap_err();
        assert_eq!(refused.to_string(), "Pids: no such task");
        let request = server.join().unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!((&*request.service, &*request.method), (SERVICE, "Pids"));
        assert_eq!(PidsRequest::parse_from_bytes(&request.payload).unwrap().id, "one");
    }
}
