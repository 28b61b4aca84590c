use super::*;

fn activity() -> Arc<Activity> {
    Arc::new(Activity { under_way: AtomicUsize::new(0), since: Mutex::new(Instant::now()) })
}

#[test]
fn a_connection_is_idle_once_its_last_answer_was_taken() {
    let activity = activity();
    assert!(activity.idle().is_some());
    let (first, second) = (activity.begin(), activity.begin());
    assert_eq!(activity.idle(), None);
    drop(first);
    assert_eq!(activity.idle(), None);
    let body = Noted { body: Body::from("x"), _under_way: second };
    assert_eq!(body.size_hint().exact(), Some(1));
    assert_eq!(activity.idle(), None, "its answer is being sent");
    drop(body);
    assert!(activity.idle().is_some());
}

#[tokio::test]
async fn idle_connections_lose_their_places_sooner_when_there_is_no_other() {
    let (places, reserved) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
    let squeezed = Squeezed { places: Some(Arc::clone(&places)) };
    assert_eq!(squeezed.limit(), HEAD_TIMEOUT);
    let (first, usual) = place(&places, &reserved).await.expect("open");
    assert!(usual);
    assert_eq!(squeezed.limit(), HEAD_TIMEOUT_FULL);
    let (second, usual) = place(&places, &reserved).await.expect("open");
    assert!(!usual, "for health only");
    drop(first);
    assert!(place(&places, &reserved).await.expect("open").1);
    drop(second);
    assert_eq!(Squeezed { places: None }.limit(), HEAD_TIMEOUT_RESERVED);
}
