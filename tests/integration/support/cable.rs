//! A cable between a server and what it stands on, which can be cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Passes connections on, byte for byte; gone with the value.
pub struct Cable {
    /// This end of it, the same after each repair.
    pub address: SocketAddr,
    to: String,
    whole: Option<DropGuard>,
    passed: Arc<Mutex<usize>>,
}

impl Cable {
    /// A cable to `to`, which is `host:port`.
    pub async fn to(to: &str) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut cable = Self { address: any, to: to.to_owned(), whole: None, passed: Arc::default() };
        cable.mend().await;
        cable
    }

    /// Ends every connection and refuses new ones.
    pub async fn cut(&mut self) {
        self.whole = None;
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Makes it whole again.
    pub async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("its port");
        self.address = listener.local_addr().expect("an address");
        let (to, passed, cut) = (self.to.clone(), Arc::clone(&self.passed), CancellationToken::new());
        self.whole = Some(cut.clone().drop_guard());
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = cut.cancelled() => return,
                };
                let (near, _) = accepted.expect("a connection");
                *passed.lock().expect("a number") += 1;
                let (to, cut) = (to.clone(), cut.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(near, to) => {}
                        () = cut.cancelled() => {}
                    }
                });
            }
        });
    }

    /// How many connections went through so far.
    pub fn passed(&self) -> usize {
        *self.passed.lock().expect("a number")
    }
}

async fn pass(mut near: TcpStream, to: String) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    // Either end may break off.
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}
