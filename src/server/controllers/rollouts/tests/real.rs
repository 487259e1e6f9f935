//! One story on a real engine: roll out, follow the tag, lose the process, go back and stay there, end.

use super::*;
use crate::model::{AppPort, HoldUntil, PublishMode};
use crate::server::rollout::swarm::tests::{Fixture, ask};

/// For one rollout on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

struct Story {
    store: TestStore,
    fixture: Fixture,
}

impl Story {
    async fn begin() -> Self {
        let fixture = tokio::task::spawn_blocking(|| Fixture::new(false)).await.unwrap();
        let store = each_store().await.remove(0);
        project(&store, "demo").await;
        Self { store, fixture }
    }

    /// A process of the server, as far as rollouts are concerned.
    fn process(&self) -> Rollouts {
        Rollouts::new(self.store.clone(), Arc::new(self.fixture.engine()), self.fixture.host.clone())
    }

    async fn push(&self, version: usize) {
        push(&self.store, "app", self.fixture.digests()[version]).await;
        self.store.request_ready_rollouts().await.unwrap();
    }

    async fn app(&self) -> App {
        self.store.app("demo", "web").await.unwrap()
    }

    async fn rollout(&self) -> RolloutRow {
        let app = self.app().await;
        self.store.find_rollout(&app.id, app.last_number).await.unwrap().unwrap()
    }

    /// Runs the controller as its loop does, until the newest rollout is over; gives what every replica answers.
    async fn settle(&self, process: &Rollouts) -> (RolloutRow, Vec<String>) {
        let start = Instant::now();
        let rollout = loop {
            let again = step(process).await.unwrap().unwrap_or(LOOK);
            let rollout = self.rollout().await;
            if !is_active(&rollout) {
                break rollout;
            }
            assert!(start.elapsed() < PATIENCE, "{rollout:?}\n{:?}", self.app().await.observed);
            tokio::time::sleep(again.min(LOOK)).await;
        };
        let observed: Observed = serde_json::from_str(&self.app().await.observed.unwrap()).unwrap();
        let answers = observed.replicas.iter().map(|replica| ask(replica.ports[0].1)).collect();
        (rollout, answers)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_follows_its_tag_and_goes_back_and_stays() {
    let story = Story::begin().await;
    let process = story.process();
    story.push(0).await;
    let ports = vec![AppPort { container: 8080, published: None, mode: PublishMode::Host }];
    let fields = fields("app", AppSpec { replicas: 2, ports, ..AppSpec::default() });
    story.store.create_app("demo", &"web".parse().unwrap(), &fields, &actor()).await.unwrap();

    story.store.request_ready_rollouts().await.unwrap();
    let (rollout, answers) = story.settle(&process).await;
    assert_eq!((rollout.phase, answers), (RolloutPhase::Complete, vec!["one".to_owned(); 2]));

    // The tag moves; the process that began the rollout ends, another one finds it.
    story.push(1).await;
    step(&process).await.unwrap();
    assert_eq!(story.rollout().await.phase, RolloutPhase::Running);
    drop(process);
    let process = story.process();
    let (rollout, answers) = story.settle(&process).await;
    assert_eq!((rollout.number, rollout.phase), (2, RolloutPhase::Complete));
    assert_eq!(answers, ["two", "two"]);

    // One step back, and no push undoes it.
    story.store.roll_back_app("demo", "web", 1, Some("it was a bad idea"), HoldUntil::Resumed, &actor()).await.unwrap();
    let (rollout, answers) = story.settle(&process).await;
    assert_eq!((rollout.number, rollout.phase), (3, RolloutPhase::Complete));
    assert_eq!(answers, ["one", "one"]);
    story.push(0).await;
    story.push(1).await;
    step(&process).await.unwrap();
    assert_eq!(story.rollout().await.number, 3, "held");

    story.store.resume_app("demo", "web", &actor()).await.unwrap();
    story.store.request_ready_rollouts().await.unwrap();
    let (rollout, answers) = story.settle(&process).await;
    assert_eq!((rollout.number, rollout.phase), (4, RolloutPhase::Complete));
    assert_eq!(answers, ["two", "two"]);

    story.store.delete_app("demo", "web", &actor()).await.unwrap();
    step(&process).await.unwrap();
    assert_eq!(story.fixture.engine().list().await, Ok(vec![]));
}
