//! `linux.intelRdt`.

use super::invalid;
use crate::error::Result;
use crate::spec::{IntelRdt, Linux};

/// Directories of a resctrl file system that are no classes of service.
const RESERVED: [&str; 5] = [".", "..", "info", "mon_groups", "mon_data"];

pub(super) fn check(linux: &Linux) -> Result<()> {
    linux.intel_rdt.as_ref().map_or(Ok(()), settings)
}

impl IntelRdt {
    /// Checks the settings as those of a configuration.
    pub(crate) fn check(&self) -> Result<()> {
        settings(self)
    }
}

fn settings(settings: &IntelRdt) -> Result<()> {
    if let Some(class) = &settings.clos_id
        && class != "/"
        && (class.contains(['/', '\n']) || RESERVED.contains(&class.as_str()))
    {
        let message = format!("{class:?} is not the name of a class of service");
        return Err(invalid("linux.intelRdt.closID", message).with_hint("`/` is the default one"));
    }
    if let Some(schema) = &settings.mem_bw_schema {
        let field = "linux.intelRdt.memBwSchema";
        if !schema.starts_with("MB:") {
            return Err(invalid(field, "does not begin with `MB:`"));
        }
        if schema.contains('\n') {
            return Err(invalid(field, "has more than one line"));
        }
    }
    let lines = settings.l3_cache_schema.iter().map(|schema| ("l3CacheSchema".to_owned(), schema));
    let more = settings.schemata.iter().enumerate();
    for (name, schema) in lines.chain(more.map(|(at, one)| (format!("schemata[{at}]"), one))) {
        if !schema.lines().all(is_line) {
            let message = format!("{schema:?} is not of the form RESOURCE:ID=VALUE;ID=VALUE");
            return Err(invalid(format!("linux.intelRdt.{name}"), message));
        }
    }
    Ok(())
}

/// What the kernel's parser splits: the resource, then its domains.
fn is_line(line: &str) -> bool {
    line.split_once(':').is_some_and(|(resource, domains)| {
        !resource.trim().is_empty() && domains.split(';').all(|domain| domain.contains('='))
    })
}
