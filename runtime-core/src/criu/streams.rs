//! The standard streams of a container across a checkpoint.
//!
//! What they are is kept beside the images. For pipes this is the file that other runtimes write as well: a
//! list of three texts, each the link of a descriptor in `/proc`. Files of the host, which no mount of the
//! container shows, have a file of their own.

use std::fs::{File, metadata, read_link, read_to_string, write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::images::Images;
use super::mounts::NULL;
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::sys::mountinfo;

/// The file that other runtimes have as well.
const LINKS: &str = "descriptors.json";
/// The file for files of the host.
const FILES: &str = "host-files.json";
/// The memory devices (`mem` in the kernel's list of devices) that are open to everybody.
const DEVICES: [&str; 5] = [NULL, "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What the descriptors 0 to 2 of the first process are.
#[derive(Debug)]
pub(crate) struct Streams {
    links: Vec<String>,
    files: Vec<HostFile>,
}

/// A standard stream that is a file of the host.
#[derive(Debug, Serialize, Deserialize)]
struct HostFile {
    /// Its name in the images.
    name: String,
    /// Its path on the host.
    path: PathBuf,
    /// Type and permissions, which what takes its place must have too.
    mode: u32,
    /// Which stream it is.
    stream: RawFd,
}

/// What takes the place of the streams: names in the images, and criu's descriptors.
#[derive(Debug, Default)]
pub(crate) struct Replacements {
    named: Vec<(String, RawFd)>,
    opened: Vec<(String, File)>,
}

impl Replacements {
    /// The descriptors that were opened for it.
    pub(crate) fn opened(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.opened.iter().map(|(_, file)| file.as_fd())
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(String, RawFd)> {
        let opened = self.opened.iter().map(|(name, file)| (name.clone(), file.as_raw_fd()));
        self.named.iter().cloned().chain(opened).collect()
    }
}

impl Streams {
    /// Looks at a process.
    ///
    /// # Errors
    /// The failure to read its mounts.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        let mounts = mountinfo::read_of(pid).attempt("read the mounts of the container")?;
        let inside = |id: u64| mounts.iter().any(|mount| mount.id == id);
        let mut streams = Self { links: Vec::new(), files: Vec::new() };
        for stream in 0..3 {
            // One that is closed has no link.
            let link = read_link(format!("/proc/{pid}/fd/{stream}")).unwrap_or_default();
            streams.links.push(link.to_string_lossy().into_owned());
            streams.files.extend(host_file(pid, stream, &inside));
        }
        Ok(streams)
    }

    /// The files of the host, by their names in the images.
    pub(crate) fn external(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| file.name.clone())
    }

    /// Writes both files.
    ///
    /// # Errors
    /// The failure of a system call, with the path.
    pub(crate) fn save(&self, images: &Images) -> Result<()> {
        save(&self.links, &images.file(LINKS))?;
        save(&self.files, &images.file(FILES))
    }

    /// Reads them again.
    ///
    /// # Errors
    /// The failure of a system call, with the path; a file that is malformed.
    pub(crate) fn load(images: &Images) -> Result<Self> {
        let files = images.file(FILES);
        // Other runtimes do not write it.
        let files = if files.exists() { load(&files)? } else { Vec::new() };
        Ok(Self { links: load(&images.file(LINKS))?, files })
    }

    /// What takes the place of each, now that `given` are the streams. A file of the host is followed by the
    /// stream if that is of its kind; of those that the images name only memory devices are opened again, as
    /// any other path may have come from somebody who may not open it. What went nowhere still does.
    ///
    /// # Errors
    /// A file of the host that no stream follows; one that cannot be opened.
    pub(crate) fn replacements(&self, given: [BorrowedFd<'_>; 3]) -> Result<Replacements> {
        let mut found = Replacements::default();
        let numbered = (0..3).zip(&self.links).filter(|(_, link)| link.starts_with("pipe:"));
        found.named.extend(numbered.map(|(number, link)| (link.clone(), number)));
        for file in &self.files {
            if found.all().iter().any(|(known, _)| *known == file.name) {
                continue;
            }
            let stream = usize::try_from(file.stream).ok().and_then(|index| given.get(index));
            if file.path != Path::new(NULL) && stream.is_some_and(|stream| is_like(*stream, file)) {
                found.named.push((file.name.clone(), file.stream));
            } else if DEVICES.iter().any(|device| file.path == Path::new(device)) {
                found.opened.push((file.name.clone(), open(&file.path)?));
            } else {
                return Err(unfollowed(file));
            }
        }
        Ok(found)
    }
}

fn unfollowed(file: &HostFile) -> Error {
    let (stream, mode) = (file.stream, file.mode & 0o7777);
    let message =
        format!("standard stream {stream} was a file of the host, and is none like it now:");
    Error::new(ErrorKind::InvalidSpec, message).with_path(&file.path).with_hint(format!(
        "give the restore a file of the same type with the mode {mode:#o} as stream {stream}"
    ))
}

fn is_like(stream: BorrowedFd<'_>, file: &HostFile) -> bool {
    nix::sys::stat::fstat(stream).is_ok_and(|found| found.st_mode == file.mode)
}

/// Opens a file as far as may be: it is opened once more with the rights that the image names.
fn open(path: &Path) -> Result<File> {
    let both = File::options().read(true).write(true).open(path);
    both.or_else(|_| File::open(path)).attempt_on("open the file of a standard stream", path)
}

/// A stream that is a file of the host. criu calls it by the numbers of its mount and of its inode.
fn host_file(pid: i32, stream: RawFd, inside: &dyn Fn(u64) -> bool) -> Option<HostFile> {
    const MEMORY_DEVICES: u64 = 1;
    let link = PathBuf::from(format!("/proc/{pid}/fd/{stream}"));
    let found = metadata(&link).ok()?;
    let kind = found.file_type();
    let memory = nix::sys::stat::major(found.rdev()) == MEMORY_DEVICES;
    let path = read_link(&link).ok().filter(|path| path.is_absolute())?;
    if !(kind.is_file() || kind.is_fifo() || kind.is_char_device() && memory) {
        return None;
    }
    let info = read_to_string(format!("/proc/{pid}/fdinfo/{stream}")).ok()?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    let mount = mount.trim().parse().ok()?;
    let name = format!("file[{mount:x}:{:x}]", found.ino());
    (!inside(mount)).then(|| HostFile { name, path, mode: found.mode(), stream })
}

fn save(content: &impl Serialize, path: &Path) -> Result<()> {
    let text = serde_json::to_vec(content).map_err(|error| {
        Error::new(ErrorKind::System, format!("encode the standard streams: {error}"))
    })?;
    write(path, text).attempt_on("write", path)
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).attempt_on("read", path)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(ErrorKind::System, format!("a malformed file ({error}):")).with_path(path)
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::options::CriuOptions;
    use super::*;

    #[test]
    fn pipes_and_files_of_the_host_are_found_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("out");
        let file = File::create(&path).expect("a file");
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("sleep");
        let pid = i32::try_from(child.id()).expect("a pid");
        let streams = Streams::of(pid).expect("streams");
        assert!(streams.files.is_empty(), "this process has the mounts of the host: {streams:?}");
        let files: Vec<_> =
            (0..3).filter_map(|stream| host_file(pid, stream, &|_| false)).collect();
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert_eq!(files.iter().map(|file| file.stream).collect::<Vec<_>>(), [0, 2]);
        assert!(files.iter().all(|file| file.name.starts_with("file[")), "{files:?}");
        let options = CriuOptions { images: directory.path().to_owned(), ..CriuOptions::default() };
        let images = Images::open(&options, false).expect("images");
        Streams { files, ..streams }.save(&images).expect("saved");

        let loaded = Streams::load(&images).expect("loaded");
        let (null, again) = (open(Path::new(NULL)).expect("null"), open(&path).expect("the file"));
        let same =
            loaded.replacements([null.as_fd(), null.as_fd(), again.as_fd()]).expect("replaced");
        let [(_, 1), (_, 2), (_, opened)] = same.all()[..] else { panic!("{same:?}") };
        assert_eq!(same.opened().map(|fd| fd.as_raw_fd()).collect::<Vec<_>>(), [opened]);
        let other = loaded.replacements([null.as_fd(); 3]);
        let error = other.expect_err("a file cannot be followed by a device, nor is it opened");
        assert_eq!(error.path(), Some(&*path));

        std::fs::remove_file(directory.path().join(FILES)).expect("removed");
        assert!(Streams::load(&images).expect("loaded").files.is_empty());
    }
}
