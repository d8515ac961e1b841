//! Requests to criu, with the field numbers of its `rpc.proto`.

use std::os::fd::RawFd;

use super::message::Writer;
use super::options::{CgroupsMode, CriuOptions, NetworkLock, PageServer};
use super::response::Feature;

/// What is asked for (`criu_req_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Write the images.
    Dump,
    /// Make processes of images.
    Restore,
    /// Write memory only, and let the processes go on.
    PreDump,
    /// An answer to a notification.
    Notify,
    /// What criu and the kernel can do.
    FeatureCheck,
    /// Which criu it is.
    Version,
}

impl Kind {
    /// Its number.
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Dump => 1,
            Self::Restore => 2,
            Self::PreDump => 4,
            Self::Notify => 6,
            Self::FeatureCheck => 9,
            Self::Version => 10,
        }
    }

    /// Its name, as criu's interface and the messages of other runtimes have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dump => "DUMP",
            Self::Restore => "RESTORE",
            Self::PreDump => "PRE_DUMP",
            Self::Notify => "NOTIFY",
            Self::FeatureCheck => "FEATURE_CHECK",
            Self::Version => "VERSION",
        }
    }
}

/// A dump or a restore (`criu_opts`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Request<'a> {
    /// What both have.
    pub(crate) options: Option<&'a CriuOptions>,
    /// The directory of the images, by its number in this process.
    pub(crate) images: RawFd,
    /// The directory of the log, if it is another one.
    pub(crate) work: Option<RawFd>,
    /// The name of the log.
    pub(crate) log: &'a str,
    /// The container's root, which is a mount point.
    pub(crate) root: &'a str,
    /// A file with more options, which win.
    pub(crate) config: Option<&'a str>,
    /// The process to dump.
    pub(crate) pid: Option<i32>,
    /// Let it go on after the dump.
    pub(crate) leave_running: bool,
    /// The directory of the images before, from that of these images on.
    pub(crate) parent: Option<&'a str>,
    /// Find out which memory has changed since.
    pub(crate) track_memory: bool,
    /// Where memory goes.
    pub(crate) page_server: Option<&'a PageServer>,
    /// The cgroup whose freezer holds the processes.
    pub(crate) freezer: Option<&'a str>,
    /// Whether the processes are restored as children of criu's parent.
    pub(crate) sibling: bool,
    /// Mounts of the host: the name in the images, or at a dump the mount point; and what it stands for.
    pub(crate) mounts: Vec<(String, String)>,
    /// What else is not the container's own, in criu's spelling.
    pub(crate) external: Vec<String>,
    /// Descriptors of criu that take the place of what the images name.
    pub(crate) inherited: Vec<(String, RawFd)>,
    /// Namespaces to join: kind and file.
    pub(crate) joined: Vec<(&'static str, String)>,
    /// The cgroup in the place of the one that was dumped, by controller.
    pub(crate) cgroups: Vec<(String, String)>,
    /// The LSM profile in the place of the dumped one: `kind:name`.
    pub(crate) lsm_profile: Option<&'a str>,
    /// The SELinux context of mounts in the place of the dumped one.
    pub(crate) lsm_mount_context: Option<&'a str>,
}

/// Everything that happens (`LOG_DEBUG`): what a failure means is seldom in its own line.
const LOG_LEVEL: u64 = 4;

impl Request<'_> {
    /// The message.
    pub(super) fn encode(&self, kind: Kind) -> Vec<u8> {
        let mut options = Writer::default();
        options.signed(1, self.images);
        if let Some(pid) = self.pid {
            options.signed(2, pid);
        }
        options.flag(3, self.leave_running);
        options.number(9, LOG_LEVEL);
        options.text(10, self.log);
        if let Some(server) = self.page_server {
            let mut message = Writer::default();
            message.text(1, &server.address);
            message.signed(2, i32::from(server.port));
            options.message(11, &message);
        }
        options.flag(12, true);
        options.text(13, self.root);
        options.optional(14, self.parent);
        options.flag(15, self.track_memory);
        if let Some(work) = self.work {
            options.signed(17, work);
        }
        options.flag(24, true);
        options.flag(26, self.sibling);
        // Devices of the network are not criu's to restore: hooks and engines make them.
        options.number(38, u64::from(libc::CLONE_NEWNET.cast_unsigned()));
        options.optional(44, self.freezer);
        options.flag(50, true);
        options.optional(51, self.config);
        options.optional(53, self.lsm_profile);
        options.optional(63, self.lsm_mount_context);
        self.write_lists(&mut options);
        if let Some(chosen) = self.options {
            write_chosen(chosen, &mut options);
        }
        let mut request = Writer::default();
        request.number(1, kind.number());
        request.message(2, &options);
        request.into_bytes()
    }

    fn write_lists(&self, options: &mut Writer) {
        let mut pair = |field, first: &str, second: &str| {
            let mut message = Writer::default();
            message.text(1, first);
            message.text(2, second);
            options.message(field, &message);
        };
        self.mounts.iter().for_each(|(name, value)| pair(23, name, value));
        self.cgroups.iter().for_each(|(controller, path)| pair(25, controller, path));
        self.joined.iter().for_each(|(kind, file)| pair(39, kind, file));
        for (name, fd) in &self.inherited {
            let mut message = Writer::default();
            message.text(1, name);
            message.signed(2, *fd);
            options.message(27, &message);
        }
        self.external.iter().for_each(|name| options.text(37, name));
    }
}

