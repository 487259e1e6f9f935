//! Clients that ask as fast as they are answered, and what came of it.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::servers::Server;
use super::wire::Connection;

/// What some clients did within a time.
#[derive(Default, Clone, Copy)]
pub struct Run {
    pub operations: u64,
    pub bytes: u64,
    pub took: Duration,
    /// What the server's process spent on it.
    pub processor: Duration,
}

impl Run {
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }

    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.took.as_secs_f64()
    }

    /// The server's own time for one operation.
    pub fn processor_each(&self) -> Duration {
        self.processor.div_f64(self.operations.max(1) as f64)
    }

    fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.took += other.took;
        self.processor += other.processor;
    }
}

/// When a client has done enough.
#[derive(Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    Done(usize),
}

/// Both servers in turn, several times, so that what else the machine does hits both.
pub async fn alternate(
    servers: &[&Server; 2],
    rounds: usize,
    mut run: impl AsyncFnMut(&Server, usize) -> anyhow::Result<Run>,
) -> anyhow::Result<[Run; 2]> {
    let mut sums = [Run::default(); 2];
    for round in 0..rounds {
        for (server, sum) in servers.iter().zip(&mut sums) {
            sum.add(run(server, round).await?);
        }
    }
    Ok(sums)
}

/// Each client does one operation after the other on its own connection. `operation` is told which client it is for and how often that
/// one has been served, and gives the bytes it moved.
pub async fn at_once(
    server: &Server,
    repository: &str,
    clients: usize,
    until: Until,
    operation: impl AsyncFn(&mut Connection, usize, usize) -> anyhow::Result<u64>,
) -> anyhow::Result<Run> {
    let connections = try_join_all((0..clients).map(|_| Connection::open(server, repository))).await?;
    let (began, before) = (Instant::now(), server.processor_time()?);
    let operation = &operation;
    let done = try_join_all(connections.into_iter().enumerate().map(|(client, mut connection)| async move {
        let (mut operations, mut bytes) = (0, 0);
        while match until {
            Until::Elapsed(time) => began.elapsed() < time,
            Until::Done(count) => operations < count,
        } {
            bytes += operation(&mut connection, client, operations).await?;
            operations += 1;
        }
        anyhow::Ok((operations as u64, bytes))
    }));
    let done = done.await?;
    let mut run = Run { took: began.elapsed(), processor: server.processor_time()? - before, ..Run::default() };
    for (operations, bytes) in done {
        run.operations += operations;
        run.bytes += bytes;
    }
    Ok(run)
}
