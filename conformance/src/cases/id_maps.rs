//! The id maps of user namespaces, of any shape.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("id-maps/many-ranges", "user_namespaces(7): 340 ranges are possible", |t| {
        let map: Vec<Value> = (0..340).map(|index| range(2 * index, 1000 + 3 * index, 1)).collect();
        let answers = mapped(t, &json!(map))
            .probe(&["read=/proc/self/uid_map", "read=/proc/self/gid_map"])?;
        for op in ["read=/proc/self/uid_map", "read=/proc/self/gid_map"] {
            let text = answers.value(op)?;
            let found = words(&text);
            equal("ranges", &found.len(), &(3 * 340))?;
            equal("the last", &found[3 * 339..], &["678", "2017", "1"][..])?;
        }
        Ok(())
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/too-many-ranges", "user_namespaces(7): not more than 340 ranges", |t| {
        let map: Vec<Value> = (0..341).map(|index| range(2 * index, 1000 + 3 * index, 1)).collect();
        mapped(t, &json!(map)).refused("mapping|uid_map|gid_map|invalid argument").map(drop)
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/too-long", "user_namespaces(7): the text is shorter than a page", |t| {
        let map: Vec<Value> = (0..340)
            .map(|index| range(4_000_000_000 + 2 * index, 3_000_000_000 + 2 * index, 1))
            .chain([range(0, 100_000, 1)])
            .skip(1)
            .collect();
        mapped(t, &json!(map)).refused("mapping|uid_map|gid_map|invalid argument").map(drop)
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/without-root", "a map need not have the id 0", |t| {
        let report = mapped(t, &json!([range(1000, 300_000, 10)]))
            .set("/process/user", json!({ "uid": 1003, "gid": 1004, "additionalGids": [1005] }))
            .report()?;
        equal("uid", &report["uid"], &json!([1003, 1003, 1003, 1003]))?;
        equal("gid", &report["gid"], &json!([1004, 1004, 1004, 1004]))?;
        equal("groups", &report["groups"], &json!([1005]))
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/scattered", "ranges in any order, with holes and of one id", |t| {
        let map = json!([
            range(70_000, 500_007, 3),
            range(0, 300_000, 1),
            range(5, 100_000, 1),
            range(1, 200_000, 1),
        ]);
        let answers = mapped(t, &map)
            .set("/process/user", json!({ "uid": 70_002, "gid": 5 }))
            .probe(&["report", "read=/proc/self/uid_map"])?;
        let report = answers.value("report")?;
        equal("uid", &report["uid"][0], &json!(70_002))?;
        equal("gid", &report["gid"][0], &json!(5))?;
        let text = answers.value("read=/proc/self/uid_map")?;
        let found = words(&text);
        equal("numbers", &found.len(), &12)?;
        ensure(
            found.windows(3).any(|three| three == ["70000", "500007", "3"]),
            "a range is missing",
        )
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/owner-outside", "the host sees the mapped ids", |t| {
        let container = mapped(t, &json!([range(0, 300_000, 5), range(5, 400_000, 5)]))
            .set("/process/user", json!({ "uid": 7, "gid": 3 }))
            .ops(&["sleep"])
            .start()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
        let line = |name: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        equal("uid", &line("Uid:"), &vec!["400002".to_owned(); 4])?;
        equal("gid", &line("Gid:"), &vec!["300003".to_owned(); 4])
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/overlap-inside", "an id of the container has one meaning", |t| {
        refused_map(t, &json!([range(0, 1000, 10), range(9, 5000, 10)]))
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/overlap-outside", "an id of the host stands for one id", |t| {
        refused_map(t, &json!([range(0, 1000, 10), range(20, 1009, 10)]))
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/empty-range", "a range without ids is an error", |t| {
        refused_map(t, &json!([range(0, 1000, 10), range(20, 2000, 0)]))
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/beyond", "no range goes beyond the last id", |t| {
        refused_map(t, &json!([range(0, 1000, 10), range(20, 4_294_967_290, 100)]))
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/user-not-mapped", "the process runs under mapped ids", |t| {
        mapped(t, &json!([range(0, 300_000, 10)]))
            .set("/process/user", json!({ "uid": 10, "gid": 0 }))
            .refused("map|uid|invalid argument")
            .map(drop)
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/join-equal", "a joined user namespace with its own maps", |t| {
        let first = mapped(t, &json!([range(0, 300_000, 10), range(10, 300_010, 10)]))
            .ops(&["sleep"])
            .start()?;
        let report = mapped(t, &json!([range(0, 300_000, 20)]))
            .join("user", &format!("/proc/{}/ns/user", first.pid()?))
            .set("/process/user", json!({ "uid": 12, "gid": 3 }))
            .report()?;
        equal("uid", &report["uid"][0], &json!(12))?;
        equal("gid", &report["gid"][0], &json!(3))
    })
    .rows(&["linux.uidMappings", "linux.namespaces.path"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/join-unequal", "a joined user namespace with other maps", |t| {
        let first = mapped(t, &json!([range(0, 300_000, 20)])).ops(&["sleep"]).start()?;
        mapped(t, &json!([range(0, 300_001, 20)]))
            .join("user", &format!("/proc/{}/ns/user", first.pid()?))
            .refused("mapping")
            .map(drop)
    })
    .rows(&["linux.uidMappings", "linux.namespaces.path"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("id-maps/exec", "exec runs under the same maps", |t| {
        let container = mapped(t, &json!([range(1000, 300_000, 10)]))
            .set("/process/user", json!({ "uid": 1001, "gid": 1002 }))
            .ops(&["sleep"])
            .start()?;
        let report =
            container.exec_probe(&["--user", "1004:1005"], &["report"])?.value("report")?;
        equal("uid", &report["uid"][0], &json!(1004))?;
        equal("gid", &report["gid"][0], &json!(1005))
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("rootless/automatic-maps", "an ordinary user gets a user namespace", |t| {
        let answers = t
            .bundle()
            .without_namespace("user")
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings")
            .probe(&["report", "read=/proc/self/uid_map"])?;
        let report = answers.value("report")?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))?;
        let text = answers.value("read=/proc/self/uid_map")?;
        let own = nix::unistd::geteuid().to_string();
        equal("the own id", &words(&text)[..3], &["0", own.as_str(), "1"][..])?;
        if let Some([(first, count), _]) = t.host.subordinate {
            let rest = [1, first, count].map(|number| number.to_string());
            equal("the granted ids", &words(&text)[3..], &rest.each_ref().map(String::as_str)[..])?;
        }
        Ok(())
    })
    .rows(&["rootless: automatic maps"])
    .needs(&[Need::OrdinaryUser, Need::UserNamespace]),
    Case::new("rootless/one-id", "user_namespaces(7): setgroups is denied for the own id", |t| {
        let answers = t.bundle().probe(&["report", "read=/proc/self/setgroups"])?;
        equal("setgroups", &answers.value("read=/proc/self/setgroups")?, &json!("deny\n"))?;
        equal("uid", &answers.value("report")?["uid"], &json!([0, 0, 0, 0]))
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::OrdinaryUser, Need::UserNamespace]),
    Case::new("rootless/several-ranges", "newuidmap writes maps of several ranges", |t| {
        let Some([uids, gids]) = t.host.subordinate else { return Ok(()) };
        let answers = granted(t, uids, gids)
            .set("/process/user", json!({ "uid": 7, "gid": 8, "additionalGids": [9] }))
            .probe(&["report", "read=/proc/self/uid_map", "read=/proc/self/setgroups"])?;
        let report = answers.value("report")?;
        equal("uid", &report["uid"][0], &json!(7))?;
        equal("gid", &report["gid"][0], &json!(8))?;
        equal("groups", &report["groups"], &json!([9]))?;
        equal("setgroups", &answers.value("read=/proc/self/setgroups")?, &json!("allow\n"))?;
        equal("numbers", &words(&answers.value("read=/proc/self/uid_map")?).len(), &9)
    })
    .rows(&["rootless: newuidmap", "linux.uidMappings"])
    .needs(&[Need::OrdinaryUser, Need::SubordinateIds, Need::UserNamespace]),
    Case::new("rootless/join-equal", "the user namespace of a pod, with its maps", |t| {
        let first = t.bundle().ops(&["sleep"]).start()?;
        let path = |file: &str| format!("/proc/{}/ns/{file}", first.pid().unwrap_or(0));
        let report =
            t.bundle().join("user", &path("user")).join("network", &path("net")).report()?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))?;
        let link = std::fs::read_link(path("net"))?.display().to_string();
        equal("net", &report["namespaces"]["net"], &json!(link))
    })
    .rows(&["linux.uidMappings", "linux.namespaces.path"])
    .needs(&[Need::OrdinaryUser, Need::UserNamespace]),
    Case::new("rootless/not-granted", "ids that are not granted are an error", |t| {
        let Some([(first, count), gids]) = t.host.subordinate else { return Ok(()) };
        let output = granted(t, (first + count, 10), gids).refused("uid")?;
        ensure(output.stderr.contains("newuidmap"), output.stderr)
    })
    .rows(&["rootless: newuidmap"])
    .needs(&[Need::OrdinaryUser, Need::SubordinateIds, Need::UserNamespace]),
    Case::new("rootless/no-newuidmap", "a missing helper is named", |t| {
        let map = |own: u32| json!([range(0, own, 1), range(1, 100_000, 10)]);
        let mut bundle = t
            .bundle()
            .set("/linux/uidMappings", map(nix::unistd::geteuid().as_raw()))
            .set("/linux/gidMappings", map(nix::unistd::getegid().as_raw()));
        let output = bundle.call("create", &[])?.env(&[("PATH", "/nowhere")]).run()?;
        output.fails_with("newgidmap|newuidmap").map(drop)
    })
    .rows(&["rootless: newuidmap"])
    .needs(&[Need::OrdinaryUser, Need::UserNamespace]),
    Case::new("rootless/spec", "what spec --rootless writes runs as it is", |t| {
        let mut bundle = t.bundle();
        bundle.write()?;
        let dir = bundle.dir.display().to_string();
        std::fs::remove_file(bundle.dir.join("config.json"))?;
        t.run(&["spec", "--rootless", "--bundle", &dir])?.ok()?;
        let text = std::fs::read_to_string(bundle.dir.join("config.json"))?;
        let mut config: Value = serde_json::from_str(&text).unwrap_or_default();
        config["process"]["args"] = json!(["/probe", "report"]);
        config["process"]["terminal"] = json!(false);
        let output = bundle.raw(config.to_string()).run()?.ok()?;
        let report = crate::bundle::Answers::of(&output.stdout)?.value("report")?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))
    })
    .rows(&["rootless: automatic maps"])
    .needs(&[Need::OrdinaryUser, Need::UserNamespace]),
];

fn range(inside: u32, outside: u32, size: u32) -> Value {
    json!({ "containerID": inside, "hostID": outside, "size": size })
}

/// A bundle with a user namespace with this map, of users and of groups.
fn mapped<'t>(t: &'t Trial, map: &Value) -> Bundle<'t> {
    t.bundle()
        .namespace("user")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map.clone())
}

/// The own id and the granted ones, in two ranges.
fn granted<'t>(t: &'t Trial, uids: (u32, u32), gids: (u32, u32)) -> Bundle<'t> {
    let map = |own: u32, (first, count): (u32, u32)| {
        json!([range(0, own, 1), range(1, first, 5), range(6, first + 5, count - 5)])
    };
    t.bundle()
        .set("/linux/uidMappings", map(nix::unistd::geteuid().as_raw(), uids))
        .set("/linux/gidMappings", map(nix::unistd::getegid().as_raw(), gids))
}

fn refused_map(t: &Trial, map: &Value) -> Check {
    mapped(t, map).refused("mapping|uid_map|gid_map|invalid argument|overlap").map(drop)
}

fn words(text: &Value) -> Vec<&str> {
    text.as_str().unwrap_or_default().split_whitespace().collect()
}