fn write_chosen(chosen: &CriuOptions, options: &mut Writer) {
    options.flag(4, chosen.external_unix_sockets);
    options.flag(5, chosen.tcp_established);
    options.flag(7, chosen.shell_job);
    options.flag(8, chosen.file_locks);
    options.flag(16, chosen.auto_dedup);
    options.flag(18, chosen.link_remap);
    options.flag(46, chosen.tcp_skip_in_flight);
    options.flag(48, chosen.lazy_pages);
    options.flag(52, chosen.tcp_close);
    let mode = match chosen.cgroups {
        None => 6,
        Some(CgroupsMode::Ignore) => 0,
        Some(CgroupsMode::Soft) => 3,
        Some(CgroupsMode::Full) => 4,
        Some(CgroupsMode::Strict) => 5,
    };
    options.number(34, mode);
    match chosen.network_lock {
        None => {}
        Some(NetworkLock::Iptables) => options.number(64, 1),
        Some(NetworkLock::Nftables) => options.number(64, 2),
        Some(NetworkLock::Skip) => options.number(64, 3),
    }
}

/// A request without options. The connection stays open for the next.
pub(super) fn question(kind: Kind, feature: Option<Feature>) -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, kind.number());
    request.flag(4, true);
    if let Some(feature) = feature {
        let mut features = Writer::default();
        features.flag(feature.field(), true);
        request.message(5, &features);
    }
    request.into_bytes()
}

/// The answer to a notification.
pub(super) fn acknowledgement(success: bool) -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, Kind::Notify.number());
    // Absent it means yes.
    request.number(3, u64::from(success));
    request.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::message::{Value, read};
    use super::*;

    fn options(request: &Request<'_>) -> Vec<(u32, Vec<u8>)> {
        let bytes = request.encode(Kind::Dump);
        let fields = read(&bytes).expect("a message");
        assert_eq!(fields[0], (1, Value::Number(1)));
        assert_eq!(fields[1].0, 2);
        let options = read(fields[1].1.bytes()).expect("a message");
        let text = |value: Value<'_>| match value {
            Value::Number(number) => number.to_string().into_bytes(),
            other => other.bytes().to_vec(),
        };
        options.into_iter().map(|(field, value)| (field, text(value))).collect()
    }

    fn has(options: &[(u32, Vec<u8>)], field: u32, value: &str) -> bool {
        options.iter().any(|(found, bytes)| *found == field && bytes == value.as_bytes())
    }

    #[test]
    fn a_plain_dump_names_its_directories_and_no_more_than_is_asked() {
        let request =
            Request { images: 5, log: "dump.log", root: "/r", pid: Some(7), ..Request::default() };
        let options = options(&request);
        for (field, value) in [
            (1, "5"),
            (2, "7"),
            (9, "4"),
            (10, "dump.log"),
            (12, "1"),
            (13, "/r"),
            (38, "1073741824"),
        ] {
            assert!(has(&options, field, value), "{field}");
        }
        for field in [3, 4, 5, 7, 8, 11, 14, 15, 16, 17, 23, 25, 26, 27, 34, 37, 39, 44, 48, 52] {
            assert!(!options.iter().any(|(found, _)| *found == field), "{field}");
        }
    }

    #[test]
    fn every_choice_has_its_field() {
        let chosen = CriuOptions {
            tcp_established: true,
            tcp_close: true,
            tcp_skip_in_flight: true,
            external_unix_sockets: true,
            shell_job: true,
            file_locks: true,
            lazy_pages: true,
            auto_dedup: true,
            link_remap: true,
            cgroups: Some(CgroupsMode::Ignore),
            network_lock: Some(NetworkLock::Skip),
            ..CriuOptions::default()
        };
        let server = PageServer { address: "h".to_owned(), port: 65535 };
        let request = Request {
            options: Some(&chosen),
            page_server: Some(&server),
            leave_running: true,
            track_memory: true,
            parent: Some("../a"),
            freezer: Some("/f"),
            lsm_profile: Some("apparmor:x"),
            lsm_mount_context: Some("c"),
            mounts: vec![("/a".to_owned(), "/b".to_owned())],
            inherited: vec![("pipe:[1]".to_owned(), 2)],
            joined: vec![("uts", "/u".to_owned())],
            cgroups: vec![("".to_owned(), "/g".to_owned())],
            external: vec!["net[1]:n".to_owned()],
            ..Request::default()
        };
        let options = options(&request);
        for field in [3, 4, 5, 7, 8, 15, 16, 18, 46, 48, 52] {
            assert!(has(&options, field, "1"), "{field}");
        }
        let lists = [
            (11, "\n\u{1}h\u{10}\u{ff}\u{ff}\u{3}"),
            (14, "../a"),
            (23, "\n\u{2}/a\u{12}\u{2}/b"),
            (25, "\n\0\u{12}\u{2}/g"),
            (27, "\n\u{8}pipe:[1]\u{10}\u{2}"),
            (34, "0"),
            (37, "net[1]:n"),
            (39, "\n\u{3}uts\u{12}\u{2}/u"),
            (44, "/f"),
            (53, "apparmor:x"),
            (63, "c"),
            (64, "3"),
        ];
        for (field, value) in lists {
            let expected: Vec<u8> =
                value.chars().map(|one| u8::try_from(u32::from(one)).expect("a byte")).collect();
            assert!(options.contains(&(field, expected)), "{field}: {options:?}");
        }
    }

    #[test]
    fn a_refusal_is_written_out() {
        assert_eq!(acknowledgement(true), [8, 6, 24, 1]);
        assert_eq!(acknowledgement(false), [8, 6, 24, 0]);
        assert_eq!(question(Kind::Version, None), [8, 10, 32, 1]);
        assert_eq!(
            question(Kind::FeatureCheck, Some(Feature::LazyPages)),
            [8, 9, 32, 1, 42, 2, 16, 1]
        );
    }
}
