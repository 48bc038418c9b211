//! Every error the program can end with: its code, its exit code and its page.

use std::fmt;

use crate::exit::Exit;

macro_rules! catalogue {
    ($($variant:ident $code:literal $exit:ident $title:literal;)+) => {
        /// An error with a page of its own in `docs/errors/`.
        ///
        /// A code is never given a second meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $variant),+ }

        impl Code {
            /// Every error, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code, such as `PH0101`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// What it is about, in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// How the program ends.
            #[must_use]
            pub fn exit(self) -> Exit {
                match self { $(Self::$variant => Exit::$exit),+ }
            }

            /// Its page, in Markdown.
            #[must_use]
            pub fn page(self) -> &'static str {
                match self {
                    $(Self::$variant => {
                        include_str!(concat!("../../../docs/errors/", $code, ".md"))
                    }),+
                }
            }
        }
    };
}

catalogue! {
    // Configuration.
    UnknownKey "PH0101" Configuration "unknown configuration key";
    BadValue "PH0102" Configuration "a configuration value is not valid";
    ConfigUnreadable "PH0103" Configuration "the configuration file cannot be read";
    ConfigSyntax "PH0104" Configuration "the configuration file is not TOML";
    SettingMissing "PH0105" Configuration "a setting is missing";
    SecretUnreadable "PH0106" Configuration "a file with a secret cannot be read";
    SettingsConflict "PH0107" Configuration "settings contradict each other";
    CertificateUnusable "PH0108" Configuration "a certificate or key cannot be used";
    IdentityUnusable "PH0109" Configuration "the identity provider's keys cannot be used";
    MeshAuthority "PH0110" Configuration "the mesh's certificate authority cannot be made or used";
    // Data directory.
    DataInUse "PH0201" Configuration "another process uses the data directory";
    DataUnusable "PH0202" Configuration "the data directory cannot be read or written";
    DataForeign "PH0203" Configuration "the data directory does not fit this program";
    NoDevelopmentCluster "PH0204" Configuration "there is no development cluster here";
    // Running.
    CannotListen "PH0301" Unavailable "an address cannot be listened on";
    RoleStopped "PH0302" Failure "a part of the cluster stopped";
    EngineRefused "PH0303" Configuration "an engine of the cluster cannot be used as it is";
    // Reaching a cluster.
    CannotConnect "PH0401" Unavailable "the cluster cannot be reached";
    NotTrusted "PH0402" Refused "the server's certificate is not trusted";
    TokenRefused "PH0403" Refused "the cluster refused the token";
    DeviceRevoked "PH0404" Refused "this device was revoked";
    TooManyDevices "PH0405" Refused "this user has too many devices";
    DeviceDisplaced "PH0406" Refused "this device connected from somewhere else";
    VersionUnknown "PH0407" Refused "client and cluster share no protocol version";
    NoAnswer "PH0408" Unavailable "the cluster did not answer in time";
    TokenUnreadable "PH0409" Configuration "the token cannot be read";
    DeviceStore "PH0410" Configuration "the device's own store cannot be used";
    DeviceInUse "PH0411" Unavailable "another process uses this device";
    // Requests.
    SendRejected "PH0501" Refused "the cluster will never accept this message";
    ChangeRefused "PH0502" Refused "the change was refused";
    BadName "PH0503" Usage "not a name";
    GroupUnknown "PH0504" Refused "no such group, or not a member of it";
    DeviceUnknown "PH0505" Refused "no such device";
    InputUnreadable "PH0506" Failure "the input cannot be read";
    OutputClosed "PH0507" Failure "the output cannot be written";
    // Demo.
    DemoLine "PH0601" Usage "a line of the input is not a message";
    DemoEmpty "PH0602" Usage "the input holds no message";
    DemoWrong "PH0603" DataWrong "messages were lost, repeated, out of order or changed";
    // The program itself.
    NoSuchCode "PH0701" Usage "there is no error with this code";
    Internal "PH0901" Failure "an error that should not happen";
    // Looking after a cluster.
    FoundWrong "PH1001" FoundWrong "a check found something wrong";
    NeedsCluster "PH1002" Configuration "only a cluster of many processes has this";
    EngineFailed "PH1003" Unavailable "an engine cannot be reached or did not do what it was asked";
    NoDeadLetter "PH1004" Refused "there is no dead letter with this number";
    NoEngineHere "PH1005" Configuration "there is nothing in the data directory";
}

impl Code {
    /// The error with this code, written `PH0101`, `ph0101` or `101`.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        let digits = text.strip_prefix("PH").unwrap_or(&text);
        let number: u16 = digits.parse().ok()?;
        Self::ALL.iter().copied().find(|code| code.name()[2..].parse() == Ok(number))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
