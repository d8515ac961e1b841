//! Programs that take the output of containers (`binary://`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::life::ROOT;
use crate::case::Case;
use crate::failure::Check;
use crate::shim::daemon::with;
use crate::shim::stdio::Stdio;
use crate::shim::task::Creation;
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-stdio/logger", "binary:// runs a logger that gets all of both streams", |t| {
        with(t, |d| {
            let (uri, base) = logger(t, "")?;
            let stdio = Stdio { stdout: uri.clone(), stderr: uri, ..Stdio::default() };
            let task = d.start(t.bundle().ops(TALK), stdio)?;
            task.ends("", 0)?;
            task.delete("").ok()?;
            let text = |end: &str| fs::read_to_string(format!("{base}.{end}")).unwrap_or_default();
            t.until("the output", || text("out") == "to-out\n" && text("err") == "to-err\n")?;
            let names = format!("{} {}\n", task.id, crate::shim::NAMESPACE);
            equal("what the logger was told", &text("env"), &names)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-stdio/logger-slow",
        "a logger that needs a second to finish is let finish",
        |t| {
            with(t, |d| {
                let (uri, base) = logger(t, "sleep 1")?;
                let stdio = Stdio { stdout: uri.clone(), stderr: uri, ..Stdio::default() };
                let task = d.start(t.bundle().ops(TALK), stdio)?;
                task.ends("", 0)?;
                task.delete("").ok()?;
                t.until("the end of the logger", || PathBuf::from(format!("{base}.end")).exists())
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-stdio/logger-fails",
        "a logger that ends before it is ready fails the create",
        |t| {
            with(t, |d| {
                let path = t.path("bad-logger");
                script(&path, "#!/bin/sh\nexit 1\n")?;
                let uri = format!("binary://{}?x=y", path.display());
                let task = d.launch(t.bundle().ops(TALK))?;
                let stdio = Stdio { stdout: uri.clone(), stderr: uri, ..Stdio::default() };
                task.create(Creation { stdio, ..<_>::default() }).fails()?;
                d.story(&task, "")
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-stdio/logger-missing", "a logger that is not there fails the create", |t| {
        with(t, |d| {
            let uri = "binary:///no/such/logger".to_owned();
            let task = d.launch(t.bundle().ops(TALK))?;
            let stdio = Stdio { stdout: uri.clone(), stderr: uri, ..Stdio::default() };
            task.create(Creation { stdio, ..<_>::default() }).fails()?;
            d.story(&task, "")
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-stdio/logger-exec",
        "an exec has a logger of its own, with the names of its container",
        |t| {
            with(t, |d| {
                let (uri, base) = logger(t, "")?;
                let task = d.start(t.bundle().ops(&["sleep"]), Stdio::default())?;
                let stdio = Stdio { stdout: uri.clone(), stderr: uri, ..Stdio::default() };
                task.exec("e", &crate::shim::messages::probe(TALK), stdio).ok()?;
                task.start("e").ok()?;
                task.ends("e", 0)?;
                task.delete("e").ok()?;
                let text =
                    |end: &str| fs::read_to_string(format!("{base}.{end}")).unwrap_or_default();
                t.until("the output", || text("out") == "to-out\n" && text("err") == "to-err\n")
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-stdio/logger-ready",
        "a logger of version 2 says a byte when it is ready",
        |t| {
            with(t, |d| {
                let path = t.path("ready-logger");
                script(&path, "#!/bin/sh\nprintf r >&5\nexec 5>&-\ncat <&3 >\"$2\"\n")?;
                let kept = t.path("kept");
                let uri = format!("binary-v2://{}?file={}", path.display(), kept.display());
                let stdio = Stdio { stdout: uri.clone(), stderr: uri, ..Stdio::default() };
                let task = d.start(t.bundle().ops(TALK), stdio)?;
                task.ends("", 0)?;
                task.delete("").ok()?;
                let text = || fs::read_to_string(&kept).unwrap_or_default();
                t.until("the output", || text() == "to-out\n")
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-stdio/logger-not-ready", "one that ends without it fails the create", |t| {
        with(t, |d| {
            let path = t.path("silent-logger");
            script(&path, "#!/bin/sh\nexec 5>&-\nexit 1\n")?;
            let uri = format!("binary-v2://{}", path.display());
            let task = d.launch(t.bundle().ops(TALK))?;
            let stdio = Stdio { stdout: uri.clone(), stderr: uri, ..Stdio::default() };
            task.create(Creation { stdio, ..<_>::default() }).fails()?;
            d.story(&task, "")
        })
    })
    .needs(ROOT),
];

const TALK: &[&str] = &["echo=to-out", "stderr=to-err"];

/// A logger that copies the streams to files, and the start of their names.
fn logger(t: &Trial, last: &str) -> Check<(String, String)> {
    let path = t.new_path("logger");
    let base = t.new_path("logged").display().to_string();
    let text = format!(
        "#!/bin/sh\necho \"$CONTAINER_ID $CONTAINER_NAMESPACE\" >\"$2.env\"\n\
         (exec 5>&-; cat <&3 >\"$2.out\") & (exec 5>&-; cat <&4 >\"$2.err\") &\n\
         exec 5>&-\nwait\n{last}\n: >\"$2.end\"\n"
    );
    script(&path, &text)?;
    Ok((format!("binary://{}?base={base}", path.display()), base))
}

fn script(path: &std::path::Path, text: &str) -> Check {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, PermissionsExt::from_mode(0o755))?)
}
