//! AppArmor profiles, SELinux labels, keyrings.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::Answers;
use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, strings, text};

/// The label of the process, and of the files, as engines choose them.
const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const FILE: &str = "system_u:object_r:container_file_t:s0:c1,c2";

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("apparmor/profile", "config.md#process: apparmorProfile, of exec as well", |t| {
        let profile = Profile::load(t)?;
        let c = t
            .bundle()
            .file("secret", "s")
            .set("/process/apparmorProfile", profile.name.clone())
            .ops(&["read=/proc/self/attr/current", "open=/secret", "sleep"])
            .start()?;
        let answers = c.answers(2)?;
        let exec = c.exec_probe(&[], &["read=/proc/self/attr/current", "open=/secret"])?;
        for answers in [answers, exec] {
            let label = answers.value("read=/proc/self/attr/current")?;
            equal("label", &label, &json!(format!("{} (enforce)\n", profile.name)))?;
            answers.fails("open=/secret", "EACCES")?;
        }
        c.kill("KILL")?.ok()?;
        c.stopped()
    })
    .rows(&["process.apparmorProfile"])
    .needs(&[Need::AppArmor]),
    Case::new("apparmor/without-proc", "config.md#process: no /proc in the image is needed", |t| {
        let profile = Profile::load(t)?;
        let bundle = t
            .bundle()
            .unmount("/proc")
            .remove("/linux/maskedPaths")
            .remove("/linux/readonlyPaths")
            .file("secret", "s")
            .set("/process/apparmorProfile", profile.name.clone());
        bundle.probe(&["open=/secret"])?.fails("open=/secret", "EACCES")
    })
    .rows(&["process.apparmorProfile"])
    .needs(&[Need::AppArmor]),
    Case::new("apparmor/exec-option", "convention: exec --apparmor", |t| {
        let profile = Profile::load(t)?;
        let c = t.bundle().file("secret", "s").ops(&["sleep"]).start()?;
        let answers = c.exec_probe(&["--apparmor", &profile.name], &["open=/secret"])?;
        answers.fails("open=/secret", "EACCES")
    })
    .rows(&["process.apparmorProfile"])
    .needs(&[Need::AppArmor]),
    Case::new(
        "apparmor/missing-profile",
        "config.md#process: a missing profile is an error",
        |t| {
            t.bundle()
                .set("/process/apparmorProfile", "conformance-not-loaded")
                .refused("apparmor")
                .map(drop)
        },
    )
    .rows(&["process.apparmorProfile"])
    .needs(&[Need::AppArmor]),
    Case::new("apparmor/off", "config.md#process: without AppArmor an error", |t| {
        t.bundle().set("/process/apparmorProfile", "some-profile").refused("apparmor").map(drop)
    })
    .rows(&["process.apparmorProfile"])
    .needs(&[Need::NoAppArmor]),
    Case::new("selinux/process-label", "config.md#process: selinuxLabel, of exec as well", |t| {
        let op = "read=/proc/self/attr/current";
        let bundle = t.bundle().set("/process/selinuxLabel", PROCESS);
        let c = bundle.ops(&[op, "syscall=getppid", "sleep"]).start()?;
        let exec = c.exec_probe(&[], &[op])?;
        for answers in [c.answers(2)?, exec] {
            let label = answers.value(op)?;
            equal("label", label.as_str().unwrap_or_default().trim_end_matches('\0'), PROCESS)?;
        }
        Ok(())
    })
    .rows(&["process.selinuxLabel"])
    .needs(&[Need::Selinux]),
    Case::new("selinux/exec-option", "convention: exec --process-label", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let op = "read=/proc/self/attr/current";
        let answers = c.exec_probe(&["--process-label", PROCESS], &[op])?;
        contains("label", answers.value(op)?.as_str().unwrap_or_default(), PROCESS)
    })
    .rows(&["process.selinuxLabel"])
    .needs(&[Need::Selinux]),
    Case::new(
        "selinux/unknown-label",
        "config.md#process: a label of no policy is an error",
        |t| t.bundle().set("/process/selinuxLabel", "a:b:c:d").refused("selinux|label").map(drop),
    )
    .rows(&["process.selinuxLabel"])
    .needs(&[Need::Selinux]),
    Case::new("selinux/off", "config.md#process: without SELinux an error", |t| {
        t.bundle().set("/process/selinuxLabel", PROCESS).refused("selinux").map(drop)
    })
    .rows(&["process.selinuxLabel"])
    .needs(&[Need::NoSelinux]),
    Case::new("selinux/mount-label", "config-linux.md#mount-label: context of the mounts", |t| {
        let label = "xattr=/dev/mqueue,security.selinux";
        let answers = t
            .bundle()
            .mount("/own", "tmpfs", "tmpfs", &["context=system_u:object_r:tmp_t:s0"])
            .mount("/data", "tmpfs", "tmpfs", &["size=1m"])
            .set("/linux/mountLabel", FILE)
            .probe(&["report", label])?;
        equal("/dev/mqueue", &answers.value(label)?, &json!(FILE))?;
        let report = answers.value("report")?;
        for place in ["/dev", "/dev/pts", "/dev/shm", "/data", "/sys/firmware"] {
            contains(place, &mount_line(&report, place)?, &format!("context=\"{FILE}\""))?;
        }
        contains("/own", &mount_line(&report, "/own")?, "context=system_u:object_r:tmp_t:s0")?;
        for place in ["/proc", "/sys"] {
            ensure(!mount_line(&report, place)?.contains("context="), place)?;
        }
        Ok(())
    })
    .rows(&["linux.mountLabel"])
    .needs(&[Need::Selinux]),
    Case::new(
        "selinux/mount-label-off",
        "config-linux.md#mount-label: without SELinux an error",
        |t| {
            t.bundle()
                .set("/linux/mountLabel", FILE)
                .refused("mountLabel|selinux|context")
                .map(drop)
        },
    )
    .rows(&["linux.mountLabel"])
    .needs(&[Need::NoSelinux]),
    Case::new("keyring/own", "convention: a session keyring _ses.ID, of exec as well", |t| {
        let bundle = t.bundle().ops(&["keyring", "sleep"]);
        let name = format!("_ses.{}", bundle.id());
        let c = bundle.start()?;
        let own = c.answers(1)?.value("keyring")?;
        ensure(text(&own, "/text")?.ends_with(&format!(";{name}")), format!("keyring {own}"))?;
        let exec = c.exec_probe(&[], &["keyring"])?.value("keyring")?;
        equal("keyring of exec", &exec["serial"], &own["serial"])
    }),
    Case::new("keyring/exec-user", "convention: the keyring of another user's exec as well", |t| {
        let c = t.bundle().ops(&["keyring", "sleep"]).start()?;
        let own = c.answers(1)?.value("keyring")?;
        let asked = ["--user", "1000:1000"];
        let exec = c.exec_probe(&asked, &["syscall=keyctl,0,-3,0"])?;
        equal("keyring of exec", &exec.value("syscall=keyctl,0,-3,0")?, &own["serial"])
    })
    .needs(&[Need::Root]),
    Case::new("keyring/none", "convention: --no-new-keyring keeps the caller's", |t| {
        let output = Command::new(t.probe()).arg("keyring").output()?;
        let callers = Answers::of(&String::from_utf8_lossy(&output.stdout))?.value("keyring")?;
        let bundle = t.bundle().option(&["--no-new-keyring"]).ops(&["keyring", "sleep"]);
        let c = bundle.start()?;
        let own = c.answers(1)?.value("keyring")?;
        equal("keyring", &own["serial"], &callers["serial"])
    })
    .needs(&[Need::Root]),
];

