//! The standard streams of a container across a checkpoint.
//!
//! What they are is kept beside the images. For pipes this is the file that other runtimes write as well: a
//! list of three texts, each the link of a descriptor in `/proc`. Files of the host, which no mount of the
//! container shows, have a file of their own.

use std::fs::{File, metadata, read_link, read_to_string, write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
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
    /// Which stream it is.
    stream: RawFd,
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
            if let Some(name) = host_file(pid, stream, &inside) {
                streams.files.push(HostFile { name, path: link, stream });
            }
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

    /// Whether a stream was the null device of the host, for which the open one is needed.
    pub(crate) fn has_null(&self) -> bool {
        self.files.iter().any(|file| file.path == Path::new(NULL))
    }

    /// What takes the place of each: as it is named in the images, and criu's descriptor. What goes to
    /// nowhere stays there.
    pub(crate) fn inherited(&self, null: Option<BorrowedFd<'_>>) -> Vec<(String, RawFd)> {
        let numbered = (0..).zip(&self.links).filter(|(_, link)| link.starts_with("pipe:"));
        let mut inherited: Vec<_> = numbered.map(|(number, link)| (link.clone(), number)).collect();
        for HostFile { name, path, stream } in &self.files {
            let null = null.filter(|_| path == Path::new(NULL));
            let fd = null.map_or(*stream, |null| null.as_raw_fd());
            if !inherited.iter().any(|(known, _)| known == name) {
                inherited.push((name.clone(), fd));
            }
        }
        inherited
    }
}

/// The open null device.
///
/// # Errors
/// The failure of open.
pub(crate) fn null() -> Result<File> {
    let path = Path::new(NULL);
    File::options().read(true).write(true).open(path).attempt_on("open", path)
}

/// What criu calls a stream that is a file of the host: by the numbers of its mount and of its inode.
fn host_file(pid: i32, stream: RawFd, inside: &dyn Fn(u64) -> bool) -> Option<String> {
    const MEMORY_DEVICES: u64 = 1;
    let found = metadata(format!("/proc/{pid}/fd/{stream}")).ok()?;
    let kind = found.file_type();
    let memory = nix::sys::stat::major(found.rdev()) == MEMORY_DEVICES;
    if !(kind.is_file() || kind.is_char_device() && memory) {
        return None;
    }
    let info = read_to_string(format!("/proc/{pid}/fdinfo/{stream}")).ok()?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    let mount = mount.trim().parse().ok()?;
    (!inside(mount)).then(|| format!("file[{mount:x}:{:x}]", found.ino()))
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
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    use super::super::options::CriuOptions;
    use super::*;

    #[test]
    fn pipes_and_files_of_the_host_are_found_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = File::create(directory.path().join("out")).expect("a file");
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
        let names: Vec<_> = [0, 2].map(|stream| host_file(pid, stream, &|_| false)).into();
        child.kill().expect("kill");
        child.wait().expect("wait");
        let files = names.into_iter().zip(&streams.links).zip([0, 2]);
        let files = files.map(|((name, path), stream)| {
            let name = name.expect("a file of the host");
            assert!(name.starts_with("file["), "{name}");
            HostFile { name, path: path.into(), stream }
        });
        let streams = Streams { files: files.collect(), ..streams };
        let options = CriuOptions { images: directory.path().to_owned(), ..CriuOptions::default() };
        let images = Images::open(&options, false).expect("images");
        streams.save(&images).expect("saved");
        let loaded = Streams::load(&images).expect("loaded");
        assert!(loaded.has_null());
        let null = null().expect("null");
        let inherited = loaded.inherited(Some(null.as_fd()));
        let [pipe, first, second] = &inherited[..] else { panic!("{inherited:?}") };
        assert!(pipe.0.starts_with("pipe:[") && pipe.1 == 1);
        assert_eq!((first.1, second.1), (null.as_raw_fd(), 2));
        std::fs::remove_file(directory.path().join(FILES)).expect("removed");
        assert!(Streams::load(&images).expect("loaded").files.is_empty());
    }
}
