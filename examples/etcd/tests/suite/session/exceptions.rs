//! Where our server answers otherwise than etcd 3.4, on purpose. It follows etcd 3.6.

/// One step whose answer differs.
pub(crate) struct Exception {
    script: &'static str,
    command: &'static str,
    /// Text in the answer of etcd 3.4, and what ours says in its place.
    replace: (&'static str, &'static str),
    /// What changed between the releases, for the reader of this list.
    why: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

impl Exception {
    /// The answer that is expected from ours.
    pub(crate) fn rewrite(&self, answer: &[String]) -> Vec<String> {
        let (theirs, ours) = self.replace;
        answer.iter().map(|line| line.replace(theirs, ours)).collect()
    }
}

/// The exception for a step, if there is one.
pub(crate) fn find(script: &str, command: &str) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|it| it.script == script && it.command == command)
}

/// An exception that fits no step is a leftover, and one without a reason cannot be judged.
#[test]
fn exceptions_are_in_use() {
    for it in EXCEPTIONS {
        let script = super::script::Script::read(it.script);
        let step = script.steps.iter().find(|step| step.command == it.command);
        let step = step.unwrap_or_else(|| panic!("{} has no step {}", it.script, it.command));
        let changed = it.rewrite(&step.answer) != step.answer;
        assert!(changed, "{}: {}: the exception changes nothing", it.script, it.command);
        assert!(it.why.len() > 20, "{}: {}: no reason given", it.script, it.command);
    }
}
