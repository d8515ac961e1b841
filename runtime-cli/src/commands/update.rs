//! `update`: changes the limits of a container.

use std::fs;
use std::io::{Read, stdin};
use std::path::Path;
use std::str::FromStr;

use coracle::spec::Resources;
use coracle::spec::resources::{BlockIo, Cpu, Memory, Pids};
use coracle::{Error, ErrorKind, UpdateOptions};

use super::container;
use crate::args::{Globals, Matches, Usage};
use crate::failure::Failure;
use crate::size;

/// The longest description of limits that is read, in bytes.
const LONGEST: u64 = 1 << 20;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let mut options = UpdateOptions::default();
    options.l3_cache_schema = matches.text("l3-cache-schema")?.map(str::to_owned);
    options.mem_bw_schema = matches.text("mem-bw-schema")?.map(str::to_owned);
    let resources = match matches.path("resources") {
        Some(path) => from_file(&path)?,
        None => from_options(matches)?,
    };
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let shares = given(&options.l3_cache_schema) || given(&options.mem_bw_schema);
    if !shares && matches.path("resources").is_none() && resources == Resources::default() {
        return Err(Usage::new("no limit is given").into());
    }
    container(globals, matches)?.update_with(&resources, &options)?;
    Ok(())
}

/// The limits of a file; `-` is the standard input.
fn from_file(path: &Path) -> Result<Resources, Error> {
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        stdin().lock().take(LONGEST).read_to_end(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text))
    };
    read.map_err(|source| Error::io("read the limits from", &source).with_path(path))?;
    Resources::parse(&text).map_err(|error| error.context("the new limits"))
}

fn from_options(matches: &Matches) -> Result<Resources, Failure> {
    for name in ["kernel-memory", "kernel-memory-tcp"] {
        if matches.value(name).is_some() {
            ::log::warn!("--{name} is ignored: kernels since 5.16 have no such limit");
        }
    }
    let memory = Memory {
        limit: bytes(matches, "memory")?,
        reservation: bytes(matches, "memory-reservation")?,
        swap: bytes(matches, "memory-swap")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: number(matches, "cpu-share")?,
        quota: number(matches, "cpu-quota")?,
        burst: number(matches, "cpu-burst")?,
        period: number(matches, "cpu-period")?,
        realtime_runtime: number(matches, "cpu-rt-runtime")?,
        realtime_period: number(matches, "cpu-rt-period")?,
        cpus: matches.text("cpuset-cpus")?.map(str::to_owned),
        mems: matches.text("cpuset-mems")?.map(str::to_owned),
        idle: number(matches, "cpu-idle")?,
    };
    let block_io = BlockIo { weight: number(matches, "blkio-weight")?, ..BlockIo::default() };
    let pids = Pids { limit: number(matches, "pids-limit")? };
    Ok(Resources {
        memory: given(memory),
        cpu: given(cpu),
        block_io: given(block_io),
        pids: given(pids),
        ..Resources::default()
    })
}

/// `None` for what has nothing in it.
fn given<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn number<N: FromStr>(matches: &Matches, name: &str) -> Result<Option<N>, Usage> {
    let Some(text) = matches.text(name)? else {
        return Ok(None);
    };
    let wrong = |_| Usage::new(format!("--{name}: {text:?} is not a number in range"));
    text.parse().map(Some).map_err(wrong)
}

fn bytes(matches: &Matches, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = matches.text(name)? else {
        return Ok(None);
    };
    size::parse(text).map(Some).ok_or_else(|| {
        Error::new(ErrorKind::InvalidSpec, format!("--{name}: {text:?} is not a size"))
            .with_hint("sizes are such as 1000, 512m, 1.5g; -1 means unlimited")
            .into()
    })
}
