//! The system calls that a container may make.
//!
//! An allow-list: a call that is not on it fails with `EPERM`. What is left out, and why:
//!
//! * **New namespaces**: `unshare`, `setns`, and `clone` with any of its namespace flags. A new
//!   user namespace makes its maker root in there, and from there most bugs of the last ten years
//!   were reached. `clone3` hides its flags from a filter, so it fails with `ENOSYS`, and every C
//!   library falls back to `clone`.
//! * **Mounts**: `mount`, `umount2`, `pivot_root`, `fsopen` and its family.
//! * **Into the kernel**: `bpf`, `perf_event_open`, `keyctl`, `userfaultfd`, `io_uring_*`,
//!   `kexec_*`, modules, `iopl`, `reboot`, clocks, swap, quotas, accounting.
//! * **Other processes' memory**: `ptrace`, `process_vm_*`, `pidfd_getfd`, `kcmp`, without
//!   `SYS_PTRACE`.
//! * **Sockets** of other families than unix, internet, netlink and, with `NET_RAW`, packet.
//!
//! Programs for another architecture, 32 bits among them, are killed at their first call.

use serde_json::{Value, json};

mod names;

/// Flags of `clone` that make a namespace: mount, cgroup, uts, ipc, user, pid, net.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// What a call that is not on the list returns.
const EPERM: u32 = 1;
/// What says that there is no such call.
const ENOSYS: u32 = 38;

/// Families of sockets: unix, internet 4, internet 6, netlink.
const FAMILIES: [u64; 4] = [1, 2, 10, 16];
/// Raw frames.
const FAMILY_PACKET: u64 = 17;

/// The profile for a container that keeps these capabilities (`SYS_PTRACE`, without `CAP_`).
pub fn profile(capabilities: &[String]) -> Value {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let mut calls: Vec<&str> = names::ALLOWED.to_vec();
    for (capability, more) in names::WITH_CAPABILITY {
        if has(capability) {
            calls.extend(more.iter());
        }
    }
    let mut rules = vec![
        json!({"names": calls, "action": "SCMP_ACT_ALLOW"}),
        json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}),
    ];
    if !has("SYS_ADMIN") {
        let flags = argument(0, NAMESPACE_FLAGS, 0, "SCMP_CMP_MASKED_EQ");
        rules.push(json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [flags]}));
    }
    let packet = has("NET_RAW").then_some(FAMILY_PACKET);
    for family in FAMILIES.into_iter().chain(packet) {
        let family = argument(0, family, 0, "SCMP_CMP_EQ");
        rules.push(json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [family]}));
    }
    // Whether it counts as Linux, and whether its addresses are random: asking is harmless.
    for persona in [0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff_u64] {
        let persona = argument(0, persona, 0, "SCMP_CMP_EQ");
        let names = ["personality"];
        rules.push(json!({"names": names, "action": "SCMP_ACT_ALLOW", "args": [persona]}));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": [ARCHITECTURE],
        "syscalls": rules,
    })
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "SCMP_ARCH_AARCH64";

fn argument(index: u32, value: u64, value_two: u64, op: &str) -> Value {
    json!({"index": index, "value": value, "valueTwo": value_two, "op": op})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(capabilities: &[&str]) -> Vec<String> {
        let capabilities: Vec<_> = capabilities.iter().map(|&name| name.to_owned()).collect();
        let profile = profile(&capabilities);
        let names = profile["syscalls"][0]["names"].as_array().unwrap();
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// One careless line would open what the module says is closed.
    #[test]
    fn what_is_said_to_be_closed_is_not_on_the_list() {
        let list = allowed(&[]);
        for closed in [
            "unshare",
            "setns",
            "clone",
            "clone3",
            "mount",
            "umount2",
            "pivot_root",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "move_mount",
            "open_tree",
            "mount_setattr",
            "bpf",
            "perf_event_open",
            "keyctl",
            "add_key",
            "request_key",
            "userfaultfd",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "kexec_load",
            "kexec_file_load",
            "init_module",
            "finit_module",
            "delete_module",
            "iopl",
            "ioperm",
            "reboot",
            "settimeofday",
            "clock_settime",
            "adjtimex",
            "swapon",
            "swapoff",
            "quotactl",
            "acct",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "kcmp",
            "socket",
            "chroot",
            "open_by_handle_at",
            "name_to_handle_at",
            "lookup_dcookie",
            "nfsservctl",
            "syslog",
            "sethostname",
            "setdomainname",
            "vhangup",
            "personality",
            "process_madvise",
        ] {
            assert!(!list.iter().any(|name| name == closed), "{closed}");
        }
        let mut sorted = list.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted, list, "in order, none twice");
        assert!(allowed(&["SYS_PTRACE"]).iter().any(|name| name == "ptrace"));
    }
}
