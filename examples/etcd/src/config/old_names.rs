//! Names of flags that etcd has given up for others.
//!
//! A flag begins its life as `--experimental-NAME` and, when it is done, becomes `--NAME`.
//! Manifests keep the first name for years; both are one flag.

const PREFIX: &str = "experimental-";

/// The name that a flag has now; a note for the operator if that is another than `given`.
pub(super) fn current(
    given: &str,
    is_known: impl Fn(&str) -> bool,
    warnings: &mut Vec<String>,
) -> String {
    if is_known(given) {
        return given.to_owned();
    }
    match given.strip_prefix(PREFIX).filter(|name| is_known(name)) {
        Some(name) => {
            warnings.push(format!(
                "--{given} is deprecated in v3.6 and will be decommissioned in v3.7. Use \
                 '--{name}' instead."
            ));
            name.to_owned()
        }
        None => given.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A manifest of last year must start, and its owner be told what to write.
    #[test]
    fn experiment_that_became_a_flag_is_that_flag() {
        let mut warnings = Vec::new();
        let known = |name: &str| name == "max-learners" || name == "experimental-x";
        assert_eq!(current("experimental-max-learners", known, &mut warnings), "max-learners");
        assert!(warnings[0].contains("Use '--max-learners' instead"), "{warnings:?}");
        for name in ["max-learners", "experimental-x", "experimental-foo"] {
            assert_eq!(current(name, known, &mut warnings), name);
        }
        assert_eq!(warnings.len(), 1);
    }
}
