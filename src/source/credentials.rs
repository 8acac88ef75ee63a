//! The credentials of one caller, kept until they are nearly used up.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::identity::Identity;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::clock::Clock;

/// How long a provider may take: the SDK's own limit.
const PATIENCE: Duration = Duration::from_secs(5);
/// Credentials that end sooner than this are replaced: the SDK's own margin.
const MARGIN: Duration = Duration::from_secs(10);
/// Credentials that do not say when they end are looked up again after this long, as the SDK does.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// Whoever asks this soon after a failure gets the same failure: a thousand profiles ask one provider at once.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
/// A look-up that has not ended by then is given up. Sooner none is begun beside it: a `credential_process` that hangs
/// would leave a process for every poll.
const GIVEN_UP: Duration = LIFE;
/// Credentials that the service has refused are replaced, but no sooner than this after they were got.
const DOUBTED_AFTER: Duration = Duration::from_secs(10);

/// Asks the provider when it has to; one look-up at a time.
pub struct CachedCredentials {
    provider: Option<SharedCredentialsProvider>,
    clock: Clock,
    patience: Duration,
    held: Mutex<Held>,
}

/// Times are steady ones. The identity's own end is a time of the wall clock, and is looked at as well.
#[derive(Default)]
struct Held {
    identity: Option<Identity>,
    got: Duration,
    look_again: Duration,
    /// The last one, and until when it serves others.
    failure: Option<(Duration, Arc<CredentialsError>)>,
    /// The look-up that has not ended, if there is one, and since when.
    asked: JoinSet<Result<Credentials, CredentialsError>>,
    asked_at: Duration,
}

impl CachedCredentials {
    pub fn new(provider: Option<SharedCredentialsProvider>, clock: Clock) -> CachedCredentials {
        CachedCredentials {
            provider,
            clock,
            patience: PATIENCE,
            held: Mutex::default(),
        }
    }

    /// Credentials as the signer takes them. Those that are still good stay in use while the provider fails.
    pub async fn get(&self) -> Result<Identity, Arc<CredentialsError>> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        let wall = SystemTime::from(now.wall);
        let ends_after = |margin: Duration| {
            let expiry = held.identity.as_ref().and_then(Identity::expiration);
            expiry.is_none_or(|expiry| expiry > wall + margin)
        };
        if let Some(identity) = &held.identity
            && now.steady < held.look_again
            && ends_after(MARGIN)
        {
            return Ok(identity.clone());
        }
        let still_good = held.identity.clone().filter(|_| ends_after(Duration::ZERO));
        if let Some((until, failure)) = &held.failure
            && now.steady < *until
        {
            let failure = Arc::clone(failure);
            return still_good.ok_or(failure);
        }
        let looked = self.look_up(&mut held, now.steady).await;
        let now = self.clock.now();
        match looked {
            Ok(credentials) => {
                let identity = Identity::from(credentials);
                *held = Held {
                    identity: Some(identity.clone()),
                    got: now.steady,
                    look_again: now.steady.saturating_add(LIFE),
                    ..Held::default()
                };
                Ok(identity)
            }
            Err(error) => {
                let error = Arc::new(error);
                held.failure = Some((now.steady + FAILURE_HOLDS, Arc::clone(&error)));
                still_good.ok_or(error)
            }
        }
    }

    /// The service does not take them: whoever calls next looks whether there are others.
    pub fn doubt(&self) {
        // Locked: they are being looked up.
        if let Ok(mut held) = self.held.try_lock() {
            let soonest = held.got.saturating_add(DOUBTED_AFTER);
            held.look_again = held.look_again.min(soonest);
        }
    }

    /// What a look-up that was too slow brings serves whoever asks next.
    async fn look_up(
        &self,
        held: &mut Held,
        now: Duration,
    ) -> Result<Credentials, CredentialsError> {
        let Some(provider) = &self.provider else {
            return Err(CredentialsError::not_loaded("no provider is configured"));
        };
        if now >= held.asked_at.saturating_add(GIVEN_UP) {
            held.asked = JoinSet::new();
        }
        if held.asked.is_empty() {
            let provider = provider.clone();
            held.asked_at = now;
            held.asked
                .spawn(async move { provider.provide_credentials().await });
        }
        match tokio::time::timeout(self.patience, held.asked.join_next()).await {
            Ok(Some(Ok(looked))) => looked,
            Ok(Some(Err(error))) => Err(CredentialsError::unhandled(error)),
            Ok(None) | Err(_) => Err(CredentialsError::provider_timed_out(self.patience)),
        }
    }
}

