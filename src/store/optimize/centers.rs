//! Which members of a family are stored alone, and to which of them the others are compared.

/// What another base must save, as a part of all: predictions are no more exact than that.
const WORTH: f64 = 0.01;

/// What members of a family cost.
pub(super) trait Costs {
    /// Number of members.
    fn members(&self) -> usize;

    /// Bytes of a member that is stored alone.
    fn alone(&self, member: usize) -> f64;

    /// Bytes of a member as the difference to another one.
    fn difference(&self, member: usize, base: usize) -> f64;
}

/// The base of each member, itself if it is stored alone. Bases are some of `candidates`, and stored alone.
///
/// This is the problem of where to build warehouses, each of which costs something; they are opened one after the other, as
/// long as that saves something (Kuehn and Hamburger, "A heuristic program for locating warehouses", 1963).
pub(super) fn choose(costs: &impl Costs, candidates: &[usize]) -> Vec<usize> {
    let mut bases: Vec<usize> = (0..costs.members()).collect();
    let mut opened = vec![false; costs.members()];
    loop {
        let before = total(costs, &bases);
        let with = |&center: &usize| {
            let bases = with_center(costs, &bases, &opened, center);
            (total(costs, &bases), center, bases)
        };
        let closed = candidates.iter().filter(|&&center| !opened[center]);
        let best = closed.map(with).min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        match best {
            Some((cost, center, with)) if cost < before * (1.0 - WORTH) => {
                bases = with;
                opened[center] = true;
            }
            _ => return bases,
        }
    }
}

/// The bases if `center` is one of them, too.
fn with_center(costs: &impl Costs, bases: &[usize], opened: &[bool], center: usize) -> Vec<usize> {
    let now = |member: usize| cost(costs, member, bases[member]);
    let base = |member: usize| match member {
        _ if member == center => center,
        _ if opened[member] || now(member) <= costs.difference(member, center) => bases[member],
        _ => center,
    };
    (0..bases.len()).map(base).collect()
}

fn cost(costs: &impl Costs, member: usize, base: usize) -> f64 {
    if member == base { costs.alone(member) } else { costs.difference(member, base) }
}

/// Bytes of all members with these bases.
pub(super) fn total(costs: &impl Costs, bases: &[usize]) -> f64 {
    bases.iter().enumerate().map(|(member, &base)| cost(costs, member, base)).sum()
}

/// Whether other bases are worth it.
pub(super) fn is_worth(costs: &impl Costs, from: &[usize], to: &[usize]) -> bool {
    total(costs, to) < total(costs, from) * (1.0 - WORTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members at places of a line: what lies between them is what differs.
    struct Line(Vec<f64>);

    impl Costs for Line {
        fn members(&self) -> usize {
            self.0.len()
        }

        fn alone(&self, _: usize) -> f64 {
            10.0
        }

        fn difference(&self, member: usize, base: usize) -> f64 {
            (self.0[member] - self.0[base]).abs()
        }
    }

    #[test]
    fn the_middle_of_each_cluster_is_a_base() {
        let all = |line: &Line| choose(line, &(0..line.members()).collect::<Vec<_>>());
        let tuned = Line(vec![1.0, -1.0, 0.0, 2.0, -2.0]);
        assert_eq!(all(&tuned), [2; 5]);
        let two = Line(vec![0.0, 100.0, 1.0, 99.0, -1.0, 101.0]);
        assert_eq!(all(&two), [0, 1, 0, 1, 0, 1]);
        // Strangers stay alone, and a base that saves next to nothing is none.
        assert_eq!(all(&Line(vec![0.0, 50.0, 9.95])), [0, 1, 2]);
        assert!(is_worth(&tuned, &[0; 5], &[2; 5]) && !is_worth(&tuned, &[2; 5], &[2; 5]));
        // Only what may be a base becomes one.
        assert_eq!(choose(&tuned, &[1]), [1; 5]);
    }
}
