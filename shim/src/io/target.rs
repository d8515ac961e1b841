//! Where a stream leads, as its name in a request says.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Where a stream leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Nowhere.
    Null,
    /// To what is at a path: as a rule a fifo.
    Path(PathBuf),
    /// To the end of a file, which is made if it is not there.
    File(PathBuf),
    /// To a program that reads it.
    Logger(LoggerCommand),
}

/// A program that reads the output of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoggerCommand {
    pub(super) program: PathBuf,
    /// The pairs of the query, key and value in turn.
    pub(super) arguments: Vec<Vec<u8>>,
    /// It says with a byte that it is ready (`binary-v2`); otherwise closing the pipe is enough.
    pub(super) confirms: bool,
}

impl Target {
    /// Reads a name: empty, a path, or a URL.
    ///
    /// # Errors
    /// `Unsupported` for a scheme that is not served, `InvalidInput` for a path that is not absolute.
    pub(super) fn parse(name: &str) -> io::Result<Self> {
        if name.is_empty() {
            return Ok(Self::Null);
        }
        let Some((scheme, rest)) = name.split_once("://") else {
            return absolute(name, PathBuf::from(name)).map(Self::Path);
        };
        // Nothing here is the part of a document.
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = || {
            let bytes = decode(path, false);
            absolute(name, PathBuf::from(std::ffi::OsString::from_vec(bytes)))
        };
        match scheme {
            "fifo" => path().map(Self::Path),
            "file" => path().map(Self::File),
            "binary" | "binary-v2" => Ok(Self::Logger(LoggerCommand {
                program: path()?,
                arguments: arguments(query),
                confirms: scheme == "binary-v2",
            })),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "standard stream {name:?}: {scheme:?} is not supported: streaming is for sandboxed \
                     runtimes; use a fifo (in the CRI plugin of containerd, io_type = \"fifo\"), file:// \
                     or binary://"
                ),
            )),
        }
    }
}

fn absolute(name: &str, path: PathBuf) -> io::Result<PathBuf> {
    if path.is_absolute() {
        return Ok(path);
    }
    let text = format!("standard stream {name:?}: the path is not absolute");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// The query as arguments: each key once, with its first value, as containerd's own shim does.
fn arguments(query: &str) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut all = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key, true);
        if !keys.contains(&key) {
            keys.push(key.clone());
            all.extend([key, decode(value, true)]);
        }
    }
    all
}

/// Undoes the percent encoding (RFC 3986 section 2.1), in a query also that of spaces as `+`. A percent
/// sign without two digits stands for itself.
fn decode(text: &str, plus_is_space: bool) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let Some((first, rest)) = bytes.split_first() {
        bytes = rest;
        let pair = (digit(rest.first()), digit(rest.get(1)));
        decoded.push(match (first, pair) {
            (b'%', (Some(high), Some(low))) => {
                bytes = rest.get(2..).unwrap_or_default();
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            (b'+', _) if plus_is_space => b' ',
            (other, _) => *other,
        });
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Target {
        Target::parse(name).expect("a target")
    }

    #[test]
    fn every_form() {
        assert_eq!(parsed(""), Target::Null);
        assert_eq!(parsed("/run/a b%20"), Target::Path("/run/a b%20".into()));
        assert_eq!(parsed("fifo:///run/a%20b"), Target::Path("/run/a b".into()));
        assert_eq!(parsed("file:///var/log/x"), Target::File("/var/log/x".into()));
        let command = |name| match parsed(name) {
            Target::Logger(command) => command,
            other => panic!("{other:?}"),
        };
        let plain = command("binary:///bin/logger?id=a%26b&path=/x+y&flag&id=again");
        assert_eq!(plain.program, PathBuf::from("/bin/logger"));
        assert!(!plain.confirms);
        let words: Vec<_> =
            plain.arguments.iter().map(|word| String::from_utf8_lossy(word)).collect();
        assert_eq!(words, ["id", "a&b", "path", "/x y", "flag", ""]);
        let second = command("binary-v2:///bin/logger");
        assert!(second.confirms && second.arguments.is_empty());
    }

    #[test]
    fn percent_signs_that_encode_nothing_stay() {
        assert_eq!(decode("100%", false), b"100%");
        assert_eq!(decode("%zz%4", false), b"%zz%4");
        assert_eq!(decode("%41+%2b", true), b"A +");
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        for name in ["ttrpc+unix:///run/x.sock?streaming_id=1", "http://x/", "vsock://2:1"] {
            let error = Target::parse(name).expect_err("an error");
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{name}");
            assert!(error.to_string().contains(name), "{error}");
        }
        for name in ["relative", "file://relative/path", "binary://", "fifo://"] {
            let error = Target::parse(name).expect_err("an error");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
