//! Namespaces, ids, devices and net devices.

use super::{Row, row};

pub(super) const ROWS: &[Row] = &[
    row('E', "linux.namespaces.type", "all eight kinds; an unknown one is an error"),
    row('E', "linux.namespaces.path", "absolute and of the right kind, or an error"),
    row('E', "linux.namespaces duplicate", "a kind that repeats is an error"),
    row('E', "linux.namespaces absent", "a kind that is absent is the runtime's own"),
    row('E', "linux.uidMappings", "uidMappings and gidMappings; they need a user namespace"),
    row('E', "rootless: automatic maps", "an ordinary user gets a user namespace"),
    row('E', "rootless: newuidmap", "maps of several ranges through newuidmap and newgidmap"),
    row('E', "linux.timeOffsets", "of both clocks; they need a time namespace"),
    row('E', "linux.devices", "types c b u p with mode and owner; a conflict is an error"),
    row('E', "default devices", "null zero full random urandom tty ptmx, console"),
    row('E', "/dev links", "/dev/fd, stdin, stdout, stderr"),
    row('E', "rootless: devices", "devices of the host are bound"),
    row('E', "linux.netDevices", "moved, renamed, addresses kept, up; errors otherwise"),
];
