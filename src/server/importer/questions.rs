//! Questions to other registries that several ask at the same time, each asked once. Like a download, a question goes on when those who
//! asked have left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{ImportError, Importer};

/// How long one who asks waits for the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it; none so far.
type Answer = Option<Result<(), Arc<ImportError>>>;

#[derive(Default)]
pub(super) struct Questions(Mutex<HashMap<String, watch::Receiver<Answer>>>);

impl Questions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The question under that name, and its other end when nobody asks it yet.
    fn join_or_begin(&self, name: &str) -> (watch::Receiver<Answer>, Option<watch::Sender<Answer>>) {
        let mut asked = self.lock();
        if let Some(answer) = asked.get(name) {
            return (answer.clone(), None);
        }
        let (sender, answer) = watch::channel(None);
        asked.insert(name.to_owned(), answer.clone());
        (answer, Some(sender))
    }
}

/// Takes a question off the list even when its task is dropped.
struct Listed<'a>(&'a Questions, String);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Importer {
    /// Does `work` unless somebody is at it under the same name, and waits for its end.
    pub(super) async fn once<W>(&self, name: &str, work: impl FnOnce(Self) -> W) -> Result<(), Arc<ImportError>>
    where
        W: Future<Output = Result<(), ImportError>> + Send + 'static,
    {
        let (mut answer, begun) = self.shared.questions.join_or_begin(name);
        if let Some(sender) = begun {
            let (importer, name, work) = (self.clone(), name.to_owned(), work(self.clone()));
            self.shared.around.tracker.spawn(async move {
                let listed = Listed(&importer.shared.questions, name);
                let end = tokio::select! {
                    end = work => end,
                    () = importer.shared.around.stop.cancelled() => Err(ImportError::Stopping),
                };
                drop(listed);
                // Nobody may be waiting any more.
                let _ = sender.send(Some(end.map_err(Arc::new)));
            });
        }
        let answered = tokio::time::timeout(PATIENCE, answer.wait_for(Option::is_some)).await;
        match answered.map_err(|_| ImportError::Late)? {
            Ok(end) => end.clone().unwrap_or(Ok(())),
            Err(_) => Err(Arc::new(ImportError::Stopping)),
        }
    }
}
