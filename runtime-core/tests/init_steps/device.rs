//! Directories, links, device nodes.

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};

use crate::harness::{Setup, failure, pivot, privileged, rootfs};
use crate::program::{Op, Step};

fn node(path: &CStr, mode: u32, minor: u32, owner: (u32, u32)) -> Step<'_> {
    Step::Device { path, mode, major: 1, minor, uid: owner.0, gid: owner.1 }
}

#[test]
fn nodes_have_exactly_the_mode_and_owner() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"tmpfs", b"mode=755\0", c"/dev");
    setup.step(&node(c"/dev/null", libc::S_IFCHR | 0o666, 3, (0, 0)));
    setup.step(&node(c"/dev/odd", libc::S_IFCHR | 0o4751, 5, (1000, 7)));
    setup.step(&node(c"/dev/sub/fifo", libc::S_IFIFO | 0o622, 0, (3, 4)));
    setup.step(&Step::Symlink { target: c"/proc/self/fd", path: c"/dev/fd" });
    setup.step(&Step::Directory { path: c"/dev/directory", mode: 0o1777 });
    pivot(&mut setup);
    setup.shell("cd /dev; stat -c '%n %a %u:%g %t:%T %F' * sub/*; readlink fd");
    let expected = "directory 1777 0:0 0:0 directory
fd 777 0:0 0:0 symbolic link
null 666 0:0 1:3 character special file
odd 4751 1000:7 1:5 character special file
sub 755 0:0 0:0 directory
sub/fifo 622 3:4 0:0 fifo
/proc/self/fd
";
    assert_eq!(setup.prints(), expected);
}

#[test]
fn a_parents_group_and_access_list_change_nothing() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let dev = root.path().join("dev");
    std::os::unix::fs::chown(&dev, Some(0), Some(77)).unwrap();
    fs::set_permissions(&dev, fs::Permissions::from_mode(0o2755)).unwrap();
    let mut setup = Setup::caged(root.path());
    setup.step(&node(c"/dev/null", libc::S_IFCHR | 0o666, 3, (0, 0)));
    pivot(&mut setup);
    setup.shell("stat -c %a:%u:%g /dev/null");
    assert_eq!(setup.prints(), "666:0:0\n");
}

#[test]
fn what_exists_is_kept_if_it_is_the_same() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let null = root.path().join("dev/null");
    nix::sys::stat::mknod(
        &null,
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::from_bits_truncate(0o600),
        nix::sys::stat::makedev(1, 3),
    )
    .unwrap();
    let inode = fs::metadata(&null).unwrap().ino();
    let mut setup = Setup::caged(root.path());
    setup.step(&node(c"/dev/null", libc::S_IFCHR | 0o6666, 3, (5, 6)));
    pivot(&mut setup);
    setup.shell("stat -c %a:%u:%g:%i /dev/null");
    assert_eq!(setup.prints(), format!("6666:5:6:{inode}\n"));
    let metadata = fs::metadata(&null).unwrap();
    assert!(metadata.file_type().is_char_device());
    assert_eq!((metadata.uid(), metadata.gid()), (5, 6));

    // Another number, another kind.
    for step in [
        node(c"/dev/null", libc::S_IFCHR | 0o666, 5, (0, 0)),
        node(c"/dev/null", libc::S_IFBLK | 0o666, 3, (0, 0)),
    ] {
        let mut setup = Setup::caged(root.path());
        let step = setup.step(&step);
        let expected = failure(step, Op::Mknod, libc::EEXIST, "/dev/null");
        assert_eq!(setup.fails().failure(), expected);
    }
}

#[test]
fn links_of_the_image_are_not_followed() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "victim").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    // The last name is a link: to a device on the host.
    symlink("/dev/zero", root.path().join("dev/null")).unwrap();
    let mut setup = Setup::caged(root.path());
    let step = setup.step(&node(c"/dev/null", libc::S_IFCHR | 0o666, 3, (0, 0)));
    let message = setup.fails();
    assert_eq!(message.failure(), failure(step, Op::Mknod, libc::EEXIST, "/dev/null"));
    // The directory is a link to the host.
    fs::remove_file(root.path().join("dev/null")).unwrap();
    fs::remove_dir(root.path().join("dev")).unwrap();
    symlink(outside.path(), root.path().join("dev")).unwrap();
    let mut setup = Setup::caged(root.path());
    setup.step(&node(c"/dev/null", libc::S_IFCHR | 0o666, 3, (0, 0)));
    setup.step(&Step::ReplaceBySymlink { target: c"pts/ptmx", path: c"/dev/victim" });
    setup.step(&Step::Symlink { target: c"x", path: c"/dev/link" });
    setup.step(&Step::Directory { path: c"/dev/directory", mode: 0o755 });
    pivot(&mut setup);
    setup.shell("ls /dev/");
    assert_eq!(setup.prints(), "directory\nlink\nnull\nvictim\n");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "victim");
    assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn ptmx_is_replaced_and_directories_are_not() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    fs::write(root.path().join("dev/ptmx"), "").unwrap();
    fs::create_dir(root.path().join("dev/directory")).unwrap();
    let mut setup = Setup::caged(root.path());
    for path in [c"/dev/ptmx", c"/dev/new"] {
        setup.step(&Step::ReplaceBySymlink { target: c"pts/ptmx", path });
    }
    // What exists is left alone.
    setup.step(&Step::Symlink { target: c"other", path: c"/dev/ptmx" });
    pivot(&mut setup);
    setup.shell("readlink /dev/ptmx; readlink /dev/new");
    assert_eq!(setup.prints(), "pts/ptmx\npts/ptmx\n");

    let mut setup = Setup::caged(root.path());
    let step = setup.step(&Step::ReplaceBySymlink { target: c"x", path: c"/dev/directory" });
    let message = setup.fails();
    let expected = failure(step, Op::Unlink, libc::EISDIR, "/dev/directory");
    assert_eq!(message.failure(), expected);
}
