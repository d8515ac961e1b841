//! The `schemata` file of a class of service: which share of a cache or of the memory bandwidth it gets.

use std::collections::BTreeMap;

use crate::spec::IntelRdt;

/// What is written to the file, one write for each text: in one write the kernel takes a domain once only.
///
/// `schemata` comes last, so that it counts where the older fields name the same domain (config-linux.md
/// "IntelRdt").
pub(super) fn writes(settings: &IntelRdt) -> Vec<String> {
    let (cache, bandwidth) = (&settings.l3_cache_schema, &settings.mem_bw_schema);
    let of_cache = cache.iter().flat_map(|schema| schema.lines());
    // The bandwidth has a field of its own, which wins over the field of the cache.
    let of_cache = of_cache.filter(|line| bandwidth.is_none() || !line.starts_with("MB:"));
    let older = text(of_cache.chain(bandwidth.as_deref()));
    let newer = text(settings.schemata.iter().flat_map(|schema| schema.lines()));
    [older, newer].into_iter().filter(|lines| !lines.is_empty()).collect()
}

fn text<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(|line| format!("{line}\n")).collect()
}

/// The first domain in which the file differs from what was to be written, in words.
pub(super) fn difference(wanted: &[String], file: &str) -> Option<String> {
    let found: BTreeMap<_, _> = domains(file).collect();
    wanted_domains(wanted).iter().find_map(|(domain @ (resource, number), value)| {
        match found.get(domain) {
            Some(other) if other == value => None,
            Some(other) => Some(format!("{resource}:{number} is {other}, not {value}")),
            None => Some(format!("{resource} has no domain {number}")),
        }
    })
}

/// Resource, domain and value. What the kernel prints is not what was written: it indents the resource,
/// orders the domains and adds or drops leading zeros.
fn domains(text: &str) -> impl Iterator<Item = ((String, String), String)> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.flat_map(|(resource, domains)| {
        domains.split(';').filter_map(move |domain| {
            let (number, value) = domain.split_once('=')?;
            let resource = resource.trim().to_owned();
            Some(((resource, plain(number)), plain(value)))
        })
    })
}

/// The lines that put those shares into force again which the file has and which are about to change.
///
/// # Errors
/// The first domain that the file does not have, in words: the kernel has no share of it.
pub(super) fn previous(wanted: &[String], file: &str) -> Result<String, String> {
    let found: BTreeMap<_, _> = domains(file).collect();
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for domain @ (resource, number) in wanted_domains(wanted).keys() {
        let old = found.get(domain).ok_or_else(|| format!("domain {number} of {resource}"))?;
        lines.entry(resource.clone()).or_default().push(format!("{number}={old}"));
    }
    let lines = lines.iter().map(|(resource, all)| format!("{resource}:{}\n", all.join(";")));
    Ok(lines.collect())
}

fn wanted_domains(wanted: &[String]) -> BTreeMap<(String, String), String> {
    wanted.iter().flat_map(|lines| domains(lines)).collect()
}

fn plain(number: &str) -> String {
    let digits = number.trim().to_ascii_lowercase();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits).trim_start_matches('0');
    if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> IntelRdt {
        serde_json::from_str(text).expect(text)
    }

    #[test]
    fn the_rules_on_the_fields_are_kept() {
        for (text, lines) in [
            ("{}", vec![]),
            (r#"{"l3CacheSchema":"L3:0=f"}"#, vec!["L3:0=f\n"]),
            (r#"{"memBwSchema":"MB:0=20"}"#, vec!["MB:0=20\n"]),
            (r#"{"l3CacheSchema":"L3:0=f","memBwSchema":"MB:0=20"}"#, vec!["L3:0=f\nMB:0=20\n"]),
            (
                r#"{"l3CacheSchema":"L3:0=f\nMB:0=70\nL2:0=1","memBwSchema":"MB:0=20"}"#,
                vec!["L3:0=f\nL2:0=1\nMB:0=20\n"],
            ),
            (r#"{"l3CacheSchema":"L3:0=f\nMB:0=70"}"#, vec!["L3:0=f\nMB:0=70\n"]),
            (
                r#"{"schemata":["L3:0=3","L2:0=1"],"l3CacheSchema":"L3:0=f"}"#,
                vec!["L3:0=f\n", "L3:0=3\nL2:0=1\n"],
            ),
        ] {
            assert_eq!(writes(&settings(text)), lines, "{text}");
        }
    }

    #[test]
    fn a_file_is_compared_by_its_meaning() {
        let file = "    MB:0= 20;1=  70\n    L3:0=00ff;1=7F0\n";
        let differs = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            difference(&lines, file)
        };
        assert_eq!(differs(&["L3:1=7f0;0=0xff\n", "MB:1=70\n"]), None);
        assert_eq!(differs(&["L3:0=1\n", "L3:0=ff\n"]), None, "the last counts");
        assert_eq!(differs(&["L3:0=f\n"]).as_deref(), Some("L3:0 is ff, not f"));
        assert_eq!(differs(&["L3:2=f\n"]).as_deref(), Some("L3 has no domain 2"));
        assert_eq!(differs(&["L2:0=f\n"]).as_deref(), Some("L2 has no domain 0"));
    }

    #[test]
    fn what_changes_can_be_put_back() {
        let file = "    MB:0= 20;1=  70\n    L3:0=00ff;1=7F0\n";
        let before = |lines: &str| previous(&[lines.to_owned()], file);
        assert_eq!(before("L3:1=1\n").as_deref(), Ok("L3:1=7f0\n"));
        assert_eq!(before("L3:1=1;0=3\nMB:0=90\n").as_deref(), Ok("L3:0=ff;1=7f0\nMB:0=20\n"));
        assert_eq!(before("L2:0=1\n"), Err("domain 0 of L2".to_owned()));
    }
}
