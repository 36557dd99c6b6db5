//! The variables of a run, and the words of its command that name them.

use std::collections::BTreeSet;

use mason_core::spec::{EnvSource, EnvVar, Task};

use super::{Refusal, Sight, Source, hostname, refuse};

/// The variables of a run.
pub(in super::super) struct Env {
    /// In order; later ones win.
    pub(in super::super) variables: Vec<(String, String)>,
    /// Names of those that a secret is in.
    secret: BTreeSet<String>,
}

impl Env {
    /// Puts variables into the words of a command: `$(NAME)`.
    ///
    /// # Errors
    /// One is a secret: whoever is on the node can read a command line.
    pub(in super::super) fn expand_words(&self, task: &mut Task) -> Result<(), Refusal> {
        for (field, words) in [("command", &mut task.command), ("args", &mut task.args)] {
            for (at, word) in words.iter_mut().enumerate() {
                let (text, named) = expand(word, &self.variables);
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

    fn put(&mut self, name: String, value: String, is_secret: bool) {
        if is_secret {
            self.secret.insert(name.clone());
        } else {
            self.secret.remove(&name);
        }
        self.variables.push((name, value));
    }
}

/// All variables, in order; later ones win.
pub(in super::super) async fn env(source: Source<'_>, sight: &Sight<'_>) -> Result<Env, Refusal> {
    let mut env = Env { variables: standard(sight), secret: BTreeSet::new() };
    for from in &sight.task.env_from {
        let (name, prefix) = (&from.name, &from.prefix);
        let missing = |what: &str| refuse(format!("envFrom: there is no {what} {name}"));
        if from.secret {
            match source.secret(sight.namespace(), name).await? {
                Some(found) => {
                    for (key, plain) in found {
                        let what = || format!("envFrom: {key} of secret {name}");
                        let value = text_of(plain.expose(), what)?;
                        env.put(format!("{prefix}{key}"), value, true);
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
                    env.put(format!("{prefix}{key}"), value, false);
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
            let (text, named) = expand(text, &env.variables);
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
        env.put(variable.name.clone(), value, is_secret);
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
/// stays as it is. The text, and the names that were replaced.
fn expand(text: &str, env: &[(String, String)]) -> (String, Vec<String>) {
    let (mut out, mut named) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
            continue;
        }
        let inner = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        let value = inner.and_then(|(name, after)| {
            let found = env.iter().rev().find(|(known, _)| known == name);
            found.map(|(name, value)| (name, value, after))
        });
        match value {
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
    (out, named)
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
        ] {
            assert_eq!(expand(text, &env).0, expected, "{text}");
        }
    }

    /// Command lines are for all to read.
    #[test]
    fn a_secret_is_not_put_into_a_command_line() {
        let mut env = Env { variables: Vec::new(), secret: BTreeSet::new() };
        env.put("PASS".to_owned(), "hush".to_owned(), true);
        env.put("WHO".to_owned(), "me".to_owned(), false);
        let mut task = Task::new("x", &["--user=$(WHO)", "$$(PASS)"]);
        env.expand_words(&mut task).unwrap();
        assert_eq!(task.args, ["--user=me", "$(PASS)"]);
        let mut task = Task::new("x", &["--user=$(WHO)", "--pass=$(PASS)"]);
        let refusal = env.expand_words(&mut task).unwrap_err();
        assert!(refusal.message.starts_with("args[1]: $(PASS) is a secret"), "{refusal:?}");
        assert!(!format!("{refusal:?}{task:?}").contains("hush"));
        // Another value of that name is none.
        env.put("PASS".to_owned(), "open".to_owned(), false);
        env.expand_words(&mut task).unwrap();
        assert_eq!(task.args[1], "--pass=open");
    }
}
