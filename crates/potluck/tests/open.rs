//! An `open` network through the facade: entered by an invitation, without a space commons, and kept
//! apart from one of the same name and another difficulty.

use std::time::Duration;

use potluck::{
    Admission, CommandError, Difficulty, Error, Identity, Node, PuzzleProgress, Read, Space,
    StartError,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

async fn bounded<T>(future: impl IntoFuture<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

fn builder() -> potluck::Builder {
    Node::builder().in_memory().listen(([127, 0, 0, 1], 0).into())
}

fn difficulty(text: &str) -> Difficulty {
    text.parse().expect("a difficulty")
}

async fn founder() -> Node {
    let progress = PuzzleProgress::default();
    let builder = builder().network("garden").admission(Admission::Open);
    let node = builder.difficulty(difficulty("4,6")).puzzle_progress(progress.clone()).start();
    let node = bounded(node).await.expect("starts");
    assert_eq!(progress.now(), None, "nothing is left to be solved");
    node
}

#[tokio::test]
async fn a_record_in_own_is_read_at_another_node_and_commons_is_refused() {
    let first = founder().await;
    let invitation = first.open_invitation().unwrap();
    assert_eq!(invitation.to_string().parse(), Ok(invitation.clone()));
    let second = bounded(builder().invitation(&invitation).start()).await.unwrap();
    bounded(second.ready()).await.unwrap();
    assert_eq!(second.network(), first.network());

    let own = Space::Own(first.public_key());
    bounded(first.kv().put("greeting", "hello").space(own)).await.unwrap();
    let Read::Value(value) = bounded(second.kv().get("greeting").space(own)).await.unwrap() else {
        panic!("it was written");
    };
    assert_eq!(value.text().unwrap(), "hello");
    let refused = bounded(second.kv().put("greeting", "hello")).await.unwrap_err();
    assert!(matches!(refused, Error::Command(CommandError::NoCommons)), "{refused}");
    let refused = second.membership().unwrap_err().to_string();
    assert!(refused.contains("open network"), "{refused}");
}

#[tokio::test]
async fn a_key_that_solves_nothing_and_another_difficulty_do_not_get_in() {
    let first = founder().await;
    let same_name = || builder().network("garden").admission(Admission::Open);
    // One of 268 million keys solves it.
    let unfit = same_name().difficulty(difficulty("28,1")).identity(Identity::from_seed([7; 32]));
    let error = bounded(unfit.start()).await.unwrap_err();
    assert!(matches!(error, Error::Start(StartError::KeyUnfit { .. })), "{error}");
    // Another difficulty is another network: its node is not answered.
    let other = same_name().difficulty(difficulty("4,5")).entry(first.contact());
    let other = bounded(other.start()).await.unwrap();
    assert_ne!(other.network().id, first.network().id);
    bounded(async {
        while first.stats().await.unwrap().node.link.dropped_other_network == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(first.view().await.unwrap().peers, 0);
}
