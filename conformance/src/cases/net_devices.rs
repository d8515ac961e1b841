//! Network devices that move into the container.

use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure, skip};
use crate::network::{Address, FOREVER, Network};
use crate::trial::Trial;
use crate::value::equal;

const ROW: &[&str] = &["linux.netDevices"];
const NEEDS: &[Need] = &[Need::Root, Need::NetworkDevices, Need::Feature("/linux/netDevices")];

/// A case of this group.
const fn case(name: &'static str, promise: &'static str, body: fn(&Trial) -> Check) -> Case {
    Case::new(name, promise, body).rows(ROW).needs(NEEDS)
}

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    case("net-devices/moved", "config-linux.md#network-devices: moved, and up there", |t| {
        let host = prepared()?;
        let container = moving(t, &json!({ "cnf0": {} })).start()?;
        let inside = Network::of(container.pid()?)?;
        ensure(inside.link("cnf0")?.up, "cnf0 is down in the container")?;
        ensure(!host.has("cnf0")?, "cnf0 is on the host as well")?;
        ensure(host.has("cnf1")?, "cnf1 was not to be moved")
    }),
    case("net-devices/renamed", "config-linux.md#network-devices: name", |t| {
        let host = prepared()?;
        let container = moving(t, &json!({ "cnf0": { "name": "net-a.b_c" } })).start()?;
        let inside = Network::of(container.pid()?)?;
        ensure(inside.link("net-a.b_c")?.up, "the device is down in the container")?;
        ensure(!inside.has("cnf0")? && !host.has("cnf0")?, "the old name is there still")
    }),
    case("net-devices/template", "config-linux.md#network-devices: the kernel fills in %d", |t| {
        let host = prepared()?;
        let both = json!({ "cnf0": { "name": "n%dx" }, "cnf1": { "name": "n%dx" } });
        let container = moving(t, &both).start()?;
        let inside = Network::of(container.pid()?)?;
        ensure(inside.link("n0x")?.up && inside.link("n1x")?.up, "a device is down")?;
        equal("devices inside", &inside.links()?.len(), &(own_devices(&host)? + 2))
    }),
    case(
        "net-devices/template-taken",
        "config-linux.md#network-devices: %d finds a free name",
        |t| {
            let host = prepared()?;
            let target = t.bundle().ops(&["sleep"]).start()?;
            Network::of(target.pid()?)?.pair("n0", "n1")?;
            let joining = moving(t, &json!({ "cnf0": { "name": "n%d" } }));
            let container = joining.join("network", &net(target.pid()?)).start()?;
            ensure(Network::of(container.pid()?)?.link("n2")?.up, "n2 is down")?;
            ensure(!host.has("cnf0")?, "cnf0 is on the host as well")
        },
    ),
    case("net-devices/number-taken", "another device with the same number is left alone", |t| {
        let host = prepared()?;
        let own = host.link("cnf0")?.index;
        let target = t.bundle().ops(&["sleep"]).start()?;
        let inside = Network::of(target.pid()?)?;
        for pair in 0..=own {
            inside.pair(&format!("a{pair}"), &format!("b{pair}"))?;
        }
        let before = inside.links()?;
        ensure(before.iter().any(|link| link.index == own), "the number is free")?;
        let joining = || {
            let pid = target.pid()?;
            Ok::<_, crate::failure::Failure>(
                moving(t, &json!({ "cnf0": {} })).join("network", &net(pid)),
            )
        };
        let hook = json!({ "path": "/bin/false" });
        joining()?.hook("createRuntime", hook).refused("hook|exit")?;
        equal("devices inside", &inside.links()?, &before)?;
        equal("number outside", &host.link("cnf0")?.index, &own)?;
        let container = joining()?.start()?;
        let inside = Network::of(container.pid()?)?;
        ensure(inside.link("cnf0")?.up && !host.has("cnf0")?, "cnf0 has not come up")?;
        let mut after = inside.links()?;
        after.retain(|link| link.name != "cnf0");
        equal("other devices", &after, &before)
    }),
    case("net-devices/attributes", "config-linux.md#network-devices: attributes are kept", |t| {
        let host = prepared()?;
        host.set_mtu("cnf0", 1234)?;
        let container = moving(t, &json!({ "cnf0": { "name": "net0" } })).start()?;
        equal("MTU", &Network::of(container.pid()?)?.link("net0")?.mtu, &1234)
    }),
    case("net-devices/ipv4", "config-linux.md#network-devices: permanent global addresses", ipv4),
    case("net-devices/ipv6", "config-linux.md#network-devices: permanent global addresses", ipv6),
    case("net-devices/seen-by-hooks", "devices are there when the namespaces are", |t| {
        let _host = prepared()?;
        let sysctl = json!({ "net.ipv4.conf.net0.forwarding": "1" });
        let container = moving(t, &json!({ "cnf0": { "name": "net0" } }))
            .set("/linux/sysctl", sysctl)
            .hook(
                "createContainer",
                json!({
                    "path": "/bin/sh", "args": ["sh", "-c", "grep -q net0: /proc/self/net/dev"],
                }),
            )
            .start()?;
        ensure(Network::of(container.pid()?)?.link("net0")?.up, "net0 is down")
    }),
    case(
        "net-devices/user-namespace",
        "config-linux.md#network-devices: with a user namespace",
        |t| {
            let host = prepared()?;
            host.add("cnf0", &Address::new("198.51.100.7", 24)?)?;
            let container = moving(t, &json!({ "cnf0": {} })).user_namespace().start()?;
            let inside = Network::of(container.pid()?)?;
            ensure(inside.link("cnf0")?.up, "cnf0 is down in the container")?;
            equal("addresses", &inside.addresses("cnf0", true)?.len(), &1)
        },
    ),
    case(
        "net-devices/not-moved-back",
        "config-linux.md#network-devices: the end of a container",
        |t| {
            let host = prepared()?;
            let keeper = t.bundle().ops(&["sleep"]).start()?;
            let namespace = net(keeper.pid()?);
            let joined = moving(t, &json!({ "cnf0": {} })).join("network", &namespace).start()?;
            joined.delete_force()?.ok()?;
            ensure(Network::of(keeper.pid()?)?.link("cnf0")?.up, "cnf0 is not where it was")?;
            ensure(!host.has("cnf0")?, "cnf0 was moved back")?;
            keeper.delete_force()?.ok()?;
            // With the namespace the kernel removes its virtual devices, and their other ends.
            t.until("the namespace ends", || host.has("cnf1").is_ok_and(|there| !there))
        },
    ),
    case(
        "net-devices/missing",
        "config-linux.md#network-devices: a missing device is an error",
        |t| {
            let host = prepared()?;
            let before = whole(&host)?;
            moving(t, &json!({ "cnf0": { "name": "net0" }, "zz9": {} })).refused("zz9")?;
            equal("the host's devices", &whole(&host)?, &before)
        },
    ),
    case(
        "net-devices/name-taken",
        "config-linux.md#network-devices: a taken name is an error",
        |t| {
            let host = prepared()?;
            host.add("cnf0", &Address::new("198.51.100.7", 24)?)?;
            let keeper = t.bundle().ops(&["sleep"]).start()?;
            let inside = Network::of(keeper.pid()?)?;
            inside.pair("net0", "net1")?;
            let before = whole(&host)?;
            moving(t, &json!({ "cnf0": { "name": "first" }, "cnf1": { "name": "net1" } }))
                .join("network", &net(keeper.pid()?))
                .refused("net1")?;
            equal("the host's devices", &whole(&host)?, &before)?;
            ensure(
                !inside.has("first")? && !inside.has("cnf1")?,
                "a device was left in the namespace",
            )
        },
    ),
    case(
        "net-devices/loopback",
        "a device that cannot move is an error, and the others go back",
        |t| {
            let host = prepared()?;
            let before = whole(&host)?;
            moving(t, &json!({ "cnf0": {}, "lo": { "name": "lo9" } })).refused("lo")?;
            equal("the host's devices", &whole(&host)?, &before)
        },
    ),
    case("net-devices/rollback", "runtime.md#create: a failure leaves nothing behind", rollback),
    case(
        "net-devices/without-namespace",
        "config-linux.md#network-devices: needs a namespace",
        |t| {
            let host = prepared()?;
            moving(t, &json!({ "cnf0": {} }))
                .without_namespace("network")
                .unmount("/sys")
                .refused("net")?;
            ensure(host.has("cnf0")?, "cnf0 is gone")
        },
    ),
    case("net-devices/own-namespace", "a device cannot move to where it is", |t| {
        let host = prepared()?;
        moving(t, &json!({ "cnf0": { "name": "net0" } }))
            .join("network", &net(std::process::id().into()))
            .unmount("/sys")
            .refused("net")?;
        ensure(host.has("cnf0")?, "cnf0 is gone")
    }),
    case("net-devices/same-name", "config-linux.md#network-devices: names are unique", |t| {
        let host = prepared()?;
        let before = whole(&host)?;
        let twice = json!({ "cnf0": { "name": "net0" }, "cnf1": { "name": "net0" } });
        moving(t, &twice).refused("net")?;
        equal("the host's devices", &whole(&host)?, &before)
    }),
    case(
        "net-devices/bad-name",
        "config-linux.md#network-devices: the kernel's rule for names",
        |t| {
            let host = prepared()?;
            for name in
                ["sixteen-letters-", "a/b", "a:b", "a b", ".", "..", "a\tb", "n%", "n%d%d", "n%s"]
            {
                moving(t, &json!({ "cnf0": { "name": name } })).refused("net")?;
                moving(t, &json!({ name: { "name": "net0" } })).refused("net")?;
            }
            ensure(host.has("cnf0")?, "cnf0 is gone")
        },
    ),
    Case::new("net-devices/rootless", "a user without privileges gets an error", |t| {
        if t.host.root {
            return skip("needs a user without privileges");
        }
        moving(t, &json!({ "lo": { "name": "lo9" } })).refused("net").map(drop)
    })
    .rows(ROW)
    .needs(&[Need::Feature("/linux/netDevices")]),
];

