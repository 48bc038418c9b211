//! Why a connection ends: the application close codes of the client protocol.

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal),+ $(,)?) => {
        /// Why a connection was closed; the QUIC application error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CloseCode { $($(#[$doc])* $name),+ }

        impl CloseCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> u32 {
                match self { $(Self::$name => $code),+ }
            }

            /// The code with this number; none when this version knows no such code.
            #[must_use]
            pub const fn from_code(code: u32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

close_codes!(
    /// The peer has finished.
    Done = 0,
    /// The edge goes away: connect to another one.
    GoingAway = 1,
    /// The peer broke a rule of the protocol.
    ProtocolError = 2,
    /// The token or the signature was not good, or did not come in time.
    Unauthenticated = 3,
    /// The device was revoked; it never connects again.
    Revoked = 4,
    /// The same device has a later connection.
    Displaced = 5,
    /// The token ended and no fresh one came.
    TokenExpired = 6,
    /// Too many connections, of this address or in all: come back later.
    TooManyConnections = 7,
    /// The user has as many devices as allowed.
    TooManyDevices = 8,
    /// The peer does not read what it is sent.
    SlowReader = 9,
    /// The edge cannot serve now: come back later.
    Unavailable = 10,
    /// No protocol version in common.
    Version = 11,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_number() {
        for (number, code) in (0..).zip(CloseCode::ALL) {
            assert_eq!(code.code(), number);
            assert_eq!(CloseCode::from_code(number), Some(*code));
        }
        assert_eq!(CloseCode::from_code(12), None);
    }
}
