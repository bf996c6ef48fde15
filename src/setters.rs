//! Setters of options, which programs make with `Default` because fields may be added.

/// Makes a method for each field that sets it and gives the options back.
macro_rules! setters {
    ($options:ident { $($field:ident: $type:ty => $setter:ident),* $(,)? }) => {
        impl $options {
            $(
                #[doc = concat!("Sets [`", stringify!($options), "::", stringify!($field), "`].")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}
