//! The choice of compiled loops.

use std::sync::LazyLock;

/// Kinds of processor that loops are compiled for. Each has all instructions of the previous one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    Portable,
    Avx2,
    Avx512,
}

/// Names one of [`vector_tiers`] to use instead of the best one, to find out whether the best one causes a
/// fault.
const OVERRIDE: &str = "BANTAM_VECTORS";

impl Tier {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether the processor has this tier's instructions.
    fn is_here(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => super::avx2::Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => super::avx512::Avx512::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    fn here() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|tier| tier.is_here())
    }

    /// The best available tier, or the one called `wanted`; if that is not available, also the reason.
    fn choose(wanted: Option<&str>) -> (Self, Option<String>) {
        let best = Self::here().last().unwrap_or(Self::Portable);
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return (best, None) };
        match Self::here().find(|tier| tier.name() == wanted) {
            Some(tier) => (tier, None),
            None => {
                let here = Self::here().map(Self::name).collect::<Vec<_>>().join(", ");
                let why = format!("{OVERRIDE}={wanted} is not used: this processor has {here}");
                (best, Some(why))
            }
        }
    }

    /// The tier in use.
    #[inline]
    pub fn used() -> Self {
        static USED: LazyLock<Tier> = LazyLock::new(|| {
            let wanted = std::env::var_os(OVERRIDE);
            let (tier, why) = Tier::choose(wanted.as_ref().map(|wanted| wanted.to_string_lossy()).as_deref());
            if let Some(why) = why {
                log::warn!("{why}");
            }
            tier
        });
        *USED
    }
}

/// The instructions that tensors are encoded and decoded with: the last of [`vector_tiers`], unless the
/// environment variable `BANTAM_VECTORS` names another. The results are the same.
pub fn vector_tier() -> &'static str {
    Tier::used().name()
}

/// All tiers that this processor can run: `portable`, and on x86-64 perhaps `avx2` and `avx512`.
pub fn vector_tiers() -> Vec<&'static str> {
    Tier::here().map(Tier::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_used_unless_another_is_named_that_is_here() {
        let best = Tier::here().last().unwrap();
        assert!(Tier::here().all(|tier| tier <= best));
        for plain in [None, Some("")] {
            assert_eq!(Tier::choose(plain), (best, None));
        }
        for tier in Tier::here() {
            assert_eq!(Tier::choose(Some(tier.name())), (tier, None));
        }
        let (tier, why) = Tier::choose(Some("mmx"));
        assert!(tier == best && why.unwrap().contains("portable"));
    }
}
