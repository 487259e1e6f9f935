//! One connection to a registry: as little client as HTTP allows, so that what is measured is the server.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LINK, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::servers::Server;

/// As Docker has it, in short: distribution hides OCI manifests from those who do not ask for them.
const ACCEPTED: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Bytes on their way to a registry, in pieces that others may share.
#[derive(Default)]
pub struct Pieces(VecDeque<Bytes>);

impl<const N: usize> From<[Bytes; N]> for Pieces {
    fn from(pieces: [Bytes; N]) -> Self {
        Self(pieces.into())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

/// A connection that is kept, and who speaks on it.
pub struct Connection {
    sender: SendRequest<Pieces>,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

impl Connection {
    /// Connects for one repository. A server with tokens is asked for one as clients do: for this repository, before the first request.
    pub async fn open(server: &Server, repository: &str) -> anyhow::Result<Self> {
        let mut connection = Self::plain(server).await?;
        connection.authorization = server.sign_in(repository).await?;
        Ok(connection)
    }

    /// Connects as nobody.
    pub async fn plain(server: &Server) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // A connection that breaks is told by the request on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, host: HeaderValue::from_str(&server.address.to_string())?, authorization: None })
    }

    /// Sends a request and gives the answer's head.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Pieces,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host).header(ACCEPT, ACCEPTED);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        self.sender.ready().await?;
        self.sender.send_request(request.body(body)?).await.with_context(|| format!("asking for {path}"))
    }

    /// Reads what is at a path and tells how many bytes the answer's body has.
    pub async fn read(&mut self, method: Method, path: &str) -> anyhow::Result<u64> {
        let answer = self.send(method, path, None, Pieces::default()).await?;
        expect(&answer, StatusCode::OK, path)?;
        drain(answer).await
    }

    /// Reads text, and the path of the next page if there is one.
    pub async fn page(&mut self, path: &str, authorization: Option<&str>) -> anyhow::Result<(Bytes, Option<String>)> {
        if let Some(authorization) = authorization {
            self.authorization = Some(HeaderValue::from_str(authorization)?);
        }
        let answer = self.send(Method::GET, path, None, Pieces::default()).await?;
        expect(&answer, StatusCode::OK, path)?;
        let next = answer.headers().get(LINK).and_then(|link| link.to_str().ok());
        let next = next.and_then(|link| Some(link.split_once('<')?.1.split_once('>')?.0.to_owned()));
        Ok((answer.into_body().collect().await?.to_bytes(), next))
    }

    /// Sends what changes something; gives the path in the answer's `Location`.
    pub async fn change(
        &mut self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Pieces,
        expected: StatusCode,
    ) -> anyhow::Result<String> {
        let answer = self.send(method, path, kind, body).await?;
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
        // Some servers give the whole address.
        let location = location.find("/v2/").map(|start| location[start..].to_owned()).unwrap_or_default();
        if answer.status() == expected {
            drain(answer).await?;
            return Ok(location);
        }
        let status = answer.status();
        let text = answer.into_body().collect().await?.to_bytes();
        bail!("{path} was answered by {status}: {}", String::from_utf8_lossy(&text))
    }
}

fn expect(answer: &Response<Incoming>, expected: StatusCode, path: &str) -> anyhow::Result<()> {
    if answer.status() == expected { Ok(()) } else { bail!("{path} was answered by {}", answer.status()) }
}

async fn drain(answer: Response<Incoming>) -> anyhow::Result<u64> {
    let (mut body, mut bytes) = (answer.into_body(), 0);
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(bytes)
}
