//! What is done in a run of each kind, from an empty or a filled store to a [`Sample`].

mod behind;
mod big;
mod compaction;
mod leader;
mod load;
mod million;
mod read_all;

use anyhow::Result;

use super::{Arena, Contender, Course, Sample};

/// Runs the course once with one contender, on a cluster of so many members.
///
/// # Errors
/// If a server or a load fails, or any request did.
pub(super) async fn run(
    arena: &mut Arena,
    course: &Course,
    contender: &Contender,
    members: usize,
) -> Result<Sample> {
    match course {
        Course::Load(load) => load::run(arena, load, contender, members).await,
        Course::Million => million::run(arena, contender, members).await,
        Course::ReadAll => read_all::run(arena, contender, members).await,
        Course::Compaction => compaction::run(arena, contender, members).await,
        Course::Behind => behind::run(arena, contender, members).await,
        Course::LeaderKill => leader::run(arena, contender, members).await,
        Course::Big => big::run(arena, contender, members).await,
    }
}
