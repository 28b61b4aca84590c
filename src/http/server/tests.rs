use super::*;

#[tokio::test]
async fn connections_that_wait_lose_their_places_sooner_when_there_is_no_other() {
    let (places, reserved) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
    let squeezed = Squeezed { places: Some(Arc::clone(&places)) };
    assert_eq!(squeezed.limits(), (HEAD_TIMEOUT, CLIENT_TIMEOUT));
    let over = [Waits::Request(HEAD_TIMEOUT_FULL), Waits::Client(CLIENT_TIMEOUT_FULL)];
    assert!(over.iter().all(|waits| !squeezed.is_over(*waits)));
    let (first, usual) = place(&places, &reserved).await.expect("open");
    assert!(usual);
    assert!(over.iter().all(|waits| squeezed.is_over(*waits)));
    assert!(!squeezed.is_over(Waits::Node), "the node has its own limits");
    let (second, usual) = place(&places, &reserved).await.expect("open");
    assert!(!usual, "for health only");
    drop(first);
    assert!(place(&places, &reserved).await.expect("open").1);
    drop(second);
    assert_eq!(Squeezed { places: None }.limits().1, HEAD_TIMEOUT_RESERVED);
}
