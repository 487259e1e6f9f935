//! What each role may do.

use crate::model::Role;

/// What somebody may do in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Read everything but secrets.
    View,
    /// Pull images.
    Pull,
    /// Push images.
    Push,
    /// Start and cancel builds, move tags, roll back, hold and resume, import, and change what is defined.
    Edit,
    /// Say who is a member, and keep secrets.
    Admin,
}

impl Right {
    /// The least role that has it.
    pub fn least_role(self) -> Role {
        match self {
            Self::View | Self::Pull => Role::Viewer,
            Self::Push | Self::Edit => Role::Editor,
            Self::Admin => Role::Admin,
        }
    }

    /// As it is said in "you may not … in this project".
    pub fn verb(self) -> &'static str {
        match self {
            Self::View => "look around",
            Self::Pull => "pull images",
            Self::Push => "push images",
            Self::Edit => "change anything",
            Self::Admin => "manage members and secrets",
        }
    }
}

impl Role {
    /// Whether the role may do it.
    pub fn may(self, right: Right) -> bool {
        self >= right.least_role()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_ones_before_it_may() {
        use Right::{Admin, Edit, Pull, Push, View};
        let rights = |role: Role| [View, Pull, Push, Edit, Admin].map(|right| role.may(right));
        assert_eq!(rights(Role::Viewer), [true, true, false, false, false]);
        assert_eq!(rights(Role::Editor), [true, true, true, true, false]);
        assert_eq!(rights(Role::Admin), [true; 5]);
    }
}
