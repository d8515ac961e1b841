use std::os::unix::fs::{MetadataExt, chown};

use nix::sched::{CloneFlags, unshare};

use super::*;

/// Runs `test` in a thread with mounts of its own; says so where that cannot be.
fn apart(test: impl FnOnce(&Path) + Send) {
    let run = || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNS) {
            println!("skipped: needs root: {errno}");
            return;
        }
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        let dir = tempfile::tempdir().expect("directory");
        let tmpfs = MsFlags::empty();
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), tmpfs, None::<&str>).expect("tmpfs");
        test(dir.path());
        umount2(dir.path(), MntFlags::MNT_DETACH).expect("unmount");
    };
    thread::scope(|scope| scope.spawn(run).join()).expect("the thread ends well");
}

fn wanted(kind: &str, source: &str, options: &[String]) -> Mount {
    Mount {
        type_: kind.to_owned(),
        source: source.to_owned(),
        options: options.to_vec(),
        ..Mount::default()
    }
}

/// Lower directories with a file each; their names are long.
fn lower(dir: &Path, count: usize) -> String {
    let names = (0..count).map(|number| {
        let path = dir.join(format!("{}-{number}", "layer".repeat(10)));
        fs::create_dir(&path).expect("directory");
        fs::write(path.join(format!("file-{number}")), "").expect("file");
        path.display().to_string()
    });
    names.collect::<Vec<_>>().join(":")
}

#[test]
fn overlays_can_have_more_options_than_a_page() {
    apart(|dir| {
        let lower = format!("lowerdir={}", lower(dir, 60));
        assert!(lower.len() > 4096);
        let target = dir.join("rootfs");
        let rootfs = Rootfs::mount(&[wanted("overlay", "overlay", &[lower])], &target);
        let rootfs = rootfs.expect("mounted");
        assert!(target.join("file-0").exists() && target.join("file-59").exists());
        rootfs.unmount();
        assert!(!target.join("file-0").exists());
    });
}

#[test]
fn ids_of_lower_directories_are_mapped() {
    apart(|dir| {
        let lower = lower(dir, 2);
        let first = lower.split(':').next().expect("one");
        chown(Path::new(first).join("file-0"), Some(5), Some(6)).expect("chown");
        let maps = ["uidmap=0:1000:100".to_owned(), "gidmap=0:2000:100".to_owned()];
        let options = [vec![format!("lowerdir={lower}")], maps.to_vec()].concat();
        let target = dir.join("rootfs");
        let rootfs = Rootfs::mount(&[wanted("overlay", "overlay", &options)], &target);
        let rootfs = rootfs.expect("mounted");
        let file = fs::metadata(target.join("file-0")).expect("file");
        assert_eq!((file.uid(), file.gid()), (1005, 2006));
        rootfs.unmount();
        let options = [vec!["rbind".to_owned(), "ro".to_owned()], maps.to_vec()].concat();
        let rootfs = Rootfs::mount(&[wanted("bind", first, &options)], &target).expect("mounted");
        let file = fs::metadata(target.join("file-0")).expect("file");
        assert_eq!((file.uid(), file.gid()), (1005, 2006));
        assert!(fs::write(target.join("file-0"), "x").is_err(), "it is read-only");
        rootfs.unmount();
    });
}

#[test]
fn what_fails_takes_away_what_was_mounted_before() {
    apart(|dir| {
        let lower = lower(dir, 2);
        let target = dir.join("rootfs");
        let good = wanted("overlay", "overlay", &[format!("lowerdir={lower}")]);
        let bad = wanted("nosuch", "nosuch", &[]);
        let failure = Rootfs::mount(&[good, bad], &target).expect_err("refused");
        assert!(failure.message.contains("nosuch"), "{failure}");
        assert!(!target.join("file-0").exists());
    });
}

#[test]
fn names_of_mounts_are_unescaped() {
    assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
    assert_eq!(unescape(r"/plain\"), r"/plain\");
}