/// The options of the last mount at a place.
fn mount_line(report: &Value, place: &str) -> Check<String> {
    let mut list = report["mounts"].as_array().into_iter().flatten();
    let found = list.rfind(|mount| mount["point"] == place);
    match found {
        // The report splits the options at commas, of which a label may have some.
        Some(mount) => Ok(strings(mount, "/super")?.join(",")),
        None => broken(format!("no mount at {place}: {}", report["mounts"])),
    }
}

/// A loaded profile that allows all but one file; unloaded on drop.
struct Profile {
    name: String,
    file: std::path::PathBuf,
}

impl Profile {
    fn load(t: &Trial) -> Check<Self> {
        let (name, file) = (t.new_id(), t.new_path("profile"));
        let rules = "file, capability, network, mount, umount, signal, ptrace, unix, userns,";
        let text = format!(
            "abi <abi/4.0>,\nprofile {name} flags=(attach_disconnected,mediate_deleted) {{\n\
             {rules}\n deny /secret rw,\n}}\n"
        );
        fs::write(&file, text)?;
        let output = Command::new("apparmor_parser")
            .args(["--skip-cache", "--replace"])
            .arg(&file)
            .output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return broken(format!("apparmor_parser: {words}"));
        }
        Ok(Self { name, file })
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = Command::new("apparmor_parser").arg("--remove").arg(&self.file).output();
    }
}
