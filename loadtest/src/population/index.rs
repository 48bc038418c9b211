//! The numbers that name users, devices and conversations throughout a run.

use std::fmt;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// As a place in a list.
            #[must_use]
            pub fn place(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index! {
    /// A user of the population, from 0.
    UserIndex
}
index! {
    /// A device of the population, from 0; the devices of a user follow each other.
    DeviceIndex
}
index! {
    /// A conversation of the population, from 0: first those of two, then the groups.
    ConversationIndex
}
