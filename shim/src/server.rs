//! The ttrpc server: connections, calls and answers, all on one loop.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::ttrpc::{Code, Request, Response, Status};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time;

use crate::failure::Failure;
use crate::frame::{self, Frame, Kind};
use crate::service;
use crate::shim::{Abandonment, Shim};

/// The names of the one service: containerd 1.6 and 1.7 know the first, newer ones the second too.
const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// How long to pause when no connection can be taken, for lack of descriptors say.
const BREATH: Duration = Duration::from_millis(100);

/// Takes connections for ever.
pub(crate) async fn serve(listener: UnixListener, shim: Rc<Shim>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_trusted(&stream) => {
                spawn_local(converse(stream, Rc::clone(&shim)));
            }
            Ok(_) => log::warn!("a connection of another user was refused"),
            Err(error) => {
                log::error!("take a connection: {error}");
                time::sleep(BREATH).await;
            }
        }
    }
}

/// Only the shim's own user and root may ask it for anything.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Ends a task when it goes.
struct Ending(AbortHandle);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Gives up what a call makes when it goes; without effect once the call has come to its end.
struct Abandoning {
    call: AbortHandle,
    abandonment: Abandonment,
}

impl Drop for Abandoning {
    fn drop(&mut self) {
        self.abandonment.declare();
    }
}

/// One connection.
async fn converse(stream: UnixStream, shim: Rc<Shim>) {
    let (mut reader, writer) = stream.into_split();
    let writer = Rc::new(Mutex::new(writer));
    // Those that only wait end with the connection; what was begun comes to its end, and a container that
    // nobody has heard of is removed again.
    let mut waits: Vec<Ending> = Vec::new();
    let mut creations: Vec<Abandoning> = Vec::new();
    loop {
        let frame = match next(&mut reader).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                log::warn!("read a call: {error}");
                return;
            }
        };
        let (stream, request) = match decode(frame) {
            Ok(call) => call,
            Err((stream, failure)) => {
                send(&writer, stream, Err(failure)).await;
                continue;
            }
        };
        let (only_waits, creates) = (request.method == "Wait", request.method == "Create");
        let abandonment = Abandonment::default();
        let told = abandonment.clone();
        let (shim, writer) = (Rc::clone(&shim), Rc::clone(&writer));
        let call = spawn_local(async move {
            let answer = answer(shim, request, told).await;
            send(&writer, stream, answer).await;
        });
        if only_waits {
            waits.retain(|wait| !wait.0.is_finished());
            waits.push(Ending(call.abort_handle()));
        }
        if creates {
            creations.retain(|creation| !creation.call.is_finished());
            creations.push(Abandoning { call: call.abort_handle(), abandonment });
        }
    }
}

async fn next(reader: &mut OwnedReadHalf) -> io::Result<Option<Frame>> {
    loop {
        match frame::read(reader).await? {
            Some(frame) if frame.kind != Kind::Request => {}
            other => return Ok(other),
        }
    }
}

fn decode(frame: Frame) -> Result<(u32, Request), (u32, Failure)> {
    let payload = frame.payload.ok_or_else(|| {
        let message = "the message is longer than 4 MiB";
        (frame.stream, Failure::new(Code::RESOURCE_EXHAUSTED, message))
    })?;
    let request = Request::parse_from_bytes(&payload)
        .map_err(|error| (frame.stream, Failure::invalid(format!("read a call: {error}"))))?;
    Ok((frame.stream, request))
}

/// The result of a call, or that its time is over: then a change that was begun still comes to its end,
/// but what it has created is removed again.
async fn answer(
    shim: Rc<Shim>,
    request: Request,
    abandonment: Abandonment,
) -> Result<Vec<u8>, Failure> {
    if !SERVICES.contains(&request.service.as_str()) {
        let message = format!("the service {:?} is not known", request.service);
        return Err(Failure::new(Code::UNIMPLEMENTED, message));
    }
    let bound = u64::try_from(request.timeout_nano).ok().filter(|bound| *bound > 0);
    let only_waits = request.method == "Wait";
    let told = abandonment.clone();
    let work = async move { service::call(&shim, &request.method, &request.payload, &told).await };
    match bound.map(Duration::from_nanos) {
        None => work.await,
        Some(bound) if only_waits => within(bound, work).await,
        Some(bound) => {
            let work = spawn_local(work);
            let result = within(bound, async {
                work.await.unwrap_or_else(|error| Err(Failure::unknown(error.to_string())))
            })
            .await;
            // Without effect if it has ended.
            abandonment.declare();
            result
        }
    }
}

async fn within(
    bound: Duration,
    work: impl Future<Output = Result<Vec<u8>, Failure>>,
) -> Result<Vec<u8>, Failure> {
    let late = || Failure::new(Code::DEADLINE_EXCEEDED, "context deadline exceeded");
    time::timeout(bound, work).await.unwrap_or_else(|_| Err(late()))
}

async fn send(writer: &Mutex<OwnedWriteHalf>, stream: u32, answer: Result<Vec<u8>, Failure>) {
    let mut response = Response::new();
    match answer {
        Ok(payload) => response.payload = payload,
        Err(failure) => {
            let status =
                Status { code: failure.code.into(), message: failure.message, ..Status::default() };
            response.status = MessageField::some(status);
        }
    }
    let mut writer = writer.lock().await;
    if let Err(error) = frame::write(&mut *writer, (stream, Kind::Response), &response).await {
        // The client is gone; nobody else is to be told.
        log::debug!("send an answer: {error}");
    }
}
