//! Places, of downloads and of what makes some. There are so many, and of these each project and each other registry gets a share: a
//! registry that gives nothing, or a project that asks for everything, leaves room for the others. Whoever waited longest comes first, of
//! those who may.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Downloads at a time; each holds 1 MiB for those who read along.
const AT_ONCE: usize = 32;
/// Of these for one project, and from one other registry. Two that take all they may leave a quarter.
const SHARE: usize = 12;

/// The projects that want a download, by their ids: a place for one of them is enough. More may join while it waits.
pub(super) type Projects = Arc<Mutex<BTreeSet<String>>>;

/// The places; as many as downloads have, unless made otherwise.
#[derive(Clone)]
pub struct Places(Arc<Mutex<Held>>);

struct Held {
    at_once: usize,
    share: usize,
    taken: usize,
    by_project: HashMap<String, usize>,
    by_host: HashMap<String, usize>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    host: String,
    projects: Projects,
    grant: oneshot::Sender<Place>,
}

/// A place, until dropped.
pub struct Place {
    places: Places,
    project: String,
    host: String,
}

impl Default for Places {
    fn default() -> Self {
        Self::new(AT_ONCE, SHARE)
    }
}

impl Places {
    /// So many, of which a project, or what comes from one registry, takes no more than a share.
    pub fn new(at_once: usize, share: usize) -> Self {
        let (by_project, by_host) = (HashMap::new(), HashMap::new());
        let held = Held { at_once, share, taken: 0, by_project, by_host, waiting: VecDeque::new() };
        Self(Arc::new(Mutex::new(held)))
    }

    /// A place for something of `project` that comes from `host`, if there is one now.
    pub fn try_enter(&self, host: &str, project: &str) -> Option<Place> {
        self.lock().take(host, [project])?;
        Some(Place { places: self.clone(), project: project.to_owned(), host: host.to_owned() })
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        let held = self.lock();
        held.at_once - held.taken
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place to download from `host`; `None` when none will come any more.
    pub(super) async fn enter(&self, host: &str, projects: &Projects) -> Option<Place> {
        let (grant, granted) = oneshot::channel();
        let projects = Arc::clone(projects);
        self.lock().waiting.push_back(Waiting { host: host.to_owned(), projects, grant });
        self.hand_out();
        granted.await.ok()
    }

    /// Gives places to those who may have one now: after one got free, or a project joined those that want a download.
    pub(super) fn hand_out(&self) {
        let granted = self.lock().grant();
        for (waiting, project) in granted {
            let place = Place { places: self.clone(), project, host: waiting.host };
            // Who waits no more drops it, which frees it.
            let _ = waiting.grant.send(place);
        }
    }
}

impl Held {
    fn grant(&mut self) -> Vec<(Waiting, String)> {
        let mut granted = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.grant.is_closed() {
                continue;
            }
            let projects = waiting.projects.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match self.take(&waiting.host, projects.iter().map(String::as_str)) {
                Some(project) => granted.push((waiting, project)),
                None => self.waiting.push_back(waiting),
            }
        }
        granted
    }

    /// Takes a place, for the first of the projects that may have one; gives which.
    fn take<'a>(&mut self, host: &str, projects: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let share = self.share;
        let has_room = |taken: &HashMap<String, usize>, of: &str| taken.get(of).is_none_or(|taken| *taken < share);
        if self.taken >= self.at_once || !has_room(&self.by_host, host) {
            return None;
        }
        let project = projects.into_iter().find(|project| has_room(&self.by_project, project))?.to_owned();
        self.taken += 1;
        *self.by_project.entry(project.clone()).or_default() += 1;
        *self.by_host.entry(host.to_owned()).or_default() += 1;
        Some(project)
    }

    fn free(&mut self, place: &Place) {
        self.taken -= 1;
        for (taken, of) in [(&mut self.by_project, &place.project), (&mut self.by_host, &place.host)] {
            if let Some(count) = taken.get_mut(of) {
                *count -= 1;
            }
            taken.retain(|_, count| *count > 0);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().free(self);
        self.places.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn of(projects: &[&str]) -> Projects {
        Arc::new(Mutex::new(projects.iter().map(|&project| project.to_owned()).collect()))
    }

    /// As many places as there are at once.
    fn take_all(places: &Places, host: &str, project: &str) -> Vec<Place> {
        let project = of(&[project]);
        std::iter::from_fn(|| places.enter(host, &project).now_or_never().flatten()).collect()
    }

    #[tokio::test]
    async fn neither_a_project_nor_a_host_holds_all() {
        let places = Places::default();
        let greedy = take_all(&places, "slow.example", "demo");
        assert_eq!(greedy.len(), SHARE);
        let other_host = take_all(&places, "quay.io", "demo");
        assert_eq!(other_host.len(), 0, "the project has its share");
        let other_project = take_all(&places, "slow.example", "shop");
        assert_eq!(other_project.len(), 0, "the registry has its share");
        let shop = take_all(&places, "quay.io", "shop");
        assert_eq!(shop.len(), SHARE);
        let rest = take_all(&places, "ghcr.io", "web");
        assert_eq!(rest.len(), AT_ONCE - 2 * SHARE);
        assert_eq!(take_all(&places, "docker.io", "last").len(), 0);
        drop((greedy, shop, rest));
        assert_eq!(places.lock().taken, 0);
        assert!(places.lock().by_host.is_empty() && places.lock().by_project.is_empty());
    }

    #[tokio::test]
    async fn a_place_that_got_free_goes_to_the_first_who_may_have_it() {
        let places = Places::default();
        let mut held = take_all(&places, "slow.example", "demo");
        let (demo, shop) = (of(&["demo"]), of(&["shop"]));
        let mut first = Box::pin(places.enter("slow.example", &demo));
        assert!(first.as_mut().now_or_never().is_none());
        let mut gone = Box::pin(places.enter("slow.example", &demo));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut second = Box::pin(places.enter("slow.example", &shop));
        assert!(second.as_mut().now_or_never().is_none());
        drop(gone);
        held.pop();
        let first = first.now_or_never().flatten().expect("the first");
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(second.now_or_never().flatten().expect("the second").project, "shop");
    }

    #[tokio::test]
    async fn whoever_joins_brings_a_share_of_their_own() {
        let places = Places::default();
        let _held = take_all(&places, "slow.example", "demo");
        let projects = of(&["demo"]);
        let mut waiting = Box::pin(places.enter("quay.io", &projects));
        assert!(waiting.as_mut().now_or_never().is_none());
        projects.lock().unwrap().insert("shop".to_owned());
        places.hand_out();
        assert_eq!(waiting.now_or_never().flatten().expect("a place").project, "shop");
    }
}
