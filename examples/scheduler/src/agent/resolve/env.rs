//! The variables of a run, and the words of its command that name them.

use std::collections::BTreeSet;

use mason_core::spec::{EnvSource, EnvVar, Task};

use super::{Refusal, Sight, Source, hostname, refuse};

/// Longest word or variable: Linux gives none that is longer to a program.
const TEXT_BYTES_MAX: usize = (128 << 10) - 1;
/// So long are all variables together, and so long all words: more than both is no program given.
/// A variable may hold others twice, and forty of them, each the one before twice, are a terabyte.
const ALL_BYTES_MAX: usize = 1 << 20;

/// The variables of a run.
pub(in super::super) struct Env {
    /// In order; later ones win.
    pub(in super::super) variables: Vec<(String, String)>,
    /// Names of those that a secret is in.
    secret: BTreeSet<String>,
    /// So long they are together.
    bytes: usize,
}

impl Env {
    /// Puts variables into the words of a command: `$(NAME)`.
    ///
    /// # Errors
    /// One is a secret: whoever is on the node can read a command line.
    pub(in super::super) fn expand_words(&self, task: &mut Task) -> Result<(), Refusal> {
        let mut bytes = 0;
        for (field, words) in [("command", &mut task.command), ("args", &mut task.args)] {
            for (at, word) in words.iter_mut().enumerate() {
                let expanded = expand(word, &self.variables);
                let (text, named) =
                    expanded.map_err(|why| refuse(format!("{field}[{at}]: {why}")))?;
                bytes += text.len();
                if bytes > ALL_BYTES_MAX {
                    return Err(refuse(format!(
                        "{field}[{at}]: the words are longer than {ALL_BYTES_MAX} bytes together"
                    )));
                }
                if let Some(name) = named.iter().find(|name| self.secret.contains(*name)) {
                    return Err(refuse(format!(
                        "{field}[{at}]: $({name}) is a secret, which a command line would show to \
                         the whole node; have the program read the variable"
                    )));
                }
                *word = text;
            }
        }
        Ok(())
    }

    fn put(&mut self, name: String, value: String, is_secret: bool) -> Result<(), Refusal> {
        self.bytes += name.len() + value.len();
        if value.len() > TEXT_BYTES_MAX || self.bytes > ALL_BYTES_MAX {
            return Err(refuse(format!(
                "env {name}: it is longer than {TEXT_BYTES_MAX} bytes, or all together are longer \
                 than {ALL_BYTES_MAX}"
            )));
        }
        if is_secret {
            self.secret.insert(name.clone());
        } else {
            self.secret.remove(&name);
        }
        self.variables.push((name, value));
        Ok(())
    }
}

/// All variables, in order; later ones win.
pub(in super::super) async fn env(source: Source<'_>, sight: &Sight<'_>) -> Result<Env, Refusal> {
    let mut env = Env { variables: standard(sight), secret: BTreeSet::new(), bytes: 0 };
    for from in &sight.task.env_from {
        let (name, prefix) = (&from.name, &from.prefix);
        let missing = |what: &str| refuse(format!("envFrom: there is no {what} {name}"));
        if from.secret {
            match source.secret(sight.namespace(), name).await? {
                Some(found) => {
                    for (key, plain) in found {
                        let what = || format!("envFrom: {key} of secret {name}");
                        let value = text_of(plain.expose(), what)?;
                        env.put(format!("{prefix}{key}"), value, true)?;
                    }
                }
                None if from.optional => {}
                None => return Err(missing("secret")),
            }
            continue;
        }
        match source.config(sight.namespace(), name).await? {
            Some(found) => {
                for (key, value) in found.data {
                    env.put(format!("{prefix}{key}"), value, false)?;
                }
            }
            None if from.optional => {}
            None => return Err(missing("config")),
        }
    }
    for variable in &sight.task.env {
        add(source, sight, variable, &mut env).await?;
    }
    Ok(env)
}

async fn add(
    source: Source<'_>,
    sight: &Sight<'_>,
    variable: &EnvVar,
    env: &mut Env,
) -> Result<(), Refusal> {
    let at = |what: String| refuse(format!("env {}: {what}", variable.name));
    let missing = |what: String| at(format!("there is no {what}"));
    let (value, is_secret) = match &variable.value {
        EnvSource::Text(text) => {
            let (text, named) = expand(text, &env.variables).map_err(at)?;
            let is_secret = named.iter().any(|name| env.secret.contains(name));
            (Some(text), is_secret)
        }
        EnvSource::Field(field) => {
            let value = field_of(sight, field).map_err(at)?;
            (Some(value), false)
        }
        EnvSource::Config { name, key, optional } => {
            let found = source.config(sight.namespace(), name).await?;
            let value = found.and_then(|found| found.data.get(key).cloned());
            if value.is_none() && !optional {
                return Err(missing(format!("{key} of config {name}")));
            }
            (value, false)
        }
        EnvSource::Secret { name, key, optional } => {
            let found = source.secret(sight.namespace(), name).await?;
            let value = found.as_ref().and_then(|found| found.get(key));
            if value.is_none() && !optional {
                return Err(missing(format!("{key} of secret {name}")));
            }
            let what = || format!("env {}: {key} of secret {name}", variable.name);
            (value.map(|plain| text_of(plain.expose(), what)).transpose()?, true)
        }
    };
    if let Some(value) = value {
        env.put(variable.name.clone(), value, is_secret)?;
    }
    Ok(())
}

/// A value as a variable. What is wrong is said without it.
fn text_of(bytes: &[u8], what: impl Fn() -> String) -> Result<String, Refusal> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(refuse(format!("{} is no text: mount it as a file", what()))),
    }
}

