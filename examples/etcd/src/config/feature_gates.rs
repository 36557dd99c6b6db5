//! `--feature-gates`: what etcd 3.6 lets one switch, and what that means here.

/// A gate: its name, what etcd has it at, and what there is of it here.
pub(super) struct Gate {
    pub(super) name: &'static str,
    default: bool,
    /// In the words of the README.
    #[cfg_attr(not(test), expect(dead_code, reason = "the README is compared with it"))]
    pub(super) here: &'static str,
}

const fn gate(name: &'static str, default: bool, here: &'static str) -> Gate {
    Gate { name, default, here }
}

/// Those of etcd 3.6.
pub(super) const GATES: [Gate; 9] = [
    gate("AllAlpha", false, "sets the two checks of corruption"),
    gate("AllBeta", false, "sets all that are nearly done, and so nothing"),
    gate("CompactHashCheck", false, "all that the members have is compared after a compaction"),
    gate("InitialCorruptCheck", false, "a member that differs from the others does not start"),
    gate("LeaseCheckpoint", false, "leases have their full time under a new leader"),
    gate("LeaseCheckpointPersist", false, "leases have their full time under a new leader"),
    gate("SetMemberLocalAddr", false, "members dial from the address that the system chooses"),
    gate("StopGRPCServiceOnDefrag", false, "a defragmentation stops nothing"),
    gate("TxnModeWriteWithSharedBuffer", true, "transactions read from what they write anyway"),
];

/// `text`, if all of its gates are etcd's and have a value.
///
/// # Errors
///
/// If not, in etcd's words.
pub(super) fn check(text: &str) -> Result<String, String> {
    let mut set: Vec<(&str, bool)> = Vec::new();
    for part in super::url::split_list(text) {
        let Some((name, value)) = part.split_once('=') else {
            return Err(format!("missing bool value for {part}"));
        };
        let (name, value) = (name.trim(), value.trim());
        let Some(gate) = GATES.iter().find(|gate| gate.name == name) else {
            let known: Vec<&str> = GATES.iter().map(|gate| gate.name).collect();
            let known = known.join(", ");
            return Err(format!("unrecognized feature gate: {name} (known are {known})"));
        };
        let on = super::flags::parse_bool(value)
            .map_err(|error| format!("invalid value of {name}={value}, err: {error}"))?;
        set.push((gate.name, on));
    }
    let is_on = |name: &str| {
        let default = GATES.iter().find(|gate| gate.name == name).is_some_and(|gate| gate.default);
        set.iter().rev().find(|(one, _)| *one == name).map_or(default, |(_, on)| *on)
    };
    if is_on("LeaseCheckpointPersist") && !is_on("LeaseCheckpoint") {
        let rule = "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
            LeaseCheckpoint";
        return Err(rule.to_owned());
    }
    Ok(text.to_owned())
}

/// Whether `text`, which was checked, sets one of the two gates that do something.
pub(super) fn is_on(text: &str, name: &str) -> bool {
    let value = |wanted: &str| {
        let pairs = super::url::split_list(text);
        let pair = pairs.iter().rev().filter_map(|part| part.split_once('='));
        let mut found = pair.filter(|(name, _)| name.trim() == wanted);
        found.next().and_then(|(_, value)| super::flags::parse_bool(value.trim()).ok())
    };
    // A gate that is named counts more than those that are meant.
    value(name).or_else(|| value("AllAlpha")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A gate that is set and does nothing is a check that somebody believes in.
    #[test]
    fn gate_is_on_by_its_name_or_with_all_of_its_kind() {
        let on = |text| is_on(text, "CompactHashCheck");
        assert!(!on(""));
        assert!(on("CompactHashCheck=true"));
        assert!(on("InitialCorruptCheck=false, CompactHashCheck=1"));
        assert!(!on("InitialCorruptCheck=true"));
        assert!(on("AllAlpha=true"));
        assert!(!on("AllAlpha=true,CompactHashCheck=false"));
        assert!(!on("CompactHashCheck=true,CompactHashCheck=false"), "the last one counts");
    }

    // kubeadm sets one; a typing error in another must not go unnoticed.
    #[test]
    fn gates_are_etcds_or_refused() {
        assert!(check("").is_ok());
        assert!(check("InitialCorruptCheck=true").is_ok());
        assert!(check("CompactHashCheck=true, StopGRPCServiceOnDefrag=false").is_ok());
        let refused = |text: &str, part: &str| {
            let error = check(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        };
        refused("InitialCorruptChek=true", "unrecognized feature gate: InitialCorruptChek");
        refused("Foo=true", "known are AllAlpha, AllBeta, CompactHashCheck");
        refused("CompactHashCheck", "missing bool value");
        refused("CompactHashCheck=maybe", "invalid value of CompactHashCheck=maybe");
        refused("LeaseCheckpointPersist=true", "requires enabling feature gate LeaseCheckpoint");
        assert!(check("LeaseCheckpoint=true,LeaseCheckpointPersist=true").is_ok());
    }
}
