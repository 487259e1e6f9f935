//! What people may do in a project.

use super::text_enum::text_enum;

text_enum! {
    /// A user's role in a project. Each may do what the ones before it may.
    Role {
        /// Reads everything but secrets, and pulls.
        Viewer = "viewer",
        /// Also pushes, starts builds, moves tags and rolls back.
        Editor = "editor",
        /// Also says who is a member, and keeps the project's secrets.
        Admin = "admin",
    }
}
