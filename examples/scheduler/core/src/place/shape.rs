//! What placement sees of a task: all that two tasks must share to be placed alike.
//!
//! A million tasks of an array differ in their index alone. Placement asks once what they may use
//! and where they may go, and calls what it finds a class.

use crate::image::full_name;
use crate::spec::{
    Affinity, Constraint, Operator, Placement, PreferenceOf, Resources, Strategy, Task,
};
use crate::types::JobKey;

/// Everything about a task that decides where it goes, but its index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Whose task it is.
    pub job: JobKey,
    /// What is set aside for it.
    pub request: Resources,
    /// Its image, by the full name under which nodes tell theirs.
    pub image: String,
    /// The runtime class that it needs; any if none.
    pub runtime: Option<String>,
    /// Where it may go, where best, and what its labels are.
    pub placement: Placement,
}

/// So many partitions at most: each new domain is offered to all of them.
pub const PARTITIONS_MAX: u32 = 1024;

/// Why a shape is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("placement.{field}: {rule}")]
pub struct BadShape {
    /// Where it is wrong.
    pub field: String,
    /// What it breaks.
    pub rule: &'static str,
}

impl Shape {
    /// A task that asks for no particular place.
    pub fn new(job: JobKey, request: Resources) -> Shape {
        let (image, placement) = (String::new(), Placement::default());
        Shape { job, request, image, runtime: None, placement }
    }

    /// A task of this template. `memory` takes the place of what the template asks for, when a rule
    /// of its retries has raised it. The image is named in full, as nodes tell theirs.
    pub fn of(job: JobKey, task: &Task, placement: &Placement, memory: Option<u64>) -> Shape {
        let mut request = task.request;
        request.memory = memory.unwrap_or(request.memory);
        let (image, runtime) = (full_name(&task.image), task.runtime.clone());
        Shape { job, request, image, runtime, placement: placement.clone() }
    }

    /// Whether it can be placed at all: whoever reads manifests refuses these with a better
    /// message, but a record in the store can be of anyone's making.
    ///
    /// # Errors
    /// Names the field, and the rule that it breaks.
    pub fn check(&self) -> Result<(), BadShape> {
        let Placement { strategy, require, prefer, near, avoid, tolerate: _, labels: _ } =
            &self.placement;
        check_strategy(strategy)?;
        check_constraints("require", require)?;
        for (i, affinity) in near.iter().enumerate() {
            check_affinity(&format!("near[{i}]"), affinity)?;
        }
        for (i, affinity) in avoid.iter().enumerate() {
            check_affinity(&format!("avoid[{i}]"), affinity)?;
        }
        for (i, preference) in prefer.iter().enumerate() {
            let field = format!("prefer[{i}]");
            if !(1..=100).contains(&preference.weight) {
                return refuse(&format!("{field}.weight"), "a weight is 1 to 100");
            }
            match &preference.what {
                PreferenceOf::Labels(labels) => {
                    check_constraints(&format!("{field}.labels"), labels)?;
                }
                PreferenceOf::Near(one) => check_affinity(&format!("{field}.near"), one)?,
                PreferenceOf::Avoid(one) => check_affinity(&format!("{field}.avoid"), one)?,
            }
        }
        Ok(())
    }
}

fn refuse(field: &str, rule: &'static str) -> Result<(), BadShape> {
    Err(BadShape { field: field.to_owned(), rule })
}

fn check_strategy(strategy: &Strategy) -> Result<(), BadShape> {
    match strategy {
        Strategy::Partition { partitions: 0, .. } => {
            refuse("strategy.partitions", "there is at least one partition")
        }
        Strategy::Partition { partitions, .. } if *partitions > PARTITIONS_MAX => {
            refuse("strategy.partitions", "there are at most 1024 partitions")
        }
        Strategy::Spread { domain, .. } | Strategy::Partition { domain, .. }
            if domain.is_empty() =>
        {
            refuse("strategy.domain", "a domain is the name of a label")
        }
        Strategy::Cluster { domains } if domains.is_empty() => {
            refuse("strategy.domains", "there is at least one label")
        }
        Strategy::Cluster { domains } if domains.iter().any(String::is_empty) => {
            refuse("strategy.domains", "a domain is the name of a label")
        }
        _ => Ok(()),
    }
}

fn check_affinity(field: &str, affinity: &Affinity) -> Result<(), BadShape> {
    if affinity.domain.is_empty() {
        return refuse(&format!("{field}.domain"), "a domain is the name of a label");
    }
    check_constraints(&format!("{field}.select"), &affinity.select)
}

fn check_constraints(field: &str, constraints: &[Constraint]) -> Result<(), BadShape> {
    for (i, one) in constraints.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let number = one.values.len() == 1 && one.values[0].parse::<i64>().is_ok();
        match one.operator {
            _ if one.label.is_empty() => return refuse(&field, "a label has a name"),
            Operator::In | Operator::NotIn if one.values.is_empty() => {
                return refuse(&field, "there is at least one value");
            }
            Operator::Exists | Operator::Missing if !one.values.is_empty() => {
                return refuse(&field, "there are no values to compare with");
            }
            Operator::Gt | Operator::Lt if !number => {
                return refuse(&field, "there is one value, and it is a number");
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Preference;

    fn check(placement: Placement, expected: &str) {
        let mut shape = Shape::new(JobKey::new("a", "b"), Resources::SMALL);
        shape.placement = placement;
        assert_eq!(shape.check().unwrap_err().to_string(), expected);
    }

    /// A retry that may use more memory is another class of the same job.
    #[test]
    fn raised_memory_makes_another_shape_of_the_same_job() {
        let (job, task) = (JobKey::new("a", "b"), Task::new("busybox", &[]));
        let first = Shape::of(job.clone(), &task, &Placement::default(), None);
        let second = Shape::of(job, &task, &Placement::default(), Some(1 << 30));
        assert_eq!(first.request, task.request);
        assert_eq!((second.request.memory, &second.job), (1 << 30, &first.job));
        assert_eq!((second.request.cpu, second.image), (first.request.cpu, first.image));
    }

    /// A partition of none divides by zero, a label without a name matches by accident.
    #[test]
    fn shapes_that_cannot_be_placed_are_named() {
        let strategy = Strategy::Partition { partitions: 0, domain: "zone".into() };
        let base = Placement::default();
        check(
            Placement { strategy, ..base.clone() },
            "placement.strategy.partitions: there is at least one partition",
        );
        let strategy = Strategy::Cluster { domains: Vec::new() };
        check(
            Placement { strategy, ..base.clone() },
            "placement.strategy.domains: there is at least one label",
        );
        let few = Constraint { label: "gen".into(), operator: Operator::Gt, values: Vec::new() };
        check(
            Placement { require: vec![few.clone()], ..base.clone() },
            "placement.require[0]: there is one value, and it is a number",
        );
        let near = Affinity { select: vec![few], namespaces: Vec::new(), domain: "zone".into() };
        let what = PreferenceOf::Near(near);
        check(
            Placement {
                prefer: vec![Preference { weight: 5, what: what.clone() }],
                ..base.clone()
            },
            "placement.prefer[0].near.select[0]: there is one value, and it is a number",
        );
        check(
            Placement { prefer: vec![Preference { weight: 0, what }], ..base },
            "placement.prefer[0].weight: a weight is 1 to 100",
        );
    }
}
