//! The queue: one suite of behaviour over both backends, and what only one of them can show.

mod bed;
mod behaviour;
mod deleted;
mod embedded;
mod killers;
mod links;
mod rabbitmq;
mod width;

/// Runs each behaviour on both backends.
macro_rules! on_both {
    ($($module:ident :: $behaviour:ident),* $(,)?) => {
        mod on_the_embedded_queue {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() -> anyhow::Result<()> {
                super::$module::$behaviour(&super::bed::Bed::embedded()?).await
            })*
        }
        mod on_rabbitmq {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() -> anyhow::Result<()> {
                super::$module::$behaviour(&super::bed::Bed::rabbitmq().await?).await
            })*
        }
    };
}

on_both![
    behaviour::what_was_published_comes_out_byte_for_byte_and_in_order,
    behaviour::an_accepted_message_outlives_its_publisher,
    behaviour::each_lane_gets_its_own_messages,
    behaviour::a_batch_is_no_larger_than_asked_for,
    behaviour::a_failed_attempt_returns_to_its_own_lane_and_is_counted,
    behaviour::a_message_whose_steps_are_used_up_is_dead,
    behaviour::a_dead_letter_keeps_its_reason_key_and_bytes,
    behaviour::a_settled_message_never_comes_again,
    behaviour::what_is_handed_back_counts_nothing,
    behaviour::a_cancelled_receive_loses_nothing,
    behaviour::two_consumers_never_hold_the_same_message,
    behaviour::a_message_of_another_consumer_is_left_alone,
    behaviour::a_closed_publisher_takes_nothing,
    behaviour::a_key_without_a_queue_is_refused,
    behaviour::every_queue_is_counted,
    behaviour::a_publisher_that_works_is_ready,
    killers::a_message_that_was_handed_out_before_comes_alone,
    killers::a_killer_ends_among_the_dead_and_its_neighbours_live,
    killers::a_killer_that_was_sent_round_again_is_counted_on,
    killers::suspects_are_sent_round_once_however_often_the_caller_cancels,
    killers::a_consumer_beside_the_killed_one_takes_no_neighbours_along,
];
