//! What was read a moment ago and still holds, so that a thousand pulls of one image do not ask the database a thousand times.
//!
//! Nothing remembered outlives the next commit of this process that could change it, and nothing is remembered longer than
//! [`GOOD_FOR`], which is how late this process may see what another one wrote. Only what was found is remembered: what is new is
//! there at once, whoever made it. See `docs/decisions/0010`.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Backend, Store};

/// The longest that anything is remembered.
pub const GOOD_FOR: Duration = Duration::from_secs(1);

/// What a thing was read from, and so which commits end its being remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Who may do what where: users, tokens, roles, projects, streams, configs, builds. Ended by every commit that does not say that it
    /// leaves all this as it is.
    Rights,
    /// Besides, what tags point to and what repositories serve. Ended by every commit but those that only add what nobody asked for
    /// yet. Not remembered where several servers share a database: what was pushed through one of them is pulled from another at once.
    Content,
}

/// What a transaction leaves as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Nothing, as far as is known: the safe answer, and so what a transaction says that says nothing.
    #[default]
    Nothing,
    /// Whatever [`Ground::Rights`] stands for.
    Rights,
    /// Everything that could be found before: it only adds.
    Found,
}

/// Counts the commits that end what is remembered.
#[derive(Debug, Default)]
pub(super) struct Commits {
    rights: AtomicU64,
    content: AtomicU64,
}

impl Commits {
    fn count(&self, leaves: Leaves) {
        // Sequentially consistent, so that whoever was told of a commit does not find what was before it.
        match leaves {
            Leaves::Nothing => {
                self.rights.fetch_add(1, Ordering::SeqCst);
                self.content.fetch_add(1, Ordering::SeqCst);
            }
            Leaves::Rights => _ = self.content.fetch_add(1, Ordering::SeqCst),
            Leaves::Found => {}
        }
    }

    fn of(&self, ground: Ground) -> u64 {
        match ground {
            Ground::Rights => self.rights.load(Ordering::SeqCst),
            Ground::Content => self.content.load(Ordering::SeqCst),
        }
    }
}

/// Ends what is remembered when it is dropped: after a commit, and also when nobody waits for the commit any more.
pub(super) struct Ending {
    commits: Arc<Commits>,
    pub(super) leaves: Leaves,
}

impl Ending {
    pub(super) fn of(commits: &Arc<Commits>) -> Self {
        Self { commits: Arc::clone(commits), leaves: Leaves::default() }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.commits.count(self.leaves);
    }
}

/// A moment before something was read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    commits: u64,
    at: Instant,
}

/// Things by their keys, as many as fit into a budget.
pub struct Memory<K, V> {
    commits: Arc<Commits>,
    ground: Ground,
    /// The most that all entries together weigh; 0 remembers nothing.
    budget: usize,
    kept: Mutex<Kept<K, V>>,
}

struct Kept<K, V> {
    weight: usize,
    entries: HashMap<K, Entry<V>>,
}

struct Entry<V> {
    value: V,
    weight: usize,
    since: Reading,
}

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// An empty memory of what is read from this store. What an entry weighs is for those to say who keep it.
    pub fn new(store: &Store, ground: Ground, budget: usize) -> Self {
        Self::beside(&store.commits, store.backend(), ground, budget)
    }

    /// The same for a store that is being made.
    pub(super) fn beside(commits: &Arc<Commits>, backend: Backend, ground: Ground, budget: usize) -> Self {
        let is_shared = backend == Backend::Postgres;
        let budget = if is_shared && ground == Ground::Content { 0 } else { budget };
        let kept = Mutex::new(Kept { weight: 0, entries: HashMap::new() });
        Self { commits: Arc::clone(commits), ground, budget, kept }
    }

    /// Now: to be taken before what is to be kept is read.
    pub fn moment(&self) -> Reading {
        Reading { commits: self.commits.of(self.ground), at: Instant::now() }
    }

    /// What is remembered under the key.
    pub fn recall(&self, key: &K) -> Option<V> {
        let now = self.moment();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.get(key).filter(|entry| entry.since.still_holds(now)).map(|entry| entry.value.clone())
    }

    /// Remembers what was read after that moment.
    pub fn keep(&self, key: K, value: V, weight: usize, since: Reading) {
        let now = self.moment();
        if weight > self.budget || !since.still_holds(now) {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.weight + weight > self.budget {
            // Everything is read again within a second anyway: to forget it all is as good as to choose.
            *kept = Kept { weight: 0, entries: HashMap::new() };
        }
        kept.weight += weight;
        if let Some(replaced) = kept.entries.insert(key, Entry { value, weight, since }) {
            kept.weight -= replaced.weight;
        }
    }
}

impl Reading {
    fn still_holds(self, now: Self) -> bool {
        self.commits == now.commits && now.at.duration_since(self.at) < GOOD_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Actor;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn a_commit_ends_what_it_could_change() {
        for store in each_store().await {
            project(&store, "demo").await;
            let stream = store.ensure_stream("demo", &"a".parse().unwrap(), &Actor::system("test")).await.unwrap();
            let rights = Memory::new(&store, Ground::Rights, 10);
            let content = Memory::new(&store, Ground::Content, 10);
            let keep = || {
                rights.keep("key", 1, 1, rights.moment());
                content.keep("key", 1, 1, content.moment());
            };
            let kept = || (rights.recall(&"key").is_some(), content.recall(&"key").is_some());
            let alone = store.backend() == Backend::Sqlite;
            keep();
            assert_eq!(kept(), (true, alone));
            store.link_blob(&stream.id, "sha256:a", 1, None).await.unwrap();
            assert_eq!(kept(), (true, alone), "a new blob changes nothing that was found");
            let image = crate::model::NewImage { digest: "sha256:b".to_owned(), ..Default::default() };
            store.put_manifest(&stream, &image, None, &Actor::system("test")).await.unwrap();
            assert_eq!(kept(), (true, false), "a push changes what is served, not who may do what");
            keep();
            project(&store, "other").await;
            assert_eq!(kept(), (false, false));
        }
    }

    #[tokio::test]
    async fn what_was_read_before_a_commit_is_not_kept_after_it() {
        for store in each_store().await {
            let memory = Memory::new(&store, Ground::Rights, 10);
            let before = memory.moment();
            project(&store, "demo").await;
            memory.keep("key", 1, 1, before);
            assert_eq!(memory.recall(&"key"), None);
        }
    }

    #[tokio::test]
    async fn the_budget_holds() {
        for store in each_store().await {
            let memory = Memory::new(&store, Ground::Rights, 10);
            let remembered = |keys: std::ops::Range<u32>| keys.filter(|key| memory.recall(key).is_some()).count();
            memory.keep(100, 'x', 11, memory.moment());
            assert_eq!(remembered(100..101), 0, "what alone is too much is not kept");
            for key in 0..100 {
                memory.keep(key, 'x', 1, memory.moment());
                assert!(remembered(0..100) <= 10 && memory.recall(&key).is_some());
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_remembered_for_long() {
        let store = &each_store().await[0];
        let memory = Memory::new(store, Ground::Rights, 10);
        let long_ago = Instant::now().checked_sub(GOOD_FOR).unwrap();
        memory.keep("key", 1, 1, Reading { at: long_ago, ..memory.moment() });
        assert_eq!(memory.recall(&"key"), None);
    }
}
