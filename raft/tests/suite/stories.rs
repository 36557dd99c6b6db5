//! Every story of `tests/scripts`, as a test of its name.
//!
//! A story begins with why it matters and which scenario it tells; `tests/scripts/README.md` says
//! how to read one. Those that it takes thousands of seeds to tell are tests in Rust.

/// A test for each story of each room.
macro_rules! stories {
    ($($room:ident { $($story:ident)* })*) => {
        $(mod $room {
            $(#[test]
            fn $story() {
                crate::lab::play(concat!(stringify!($room), "/", stringify!($story)));
            })*
        })*
    };
}

stories! {
    log {
        older_terms_do_not_commit_by_counting
        an_entry_of_the_own_term_commits_the_older_ones
        an_old_write_does_not_count_in_a_later_term
        won_again_with_the_first_write_open
        a_write_that_was_overtaken_vouches_for_nothing
        completions_may_come_in_any_order
        a_lone_voter_commits_nothing_before_it_is_durable
        a_short_append_cuts_nothing
        an_append_below_the_snapshot_is_accepted
        a_heartbeat_commits_no_further_than_what_matches
        a_lost_log_takes_its_acknowledgements_along
        an_old_refusal_takes_nothing_back
        a_snapshot_against_what_is_committed_is_refused
        a_vote_that_a_crash_takes_back_is_not_heard
    }
}
