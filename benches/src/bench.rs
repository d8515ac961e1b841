//! The measurement as a whole: the runtimes, the interleaved rounds, the collected values.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use serde::Serialize;

use crate::Outcome;
use crate::arguments::Options;
use crate::bundle::{self, Bundle, Payload};
use crate::host::{Workspace, check_interrupt};
use crate::measure::{self, Cost};
use crate::runtime::Runtime;

/// The values of one runtime, one per round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Values {
    pub(crate) runtime: String,
    pub(crate) values: Vec<f64>,
}

/// One measured quantity of one row, for all runtimes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) row: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) runtimes: Vec<Values>,
}

/// One value of one runtime in one round: metric, unit, value.
pub(crate) type Reading = (&'static str, &'static str, f64);

/// Everything a row needs.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) runtimes: Vec<Runtime>,
    pub(crate) workspace: Arc<Workspace>,
    pub(crate) series: Vec<Series>,
    /// What went wrong or needs saying.
    pub(crate) notes: Vec<String>,
    /// Further tables.
    pub(crate) appendix: Vec<String>,
}

impl Bench {
    /// Makes the root file system and one state directory per runtime.
    pub(crate) fn new(options: Options, workspace: Workspace) -> Outcome<Self> {
        bundle::make_rootfs(&workspace.directory.join("rootfs"))?;
        let runtimes = options.runtimes.clone();
        Self::with_runtimes(options, Arc::new(workspace), &runtimes)
    }

    fn with_runtimes(
        options: Options,
        workspace: Arc<Workspace>,
        runtimes: &[Runtime],
    ) -> Outcome<Self> {
        let state = |name: &str| workspace.directory.join("state").join(name);
        let runtimes = runtimes
            .iter()
            .map(|runtime| runtime.with_root(&state(&runtime.name)))
            .collect::<Outcome<_>>()?;
        Ok(Self {
            options,
            runtimes,
            workspace,
            series: Vec::new(),
            notes: Vec::new(),
            appendix: Vec::new(),
        })
    }

    /// The part of the measurement whose runtimes are shims of containerd.
    pub(crate) fn shims(&self) -> Outcome<Self> {
        let options = self.options.clone();
        Self::with_runtimes(options, Arc::clone(&self.workspace), &self.options.shims)
    }

    /// Nothing was measured or is to be said.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty() && self.notes.is_empty() && self.appendix.is_empty()
    }

    /// A written bundle for one container; `id` is made unique per runtime.
    pub(crate) fn bundle(
        &self,
        runtime: &Runtime,
        id: &str,
        payload: Payload,
        memory: Option<u64>,
    ) -> Outcome<Bundle> {
        let id = format!("{}-{id}", runtime.name);
        let bundle = Bundle {
            directory: self.workspace.directory.join("bundles").join(&id),
            rootfs: self.workspace.directory.join("rootfs"),
            cgroup_parent: self.workspace.cgroup_parent.clone(),
            id,
            payload,
            memory,
        };
        bundle.write()?;
        Ok(bundle)
    }

    /// The file that holds the messages of the last command.
    pub(crate) fn messages(&self) -> PathBuf {
        self.workspace.directory.join("messages")
    }

    /// Runs one command of a runtime and measures it.
    pub(crate) fn measure(&self, runtime: &Runtime, verb: &str, bundle: &Bundle) -> Outcome<Cost> {
        measure::measure(runtime.command(verb, bundle), &self.messages())
    }

    /// Adds one value.
    pub(crate) fn record(&mut self, row: &str, runtime: &str, (metric, unit, value): Reading) {
        let position = self.series.iter().position(|s| s.row == row && s.metric == metric);
        let position = position.unwrap_or_else(|| {
            let (row, metric, unit) = (row.into(), metric.into(), unit.into());
            self.series.push(Series { row, metric, unit, runtimes: Vec::new() });
            self.series.len() - 1
        });
        let Some(series) = self.series.get_mut(position) else {
            return;
        };
        match series.runtimes.iter_mut().find(|values| values.runtime == runtime) {
            Some(values) => values.values.push(value),
            None => series.runtimes.push(Values { runtime: runtime.into(), values: vec![value] }),
        }
    }

    /// The values recorded for one runtime.
    pub(crate) fn values(&self, row: &str, metric: &str, runtime: &str) -> Option<&[f64]> {
        let series = self.series.iter().find(|s| s.row == row && s.metric == metric)?;
        let values = series.runtimes.iter().find(|values| values.runtime == runtime)?;
        Some(&values.values)
    }

    /// Measures all runtimes round by round, the order reversed in every other round, so that none
    /// always comes after the same one (the kernel tears down namespaces in the background). The
    /// first rounds warm up and are not recorded. A runtime that fails is left out of the row.
    pub(crate) fn interleave(
        &mut self,
        row: &str,
        rounds: usize,
        mut once: impl FnMut(&Self, &Runtime) -> Outcome<Vec<(&'static str, Reading)>>,
    ) -> Outcome<()> {
        let mut runtimes = self.runtimes.clone();
        let warm_up = self.options.warm_up();
        for round in 0..warm_up + rounds {
            let mut failed = Vec::new();
            for runtime in &runtimes {
                check_interrupt()?;
                thread::sleep(self.options.pause);
                match once(self, runtime) {
                    Ok(readings) if round >= warm_up => {
                        for (row, reading) in readings {
                            self.record(row, &runtime.name, reading);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        check_interrupt()?;
                        self.notes.push(format!("{row}: {} failed: {error}", runtime.name));
                        failed.push(runtime.name.clone());
                    }
                }
            }
            runtimes.retain(|runtime| !failed.contains(&runtime.name));
            runtimes.reverse();
        }
        Ok(())
    }
}