/// A network namespace for this case, with the devices `cnf0`, which is up, and `cnf1`.
fn prepared() -> Check<Network> {
    let host = Network::enter_new()?;
    host.pair("cnf0", "cnf1")?;
    host.set_up("cnf0")?;
    Ok(host)
}

fn moving<'t>(t: &'t Trial, devices: &Value) -> Bundle<'t> {
    t.bundle().ops(&["sleep"]).set("/linux/netDevices", devices.clone())
}

fn net(pid: i64) -> String {
    format!("/proc/{pid}/ns/net")
}

/// The devices that every new namespace has, such as `lo`.
fn own_devices(host: &Network) -> Check<usize> {
    Ok(host.links()?.iter().filter(|link| !link.name.starts_with("cnf")).count())
}

/// Names, states and IPv4 addresses of all devices.
fn whole(network: &Network) -> Check<Vec<String>> {
    let mut lines = Vec::new();
    for link in network.links()? {
        let addresses = network.addresses(&link.name, true)?;
        let addresses: Vec<_> = addresses
            .iter()
            .map(|one| format!("{}/{} {} {:x}", one.ip, one.prefix, one.label, one.flags))
            .collect();
        lines.push(format!("{} up:{} mtu:{} {addresses:?}", link.name, link.up, link.mtu));
    }
    lines.sort();
    Ok(lines)
}

