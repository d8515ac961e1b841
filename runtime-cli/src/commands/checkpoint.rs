//! `checkpoint`: writes a running container into images; and what `restore` shares with it.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use coracle::{
    CgroupsMode, CheckpointOptions, CriuOptions, Error, ErrorKind, NetworkLock, PageServer,
};

use super::container;
use crate::args::{Globals, Matches, Usage};
use crate::failure::Failure;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    warn_if_rootless("checkpoint");
    let container = container(globals, matches)?;
    let mut options = CheckpointOptions::default();
    options.criu = criu(matches)?;
    options.criu.tcp_skip_in_flight = matches.switch("tcp-skip-in-flight");
    options.criu.link_remap = matches.switch("link-remap");
    options.parent = matches.path("parent-path").filter(|path| !path.as_os_str().is_empty());
    options.leave_running = matches.switch("leave-running");
    options.pre_dump = matches.switch("pre-dump");
    options.page_server = matches.text("page-server")?.map(page_server).transpose()?;
    options.status_fd = status_fd(matches)?;
    let goes_on = options.leave_running || options.pre_dump;
    container.checkpoint(options)?;
    if goes_on {
        return Ok(());
    }
    match container.delete(false) {
        // A `run` in the foreground has seen its end, too.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        deleted => Ok(deleted?),
    }
}

/// What both commands tell criu.
///
/// # Errors
/// A value that an option cannot have.
pub(super) fn criu(matches: &Matches) -> Result<CriuOptions, Failure> {
    let mut options = CriuOptions::default();
    let named = |option: &str| matches.path(option).filter(|path| !path.as_os_str().is_empty());
    options.images = named("image-path").unwrap_or_else(|| PathBuf::from("checkpoint"));
    options.work = named("work-path");
    options.tcp_established = matches.switch("tcp-established");
    options.tcp_close = matches.switch("tcp-close");
    options.external_unix_sockets = matches.switch("ext-unix-sk");
    options.shell_job = matches.switch("shell-job");
    options.file_locks = matches.switch("file-locks");
    options.lazy_pages = matches.switch("lazy-pages");
    options.auto_dedup = matches.switch("auto-dedup");
    options.cgroups = cgroups_mode(matches.text("manage-cgroups-mode")?)?;
    options.network_lock = network_lock(matches.text("network-lock")?)?;
    for namespace in matches.texts("empty-ns")? {
        if namespace != "network" {
            return Err(Usage::new(format!("namespace {namespace:?} is not supported")).into());
        }
    }
    Ok(options)
}

/// criu needs privilege that a user seldom has.
pub(super) fn warn_if_rootless(command: &str) {
    if !nix::unistd::geteuid().is_root() {
        log::warn!("coracle {command} is untested with rootless containers");
    }
}

fn cgroups_mode(mode: Option<&str>) -> Result<Option<CgroupsMode>, Usage> {
    match mode {
        None | Some("") => Ok(None),
        Some("soft") => Ok(Some(CgroupsMode::Soft)),
        Some("full") => Ok(Some(CgroupsMode::Full)),
        Some("strict") => Ok(Some(CgroupsMode::Strict)),
        Some("ignore") => Ok(Some(CgroupsMode::Ignore)),
        Some(mode) => Err(Usage::new(format!("Invalid manage-cgroups-mode value {mode:?}"))),
    }
}

fn network_lock(method: Option<&str>) -> Result<Option<NetworkLock>, Usage> {
    match method {
        None | Some("") => Ok(None),
        Some("iptables") => Ok(Some(NetworkLock::Iptables)),
        Some("nftables") => Ok(Some(NetworkLock::Nftables)),
        Some("skip") => Ok(Some(NetworkLock::Skip)),
        Some(method) => Err(Usage::new(format!("invalid network-lock value {method:?}"))),
    }
}

/// `ADDRESS:PORT`; an IPv6 address has brackets.
fn page_server(text: &str) -> Result<PageServer, Usage> {
    let malformed = || Usage::new("Use --page-server ADDRESS:PORT to specify page server");
    let (address, port) = text.rsplit_once(':').ok_or_else(malformed)?;
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    if address.is_empty() || (bare.is_none() && address.contains(':')) {
        return Err(malformed());
    }
    let port =
        port.parse().map_err(|_wrong| Usage::new(format!("Invalid port number {port:?}")))?;
    Ok(PageServer { address: bare.unwrap_or(address).to_owned(), port })
}

/// The descriptor of `--status-fd`; the library closes it when all has been said.
fn status_fd(matches: &Matches) -> Result<Option<OwnedFd>, Failure> {
    let Some(text) = matches.text("status-fd")?.filter(|text| *text != "-1") else {
        return Ok(None);
    };
    let number: i32 = text.parse().map_err(|_wrong| {
        Usage::new(format!("invalid --status-fd argument {text:?}: no number of a descriptor"))
    })?;
    let failed = |source: &std::io::Error| {
        Error::io(format!("invalid --status-fd argument {number}: open for writing"), source)
    };
    let path = format!("/proc/self/fd/{number}");
    let copy = OpenOptions::new().write(true).open(path).map_err(|source| failed(&source))?;
    if number < 3 {
        let message = format!("invalid --status-fd argument {number}: it is a standard stream");
        return Err(Error::new(ErrorKind::InvalidSpec, message).into());
    }
    // Whoever reads the other end waits for its end.
    let _closed = nix::unistd::close(number);
    Ok(Some(copy.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_has_an_address_and_a_port() {
        let server = |text| page_server(text).map(|server| (server.address, server.port));
        assert_eq!(server("host:27").ok(), Some(("host".to_owned(), 27)));
        assert_eq!(server("[::1]:65535").ok(), Some(("::1".to_owned(), 65535)));
        for text in ["", "host", ":1", "host:", "host:x", "host:65536", "::1:5"] {
            assert!(server(text).is_err(), "{text}");
        }
    }
}
