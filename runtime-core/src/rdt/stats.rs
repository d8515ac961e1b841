//! What a container's class of service has, and what its processes use of the cache and of the memory
//! bandwidth.
//!
//! The keys are those of `intel_rdt` in `runc events --stats`; `domain`, the number of the cache, is
//! added.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use super::Group;
use crate::sys::file::read_text;

/// Shares and use of a container in the resctrl file system; what the processor does not have is
/// absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RdtStats {
    /// What the level 3 cache can be divided into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    /// The lines for the level 3 cache in the `schemata` file of the default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema_root: Option<String>,
    /// The same of the container's class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    /// What the memory bandwidth can be divided into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    /// The line for the memory bandwidth in the `schemata` file of the default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema_root: Option<String>,
    /// The same of the container's class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// Memory bandwidth, by domain; absent where nobody counts for this container alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<MbmStats>>,
    /// Cache, by domain; absent as `mbm_stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<CmtStats>>,
}

/// What the level 3 cache can be divided into (resctrl.rst, "Info directory").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct L3CacheInfo {
    /// The mask of the whole cache, in hexadecimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cbm_mask: String,
    /// The fewest bits of a mask.
    pub min_cbm_bits: u64,
    /// How many classes there can be.
    pub num_closids: u64,
}

/// What the memory bandwidth can be divided into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemBwInfo {
    /// The step between two shares, in percent.
    pub bandwidth_gran: u64,
    /// Whether delays grow with the share in proportion: 1 or 0.
    pub delay_linear: u64,
    /// The least share, in percent.
    pub min_bandwidth: u64,
    /// How many classes there can be.
    pub num_closids: u64,
}

/// Memory bandwidth through one level 3 cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MbmStats {
    /// The number of the cache.
    pub domain: u32,
    /// Bytes from and to all memory; 0 where that is not counted.
    pub mbm_total_bytes: u64,
    /// Bytes from and to the memory of the cache's own node; 0 where that is not counted.
    pub mbm_local_bytes: u64,
}

/// Use of one level 3 cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CmtStats {
    /// The number of the cache.
    pub domain: u32,
    /// Bytes of it.
    pub llc_occupancy: u64,
}

impl Group {
    /// Reads everything. What cannot be read is absent: the kernel itself answers for some counters that
    /// they are unavailable for a moment.
    pub(crate) fn stats(&self) -> RdtStats {
        let info = self.root.join("info");
        let mut stats = RdtStats::default();
        let lines = |directory: &Path, resource: &str| {
            let text = read_text(&directory.join("schemata")).ok()?;
            let lines: Vec<&str> =
                text.lines().map(str::trim).filter(|line| line.starts_with(resource)).collect();
            (!lines.is_empty()).then(|| lines.join("\n"))
        };
        // Code and data can have shares of their own (L3CODE, L3DATA).
        for name in ["L3", "L3CODE"].map(|name| info.join(name)) {
            if stats.l3_cache_info.is_none() && name.join("cbm_mask").exists() {
                stats.l3_cache_info = Some(L3CacheInfo {
                    cbm_mask: value(&name, "cbm_mask").unwrap_or_default(),
                    min_cbm_bits: value(&name, "min_cbm_bits").unwrap_or_default(),
                    num_closids: value(&name, "num_closids").unwrap_or_default(),
                });
                stats.l3_cache_schema_root = lines(&self.root, "L3");
                stats.l3_cache_schema = lines(&self.class, "L3");
            }
        }
        let bandwidth = info.join("MB");
        if bandwidth.join("num_closids").exists() {
            stats.mem_bw_info = Some(MemBwInfo {
                bandwidth_gran: value(&bandwidth, "bandwidth_gran").unwrap_or_default(),
                delay_linear: value(&bandwidth, "delay_linear").unwrap_or_default(),
                min_bandwidth: value(&bandwidth, "min_bandwidth").unwrap_or_default(),
                num_closids: value(&bandwidth, "num_closids").unwrap_or_default(),
            });
            stats.mem_bw_schema_root = lines(&self.root, "MB:");
            stats.mem_bw_schema = lines(&self.class, "MB:");
        }
        if let Some(counting) = self.counting() {
            count(&counting.join("mon_data"), &mut stats);
        }
        stats
    }

    /// The directory that counts for this container alone: its monitoring group, or a class that no
    /// other can have joined by its name.
    fn counting(&self) -> Option<&Path> {
        self.monitor.as_deref().or_else(|| (!self.shared).then_some(&*self.class))
    }
}

fn value<T: FromStr>(directory: &Path, file: &str) -> Option<T> {
    read_text(&directory.join(file)).ok()?.trim().parse().ok()
}

/// The counters of all domains, which are directories such as `mon_L3_00`.
fn count(directory: &Path, stats: &mut RdtStats) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let domain = |name: String| Some((name.strip_prefix("mon_L3_")?.parse().ok()?, name));
    let mut domains: Vec<(u32, String)> = names.filter_map(domain).collect();
    domains.sort_unstable();
    let (mut bandwidth, mut cache) = (Vec::new(), Vec::new());
    for (domain, name) in domains {
        let path = directory.join(name);
        let (total, local) = (value(&path, "mbm_total_bytes"), value(&path, "mbm_local_bytes"));
        if total.is_some() || local.is_some() {
            bandwidth.push(MbmStats {
                domain,
                mbm_total_bytes: total.unwrap_or_default(),
                mbm_local_bytes: local.unwrap_or_default(),
            });
        }
        let occupancy = value(&path, "llc_occupancy");
        cache.extend(occupancy.map(|llc_occupancy| CmtStats { domain, llc_occupancy }));
    }
    stats.mbm_stats = (!bandwidth.is_empty()).then_some(bandwidth);
    stats.cmt_stats = (!cache.is_empty()).then_some(cache);
}
