//! What criu answers.

use super::message::{Value, read};

/// An answer (`criu_resp`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    /// What it answers; of a failure also the kind of step that has failed.
    pub(super) kind: u64,
    /// Whether it was done.
    pub(super) success: bool,
    /// The process that was restored.
    pub(super) pid: Option<i32>,
    /// What is happening: a word and a process.
    pub(super) notice: Option<(String, i32)>,
    /// The errno of a failure.
    pub(super) errno: i32,
    /// criu's words for it.
    pub(super) message: String,
    /// What is supported.
    pub(super) features: Vec<Feature>,
    /// criu's version.
    pub(super) version: Option<Version>,
}

/// A version of criu: major, minor and sublevel.
pub(super) type Version = (u64, u64, u64);

/// Something that criu or the kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Knowing which memory has changed (`CONFIG_MEM_SOFT_DIRTY`).
    MemoryTracking,
    /// Fetching memory when it is needed (userfaultfd(2)).
    LazyPages,
}

impl Feature {
    const ALL: [Self; 2] = [Self::MemoryTracking, Self::LazyPages];

    /// Its field in `criu_features`.
    pub(super) const fn field(self) -> u32 {
        match self {
            Self::MemoryTracking => 1,
            Self::LazyPages => 2,
        }
    }

    /// Its name in criu's interface.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::MemoryTracking => "mem_track",
            Self::LazyPages => "lazy_pages",
        }
    }
}

/// What is happening while criu waits for an answer.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The namespaces of the first process, this one, are there; nothing runs in them yet.
    Namespaces(i32),
    /// The master of a terminal whose slave the processes have.
    Terminal(std::os::fd::OwnedFd),
    /// Memory can be fetched.
    Ready,
}

impl Response {
    /// Reads an answer; `None` for bytes that are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut response = Self::default();
        let mut answered = false;
        for (field, value) in read(bytes)? {
            match field {
                1 => {
                    response.kind = value.number();
                    answered = true;
                }
                2 => response.success = value.number() != 0,
                4 => response.pid = Some(field_of(value, 1)?.signed()),
                5 => response.notice = Some(notice(value)?),
                7 => response.errno = value.signed(),
                8 => response.features = features(value)?,
                9 => response.message = text(value),
                10 => response.version = Some(version(value)?),
                _ => {}
            }
        }
        answered.then_some(response)
    }
}

fn text(value: Value<'_>) -> String {
    String::from_utf8_lossy(value.bytes()).into_owned()
}

/// A field of a message in the message; 0 where it is absent.
fn field_of(message: Value<'_>, wanted: u32) -> Option<Value<'_>> {
    let fields = read(message.bytes())?;
    let found = fields.into_iter().find(|(field, _)| *field == wanted);
    Some(found.map_or(Value::Number(0), |(_, value)| value))
}

fn notice(message: Value<'_>) -> Option<(String, i32)> {
    Some((text(field_of(message, 1)?), field_of(message, 2)?.signed()))
}

fn version(message: Value<'_>) -> Option<Version> {
    let number = |field| Some(field_of(message, field)?.number());
    Some((number(1)?, number(2)?, number(4)?))
}

fn features(message: Value<'_>) -> Option<Vec<Feature>> {
    let fields = read(message.bytes())?;
    let has = |feature: &Feature| {
        fields.iter().any(|(field, value)| *field == feature.field() && value.number() != 0)
    };
    Some(Feature::ALL.into_iter().filter(has).collect())
}

#[cfg(test)]
mod tests {
    use super::super::message::Writer;
    use super::*;

    #[test]
    fn an_answer_is_read_whole() {
        let mut notify = Writer::default();
        notify.text(1, "post-restore");
        notify.signed(2, 4711);
        let mut version = Writer::default();
        version.number(1, 3);
        version.number(2, 17);
        version.number(4, 1);
        let mut features = Writer::default();
        features.number(1, 0);
        features.number(2, 1);
        features.number(3, 1);
        let mut restored = Writer::default();
        restored.signed(1, 9);
        let mut response = Writer::default();
        response.number(1, 6);
        response.number(2, 1);
        response.message(4, &restored);
        response.message(5, &notify);
        response.signed(7, -3);
        response.message(8, &features);
        response.text(9, "why");
        response.message(10, &version);
        response.text(900, "what is new");
        let expected = Response {
            kind: 6,
            success: true,
            pid: Some(9),
            notice: Some(("post-restore".to_owned(), 4711)),
            errno: -3,
            message: "why".to_owned(),
            features: vec![Feature::LazyPages],
            version: Some((3, 17, 1)),
        };
        assert_eq!(Response::decode(&response.into_bytes()), Some(expected));
    }

    #[test]
    fn other_bytes_are_no_answer() {
        assert_eq!(Response::decode(b""), None);
        assert_eq!(Response::decode(b"\x10\x01"), None);
        assert_eq!(Response::decode(b"\x08\x06\x2a\x05\x0a"), None);
    }
}
