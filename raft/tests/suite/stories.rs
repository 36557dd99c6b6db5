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
        an_answer_waits_for_its_own_entry
        an_append_below_the_snapshot_is_accepted
        an_entry_of_the_own_term_commits_the_older_ones
        an_old_acknowledgement_does_not_count_in_a_later_term
        an_old_refusal_takes_nothing_back
        an_old_write_does_not_count_in_a_later_term
        completions_may_come_in_any_order
        older_terms_do_not_commit_by_counting
        two_that_overtake_a_third_are_two
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
        five_that_stand_at_once
        late_grants_start_no_second_election
        members_without_pre_vote_do_no_harm
        the_removed_do_not_disturb
        who_alone_reaches_a_quorum_leads_with_a_borrowed_log
    }
    reads {
        a_clock_that_lies_makes_a_read_stale
        a_late_successor_does_not_borrow_the_log_it_lacks
        a_leader_that_was_paused_holds_no_lease
        a_lease_costs_no_message
        a_lease_is_counted_from_when_its_round_began
        a_new_leader_reads_after_its_first_commit
        a_new_leader_waits_for_the_old_lease
        a_restarted_follower_reads_what_it_has_applied
        an_early_successor_makes_no_read_stale
        an_old_reply_answers_no_later_read
        doubled_requests_are_not_answered_from_the_past
        many_reads_share_a_round
        no_lease_is_held_after_a_transfer_begins
        old_acknowledgements_confirm_no_later_read
        reads_are_counted_anew_when_members_go
    }
    members {
        a_change_below_a_snapshot_is_forgotten
        a_change_that_is_cut_off_is_taken_back
        a_group_recovered_by_force_refuses_the_old_one
        a_joint_change_that_some_do_not_know_leaves_a_leader
        a_joint_change_that_the_new_voter_does_not_know_leaves_a_leader
        a_leader_on_its_way_out_counts_its_vote
        a_new_leader_leaves_the_joint_configuration
        a_promoted_learner_votes_before_it_knows
        a_successor_stands_only_with_the_whole_log_on_its_disk
        a_witness_that_is_far_behind_needs_no_snapshot
        a_witness_votes_and_stores_no_command
        an_addition_and_a_removal_behind_each_others_back
        both_sets_decide_while_joint
        one_change_at_a_time_is_open
        the_office_goes_to_who_is_wanted_most
        two_additions_behind_each_others_back
        two_removals_behind_each_others_back
    }
    flow {
        a_conflict_takes_no_more_probes_than_terms
        a_follower_that_crashes_during_a_snapshot_is_served_again
        a_full_window_stays_as_it_is
        a_leader_that_cannot_read_its_last_entries_puts_one_behind_them
        a_leader_that_cannot_read_its_log_sends_nothing_from_nowhere
        a_leader_that_crashes_during_a_snapshot_is_replaced
        a_leader_that_loses_what_is_not_committed_stops
        a_log_without_room_leaves_a_follower_behind_and_says_so
        a_lost_offer_is_made_again
        a_silent_group_costs_nothing_and_wakes_when_asked
        a_snapshot_in_place_of_pending_work_leaves_nobody_waiting
        a_snapshot_that_cannot_be_fetched_is_offered_again
        a_snapshot_that_comes_too_late_is_left_alone
        an_idle_compacted_leader_brings_a_new_member_up
        another_snapshot_than_was_offered_will_do
        compaction_waits_for_a_follower_that_catches_up
        proposals_are_refused_during_a_transfer
        the_followers_own_word_ends_the_wait
        what_gets_lost_is_probed_for_once_a_heartbeat
        what_is_not_applied_is_not_compacted
        what_is_not_committed_is_limited
        who_is_left_behind_is_named_once
    }
    disks {
        a_disk_that_lied_is_found_out
        a_follower_whose_disk_failed_says_nothing_more
        a_group_that_lost_its_votes_waits_and_goes_on
        a_hole_is_not_filled_by_guess
        a_lost_end_is_no_vote_for_a_shorter_log
        a_lost_vote_is_not_given_twice
        a_member_without_its_snapshot_fetches_one
        a_misdirected_write_costs_nothing_that_others_have
        a_node_whose_disk_failed_says_nothing_more
        a_rotten_entry_is_mended_and_nothing_is_cut
        a_rotten_snapshot_is_not_sent
        a_torn_end_that_nobody_was_told_of_leaves_no_doubt
        a_voter_that_lost_its_end_elects_nobody_who_may_lack_it
        an_end_that_is_lost_at_work_is_not_cut_where_it_counts
        holes_in_every_log_are_mended_from_each_other
        one_whole_copy_of_three_is_enough
        rot_that_is_found_at_work_is_mended_too
    }
}
