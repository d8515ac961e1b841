//! The command line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Options that take a value.
const WITH_VALUE: [&str; 12] = [
    "--root",
    "--log",
    "--log-format",
    "--bundle",
    "--console-socket",
    "--pid-file",
    "--cwd",
    "--user",
    "--env",
    "--cap",
    "--cgroup",
    "--process",
];

/// The words of the command line.
pub(crate) struct Line {
    /// The first word that is no option.
    pub(crate) verb: String,
    options: HashMap<String, String>,
    /// The other words.
    pub(crate) words: Vec<String>,
}

impl Line {
    /// Sorts the words.
    pub(crate) fn read() -> Self {
        let mut line = Self { verb: String::new(), options: HashMap::new(), words: Vec::new() };
        let mut rest = std::env::args().skip(1);
        while let Some(word) = rest.next() {
            // The words after an exec's container are its program's.
            let own = line.verb == "exec" && !line.words.is_empty() || line.verb.ends_with("init");
            if own || !word.starts_with("--") {
                if line.verb.is_empty() {
                    line.verb = word;
                } else {
                    line.words.push(word);
                }
            } else if let Some((name, value)) = word.split_once('=') {
                line.options.insert(name.to_owned(), value.to_owned());
            } else if WITH_VALUE.contains(&word.as_str()) {
                line.options.insert(word, rest.next().unwrap_or_default());
            } else {
                line.options.insert(word, String::new());
            }
        }
        if line.verb == "mounts" && !line.words.is_empty() {
            line.verb = format!("mounts {}", line.words.remove(0));
        }
        line
    }

    /// The value of an option.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// A word by its place.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// The state directory of the container, whatever its name says.
    pub(crate) fn state(&self) -> PathBuf {
        Path::new(self.option("--root").unwrap_or("/nowhere")).join(self.word(0))
    }

    /// The folder in which this program may make files.
    pub(crate) fn ground(&self) -> PathBuf {
        let root = Path::new(self.option("--root").unwrap_or("/nowhere/state"));
        root.parent().unwrap_or(root).to_owned()
    }
}
