//! The messages that requests carry inside.

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::Options;
use serde_json::{Value, json};

/// A message in an envelope.
pub(crate) fn any(name: &str, value: Vec<u8>) -> Any {
    Any { type_url: name.to_owned(), value, ..Default::default() }
}

/// The options of the runc shim.
pub(crate) fn runc_options(options: &Options) -> Any {
    any("containerd.runc.v1.Options", options.write_to_bytes().unwrap_or_default())
}

/// The options that containerd sends to any other shim: a table of TOML.
pub(crate) fn toml_options(table: &str) -> Any {
    let mut body = Vec::new();
    let name = "io.containerd.runc.v2.Options";
    for (number, text) in [(1_u8, name), (3, table)] {
        body.push(number << 3 | 2);
        body.extend(length(text.len()));
        body.extend(text.as_bytes());
    }
    any("runtimeoptions.v1.Options", body)
}

fn length(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let part = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(part);
            return bytes;
        }
        bytes.push(part | 0x80);
    }
}

/// The process of an exec.
pub(crate) fn process(args: &[&str]) -> Value {
    json!({
        "terminal": false,
        "user": { "uid": 0, "gid": 0 },
        "args": args,
        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        "cwd": "/",
        "noNewPrivileges": true,
    })
}

/// The probe with these operations as the process of an exec.
pub(crate) fn probe(ops: &[&str]) -> Value {
    let mut args = vec!["/probe"];
    args.extend(ops);
    process(&args)
}

/// Such a process as a request carries it.
pub(crate) fn process_any(process: &Value) -> Any {
    let name = "types.containerd.io/opencontainers/runtime-spec/1/Process";
    any(name, process.to_string().into_bytes())
}

/// Limits as a request carries them.
pub(crate) fn resources_any(text: &str) -> Any {
    any("types.containerd.io/opencontainers/runtime-spec/1/LinuxResources", text.into())
}
