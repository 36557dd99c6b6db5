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
        a_heartbeat_commits_no_further_than_what_matches
        a_lone_voter_commits_nothing_before_it_is_durable
        a_lost_log_takes_its_acknowledgements_along
        a_short_append_cuts_nothing
        a_snapshot_against_what_is_committed_is_refused
        a_vote_that_a_crash_takes_back_is_not_heard
        a_write_that_was_overtaken_vouches_for_nothing
        an_append_below_the_snapshot_is_accepted
        an_entry_of_the_own_term_commits_the_older_ones
        an_old_refusal_takes_nothing_back
        an_old_write_does_not_count_in_a_later_term
        completions_may_come_in_any_order
        older_terms_do_not_commit_by_counting
        won_again_with_the_first_write_open
    }
    election {
        a_bridge_does_not_bind_the_others
        a_candidate_that_is_ahead_is_heard
        a_chain_settles
        a_leader_that_hears_nobody_resigns
        a_leader_that_is_not_heard_is_replaced
        a_leader_with_a_stalled_disk_resigns
        a_node_that_was_away_disturbs_nobody
        a_refusal_teaches_the_later_term
        a_removed_leader_goes
        a_snapshot_does_not_bind_a_bridge
        late_grants_start_no_second_election
        members_without_pre_vote_do_no_harm
        the_removed_do_not_disturb
        who_alone_reaches_a_quorum_leads_with_a_borrowed_log
    }
    reads {
        a_clock_that_lies_makes_a_read_stale
        a_late_successor_does_not_borrow_the_log_it_lacks
        a_leader_that_was_paused_holds_no_lease
        a_lease_is_counted_from_when_its_round_began
        a_new_leader_reads_after_its_first_commit
        a_new_leader_waits_for_the_old_lease
        a_restarted_follower_reads_what_it_has_applied
        an_early_successor_makes_no_read_stale
        doubled_requests_are_not_answered_from_the_past
        no_lease_is_held_after_a_transfer_begins
        old_acknowledgements_confirm_no_later_read
        reads_are_counted_anew_when_members_go
    }
}
