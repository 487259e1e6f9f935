//! What a deletion requires of the object that it finds: `preconditions` of Kubernetes' `DeleteOptions`.

use axum::extract::{FromRequest, Request};

use super::body::Body;
use super::kind::Kind;
use super::status::Status;
use crate::model::Stream;

/// The id and the version that the object must have, as far as they are given.
#[derive(Debug, Clone, Default)]
pub struct Preconditions {
    uid: Option<String>,
    version: Option<String>,
}

impl Preconditions {
    /// That it is this object and no later one of its name.
    pub fn on_uid(uid: Option<&str>) -> Self {
        Self { uid: uid.map(str::to_owned), version: None }
    }

    /// Refuses with 409 to delete another stream, or tag of one, than the one that is meant.
    pub fn check(&self, kind: &Kind, name: &str, stream: &Stream) -> Result<(), Status> {
        let version = stream.version.to_string();
        for (what, wanted, found) in [("UID", &self.uid, &stream.id), ("ResourceVersion", &self.version, &version)] {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != found) {
                let words = format!("{what} in precondition: {wanted}, {what} in object meta: {found}");
                let message = format!(
                    "Operation cannot be fulfilled on {}.{} \"{name}\": Precondition failed: {words}",
                    kind.plural, kind.group
                );
                return Err(Status::conflict(message).about(kind, name));
            }
        }
        Ok(())
    }
}

impl<S: Send + Sync> FromRequest<S> for Preconditions {
    type Rejection = Status;

    async fn from_request(request: Request, state: &S) -> Result<Self, Status> {
        let body = Body::from_request(request, state).await?;
        let (wanted, _) = body.read(|root| {
            // How and when the object goes is the server's to say, and clients write all sorts of things here.
            root.pass_over();
            if !root.get("dryRun").items()?.is_empty() {
                return Err(Status::bad_request("dryRun is not supported here: nothing was changed"));
            }
            let given = root.get("preconditions");
            Ok(Self { uid: given.get("uid").filled()?, version: given.get("resourceVersion").filled()? })
        })?;
        Ok(wanted)
    }
}