fn ipv4(t: &Trial) -> Check {
    let host = prepared()?;
    let plain = Address::new("198.51.100.7", 24)?;
    let second = Address { label: "cnf0:web".to_owned(), ..Address::new("198.51.100.8", 24)? };
    let pair = Address {
        peer: "192.0.2.1".parse()?,
        label: "other".to_owned(),
        ..Address::new("192.0.2.9", 32)?
    };
    // IFA_F_NOPREFIXROUTE, and no preferred life, which becomes IFA_F_DEPRECATED.
    let old = Address { flags: 0x200, life: (0, FOREVER), ..Address::new("203.0.113.1", 25)? };
    let link_scope = Address { scope: 253, ..Address::new("169.254.7.7", 16)? };
    let leased = Address { life: (600, 900), ..Address::new("203.0.113.200", 25)? };
    for address in [&plain, &second, &pair, &old, &link_scope, &leased] {
        host.add("cnf0", address)?;
    }
    let container = moving(t, &json!({ "cnf0": { "name": "net0" } })).start()?;
    let inside = Network::of(container.pid()?)?;
    let mut found: Vec<_> = inside
        .addresses("net0", true)?
        .into_iter()
        .map(|one| {
            let flags = one.flags & 0x220;
            let permanent = one.life.1 == FOREVER;
            format!("{}/{} {} {} {flags:x} {permanent}", one.ip, one.prefix, one.peer, one.label)
        })
        .collect();
    found.sort();
    let wanted = [
        "192.0.2.9/32 192.0.2.1 other 0 true",
        "198.51.100.7/24 198.51.100.7 net0 0 true",
        "198.51.100.8/24 198.51.100.8 net0:web 0 true",
        "203.0.113.1/25 203.0.113.1 net0 220 true",
    ];
    equal("addresses", &found, &wanted.map(str::to_owned).to_vec())
}

