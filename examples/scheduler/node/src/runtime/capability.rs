//! The capabilities that Linux has, by their names in `capability.h`, without `CAP_`.

const ALL: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// As it is written without its prefix.
pub(crate) fn bare(name: &str) -> &str {
    name.strip_prefix("CAP_").unwrap_or(name)
}

/// Whether there is such a one.
pub(crate) fn is_known(name: &str) -> bool {
    ALL.binary_search(&bare(name)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that is looked for in a list that is out of order is sometimes not found.
    #[test]
    fn every_name_is_found_with_and_without_its_prefix() {
        for name in ALL {
            assert!(is_known(name) && is_known(&format!("CAP_{name}")), "{name}");
        }
        assert!(!is_known("FOO") && !is_known("") && !is_known("net_raw"));
    }
}
