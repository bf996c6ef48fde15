//! `STORE#NAME`: what is in a store, named from outside of it.

use std::path::Path;

/// The store and the name; `None` where there is no mark, or it is a part of a file's or folder's name.
pub fn split(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('#').filter(|_| !Path::new(text).exists())
}