/// What every task is told.
fn standard(sight: &Sight<'_>) -> Vec<(String, String)> {
    let Sight { node, run, record, .. } = sight;
    let mut env = vec![
        ("MASON_JOB", record.task.job.name.to_string()),
        ("MASON_NAMESPACE", record.task.job.namespace.to_string()),
        ("MASON_INDEX", record.task.index.to_string()),
        ("MASON_COUNT", record.count.to_string()),
        ("MASON_ATTEMPT", record.attempt.to_string()),
        ("MASON_NODE", node.to_string()),
        ("MASON_RUN", run.to_string()),
    ];
    if let Some(partition) = record.partition {
        env.push(("MASON_PARTITION", partition.to_string()));
    }
    // A storage that refuses what comes with a lower number refuses a run that was superseded.
    if let Some(fence) = sight.fence {
        env.push(("MASON_FENCE", fence.to_string()));
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn field_of(sight: &Sight<'_>, field: &str) -> Result<String, String> {
    let Sight { node, run, record, .. } = sight;
    Ok(match field {
        "name" => hostname(record),
        "namespace" => record.task.job.namespace.to_string(),
        "index" => record.task.index.to_string(),
        "node" => node.to_string(),
        "run" => run.to_string(),
        "attempt" => record.attempt.to_string(),
        "ip" => return Err("a run has no address: its network is its own".to_owned()),
        other => return Err(format!("there is no field {other} of a run")),
    })
}

/// `$(NAME)` is the value of an earlier variable; `$$(NAME)` is `$(NAME)`; a name that is not there
/// stays as it is, and so do dollars before anything else: `$$` is a shell's own number. The text,
/// and the names that were replaced; or that it becomes too long.
fn expand(text: &str, env: &[(String, String)]) -> Result<(String, Vec<String>), String> {
    let (mut out, mut named) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let count = rest.bytes().take_while(|byte| *byte == b'$').count();
        if !rest[count..].starts_with('(') {
            out.push_str(&rest[..count]);
            rest = &rest[count..];
            continue;
        }
        // Of two, one stands for itself; what is left over begins a name.
        out.push_str(&rest[..count / 2]);
        rest = &rest[count / 2 * 2..];
        if count % 2 == 0 {
            continue;
        }
        let inner = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        let value = inner.and_then(|(name, after)| {
            let found = env.iter().rev().find(|(known, _)| known == name);
            found.map(|(name, value)| (name, value, after))
        });
        match value {
            Some((name, value, _)) if out.len() + value.len() > TEXT_BYTES_MAX => {
                return Err(format!("with $({name}) it is longer than {TEXT_BYTES_MAX} bytes"));
            }
            Some((name, value, after)) => {
                out.push_str(value);
                named.push(name.clone());
                rest = after;
            }
            None => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Ok((out, named))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands are put together of variables as Kubernetes' users know it.
    #[test]
    fn variables_are_replaced_by_earlier_ones() {
        let env = vec![("A".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())];
        for (text, expected) in [
            ("x$(A)y", "x2y"),
            ("$$(A)", "$(A)"),
            ("$(B)", "$(B)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$$$(A)", "$2"),
            ("$$$$(A)", "$$(A)"),
            ("kill $$; echo $$$", "kill $$; echo $$$"),
            ("$$ $(A)", "$$ 2"),
        ] {
            assert_eq!(expand(text, &env).unwrap().0, expected, "{text}");
        }
    }

    /// Forty variables, each the one before it twice, are a terabyte in the agent's memory.
    #[test]
    fn variables_that_double_are_refused() {
        let mut env = Env { variables: Vec::new(), secret: BTreeSet::new(), bytes: 0 };
        env.put("V0".to_owned(), "x".repeat(1_000), false).unwrap();
        let mut refusals = Vec::new();
        for number in 1..40 {
            let text = format!("$(V{0})$(V{0})", number - 1);
            match expand(&text, &env.variables) {
                Ok((value, _)) => env.put(format!("V{number}"), value, false).unwrap(),
                Err(why) => refusals.push(why),
            }
        }
        assert_eq!(refusals[0], "with $(V7) it is longer than 131071 bytes");
        // None is too long by itself.
        let many = (0..20).map(|number| env.put(format!("W{number}"), "x".repeat(60_000), false));
        let refusal = many.filter_map(Result::err).next().unwrap();
        assert!(refusal.message.contains("longer than 1048576"), "{refusal:?}");
        let words = vec!["$(V6)"; 20];
        let refusal = env.expand_words(&mut Task::new("x", &words)).unwrap_err();
        assert!(refusal.message.contains("the words are longer"), "{refusal:?}");
    }

    /// Command lines are for all to read.
    #[test]
    fn a_secret_is_not_put_into_a_command_line() {
        let mut env = Env { variables: Vec::new(), secret: BTreeSet::new(), bytes: 0 };
        env.put("PASS".to_owned(), "hush".to_owned(), true).unwrap();
        env.put("WHO".to_owned(), "me".to_owned(), false).unwrap();
        let mut task = Task::new("x", &["--user=$(WHO)", "$$(PASS)"]);
        env.expand_words(&mut task).unwrap();
        assert_eq!(task.args, ["--user=me", "$(PASS)"]);
        let mut task = Task::new("x", &["--user=$(WHO)", "--pass=$(PASS)"]);
        let refusal = env.expand_words(&mut task).unwrap_err();
        assert!(refusal.message.starts_with("args[1]: $(PASS) is a secret"), "{refusal:?}");
        assert!(!format!("{refusal:?}{task:?}").contains("hush"));
        // Another value of that name is none.
        env.put("PASS".to_owned(), "open".to_owned(), false).unwrap();
        env.expand_words(&mut task).unwrap();
        assert_eq!(task.args[1], "--pass=open");
    }
}
