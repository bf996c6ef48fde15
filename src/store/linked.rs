//! What is linked with each other, by numbers.

/// Of each number another one that it is linked with; of the first of them, itself.
#[derive(Debug, Default)]
pub(super) struct Linked(Vec<usize>);

impl Linked {
    /// So many numbers, of which none are linked.
    pub fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    /// One more number.
    pub fn add(&mut self) -> usize {
        self.0.push(self.0.len());
        self.0.len() - 1
    }

    /// The first number that one is linked with.
    pub fn first_of(&mut self, number: usize) -> usize {
        let mut first = number;
        while self.0[first] != first {
            // Shorter for who comes next.
            self.0[first] = self.0[self.0[first]];
            first = self.0[first];
        }
        first
    }

    /// Links two numbers, and all that are linked with them.
    pub fn link(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first_of(a), self.first_of(b));
        self.0[a.max(b)] = a.min(b);
    }
}
