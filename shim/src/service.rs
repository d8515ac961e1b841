//! The methods of the task service: which message each takes, and what answers it.

use std::rc::Rc;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::Code;

use crate::failure::Failure;
use crate::message::{encode, read};
use crate::shim::{Abandonment, Shim};

/// Answers one call. What it creates is removed again if it was given up before.
///
/// # Errors
/// What the method answers; [`Code::UNIMPLEMENTED`] for a method that does not exist.
pub(crate) async fn call(
    shim: &Rc<Shim>,
    method: &str,
    payload: &[u8],
    abandonment: &Abandonment,
) -> Result<Vec<u8>, Failure> {
    let _busy = shim.busy();
    log::debug!("{method}");
    let answer = dispatch(shim, (method, abandonment), payload).await;
    if let Err(failure) = &answer {
        log::debug!("{method}: {failure}");
    }
    answer
}

async fn dispatch(
    shim: &Rc<Shim>,
    (method, abandonment): (&str, &Abandonment),
    payload: &[u8],
) -> Result<Vec<u8>, Failure> {
    match method {
        "Create" => reply(&shim.create(read(payload)?, abandonment).await?),
        "Start" => reply(&shim.start(&read(payload)?).await?),
        "Delete" => reply(&shim.delete(&read(payload)?).await?),
        "Exec" => reply(&shim.exec(read(payload)?)?),
        "State" => reply(&shim.state(&read(payload)?)?),
        "Wait" => reply(&shim.wait(&read(payload)?).await?),
        "Kill" => reply(&shim.kill(&read(payload)?).await?),
        "Pids" => reply(&shim.pids(&read(payload)?)?),
        "Pause" => reply(&shim.pause(&read(payload)?).await?),
        "Resume" => reply(&shim.resume(&read(payload)?).await?),
        "Update" => reply(&shim.update(&read(payload)?).await?),
        "Stats" => reply(&shim.stats(&read(payload)?)?),
        "CloseIO" => reply(&shim.close_io(&read(payload)?)?),
        "ResizePty" => reply(&shim.resize_pty(&read(payload)?)?),
        "Checkpoint" => reply(&shim.checkpoint(&read(payload)?).await?),
        "Connect" => reply(&shim.connect(&read(payload)?)),
        "Shutdown" => reply(&shim.shutdown(&read(payload)?)),
        _ => Err(Failure::new(Code::UNIMPLEMENTED, format!("the method {method:?} is not known"))),
    }
}

fn reply(message: &impl Message) -> Result<Vec<u8>, Failure> {
    encode(message)
}
