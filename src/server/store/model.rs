//! Histories, follows, holds and rejections against a model without a database: random pushes, imports from here and there, builds, follows,
//! mere names of images, pins, rollbacks,
//! holds with every end that they have, rejections and what takes them back, deletions, restores and undoings, of tags that follow each
//! other across streams and projects. Each of them the store has to answer as the model does, and in the end it has to say what the model
//! says, to the last row. The order of events comes from a seed alone; a failure prints it, and the steps.
//!
//! 10^5 operations; `WEIR_MODEL_STEPS` sets another number, and `WEIR_MODEL_SEED` begins behind that world.

mod simple;
mod world;

use self::world::World;
use crate::server::store::testing::{TestStore, each_store, half_of_the_worlds};

const STEPS: usize = 100_000;

async fn walk(store: TestStore, seed: u64, steps: usize) {
    World::new(store, seed).await.run(steps).await;
}

#[tokio::test]
async fn tags_do_what_the_model_does_in_odd_worlds() {
    half_of_the_worlds(1, STEPS, walk).await;
}

#[tokio::test]
async fn tags_do_what_the_model_does_in_even_worlds() {
    half_of_the_worlds(2, STEPS, walk).await;
}

#[tokio::test]
async fn it_holds_on_each_database() {
    for (seed, store) in (1001..).zip(each_store().await) {
        World::new(store, seed).await.run(300).await;
    }
}
