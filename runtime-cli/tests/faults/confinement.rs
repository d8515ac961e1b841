//! What confines a process, as far as it can be read from outside.

use std::fs;

/// Lines that a container has in common with every other one of the same configuration.
pub(crate) fn of(pid: i64, id: &str) -> String {
    let mut lines = Vec::new();
    for line in file(pid, "status").lines() {
        let name = line.split(':').next().unwrap_or_default();
        let kept = ["Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Seccomp_filters"];
        // SigQ counts what the user has queued anywhere.
        let signals = name.starts_with("Sig") && name != "SigQ";
        if kept.contains(&name) || name.starts_with("Cap") || signals {
            lines.push(line.to_owned());
        }
    }
    lines.extend(file(pid, "limits").lines().map(str::to_owned));
    lines.push(format!("oom score adjustment {}", file(pid, "oom_score_adj")));
    lines.extend(file(pid, "cgroup").lines().map(|line| line.replace(id, "ID")));
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
        let own = of(&pid.to_string()) != of("self");
        lines.push(format!("{kind} namespace of its own: {own}"));
    }
    lines.extend(file(pid, "mountinfo").lines().map(mount));
    lines.extend(descriptors(pid));
    let stat = file(pid, "stat");
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
    let pid = pid.to_string();
    let leads = [fields.nth(2), fields.next()] == [Some(pid.as_str()); 2];
    lines.push(format!("leads its group and session: {leads}"));
    for (hierarchy, limit) in [("pids", "pids.max"), ("devices", "devices.list")] {
        let path = format!("/sys/fs/cgroup/{hierarchy}/{id}/{limit}");
        lines.push(format!("{limit}: {}", fs::read_to_string(path).unwrap_or_default()));
    }
    lines.join("\n")
}

fn file(pid: i64, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

/// A mount without the numbers that are new each time.
fn mount(line: &str) -> String {
    let (own, rest) = line.split_once(" - ").unwrap_or_default();
    let fields: Vec<&str> = own.split(' ').skip(4).collect();
    let kind = rest.split(' ').next().unwrap_or_default();
    let shared = ["shared", "master"].iter().any(|word| own.contains(word));
    let at = fields.first().unwrap_or(&"");
    let options = fields.get(1).unwrap_or(&"");
    format!("mount {at} {kind} {options} shared: {shared}")
}

fn descriptors(pid: i64) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return vec!["no descriptors".to_owned()];
    };
    let mut all: Vec<String> = entries
        .flatten()
        .map(|entry| {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let target = target.display().to_string();
            let kind = target.split(":[").next().unwrap_or_default().to_owned();
            format!("descriptor {} {kind}", entry.file_name().display())
        })
        .collect();
    all.sort();
    all
}
