//! `root`, `hostname`, `domainname` and `mounts`.

use super::{Row, row};

pub(super) const ROWS: &[Row] = &[
    row('B', "root", "path is required; readonly"),
    row('B', "hostname", "set in the UTS namespace, which it needs"),
    row('B', "domainname", "set in the UTS namespace, which it needs"),
    row('B', "mounts", "mounted in the listed order"),
    row('B', "mounts.destination", "absolute; a relative one is taken from /"),
    row('B', "mounts.source", "type may be absent for a bind mount; the options decide"),
    row('B', "mounts.uidMappings", "uidMappings and gidMappings, both or neither, or an error"),
    row('B', "mounts.options: idmap", "idmap and ridmap without mappings take the container's"),
    row('B', "default filesystems", "/proc, /sys, /dev/pts and /dev/shm are there"),
    row('B', "mounts: missing target", "a missing directory or file is made"),
    row('B', "mounts: inside the root", "no link of the image leads a mount out of the root"),
    row('B', "mounts: over /proc", "only files that engines emulate may be mounted over /proc"),
    row('B', "mounts.options: flags", "async to sync: the flags that every runtime must know"),
    row('B', "mounts.options: propagation", "private, shared, slave and their recursive forms"),
    row('B', "mounts.options: unbindable", "unbindable, runbindable"),
    row('B', "mounts.options: iversion", "iversion, noiversion"),
    row('B', "mounts.options: lazytime", "lazytime, nolazytime"),
    row('B', "mounts.options: silent", "loud, silent"),
    row('B', "mounts.options: nosymfollow", "nosymfollow, symfollow"),
    row('B', "mounts.options: recursive", "rro, rnosuid … reach the mounts below"),
    row('B', "mounts.options: rnosymfollow", "rnosymfollow, rsymfollow"),
    row('B', "mounts.options: mand", "mand, nomand"),
    row('B', "mounts.options: tmpcopyup", "a tmpfs begins with what it covers"),
    row('B', "mounts.options: data", "an unknown option goes to the file system"),
    row('B', "mounts.options: acl", "acl and noacl reach the file system that knows them"),
    row('B', "mounts.options: others", "copy-symlink, src-nofollow …: as crun, or an error"),
    row('B', "mounts: atime", "a recursive atime option replaces the one that was set"),
    row('B', "mounts: locked flags", "flags of the host stay in a user namespace"),
];