fn ipv6(t: &Trial) -> Check {
    if !Path::new("/proc/self/net/if_inet6").exists() {
        return skip("the kernel has no IPv6");
    }
    let host = prepared()?;
    // IFA_F_NODAD; IFA_F_NOPREFIXROUTE.
    let plain = Address { flags: 0x02, ..Address::new("2001:db8::7", 64)? };
    let single = Address { flags: 0x200, ..Address::new("2001:db8:1::9", 128)? };
    let leased = Address { life: (600, 900), ..Address::new("2001:db8::8", 64)? };
    for address in [&plain, &single, &leased] {
        host.add("cnf0", address)?;
    }
    let container = moving(t, &json!({ "cnf0": { "name": "net0" } })).start()?;
    let inside = Network::of(container.pid()?)?;
    let global = |one: &Address| one.scope == 0;
    let mut found: Vec<_> = inside
        .addresses("net0", false)?
        .into_iter()
        .filter(global)
        .map(|one| format!("{}/{} {:x} {}", one.ip, one.prefix, one.flags & 0x202, one.life.1))
        .collect();
    found.sort();
    let wanted =
        [format!("2001:db8:1::9/128 200 {FOREVER}"), format!("2001:db8::7/64 2 {FOREVER}")];
    equal("addresses", &found, &wanted.to_vec())
}

/// The last thing that can go wrong in `create` after devices were moved is a hook, then the program.
fn rollback(t: &Trial) -> Check {
    let host = prepared()?;
    host.add("cnf0", &Address::new("198.51.100.7", 24)?)?;
    host.add("cnf0", &Address { scope: 253, ..Address::new("169.254.7.7", 16)? })?;
    host.add("cnf0", &Address { label: "cnf0:b".to_owned(), ..Address::new("192.0.2.9", 32)? })?;
    let before = whole(&host)?;
    let both = json!({ "cnf0": { "name": "net0" }, "cnf1": { "name": "n%d" } });
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let hook = json!({ "path": "/bin/false" });
        moving(t, &both).hook(kind, hook).refused("hook|exit")?;
        equal(kind, &whole(&host)?, &before)?;
    }
    moving(t, &both).args(&["/no/such/program"]).refused("no such file")?;
    equal("the program is missing", &whole(&host)?, &before)?;
    let container = moving(t, &both).create()?;
    container.delete_force()?.ok().map(drop)
}
