//! A server that loses requests and replies, repeats what was asked of it later, lists late, and has a wrong clock.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::data::Random;

/// How much faster than time the server's clock runs: a day passes within a second.
const CLOCK: u32 = 200_000;

/// What was asked of the server and is done once more.
enum Repeat {
    Create(Path, PutPayload),
    Delete(Path),
}

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Calm,
    /// All lists are as they were some time ago.
    Late,
    /// Everything may go wrong.
    Wild,
}

/// The server.
#[derive(Debug)]
pub struct Server {
    objects: InMemory,
    /// For how long lists may be wrong.
    late: Duration,
    began: Instant,
    state: Mutex<State>,
    mood: Mutex<Mood>,
}

struct State {
    random: Random,
    /// When objects were created.
    created: HashMap<Path, Instant>,
    /// When objects were deleted, and what they were.
    deleted: HashMap<Path, (Instant, ObjectMeta)>,
    repeats: Vec<(Instant, Repeat)>,
    /// What went wrong so far.
    faults: usize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Server {
    pub fn new(seed: u64, late: Duration) -> Arc<Self> {
        let (created, deleted) = (HashMap::new(), HashMap::new());
        let state = State { random: Random::new(seed), created, deleted, repeats: Vec::new(), faults: 0 };
        let (objects, mood) = (InMemory::new(), Mutex::new(Mood::Calm));
        Arc::new(Self { objects, late, began: Instant::now(), state: Mutex::new(state), mood })
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    /// How often something went wrong.
    pub fn faults(&self) -> usize {
        self.state.lock().unwrap().faults
    }

    /// Whether this is one of the times, one in `of`, that something goes wrong.
    fn strikes(&self, of: usize) -> bool {
        if self.mood() != Mood::Wild {
            return false;
        }
        let mut state = self.state.lock().unwrap();
        let strikes = state.random.below(of) == 0;
        state.faults += usize::from(strikes);
        strikes
    }

    async fn create(&self, path: &Path, payload: PutPayload) -> Result<PutResult> {
        let put = self.objects.put_opts(path, payload, PutMode::Create.into()).await?;
        self.state.lock().unwrap().created.insert(path.clone(), Instant::now());
        Ok(put)
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        if let Ok(object) = self.objects.head(path).await {
            self.objects.delete(path).await?;
            self.state.lock().unwrap().deleted.insert(path.clone(), (Instant::now(), object));
        }
        Ok(())
    }

    fn repeat_later(&self, repeat: Repeat) {
        let mut state = self.state.lock().unwrap();
        let after = self.late.mul_f64(state.random.below(400) as f64 / 100.0);
        state.repeats.push((Instant::now() + after, repeat));
    }

    /// Does what is due once more.
    async fn repeat(&self) {
        let due: Vec<Repeat> = {
            let mut state = self.state.lock().unwrap();
            let now = Instant::now();
            let (due, later) = std::mem::take(&mut state.repeats).into_iter().partition(|(at, _)| *at <= now);
            state.repeats = later;
            let due: Vec<(Instant, Repeat)> = due;
            due.into_iter().map(|(_, repeat)| repeat).collect()
        };
        for repeat in due {
            // Whoever asked has had a reply.
            let _ = match repeat {
                Repeat::Create(path, payload) => self.create(&path, payload).await.map(drop),
                Repeat::Delete(path) => self.delete(&path).await,
            };
        }
    }

    /// The objects under a prefix, without some that were created lately, and with some that were deleted lately.
    async fn listed(&self, prefix: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let mut objects: Vec<ObjectMeta> = self.objects.list(prefix).try_collect().await?;
        let mood = self.mood();
        if mood != Mood::Calm {
            let mut state = self.state.lock().unwrap();
            let State { random, created, deleted, faults, .. } = &mut *state;
            let is_recent = |time: &Instant| time.elapsed() < self.late;
            let there = objects.len();
            // Sometimes the list is as it was then, and sometimes it is neither as then nor as now.
            let is_old = mood == Mood::Late || random.below(2) == 0;
            let mut is_wrong = || is_old || random.below(2) == 0;
            objects.retain(|object| !created.get(&object.location).is_some_and(is_recent) || !is_wrong());
            let under = |path: &Path| prefix.is_none_or(|prefix| path.prefix_matches(prefix));
            let gone = deleted.iter().filter(|(path, (time, _))| under(path) && is_recent(time));
            let gone: Vec<ObjectMeta> = gone.map(|(_, (_, object))| object.clone()).collect();
            *faults += there - objects.len();
            for object in gone {
                if is_wrong() && objects.iter().all(|there| there.location != object.location) {
                    *faults += 1;
                    objects.push(object);
                }
            }
        }
        Ok(objects)
    }

    /// When something happened, by the server's clock.
    fn by_clock(&self, path: &Path) -> Option<std::time::SystemTime> {
        let created = *self.state.lock().unwrap().created.get(path)?;
        Some(std::time::SystemTime::UNIX_EPOCH + created.duration_since(self.began) * CLOCK)
    }
}

/// What reaches the server from one process. Once that has died, nothing does.
#[derive(Debug, Clone)]
pub struct Client {
    server: Arc<Server>,
    is_dead: Arc<AtomicBool>,
    /// The process dies at one in so many requests.
    dies: usize,
}

impl Client {
    pub fn new(server: &Arc<Server>, dies: usize) -> Arc<Self> {
        Arc::new(Self { server: server.clone(), is_dead: Arc::default(), dies })
    }

    fn lost(&self) -> Error {
        Error::Generic { store: "server", source: "the connection was lost".into() }
    }

    /// Before a request: it may not arrive.
    async fn before(&self) -> Result<()> {
        self.server.repeat().await;
        if self.server.strikes(self.dies) {
            self.is_dead.store(true, Ordering::SeqCst);
        }
        match self.is_dead.load(Ordering::SeqCst) || self.server.strikes(300) {
            true => Err(self.lost()),
            false => Ok(()),
        }
    }

    /// After it: the reply may not arrive.
    fn after<T>(&self, reply: Result<T>) -> Result<T> {
        if self.server.strikes(300) { Err(self.lost()) } else { reply }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an unreliable server")
    }
}

#[async_trait]
impl ObjectStore for Client {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        assert_eq!(options.mode, PutMode::Create, "{path} would be overwritten");
        self.before().await?;
        let mut reply = self.server.create(path, payload.clone()).await;
        if self.server.strikes(30) {
            // The reply was lost, and the request is made again.
            reply = self.server.create(path, payload.clone()).await;
        }
        if self.server.strikes(30) {
            self.server.repeat_later(Repeat::Create(path.clone(), payload));
        }
        self.after(reply)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.before().await?;
        self.server.objects.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.before().await?;
        let mut reply = self.server.objects.get_opts(path, options).await;
        if let (Ok(found), Some(time)) = (&mut reply, self.server.by_clock(path)) {
            found.meta.last_modified = time.into();
        }
        self.after(reply)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.before().await?;
        self.server.objects.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let client = self.clone();
        let deleted = paths.and_then(move |path| {
            let client = client.clone();
            async move {
                client.before().await?;
                let reply = client.server.delete(&path).await;
                if client.server.strikes(30) {
                    client.server.repeat_later(Repeat::Delete(path.clone()));
                }
                client.after(reply.map(|()| path))
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (server, prefix) = (self.server.clone(), prefix.cloned());
        let is_dead = self.is_dead.load(Ordering::SeqCst) || server.strikes(self.dies);
        self.is_dead.store(is_dead, Ordering::SeqCst);
        let lost = self.lost();
        let listed = async move {
            server.repeat().await;
            let objects = if is_dead { Err(lost) } else { server.listed(prefix.as_ref()).await };
            match objects {
                Ok(objects) => stream::iter(objects.into_iter().map(Ok)).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        unreachable!("a store lists all that is under a name")
    }

    async fn copy_opts(&self, from: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("a store copies nothing, and so not {from}")
    }
}