impl fmt::Debug for CachedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachedCredentials")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use aws_credential_types::provider::future;
    use jiff::{SignedDuration, Timestamp};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::clock::Now;

    /// The first `good` look-ups bring credentials of this life, the others fail.
    #[derive(Debug)]
    struct Provider {
        asked: Arc<AtomicU64>,
        good: u64,
        life: Option<Duration>,
    }

    impl ProvideCredentials for Provider {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let expiry = self.life.map(|life| start() + life * number as u32);
            future::ProvideCredentials::ready(if number <= self.good {
                let id = format!("AKID{number}");
                Ok(Credentials::new(id, "s", None, expiry, "test"))
            } else {
                Err(CredentialsError::not_loaded("planted"))
            })
        }
    }

    fn start() -> SystemTime {
        SystemTime::from(Timestamp::UNIX_EPOCH)
    }

    struct Scene {
        held: CachedCredentials,
        asked: Arc<AtomicU64>,
        seconds: Arc<AtomicU64>,
    }

    impl Scene {
        fn new(good: u64, life: Option<u64>) -> Scene {
            let (asked, seconds) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
            let provider = Provider {
                asked: Arc::clone(&asked),
                good,
                life: life.map(Duration::from_secs),
            };
            let read = Arc::clone(&seconds);
            let clock = Clock::of(move || {
                let seconds = read.load(Ordering::SeqCst);
                Now {
                    wall: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds as i64),
                    steady: Duration::from_secs(seconds),
                }
            });
            let provider = Some(SharedCredentialsProvider::new(provider));
            let held = CachedCredentials::new(provider, clock);
            Scene {
                held,
                asked,
                seconds,
            }
        }

        /// At this second: whose credentials they are, `-` where there are none, and how often the provider was asked.
        async fn at(&self, second: u64) -> (String, u64) {
            self.seconds.store(second, Ordering::SeqCst);
            let who = self.held.get().await.map_or("-".to_owned(), |identity| {
                let credentials = identity.data::<Credentials>().unwrap();
                credentials.access_key_id().to_owned()
            });
            (who, self.asked.load(Ordering::SeqCst))
        }
    }

    fn is(who: &str, asked: u64) -> (String, u64) {
        (who.to_owned(), asked)
    }

    #[tokio::test]
    async fn credentials_are_replaced_ten_seconds_before_they_end() {
        let scene = Scene::new(9, Some(3600));
        assert_eq!(scene.at(0).await, is("AKID1", 1));
        // Those that end are looked for again after a quarter of an hour like all others.
        assert_eq!(scene.at(899).await, is("AKID1", 1));
        let scene = Scene::new(9, Some(60));
        assert_eq!(scene.at(0).await, is("AKID1", 1));
        assert_eq!(scene.at(49).await, is("AKID1", 1));
        assert_eq!(scene.at(50).await, is("AKID2", 2));
    }

    #[tokio::test]
    async fn credentials_without_an_end_are_looked_up_again_after_a_quarter_of_an_hour() {
        let scene = Scene::new(9, None);
        assert_eq!(scene.at(0).await, is("AKID1", 1));
        assert_eq!(scene.at(899).await, is("AKID1", 1));
        assert_eq!(scene.at(900).await, is("AKID2", 2));
    }

    #[tokio::test]
    async fn good_credentials_stay_in_use_while_the_provider_fails() {
        let scene = Scene::new(1, Some(60));
        assert_eq!(scene.at(0).await, is("AKID1", 1));
        assert_eq!(scene.at(55).await, is("AKID1", 2));
        assert_eq!(scene.at(59).await, is("AKID1", 3));
        assert_eq!(scene.at(60).await, is("-", 4));
    }

    #[tokio::test]
    async fn one_failure_serves_all_who_ask_within_a_second() {
        let scene = Scene::new(0, None);
        for _ in 0..3 {
            assert_eq!(scene.at(0).await, is("-", 1));
        }
        assert_eq!(scene.at(1).await, is("-", 2));
    }

    /// Each look-up waits for a permit.
    #[derive(Debug)]
    struct Slow(Arc<AtomicU64>, Arc<Semaphore>);

    impl ProvideCredentials for Slow {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            future::ProvideCredentials::new(async move {
                self.1.acquire().await.unwrap().forget();
                let id = format!("AKID{number}");
                Ok(Credentials::new(id, "s", None, None, "test"))
            })
        }
    }

    #[tokio::test]
    async fn one_look_up_is_under_way_and_what_it_brings_late_serves_whoever_asks_next() {
        let mut scene = Scene::new(0, None);
        let permits = Arc::new(Semaphore::new(0));
        let slow = Slow(Arc::clone(&scene.asked), Arc::clone(&permits));
        scene.held.provider = Some(SharedCredentialsProvider::new(slow));
        scene.held.patience = Duration::from_millis(10);
        for second in [0, 6, 12] {
            assert_eq!(scene.at(second).await, is("-", 1));
        }
        permits.add_permits(1);
        assert_eq!(scene.at(18).await, is("AKID1", 1));
        // The next one hangs, and is given up after a quarter of an hour.
        assert_eq!(scene.at(918).await, is("AKID1", 2));
        scene.held.held.lock().await.identity = None;
        assert_eq!(scene.at(1817).await, is("-", 2));
        assert_eq!(scene.at(1818).await, is("-", 3));
    }

    #[tokio::test]
    async fn credentials_that_the_service_refuses_are_looked_up_again_but_not_all_the_time() {
        let scene = Scene::new(9, None);
        assert_eq!(scene.at(0).await, is("AKID1", 1));
        scene.held.doubt();
        assert_eq!(scene.at(9).await, is("AKID1", 1));
        assert_eq!(scene.at(10).await, is("AKID2", 2));
        scene.held.doubt();
        assert_eq!(scene.at(19).await, is("AKID2", 2));
    }
}
