//! Enumerations that the database, JSON and people all write as the same words.

/// Declares an enum whose variants have one text each, with `as_str`, `Display`, `FromStr`, `TryFrom<String>` (for sqlx) and serde.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::model::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(crate::model::UnknownWord { word: text.to_owned(), known: &[$($text),+] }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = crate::model::UnknownWord;

            fn try_from(text: String) -> Result<Self, crate::model::UnknownWord> {
                text.parse()
            }
        }
    };
}

pub(crate) use text_enum;

/// A word that is none of those an enumeration knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{word}\" is not one of {}", .known.join(", "))]
pub struct UnknownWord {
    pub word: String,
    pub known: &'static [&'static str],
}
