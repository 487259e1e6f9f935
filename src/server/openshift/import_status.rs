//! Why an import came to nothing, told as OpenShift tells it.

use super::status::{Cause, Status};

/// How all begins that OpenShift has no words of its own for.
const INTERNAL: &str = "Internal error occurred: ";

/// A failure in OpenShift's words, as far as it has words for it.
pub fn import_status(reference: &str, reason: &str, message: &str) -> Status {
    match reason {
        "not-found" => Status::image_not_found(reference),
        "denied" => {
            Status::import_refused(401, format!("you may not have access to the container image \"{reference}\""))
        }
        "wrong-password" => {
            Status::import_refused(401, format!("incorrect username or password for image {reference:?}"))
        }
        "plain-http" => Status::bad_request(format!(
            "the repository {reference:?} is HTTP only and requires the insecure flag to import"
        )),
        "quota" | "limit" => Status::import_refused(403, message.to_owned()),
        "not-v2-registry" => Status::not_v2_registry(message.to_owned()),
        // A site admin has nothing asked of it.
        "paused" => Status::import_refused(403, format!("registry blocked: {message}")),
        "invalid-reference" => Status::invalid(vec![Cause::invalid_value("from.name", reference, message)]),
        // Some causes say so themselves.
        _ if message.starts_with(INTERNAL) => Status::import_refused(500, message.to_owned()),
        _ => Status::import_refused(500, format!("{INTERNAL}{reference}: {message}")),
    }
}
